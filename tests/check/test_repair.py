# SPDX-License-Identifier: Apache-2.0
"""Repairs: what is offered holds by an ordinary check of the file that it makes, and nothing else is offered."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.command import ROOT

from unpinned.api import check, one_plan, repair
from unpinned.check.ladder import Watch
from unpinned.check.repair import RepairResult, Searched
from unpinned.check.verdict import Rung, Verdict
from unpinned.plan.reading.classes import PlanClass

KVM2008 = ROOT / "src/unpinned/drivers/kvm2008.py"

#: Two things are wrong with it: no bump in end, and a snapshot that comes too late.
TWO = """\
from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008Posted


class Two(Kvm2008Posted):
    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        seq = self.seq
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
"""
#: The page is never put, which no bump, check, lock or flush mends.
HOPELESS = """\
from unpinned import *


class Hopeless(SecondaryMMU):
    operations = ("munmap",)
    promises = ("leak",)

    lock = SpinLock()
    count = Counter()

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        other = self.get_user_page(gfn, write)
        another = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        return MAPPED
"""
#: Safe only if it never maps: a repair of that kind is none.
USELESS = """\
from unpinned import *


class Useless(SecondaryMMU):
    operations = ("munmap",)
    promises = ("stale-use", "coherence")

    never = Flag(init=True)

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""


def repairs_of(path: Path, name: str | None = None, seconds: float = 100, watch: Watch | None = None) -> RepairResult:
    """Look for repairs of a plan."""
    return repair(one_plan(path, name), seconds=seconds, watch=watch)


def plan_file(folder: Path, text: str) -> Path:
    """Write a plan."""
    path = folder / "plan.py"
    path.write_text(text)
    return path


def holds_as_a_file(result: RepairResult, number: int, path: Path) -> bool:
    """Check the file that a repair makes, by itself."""
    path.write_text(result.repairs[number].new.text)
    (again,) = check(path, result.base.plan.name, seconds=100, required_only=True)
    assert again.states == result.repairs[number].result.states
    return again.verdict is Verdict.HOLDS


def test_the_mail_is_repaired_by_the_bump_in_end(tmp_path):
    result = repairs_of(KVM2008, "Kvm2008Posted")
    assert (result.base.verdict, result.exit_code) == (Verdict.RACE, 0)
    first = result.repairs[0]
    assert first.edits == ("add `self.seq += 1` in invalidate_range_end()",)
    assert [line for line in first.diff.splitlines()[2:] if line[0] in "+-"] == ["+            self.seq += 1"]
    assert "    def invalidate_range_end(self, r):\n        with self.mmu_lock:\n+            self.seq += 1\n" in (
        first.diff.replace("\n ", "\n")
    )
    assert first.result.states == 406564, "the plan of 13:21"
    assert holds_as_a_file(result, 0, tmp_path / "kvm2008.py")


