# SPDX-License-Identifier: Apache-2.0
"""Turn a symmetry that was found into a packing whose states can be renamed, and the text that renames them.

reduce/symmetry.py proves which renamings are automorphisms; here it is only asked which fields they move. What a packed
state cannot express is given up, with a note: too many frames for a table, threads whose slices differ, or a local that
is renamed where a packed state has no place for it (or not renamed where it has one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unpinned.engine.canonical import Canon
from unpinned.engine.packing import SHARED, Key, Kinds, Packing, Slice, packing
from unpinned.ir.program import System, Var
from unpinned.reduce.kinds import FRAME, GFN, OFFSET, View, frames, pages, view
from unpinned.reduce.symmetry import Symmetry

_KINDS = {FRAME: "frame", GFN: "page", OFFSET: "page+1"}


@dataclass(frozen=True, slots=True)
class Quotient:
    """A packing, canon() for it ("" if nothing can be renamed), what is used of the symmetry, and notes."""

    pack: Packing
    canon: str
    symmetry: Symmetry


def quotient(system: System, symmetry: Symmetry) -> Quotient:
    """Use as much of a symmetry as a packed state can express."""
    symmetry = _expressible(system, symmetry)
    while True:
        of: dict[Key, str] = {}
        if symmetry.frames:
            of |= _values(view(system, frames(system)))
        seen = view(system, pages(system)) if symmetry.pages else None
        if seen is not None:
            of |= _values(seen)
        renamed = symmetry.pages or symmetry.frames
        pack = packing(system, Kinds(symmetry.threads, of, renamed))
        if seen is not None and (name := _misplaced(seen, pack)):
            symmetry = _without(symmetry, f"pages: {name} is not kept where it is renamed", pages=False)
            continue
        unlike = [group for group in symmetry.threads if len({_shape(pack.slices[t]) for t in group}) > 1]
        if unlike:
            names = " and ".join(system.threads[t].name for t in unlike[0])
            symmetry = _without(symmetry, f"threads {names}: their packed parts differ")
            symmetry = replace(symmetry, threads=tuple(group for group in symmetry.threads if group not in unlike))
            continue
        extents = dict(system.extents)
        counts = (extents["page"] if symmetry.pages else 1, extents["frame"] if symmetry.frames else 1)
        if not symmetry.threads and max(counts) == 1:
            return Quotient(pack, "", symmetry)
        try:
            return Quotient(pack, Canon(pack, symmetry.threads, *counts, of).text(), symmetry)
        except ValueError as error:
            symmetry = _without(symmetry, f"pages and frames: {error}", pages=False, frames=False)


def _expressible(system: System, symmetry: Symmetry) -> Symmetry:
    """Give up what moves something that canonical.py has no way to move."""
    if symmetry.frames:
        seen = view(system, frames(system))
        for var, type_ in _held(seen):
            if type_ == FRAME and var.init != 0 and var in _locals(system):
                symmetry = _without(symmetry, f"frames: {var.name} begins as a frame", frames=False)
            elif "frame" in var.per and (type_ == FRAME or var in _locals(system)):
                symmetry = _without(symmetry, f"frames: {var.name} counts frames and holds some", frames=False)
    if symmetry.pages:
        seen = view(system, pages(system))
        for var, type_ in _held(seen):
            if type_ in (GFN, OFFSET) and var.size > 1 and var in _locals(system):
                symmetry = _without(symmetry, f"pages: {var.name} is a local array of pages", pages=False)
    inner = [var.name for var in system.shared if {"cpu", "vcpu"} & set(var.per[1:])]
    if inner and symmetry.threads:
        symmetry = replace(_without(symmetry, f"threads: {inner[0]} does not count CPUs first"), threads=())
    return symmetry


def _held(seen: View) -> list[tuple[Var, str]]:
    """Return each variable with the type of what it holds."""
    return [(held.var, held.type) for mine in (seen.shared, *seen.locals) for held in mine.values()]


def _locals(system: System) -> frozenset[Var]:
    return frozenset(var for thread in system.threads for var in thread.locals)


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


def _shape(part: Slice) -> tuple[object, ...]:
    """Return what must agree between the slices of threads that are exchanged."""
    held = tuple((place, tuple(sorted(cells.items()))) for place, cells in sorted(part.held.items()))
    return (
        part.pc.bits,
        tuple(part.places.items()),
        tuple((at.bits, at.bias) for at in part.registers),
        tuple(at.bits for at in part.parts),
        held,
    )
