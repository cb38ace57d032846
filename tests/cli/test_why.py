# SPDX-License-Identifier: Apache-2.0
"""`unpinned why`: what a user sees, and with which exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, WIDTH, Ran, begin, unpinned

BOTH = (KVM2008, "--plan", "Kvm2008Both")
#: What the report says of an element: number, line, need, what it is.
ROW = re.compile(r"^ {1,3}(\d+) +(\d+)  (needed|not needed|undecided|not judged) +(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def both() -> Ran:
    return unpinned("why", *BOTH, "--time", "100")


def test_it_says_what_the_thread_said_at_13_01(both):
    assert (both.code, both.err) == (0, "")
    assert both.out.startswith("WHY: unpinned: Kvm2008Both holds, and needs 17 of 20 elements\n")
    rows = {int(number): (int(line), need, what) for number, line, need, what in ROW.findall(both.out)}
    assert len(rows) == 20
    assert rows[2] == (48, "not needed", "self.seq += 1")
    assert rows[8] == (54, "needed", "self.seq += 1")
    assert " not needed     2: self.seq += 1, line 48\n" in both.out
    assert both.out.endswith("Elements Kvm2008Both 17 needed, 3 not needed, 0 undecided\n")


def test_it_says_which_race_appears_and_under_which_bounds(both):
    row = both.out[both.out.index("   8    54") :]
    assert row.splitlines()[1].strip() == "stale-use after 35 steps: 1 vCPU, 1 page, zap"
    assert "  1 vCPU, 2 pages, zap@0 + reclaim@1" in both.out
    assert "invalidate_page(), inherited from Kvm2008Posted\n" in both.out
    assert "not judged" not in both.out


def test_words_that_order_memory_are_not_judged_and_never_not_needed(tmp_path: Path):
    path = tmp_path / "ordered.py"
    text = (ROOT / KVM2008).read_text(encoding="utf-8")
    text = text.replace("    mmu_lock = ", '    operations = ("munmap",)\n    mmu_lock = ', 1)
    text = text.replace("        seq = self.seq\n", "        seq = READ_ONCE(self.seq)\n        smp_rmb()\n", 1)
    path.write_text(
        text.replace("from unpinned import ", "from unpinned import READ_ONCE, smp_rmb, ", 1), encoding="utf-8"
    )
    run = unpinned("why", path, "--plan", "Kvm2008", "--time", "60")
    assert run.code == 0
    assert " not judged     READ_ONCE, smp_rmb: memory is taken to be sequentially" in run.out
    assert not [row for row in ROW.findall(run.out) if "smp_rmb" in row[3] or "READ_ONCE" in row[3]]


def test_the_report_is_narrow_and_ascii(both):
    assert max(map(len, both.out.splitlines())) <= WIDTH
    assert both.out.isascii()


def test_one_element_is_shown_with_its_diff_and_its_race():
    run = unpinned("why", *BOTH, "--show", "8")
    assert (run.code, run.err) == (1, "")
    assert run.out.startswith("WHY: unpinned: drop `self.seq += 1`, invalidate_range_end(), line 54\n")
    assert "\n-            self.seq += 1\n" in run.out
    assert "\nBUG: unpinned: stale-use in page_fault() / invalidate_range_end()\n" in run.out
    assert "replay, once this edit is made:" in run.out
    assert "kvm2008.py:55: self.range_count -= 1" in unpinned("why", *BOTH, "--show", "8", "-v").out


def test_what_is_not_needed_is_shown_to_hold_without_it():
    run = unpinned("why", *BOTH, "--show", "2", "--time", "100")
    assert run.code == 0
    assert "\nOK: unpinned: Kvm2008Both holds\n" in run.out
    assert run.out.endswith("Observation Kvm2008Both Never 0 406564\n")


@pytest.mark.long
def test_the_token_replays_once_the_edit_is_made(tmp_path):
    """Data has the diff and the token; `patch` makes the edit."""
    path = tmp_path / "kvm2008.py"
    path.write_text((ROOT / KVM2008).read_text())
    run = unpinned("why", path, "--plan", "Kvm2008Both", "--json", "--time", "100")
    assert run.code == 0
    needed = [one for one in run.data["elements"] if one["race"]]
    assert len(needed) == 17
    for one in (needed[0], needed[5], needed[-1]):
        assert unpinned("replay", one["race"]["token"], path).code == 2, "the plan as it is has no such race"
        text = path.read_text()
        subprocess.run(["patch", "-s", str(path)], input=one["diff"], text=True, check=True)
        again = unpinned("replay", one["race"]["token"], path)
        assert again.code == 1, again.err
        assert again.out.endswith(f"Replayed Kvm2008Both: {one['property']} is broken again\n")
        path.write_text(text)


def test_data():
    run = unpinned("why", "examples/page_alone.py", "--json", "--time", "60")
    data = run.data
    assert (run.code, data["exit_code"], data["format"], data["version"]) == (0, 0, "unpinned-why", 1)
    assert (data["plan"], data["verdict"], data["property"]) == ("PageAlone", "holds", None)
    assert [rung["verdict"] for rung in data["rungs"]] == ["holds"] * len(data["rungs"])
    assert [one["number"] for one in data["elements"]] == list(range(1, len(data["elements"]) + 1))
    needed = [one for one in data["elements"] if one["need"] == "needed"]
    assert needed
    for one in needed:
        assert one["race"]["property"] == one["property"]
        assert one["rungs"][-1]["bounds"] == one["race"]["bounds"]
        assert one["diff"].startswith("--- examples/page_alone.py\n+++ examples/page_alone.py\n@@ ")


def test_a_plan_that_races_is_told_to_be_repaired():
    run = unpinned("why", KVM2008, "--plan", "Kvm2008Posted")
    assert (run.code, run.err) == (1, "")
    assert run.out.startswith("BUG: unpinned: Kvm2008Posted does not hold: stale-use\n")
    said = " ".join(run.out.split())
    assert f"unpinned check {KVM2008} --plan Kvm2008Posted" in said
    assert f"unpinned repair {KVM2008} --plan Kvm2008Posted" in said
    data = unpinned("why", KVM2008, "--plan", "Kvm2008Posted", "--json").data
    assert (data["exit_code"], data["verdict"], data["property"], data["elements"]) == (1, "race", "stale-use", [])


def test_too_little_time_for_the_plan_itself_is_undecided():
    run = unpinned("why", *BOTH, "--time", "0.01")
    assert run.code == 3
    assert run.out.startswith("UNDECIDED: unpinned: Kvm2008Both is undecided, so it is not known what it needs\n")
    assert "with more --time" in " ".join(run.out.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((KVM2008,), ("has several plans", "Kvm2008Posted, Kvm2008Both, Kvm2008")),
        ((*BOTH, "--show", "21"), ("Kvm2008Both has no element 21", "from 1 to 20")),
        ((*BOTH, "--show", "0"), ("Kvm2008Both has no element 0",)),
        ((*BOTH, "--time", "0"), ("--time 0 leaves no time",)),
        ((*BOTH, "--show", "1", "--json"), ("--show gives no data",)),
        (("missing.py",), ("missing.py: no such file",)),
        ((*BOTH, "--memory", "5X"), ("--memory 5X is no size",)),
    ],
)
def test_what_cannot_be_asked_is_refused(args, words):
    run = unpinned("why", *args)
    assert (run.code, run.out) == (2, "")
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err


def test_an_interrupt_leaves_what_was_found():
    """Twice: early, while the plan itself is checked, and later."""
    for seconds in (1.0, 3.0):
        process = begin("why", *BOTH, "--time", "100")
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, out + err
        assert "Traceback" not in err
        assert not out or out.splitlines()[0].startswith(("UNDECIDED: unpinned: ", "WHY: unpinned: "))


def test_a_plan_of_one_line_each_is_judged_too(tmp_path: Path):
    path = tmp_path / "one.py"
    path.write_text(
        "from unpinned import *\n"
        "class One(SecondaryMMU):\n"
        "    operations = ('reclaim',)\n"
        "    lock = SpinLock(); seq = Counter()\n"
        "    def invalidate_page(self, gfn):\n"
        "        with self.lock: self.seq += 1; self.zap(gfn)\n"
        "    def page_fault(self, gfn, write):\n"
        "        seq = self.seq; page = self.get_user_page(gfn, write)\n"
        "        with self.lock:\n"
        "            stale = self.seq != seq\n"
        "            if not stale: self.map(gfn, page, write)\n"
        "        self.put_page(page)\n"
        "        return REPLAY if stale else MAPPED\n"
    )
    run = unpinned("why", path, "--time", "60")
    assert run.code == 0, run.out + run.err
    assert run.out.startswith("WHY: unpinned: One holds, and needs 7 of 7 elements\n")
