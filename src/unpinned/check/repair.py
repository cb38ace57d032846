# SPDX-License-Identifier: Apache-2.0
"""Look for the smallest edits after which a plan holds on the required part of its ladder.

Every edit of vary/repairs.py is made and tried first in the scenario in which the plan itself races, which few survive.
Those that do are checked on all required rungs, the best first. If none holds, edits are made of plans with one edit:
first of those that got past the first race.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from unpinned.check.engines import DEFAULT, Options
from unpinned.check.ladder import Watch, climb
from unpinned.check.trial import Trials, required, result_of
from unpinned.check.verdict import (
    EXIT_HOLDS,
    EXIT_RACE,
    EXIT_UNDECIDED,
    PlanResult,
    Rung,
    RungResult,
    Verdict,
    exit_code,
)
from unpinned.errors import PlanError
from unpinned.plan.reading.classes import PlanClass
from unpinned.plan.reading.source import Source
from unpinned.vary.edits import variant
from unpinned.vary.proposals import edit_of
from unpinned.vary.repairs import proposals
from unpinned.vary.text import diff

#: Seconds for all that is tried.
REPAIR_TIME: Final = 60.0
#: So many repairs are looked for.
MOST: Final = 3


class Searched(IntEnum):
    """How far the edits were tried: not all single ones, those, those and some pairs, or all pairs."""

    SOME = 0
    SINGLE = 1
    PAIRS = 2


@dataclass(frozen=True, slots=True)
class Repair:
    """A plan that holds: the edits in words, the file before and after them, and what a check gave.

    `locked` is how many statements came under a lock that they were not under.
    """

    edits: tuple[str, ...]
    old: Source
    new: Source
    result: PlanResult
    locked: int

    @property
    def diff(self) -> str:
        """Return all edits as one unified diff."""
        return diff(self.old, self.new)


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The repairs of a plan, the best first; none, unless the plan itself, `base`, races.

    `tried` is how many plans with edits were searched, `searched` how far all edits were tried.
    """

    base: PlanResult
    repairs: tuple[Repair, ...]
    tried: int
    searched: Searched
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """Return 0 if the plan holds or a repair is offered, 1 if none exists, 3 if that is not known."""
        if self.base.verdict is not Verdict.RACE:
            return exit_code([self.base])
        if self.repairs:
            return EXIT_UNDECIDED if self.interrupted else EXIT_HOLDS
        return EXIT_RACE if self.searched is Searched.PAIRS else EXIT_UNDECIDED


def repair(plan: PlanClass, seconds: float, options: Options = DEFAULT, watch: Watch | None = None) -> RepairResult:
    """Check a plan, and if it races, look for edits after which it holds.

    An interrupt ends it and leaves what was found.

    :param seconds: the time for all of it.
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    trials = Trials(time.monotonic() + seconds, options, watch or Watch())
    base = climb(plan, seconds, None, True, options, trials.watch, promised_only=True)
    if base.verdict is not Verdict.RACE or base.interrupted:
        return RepairResult(base, (), 0, Searched.SOME, base.interrupted)
    trials.note(plan, base.rungs)
    search = _Search(plan, base.rungs[-1].rung, trials)
    return search.result(base)


@dataclass(slots=True)
class _Tried:
    """A plan with one or two edits, and what was found of it so far."""

    plan: PlanClass
    edits: tuple[str, ...]
    key: tuple[str, ...]
    locked: int
    size: tuple[int, int]
    results: list[RungResult] = field(default_factory=list)

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return what puts it before others: no longer lock hold, then the shorter diff."""
        return (self.locked, *self.size)

    @property
    def steps(self) -> int:
        """Return how many steps its race takes; 0 if none is known."""
        races = [len(result.race.schedule) for result in self.results if result.race is not None]
        return max(races, default=0)

    @property
    def races(self) -> bool:
        return any(result.verdict is not Verdict.HOLDS for result in self.results)


@dataclass(slots=True)
class _Search:
    """The search for repairs of a plan that races on a rung."""

    plan: PlanClass
    first: Rung
    trials: Trials
    tried: int = 0
    seen: set[str] = field(default_factory=set)

    def result(self, base: PlanResult) -> RepairResult:
        """Try one edit, and two where one does not do."""
        rungs = [self.first, *(rung for rung in required(self.plan) if rung != self.first)]
        self.seen.add(self.plan.source.text)
        singles = list(self.edited(_Tried(self.plan, (), (), 0, (0, 0))))
        searched = Searched.SOME if self.trials.over else Searched.SINGLE
        held = self.holding(singles, rungs)
        if not held:
            for one in _halves(singles):
                if not held and not self.trials.over:
                    held = self.holding(list(self.edited(one)), rungs)
            searched = searched if held or self.trials.over else Searched.PAIRS
        repairs = tuple(
            Repair(one.edits, self.plan.source, one.plan.source, result_of(one.plan, one.results, rungs), one.locked)
            for one in held
        )
        return RepairResult(base, repairs, self.tried, searched, self.trials.interrupted)

    def edited(self, one: _Tried) -> Iterator[_Tried]:
        """Yield the plans that one more edit makes, each tried where the plan itself races and where `one` did."""
        where = list(dict.fromkeys([self.first, *(result.rung for result in one.results[-1:])]))
        for proposal in proposals(one.plan):
            if self.trials.over:
                return
            try:
                new = variant(one.plan, edit_of(one.plan, proposal)).plan
                if new.source.text in self.seen:
                    continue
                self.seen.add(new.source.text)
                key, locked = (*one.key, *proposal.key), one.locked + proposal.locked
                found = _Tried(new, (*one.edits, proposal.what), key, locked, _size(self.plan, new))
                self.tried += 1
                for rung in where:
                    self.search(found, rung)
            except PlanError:  # what the edit makes of it is not in the language
                continue
            yield found

    def holding(self, tried: Sequence[_Tried], rungs: Sequence[Rung]) -> list[_Tried]:
        """Return those that hold on every required rung, the best first, and of those that are alike one."""
        held: list[_Tried] = []
        for one in sorted((one for one in tried if not one.races), key=lambda one: one.rank):
            if len(held) == MOST or self.trials.over:
                break
            if any(one.key == other.key for other in held):
                continue
            try:
                for rung in rungs:
                    self.search(one, rung)
            except PlanError:
                continue
            if result_of(one.plan, one.results, rungs).verdict is Verdict.HOLDS:
                held.append(one)
        return held

    def search(self, one: _Tried, rung: Rung) -> None:
        """Search a rung of a plan, unless it races, the time is up, or that was done."""
        done = one.races or any(result.rung == rung for result in one.results)
        if not done and not self.trials.over:
            one.results.append(self.trials.search(one.plan, rung, f"{self.plan.name} #{self.tried}"))


def _halves(singles: Sequence[_Tried]) -> Iterator[_Tried]:
    """Yield plans with one edit, those first that are likely to be half of a repair.

    They are held in more scenarios than others, or race later: or else they are small.
    """
    small = sorted(singles, key=lambda one: (-len(one.results), one.rank))
    late = sorted(singles, key=lambda one: (-len(one.results), -one.steps, one.rank))
    yield from {id(one): one for pair in zip(small, late, strict=True) for one in pair}.values()


def _size(old: PlanClass, new: PlanClass) -> tuple[int, int]:
    """Return the lines and the characters that go and come in a diff."""
    lines = [line for line in diff(old.source, new.source).splitlines()[2:] if line[0] in "+-"]
    return len(lines), sum(map(len, lines))
