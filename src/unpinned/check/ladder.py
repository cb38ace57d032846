# SPDX-License-Identifier: Apache-2.0
"""Climb from small scenarios to large ones: the search of a plan within a time.

The required part is sized so that this engine ends it in half of the default time; a pass needs all of it. Later
rungs run while time is left.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations
from typing import Final

from unpinned.check.engines import DEFAULT, Options, examine
from unpinned.check.evidence import Sight
from unpinned.check.verdict import (
    INTERRUPTED,
    PlanResult,
    Rung,
    RungResult,
    Verdict,
    decide,
    interrupted_rung,
    judge,
)
from unpinned.check.witness import Race
from unpinned.ir.program import System
from unpinned.mm.scenario import OF_THREADS, Scenario
from unpinned.mm.system import build, promises, rules, whole
from unpinned.plan.reading.classes import PlanClass

DEFAULT_TIME: Final = 10.0  # seconds

#: Operations that the required part leaves out, to stay within its time: munmap tells the client in the same way.
_LATER: Final = ("mprotect", "mremap")

#: A later rung is not begun with less than this share of the time left.
_LEAST: Final = 0.02


class Watch:
    """What a caller may follow; this one follows nothing."""

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        """Hear that the search of a rung begins."""

    def tick(self, sight: Sight) -> None:
        """Hear now and then what a search has seen so far."""

    def done(self, _result: RungResult) -> None:
        """Hear what a rung gave."""


UNWATCHED: Final = Watch()


def ladder(plan: PlanClass) -> tuple[Rung, ...]:
    """Return the rungs for the operations that a plan admits, required ones first, from small to large."""
    ops = tuple(op for op in plan.admitted if op != "exit")
    required, later = _of_threads(plan, ops) if ops else ([], [])
    if "exit" in plan.admitted:
        required += [Scenario(1, 1, ("exit",))]
        required += [Scenario(1, 1, (other, "exit")) for other in (*ops, *plan.own) if other not in OF_THREADS]
        required += [Scenario(2, 1, ("exit",)), Scenario(1, 2, ("exit",))]
    rungs = dict.fromkeys(required, True)
    for scenario in later:
        swapped = Scenario(scenario.vcpus, scenario.pages, scenario.ops[::-1])
        if scenario not in rungs and swapped not in rungs:
            rungs[scenario] = False
    return tuple(Rung(scenario, needed) for scenario, needed in rungs.items())


def _of_threads(plan: PlanClass, ops: tuple[str, ...]) -> tuple[list[Scenario], list[Scenario]]:
    """Return the required scenarios, and the later ones, of operations that may run beside each other."""
    every, ops = ops, tuple(op for op in ops if op not in _LATER) or ops
    ranges = tuple(op for op in ops if op != "reclaim") or ops
    required = [Scenario(1, 1, (op,)) for op in ops]
    # Each operation of the client's own beside a fault, beside each of the mm's, and beside the others of its own.
    own = plan.own
    required += [Scenario(1, 1, (name,)) for name in own]
    required += [Scenario(1, 1, (op, name)) for name in own for op in ops]
    required += [Scenario(1, 1, pair) for pair in combinations(own, 2)]
    required.append(Scenario(1, 1, (ranges[0], ranges[0])))
    if ranges != ops:
        required.append(Scenario(1, 1, (ranges[0], "reclaim")))
    if {"fork", "cow"} <= set(ops):
        required.append(Scenario(1, 1, ("fork", "cow")))
    required.append(Scenario(2, 1, (ops[0],)))
    required.append(Scenario(1, 2, (ranges[0],)))
    # Two operations on different pages: aimed, so that what they might do to other pages too is left to larger rungs.
    unlike = [op for op in ops if op != "munmap"] or ["munmap"]
    other = "reclaim" if "reclaim" in unlike else unlike[-1]
    required.append(Scenario(1, 2, (f"{unlike[0]}@0", f"{other}@1")))
    later = [Scenario(1, 1, (op,)) for op in every]
    later += [Scenario(1, 2, (f"{op}@0", f"{op}@1")) for op in unlike]
    later += [Scenario(2, 1, (op,)) for op in every]
    later += [Scenario(1, 2, (op,)) for op in every]
    later += [Scenario(1, 1, (first, second)) for first in every for second in every if first <= second]
    later += [Scenario(2, 1, (op, op)) for op in every]
    later += [Scenario(1, 2, (first, second)) for first in every for second in every if first <= second]
    later += [Scenario(2, 2, (op,)) for op in every]
    later += [Scenario(1, 1, (op, name)) for name in own for op in every]
    later += [Scenario(2, 1, (name,)) for name in own]
    later += [Scenario(1, 2, (ops[0], name)) for name in own]
    later += [Scenario(2, 1, (ops[0], name)) for name in own]
    return required, later


def climb(
    plan: PlanClass,
    seconds: float = DEFAULT_TIME,
    scenario: Scenario | None = None,
    required_only: bool = False,
    options: Options = DEFAULT,
    watch: Watch = UNWATCHED,
    promised_only: bool = False,
) -> PlanResult:
    """Search the rungs of a plan until a race is found or the time is up.

    :param seconds: the time for this plan.
    :param scenario: search this one scenario, as a required rung, and no ladder.
    :param required_only: leave out the later rungs, so that the result does not depend on the machine's speed.
    :param options: which engine searches, and what it may take.
    :param promised_only: do not look for races on rules that the plan does not promise.

    An interrupt ends it and leaves what was found.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    deadline = time.monotonic() + seconds
    whole(plan)
    rungs = ladder(plan) if scenario is None else (Rung(scenario, required=True),)
    rungs = tuple(rung for rung in rungs if rung.required or not required_only)
    results: list[RungResult] = []
    interrupted = False
    for rung in rungs:
        if interrupted or time.monotonic() > deadline - (0 if rung.required else _LEAST * seconds):
            break
        watch.rung(plan, rung)
        try:
            result = _search(plan, rung, promises(plan), deadline, options, watch)
        except KeyboardInterrupt:
            result = interrupted_rung(rung)
        watch.done(result)
        results.append(result)
        interrupted = result.interrupted
        if result.verdict is Verdict.RACE:
            break
    verdict, why = decide(plan, results, rungs)
    races: list[tuple[Scenario, Race]] = []
    others = () if promised_only else (rule for rule in rules(plan) if rule not in promises(plan))
    unsearched = dict.fromkeys(others, INTERRUPTED)
    try:
        interrupted = interrupted or _look_for(plan, rungs, unsearched, races, deadline, options, watch)
    except KeyboardInterrupt:
        interrupted = True
    kept = options.checkpoint is not None and any(options.checkpoint.glob("*/checkpoint.json"))
    return PlanResult(plan, tuple(results), tuple(races), unsearched, verdict, why, interrupted, kept)


