# SPDX-License-Identifier: Apache-2.0
"""Search a system with compiled code: the fast engine, held against the reference engine of check/ on exact counts."""
