# SPDX-License-Identifier: Apache-2.0
"""Write what a plan needs as text: each element with its line, and the race that appears without it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from unpinned.check.verdict import PlanResult, Verdict
from unpinned.check.why import Judged, Need, WhyResult
from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.report.text import (
    NOT_COVERED,
    counted,
    head_lines,
    ordering_lines,
    plan_block,
    remedy,
    rung_lines,
    wrapped,
)
from unpinned.timeline import Timeline
from unpinned.vary.edits import diff_of

_ALONE = "each was left out by itself; once one is gone, another may be needed that is not needed now"


def why_block(result: WhyResult) -> str:
    """Return the block of a plan and its elements."""
    plan = result.base.plan
    if result.base.verdict is not Verdict.HOLDS or result.base.interrupted:
        return "\n".join(_unheld(result.base)) + "\n"
    count = {need: sum(one.need is need for one in result.judged) for need in Need}
    lines = [f"WHY: unpinned: {plan.name} holds, and needs {count[Need.NEEDED]} of {_elements(len(result.judged))}"]
    lines += ["", *head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", "memory model SC")]
    before: MethodDef | None = None
    for number, one in enumerate(result.judged, 1):
        if one.element.method is not before:
            lines += ["", f" {_method(plan, one.element.method)}"]
        before = one.element.method
        lines += _element(number, one)
    lines += ["", *rung_lines(result.base.rungs), ""]
    for need in (Need.NOT_NEEDED, Need.UNDECIDED):
        for number, one in enumerate(result.judged, 1):
            if one.need is need:
                what = f"{number}: {one.element.what}, line {one.element.pos.line}"
                lines += wrapped(f" {need:<14} ", what)
    undecided = [one.way.result for one in result.judged if one.need is Need.UNDECIDED and one.way]
    remedies = ["run it again"] if result.interrupted else dict.fromkeys(map(remedy, undecided))
    for what in filter(None, remedies):
        lines += wrapped(" what to do     ", what)
    if count[Need.NOT_NEEDED]:
        lines += wrapped(" one at a time  ", _ALONE)
    if result.judged:
        lines += wrapped(" to see one     ", f"{_command('why', plan)} --show NUMBER")
    lines += ordering_lines(plan)
    lines += wrapped(" not covered    ", NOT_COVERED)
    counts = ", ".join(f"{number} {need}" for need, number in count.items() if number or need is not Need.NOT_JUDGED)
    lines.append(f"Elements {plan.name} {counts}")
    return "\n".join(lines) + "\n"


def without_block(judged: Judged, timelines: Sequence[Timeline], verbose: bool) -> str:
    """Return the block of a plan without an element: the edit that leaves it out, and what a check of that gives."""
    element, way = judged.element, judged.way
    if way is None:
        return f"UNDECIDED: unpinned: {element.what}, line {element.pos.line}, is not judged: {judged.why}\n"
    title = f"WHY: unpinned: {way.edit.what}, {element.method.name}(), line {element.pos.line}"
    block = plan_block(way.result, timelines, verbose, replay="replay, once this edit is made:")
    return f"{title}\n\n{diff_of(way.edit)}\n{block}"


def _unheld(base: PlanResult) -> list[str]:
    """Return the lines on a plan that does not hold, of which nothing can be said."""
    plan, race = base.plan, base.race
    if race is not None:
        rung = base.rungs[-1].rung
        lines = [f"BUG: unpinned: {plan.name} does not hold: {race.rule}", ""]
        lines += head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", f"memory model SC   {rung.scenario}")
        lines += wrapped(" the race    ", _command("check", plan))
        lines += wrapped(" to mend it  ", _command("repair", plan))
        return lines
    lines = [f"UNDECIDED: unpinned: {plan.name} is undecided, so it is not known what it needs", ""]
    lines += head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", "memory model SC")
    lines += ["", *rung_lines(base.rungs), ""] if base.rungs else [""]
    for why in base.why or ("it was interrupted",):
        lines += wrapped(" undecided because ", why)
    lines += wrapped(" what to do        ", f"see that it holds first: {_command('check', plan)}, with more --time")
    return lines


def _element(number: int, one: Judged) -> list[str]:
    """Return the lines of an element: its line and whether it is needed, then what goes wrong without it."""
    lines = wrapped(f" {number:>3} {one.element.pos.line:>5}  {one.need:<12}", one.element.what)
    race = one.way.result.race if one.way else None
    said = one.why
    if one.way is not None and race is not None:
        steps = counted(len(race.schedule), "step")
        said = f"{race.rule} after {steps}: {one.way.result.rungs[-1].rung.scenario}"
    return lines + (wrapped(" " * 26, said) if said else [])


def _method(plan: PlanClass, method: MethodDef) -> str:
    """Return the name of a method, and where it stands if the plan inherits it."""
    place = "" if method.source.path == plan.source.path else f" in {method.source.pos(method.node).short}"
    inherited = "" if method.owner == plan.name else f", inherited from {method.owner}{place}"
    return f"{method.name}(){inherited}"


def _elements(number: int) -> str:
    return counted(number, "element")


def _command(name: str, plan: PlanClass) -> str:
    return f"unpinned {name} {shlex.quote(plan.source.path)} --plan {plan.name}"
