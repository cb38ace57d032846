# SPDX-License-Identifier: Apache-2.0
"""Run the command: `unpinned`, or `python -m unpinned`."""

from __future__ import annotations

import gc
import os
import sys

#: Python looks for garbage when so many objects were made and kept, not 700: nearly all that a check makes, it keeps.
UNTIL_COLLECTED = 100_000


def run() -> None:
    """Run the command line; an interrupt ends it with exit 3 even while it is being loaded."""
    gc.set_threshold(UNTIL_COLLECTED)
    try:
        # Closed streams are None in Python, and nobody can read them.
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as we live
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        from unpinned.cli import main  # noqa: PLC0415 - loading takes a while, and may be interrupted

        main(prog_name="unpinned")
    except KeyboardInterrupt:
        sys.stderr.write("unpinned: interrupted\n")
        sys.exit(3)


if __name__ == "__main__":
    run()
