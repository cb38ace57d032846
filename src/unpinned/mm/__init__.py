# SPDX-License-Identifier: Apache-2.0
"""Model the other side in the plan language: the mm, its operations, and the hardware of the secondary MMU."""
