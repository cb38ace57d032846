# SPDX-License-Identifier: Apache-2.0
"""Write results as data: what `--json` prints (docs/json.md, docs/why.md and docs/lints.md describe every key)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from unpinned.check.repair import RepairResult
from unpinned.check.verdict import PlanResult, RungResult, exit_code
from unpinned.check.why import Judged, WhyResult
from unpinned.errors import UnpinnedError
from unpinned.ir.rules import LINTS
from unpinned.lint.finding import Finding
from unpinned.lint.rules import Linted, lint_exit_code
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import null_ops
from unpinned.plan.reading.classes import unjudged
from unpinned.timeline import Row, Timeline
from unpinned.vary.edits import diff_of

FORMAT: Final = "unpinned-check"
WHY_FORMAT: Final = "unpinned-why"
REPAIR_FORMAT: Final = "unpinned-repair"
LINT_FORMAT: Final = "unpinned-lint"
#: Goes up when a key changes its meaning or goes away; new keys may come without that.
VERSION: Final = 1


def results_data(
    results: Sequence[PlanResult],
    timelines: Sequence[Sequence[Timeline]],
    lints: Sequence[Linted | None],
    errors: Sequence[UnpinnedError],
    engine: str,
) -> dict[str, Any]:
    """Return the results of a call as JSON data; `timelines` and `lints` are those of each plan, in the same order."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "engine": engine,
        "memory_model": "SC",
        "exit_code": exit_code(results, bool(errors)),
        "plans": [_plan(*of_one) for of_one in zip(results, timelines, lints, strict=True)],
        "errors": [_error(error) for error in errors],
    }


def why_data(result: WhyResult, timelines: Sequence[Timeline | None], engine: str) -> dict[str, Any]:
    """Return what a plan needs as JSON data; `timelines` has for each element its race, or None."""
    return {
        "format": WHY_FORMAT,
        "version": VERSION,
        "engine": engine,
        "memory_model": "SC",
        "exit_code": result.exit_code,
        "plan": result.base.plan.name,
        "file": result.base.plan.pos.file,
        "line": result.base.plan.pos.line,
        "verdict": str(result.base.verdict),
        "property": result.base.race.rule if result.base.race else None,
        "why_undecided": list(result.base.why),
        "rungs": [_rung(rung) for rung in result.base.rungs],
        "elements": [
            _judged(number, one, told)
            for number, (one, told) in enumerate(zip(result.judged, timelines, strict=True), start=1)
        ],
    }


def _judged(number: int, one: Judged, told: Timeline | None) -> dict[str, Any]:
    element, way = one.element, one.way
    return {
        "number": number,
        "kind": element.kind,
        "what": element.what,
        "method": element.method.name,
        "owner": element.method.owner,
        "file": element.pos.file,
        "line": element.pos.line,
        "column": element.pos.col + 1,
        "need": str(one.need),
        "why": one.why or None,
        "edit": way.edit.what if way else None,
        "diff": diff_of(way.edit) if way else None,
        "property": told.rule if told else None,
        "rungs": [_rung(rung) for rung in way.result.rungs] if way else [],
        "race": timeline_data(told) if told else None,
    }


def repair_data(result: RepairResult, race: Timeline | None, engine: str) -> dict[str, Any]:
    """Return the repairs of a plan as JSON data; `race` is that of the plan itself, or None."""
    plan = result.base.plan
    return {
        "format": REPAIR_FORMAT,
        "version": VERSION,
        "engine": engine,
        "memory_model": "SC",
        "exit_code": result.exit_code,
        "plan": plan.name,
        "file": plan.pos.file,
        "line": plan.pos.line,
        "verdict": str(result.base.verdict),
        "why_undecided": list(result.base.why),
        "rungs": [_rung(rung) for rung in result.base.rungs],
        "race": timeline_data(race) if race else None,
        "repairs": [
            {
                "edits": list(one.edits),
                "diff": one.diff,
                "locked": one.locked,
                "rungs": [_rung(rung) for rung in one.result.rungs],
            }
            for one in result.repairs
        ],
        "tried": result.tried,
        "searched": result.searched.name.lower(),
    }


