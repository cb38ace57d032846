# SPDX-License-Identifier: Apache-2.0
"""Drive other checkers on the models that unpinned is measured on: their texts, and how each is run."""
