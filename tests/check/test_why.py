# SPDX-License-Identifier: Apache-2.0
"""What a plan needs: each answer is that of an ordinary check of a file in which the edit was made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import ROOT

from unpinned.api import check, one_plan, timelines, why, without
from unpinned.check.ladder import Watch
from unpinned.check.verdict import Rung, Verdict
from unpinned.check.why import Judged, Need, WhyResult
from unpinned.plan.reading.classes import PlanClass
from unpinned.vary.edits import variant

KVM2008 = ROOT / "src/unpinned/drivers/kvm2008.py"
#: Promises leaks alone, which none of its checks has to do with; and maps only what start has marked.
IDLE = """\
from unpinned import *


class Idle(SecondaryMMU):
    promises = ("leak",)
    operations = ("munmap",)

    lock = SpinLock()
    seq = Counter()
    marked = Flag()

    def invalidate_range_start(self, r):
        with self.lock:
            self.marked = True

    def invalidate_range_end(self, r):
        self.seq += 1

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        if self.seq != seq:
            self.put_page(page)
            return REPLAY
        if self.marked:
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""
#: Without the line that lowers it, the counter has no room for two.
NARROW = """\
from unpinned import *


class Narrow(SecondaryMMU):
    promises = ("leak",)
    operations = ("munmap",)

    count = Counter(bits=1)
    lock = SpinLock()

    def invalidate_range_start(self, r):
        with self.lock:
            self.count += 1
            self.count -= 1

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""
#: Without the operand that reads a field, the loop would go round by itself.
REFUSED = """\
from unpinned import *


class Refused(SecondaryMMU):
    promises = ("leak",)
    operations = ("munmap",)

    on = Flag()

    def page_fault(self, gfn, write):
        while self.on and not write:
            pass
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""


def plan_of(folder: Path, text: str) -> PlanClass:
    """Write a plan and read it."""
    path = folder / "plan.py"
    path.write_text(text)
    return one_plan(path)


def needs(result: WhyResult) -> dict[tuple[str, str], str]:
    """Return whether each element is needed, by its method and name."""
    return {(one.element.method.name, one.element.what): str(one.need) for one in result.judged}


def kvm2008(name: str) -> PlanClass:
    """Read a shipped plan by the path that the command is given in other tests."""
    return one_plan(KVM2008, name)


@pytest.fixture(scope="module")
def both() -> WhyResult:
    return why(kvm2008("Kvm2008Both"), seconds=100)


def test_the_bump_in_start_is_not_needed(both):
    """As was said on 22 April 2008 at 13:01, of the plan of 12:00."""
    assert both.base.verdict is Verdict.HOLDS
    assert both.exit_code == 0
    found = needs(both)
    assert found["invalidate_range_start", "self.seq += 1"] == "not needed"
    assert found["invalidate_range_end", "self.seq += 1"] == "needed"
    assert found["invalidate_page", "self.seq += 1"] == "needed"
    assert [key for key, need in found.items() if need != "needed"] == [
        ("invalidate_range_start", "self.seq += 1"),
        ("invalidate_range_start", "self.flush(r) before the unlock of self.mmu_lock"),
        ("invalidate_page", "self.flush(gfn) before the unlock of self.mmu_lock"),
    ]


@pytest.mark.long
def test_once_the_bump_in_start_is_gone_the_one_in_end_is_needed():
    result = why(kvm2008("Kvm2008"), seconds=100)
    assert result.exit_code == 0
    found = needs(result)
    assert found.pop(("invalidate_range_start", "self.flush(r) before the unlock of self.mmu_lock")) == "not needed"
    assert found.pop(("invalidate_page", "self.flush(gfn) before the unlock of self.mmu_lock")) == "not needed"
    assert set(found.values()) == {"needed"}
    assert len(found) == 17


def races(result: WhyResult) -> list[Judged]:
    """Return the elements without which a plan races."""
    return [one for one in result.judged if one.way is not None and one.way.result.race is not None]