def lints_data(linted: Sequence[Linted], errors: Sequence[UnpinnedError]) -> dict[str, Any]:
    """Return what lints say of plans as JSON data."""
    return {
        "format": LINT_FORMAT,
        "version": VERSION,
        "exit_code": lint_exit_code(linted, bool(errors)),
        "plans": [
            {
                "plan": one.plan.name,
                "file": one.plan.pos.file,
                "line": one.plan.pos.line,
                "lints": [_lint(finding) for finding in one.found],
                "waived": [_lint(finding) for finding in one.waived],
                "waived_in_vain": list(one.idle),
                "not_looked_at": list(one.cut),
            }
            for one in linted
        ],
        "errors": [_error(error) for error in errors],
    }


def _lint(finding: Finding) -> dict[str, Any]:
    return {
        "lint": finding.rule,
        "rule": LINTS[finding.rule],
        "method": finding.hook,
        "file": finding.pos.file,
        "line": finding.pos.line,
        "column": finding.pos.col + 1,
        "source": finding.pos.text.strip(),
        "what": finding.what,
        "advice": finding.advice,
    }


def _error(error: UnpinnedError) -> dict[str, Any]:
    pos = error.pos
    return {
        "message": error.what,
        "hint": error.hint,
        "file": pos.file if pos else None,
        "line": pos.line if pos else None,
        "column": pos.col + 1 if pos else None,
    }


def timeline_data(timeline: Timeline) -> dict[str, Any]:
    """Return a race as JSON data."""
    race = timeline.race
    return {
        "property": timeline.rule,
        "also": list(race.also),
        "sentence": timeline.sentence,
        "message": timeline.message,
        "in": list(timeline.where),
        "bounds": _bounds(timeline.scenario),
        "cpus": list(timeline.cpus),
        "steps": [_row(row) for row in timeline.rows],
        "conflict": timeline.conflict,
        "cycle": timeline.cycle,
        "context_switches": race.switches,
        "shortest": race.shortest,
        "violating_states": race.violating,
        "states": race.states,
        "token": timeline.token,
    }


def _plan(result: PlanResult, timelines: Sequence[Timeline], linted: Linted | None) -> dict[str, Any]:
    plan = result.plan
    told = [timeline_data(timeline) for timeline in timelines]
    race = told.pop(0) if result.race is not None else None
    return {
        "plan": plan.name,
        "file": plan.pos.file,
        "line": plan.pos.line,
        "verdict": str(result.verdict),
        "property": race["property"] if race else None,
        "why_undecided": list(result.why),
        "states": result.states,
        "rungs": [_rung(rung) for rung in result.rungs],
        "race": race,
        "not_promised": told,
        "waived": dict(plan.waive),
        "not_looked_for": list(result.unsearched),
        "flavour": plan.flavour,
        "null_ops": list(null_ops(plan)),
        "not_judged": list(unjudged(plan)),
        "not_exercised": list(result.unexercised),
        "never_reached": [{"file": file, "line": line} for file, line in result.unreached],
        "lints": [_lint(one) for one in linted.found] if linted else [],
    }


def _rung(rung: RungResult) -> dict[str, Any]:
    return {
        "bounds": _bounds(rung.rung.scenario),
        "required": rung.rung.required,
        "verdict": str(rung.verdict),
        "property": rung.race.rule if rung.race else None,
        "states": rung.states,
        "depth": rung.depth,
        "why_undecided": rung.why or None,
        "notes": list(dict.fromkeys((*rung.notes, *rung.details))),
    }


def _bounds(scenario: Scenario) -> dict[str, Any]:
    return {
        "vcpus": scenario.vcpus,
        "pages": scenario.pages,
        "frames": scenario.frames,
        "ops": list(scenario.ops),
        "cpus": scenario.cpus,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "step": row.number,
        "cpu": row.cpu,
        "method": row.method,
        "text": row.text,
        "effect": row.effect,
        "file": row.pos.file,
        "line": row.pos.line,
        "source": row.pos.text.strip(),
    }
