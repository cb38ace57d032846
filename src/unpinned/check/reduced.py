# SPDX-License-Identifier: Apache-2.0
"""Search a reduced system for broken rules, and lead what is found back to the full program.

Reductions keep whether some promised rule is broken in a reachable state; they do not keep who waits for ever, nor
cycles, so deadlock and progress are left to the full search. A path under reductions is a sequence of blocks through
states that were renamed: it is made concrete step by step (a successor of the concrete state is taken that is in the
orbit of the next state of the path), each block is led back to the steps of the full program, and the whole is replayed
on the interpreter. If that fails, one of the reductions is wrong: an internal error, never a verdict. There is one
exception: a race that needs more bumps of a counter than it has bits for does not exist in the full program, which is
undecided there.

**When a state is in an orbit.** A state of the path was stored as canon(t), t a successor of the state before. An orbit
may have several such forms, if frames that look alike to canon() are not (engine/canonical.py): which one it gives
follows from the order of these frames' numbers, and from nothing else, for threads are sorted and of pages every
permutation is tried. So a state is in the orbit of t if and only if there are names for its frames under which its form
is canon(t). The state's own names are tried first; only where an orbit has several forms are others needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, permutations
from math import factorial
from typing import Final

from unpinned.check.evidence import covered
from unpinned.check.successors import Successors, compile_system
from unpinned.check.witness import InternalError, Schedule, broken_by, replay
from unpinned.engine import explorer
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, LIMIT
from unpinned.reduce.kinds import Held, Naming, frames, view
from unpinned.reduce.lift import LiftError, lift
from unpinned.reduce.pipeline import Reduced, not_alike, reduce_system
from unpinned.reduce.ranks import Ranks

#: So many names for all frames are tried at most: those of seven frames.
_MOST_NAMES: Final = 5040


@dataclass(frozen=True, slots=True)
class SafetyResult:
    """What a reduced search gave: a schedule of the full system that breaks a rule, or none.

    `complete` says that it saw all, and met no bound of the model; then no schedule means that none exists. `unled`
    says, if a rule is broken and no schedule was found, why: the full system may lack the path, if a counter meets its
    bound there, which the abstraction of counters takes away. `events` and `reached` are as in check/evidence.py,
    `notes` say how far the result can be trusted, and `given_up` which reductions could not be made.
    """

    states: int
    depth: int
    complete: bool
    stopped: str
    schedule: Schedule | None
    rule: str
    unled: str
    events: frozenset[str]
    reached: frozenset[tuple[str, int]]
    notes: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()


def search_reduced(full: System, limits: Limits, tick: Callable[[Search], None] | None = None) -> SafetyResult:
    """Search a system under every reduction whose side condition holds.

    :raises InternalError: if a broken rule does not replay on the full system.
    :raises UnfitError: if the reduced system cannot be compiled, which says nothing of the full one.
    :raises UsageError: if the system grants no address space.
    """
    reduced = reduce_system(full)
    program = Program(reduced.system, symmetry=reduced.symmetry)
    search = Search(program, limits)
    try:
        search.run(tick)
        schedule, rule, unled = None, "", ""
        if search.before:
            try:
                schedule, rule = _led_back(reduced, search)
            except LiftError:
                unled = "with reductions a rule is broken beyond the bounds of a counter: give it more bits"
            except _FormsError as error:
                unled = f"with reductions a rule is broken, and the way there was not found: {error}"
        complete = search.complete and not search.count(explorer.LIMITS)
        odds = (odds_note(search.odds),) if search.compact and complete else ()
        note = (search.note,) if search.note else ()
        unpacked = program.symmetry.notes[len(reduced.symmetry.notes) :]
        passed = (what for leaf in search.passed() for what in program.leaves[leaf].passed)
        events, reached = covered(passed, search.waited)
        return SafetyResult(
            *(search.states, search.depth, complete, search.stopped, schedule, rule, unled),
            events=events,
            reached=reached,
            notes=(*odds, *note),
            given_up=(*reduced.notes, *map(not_alike, unpacked)),
        )
    finally:
        search.close()


def odds_note(odds: float) -> str:
    """Say what it means that states were told apart by hashes."""
    return (
        f"states were told apart by 64-bit hashes: one was missed with a probability of at most {odds:.1e} "
        "(--seed tries other hashes)"
    )


def _led_back(reduced: Reduced, search: Search) -> tuple[Schedule, str]:
    """Return the schedule of the full system that goes where the first broken path of the reduced one goes.

    :raises LiftError: if there is none.
    :raises _FormsError: as _concrete() does.
    """
    successors = compile_system(reduced.system)
    target = search.filed(explorer.BROKEN, search.before)[0]
    path = _concrete(successors, search, search.path(target))
    here = path[-1][1] if path else successors.initial
    leaf, broken = next(
        (leaf, after) for leaf, after in successors.expand(here) if after[BROKEN] not in (0, CODES[LIMIT])
    )
    path.append((successors.leaves[leaf].thread, broken))
    rule = next(name for name, code in CODES.items() if code == broken[BROKEN])
    schedule = lift(reduced.full, path, reduced.system, reduced.symmetry.ranked)
    broke = broken_by(replay(reduced.full, schedule)[-1])
    if broke is None or broke.check.rule != rule:
        raise InternalError(f"a race of {reduced.full.name} found under reductions breaks nothing when it is replayed")
    return schedule, rule


def _concrete(successors: Successors, search: Search, numbers: list[int]) -> list[tuple[int, bytes]]:
    """Return a path of the reduced system itself that goes through the orbits of some states: (thread, state).

    :raises _FormsError: if an orbit has several forms, and there are too many names for its frames to try them all.
    """
    canonical = search.program.canonical
    frames_ = _Frames(search.program)
    ranks = Ranks(search.program.symmetry.ranked, search.program.pack.lay)
    here = successors.initial
    path: list[tuple[int, bytes]] = []
    for number in numbers[1:]:
        wanted = search.packed(number)
        steps = [(leaf, after) for leaf, after in successors.expand(here) if not after[BROKEN]]
        found = next((step for step in steps if canonical(step[1]) == wanted), None)
        if found is None:
            renamed = ((step, name) for step in steps for name in frames_.renamed(step[1]))
            found = next((step for step, name in renamed if canonical(name) == wanted), None)
        if found is None and frames_.are_many:
            raise _FormsError("its frames have too many names")
        if found is None:
            raise InternalError(f"a path of {successors.system.name} leaves the orbits that were searched")
        leaf, after = found
        here = ranks.renumbered(after)
        path.append((successors.leaves[leaf].thread, here))
    return path


class _FormsError(Exception):
    """A state is in an orbit that has too many forms for it to be seen."""


class _Frames:
    """The frames of a system that are alike, and what is renamed with them: bytes of states, and arrays by frame."""

    def __init__(self, program: Program) -> None:
        self.alike = program.symmetry.frames
        seen, lay = view(program.system, frames(program.system)), program.pack.lay
        self.kind = seen.kind
        self.sites = [(slot, seen.shared[name]) for name, slot in lay.shared.items()]
        for slots, mine in zip(lay.locals, seen.locals, strict=True):
            self.sites += [(slot, mine[name]) for name, slot in slots.items()]
        dims = self.kind.dims
        self.sites = [
            (slot, held)
            for slot, held in self.sites
            if held.type in self.kind.types or any(per in dims for per, _ in held.dims)
        ]

    @property
    def are_many(self) -> bool:
        """Tell whether there are more names for all of them than are tried."""
        return self.alike and factorial(self.kind.count) > _MOST_NAMES

    def renamed(self, state: bytes) -> Iterator[bytes]:
        """Yield a state under all other names of its frames, or some of them."""
        names = range(self.kind.first, self.kind.first + self.kind.count)
        for new in islice(permutations(names), 1, _MOST_NAMES if self.alike else 1):
            naming = Naming(self.kind, dict(zip(names, new, strict=True)))
            out = bytearray(state)
            for slot, held in self.sites:
                for element in range(slot.var.size):
                    value = naming.value(held.type, state[slot.at + element] - slot.bias)
                    out[slot.at + _element(held, naming, element)] = value + slot.bias
            yield bytes(out)


def _element(held: Held, naming: Naming, element: int) -> int:
    """Return the element of an array that an element becomes under new names."""
    goal, stride = 0, 1
    for per, extent in reversed(held.dims):
        element, index = divmod(element, extent)
        goal += stride * naming.value(naming.kind.dims.get(per, ""), index)
        stride *= extent
    return goal if held.dims else element
