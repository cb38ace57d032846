# SPDX-License-Identifier: Apache-2.0
"""Make a race of what a search found: a schedule, replayed step by step on the interpreter before anything is said.

A schedule is a list of (thread, choice): which CPU takes its next step, and which of the step's outcomes it takes.
Written in a token it is "0x12-1c2-1x3": twelve steps of CPU 0, one of CPU 1 with outcome 2, three more of CPU 1; "~"
stands where a cycle begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from unpinned.check.successors import Successors
from unpinned.ir.interp import Broke, Outcome, outcomes
from unpinned.ir.layout import initial, layout
from unpinned.ir.program import System
from unpinned.ir.rules import RULES, severity

Schedule = tuple[tuple[int, int], ...]


class InternalError(Exception):
    """Two engines disagree: a bug of unpinned, never a verdict."""


@dataclass(frozen=True, slots=True)
class Race:
    """A violation with its witness.

    `also` are the other rules that the last step breaks. `cycle` is the number of steps before the cycle begins, for
    `progress` and for an operation that spins; `stuck` is the CPU that can never go on, for `deadlock`. `shortest`
    says that no shorter race exists. `violating` of `states` states were seen to break a rule; both are 0 for a race
    that was only replayed.
    """

    system: System
    rule: str
    also: tuple[str, ...]
    schedule: Schedule
    switches: int
    shortest: bool
    violating: int
    states: int
    depth: int
    cycle: int | None = None
    stuck: int | None = None


#: A path from the initial state: each step's leaf, and the state that it leads to.
Path = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the search saw that a race was found in: states, how many of them break a rule, and the last level."""

    states: int
    violating: int
    depth: int


def race_of_path(
    successors: Successors,
    rule: str,
    path: Path,
    seen: Seen,
    shortest: bool,
    cycle: int | None = None,
    stuck: int | None = None,
) -> Race:
    """Return the race whose steps lead along a path.

    :raises InternalError: if the race does not replay.
    """
    schedule, _ = followed(successors, path)
    return race_of_schedule(successors.system, rule, schedule, seen, shortest, cycle, stuck)


def race_of_schedule(
    system: System,
    rule: str,
    schedule: Schedule,
    seen: Seen,
    shortest: bool,
    cycle: int | None = None,
    stuck: int | None = None,
) -> Race:
    """Return the race of a schedule.

    :raises InternalError: if it does not replay.
    """
    run = replay(system, schedule)
    switches = sum(a != b for (a, _), (b, _) in pairwise(schedule))
    counts = (seen.violating, seen.states, seen.depth)
    race = Race(system, rule, (), schedule, switches, shortest, *counts, cycle=cycle, stuck=stuck)
    return replace(race, also=_also_broken(race, run))


def followed(successors: Successors, path: Path) -> tuple[Schedule, list[Outcome]]:
    """Turn a path into a schedule, and take its steps on the interpreter.

    :raises InternalError: if it does not replay.
    """
    system, leaves = successors.system, successors.leaves
    schedule: list[tuple[int, int]] = []
    here = successors.initial
    for leaf, target in path:
        thread = leaves[leaf].thread
        ways = [step for step in successors.expand(here) if leaves[step[0]].thread == thread]
        schedule.append((thread, ways.index((leaf, target))))
        here = target
    run = replay(system, tuple(schedule))
    if (run[-1].state if run else successors.initial) != here:
        raise InternalError(f"a path of {system.name} does not replay: the interpreter and the search disagree")
    return tuple(schedule), run


def replay(system: System, schedule: Schedule) -> list[Outcome]:
    """Take the steps of a schedule on the interpreter and return their outcomes.

    :raises InternalError: if a step cannot be taken.
    """
    lay = layout(system)
    state = initial(lay)
    run: list[Outcome] = []
    for number, (thread, choice) in enumerate(schedule, start=1):
        if not 0 <= thread < len(system.threads):
            raise InternalError(f"step {number}: there is no CPU {thread}")
        ways = outcomes(system, lay, state, thread)
        if choice >= len(ways):
            raise InternalError(f"step {number}: CPU {thread} cannot take it")
        run.append(ways[choice])
        state = run[-1].state
    return run


def broken_by(outcome: Outcome) -> Broke | None:
    """Return the rule that a step broke, if it broke one."""
    return next((event for event in outcome.events if isinstance(event, Broke)), None)


def _also_broken(race: Race, run: list[Outcome]) -> tuple[str, ...]:
    """Return the other rules that the last step breaks, by taking it again with the broken ones let pass."""
    found: list[str] = []
    if not run or broken_by(run[-1]) is None:
        return ()
    lay = layout(race.system)
    before = run[-2].state if len(run) > 1 else initial(lay)
    thread, choice = race.schedule[-1]
    system = replace(race.system, promised=race.system.promised - {race.rule})
    while True:
        ways = outcomes(system, lay, before, thread)
        broke = broken_by(ways[choice]) if choice < len(ways) else None
        if broke is None or broke.check.rule not in RULES:
            return tuple(sorted(found, key=severity))
        found.append(broke.check.rule)
        system = replace(system, promised=system.promised - {broke.check.rule})


def write_schedule(schedule: Schedule, cycle: int | None) -> str:
    """Return a schedule as a token carries it."""
    parts: list[str] = []
    run: tuple[int, int] | None = None
    for number, (thread, choice) in enumerate(schedule):
        if number == cycle:
            parts, run = [*parts, "~"], None
        if choice:
            parts, run = [*parts, f"{thread}c{choice}"], None
        elif run is not None and run[0] == thread:
            run = (thread, run[1] + 1)
            parts[-1] = f"{thread}x{run[1]}"
        else:
            run = (thread, 1)
            parts.append(f"{thread}x1")
    if cycle == len(schedule):
        parts.append("~")
    return "-".join(parts)


def read_schedule(text: str) -> tuple[Schedule, int | None]:
    """Return the schedule and the start of its cycle from a token's text.

    :raises ValueError: if the text is no schedule.
    """
    schedule: list[tuple[int, int]] = []
    cycle = None
    for part in text.split("-"):
        if part == "~":
            cycle = len(schedule)
        elif "c" in part:
            thread, choice = part.split("c")
            schedule.append((int(thread), int(choice)))
        else:
            thread, count = part.split("x")
            if not 0 < int(count) <= 100_000 or len(schedule) > 100_000:
                raise ValueError("a schedule of this length was never printed")
            schedule += [(int(thread), 0)] * int(count)
    return tuple(schedule), cycle
