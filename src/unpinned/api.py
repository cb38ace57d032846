# SPDX-License-Identifier: Apache-2.0
"""Do from Python what the command does: check, lint, replay, export, reports; the gallery is `unpinned.gallery`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from unpinned.check.engines import DEFAULT, ENGINES, Options
from unpinned.check.ladder import DEFAULT_TIME, Watch, climb, ladder
from unpinned.check.repair import REPAIR_TIME, RepairResult
from unpinned.check.repair import repair as look_for_repairs
from unpinned.check.token import race_of, read_token
from unpinned.check.verdict import PlanResult, Rung, not_begun
from unpinned.check.why import WHY_TIME, Judged, WhyResult, judge_element, judge_elements
from unpinned.engine.checkpoint import is_written, unusable
from unpinned.errors import PlanError, UnpinnedError, UsageError
from unpinned.export.promela import promela
from unpinned.ir.digest import digest
from unpinned.lint.rules import Linted, lint_exit_code, look
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build, promises, refuse_unknown, rules, whole
from unpinned.new.c.plan import Begun, begin
from unpinned.new.family import DEFAULT as DEFAULT_FAMILY
from unpinned.new.family import family as family_of
from unpinned.new.skeleton import listing as families
from unpinned.new.skeleton import skeleton
from unpinned.plan.reading.classes import PlanClass, read_plans
from unpinned.plan.reading.source import read_source
from unpinned.report.data import lints_data, repair_data, results_data, why_data
from unpinned.report.lint import lint_block, lint_lines
from unpinned.report.repair import repair_block
from unpinned.report.text import plan_block, replay_block, summary_line
from unpinned.report.why import why_block, without_block
from unpinned.timeline import Timeline, tell
from unpinned.vary.elements import elements

Path = str | os.PathLike[str]


def plans(path: Path, name: str | None = None) -> tuple[PlanClass, ...]:
    """Read the plans of a file, or the one that is named.

    :raises PlanError: if the file is no plan file.
    :raises UsageError: if it has no plan of that name.
    """
    if not os.fspath(path):
        raise PlanError("no file is named: '' stands in its place", None, "Give the path of a plan file.")
    found = read_plans(path)
    if name is None:
        return found
    chosen = tuple(plan for plan in found if plan.name == name)
    if not chosen:
        known = ", ".join(plan.name for plan in found)
        raise UsageError(f"{os.fspath(path)} has no plan {name!r}", hint=f"It has: {known}.")
    return chosen


def one_plan(path: Path, name: str | None = None) -> PlanClass:
    """Read the plan of a file that has one, or the one that is named.

    :raises PlanError: if the file is no plan file.
    :raises UsageError: if it has no plan of that name, or several and none is named.
    """
    chosen = plans(path, name)
    if len(chosen) > 1:
        names = ", ".join(one.name for one in chosen)
        raise UsageError(f"{os.fspath(path)} has several plans", hint=f"Name one with --plan: {names}.")
    return chosen[0]


def check(
    path: Path,
    plan: str | None = None,
    *,
    seconds: float = DEFAULT_TIME,
    scenario: Scenario | None = None,
    required_only: bool = False,
    options: Options = DEFAULT,
    watch: Watch | None = None,
) -> list[PlanResult]:
    """Check the plans of a file one after the other, each within `seconds`; return a result for each.

    After an interrupt (Ctrl-C) the plans that are left are given as undecided.

    :param plan: check this one class only.
    :param scenario: search this one scenario and no ladder.
    :param required_only: leave out the rungs beyond the required part.
    :param options: which engine searches, and what it may take.
    :raises PlanError: for a file or a plan that is not in the language.
    :raises UsageError: if there is no plan of that name, or the plan does not admit the scenario.
    """
    results: list[PlanResult] = []
    for one in plans(path, plan):
        if results and results[-1].interrupted:
            results.append(not_begun(one))
            continue
        results.append(
            check_plan(
                one, seconds=seconds, scenario=scenario, required_only=required_only, options=options, watch=watch
            )
        )
    return results


def check_plan(
    plan: PlanClass,
    *,
    seconds: float = DEFAULT_TIME,
    scenario: Scenario | None = None,
    required_only: bool = False,
    options: Options = DEFAULT,
    watch: Watch | None = None,
) -> PlanResult:
    """Check one plan that was read; the parameters are those of :func:`check`.

    :raises PlanError: for whatever the plan does that is not in the language.
    :raises UsageError: if the plan does not admit the scenario.
    """
    if scenario is not None:
        _admits(plan, scenario)
    return climb(plan, seconds, scenario, required_only, options, watch or Watch())


def begins_anew(
    plan: PlanClass,
    options: Options,
    *,
    scenario: Scenario | None = None,
    required_only: bool = False,
) -> str:
    """Say that no search of a plan can be resumed, and why; nothing, if one can, or none is to be.

    :raises PlanError: for whatever the plan does that is not in the language.
    :raises UsageError: if the folder cannot be read, or the plan does not admit the scenario.
    """
    folder = options.checkpoint
    if folder is None or not options.resume or options.is_slow:
        return ""
    try:
        begun = {path.name: is_written(path) for path in folder.iterdir() if path.is_dir()}
    except OSError as error:
        raise unusable(folder, error) from error
    if scenario is not None:
        _admits(plan, scenario)
    whole(plan)
    rungs = ladder(plan) if scenario is None else (Rung(scenario, required=True),)
    required = [rung.scenario for rung in rungs if rung.required]
    searches = [(rung.scenario, promises(plan)) for rung in rungs if rung.required or not required_only]
    searches += [(one, frozenset({rule})) for rule in rules(plan) if rule not in promises(plan) for one in required]
    unwritten = ""
    for one, promised in searches if begun else ():
        name = digest(build(plan, one, promised))
        if begun.get(name):
            return ""
        if name in begun:
            unwritten = unwritten or name
    if unwritten:
        return f"{folder / unwritten}: no checkpoint was written yet: the search begins anew"
    what = f"this {plan.name}" if scenario is None else f"this {plan.name} ({scenario})"
    return f"{folder} holds no checkpoint of {what}: the search begins anew"


def _admits(plan: PlanClass, scenario: Scenario) -> None:
    """Refuse a scenario with an operation that the plan does not admit.

    :raises UsageError: for that.
    """
    refuse_unknown(plan, scenario)
    for op in scenario.operations:
        if plan.operations is not None and op.name not in (*plan.operations, *plan.own):
            hint = f"It says: operations = {plan.operations}."
            raise UsageError(f"{plan.name} does not admit the operation {op.name}", plan.pos, hint)


def timelines(result: PlanResult) -> list[Timeline]:
    """Tell the races of a result: the one that decided it, if there is one, then those that are not promised."""
    told = [tell(result.plan, rung.rung.scenario, rung.race) for rung in result.rungs if rung.race is not None]
    return told + [tell(result.plan, scenario, race) for scenario, race in result.unpromised]


def report(result: PlanResult, verbose: bool = False) -> str:
    """Return the text of a result."""
    linted = _lints_of(result)
    return plan_block(result, timelines(result), verbose, lints=lint_lines(linted) if linted else ())


def as_data(
    results: Sequence[PlanResult], errors: Sequence[UnpinnedError] = (), engine: str = ENGINES[0]
) -> dict[str, Any]:
    """Return results as JSON data, with the errors of plans that could not be checked, and the engine's name."""
    told = [timelines(result) for result in results]
    return results_data(results, told, [_lints_of(result) for result in results], errors, engine)


