# SPDX-License-Identifier: Apache-2.0
"""The edits that could repair a plan: of the plan's own file and class, and each what it says it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from support.command import ROOT
from support.made_plans import made_plans

from unpinned.errors import PlanError
from unpinned.plan.reading.classes import PlanClass, read_plans
from unpinned.plan.reading.source import parse_source
from unpinned.vary.edits import diff_of, variant
from unpinned.vary.proposals import edit_of
from unpinned.vary.repairs import proposals

KVM2008 = ROOT / "src/unpinned/drivers/kvm2008.py"

UNLOCKED = """\
from unpinned import *

class Unlocked(SecondaryMMU):
    lock = SpinLock()
    gate = Mutex()
    seq = Counter()
    busy = PerPage(Flag())

    def invalidate_range_start(self, r):
        self.zap_sptes(r)
        with self.lock:
            self.seq += 1

    def invalidate_page(self, gfn):
        self.zap(gfn)

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""


def read(path: Path, name: str) -> PlanClass:
    """Read one plan of a file."""
    return next(plan for plan in read_plans(path) if plan.name == name)


def plan_of(folder: Path, text: str) -> PlanClass:
    """Write a plan and read the last of the file."""
    path = folder / "plan.py"
    path.write_text(text)
    return read_plans(path)[-1]


def told(plan: PlanClass) -> dict[str, list[list[str]]]:
    """Return for each edit in words the lines of its diffs that go and come."""
    found: dict[str, list[list[str]]] = {}
    for one in proposals(plan):
        lines = [line for line in diff_of(edit_of(plan, one)).splitlines()[2:] if line[0] in "+-"]
        found.setdefault(one.what, []).append(lines)
    return found


def test_the_edits_of_the_plan_of_the_mail():
    found = told(read(KVM2008, "Kvm2008Posted"))
    assert found["add `self.seq += 1` in invalidate_range_end()"][0] == ["+            self.seq += 1"]
    assert found["move `self.seq += 1` from invalidate_page() to invalidate_range_end()"][0] == [
        "+            self.seq += 1",
        "-            self.seq += 1",
    ]
    assert found["hold self.mmu_lock up to line 39 of page_fault()"] == [
        [
            "-        self.put_page(page)  # nothing stays pinned",
            "+            self.put_page(page)  # nothing stays pinned",
        ]
    ]


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        (
            "hold self.lock round line 10 of invalidate_range_start()",
            ["-        self.zap_sptes(r)", "+        with self.lock:", "+            self.zap_sptes(r)"],
        ),
        (
            "hold self.lock from line 10 of invalidate_range_start()",
            ["-        self.zap_sptes(r)", "+            self.zap_sptes(r)"],
        ),
        (
            "hold self.gate too, with self.lock in invalidate_range_start()",
            ["-        with self.lock:", "+        with self.lock, self.gate:"],
        ),
        (
            "call zap for `self.zap_sptes(r)` in invalidate_range_start()",
            ["-        self.zap_sptes(r)", "+        self.zap(r)"],
        ),
        ("add `self.flush(r)` in invalidate_range_start()", ["+            self.flush(r)"]),
        ("add `self.seq += 1` in invalidate_page()", ["+        self.seq += 1"]),
        (
            "map only if `self.seq == seq`, line 19 of page_fault()",
            ["+        seq = self.seq", "-        self.map(gfn, page, write)", "+        if self.seq == seq:",
             "+            self.map(gfn, page, write)"],
        ),
        (
            "map only if `not self.busy[gfn]`, line 19 of page_fault()",
            ["-        self.map(gfn, page, write)", "+        if not self.busy[gfn]:",
             "+            self.map(gfn, page, write)"],
        ),
    ],
)  # fmt: skip
def test_an_edit_is_what_it_says(tmp_path, what, lines):
    found = told(plan_of(tmp_path, UNLOCKED))
    assert sorted(lines) in [sorted(diff) for diff in found[what]], found[what]


