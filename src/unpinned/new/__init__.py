# SPDX-License-Identifier: Apache-2.0
"""Write a plan to begin from: of a family of locking plans, or of a kernel source file."""