def _lints_of(result: PlanResult) -> Linted | None:
    """Return what lints say of a plan that was checked; None if its turn did not come, and it may be no plan at all."""
    return look(result.plan) if result.rungs else None


def lint(plan: PlanClass) -> Linted:
    """Say what in a plan looks like a known mistake; nothing is searched, and nothing is proved.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    whole(plan)
    return look(plan)


def lint_report(linted: Linted) -> str:
    """Return the text of the lints of a plan."""
    return lint_block(linted)


def lints_as_data(linted: Sequence[Linted], errors: Sequence[UnpinnedError] = ()) -> dict[str, Any]:
    """Return the lints of plans as JSON data, with the errors of plans that could not be read."""
    return lints_data(linted, errors)


def why(
    plan: PlanClass, *, seconds: float = WHY_TIME, options: Options = DEFAULT, watch: Watch | None = None
) -> WhyResult:
    """Say which locks, bumps, checks and flushes a plan needs, by checking it without each; see :func:`one_plan`.

    :param seconds: the time for all of it.
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    return judge_elements(plan, seconds, options, watch)


def why_report(result: WhyResult) -> str:
    """Return the text of what a plan needs."""
    return why_block(result)


def why_as_data(result: WhyResult, engine: str = ENGINES[0]) -> dict[str, Any]:
    """Return what a plan needs as JSON data, with the engine's name."""
    told = [timelines(one.way.result)[0] if one.way and one.way.result.race else None for one in result.judged]
    return why_data(result, told, engine)


