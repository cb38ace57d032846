# SPDX-License-Identifier: Apache-2.0
"""Show real bugs: each a folder of gallery/ with the plan, its fix, and what is expected of them."""