def test_each_race_is_that_of_a_file_with_the_edit(both, tmp_path):
    assert len(races(both)) == 17
    for one in races(both):
        assert one.way is not None
        path = tmp_path / "kvm2008.py"
        path.write_text(variant(both.base.plan, one.way.edit).file.text)
        scenario = one.way.result.rungs[-1].rung.scenario
        (again,) = check(path, "Kvm2008Both", scenario=scenario, seconds=60)
        (mine,), (its,) = timelines(one.way.result), timelines(again)
        assert (mine.token, mine.message, mine.cycle) == (its.token, its.message, its.cycle)
        assert [row.text for row in mine.rows] == [row.text for row in its.rows]
        path.unlink()


def test_rows_of_a_race_stand_on_lines_of_the_file_that_is_there(both):
    lines = KVM2008.read_text().splitlines()
    for one in races(both):
        assert one.way is not None
        (told,) = timelines(one.way.result)
        own = [row for row in told.rows if row.own]
        assert own
        changed = [row for row in own if row.pos.text.strip() != lines[row.pos.line - 1].strip()]
        assert {row.pos.line for row in changed} <= {one.element.pos.line}


def test_what_holds_without_an_element_holds_as_a_file(both, tmp_path):
    bump = both.judged[1]
    assert bump.way is not None
    path = tmp_path / "kvm2008.py"
    path.write_text(variant(both.base.plan, bump.way.edit).file.text)
    (result,) = check(path, "Kvm2008Both", seconds=100, required_only=True)
    assert result.verdict is Verdict.HOLDS
    assert result.states == sum(rung.states for rung in bump.way.result.rungs)


def test_a_plan_that_races_needs_a_repair_and_not_an_answer():
    result = why(kvm2008("Kvm2008Posted"), seconds=60)
    assert (result.exit_code, result.judged) == (1, ())


@pytest.mark.long
def test_an_element_without_which_the_search_is_vacuous(tmp_path):
    """That nothing is replayed without a check is no reason to keep it; that nothing is mapped is one."""
    result = why(plan_of(tmp_path, IDLE), seconds=60)
    assert result.exit_code == 0
    told = {one.element.what: (one.need, one.why) for one in result.judged}
    assert told["self.seq != seq"] == (Need.NOT_NEEDED, "without it no fault was ever replayed")
    assert told["self.marked = True"] == (Need.NEEDED, "without it no fault was ever mapped")
    assert told["self.marked"] == (Need.NOT_NEEDED, "")


def test_a_counter_without_room_is_undecided(tmp_path):
    result = why(plan_of(tmp_path, NARROW), seconds=60)
    told = {one.element.what: (one.need, one.why) for one in result.judged}
    need, reason = told["self.count -= 1"]
    assert need is Need.UNDECIDED
    assert "count passed its width" in reason
    assert result.exit_code == 3


def test_what_is_no_plan_without_an_element_is_not_judged(tmp_path):
    result = why(plan_of(tmp_path, REFUSED), seconds=60)
    told = {one.element.what: (one.need, one.why) for one in result.judged}
    need, reason = told["self.on"]
    assert need is Need.NOT_JUDGED, told
    assert "this loop goes round without looking at shared state" in reason
    assert result.exit_code == 0


def test_an_element_by_itself_is_judged_as_among_all(both):
    plan = both.base.plan
    for number, one in enumerate(both.judged[:4], 1):
        alone = without(plan, number, seconds=60)
        assert (alone.need, alone.element.what) == (one.need, one.element.what)
        assert alone.way is not None
        assert one.way is not None
        assert alone.way.result.states == one.way.result.states
        assert bool(alone.way.result.race) == bool(one.way.result.race)


class Interrupts(Watch):
    """Interrupt when a variant is searched for the n-th time."""

    def __init__(self, after: int) -> None:
        self.after = after

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        self.after -= "/" in plan.name
        if not self.after:
            os.kill(os.getpid(), 2)


def test_an_interrupt_leaves_what_was_found():
    result = why(kvm2008("Kvm2008"), seconds=100, watch=Interrupts(6))
    assert result.interrupted
    assert result.exit_code == 3
    need = [one.need for one in result.judged]
    assert Need.NEEDED in need
    assert Need.UNDECIDED in need


def test_too_little_time_for_the_plan_itself():
    short = why(one_plan(ROOT / "examples" / "page_alone.py"), seconds=0.001)
    assert (short.base.verdict, short.judged, short.exit_code) == (Verdict.UNDECIDED, (), 3)