def test_a_lock_moves_up_with_its_header(tmp_path):
    plan = plan_of(tmp_path, UNLOCKED)
    (up,) = [one for one in proposals(plan) if one.what.startswith("hold self.lock from line 10")]
    assert (
        "        with self.lock:\n            self.zap_sptes(r)\n            self.seq += 1\n"
        in variant(plan, edit_of(plan, up)).file.text
    )
    assert up.locked == 1


def test_a_spinlock_is_not_held_where_a_page_is_got(tmp_path):
    found = told(plan_of(tmp_path, UNLOCKED))
    assert "hold self.gate round lines 18 to 20 of page_fault()" in found
    assert not [what for what in found if what.startswith("hold self.lock round lines 18")]


def test_a_condition_is_joined_as_its_own_says(tmp_path):
    stale, fresh, mixed, never = (
        "self.seq != seq",
        "self.seq == seq and not self.busy[gfn]",
        "self.seq != seq and self.busy[gfn]",
        "False",
    )
    for condition, want in (
        (stale, "self.seq != seq or self.busy[gfn]"),
        (
            fresh.replace("not self.busy[gfn]", "self.seq > 0"),
            "self.seq == seq and self.seq > 0 and not self.busy[gfn]",
        ),
        (mixed.replace("self.busy[gfn]", "self.seq > 0"), "(self.seq != seq and self.seq > 0) or self.busy[gfn]"),
        (never, "self.busy[gfn]"),
    ):
        call = "        self.map(gfn, page, write)\n"
        asked = f"        seq = self.seq\n        done = {condition}\n        if done:\n    {call}"
        text = UNLOCKED.replace(call, asked)
        plan = plan_of(tmp_path, text)
        texts = [variant(plan, edit_of(plan, one)).file.text for one in proposals(plan) if one.what.startswith("ask")]
        assert any(f"        done = {want}\n" in text for text in texts), condition


def test_an_inherited_method_is_overridden_and_the_base_left_alone(tmp_path):
    (tmp_path / "base.py").write_text(UNLOCKED)
    path = tmp_path / "derived.py"
    last = "\n\n\nclass Last(Derived):\n    pass\n"
    text = "from base import Unlocked\n\n\nclass Derived(Unlocked):\n    operations = ('zap',)" + last
    path.write_text(text)
    plan = read(path, "Derived")
    for one in proposals(plan):
        try:
            new = variant(plan, edit_of(plan, one))
        except PlanError:
            continue
        assert new.file.path == str(path)
        changed = {name: method.owner for name, method in new.plan.methods.items() if method.owner == "Derived"}
        assert changed, one.what
        assert new.file.text.endswith(last)
    assert path.read_text() == text
    assert (tmp_path / "base.py").read_text() == UNLOCKED


def test_words_that_a_copy_needs_are_imported(tmp_path):
    (tmp_path / "base.py").write_text(UNLOCKED)
    path = tmp_path / "derived.py"
    path.write_text("from base import Unlocked\n\nclass Derived(Unlocked):\n    operations = ('zap',)")
    plan = read(path, "Derived")
    (one,) = [one for one in proposals(plan) if one.what.startswith("map only if `self.seq == seq`")]
    assert variant(plan, edit_of(plan, one)).file.text == (
        "from base import Unlocked\nfrom unpinned import MAPPED\n\nclass Derived(Unlocked):\n"
        "    operations = ('zap',)\n\n    def page_fault(self, gfn, write):\n        seq = self.seq\n"
        "        page = self.get_user_page(gfn, write)\n        if self.seq == seq:\n"
        "            self.map(gfn, page, write)\n        self.put_page(page)\n        return MAPPED\n"
    )


