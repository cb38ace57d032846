# SPDX-License-Identifier: Apache-2.0
"""Each shipped plan and each example gives the report in golden/, to the letter, with the verdict of 22 April 2008.

After a wanted change: `pytest tests/report --write-golden`, then read the difference.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, WIDTH, Ran, rows, token, unpinned

from unpinned.plan.reading.classes import read_plans

GOLDEN = Path(__file__).parent / "golden"

# plan, the rule that it breaks first, in which methods; none where the plan holds
VERDICTS = {
    "Kvm2008Posted": (KVM2008, "stale-use", "page_fault() / invalidate_range_end()"),
    "Kvm2008Both": (KVM2008, "", ""),
    "Kvm2008": (KVM2008, "", ""),
    "BumpInStart": ("examples/bump_in_start.py", "stale-use", "page_fault() / invalidate_range_end()"),
    "SeqWithoutCount": ("examples/seq_without_count.py", "stale-use", "invalidate_range_start() / page_fault()"),
    "CountWithoutSeq": ("examples/count_without_seq.py", "stale-use", "page_fault() / invalidate_range_end()"),
    "SeqAfterGup": ("examples/seq_after_gup.py", "stale-use", "page_fault() / invalidate_range_end()"),
    "PageAlone": ("examples/page_alone.py", "", ""),
    "PageAsRangePosted": ("examples/page_as_range.py", "coherence", "page_fault() / invalidate_range_end()"),
    "PageAsRange": ("examples/page_as_range.py", "", ""),
}
RACES = [name for name, (_, rule, _) in VERDICTS.items() if rule]


@cache
def reported(name: str) -> Ran:
    """Run the required part of the ladder, which does not depend on the machine's speed."""
    return unpinned("check", VERDICTS[name][0], "--plan", name, "--required", "--time", "120")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_no_plan_and_no_golden_is_forgotten(request: pytest.FixtureRequest) -> None:
    files = [ROOT / KVM2008, *sorted((ROOT / "examples").glob("*.py"))]
    plans = {plan.name: path.relative_to(ROOT).as_posix() for path in files for plan in read_plans(path)}
    assert plans == {name: file for name, (file, _, _) in VERDICTS.items()}
    if not request.config.getoption("--write-golden"):
        assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.txt" for name in VERDICTS}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_report_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    run = reported(name)
    if request.config.getoption("--write-golden"):
        (GOLDEN / f"{name}.txt").write_text(run.out, encoding="utf-8")
    assert run.out == golden(name)
    assert run.code == (1 if VERDICTS[name][1] else 0)
    assert run.quiet


@pytest.mark.parametrize("name", VERDICTS)
def test_a_report_can_be_pasted_into_a_mail(name: str) -> None:
    text = golden(name)
    assert text.isascii()
    assert text.endswith("\n")
    assert "\t" not in text
    assert str(ROOT) not in text
    for line in text.splitlines():
        assert line == line.rstrip()
        alone = VERDICTS[name][1] and line.strip() == f"{token(text)} \\"
        assert len(line) <= WIDTH or alone, line


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_is_that_of_the_thread(name: str) -> None:
    file, rule, where = VERDICTS[name]
    lines = golden(name).splitlines()
    assert lines[0] == (f"BUG: unpinned: {rule} in {where}" if rule else f"OK: unpinned: {name} holds")
    assert sum(line.startswith("Observation") for line in lines) == 1
    last = re.fullmatch(rf"Observation {name} (Never|Sometimes) (\d+) (\d+)", lines[-1])
    assert last
    word, violating, states = last[1], int(last[2]), int(last[3])
    assert re.search(rf"^ plan  {re.escape(file)}:\d+ {name}\b", golden(name), re.MULTILINE)
    if rule:
        assert word == "Sometimes"
        assert 0 < violating < states
        assert f" searched {states} states" in golden(name)
    else:
        assert (word, violating) == ("Never", 0)
        rungs = re.findall(r"^ [ +].* (\d+) +\d+  (\w+)$", golden(name), re.MULTILINE)
        assert {verdict for _, verdict in rungs} == {"holds"}
        assert sum(int(count) for count, _ in rungs) == states
        assert "not covered    weak memory" in golden(name)


@pytest.mark.parametrize("name", RACES)
def test_the_step_that_breaks_the_rule_is_marked_and_the_other_one_named(name: str) -> None:
    text, told = golden(name), rows(golden(name))
    marked = [row for row in told if "<--" in row.text]
    assert marked == told[-1:]
    named = re.search(r" ==> step (\d+): .*?conflicts with\s+step (\d+)\n", text, re.DOTALL)
    assert named
    assert int(named[1]) == told[-1].number
    assert int(named[2]) in {row.number for row in told[:-1]}
    assert f"\n {told[-1].number} steps, " in text
    assert "no shorter race exists" in text


