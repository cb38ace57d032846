# SPDX-License-Identifier: Apache-2.0
"""Run `python -m unpinned`."""

from unpinned.cli import main

main(prog_name="unpinned")
