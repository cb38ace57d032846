# SPDX-License-Identifier: Apache-2.0
"""`unpinned lint`, and the lints in the report of a check: what a user sees, and with which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import KVM2008, WIDTH, unpinned

LATE = "examples/seq_after_gup.py"
RACES_ONLY = "examples/count_without_seq.py"


def test_a_plan_with_a_lint() -> None:
    run = unpinned("lint", LATE)
    assert (run.code, run.err) == (1, "")
    assert run.out.startswith(
        "LINT: unpinned: SeqAfterGup has 1 lint\n\n plan  examples/seq_after_gup.py:8 SeqAfterGup"
    )
    assert "\n snapshot-after-read: seq_after_gup.py:16, page_fault()\n    seq = self.seq\n   rule   " in run.out
    assert "\n   to do  Read seq before get_user_page().\n" in run.out
    assert run.out.endswith("\nLints SeqAfterGup 1 found, 0 waived\n")
    assert max(map(len, run.out.splitlines())) <= WIDTH
    assert run.out.isascii()


def test_plans_without_lints() -> None:
    run = unpinned("lint", KVM2008)
    assert (run.code, run.err) == (0, "")
    assert run.out.count(" 0 found, 0 waived\n") == 3
    assert unpinned("lint", KVM2008, LATE).code == 1


def test_a_lint_is_no_verdict() -> None:
    """What races may have no lint, and `check` says with what code a plan with lints ends."""
    assert unpinned("lint", RACES_ONLY).code == 0
    for plan, code in (("CheckOutsideLock", 1), ("CheckUnderLock", 0)):
        run = unpinned("check", "tests/plans/stale_use.py", "--plan", plan, "--ops", "zap", "--time", "60")
        assert run.code == code
        assert ("LINT: " in run.out) == bool(code)


def test_lints_that_a_verdict_does_not_share() -> None:
    """Two steps in place of one hurt nobody where one operation runs, and the lint is told all the same."""
    run = unpinned("check", "tests/plans/lints.py", "--plan", "FoundAndCleared", "--ops", "reclaim", "--time", "60")
    assert run.code == 0
    assert run.out.startswith("OK: unpinned: FoundAndCleared holds\n")
    heading = "\nLINT: unpinned: FoundAndCleared has 2 lints; no verdict rests on them\n\n read-then-clear: lints.py:"
    assert heading in run.out
    assert run.out.splitlines()[-1].startswith("Observation FoundAndCleared Never 0 ")
    assert max(map(len, run.out.splitlines())) <= WIDTH


def test_data() -> None:
    run = unpinned("lint", KVM2008, LATE, "--json")
    data = run.data
    assert (run.code, data["exit_code"], data["format"], data["version"]) == (1, 1, "unpinned-lint", 1)
    assert [(one["plan"], len(one["lints"])) for one in data["plans"]] == [
        ("Kvm2008Posted", 0), ("Kvm2008Both", 0), ("Kvm2008", 0), ("SeqAfterGup", 1),
    ]  # fmt: skip
    (found,) = data["plans"][3]["lints"]
    assert (found["lint"], found["method"], found["file"]) == ("snapshot-after-read", "page_fault", LATE)
    assert (found["line"], found["column"], found["source"]) == (16, 15, "seq = self.seq")
    checked = unpinned("check", LATE, "--ops", "zap", "--json").data
    assert checked["plans"][0]["lints"] == [found]


def test_one_plan_of_a_file() -> None:
    run = unpinned("lint", "tests/plans/stale_use.py", "--plan", "CheckOutsideLock", "--json")
    assert [one["plan"] for one in run.data["plans"]] == ["CheckOutsideLock"]


def test_errors_come_behind_lints(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n", encoding="utf-8")
    run = unpinned("lint", bad, KVM2008)
    assert (run.code, run.out.count("0 found")) == (2, 3)
    assert "may not `import os`" in run.err
    assert unpinned("lint", bad, LATE).code == 1
    assert [error["line"] for error in unpinned("lint", bad, LATE, "--json").data["errors"]] == [1]


@pytest.mark.parametrize("args", [("nowhere.py",), (KVM2008, "--plan", "Kvm2009"), ()])
def test_what_cannot_be_asked_is_refused(args: tuple[str, ...]) -> None:
    run = unpinned("lint", *args)
    assert (run.code, run.out) == (2, "")
    assert run.err
    assert "Traceback" not in run.err


def test_a_mistake_that_only_lowering_shows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixed.py"
    path.write_text(
        "from unpinned import *\n"
        "class Mixed(SecondaryMMU):\n"
        "    def page_fault(self, gfn, write):\n"
        "        self.map(gfn, gfn, write)\n"
        "        return MAPPED\n",
        encoding="utf-8",
    )
    run = unpinned("lint", path)
    assert (run.code, run.out) == (2, "")
    assert "mixed.py:4:" in run.err
