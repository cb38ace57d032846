# SPDX-License-Identifier: Apache-2.0
"""Apply the reductions one after the other: blocks, then counters and their ranks, then what is alike.

Blocks come first, because taking a snapshot is a step of one CPU alone as long as it is a number in a local, and an
access to shared state once it is a mark that other CPUs change. Only the counters that cannot be taken out are ranked,
since ranks tell stale snapshots apart, which is more states. Symmetry comes last: it is found in whatever program is
searched. What is left is a system of its own, with the same variables but for the counters, whose steps are sequences
of the steps of the full one (reduce/lift.py finds them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unpinned.ir.digest import exact_key
from unpinned.ir.program import System
from unpinned.native.cache import remembered
from unpinned.reduce.alike import Symmetry


@dataclass(frozen=True, slots=True)
class Reduced:
    """A system to search in place of `full`; `notes` say which reductions were given up, and why."""

    full: System
    system: System
    symmetry: Symmetry
    notes: tuple[str, ...]


def reduce_system(full: System) -> Reduced:
    """Apply every reduction whose side condition holds; what was worked out once is remembered."""
    system, symmetry, notes = remembered("reduce", exact_key(full), lambda: _reduce(full))
    return Reduced(full, system, symmetry, notes)


def _reduce(full: System) -> tuple[System, Symmetry, tuple[str, ...]]:
    """Work it out; the passes are imported here, since they are seldom needed and take time."""
    from unpinned.reduce.blocks import merge_blocks  # noqa: PLC0415
    from unpinned.reduce.ranks import rank_counters  # noqa: PLC0415
    from unpinned.reduce.snapshots import abstract_counters  # noqa: PLC0415
    from unpinned.reduce.symmetry import find_symmetry  # noqa: PLC0415

    merged, why_blocks = merge_blocks(full)
    counted, staying = abstract_counters(merged)
    ranked, families, why_ranks = rank_counters(counted, staying)
    symmetry = replace(find_symmetry(ranked), ranked=families)
    notes = [f"fewer steps are merged: {why}" for why in why_blocks]
    for name, why in why_ranks.items():
        reasons = " and ".join(dict.fromkeys((staying[name], why)))
        notes.append(f"a counter is not taken out: {name} stays a number: {reasons}")
    return ranked, symmetry, (*notes, *map(not_alike, symmetry.notes))


def not_alike(note: str) -> str:
    """Return a note on a symmetry ("frames: why") as a sentence that says what was given up."""
    what, _, why = note.partition(": ")
    return f"{what} are not taken for alike: {why}"
