# SPDX-License-Identifier: Apache-2.0
"""Say which states of a system are alike (symmetry.py and ranks.py find it out, engine/quotient.py makes use of it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: A thread's number, or SHARED, and a variable's name.
Key = tuple[int, str]
SHARED: Final = -1
#: A counter and all variables that hold its values.
Family = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What may be exchanged: the threads of each class among themselves, all pages, all frames.

    `threads` has no class of one. Of the values of each family of `ranked` only the order matters. `notes` say of each
    kind that is given up what it meets first.
    """

    threads: tuple[tuple[int, ...], ...]
    pages: bool
    frames: bool
    notes: tuple[str, ...] = ()
    ranked: tuple[Family, ...] = ()
