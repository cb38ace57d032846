# SPDX-License-Identifier: Apache-2.0
"""Say without a search what in a plan looks like a known mistake."""
