# SPDX-License-Identifier: Apache-2.0
"""Models in the plan language that unpinned and its peers are measured on."""
