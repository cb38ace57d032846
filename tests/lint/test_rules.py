# SPDX-License-Identifier: Apache-2.0
"""Each lint finds a plan that races, and is silent on a near twin that holds; plans that are right have no lints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from support.command import KVM2008, ROOT
from support.made_plans import made_plans, read_made

from unpinned import api
from unpinned.check.verdict import Verdict
from unpinned.errors import PlanError
from unpinned.ir.rules import LINTS
from unpinned.lint import walk
from unpinned.lint.rules import BY_NAME, Linted, look
from unpinned.mm.scenario import Scenario

PLANS = "tests/plans"
CURRENT = f"{PLANS}/lints_current.py"
GALLERY = "gallery/flush-after-unlock"

# the lint, where it finds something and in which lines, what races there and beside what; twins where it is silent
# fmt: off
CASES = [
    ("snapshot-after-read", "examples/seq_after_gup.py:SeqAfterGup", [16], "stale-use", "zap", [f"{KVM2008}:Kvm2008"]),
    ("snapshot-after-read", f"{PLANS}/lints.py:HelperReadsLate", [36], "stale-use", "zap", ["HelperReadsEarly"]),
    ("snapshot-in-loop", f"{PLANS}/lints.py:SnapshotAgain", [22], "stale-use", "zap",
        [f"{PLANS}/progress.py:LoopFreshSnapshot"]),
    ("snapshot-not-refreshed", f"{PLANS}/progress.py:LoopStaleSnapshot", [51], "progress", "zap",
        ["LoopFreshSnapshot"]),
    ("check-outside-lock", f"{PLANS}/stale_use.py:CheckOutsideLock", [14], "stale-use", "zap", ["CheckUnderLock"]),
    ("check-outside-lock", f"{PLANS}/lints.py:MapBehindLock", [66], "stale-use", "zap", ["TestTwice"]),
    ("check-outside-lock", f"{PLANS}/lints.py:OtherLock", [99], "stale-use", "zap", ["BothLocks"]),
    ("lock-across-gup", f"{PLANS}/deadlock.py:MutexOverGup", [105], "deadlock", "munmap", ["MutexAfterGup"]),
    ("lock-across-gup", f"{PLANS}/lints.py:SleepsUnderLock", [308], "deadlock", "zap", ["SleepsBeforeLock"]),
    ("flush-after-unlock", f"{GALLERY}/broken.py:Kvm", [31, 41], "flush-before-free", "zap,zap", []),
    ("flush-after-unlock", f"{PLANS}/lints.py:FlushedByOneOnly", [230], "flush-before-free", "zap,reclaim",
        ["FlushedByAll"]),
    ("unbalanced-count", f"{PLANS}/balance.py:EndTwice", [20], "balance", "zap", [f"{KVM2008}:Kvm2008"]),
    ("unbalanced-count", f"{PLANS}/balance.py:StartNotCounted", [64], "balance", "zap", [f"{KVM2008}:Kvm2008"]),
    ("unbalanced-count", f"{PLANS}/progress.py:EndNotCounted", [20], "progress", "zap", [f"{KVM2008}:Kvm2008"]),
    ("unbalanced-count", f"{PLANS}/lints.py:ReturnsEarly", [129], "balance", "zap", ["CountsEarly"]),
    ("read-then-clear", f"{PLANS}/lints.py:FoundAndCleared", [163, 163], "balance", "zap,zap",
        ["Exchanged", "ClearedUnderLock"]),
    ("read-then-clear", f"{PLANS}/lints.py:FlushedThenCleared", [278], "coherence", "reclaim@0,reclaim@1",
        ["ClearedThenFlushed"]),
    ("sleep-not-blockable", f"{CURRENT}:Semaphore", [155], "sleep-in-atomic", "oom_reap", ["SemaphoreTried"]),
    ("sleep-not-blockable", "gallery/hfi1-not-blockable/broken.py:TidEntries", [18], "sleep-in-atomic", "oom_reap",
        ["gallery/hfi1-not-blockable/fixed.py:TidEntries"]),
    ("sleep-not-blockable", "gallery/amdkfd-not-blockable/broken.py:SvmRange", [16], "sleep-in-atomic", "oom_reap",
        ["gallery/amdkfd-not-blockable/fixed.py:SvmRange"]),
    ("trylock-ignored", f"{CURRENT}:TakenInAnyway", [12], "stale-use", "oom_reap", ["TriedThenTaken"]),
    ("unbalanced-count", f"{PLANS}/current.py:RefusesFirst", [17], "balance", "oom_reap", ["RefusesTheReaper"]),
    ("set-seq-missing", f"{CURRENT}:NothingMapped", [47], "stale-use", "zap", ["NothingZapped"]),
    ("set-seq-missing", "gallery/radeon-not-bound/broken.py:Userptr", [23], "coherence", "zap",
        ["gallery/radeon-not-bound/fixed.py:Userptr"]),
    ("set-seq-late", f"{CURRENT}:SetBehindLock", [88], "stale-use", "zap", ["SetBeforeLock"]),
    ("snapshot-after-read", f"{CURRENT}:BeginsLate", [109], "stale-use", "zap",
        ["src/unpinned/drivers/interval.py:Hmm"]),
    ("check-outside-lock", f"{CURRENT}:RetryOutsideLock", [126], "stale-use", "zap", ["RetryTwice"]),
    ("snapshot-not-refreshed", "gallery/amdgpu-busy-loop/broken.py:Userptr", [29], "progress", "zap",
        ["gallery/amdgpu-busy-loop/fixed.py:Userptr"]),
]
# fmt: on

#: Plans that hold as far as they promise, each with locking of another kind.
RIGHT = {
    "vocabulary.py": {"Atomics", "Sides", "Semaphores", "Tries", "GateBehind", "GateSleeping", "Ordered"},
    "deadlock.py": {"AbAb", "SpinBeforeLock", "TakenInTurn", "MutexAfterGup", "WriteInTurn", "SpinForAWhile"},
    "progress.py": {"Reopened", "LoopFreshSnapshot"},
    "flush_before_free.py": {"Flush"},
    "leak.py": {"ReplayPuts", "PutBetween"},
    "ladder.py": None,
    "current.py": {"Both", "RefusesTheReaper", "TriesInReap"},
}


def linted(place: str, beside: str = "") -> Linted:
    """Look at a plan that is named by file and class, or by class alone in the file of another."""
    file, _, name = place.rpartition(":")
    return api.lint(api.one_plan(ROOT / (file or beside.rpartition(":")[0]), name))


def test_every_lint_has_a_rule_and_a_case() -> None:
    assert set(BY_NAME) == set(LINTS) == {name for name, *_ in CASES}


@pytest.mark.parametrize(("name", "place", "lines", "rule", "ops", "twins"), CASES)
def test_a_lint_finds_a_plan_that_races(
    name: str, place: str, lines: list[int], rule: str, ops: str, twins: list[str]
) -> None:
    found = linted(place).found
    assert [one.pos.line for one in found if one.rule == name] == lines
    file, _, plan = place.rpartition(":")
    scenario = Scenario(1, 2 if "@" in ops else 1, tuple(ops.split(",")))
    (result,) = api.check(ROOT / file, plan, scenario=scenario, seconds=60)
    assert result.race is not None
    assert rule in (result.race.rule, *result.race.also)


@pytest.mark.parametrize(
    ("place", "twin", "ops"), [(place, twin, ops) for _, place, _, _, ops, twins in CASES for twin in twins]
)
def test_and_not_a_near_twin_that_holds(place: str, twin: str, ops: str) -> None:
    assert linted(twin, place).found == ()
    file, _, plan = twin.rpartition(":")
    scenario = Scenario(1, 2 if "@" in ops else 1, tuple(ops.split(",")))
    (result,) = api.check(ROOT / (file or place.rpartition(":")[0]), plan, scenario=scenario, seconds=60)
    assert result.verdict is Verdict.HOLDS


def shipped() -> list[Path]:
    """Return the files of the plans that are shipped, and of the gallery's plans that are mended."""
    drivers = [path for path in (ROOT / "src/unpinned/drivers").glob("*.py") if path.name != "__init__.py"]
    return sorted([*drivers, *(ROOT / "gallery").glob("*/fixed.py")])


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_shipped_plans_have_no_lints(path: Path) -> None:
    for plan in api.plans(path):
        said = api.lint(plan)
        assert (said.found, said.idle, said.cut) == ((), (), ())


