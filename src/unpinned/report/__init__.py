# SPDX-License-Identifier: Apache-2.0
"""Write a timeline and a verdict as text and as data."""
