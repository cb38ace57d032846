# SPDX-License-Identifier: Apache-2.0
"""Make systems smaller that behave the same: passes from System to System, and what leads back."""
