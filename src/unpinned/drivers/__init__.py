# SPDX-License-Identifier: Apache-2.0
"""Ship plans, one file a client."""
