# SPDX-License-Identifier: Apache-2.0
"""Say what of a system may be exchanged (symmetry.py finds it out, engine/quotient.py makes use of it)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What may be exchanged: the threads of each class among themselves, all pages, all frames.

    `threads` has no class of one. `notes` say of each kind that is given up what it meets first.
    """

    threads: tuple[tuple[int, ...], ...]
    pages: bool
    frames: bool
    notes: tuple[str, ...] = ()
