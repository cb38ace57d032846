# SPDX-License-Identifier: Apache-2.0
"""Permute states as a symmetry says, and search one state of each orbit: slow, plain, and the oracle of the engine.

`moves` is the one table of how a variable is permuted: element (i, j, ..) of an array goes to the element with the
new names of i, j, .., and a value gets its new name. The block of a thread, its place and its locals, goes to the
thread that it becomes. A local that is renamed at some places only (reduce/kinds.py) keeps its value at the others;
in a broken state, which may lie in the midst of a step, such a local counts for nothing and is set to its initial
value, which merges only states that break the same rule and go nowhere.

The least state of an orbit stands for all of it. Families of which only the order of values matters are ranked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

from unpinned.ir.layout import BROKEN, Layout, Slot, shape
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, LIMIT
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.kinds import FRAME, GFN, OFFSET, PLAIN, Held, views
from unpinned.reduce.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Site:
    """How a variable is permuted: what each dimension counts and how long it is, and the type of its values.

    `thread` is None for a shared variable. The values are pages, 0 .. pages - 1 ("gfn"), pages plus one
    ("offset gfn"; 0 is none), frames 1 .. frames ("page"; 0 is none), or nothing that is renamed ("plain"). A local
    is renamed only while its thread stands at one of the places `at`, if that is not None.
    """

    name: str
    thread: int | None
    dims: tuple[tuple[str, int], ...]
    value: str
    at: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Permutation:
    """New names: page g becomes pages[g], frame f becomes frames[f] (frames[0] is 0), thread t becomes threads[t]."""

    pages: tuple[int, ...]
    frames: tuple[int, ...]
    threads: tuple[int, ...]


def moves(system: System, symmetry: Symmetry) -> tuple[Site, ...]:
    """Return for every variable how it is permuted."""
    seen = views(system)
    of_pages, of_frames = seen.pages, seen.frames
    extents = dict(system.extents)

    def site(thread: int | None, gfn: Held, frame: Held) -> Site:
        dims = shape(gfn.var, extents)
        if symmetry.pages and gfn.type in (GFN, OFFSET):
            return Site(gfn.var.name, thread, dims, gfn.type, gfn.at)
        if symmetry.frames and frame.type == FRAME:
            return Site(frame.var.name, thread, dims, FRAME, frame.at)
        return Site(gfn.var.name, thread, dims, PLAIN)

    sites = [site(None, held, of_frames.shared[name]) for name, held in of_pages.shared.items()]
    for t, (here, there) in enumerate(zip(of_pages.locals, of_frames.locals, strict=True)):
        sites += [site(t, held, there[name]) for name, held in here.items()]
    return tuple(sites)


def group(system: System, symmetry: Symmetry) -> list[Permutation]:
    """Return all permutations of a symmetry, the one that changes nothing first."""
    extents = dict(system.extents)
    gfns = tuple(range(extents.get("page", 0)))
    pfns = tuple(range(1, extents.get("frame", 0) + 1))
    all_gfns = list(permutations(gfns)) if symmetry.pages else [gfns]
    all_pfns = list(permutations(pfns)) if symmetry.frames else [pfns]
    orders = []
    for chosen in product(*(permutations(members) for members in symmetry.threads)):
        order = list(range(len(system.threads)))
        for members, new in zip(symmetry.threads, chosen, strict=True):
            for one, other in zip(members, new, strict=True):
                order[one] = other
        orders.append(tuple(order))
    return [Permutation(g, (0, *f), order) for order in orders for g in all_gfns for f in all_pfns]


@dataclass(frozen=True, slots=True)
class _Move:
    """Where a byte goes, and its new value by its old one (None: the same); `at` as in Site, of thread `thread`."""

    source: int
    target: int
    table: bytes | None
    thread: int | None
    at: frozenset[int] | None


class Orbits:
    """The orbits of the states of a system under a symmetry."""

    def __init__(self, system: System, symmetry: Symmetry, lay: Layout) -> None:
        self.lay = lay
        self.sites = moves(system, symmetry)
        self.group = group(system, symmetry)
        self.ranks = Ranks(symmetry.ranked, lay)
        self._forgotten = [self._slot(site) for site in self.sites if site.at is not None]
        self._moves: dict[Permutation, list[_Move]] = {}

    def apply(self, permutation: Permutation, state: bytes) -> bytes:
        """Return a state under new names."""
        moves_ = self._moves.get(permutation)
        if moves_ is None:
            moves_ = self._moves[permutation] = self._moves_of(permutation)
        state = self._settled(state)
        out = bytearray(state)
        places = [-1 if state[BROKEN] else self.lay.place(state, t) for t in range(len(self.lay.pc))]
        for move in moves_:
            value = state[move.source]
            if move.table is not None and (move.at is None or move.thread is None or places[move.thread] in move.at):
                value = move.table[value]
            out[move.target] = value
        return bytes(out)

    def canonical(self, state: bytes) -> bytes:
        """Return the least state of the orbit, with ranks."""
        ranked = self.ranks.renumbered(state)
        return min(self.apply(permutation, ranked) for permutation in self.group)

    def _settled(self, state: bytes) -> bytes:
        """Forget, in a broken state, the locals that are renamed at some places only."""
        if not state[BROKEN] or not self._forgotten:
            return state
        out = bytearray(state)
        for slot in self._forgotten:
            out[slot.at] = slot.var.init + slot.bias
        return bytes(out)

    def _slot(self, site: Site) -> Slot:
        return self.lay.shared[site.name] if site.thread is None else self.lay.locals[site.thread][site.name]

    def _moves_of(self, permutation: Permutation) -> list[_Move]:
        found = []
        for site in self.sites:
            source, table = self._slot(site), self._table(site, permutation)
            target = source
            if site.thread is not None:
                target = self.lay.locals[permutation.threads[site.thread]][site.name]
            for element in range(source.var.size):
                goal = _element(site, permutation, element)
                found.append(_Move(source.at + element, target.at + goal, table, site.thread, site.at))
        for thread, at in enumerate(self.lay.pc):
            goal = self.lay.pc[permutation.threads[thread]]
            found += [_Move(at + i, goal + i, None, None, None) for i in range(1 + self.lay.wide[thread])]
        return found

    def _table(self, site: Site, permutation: Permutation) -> bytes | None:
        """Return the new byte for each byte of a variable; None if all stay."""
        bias = self._slot(site).bias
        names: Sequence[int] = {
            GFN: permutation.pages,
            OFFSET: (0, *(page + 1 for page in permutation.pages)),
            FRAME: permutation.frames,
        }.get(site.value, ())
        table = bytearray(range(256))
        for old, new in enumerate(names):
            table[old + bias] = new + bias
        return bytes(table) if names else None


def _element(site: Site, permutation: Permutation, element: int) -> int:
    """Return the element that an element of an array becomes."""
    names = {
        "page": permutation.pages,
        "frame": permutation.frames,
        "vcpu": permutation.threads,
        "cpu": permutation.threads,
    }
    goal, stride = 0, 1
    for per, extent in reversed(site.dims):
        element, index = divmod(element, extent)
        new = names.get(per, ())
        goal += stride * (new[index] if index < len(new) else index)
        stride *= extent
    return goal if site.dims else element


@dataclass(slots=True)
class Quotient:
    """What a search of orbits saw: one state of each, those in which a rule is broken, those at a limit."""

    states: list[bytes] = field(default_factory=list)
    broken: list[bytes] = field(default_factory=list)
    limits: list[bytes] = field(default_factory=list)


def explore_quotient(
    initial: bytes,
    expand: Callable[[bytes], list[tuple[int, bytes]]],
    canonical: Callable[[bytes], bytes],
    most: int | None = None,
) -> Quotient:
    """Search one state of each orbit, past broken rules, to the end or until there are `most`.

    `expand` gives a state's (leaf, successor)s.
    """
    found = Quotient([canonical(initial)])
    seen = set(found.states)
    for state in found.states:
        if state[BROKEN]:
            (found.limits if state[BROKEN] == CODES[LIMIT] else found.broken).append(state)
            continue
        if most is not None and len(seen) >= most:
            break
        for _, successor in expand(state):
            kept = canonical(successor)
            if kept not in seen:
                seen.add(kept)
                found.states.append(kept)
    return found
