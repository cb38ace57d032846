# SPDX-License-Identifier: Apache-2.0
"""Search every interleaving of a plan, and decide."""