def at(name: str, cpu: int, *wanted: str) -> list[int]:
    """Return where in the rows of one CPU these words stand, which must come in this order."""
    told = rows(golden(name))
    places: list[int] = []
    for words in wanted:
        first = places[-1] + 1 if places else 0
        found = [i for i in range(first, len(told)) if told[i].cpu == cpu and re.search(words, told[i].text)]
        assert found, f"CPU{cpu} has no {words!r} after row {first} of\n{golden(name)}"
        places.append(found[0])
    return places


def test_the_posted_plan_loses_a_whole_pair_between_get_user_page_and_the_lock() -> None:
    fault = at(
        "Kvm2008Posted",
        0,
        r"call page_fault\(0, ",
        r"\bseq = 0$",
        r"get_user_page\(0\) = A",
        r"lock\(mmu_lock\)",
        r"seq is 0, range_count is 0, stale = False",
        r"spte\[0\] = A",
        r"put_page\(A\).*A: free",
    )
    pair = at(
        "Kvm2008Posted",
        1,
        r"^zap pages \[0, 1\)",
        r"call invalidate_range_start\(\)",
        r"lock\(mmu_lock\)",
        r"range_count 0 -> 1",
        r"unlock\(mmu_lock\)",
        r"clear PTE 0",
        r"the mm drops A.*A: 1 ref",
        r"call invalidate_range_end\(\)",
        r"lock\(mmu_lock\)",
        r"range_count 1 -> 0",
        r"unlock\(mmu_lock\)",
    )
    told = rows(golden("Kvm2008Posted"))
    assert [row.cpu for row in told] == [0] * (pair[0]) + [1] * (pair[-1] - pair[0] + 1) + [0] * (
        len(told) - pair[-1] - 1
    )
    assert fault[2] < pair[0]
    assert pair[-1] < fault[3]
    assert fault[-1] == len(told) - 1
    assert not any("seq" in row.text for row in told if row.cpu == 1)
    assert "2 context switches" in golden("Kvm2008Posted")


def test_a_bump_in_start_is_seen_by_a_fault_that_begins_after_it() -> None:
    (bump, drop) = at("BumpInStart", 1, r"seq 0 -> 1", r"range_count 1 -> 0")
    (read, test) = at("BumpInStart", 0, r"\bseq = 1$", r"seq is 1, range_count is 0, stale = False")
    assert bump < read < drop < test


def test_without_the_count_a_fault_maps_between_start_and_the_pte_clear() -> None:
    (start, clear) = at("SeqWithoutCount", 1, r"range_count 0 -> 1", r"clear PTE 0")
    (test,) = at("SeqWithoutCount", 0, r"seq is 0, stale = False")
    assert start < test < clear


def test_without_seq_a_whole_pair_goes_unseen() -> None:
    (bump, drop) = at("CountWithoutSeq", 1, r"seq 0 -> 1", r"range_count 1 -> 0")
    (page, test) = at("CountWithoutSeq", 0, r"get_user_page\(0\) = A", r"range_count is 0, stale = False")
    assert page < bump < drop < test


def test_a_seq_that_is_read_after_get_user_page_has_the_bump_in_it() -> None:
    (bump,) = at("SeqAfterGup", 1, r"seq 0 -> 1")
    (page, read) = at("SeqAfterGup", 0, r"get_user_page\(0\) = A", r"\bseq = 1$")
    assert page < bump < read


def test_a_page_as_a_range_goes_unseen_under_reclaim() -> None:
    (clear, up, down) = at("PageAsRangePosted", 1, r"PTE 0", r"range_count 0 -> 1", r"range_count 1 -> 0")
    (page, test) = at("PageAsRangePosted", 0, r"get_user_page\(0\) = A", r"range_count is 0, stale = False")
    assert page < clear < up < down < test


def test_the_ladder_has_what_the_design_asks_for() -> None:
    text = golden("Kvm2008")
    names = ["1 page, munmap", "1 page, zap", "1 page, reclaim", "1 page, zap + zap", "1 page, zap + reclaim"]
    for scenario in [
        *(f"1 vCPU, {name}" for name in names),
        "2 vCPUs, 1 page, zap",
        "1 vCPU, 2 pages, zap",
        "1 vCPU, 2 pages, zap@0 + reclaim@1",
    ]:
        assert re.search(rf"^  {re.escape(scenario)} +\d+ +\d+  holds$", text, re.MULTILINE), scenario


def test_a_pass_names_what_it_did_not_put_to_the_test() -> None:
    assert "NULL ops       invalidate_range_start, invalidate_range_end\n" in golden("PageAlone")
    assert "not exercised  balance\n" in golden("PageAlone")
    assert "not exercised" not in golden("Kvm2008")
    assert "never reached" not in golden("Kvm2008")
