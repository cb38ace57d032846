# SPDX-License-Identifier: Apache-2.0
"""Try variants of a plan on the rungs of its ladder, and search no system twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from unpinned.check.engines import Options
from unpinned.check.ladder import Watch, ladder, search_rung
from unpinned.check.verdict import PlanResult, Rung, RungResult, Verdict, decide, interrupted_rung
from unpinned.ir.digest import dump
from unpinned.mm.system import build, promises
from unpinned.plan.reading.classes import PlanClass


def required(plan: PlanClass) -> tuple[Rung, ...]:
    """Return the required rungs of a plan's ladder."""
    return tuple(rung for rung in ladder(plan) if rung.required)


def result_of(plan: PlanClass, results: Sequence[RungResult], rungs: Sequence[Rung]) -> PlanResult:
    """Return what is known of a variant after some of its rungs."""
    verdict, why = decide(plan, results, rungs)
    interrupted = any(result.interrupted for result in results)
    return PlanResult(plan, tuple(results), (), {}, verdict, why, interrupted)


@dataclass(slots=True)
class Trials:
    """Searches of variants: until when, how, and what was found of each system so far."""

    deadline: float
    options: Options
    watch: Watch
    interrupted: bool = False
    #: What was found of each system, by its text.
    _known: dict[str, RungResult] = field(default_factory=dict)
    #: Rungs on which the plan itself was too large for the reference engine, as its variants will be.
    _large: set[Rung] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Tell whether no further search may begin."""
        return self.interrupted or time.monotonic() > self.deadline

    def note(self, plan: PlanClass, results: Sequence[RungResult]) -> None:
        """Take up what a check of the plan itself has found on some rungs."""
        for result in results:
            self._known[dump(build(plan, result.rung.scenario, promises(plan)))] = result
            if result.states > self.options.small:
                self._large.add(result.rung)

    def search(self, plan: PlanClass, rung: Rung, name: str) -> RungResult:
        """Search one rung of a variant, or say again what is known of the same system.

        :param name: what the progress line calls the variant.
        :raises PlanError: if the variant is not in the language.
        """
        try:
            system = build(plan, rung.scenario, promises(plan))
            known = self._known.get(key := dump(system))
            if known is not None:
                return replace(known, rung=rung)
            options = replace(self.options, small=1) if rung in self._large else self.options
            self.watch.rung(replace(plan, name=name), rung)
            result = search_rung(system, rung, self.deadline, options, self.watch)
        except KeyboardInterrupt:
            result = interrupted_rung(rung)
        self.watch.done(result)
        self.interrupted = self.interrupted or result.interrupted
        if result.verdict is not Verdict.UNDECIDED:
            self._known[key] = result
        return result
