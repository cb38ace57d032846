# SPDX-License-Identifier: Apache-2.0
"""Read the locking of a kernel source file, and write it down as a plan with gaps."""