@pytest.mark.parametrize("file", RIGHT)
def test_plans_that_are_right_have_no_lints(file: str) -> None:
    wanted = RIGHT[file]
    for plan in api.plans(ROOT / PLANS / file):
        if wanted is None or plan.name in wanted:
            assert api.lint(plan).found == (), plan.name


# ---- variants of one plan, as text

PLAN = """\
from unpinned import *

class Plan(SecondaryMMU):
{attributes}
    mmu_lock = SpinLock()
    gate = Mutex()
    other = Mutex()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with {start}:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        with {fault}:
            seq = self.seq
            page = self.get_user_page(gfn, write)
        with {test}:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
"""


def rules_of(folder: Path, attributes: str = "", start: str = "", fault: str = "", test: str = "") -> list[str]:
    """Return the lints of a variant of PLAN."""
    lock = "self.mmu_lock"
    text = PLAN.format(
        attributes=f"    {attributes}", start=start or lock, fault=fault or "self.gate", test=test or lock
    )
    (folder / "plan.py").write_text(text, encoding="utf-8")
    return [one.rule for one in api.lint(api.one_plan(folder / "plan.py")).found]


def test_a_lock_round_gup_is_found_only_where_an_invalidation_waits_for_it(tmp_path: Path) -> None:
    assert rules_of(tmp_path) == []
    assert rules_of(tmp_path, start="self.gate, self.mmu_lock") == ["lock-across-gup"]
    assert rules_of(tmp_path, start="self.gate.trylock() as got, self.mmu_lock") == []


