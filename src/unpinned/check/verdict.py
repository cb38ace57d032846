# SPDX-License-Identifier: Apache-2.0
"""Decide: of one search, and of a plan over all its rungs. Nothing else in unpinned says holds, race or undecided."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from unpinned.check.evidence import Evidence
from unpinned.check.successors import marks
from unpinned.check.witness import Race
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import rules
from unpinned.plan.reading.classes import PlanClass

#: Exit codes of a call, by the worst verdict: 2 is a usage or plan error, 4 a skip (KSFT_SKIP).
EXIT_HOLDS, EXIT_RACE, EXIT_ERROR, EXIT_UNDECIDED = 0, 1, 2, 3


#: Statements that are not made of others.
_SIMPLE = ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Break | ast.Continue


class Verdict(StrEnum):
    """What is known: *holds* only after a complete search, *race* with a witness, else *undecided*."""

    HOLDS = "holds"
    RACE = "race"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Rung:
    """A scenario of the ladder; a pass needs every `required` one."""

    scenario: Scenario
    required: bool


@dataclass(frozen=True, slots=True)
class RungResult:
    """What the search of one rung gave.

    `why` says in words why it is undecided. `events` were seen in the search, `reached` are source lines of the plan
    as (file, line), and `lines` those that its steps have. `notes` say how it was searched, where that is not as usual,
    and `details` what only a long report says of it. `lower` is the option that makes it smaller where it is widest.
    `interrupted` says that a Ctrl-C cut it short, be it after a race was found.
    """

    rung: Rung
    verdict: Verdict
    states: int
    depth: int
    why: str
    race: Race | None
    events: frozenset[str]
    reached: frozenset[tuple[str, int]]
    lines: frozenset[tuple[str, int]]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    lower: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What is known of a plan: its rungs in order, and the races on rules that it does not promise.

    `unsearched` are the rules that it does not promise and that were not looked for to the end of the required
    rungs, each with the reason. `why` gives the reasons for which it is undecided. `interrupted` says that a Ctrl-C cut
    the search short. `checkpoint` says that a search can go on from what was written down.
    """

    plan: PlanClass
    rungs: tuple[RungResult, ...]
    unpromised: tuple[tuple[Scenario, Race], ...]
    unsearched: Mapping[str, str]
    verdict: Verdict
    why: tuple[str, ...]
    interrupted: bool = False
    checkpoint: bool = False

    @property
    def race(self) -> Race | None:
        """Return the race that was found, if one was."""
        return next((rung.race for rung in self.rungs if rung.race is not None), None)

    @property
    def states(self) -> int:
        """Return the number of states over all rungs whose search ended by itself."""
        return sum(rung.states for rung in self.rungs if not rung.why)

    @property
    def events(self) -> frozenset[str]:
        """Return what was seen in any rung."""
        return frozenset().union(*(rung.events for rung in self.rungs))

    @property
    def unexercised(self) -> tuple[str, ...]:
        """Return the rules that no search put to the test."""
        return tuple(rule for rule in rules(self.plan) if f"rule:{rule}" not in self.events)

    @property
    def unreached(self) -> tuple[tuple[str, int], ...]:
        """Return the lines of the plan, as (file, line), that no search reached; those of helpers nobody calls too."""
        lines = frozenset[tuple[str, int]]().union(*(rung.lines for rung in self.rungs))
        lines |= {
            (method.source.path, method.source.pos(stmt).line)
            for method in self.plan.methods.values()
            for stmt in ast.walk(method.node)
            if isinstance(stmt, _SIMPLE) and not (isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant))
        }
        reached = frozenset[tuple[str, int]]().union(*(rung.reached for rung in self.rungs))
        return tuple(sorted(lines - reached))


def judge(rung: Rung, evidence: Evidence) -> RungResult:
    """Decide one search."""
    verdict, why = Verdict.HOLDS, ""
    if evidence.race is not None:
        verdict = Verdict.RACE
    elif evidence.limit:
        verdict, why = Verdict.UNDECIDED, evidence.limit
    elif not evidence.complete:
        verdict, why = Verdict.UNDECIDED, _STOPPED[evidence.stopped]
    lines = frozenset((mark.pos.file, mark.pos.line) for mark in marks(evidence.system))
    return RungResult(
        *(rung, verdict, evidence.states, evidence.depth, why, evidence.race, evidence.events),
        reached=evidence.reached,
        lines=lines,
        notes=evidence.notes,
        details=evidence.details,
        lower=evidence.lower,
        interrupted=evidence.stopped == "interrupt",
    )


