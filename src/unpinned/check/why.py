# SPDX-License-Identifier: Apache-2.0
"""Say which elements of a plan are needed: each is taken out or swapped in turn, and the variant is checked.

A variant that races mostly does so in a small scenario, and one that holds needs the whole required part of the ladder.
So the rungs come from small to large, and every variant that is still open is tried on one before the next begins: what
can be said soon is said, even if the time is up before the rest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from unpinned.check.engines import DEFAULT, Options
from unpinned.check.ladder import Watch, climb
from unpinned.check.trial import Trials, required, result_of
from unpinned.check.verdict import EXIT_HOLDS, EXIT_UNDECIDED, PlanResult, Rung, RungResult, Verdict, exit_code, unseen
from unpinned.errors import PlanError
from unpinned.ir.rules import severity
from unpinned.mm.system import whole
from unpinned.plan.reading.classes import PlanClass
from unpinned.vary.edits import Edit, variant
from unpinned.vary.elements import Element, elements

#: Seconds for a plan and all of its variants.
WHY_TIME: Final = 30.0

#: Events without which a plan is of no use, whatever it keeps.
_USE: Final = {"map", "tlb-hit"}


class Need(StrEnum):
    """Whether a plan needs an element; *not judged* where it is no plan of the language without."""

    NEEDED = "needed"
    NOT_NEEDED = "not needed"
    UNDECIDED = "undecided"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do without an element: the edit, and what a check of the variant gave."""

    edit: Edit
    result: PlanResult


@dataclass(frozen=True, slots=True)
class Judged:
    """An element, and what is known of it.

    `way` is the way that decided: one that holds, else the one with the most severe race, else one that is undecided.
    `why` says in words what a race does not: why it is not known, or what else goes wrong.
    """

    element: Element
    need: Need
    why: str
    way: Way | None


@dataclass(frozen=True, slots=True)
class WhyResult:
    """What is known of the elements of a plan; nothing, unless the plan itself `base` holds."""

    base: PlanResult
    judged: tuple[Judged, ...]
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """Return the exit code: that of a check of the plan, or 3 if an element is undecided."""
        if self.base.verdict is not Verdict.HOLDS:
            return exit_code([self.base])
        doubt = self.interrupted or any(one.need is Need.UNDECIDED for one in self.judged)
        return EXIT_UNDECIDED if doubt else EXIT_HOLDS


def judge_elements(
    plan: PlanClass, seconds: float, options: Options = DEFAULT, watch: Watch | None = None
) -> WhyResult:
    """Check a plan, and then without each of its elements.

    An interrupt ends it and leaves what was found.

    :param seconds: the time for all of it.
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    trials = Trials(time.monotonic() + seconds, options, watch or Watch())
    base = climb(plan, seconds, None, True, options, trials.watch, promised_only=True)
    if base.verdict is not Verdict.HOLDS or base.interrupted:
        return WhyResult(base, (), base.interrupted)
    trials.note(plan, base.rungs)
    judged = _judge(plan, elements(plan), required(plan), trials)
    return WhyResult(base, judged, trials.interrupted)


def judge_element(
    plan: PlanClass, element: Element, seconds: float, options: Options = DEFAULT, watch: Watch | None = None
) -> Judged:
    """Check a plan without one of its elements, and do not ask whether it holds with it.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    whole(plan)
    trials = Trials(time.monotonic() + seconds, options, watch or Watch())
    (judged,) = _judge(plan, [element], required(plan), trials)
    return judged


def _judge(plan: PlanClass, chosen: Sequence[Element], rungs: Sequence[Rung], trials: Trials) -> tuple[Judged, ...]:
    """Try the variants of elements rung by rung, each until it races."""
    asked = [_asked(plan, element) for element in chosen]
    for rung in rungs:
        for number, one in enumerate(asked, 1):
            for trial in [trial for trial in one.trials if not trial.over]:
                if trials.over:
                    break
                try:
                    trial.results.append(trials.search(trial.plan, rung, f"{plan.name} {number}/{len(asked)}"))
                except PlanError as error:
                    one.refuse(error)
                    one.trials.remove(trial)
    return tuple(_judged(one, rungs) for one in asked)


@dataclass(slots=True)
class _Trial:
    """A variant, and what was found of it so far."""

    edit: Edit
    plan: PlanClass
    results: list[RungResult] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return any(result.verdict is Verdict.RACE for result in self.results)


@dataclass(slots=True)
class _Asked:
    """An element with its variants; `refused` says why the others are no plans."""

    element: Element
    trials: list[_Trial]
    refused: str = ""

    def refuse(self, error: PlanError) -> None:
        """Keep why a variant is no plan."""
        self.refused = self.refused or f"the plan would not be in the language: {error.what}"


def _asked(plan: PlanClass, element: Element) -> _Asked:
    """Make the variants of an element."""
    asked = _Asked(element, [])
    for edit in element.edits:
        try:
            asked.trials.append(_Trial(edit, variant(plan, edit).plan))
        except PlanError as error:
            asked.refuse(error)
    return asked


def _judged(asked: _Asked, rungs: Sequence[Rung]) -> Judged:
    """Say whether an element is needed: it is not, if there is a way to do without it that holds."""
    if not asked.trials:
        return Judged(asked.element, Need.NOT_JUDGED, asked.refused, None)
    of_no_use = ""
    worst: Way | None = None
    undecided: Way | None = None
    for trial in asked.trials:
        way = Way(trial.edit, result_of(trial.plan, trial.results, rungs))
        race, idle = way.result.race, _vacuous(way.result)
        if way.result.verdict is Verdict.HOLDS:
            return Judged(asked.element, Need.NOT_NEEDED, "", way)
        if race is not None:
            known = worst.result.race if worst else None
            worst = way if known is None or severity(race.rule) < severity(known.rule) else worst
        elif idle and not idle.keys() & _USE:
            return Judged(asked.element, Need.NOT_NEEDED, _without(idle), way)
        elif idle:
            of_no_use, worst = _without(idle), worst or way
        else:
            undecided = undecided or way
    if undecided is not None:
        return Judged(asked.element, Need.UNDECIDED, undecided.result.why[0], undecided)
    assert worst is not None
    return Judged(asked.element, Need.NEEDED, "" if worst.result.race else of_no_use, worst)


def _vacuous(result: PlanResult) -> dict[str, str]:
    """Return what was never seen of a variant in which nothing goes wrong."""
    whole = all(rung.verdict is Verdict.HOLDS for rung in result.rungs)
    if not whole or len(result.rungs) < len(required(result.plan)):
        return {}
    return unseen(result.plan, result.rungs)


def _without(idle: dict[str, str]) -> str:
    return f"without it {next(iter(idle.values()))}"
