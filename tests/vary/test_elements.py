# SPDX-License-Identifier: Apache-2.0
"""The elements of a plan: which there are, where they stand, and what the plan is without each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from support.command import ROOT
from support.made_plans import made_plans

from unpinned.errors import PlanError
from unpinned.plan.reading.classes import PlanClass, read_plans
from unpinned.vary.edits import diff_of, variant
from unpinned.vary.elements import elements

KVM2008 = ROOT / "src/unpinned/drivers/kvm2008.py"

GATE = """\
from unpinned import *


class Gate(SecondaryMMU):
    gate = Mutex()
    lock = SpinLock()
    seq = Counter()
    busy = Flag()

    def note(self):
        self.seq += 1

    def invalidate_range_start(self, r):
        with self.gate, self.lock:  # both: one after the other
            self.busy = True; self.note()
            self.zap_sptes(r)
            self.flush(r)

    def invalidate_range_end(self, r):
        with self.gate: self.busy = False

    def fresh(self, seq):
        return (self.seq == seq and
                not self.busy)

    def page_fault(self, gfn, write):
        with (
            self.gate  # a comment: with a colon
        ):
            if self.busy:
                return REPLAY
            seq = self.seq
            page = self.get_user_page(gfn, write)
            if self.fresh(seq): self.map(gfn, page, write)
            self.put_page(page)
        if write:
            return MAPPED
        return MAPPED

    def unused(self):
        self.seq += 1
