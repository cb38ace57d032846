# SPDX-License-Identifier: Apache-2.0
"""Search a reduced system for broken rules, and lead what is found back to the full program.

Reductions keep whether some promised rule is broken in a reachable state; they do not keep who waits for ever, nor
cycles, so deadlock and progress are left to the full search. A path under reductions is a sequence of blocks through
states that were renamed: it is made concrete step by step (a successor of the concrete state is taken that stands for
the next state of the path), each block is led back to the steps of the full program, and the whole is replayed on the
interpreter. If that fails, one of the reductions is wrong: an internal error, never a verdict. There is one exception:
a race that needs more bumps of a counter than it has bits for does not exist in the full program, which is undecided
there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unpinned.check.evidence import covered
from unpinned.check.successors import Successors, compile_system
from unpinned.check.witness import InternalError, Schedule, broken_by, replay
from unpinned.engine import explorer
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, LIMIT
from unpinned.reduce.lift import LiftError, lift
from unpinned.reduce.pipeline import Reduced, reduce_system


@dataclass(frozen=True, slots=True)
class SafetyResult:
    """What a reduced search gave: a schedule of the full system that breaks a rule, or none.

    `complete` says that it saw all, and met no bound of the model; then no schedule means that none exists. `unled`
    says that a rule is broken on a path that the full system does not have: right if a counter meets its bound there,
    which the abstraction of counters takes away, else a bug. `events` and `reached` are as in check/evidence.py, and
    `notes` say what was given up.
    """

    states: int
    depth: int
    complete: bool
    stopped: str
    schedule: Schedule | None
    rule: str
    unled: bool
    events: frozenset[str]
    reached: frozenset[tuple[str, int]]
    notes: tuple[str, ...]


def search_reduced(full: System, limits: Limits, tick: Callable[[Search], None] | None = None) -> SafetyResult:
    """Search a system under every reduction whose side condition holds.

    :raises InternalError: if a broken rule does not replay on the full system.
    """
    reduced = reduce_system(full)
    program = Program(reduced.system, symmetry=reduced.symmetry)
    search = Search(program, limits)
    try:
        search.run(tick)
        schedule, rule, unled = None, "", False
        if search.before:
            try:
                schedule, rule = _led_back(reduced, search)
            except LiftError:
                unled = True
        complete = search.complete and not search.count(explorer.LIMITS)
        odds = (odds_note(search.odds),) if search.compact else ()
        notes = (*odds, *reduced.notes, *program.symmetry.notes[len(reduced.symmetry.notes) :])
        passed = (what for leaf in search.passed() for what in program.leaves[leaf].passed)
        events, reached = covered(passed, search.waited)
        return SafetyResult(
            *(search.states, search.depth, complete, search.stopped, schedule, rule, unled),
            events=events,
            reached=reached,
            notes=notes,
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
    schedule = lift(reduced.full, path, reduced.system)
    broke = broken_by(replay(reduced.full, schedule)[-1])
    if broke is None or broke.check.rule != rule:
        raise InternalError(f"a race of {reduced.full.name} found under reductions breaks nothing when it is replayed")
    return schedule, rule


def _concrete(successors: Successors, search: Search, numbers: list[int]) -> list[tuple[int, bytes]]:
    """Return a path of the reduced system itself that goes through the orbits of some states: (thread, state)."""
    canonical = search.program.canonical
    here = successors.initial
    path: list[tuple[int, bytes]] = []
    for number in numbers[1:]:
        wanted = canonical(search.state(number))
        for leaf, after in successors.expand(here):
            if not after[BROKEN] and canonical(after) == wanted:
                path.append((successors.leaves[leaf].thread, after))
                here = after
                break
        else:
            raise InternalError(f"a path of {successors.system.name} leaves the orbits that were searched")
    return path
