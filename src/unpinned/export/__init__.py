# SPDX-License-Identifier: Apache-2.0
"""Write a system in the languages of other checkers, so that they can judge it too."""