"""


def plan_of(path: Path, name: str) -> PlanClass:
    """Read one plan."""
    return next(plan for plan in read_plans(path) if plan.name == name)


@pytest.fixture
def gate(tmp_path: Path) -> PlanClass:
    path = tmp_path / "gate.py"
    path.write_text(GATE)
    return plan_of(path, "Gate")


def told(plan: PlanClass) -> list[tuple[str, str, int, str]]:
    """Return what the elements of a plan are."""
    return [(one.method.name, one.kind, one.pos.line, one.what) for one in elements(plan)]


def lines(plan: PlanClass, what: str, kind: str = "") -> list[list[str]]:
    """Return for each way to do without an element the lines of the diff that go and come."""
    (element,) = [one for one in elements(plan) if one.what == what and kind in ("", one.kind)]
    return [
        [line for line in diff_of(edit).splitlines()[2:] if line[0] in "+-" and line[1:].strip()]
        for edit in element.edits
    ]


def test_the_elements_of_a_shipped_plan():
    start, end, page, fault = ("invalidate_range_start", "invalidate_range_end", "invalidate_page", "page_fault")
    assert told(plan_of(KVM2008, "Kvm2008Both")) == [
        (start, "lock", 47, "with self.mmu_lock"),
        (start, "bump", 48, "self.seq += 1"),
        (start, "bump", 49, "self.range_count += 1"),
        (start, "zap", 50, "self.zap(r): the sptes"),
        (start, "flush", 50, "self.zap(r): the flush"),
        (start, "order", 50, "self.flush(r) before the unlock of self.mmu_lock"),
        (end, "lock", 53, "with self.mmu_lock"),
        (end, "bump", 54, "self.seq += 1"),
        (end, "bump", 55, "self.range_count -= 1"),
        (page, "lock", 28, "with self.mmu_lock"),
        (page, "bump", 29, "self.seq += 1"),
        (page, "zap", 30, "self.zap(gfn): the sptes"),
        (page, "flush", 30, "self.zap(gfn): the flush"),
        (page, "order", 30, "self.flush(gfn) before the unlock of self.mmu_lock"),
        (fault, "order", 33, "seq = self.seq before get_user_page"),
        (fault, "lock", 35, "with self.mmu_lock"),
        (fault, "check", 36, "self.seq != seq"),
        (fault, "check", 36, "self.seq != seq or self.range_count"),
        (fault, "check", 36, "self.range_count"),
        (fault, "reference", 39, "self.put_page(page)"),
    ]


def test_helpers_count_if_they_are_called_and_conditions_on_parameters_do_not(gate):
    assert told(gate) == [
        ("invalidate_range_start", "lock", 14, "with self.gate"),
        ("invalidate_range_start", "lock", 14, "with self.lock"),
        ("invalidate_range_start", "flag", 15, "self.busy = True"),
        ("invalidate_range_start", "zap", 16, "self.zap_sptes(r)"),
        ("invalidate_range_start", "flush", 17, "self.flush(r)"),
        ("invalidate_range_start", "order", 17, "self.flush(r) before the unlock of self.gate and self.lock"),
        ("invalidate_range_end", "lock", 20, "with self.gate"),
        ("invalidate_range_end", "flag", 20, "self.busy = False"),
        ("page_fault", "lock", 28, "with self.gate"),
        ("page_fault", "check", 30, "self.busy"),
        ("page_fault", "order", 32, "seq = self.seq before get_user_page"),
        ("page_fault", "check", 34, "self.fresh(seq)"),
        ("page_fault", "reference", 35, "self.put_page(page)"),
        ("note", "bump", 11, "self.seq += 1"),
        ("fresh", "check", 23, "self.seq == seq"),
        ("fresh", "check", 23, "self.seq == seq and not self.busy"),
        ("fresh", "check", 24, "not self.busy"),
    ]


def test_what_a_plan_is_without_an_element(gate):
    assert lines(gate, "with self.lock") == [
        ["-        with self.gate, self.lock:  # both: one after the other",
         "+        with self.gate:  # both: one after the other"],
    ]  # fmt: skip
    assert lines(gate, "self.busy = True") == [
        ["-            self.busy = True; self.note()", "+            pass; self.note()"]
    ]
    assert lines(gate, "self.busy = False") == [
        ["-        with self.gate: self.busy = False", "+        with self.gate: pass"]
    ]
    assert lines(gate, "self.zap_sptes(r)") == [["-            self.zap_sptes(r)"]]
    assert lines(gate, "self.flush(r) before the unlock of self.gate and self.lock") == [
        ["-            self.flush(r)", "+        self.flush(r)"]
    ]
    assert lines(gate, "self.seq += 1") == [["-        self.seq += 1", "+        pass"]]
    assert lines(gate, "self.seq == seq") == [
        ["-        return (self.seq == seq and", "+        return (True and"]
    ]  # fmt: skip
    assert lines(gate, "self.busy") == [
        ["-            if self.busy:", "+            if False:"],
        ["-            if self.busy:", "+            if True:"],
    ]


def test_a_block_without_its_lock_stands_further_left(gate):
    end, fault = [one for one in elements(gate) if one.what == "with self.gate"][1:]
    assert (
        "    def invalidate_range_end(self, r):\n        self.busy = False\n" in variant(gate, end.edits[0]).file.text
    )
    assert (
        "        if self.busy:\n            return REPLAY\n        seq = self.seq\n"
        in variant(gate, fault.edits[0]).file.text
    )


def test_places_of_a_variant_are_those_of_the_file():
    plan = plan_of(KVM2008, "Kvm2008Both")
    for element in elements(plan):
        for edit in element.edits:
            new = variant(plan, edit).plan
            for name, method in new.methods.items():
                old = plan.methods[name]
                assert method.source.pos(method.node).line == old.source.pos(old.node).line


def test_a_variant_leaves_the_file_as_it_is(gate):
    path = Path(gate.source.path)
    for element in elements(gate):
        for edit in element.edits:
            variant(gate, edit)
    assert path.read_text() == GATE


def test_a_base_in_another_file_is_changed_for_the_variant_alone(tmp_path):
    (tmp_path / "base.py").write_text(GATE)
    (tmp_path / "derived.py").write_text("from base import Gate\n\nclass Derived(Gate):\n    pass\n")
    plan = plan_of(tmp_path / "derived.py", "Derived")
    (bump,) = [one for one in elements(plan) if one.kind == "bump"]
    assert (bump.pos.short, bump.method.owner) == ("base.py:11", "Gate")
    new = variant(plan, bump.edits[0])
    assert "self.seq += 1" not in new.file.text.split("def invalidate_range_start")[0]
    assert (tmp_path / "base.py").read_text() == GATE


@given(made_plans())
@settings(max_examples=60, deadline=None)
def test_of_any_plan_every_line_of_a_variant_is_one_of_the_file(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("made") / "made.py"
    path.write_text(text)
    plan = read_plans(path)[-1]
    for element in elements(plan):
        for edit in element.edits:
            try:
                new = variant(plan, edit).file
            except PlanError:  # a variant need not be in the language
                continue
            assert new.text != text
            before = text.split("\n")
            other = [
                number
                for number, (line, origin) in enumerate(zip(new.lines, new.origins, strict=False), 1)
                if line.strip() != before[origin - 1].strip()
            ]
            assert len(other) <= 2, diff_of(edit)


def test_fields_are_written_and_waited_for_by_methods_too():
    (plan,) = [plan for plan in read_plans(ROOT / "tests/plans/vocabulary.py") if plan.name == "GateBehind"]
    found = {(element.kind, element.what) for element in elements(plan)}
    assert {("wait", "self.calm.wait_event(self.inside >= 0)"), ("wake", "self.ended.wake_up()")} <= found
    (plan,) = [plan for plan in read_plans(ROOT / "tests/plans/vocabulary.py") if plan.name == "Ordered"]
    found = {(element.kind, element.what) for element in elements(plan)}
    assert ("bump", "WRITE_ONCE(self.count, self.count + 1)") in found
    assert ("bump", "self.pages[gfn].xchg(1)") in found
    assert not any(what.startswith("smp_mb") for _, what in found)


def test_what_is_said_to_the_mm_counts():
    interval = plan_of(ROOT / "src/unpinned/drivers/interval.py", "Hmm")
    found = [(kind, line, what) for _, kind, line, what in told(interval)]
    for element in [
        ("bump", 21, "self.mmu_interval_set_seq(cur_seq)"),
        ("check", 19, "r.blockable"),
        ("answer", 28, "return got"),
        ("order", 32, "seq = self.mmu_interval_read_begin() before get_user_page"),
        ("check", 35, "self.mmu_interval_read_retry(seq)"),
        ("reference", 38, "self.put_page(page)"),
    ]:
        assert element in found
    # What is always answered refuses nothing, and a call is more than an answer.
    assert ("answer", 23, "return True") not in found
    assert lines(interval, "return got") == [["-        return got", "+        return True"]]
    assert lines(interval, "r.blockable") == [
        ["-        if r.blockable:", "+        if False:"],
        ["-        if r.blockable:", "+        if True:"],
    ]
    gru = plan_of(ROOT / "src/unpinned/drivers/gru.py", "Gru")
    assert ("page_fault", "miss", 36, "self.tfh_read(gfn)") in told(gru)


def test_references_and_grace_periods_count():
    def found(file, name):
        return {(kind, what) for _, kind, _, what in told(plan_of(ROOT / f"tests/plans/{file}.py", name))}

    assert ("reference", "self.mr.get()") in found("lifetime", "Counted")
    assert ("wait", "synchronize_rcu()") in found("lifetime", "Rcu")
    assert ("wait", "self.srcu.synchronize()") in found("lifetime", "Sleeping")
    assert ("wait", "self.work.cancel_sync()") in found("work", "Handler")
    later = plan_of(ROOT / "tests/plans/lifetime.py", "SleepingLater")
    assert lines(later, "self.mr.call_srcu(self.srcu)") == [
        ["-        self.mr.call_srcu(self.srcu)", "+        self.mr.free()"]
    ]