def test_a_lock_that_was_not_got_is_not_held(tmp_path: Path) -> None:
    start = "self.gate, self.mmu_lock"
    assert rules_of(tmp_path, start=start, fault="self.gate.trylock() as got") == ["lock-across-gup"]


def test_get_user_page_does_not_wait_for_a_zap(tmp_path: Path) -> None:
    """Both hold mmap_lock for reading; munmap has it for writing."""
    start = "self.gate, self.mmu_lock"
    assert rules_of(tmp_path, "operations = ('zap',)", start) == []
    assert rules_of(tmp_path, "operations = ('zap', 'munmap')", start) == ["lock-across-gup"]


def test_a_hook_that_no_operation_calls_is_not_looked_at(tmp_path: Path) -> None:
    assert rules_of(tmp_path, "operations = ('reclaim',)", test="self.mmu_lock") == []
    assert rules_of(tmp_path, "operations = ('zap',)", test="self.gate") == ["check-outside-lock"]


def test_a_lock_that_zaps_take_keeps_them_out_whoever_bumps(tmp_path: Path) -> None:
    """As in KVM's pfncache: the count is up before the zap, and seq is bumped under another lock."""
    locks = {"start": "self.gate", "fault": "self.other", "test": "self.gate"}
    assert rules_of(tmp_path, "operations = ('zap', 'munmap')", **locks) == []
    assert rules_of(tmp_path, **locks) == ["check-outside-lock"]


def test_a_plan_with_too_many_paths_is_not_judged_by_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_STATES", 100)
    said = linted("examples/seq_after_gup.py:SeqAfterGup")
    assert (said.found, said.cut) == ((), ("page_fault",))
    assert " not looked at page_fault() has more paths than lints follow " in " ".join(api.lint_report(said).split())


def test_who_waives_a_rule_waives_what_alone_breaks_it() -> None:
    said = linted("src/unpinned/drivers/xpmem.py:Xpmem")
    (finding,) = said.waived
    assert (finding.rule, said.reason(finding)) == ("sleep-not-blockable", said.plan.waive["sleep-in-atomic"])


NOTIFIER = """\
from unpinned import *
from unpinned.drivers.interval import Hmm

class Plan(Hmm):
    spin = SpinLock()
    seq = Counter()

    def invalidate(self, r, cur_seq):
{body}
"""


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("return super().invalidate(r, cur_seq)", []),
        ("self.seq += 1\nself.zap(r)\nreturn True", ["set-seq-missing"]),
        ("self.mmu_interval_set_seq(cur_seq)\nwith self.user_lock:\n    self.zap(r)\nreturn True",
         ["sleep-not-blockable"]),
        ("with self.spin, self.user_lock:\n    self.mmu_interval_set_seq(cur_seq)\n    self.zap(r)\nreturn True", []),
        ("return False", []),
        (
            (
                "with self.user_lock.trylock() as got:\n    pass\n"
                "self.mmu_interval_set_seq(cur_seq)\nself.zap(r)\nreturn True"
            ),
            ["check-outside-lock"],
        ),
    ],
)  # fmt: skip
def test_what_an_invalidation_must_do(body: str, rules: list[str], tmp_path: Path) -> None:
    """What races for another reason, or holds, is left to the check."""
    lines = "".join(f"        {line}\n" for line in body.split("\n"))
    (tmp_path / "plan.py").write_text(NOTIFIER.format(body=lines), encoding="utf-8")
    assert [one.rule for one in api.lint(api.one_plan(tmp_path / "plan.py")).found] == rules


