# SPDX-License-Identifier: Apache-2.0
"""The Python API does what the command does; and a plan file imports its words from the same package."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, environment, token, unpinned

import unpinned as package
from unpinned import api
from unpinned.api import as_data, check, export_promela, plans, replay, report, timelines
from unpinned.check.verdict import Verdict
from unpinned.errors import PlanError, ReplayError, UnpinnedError, UsageError
from unpinned.mm.scenario import Scenario

#: As docs/design prints it, to the letter.
DESIGN = """\
class Kvm2008(SecondaryMMU):
    mmu_lock = SpinLock()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap(r)                      # rmap-invalidate the sptes, flush the secondary TLB

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1                    # the line that the mail lacks
            self.range_count -= 1

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)                  # nothing stays pinned
        return REPLAY if stale else MAPPED
"""
IMPORTS = ["from unpinned import SecondaryMMU, SpinLock, Counter, REPLAY, MAPPED\n\n", "from unpinned import *\n\n"]
BUMP = "            self.seq += 1                    # the line that the mail lacks\n"
ZAP = Scenario(1, 1, ("zap",))


@pytest.mark.parametrize("imports", IMPORTS)
def test_the_plan_of_the_design_holds_and_races_without_its_line(tmp_path: Path, imports: str) -> None:
    path = tmp_path / "kvm.py"
    path.write_text(imports + DESIGN)
    run = unpinned("check", path, "--time", "60", "--required")
    assert run.code == 0, run.out + run.err
    assert run.out.startswith("OK: unpinned: Kvm2008 holds\n")
    shipped = (ROOT / "tests/report/golden/Kvm2008.txt").read_text()
    assert run.out.splitlines()[-1] == shipped.splitlines()[-1]
    assert BUMP in DESIGN
    path.write_text(imports + DESIGN.replace(BUMP, ""))
    run = unpinned("check", path)
    assert run.code == 1
    assert run.out.startswith("BUG: unpinned: stale-use in page_fault() / invalidate_range_end()\n")


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_plan_file_is_python_that_can_be_imported(tmp_path: Path, imports: str) -> None:
    """Editors and documentation tools import it; nothing of it can be run."""
    (tmp_path / "kvm.py").write_text(imports + DESIGN)
    code = "import kvm; print(kvm.Kvm2008.__mro__[1].__name__)\ntry: kvm.Kvm2008().page_fault(0, True)\n"
    code += "except RuntimeError as error: print('unpinned check' in str(error))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "SecondaryMMU\nTrue\n", "")


def test_everything_that_is_exported_is_there_and_documented() -> None:
    for module in (package, api):
        assert len(set(module.__all__)) == len(module.__all__)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                doc = (thing.__doc__ or "").strip()
                assert doc.split("\n")[0].endswith((".", ":", ",", ";")) or "\n" in doc, name
                assert doc[:1].isupper(), name
    commands = {"check", "replay", "export_promela", "report", "as_data", "plans", "timelines", "why", "repair"}
    assert commands <= set(api.__all__)


def test_the_words_of_plans_load_no_engine() -> None:
    code = "import sys, unpinned; print([m for m in sys.modules if m.startswith(('unpinned.check', 'click', 'rich'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stdout == "[]\n"


def test_plans() -> None:
    assert [plan.name for plan in plans(ROOT / KVM2008)] == ["Kvm2008Posted", "Kvm2008Both", "Kvm2008"]
    (plan,) = plans(str(ROOT / KVM2008), "Kvm2008")
    assert plan.doc.startswith("13:21")
    with pytest.raises(UsageError, match="Kvm2009"):
        plans(ROOT / KVM2008, "Kvm2009")
    with pytest.raises(PlanError, match="no such file"):
        plans(ROOT / "nowhere.py")


def test_errors_are_of_one_kind() -> None:
    assert all(issubclass(error, UnpinnedError) for error in (PlanError, UsageError, ReplayError))


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where the command is run, so that paths are the same."""
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("at_root")
def test_check_and_reports_are_those_of_the_command() -> None:
    results = check(KVM2008, scenario=ZAP, seconds=60)
    assert [result.verdict for result in results] == [Verdict.RACE, Verdict.HOLDS, Verdict.HOLDS]
    run = unpinned("check", KVM2008, "--ops", "zap", "--time", "60")
    assert run.out.startswith("\n".join(report(result) for result in results))
    run = unpinned("check", KVM2008, "--ops", "zap", "--time", "60", "-v", "--plan", "Kvm2008Posted")
    assert run.out == report(results[0], verbose=True)
    run = unpinned("check", KVM2008, "--ops", "zap", "--time", "60", "--json")
    assert run.data == json.loads(json.dumps(as_data(results)))


@pytest.mark.usefixtures("at_root")
def test_check_of_one_plan_with_the_ladder() -> None:
    (result,) = check(KVM2008, "Kvm2008Posted", required_only=True)
    run = unpinned("check", KVM2008, "--plan", "Kvm2008Posted", "--required", "--json")
    assert run.data == json.loads(json.dumps(as_data([result])))
    assert result.race is not None
    (told,) = timelines(result)
    assert len(told.rows) == len(result.race.schedule)


def test_too_little_time_is_undecided() -> None:
    (result,) = check(ROOT / KVM2008, "Kvm2008", seconds=0.001)
    assert result.verdict is Verdict.UNDECIDED
    assert result.why
    assert report(result).startswith("UNDECIDED: unpinned: Kvm2008 is undecided\n")


def test_what_cannot_be_checked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PageAlone does not admit"):
        check(ROOT / "examples" / "page_alone.py", scenario=ZAP)
    with pytest.raises(UsageError, match="0 vCPUs"):
        Scenario(0, 1, ())
    bad = tmp_path / "bad.py"
    bad.write_text("from unpinned import *\nclass Bad(SecondaryMMU):\n    x = 3.5\n")
    with pytest.raises(PlanError) as caught:
        check(bad)
    assert caught.value.pos is not None
    assert (caught.value.pos.line, caught.value.pos.col) == (3, 8)


@pytest.mark.usefixtures("at_root")
def test_replay() -> None:
    (result,) = check(KVM2008, "Kvm2008Posted", scenario=ZAP)
    (told,) = timelines(result)
    again = replay(told.token, KVM2008)
    assert again.rows == told.rows
    assert told.token == token(report(result))
    assert unpinned("replay", told.token, KVM2008).code == 1
    with pytest.raises(ReplayError):
        replay("nonsense", KVM2008)


@pytest.mark.usefixtures("at_root")
def test_export() -> None:
    text = export_promela(KVM2008, "Kvm2008", Scenario(1, 1, ("munmap",)))
    assert text == unpinned("export", "--promela", KVM2008, "--plan", "Kvm2008", "--ops", "munmap").out
    with pytest.raises(UsageError, match="several plans"):
        export_promela(KVM2008)
