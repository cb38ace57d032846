# SPDX-License-Identifier: Apache-2.0
"""Write repairs as text: each as a unified diff, with the bounds under which the plan holds then."""

from __future__ import annotations

import ast
import shlex

from unpinned.check.repair import Repair, RepairResult, Searched
from unpinned.check.verdict import Verdict
from unpinned.plan.reading.classes import PlanClass
from unpinned.report.text import NOT_COVERED, counted, head_lines, remedy, rung_lines, wrapped

#: How far the edits were tried; the reason follows where it was not to the end.
_TRIED = {
    Searched.SOME: "not every single edit: ",
    Searched.SINGLE: "every single edit of the kinds that are known, and not every pair: ",
    Searched.PAIRS: "every single edit of the kinds that are known, and every pair",
}


def repair_block(result: RepairResult) -> str:
    """Return the block of a plan and its repairs."""
    base, plan = result.base, result.base.plan
    place = f"{plan.pos.file}:{plan.pos.line} {plan.name}"
    if base.race is None:
        return "\n".join(_without_race(result)) + "\n"
    race = base.race
    count = counted(len(result.repairs), "repair") if result.repairs else "no repair"
    verb = "were" if len(result.repairs) > 1 else "was"
    lines = [f"REPAIR: unpinned: {plan.name} races, and {count} {verb} found", ""]
    lines += head_lines(place, "memory model SC")
    steps = counted(len(race.schedule), "step")
    lines += wrapped(" race  ", f"{race.rule} after {steps}: {base.rungs[-1].rung.scenario}")
    for number, one in enumerate(result.repairs, 1):
        lines += ["", *_repair(number, one)]
    lines.append("")
    if result.repairs:
        lines += [" the first was checked on the required part of the ladder:"]
        lines += [*rung_lines(result.repairs[0].result.rungs), ""]
        if len(result.repairs) > 1:
            lines += wrapped(" checked        ", "the others on the same scenarios; they hold there too")
        derived = _derived(plan)
        if derived:
            lines += wrapped(" derived        ", f"{', '.join(derived)}: check what inherits from {plan.name} again")
        lines += wrapped(" to write it    ", f"unpinned repair {_named(plan)} --write")
    else:
        ended = result.searched is Searched.PAIRS
        reason = "" if ended else "it was interrupted" if result.interrupted else "the time was up"
        lines += wrapped(" tried          ", _TRIED[result.searched] + reason)
        if not ended:
            again = "run it again" if result.interrupted else "give it more time (--time SECONDS)"
            lines += wrapped(" what to do     ", again)
        lines += wrapped(" see the race   ", f"unpinned check {_named(plan)}")
    lines += wrapped(" not covered    ", NOT_COVERED)
    lines.append(f"Repairs {plan.name} {len(result.repairs)} of {counted(result.tried, 'plan')} tried")
    return "\n".join(lines) + "\n"


def _repair(number: int, one: Repair) -> list[str]:
    """Return the lines of a repair."""
    lines = wrapped(f" {number}. ", "; and ".join(one.edits))
    if one.locked:
        lines += wrapped("    ", f"{counted(one.locked, 'statement')} more under a lock")
    return [*lines, "", *one.diff.splitlines()]


def _without_race(result: RepairResult) -> list[str]:
    """Return the lines on a plan in which no race was found."""
    base, plan = result.base, result.base.plan
    holds = base.verdict is Verdict.HOLDS
    said = "holds: there is nothing to repair" if holds else "is undecided: no race is known that could be repaired"
    lines = [f"{'OK' if holds else 'UNDECIDED'}: unpinned: {plan.name} {said}", ""]
    lines += head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", "memory model SC")
    lines += ["", *rung_lines(base.rungs), ""] if base.rungs else [""]
    for why in base.why:
        lines += wrapped(" undecided because ", why)
    if base.why and remedy(base):
        lines += wrapped(" what to do        ", remedy(base))
    return [*lines, *wrapped(" not covered    ", NOT_COVERED)]


def _derived(plan: PlanClass) -> list[str]:
    """Return the classes of the plan's file that name it as their base."""
    return [
        node.name
        for node in plan.source.tree.body
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == plan.name for base in node.bases)
    ]


def _named(plan: PlanClass) -> str:
    return f"{shlex.quote(plan.source.path)} --plan {plan.name}"
