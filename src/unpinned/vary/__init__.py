# SPDX-License-Identifier: Apache-2.0
"""Make variants of a plan: edits of its source, each a plan in the language again."""