def interrupted_rung(rung: Rung) -> RungResult:
    """Return what is known of a rung that was interrupted outside its search: nothing."""
    nothing = frozenset[tuple[str, int]]()
    return RungResult(
        *(rung, Verdict.UNDECIDED, 0, 0, INTERRUPTED, None, frozenset(), nothing, nothing), interrupted=True
    )


def not_begun(plan: PlanClass) -> PlanResult:
    """Return what is known of a plan whose turn did not come before the interrupt: nothing."""
    return PlanResult(plan, (), (), {}, Verdict.UNDECIDED, (NOT_BEGUN,), interrupted=True)


INTERRUPTED = "it was interrupted"
NOT_BEGUN = "it was not begun, after an interrupt"
_STOPPED = {
    "time": "the time was up (--time)",
    "memory": "the memory that may be used was full",
    "interrupt": INTERRUPTED,
}


def decide(plan: PlanClass, rungs: Sequence[RungResult], planned: Sequence[Rung]) -> tuple[Verdict, tuple[str, ...]]:
    """Decide a plan: a race if any rung races; it holds if every required rung does and none of it was vacuous.

    A later rung that was not finished changes nothing, unless a bound of the model stopped it.
    """
    if any(result.verdict is Verdict.RACE for result in rungs):
        return Verdict.RACE, ()
    doubtful: dict[str, str] = {}
    for result in rungs:
        if result.verdict is Verdict.UNDECIDED and (result.rung.required or result.why not in _STOPPED.values()):
            doubtful.setdefault(result.why, f"{result.rung.scenario}: {result.why}")
    why = list(doubtful.values())
    begun = {result.rung for result in rungs}
    missing = [rung for rung in planned if rung.required and rung not in begun]
    if missing:
        rest = "" if len(missing) == 1 else f", nor were {len(missing) - 1} more required rungs"
        why.append(f"{missing[0].scenario} was not begun{rest}")
    if not why:
        why = [f"the search was vacuous: {what}" for what in unseen(plan, rungs).values()]
    return (Verdict.UNDECIDED if why else Verdict.HOLDS), tuple(why)


def unseen(plan: PlanClass, rungs: Sequence[RungResult]) -> dict[str, str]:
    """Return the events that searches had to see and did not, with a sentence on each: without them a pass is vacuous.

    :param rungs: those that were searched, all required ones among them.
    """
    required = [result for result in rungs if result.rung.required]
    events = frozenset[str]().union(*(result.events for result in required))
    wanted = _wanted(plan, [result.rung for result in required])
    return {event: what for event, what in wanted if event not in events}


def _wanted(plan: PlanClass, planned: Sequence[Rung]) -> list[tuple[str, str]]:
    """Return the events without which a pass tested nothing, as far as plan and scenarios have such a thing."""
    wanted = [("map", "no fault was ever mapped"), ("tlb-hit", "no guest access ever hit the TLB")]
    operations = any(rung.scenario.ops for rung in planned)
    if operations and _names(plan, "REPLAY"):
        wanted.append(("replay", "no fault was ever replayed"))
    if operations and (_names(plan, "zap") or _names(plan, "zap_sptes")):
        wanted.append(("zap", "no zap ever removed a live spte"))
    return wanted


def _names(plan: PlanClass, word: str) -> bool:
    """Tell whether a plan's methods say a word: a constant, or a method of the mm."""
    nodes = (node for method in plan.methods.values() for node in ast.walk(method.node))
    return any(getattr(node, "id", None) == word or getattr(node, "attr", None) == word for node in nodes)


def exit_code(results: Sequence[PlanResult], errors: bool = False) -> int:
    """Return the exit code of a call: a race comes first, then a plan that could not be checked, then a doubt.

    A plan that holds and whose later rungs were interrupted is no doubt, but the call did not end as it would have.
    """
    verdicts = {result.verdict for result in results}
    if Verdict.RACE in verdicts:
        return EXIT_RACE
    if errors:
        return EXIT_ERROR
    doubt = Verdict.UNDECIDED in verdicts or any(result.interrupted for result in results)
    return EXIT_UNDECIDED if doubt else EXIT_HOLDS