def test_a_fault_with_a_counter_of_its_own_needs_no_sequence(tmp_path: Path) -> None:
    own = NOTIFIER.format(
        body="        with self.spin:\n            self.seq += 1\n            self.zap(r)\n        return True"
    )
    own += """
    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.spin:
            if self.seq == seq:
                self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""
    (tmp_path / "plan.py").write_text(own, encoding="utf-8")
    assert api.lint(api.one_plan(tmp_path / "plan.py")).found == ()


# ---- waivers

WAIVED = """\
from unpinned import *
from unpinned.drivers.kvm2008 import Kvm2008

class Waives(Kvm2008):
    waive = {WAIVE}

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


def waiving(folder: Path, waive: str) -> Linted:
    path = folder / "waives.py"
    path.write_text(WAIVED.replace("{WAIVE}", waive), encoding="utf-8")
    return api.lint(api.one_plan(path))


def test_a_lint_that_is_waived_is_told_with_its_reason(tmp_path: Path) -> None:
    said = waiving(tmp_path, '{"snapshot-after-read": "for the test"}')
    assert (said.found, [one.rule for one in said.waived], said.idle) == ((), ["snapshot-after-read"], ())
    assert api.lint_exit_code([said]) == 0
    assert " waived snapshot-after-read, waives.py:9, page_fault(): for the test " in " ".join(
        api.lint_report(said).split()
    )


def test_a_waiver_of_what_is_not_there_is_told(tmp_path: Path) -> None:
    said = waiving(tmp_path, '{"read-then-clear": "for the test"}')
    assert ([one.rule for one in said.found], said.idle) == (["snapshot-after-read"], ("read-then-clear",))
    assert "waived in vain read-then-clear finds nothing" in " ".join(api.lint_report(said).split())


def test_a_waiver_of_a_lint_changes_no_verdict(tmp_path: Path) -> None:
    waiving(tmp_path, '{"snapshot-after-read": "for the test"}')
    (result,) = api.check(tmp_path / "waives.py", scenario=Scenario(1, 1, ("zap",)))
    assert result.verdict is Verdict.RACE
    assert "no violation" not in api.report(result)


@pytest.mark.parametrize("words", ["'snapshot-after-red': 'x'", "'snapshot-after-read': ''"])
def test_a_waiver_that_names_no_lint_or_has_no_reason_is_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(PlanError, match=re.escape("did you mean `snapshot-after-read`") + "|has no reason"):
        waiving(tmp_path, "{" + words + "}")


def test_a_lint_is_not_promised(tmp_path: Path) -> None:
    """Only the rules of the checker are."""
    path = tmp_path / "promises.py"
    path.write_text(WAIVED.replace("waive = {WAIVE}", 'promises = ("read-then-clear",)'), encoding="utf-8")
    with pytest.raises(PlanError, match="no such rule"):
        api.plans(path)


# ---- variants and made plans


def test_variants_of_a_plan_have_lints_only_if_they_race() -> None:
    """As `why` makes them: each lock, bump, check and flush left out or put another way."""
    result = api.why(api.one_plan(ROOT / KVM2008, "Kvm2008Both"), seconds=100)
    said = {}
    for one in result.judged:
        assert one.way is not None
        found = {finding.rule for finding in api.lint(one.way.result.plan).found}
        assert not found or one.way.result.verdict is Verdict.RACE, one.element.what
        if found:
            said[one.way.edit.what, one.element.pos.line] = found
    assert said == {
        ("drop `self.range_count += 1`", 49): {"unbalanced-count"},
        ("drop `self.range_count -= 1`", 55): {"unbalanced-count"},
        ("take no self.mmu_lock", 47): {"check-outside-lock"},
        ("take no self.mmu_lock", 28): {"check-outside-lock"},
        ("take the snapshot after get_user_page", 33): {"snapshot-after-read"},
        ("take no self.mmu_lock", 35): {"check-outside-lock"},
    }


@given(made_plans())
@settings(max_examples=60, deadline=None)
def test_every_plan_can_be_looked_at(text: str) -> None:
    """Plans that the reader takes are walked to the end, and what is found stands in a line of theirs."""
    plan = read_made(text)
    said = look(plan)
    assert said.cut == ()
    for finding in said.found:
        assert finding.pos.text == text.split("\n")[finding.pos.line - 1]


def test_each_lock_that_is_held_is_told(tmp_path: Path) -> None:
    start = "self.gate, self.other, self.mmu_lock"
    assert rules_of(tmp_path, start=start, fault="self.gate, self.other") == ["lock-across-gup"] * 2
