# SPDX-License-Identifier: Apache-2.0
"""Write and read the token of a race: plan, scenario, digest of the system, and schedule.

"Kvm2008Posted:1.1.zap:stale-use:5f0c2a91be:0c1-0x14-1x20-0x1": the plan's name; vCPUs, pages and operations, and
"/1" if they share one CPU; the rule that is broken; the digest of the lowered system (ir/digest.py); the schedule
(witness.py). With the plan file it suffices to take the same steps again on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from unpinned.check.graph import at_rest, fault_flags, goes_on, stuck
from unpinned.check.search import Bounds, explore
from unpinned.check.successors import compile_system
from unpinned.check.witness import InternalError, Race, Schedule, broken_by, read_schedule, replay, write_schedule
from unpinned.errors import ReplayError, UsageError
from unpinned.ir.digest import digest
from unpinned.ir.interp import Outcome, outcomes
from unpinned.ir.layout import initial, layout
from unpinned.ir.program import System
from unpinned.ir.rules import RULES
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build, promises, whole
from unpinned.plan.reading.classes import PlanClass

#: A token of a deadlock is believed only after a search of what follows, of so many states at most.
_MOST_STATES: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says."""

    plan: str
    scenario: Scenario
    digest: str
    rule: str
    schedule: Schedule
    cycle: int | None


def write_token(plan: PlanClass, scenario: Scenario, race: Race) -> str:
    """Return the token of a race."""
    where = ".".join([str(scenario.vcpus), str(scenario.pages), *scenario.ops])
    if scenario.cpus is not None:
        where += f"/{scenario.cpus}"
    return f"{plan.name}:{where}:{race.rule}:{_digest(plan, race.system)}:{write_schedule(race.schedule, race.cycle)}"


def _digest(plan: PlanClass, system: System) -> str:
    """Return the hash of a system and of all methods of its plan, those that the scenario does not call too."""
    return digest(system, *whole(plan))


def read_token(text: str) -> Token:
    """Read a token.

    :raises ReplayError: if it is none.
    """
    try:
        plan, where, rule, hash_, steps = text.strip().split(":")
        tasks, on, cpus = where.partition("/")
        vcpus, pages, *ops = tasks.split(".")
        scenario = Scenario(int(vcpus), int(pages), tuple(ops), int(cpus) if on else None)
        schedule, cycle = read_schedule(steps)
    except (ValueError, UsageError) as error:
        raise ReplayError(
            f"this is no token: {text[:60]}", hint="Copy the whole word after `unpinned replay` in the report."
        ) from error
    if rule not in RULES:
        raise ReplayError(f"this token names a rule that does not exist: {rule[:40]}", hint="Copy the whole word.")
    return Token(plan, scenario, hash_, rule, schedule, cycle)


def race_of(token: Token, plan: PlanClass) -> Race:
    """Take a token's steps on a plan and return the race.

    :raises ReplayError: if the plan is not the one that the token was made of, or the steps break no rule.
    """
    promised = promises(plan)
    system = build(plan, token.scenario, promised if token.rule in promised else frozenset({token.rule}))
    if _digest(plan, system) != token.digest:
        raise ReplayError(
            f"{plan.name} is not the plan that this token was made of: its steps, or unpinned's model, have changed",
            plan.pos,
            "Check the plan again: `unpinned check`; a race that is still there prints a new token.",
        )
    try:
        run = replay(system, token.schedule)
    except InternalError as error:
        raise ReplayError(f"the steps of this token cannot be taken: {error}", hint="Copy the whole token.") from error
    stuck_cpu = _stuck_after(system, run) if token.rule == "deadlock" else None
    if not _breaks(system, token, run, stuck_cpu):
        raise ReplayError(f"the steps of this token do not break {token.rule}", hint="Copy the whole token.")
    switches = sum(before[0] != after[0] for before, after in pairwise(token.schedule))
    return Race(system, token.rule, (), token.schedule, switches, False, 0, 0, 0, token.cycle, stuck_cpu)


def _breaks(system: System, token: Token, run: list[Outcome], stuck: int | None) -> bool:
    """Tell whether the steps of a token end in what it says: a broken rule, a CPU that is stuck, an endless fault."""
    broke = broken_by(run[-1]) if run else None
    if broke is not None:
        return broke.check.rule == token.rule and token.cycle is None
    states = [initial(layout(system)), *(outcome.state for outcome in run)]
    if token.cycle is not None and (token.cycle >= len(run) or states[token.cycle] != states[-1]):
        return False
    if token.rule == "deadlock":
        return stuck is not None
    return token.rule == "progress" and token.cycle is not None and _endless(system, token, states[token.cycle :])


def _endless(system: System, token: Token, states: list[bytes]) -> bool:
    """Tell whether a closed cycle of states is one in which no fault completes (check/graph.py: endless_fault)."""
    lay = layout(system)
    flags, going = fault_flags(system, lay), goes_on(system)
    moves = [thread for thread, _ in token.schedule[token.cycle :]]
    completed = any(
        t not in going or (t in flags and before[flags[t]] and not after[flags[t]])
        for t, (before, after) in zip(moves, pairwise(states), strict=True)
    )
    faulting = any(states[0][at] for at in flags.values())
    fair = all(t in moves or any(not outcomes(system, lay, state, t) for state in states) for t in going)
    return faulting and fair and not completed and all(at_rest(system, lay, state) for state in states)


def _stuck_after(system: System, run: list[Outcome]) -> int | None:
    """Search what can be reached from the end of a run, and return a CPU that can never go on there."""
    successors = compile_system(system)
    if run:
        successors = replace(successors, initial=run[-1].state)
    graph = explore(successors, Bounds(states=_MOST_STATES), to_end=True)
    if not graph.complete:
        raise ReplayError("what follows the steps of this token is too large to search")
    found = stuck(graph)
    return found[1] if found is not None and found[0].start == 0 else None
