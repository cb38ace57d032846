# SPDX-License-Identifier: Apache-2.0
"""docs/coverage.md is what the shipped plans and the entries of the gallery give.

`pytest tests/docs/test_coverage.py --write-docs` writes the tables, with the seconds that each row took, which are not
compared: so new plans and entries come in. Read the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support import coverage
from support.coverage import Row
from support.pages import ROOT, rows, sections

from unpinned import api
from unpinned.check.ladder import Watch
from unpinned.gallery.entry import entries
from unpinned.gallery.judge import judge
from unpinned.plan.reading.classes import PlanClass

PAGE = ROOT / "docs" / "coverage.md"
ENTRIES = entries(ROOT / "gallery")
CLIENTS, BUGS = "Clients and eras", "The gallery"
HEADINGS = {"2008": "Rules of 2008", "current": "Rules of today", "2005": "Rules of 2005"}
PLANS = [(era, plan) for era in HEADINGS for plan in coverage.of_era(era)]


def table_of(heading: str) -> list[Row]:
    """Return the rows of the last table under a heading."""
    text = sections(PAGE.read_text(encoding="utf-8"), 2)[heading]
    return rows(text[text.rindex("\n\n|") :])


def write(heading: str, table: list[Row]) -> None:
    """Put these rows into the last table under a heading, in the place of its own."""
    lines = PAGE.read_text(encoding="utf-8").split("\n")
    begin = lines.index(f"## {heading}") + 1
    end = next((at for at in range(begin, len(lines)) if lines[at].startswith("## ")), len(lines))
    rule = max(at for at in range(begin, end) if lines[at].startswith("|--"))
    last = max(at for at in range(begin, end) if lines[at].startswith("|"))
    lines[rule + 1 : last + 1] = [f"| {' | '.join(row)} |" for row in table]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def timed(row: Callable[[], Row]) -> Row:
    """Return a row with the seconds that it took."""
    began = time.monotonic()
    found = row()
    return [*found, f"{time.monotonic() - began:.1f}"]


def test_the_clients_are_those_of_the_page(write_docs: bool) -> None:
    if write_docs:
        write(CLIENTS, coverage.clients())
    assert table_of(CLIENTS) == coverage.clients()


@pytest.mark.parametrize(("era", "plan"), PLANS, ids=[f"{plan.name}-{plan.flavour}" for _, plan in PLANS])
def test_a_plan_keeps_what_the_page_says(era: str, plan: PlanClass, write_docs: bool) -> None:
    row = timed(lambda: coverage.driver(plan))
    key = coverage.key(plan)
    if write_docs:
        table = [old for old in table_of(HEADINGS[era]) if old[: len(key)] != key]
        write(HEADINGS[era], [*table, row])
    (shown,) = [old for old in table_of(HEADINGS[era]) if old[: len(key)] == key]
    assert shown[:-1] == row[:-1]


@pytest.mark.parametrize("era", HEADINGS)
def test_the_page_has_every_plan_once_and_no_other(era: str, write_docs: bool) -> None:
    wanted = [coverage.key(plan) for plan in coverage.of_era(era)]
    if write_docs:
        shown = {tuple(row[: len(wanted[0])]): row for row in table_of(HEADINGS[era])}
        write(HEADINGS[era], [shown[tuple(key)] for key in wanted if tuple(key) in shown])
    assert [row[: len(wanted[0])] for row in table_of(HEADINGS[era])] == wanted


def test_the_entries_are_those_of_the_page(write_docs: bool) -> None:
    if write_docs:
        found = [judge(entry, coverage.SECONDS, api.Options(), Watch()) for entry in ENTRIES]
        seconds = [f"{sum(half.seconds for half in one.halves):.1f}" for one in found]
        write(BUGS, [[*coverage.bug(entry), took] for entry, took in zip(ENTRIES, seconds, strict=True)])
    assert [row[:-1] for row in table_of(BUGS)] == [coverage.bug(entry) for entry in ENTRIES]


def test_rows_have_the_columns_of_their_table() -> None:
    blocks = [block for block in PAGE.read_text(encoding="utf-8").split("\n\n") if block.startswith("|")]
    assert len(blocks) > len(HEADINGS)
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
