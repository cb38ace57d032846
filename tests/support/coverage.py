# SPDX-License-Identifier: Apache-2.0
"""Make the rows of docs/coverage.md: what each shipped plan keeps, and what each entry of the gallery is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.searching import DRIVERS

from unpinned import api
from unpinned.check.verdict import PlanResult, Verdict
from unpinned.gallery.entry import Entry
from unpinned.ir.rules import RULES
from unpinned.mm.system import promises, rules
from unpinned.plan.reading.classes import PlanClass, read_plans
from unpinned.plan.vocabulary import ERAS, FLAVOURS

#: Seconds for one plan: far more than any needs.
SECONDS = 300.0
#: What stands in a cell where nothing is to be said.
NOTHING = "-"

#: A row of a table: its cells, without that of the time.
Row = list[str]


def shipped() -> list[PlanClass]:
    """Return the plans of drivers/, by file and in the order of the file."""
    files = [path for path in sorted(DRIVERS.glob("*.py")) if path.name != "__init__.py"]
    return [plan for path in files for plan in read_plans(path)]


def of_era(era: str) -> list[PlanClass]:
    """Return the shipped plans of an era; those of 2008 in each flavour of the mm's locks, their own first."""
    found = [plan for plan in shipped() if plan.era == era]
    if era != "2008":
        return found
    return [
        replace(plan, flavour=flavour)
        for plan in found
        for flavour in sorted(FLAVOURS, key=lambda flavour: flavour != plan.flavour)
    ]


def clients() -> list[Row]:
    """Return for each file of drivers/ the plans that it has for each era."""
    plans = shipped()
    return [
        [
            f"`{file}`",
            *(
                ", ".join(plan.name for plan in plans if (Path(plan.pos.file).name, plan.era) == (file, era))
                or "not of that era"
                for era in ERAS
            ),
        ]
        for file in dict.fromkeys(Path(plan.pos.file).name for plan in plans)
    ]


def key(plan: PlanClass) -> list[str]:
    """Return the first cells of a shipped plan's row."""
    return [plan.name, plan.flavour] if plan.era == "2008" else [plan.name]


def driver(plan: PlanClass) -> Row:
    """Return a plan's row: what becomes of each rule on the required part of its ladder, and the states of that."""
    result = api.check_plan(plan, seconds=SECONDS, required_only=True)
    assert result.verdict is not Verdict.UNDECIDED, result.why
    return [*key(plan), *(_cell(result, rule) for rule in RULES), str(result.states)]


def _cell(result: PlanResult, rule: str) -> str:
    """Return what a check of a plan says of a rule."""
    plan = result.plan
    if rule not in rules(plan):
        return NOTHING
    if rule not in promises(plan):
        races = {race.rule: len(race.schedule) for _, race in result.unpromised}
        assert rule in races, f"{plan.name} waives {rule}, and keeps it"
        return f"waived, {races[rule]}"
    if result.race is not None:
        return f"races, {len(result.race.schedule)}" if result.race.rule == rule else "not asked"
    return "untested" if rule in result.unexercised else "holds"


def bug(entry: Entry) -> Row:
    """Return an entry's row, as entry.toml has it, which the tests of the gallery hold to what is found."""
    (plan,) = api.plans(entry.broken, entry.plan)
    return [
        *(f"`{entry.name}`", str(entry.year), plan.era, entry.rule, entry.scenario),
        *(str(entry.steps), str(entry.states), "holds", str(entry.fixed_states)),
    ]
