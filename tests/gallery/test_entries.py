# SPDX-License-Identifier: Apache-2.0
"""Each entry of the gallery is what its entry.toml says: the race, the report, and a fix that is small and holds.

After a wanted change: `pytest tests/gallery --write-golden` writes expected.txt and the numbers of entry.toml, never
the rule and the scenario. Read the difference.

Here the fixed plans are searched in the scenario of the race alone; `unpinned gallery --check`, which `.ci/run` runs,
and the long test search the whole required part of their ladders.
"""

from __future__ import annotations

import re

import pytest
from support.command import ROOT, WIDTH, token, unpinned
from support.pages import rows, sections

from unpinned import api
from unpinned.check.ladder import Watch, ladder
from unpinned.check.verdict import Verdict
from unpinned.gallery.entry import Entry, read
from unpinned.gallery.judge import Judged, diff, hunks, judge

GALLERY = ROOT / "gallery"
NAMES = sorted(path.parent.name for path in GALLERY.glob("*/entry.toml"))
FILES = {"broken.py", "entry.toml", "expected.txt", "fixed.py"}
README = (GALLERY / "README.md").read_text(encoding="utf-8")

#: A fix is small: so many lines taken out and put in, over all its places.
MOST_LINES = 16


def entry_of(name: str) -> Entry:
    return read(GALLERY / name)


def write_numbers(entry: Entry, judged: Judged) -> None:
    """Write what a check counted into entry.toml."""
    race, fixed = judged.broken.result.race, judged.fixed
    assert race is not None
    assert fixed is not None
    counted = {
        "race": {"steps": len(race.schedule), "states": race.states},
        "fix": {"places": len(hunks(entry)), "states": fixed.result.states},
    }
    file = entry.folder / "entry.toml"
    text = file.read_text(encoding="utf-8")
    for table, numbers in counted.items():
        for key, number in numbers.items():
            text, found = re.subn(rf"(?s)(\[{table}\][^\[]*?\n{key} = )\d+", rf"\g<1>{number}", text)
            assert found == 1, f"{file}: {table}.{key}"
    file.write_text(text, encoding="utf-8")


def test_there_are_entries() -> None:
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_the_report_of_the_broken_plan_is_the_expected_one(name: str, request: pytest.FixtureRequest) -> None:
    golden = GALLERY / name / "expected.txt"
    run = unpinned("check", f"gallery/{name}/broken.py", "--required", "--time", "100")
    if request.config.getoption("--write-golden"):
        golden.write_text(run.out, encoding="utf-8")
        entry = entry_of(name)
        write_numbers(entry, judge(entry, 100, api.Options(), Watch()))
    entry = entry_of(name)
    assert run.out == golden.read_text(encoding="utf-8")
    assert run.code == 1
    assert run.quiet
    assert run.out.startswith(f"BUG: unpinned: {entry.rule} in ")
    assert f" {entry.scenario}\n" in run.out
    assert f"\n {entry.steps} steps," in run.out
    assert f"\n searched {entry.states} states " in run.out


@pytest.mark.parametrize("name", NAMES)
def test_the_fixed_plan_holds_where_the_broken_one_races(name: str) -> None:
    entry = entry_of(name)
    (plan,) = api.plans(entry.fixed, entry.plan)
    (scenario,) = {rung.scenario for rung in ladder(plan) if str(rung.scenario) == entry.scenario and rung.required}
    result = api.check_plan(plan, scenario=scenario, seconds=100)
    assert result.verdict is Verdict.HOLDS, result.why


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_as_expected(name: str) -> None:
    assert judge(entry_of(name), 100, api.Options(), Watch()).amiss == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_plans_differ_by_the_fix_alone(name: str) -> None:
    entry = entry_of(name)
    places = hunks(entry)
    changed = [line for place in places for line in place]
    assert len(places) == entry.places
    assert len(changed) <= MOST_LINES
    assert not any('"""' in line or line[1:].lstrip().startswith(("#", "class ")) for line in changed)
    assert [line for line in diff(entry)[2:] if line[:1] in {"-", "+"}] == changed


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_a_folder_with_these_files(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert {path.name for path in (GALLERY / name).iterdir() if path.name != "__pycache__"} == FILES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_can_be_pasted_into_a_mail(name: str) -> None:
    """No line is longer than a mail's, but that of a token."""
    entry = entry_of(name)
    report = (entry.folder / "expected.txt").read_text(encoding="utf-8")
    for text in (report, entry.broken.read_text(encoding="utf-8"), entry.fixed.read_text(encoding="utf-8")):
        assert text.isascii()
        assert "\t" not in text
        for line in text.splitlines():
            assert line == line.rstrip()
            # One column is left for the sign of a diff.
            assert len(line) < WIDTH or (text == report and (len(line) == WIDTH or token(report) in line)), line
    assert entry.source.isascii()
    assert entry.title.isascii()


# ---- what the page says


def table_of_entries() -> dict[str, list[str]]:
    """Return the rows of the page's first table by the name of the entry."""
    return {row[0].strip("`"): row for row in rows(sections(README, 2)["The entries"])}


def listed_as_missing() -> list[str]:
    """Return the numbers of the bugs that the page lists as not to be said yet, or as none of ours."""
    return re.findall(r"^- \*\*(\w+)\*\*", README, flags=re.MULTILINE)


def test_the_page_has_every_entry() -> None:
    found = [entry_of(name) for name in NAMES]
    assert {name: row[1:3] for name, row in table_of_entries().items()} == {
        entry.name: [entry.corpus, str(entry.year)] for entry in found
    }


def test_no_bug_is_listed_twice() -> None:
    missing = listed_as_missing()
    assert len(missing) > 40
    assert len(missing) == len(set(missing))
    assert not set(missing) & {entry_of(name).corpus for name in NAMES}