def _search(
    plan: PlanClass, rung: Rung, promised: frozenset[str], deadline: float, options: Options, watch: Watch
) -> RungResult:
    return search_rung(build(plan, rung.scenario, promised), rung, deadline, options, watch)


def search_rung(
    system: System, rung: Rung, deadline: float, options: Options = DEFAULT, watch: Watch = UNWATCHED
) -> RungResult:
    """Search the system of a plan and a rung, and decide it; an interrupt ends it and leaves what was found.

    :param deadline: when to stop, as time.monotonic() tells it.
    """
    evidence = examine(system, deadline, options, watch.tick)
    try:
        return judge(rung, evidence)
    except KeyboardInterrupt:
        return judge(rung, replace(evidence, complete=False, stopped="interrupt"))


def _look_for(
    plan: PlanClass,
    rungs: tuple[Rung, ...],
    rules: dict[str, str],
    races: list[tuple[Scenario, Race]],
    deadline: float,
    options: Options,
    watch: Watch,
) -> bool:
    """Look on the required rungs for races on rules that the plan does not promise; tell whether it was interrupted.

    A rule that was looked for to the end goes from `rules`, and the first race on it into `races`; the others get the
    reason why they were not.
    """
    for rule in list(rules):
        for rung in (rung for rung in rungs if rung.required):
            watch.rung(plan, rung)
            result = _search(plan, rung, frozenset({rule}), deadline, options, watch)
            watch.done(result)
            if result.race is not None:
                races.append((rung.scenario, result.race))
            if result.verdict is not Verdict.HOLDS:
                break
        rules[rule] = result.why
        if result.verdict is not Verdict.UNDECIDED:
            del rules[rule]
        if result.interrupted:
            return True
    return False