def without(
    plan: PlanClass,
    number: int,
    *,
    seconds: float = WHY_TIME,
    options: Options = DEFAULT,
    watch: Watch | None = None,
) -> Judged:
    """Say of one element of a plan whether it is needed, by its number from 1, as :func:`why` counts.

    :raises PlanError: for whatever the plan does that is not in the language.
    :raises UsageError: if the plan has no element of that number.
    """
    found = elements(plan)
    if not 1 <= number <= len(found):
        hint = f"`unpinned why` numbers them from 1 to {len(found)}." if found else "It has nothing to leave out."
        raise UsageError(f"{plan.name} has no element {number}", plan.pos, hint)
    return judge_element(plan, found[number - 1], seconds, options, watch)


def without_report(judged: Judged, verbose: bool = False) -> str:
    """Return the text of a plan without one of its elements: the edit, and what a check gives."""
    return without_block(judged, timelines(judged.way.result) if judged.way else (), verbose)


def repair(
    plan: PlanClass, *, seconds: float = REPAIR_TIME, options: Options = DEFAULT, watch: Watch | None = None
) -> RepairResult:
    """Look for the smallest edits after which a plan holds on the required part of its ladder; see :func:`one_plan`.

    Nothing is written: a repair has the text of the file with its edits as `new.text`.

    :param seconds: the time for all of it.
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    return look_for_repairs(plan, seconds, options, watch)


def repair_report(result: RepairResult) -> str:
    """Return the text of the repairs of a plan."""
    return repair_block(result)


def repair_as_data(result: RepairResult, engine: str = ENGINES[0]) -> dict[str, Any]:
    """Return the repairs of a plan as JSON data, with the engine's name."""
    return repair_data(result, next(iter(timelines(result.base)), None), engine)


def repaired_text(result: RepairResult) -> str:
    """Return the text of the plan's file with the edits of the first repair, if the file is still what was read.

    :raises UsageError: if there is no repair, or the file has changed since.
    :raises PlanError: if the file cannot be read any more.
    """
    if not result.repairs:
        what = f"there is no repair of {result.base.plan.name} to write"
        raise UsageError(what, hint="The report says how far it was looked for.")
    first = result.repairs[0]
    if read_source(first.old.path).text != first.old.text:
        what = f"{first.old.path} has changed since it was read: nothing was written"
        raise UsageError(what, hint="Run it again.")
    return first.new.text


def replay(token: str, path: Path) -> Timeline:
    """Take the steps of a printed race again on the plan of a file.

    :raises ReplayError: if the token is none, or the plan has changed.
    :raises PlanError: if the file is no plan file.
    """
    read = read_token(token)
    (plan,) = plans(path, read.plan)
    return tell(plan, read.scenario, race_of(read, plan))


def export_promela(path: Path, plan: str | None = None, scenario: Scenario | None = None) -> str:
    """Return a Promela model of a plan beside a scenario, by default the first rung of its ladder.

    :raises UsageError: if the file has several plans and none is named.
    :raises PlanError: if the file is no plan file.
    """
    chosen = one_plan(path, plan)
    if scenario is None:
        scenario = ladder(chosen)[0].scenario
    _admits(chosen, scenario)
    whole(chosen)
    return promela(build(chosen, scenario), str(scenario))


def new_plan(name: str, family: str = DEFAULT_FAMILY) -> str:
    """Return the text of a plan to begin from, of a family of locking plans by its letter, as a class of a name.

    :raises UsageError: if there is no such family, the language cannot say it yet, or no class can be called so.
    """
    return skeleton(name, family_of(family))


def new_plan_from(name: str, path: Path, fault: str | None = None, own: Sequence[str] = ()) -> Begun:
    """Return a plan that was begun from a kernel source file in C, with gaps for what was not understood.

    :param fault: the name of the fault function, by default the likeliest.
    :param own: the names of functions that are operations of the client's own.
    :raises UsageError: if nothing in the file is a notifier or a fault, or tree-sitter is not installed.
    :raises PlanError: if the file cannot be read.
    """
    return begin(name, path, fault, own)


__all__ = [
    "DEFAULT_FAMILY",
    "DEFAULT_TIME",
    "ENGINES",
    "REPAIR_TIME",
    "WHY_TIME",
    "Options",
    "as_data",
    "begins_anew",
    "check",
    "check_plan",
    "export_promela",
    "families",
    "lint",
    "lint_exit_code",
    "lint_report",
    "lints_as_data",
    "new_plan",
    "new_plan_from",
    "not_begun",
    "one_plan",
    "plan_block",
    "plans",
    "repair",
    "repair_as_data",
    "repair_report",
    "repaired_text",
    "replay",
    "replay_block",
    "report",
    "summary_line",
    "timelines",
    "why",
    "why_as_data",
    "why_report",
    "without",
    "without_report",
]
