# SPDX-License-Identifier: Apache-2.0
"""`unpinned repair`: what a user sees, what is written, and with which exit code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, WIDTH, Ran, unpinned

POSTED = (KVM2008, "--plan", "Kvm2008Posted")
HEAD = "from unpinned import *\nfrom unpinned.drivers.kvm2008 import Kvm2008Posted\n\n\n"
#: The plan of the mail for munmap alone, with a method of its own to be changed.
SMALL = (
    HEAD
    + """\
class Small(Kvm2008Posted):
    operations = ("munmap",)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.range_count -= 1
"""
)


@pytest.fixture(scope="module")
def posted() -> Ran:
    return unpinned("repair", *POSTED, "--time", "100")


def test_the_first_repair_is_the_bump_in_end(posted):
    assert (posted.code, posted.err) == (0, "")
    assert posted.out.startswith("REPAIR: unpinned: Kvm2008Posted races, and ")
    assert " race  stale-use after 33 steps: 1 vCPU, 1 page, zap\n" in posted.out
    first = posted.out.split("\n 1. ")[1]
    assert first.startswith("add `self.seq += 1` in invalidate_range_end()\n")
    assert (
        "     def invalidate_range_end(self, r):\n         with self.mmu_lock:\n+            self.seq += 1\n" in first
    )


def test_the_bounds_are_printed(posted):
    assert "\n  1 vCPU, 2 pages, zap@0 + reclaim@1          188667     136  holds\n" in posted.out
    assert " not covered    weak memory;" in posted.out
    assert " derived        Kvm2008Both, Kvm2008: check what inherits from\n" in posted.out
    assert max(len(line) for line in posted.out.splitlines() if not line.startswith(("+", "-"))) <= WIDTH


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), pytest.param("\ufeff", "\r\n", marks=pytest.mark.long)])
def test_write_makes_the_first_repair_in_place(tmp_path, mark, end):
    path = tmp_path / "small.py"
    path.write_bytes((mark + SMALL).replace("\n", end).encode())
    path.chmod(0o640)
    run = unpinned("repair", path, "--write", "--time", "60")
    assert run.code == 0, run.out + run.err
    assert run.err == f"unpinned: {path}: written, with the first repair\n"
    want = SMALL.replace(
        "            self.range_count -= 1", "            self.seq += 1\n            self.range_count -= 1"
    )
    assert path.read_bytes() == (mark + want).replace("\n", end).encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert unpinned("check", path, "--required", "--time", "60").code == 0
    again = unpinned("repair", path, "--write", "--time", "60")
    assert again.code == 0
    assert again.out.startswith("OK: unpinned: Small holds: there is nothing to repair\n")


def test_nothing_is_written_unless_asked_and_the_diff_applies(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    run = unpinned("repair", path, "--json", "--time", "60")
    data = run.data
    assert path.read_text() == SMALL
    assert [one.name for one in tmp_path.iterdir()] == ["small.py"]
    assert (data["format"], data["exit_code"], data["verdict"]) == ("unpinned-repair", 0, "race")
    assert data["race"]["property"] == "stale-use"
    first = data["repairs"][0]
    assert first["edits"] == ["add `self.seq += 1` in invalidate_range_end()"]
    assert {rung["verdict"] for rung in first["rungs"]} == {"holds"}
    subprocess.run(["patch", "-s", str(path)], input=first["diff"], text=True, check=True)
    assert unpinned("check", path, "--required", "--time", "60").code == 0


def test_a_file_that_has_changed_is_not_written(tmp_path):
    from unpinned.api import one_plan, repair, repaired_text
    from unpinned.errors import UsageError

    path = tmp_path / "small.py"
    path.write_text(SMALL)
    result = repair(one_plan(path), seconds=60)
    assert repaired_text(result) == result.repairs[0].new.text
    path.write_text(SMALL + "\n")
    with pytest.raises(UsageError, match="has changed since it was read: nothing was written"):
        repaired_text(result)


def test_what_cannot_be_written_is_said(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        run = unpinned("repair", path, "--write", "--time", "60")
    finally:
        tmp_path.chmod(0o700)
    assert run.code == 2
    assert "cannot be written" in run.err
    assert path.read_text() == SMALL


def test_a_plan_that_holds():
    run = unpinned("repair", "examples/page_alone.py", "--time", "60")
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("OK: unpinned: PageAlone holds: there is nothing to repair\n")


def test_no_repair_in_the_time_is_undecided():
    run = unpinned("repair", *POSTED, "--time", "2")
    assert run.code == 3
    said = " ".join(run.out.split())
    assert "races, and no repair was found" in said
    assert "give it more time (--time SECONDS)" in said


def test_no_repair_at_all(tmp_path: Path):
    path = tmp_path / "hopeless.py"
    path.write_text(
        "from unpinned import *\n\n\nclass Hopeless(SecondaryMMU):\n    operations = ('munmap',)\n"
        "    promises = ('leak',)\n\n    def page_fault(self, gfn, write):\n"
        "        page = self.get_user_page(gfn, write)\n        other = self.get_user_page(gfn, write)\n"
        "        self.map(gfn, page, write)\n        return MAPPED\n"
    )
    run = unpinned("repair", path, "--write", "--time", "60")
    assert run.code == 1
    assert run.out.startswith("REPAIR: unpinned: Hopeless races, and no repair was found\n")
    assert " tried          every single edit of the kinds that are known, and every\n" in run.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((KVM2008,), ("has several plans", "Kvm2008Posted, Kvm2008Both, Kvm2008")),
        ((*POSTED, "--time", "0"), ("--time 0 leaves no time",)),
        (("missing.py",), ("missing.py: no such file",)),
        ((*POSTED, "--cores", "0"), ("--cores",)),
    ],
)
def test_what_cannot_be_asked_is_refused(args, words):
    run = unpinned("repair", *args)
    assert (run.code, run.out) == (2, "")
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err


def test_the_shipped_file_is_as_it_was():
    assert "self.seq += 1  # the line that the mail lacks" in (ROOT / KVM2008).read_text()
