# SPDX-License-Identifier: Apache-2.0
"""What the report says of searches that did not end: why, what to do, and what was given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, WIDTH

from unpinned import api
from unpinned.check.verdict import PlanResult, Rung, RungResult, Verdict
from unpinned.mm.scenario import Scenario

TIME, MEMORY = "the time was up (--time)", "the memory that may be used was full"
RUNG = RungResult(
    *(Rung(Scenario(2, 1, ("zap",)), True), Verdict.UNDECIDED, 1000, 10, TIME, None),
    *(frozenset(), frozenset(), frozenset()),
    notes=("a note",),
    details=("a detail", "a note"),
)


def undecided(why: str = TIME, lower: str = "", **more: object) -> PlanResult:
    plan = api.plans(KVM2008, "Kvm2008")[0]
    rung = replace(RUNG, why=why, lower=lower)
    result = PlanResult(plan, (rung,), (), {}, Verdict.UNDECIDED, (f"2 vCPUs, 1 page, zap: {why}",))
    return replace(result, **more)  # type: ignore[arg-type]


def told(result: PlanResult, verbose: bool = False) -> str:
    return " ".join(api.report(result, verbose).split())


@pytest.mark.parametrize(
    ("result", "advice"),
    [
        (undecided(), "give it more time (--time SECONDS), or pick a smaller scenario (--vcpus --pages --ops)"),
        (undecided(checkpoint=True), "run it again with --resume: it goes on from there, for --time SECONDS more; or"),
        (undecided(interrupted=True), "run it again"),
        (undecided(interrupted=True, checkpoint=True), "run it again with --resume: it goes on from there"),
        (undecided(MEMORY), "allow more memory (--memory SIZE), or pick a smaller scenario (--vcpus --pages --ops)"),
        (undecided(MEMORY, "--pages"), "allow more memory (--memory SIZE), or pick a smaller scenario (--pages first)"),
        (undecided(MEMORY, checkpoint=True), "allow more memory (--memory SIZE --resume), or pick a smaller scenario"),
    ],
)
def test_what_to_do(result: PlanResult, advice: str) -> None:
    text = told(result)
    assert f"what to do {advice}" in text
    assert result.checkpoint == ("--resume" in text)


def test_details_are_for_long_reports_and_for_data() -> None:
    assert told(undecided()).count("a note") == 1
    assert "a detail" not in told(undecided())
    assert told(undecided(), verbose=True).count("a note") == 1
    assert "2 vCPUs, 1 page, zap: a detail" in told(undecided(), verbose=True)
    (rung,) = api.as_data([undecided()])["plans"][0]["rungs"]
    assert rung["notes"] == ["a note", "a detail"]


def test_why_a_rule_was_not_looked_for() -> None:
    text = told(undecided(MEMORY, unsearched={"leak": MEMORY, "deadlock": TIME, "progress": MEMORY}))
    assert f"not looked for leak, progress (not promised; {MEMORY})" in text
    assert "not looked for deadlock (not promised; the time was up)" in text


# ---- columns


def lines_of(path: Path, name: str, scenario: Scenario) -> list[str]:
    """Return the lines of the report on one scenario, which are no longer than a mail's, but that of a token."""
    (plan,) = api.plans(path, name)
    lines = api.report(api.check_plan(plan, scenario=scenario)).splitlines()
    assert not [line for line in lines if len(line) > WIDTH and not line.endswith(" \\")]
    return lines


def test_why_a_race_is_no_violation_goes_on_below() -> None:
    drivers = ROOT / "src/unpinned/drivers"
    lines = lines_of(drivers / "xpmem.py", "Xpmem", Scenario(1, 1, ("zap",)))
    first = lines.index(" no violation: a fault may map a pinned page after end that the mm has")
    assert lines[first + 1] == "               taken away"


def test_two_long_methods_stand_on_two_lines() -> None:
    late = Path("gallery/flush-after-unlock/broken.py")
    lines = lines_of(late, "Kvm", Scenario(1, 1, ("zap", "zap")))
    assert lines[:3] == [
        "BUG: unpinned: flush-before-free in invalidate_range_start() /",
        "     invalidate_range_start()",
        "",
    ]