@pytest.mark.parametrize(
    ("example", "plan", "edit"),
    [
        ("seq_after_gup", "SeqAfterGup", "move `seq = self.seq` to line 15 of page_fault()"),
        pytest.param(
            *("seq_without_count", "SeqWithoutCount", "ask `self.range_count` too, line 18 of page_fault()"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("count_without_seq", "CountWithoutSeq", "ask `self.seq != seq` too, line 17 of page_fault()"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("bump_in_start", "BumpInStart", "add `self.seq += 1` in invalidate_range_end()"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_examples_are_repaired(tmp_path, example, plan, edit):
    result = repairs_of(ROOT / "examples" / f"{example}.py", plan)
    assert result.exit_code == 0
    assert result.repairs[0].edits == (edit,)
    assert holds_as_a_file(result, 0, tmp_path / f"{example}.py")


@pytest.mark.long
def test_a_lock_that_is_missing_is_put_round_as_little_as_will_do(tmp_path):
    text = KVM2008.read_text().split("class Kvm2008Both")[0].replace("Kvm2008Posted", "Unlocked")
    before = "        with self.mmu_lock:\n            self.range_count -= 1\n"
    assert before in text
    path = plan_file(tmp_path, text.replace(before, "        self.seq += 1\n        self.range_count -= 1\n"))
    result = repairs_of(path)
    assert result.exit_code == 0
    assert [(one.edits, one.locked) for one in result.repairs[:1]] == [
        (("hold self.mmu_lock round line 25 of invalidate_range_end()",), 1)
    ]
    assert holds_as_a_file(result, 0, path)


def test_two_edits_where_one_does_not_do(tmp_path):
    result = repairs_of(plan_file(tmp_path, TWO))
    assert result.exit_code == 0
    assert {tuple(sorted(one.edits)) for one in result.repairs} == {
        ("add `self.seq += 1` in invalidate_range_end()", "move `seq = self.seq` to line 7 of page_fault()")
    }
    assert holds_as_a_file(result, 0, tmp_path / "plan.py")


@pytest.mark.long
def test_a_check_of_two_conditions_that_is_missing_takes_two_edits(tmp_path):
    """Neither condition alone gets past the first race; the one that makes it later is the first half."""
    text = KVM2008.read_text().split("class Kvm2008Posted")[0] + "class Unasked(Kvm2008):\n"
    text = text.replace("\n\n\nclass", "\nfrom unpinned.drivers.kvm2008 import Kvm2008\n\n\nclass")
    fault = KVM2008.read_text().split("    def page_fault")[1].split("\n\n")[0]
    fault = fault.replace("stale = self.seq != seq or self.range_count", "stale = False")
    result = repairs_of(plan_file(tmp_path, f"{text}    def page_fault{fault}\n"))
    assert "+            stale = self.range_count != 0 or self.seq != seq\n" in result.repairs[0].diff
    assert len(result.repairs[0].edits) == 2
    assert holds_as_a_file(result, 0, tmp_path / "plan.py")


def test_of_what_cannot_be_repaired_every_edit_was_tried(tmp_path):
    result = repairs_of(plan_file(tmp_path, HOPELESS))
    assert (result.base.verdict, result.repairs) == (Verdict.RACE, ())
    assert (result.searched, result.exit_code) == (Searched.PAIRS, 1)
    assert result.tried


def test_what_never_maps_is_no_repair(tmp_path):
    result = repairs_of(plan_file(tmp_path, USELESS), seconds=60)
    for one in result.repairs:
        assert "never" not in one.diff.replace("never = Flag", "")
        assert "map" in one.result.events


def test_no_repair_breaks_another_rule(tmp_path):
    """A counter that is raised and never lowered keeps every fault from mapping: no repair of the mail does that."""
    result = repairs_of(KVM2008, "Kvm2008Posted")
    for one in result.repairs:
        assert one.result.verdict is Verdict.HOLDS
        assert len(one.result.rungs) == 8
        assert all(rung.verdict is Verdict.HOLDS for rung in one.result.rungs)


def test_a_plan_that_holds_needs_none():
    result = repairs_of(ROOT / "examples" / "page_alone.py")
    assert (result.base.verdict, result.repairs, result.tried, result.exit_code) == (Verdict.HOLDS, (), 0, 0)


class _Slow(Watch):
    """Take so long over each rung that no machine tries all edits in two seconds."""

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        time.sleep(0.1)


def test_too_little_time_is_undecided():
    result = repairs_of(KVM2008, "Kvm2008Posted", seconds=2.0, watch=_Slow())
    assert (result.base.verdict, result.repairs, result.exit_code) == (Verdict.RACE, (), 3)
    assert result.searched is Searched.SOME
    result = repairs_of(KVM2008, "Kvm2008", seconds=0.001)
    assert (result.base.verdict, result.exit_code) == (Verdict.UNDECIDED, 3)


class Interrupts(Watch):
    """Interrupt when a plan with edits is searched for the n-th time."""

    def __init__(self, after: int) -> None:
        self.after = after

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        self.after -= "#" in plan.name
        if not self.after:
            os.kill(os.getpid(), 2)


def test_an_interrupt_ends_it():
    result = repair(one_plan(KVM2008, "Kvm2008Posted"), seconds=100, watch=Interrupts(5))
    assert result.interrupted
    assert (result.repairs, result.exit_code, result.searched) == ((), 3, Searched.SOME)
