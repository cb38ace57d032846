# SPDX-License-Identifier: Apache-2.0
"""Turn a symmetry that was found into a packing whose states can be renamed, and the text that renames them.

reduce/symmetry.py proves which renamings are automorphisms; here it is only asked which fields they move. What a packed
state cannot express is given up, with a note: too many frames for a table, threads whose slices differ, an array within
a thread that counts threads, or a local that is renamed where a packed state has no place for it (or not renamed where
it has one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from unpinned.engine.canonical import Canon
from unpinned.engine.packing import Kinds, Packing, Slice, packing
from unpinned.ir.bounds import Interval, Name
from unpinned.ir.program import System
from unpinned.reduce.alike import SHARED, Key, Symmetry
from unpinned.reduce.kinds import FRAME, GFN, OFFSET, Held, View, Views, renamed_bounds, views

_KINDS = {FRAME: "frame", GFN: "page", OFFSET: "page+1"}


@dataclass(frozen=True, slots=True)
class Quotient:
    """A packing, canon() for it ("" if nothing can be renamed), and what is used of the symmetry.

    `bounds` are intervals that no variable leaves, in no state that is renamed.
    """

    pack: Packing
    canon: str
    symmetry: Symmetry
    bounds: Mapping[Name, Interval]


def quotient(system: System, symmetry: Symmetry) -> Quotient:
    """Use as much of a symmetry as a packed state can express."""
    seen_by = views(system)
    symmetry = _expressible(seen_by, symmetry)
    families = [f"family {number}" for number in range(len(symmetry.ranked))]
    while True:
        kinds = (symmetry.frames, seen_by.frames), (symmetry.pages, seen_by.pages)
        kept = [seen for is_used, seen in kinds if is_used]
        of: dict[Key, str] = {}
        for seen in kept:
            of |= _values(seen)
        for name, family in zip(families, symmetry.ranked, strict=True):
            of |= dict.fromkeys(family, name)
        limits = renamed_bounds(system, kept)
        pack = packing(system, Kinds(symmetry.threads, of, bool(kept)), limits)
        if symmetry.pages and (name := _misplaced(seen_by.pages, pack)):
            symmetry = _without(symmetry, f"pages: {name} is not kept where it is renamed", pages=False)
            continue
        unlike = [group for group in symmetry.threads if len({_shape(pack, of, t) for t in group}) > 1]
        if unlike:
            names = " and ".join(system.threads[t].name for t in unlike[0])
            symmetry = _without(symmetry, f"threads {names}: their packed parts differ")
            symmetry = replace(symmetry, threads=tuple(group for group in symmetry.threads if group not in unlike))
            continue
        extents = dict(system.extents)
        counts = (extents["page"] if symmetry.pages else 1, extents["frame"] if symmetry.frames else 1)
        if not symmetry.threads and not symmetry.ranked and max(counts) == 1:
            return Quotient(pack, "", symmetry, limits)
        try:
            return Quotient(pack, Canon(pack, symmetry.threads, *counts, of, families).text(), symmetry, limits)
        except ValueError as error:
            symmetry = _without(symmetry, f"pages and frames: {error}", pages=False, frames=False)


def _expressible(seen_by: Views, symmetry: Symmetry) -> Symmetry:
    """Give up what moves something that canonical.py has no way to move."""
    if symmetry.frames:
        for held, own in _held(seen_by.frames):
            name = held.var.name
            if held.type == FRAME and held.var.init != 0 and own:
                symmetry = _without(symmetry, f"frames: {name} begins as a frame", frames=False)
            elif "frame" in _counts(held) and (held.type == FRAME or own):
                symmetry = _without(symmetry, f"frames: {name} counts frames and holds some", frames=False)
    if symmetry.pages:
        for held, own in _held(seen_by.pages):
            if held.type in (GFN, OFFSET) and held.var.size > 1 and own:
                symmetry = _without(symmetry, f"pages: {held.var.name} is a local array of pages", pages=False)
    # Threads are exchanged as whole slices: what an array counts within one stays where it is.
    for held, own in _held(seen_by.threads):
        if symmetry.threads and {"cpu", "vcpu"} & set(_counts(held)[0 if own else 1 :]):
            what = "is a local array of CPUs" if own else "does not count CPUs first"
            symmetry = replace(_without(symmetry, f"threads: {held.var.name} {what}"), threads=())
    return symmetry


def _held(seen: View) -> list[tuple[Held, bool]]:
    """Return what each variable holds, and whether it is a local one."""
    own = [(held, True) for mine in seen.locals for held in mine.values()]
    return [(held, False) for held in seen.shared.values()] + own


def _counts(held: Held) -> list[str]:
    """Return what each dimension of an array counts."""
    return [per for per, _ in held.dims]


def _without(symmetry: Symmetry, note: str, **less: bool) -> Symmetry:
    return replace(symmetry, notes=(*symmetry.notes, note), **less)  # type: ignore[arg-type]


def _values(seen: View) -> dict[Key, str]:
    """Return the variables whose values are renamed."""
    found: dict[Key, str] = {}
    for t, held in [(SHARED, seen.shared), *enumerate(seen.locals)]:
        found |= {(t, name): _KINDS[at.type] for name, at in held.items() if at.type in seen.kind.types}
    return found


def _misplaced(seen: View, pack: Packing) -> str:
    """Return the name of a local that holds a page somewhere, but not just where a packed state keeps it."""
    for t, part in enumerate(pack.slices):
        for name, held in seen.locals[t].items():
            if held.type not in seen.kind.types or held.at is None:
                continue
            kept = {place for place, cells in part.held.items() if any(cell == name for cell, _ in cells)}
            if kept != held.at & part.held.keys():
                return name
    return ""


def _shape(pack: Packing, of: Mapping[Key, str], thread: int) -> tuple[object, ...]:
    """Return what must agree between the slices of threads that are exchanged."""
    part: Slice = pack.slices[thread]
    kinds = tuple(sorted((name, kind) for (t, name), kind in of.items() if t == thread))
    held = tuple((place, tuple(sorted(cells.items()))) for place, cells in sorted(part.held.items()))
    return (
        part.pc.bits,
        tuple(part.places.items()),
        tuple((at.bits, at.bias) for at in part.registers),
        tuple(at.bits for at in part.parts),
        held,
        kinds,
    )
