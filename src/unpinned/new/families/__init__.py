# SPDX-License-Identifier: Apache-2.0
"""Hold a plan for each family of locking plans, one file a family.

The docstring of a file has a sentence, a blank line, and lines `word: text`: `family`, a letter; `who` has such a plan;
`rule`, what keeps faults and invalidations apart; and `verdict`, what a check says of the plan below. What stands below
the docstring is written out, under another class name.
"""