def test_a_method_that_says_super_is_not_copied(tmp_path):
    (tmp_path / "base.py").write_text(
        UNLOCKED
        + "\nclass Middle(Unlocked):\n    def invalidate_page(self, gfn):\n        super().invalidate_page(gfn)\n"
    )
    path = tmp_path / "derived.py"
    path.write_text("from base import Middle\n\nclass Derived(Middle):\n    operations = ('zap',)\n")
    texts = [diff_of(edit_of(plan, one)) for plan in read_plans(path) for one in proposals(plan)]
    assert texts
    assert not [text for text in texts if "super()" in text or "def invalidate_page" in text]


@given(made_plans())
@settings(max_examples=8, deadline=None)
def test_of_any_plan_an_edit_changes_the_class_and_nothing_else(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("made") / "made.py"
    path.write_text(text)
    plan = read_plans(path)[-1]
    others = [ast.dump(node) for node in parse_source(text, "made").tree.body if getattr(node, "name", "") != plan.name]
    for one in proposals(plan):
        try:
            new = variant(plan, edit_of(plan, one)).file
        except PlanError:  # a proposal need not lead to a plan
            continue
        body = [node for node in new.tree.body if getattr(node, "name", "") != plan.name]
        kept = [ast.dump(node) for node in body]
        assert [node for node in kept if "ImportFrom" not in node] == [n for n in others if "ImportFrom" not in n]
        assert len(new.origins) == len(new.text.splitlines())


@pytest.mark.parametrize(
    ("entry", "what", "lines"),
    [
        (
            "radeon-not-bound",
            "add `self.mmu_interval_set_seq(cur_seq)` at line 22 of invalidate()",
            ["+                self.mmu_interval_set_seq(cur_seq)"],
        ),
        (
            "radeon-not-bound",
            "ask `self.mmu_interval_read_retry(seq)` too, line 30 of page_fault()",
            [
                "+        seq = self.mmu_interval_read_begin()",
                "-            there = self.bound[gfn]",
                "+            there = self.bound[gfn] or self.mmu_interval_read_retry(seq)",
            ],
        ),
        (
            "amdkfd-not-blockable",
            "`return False` where a range may not be waited for, in invalidate()",
            ["+        if not r.blockable:", "+            return False"],
        ),
        (
            "amdgpu-busy-loop",
            "add `seq = self.mmu_interval_read_begin()` at line 31 of page_fault()",
            ["+            seq = self.mmu_interval_read_begin()"],
        ),
    ],
)
def test_edits_of_calls_of_the_mm(entry, what, lines):
    (plan,) = read_plans(ROOT / "gallery" / entry / "broken.py")
    assert lines in told(plan)[what]


def test_a_page_is_put_before_each_return_behind_it(tmp_path):
    found = told(plan_of(tmp_path, UNLOCKED.replace("        self.put_page(page)\n", "")))
    assert found["add `self.put_page(page)` at line 20 of page_fault()"] == [["+        self.put_page(page)"]]


def test_a_wait_comes_before_an_object_is_freed():
    plan = read(ROOT / "tests/plans/lifetime.py", "RcuEarly")
    assert [["+        synchronize_rcu()"]] in [
        diffs for what, diffs in told(plan).items() if what.startswith("add `synchronize_rcu()` before")
    ]
    work = read(ROOT / "tests/plans/work.py", "NotWaitedFor")
    assert any(what.startswith("add `self.work.cancel_sync()` before") for what in told(work))


def test_a_method_that_lacks_is_added_whole(tmp_path):
    text = UNLOCKED.replace("    def invalidate_page(self, gfn):\n        self.zap(gfn)\n\n", "")
    found = told(plan_of(tmp_path, text))
    assert found["add invalidate_page() with `self.seq += 1` and `self.zap(gfn)` under self.lock"] == [
        [
            "+",
            "+    def invalidate_page(self, gfn):",
            "+        with self.lock:",
            "+            self.seq += 1",
            "+            self.zap(gfn)",
        ]
    ]
    assert not any("add invalidate_page()" in what for what in told(plan_of(tmp_path, UNLOCKED)))
