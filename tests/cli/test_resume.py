# SPDX-License-Identifier: Apache-2.0
"""`unpinned check --checkpoint DIR --resume`: what goes on, what begins anew and says so, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, begin, unpinned

from unpinned import api
from unpinned.api import Options, begins_anew
from unpinned.ir.digest import digest
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build

#: Of 95472 states, more than are left to the reference engine.
ZAP = Scenario(2, 1, ("zap",))
ONE = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap", "--time", "60")
#: Of more than 12 million states.
PAGES = Scenario(2, 2, ("zap",))
#: Of 2797372 states: it lasts for some seconds.
TWO = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap,zap")
ANEW = "no checkpoint was written yet: the search begins anew"


def plan_of(path=ROOT / KVM2008, name="Kvm2008"):
    (plan,) = api.plans(path, name)
    return plan


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Return a folder with the checkpoint of a search that was not finished; copy it before it is resumed."""
    folder = tmp_path_factory.mktemp("written") / "kept"
    scenario = ("--plan", "Kvm2008", "--vcpus", "2", "--pages", "2", "--ops", "zap", "--cores", "1")
    assert unpinned("check", KVM2008, *scenario, "--checkpoint", folder, "--time", "2.5").code == 3
    assert list(folder.glob("*/checkpoint.json"))
    return folder


def searching(kept: Path) -> subprocess.Popen[str]:
    """Return a command that has begun a search which is written to a folder."""
    running = begin("check", KVM2008, *TWO, "--checkpoint", kept, "--time", "60")
    while not list(kept.glob("*/lock")):
        assert running.poll() is None
        time.sleep(0.01)
    return running


# ---- killed before the first checkpoint


def test_a_search_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    kept = tmp_path / "kept"
    running = searching(kept)
    running.kill()
    running.communicate()
    (folder,) = kept.iterdir()
    assert not (folder / "checkpoint.json").exists()
    ran = unpinned("check", KVM2008, *TWO, "--checkpoint", kept, "--resume", "--time", "100")
    assert ran.err == f"unpinned: {folder}: {ANEW}\n"
    assert ran.code == 0
    assert "Observation Kvm2008 Never 0 2797372" in ran.out


@pytest.mark.parametrize("names", [(), ("lock",), ("lock", "states.0", "states.7", "checkpoint.json.new")])
def test_a_folder_without_a_checkpoint_holds_nothing_that_counts(names, tmp_path):
    folder = tmp_path / digest(build(plan_of(), ZAP))
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"what a search left")
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", tmp_path, "--resume")
    assert ran.err == f"unpinned: {folder}: {ANEW}\n"
    assert ran.code == 0
    assert "Observation Kvm2008 Never 0 95472" in ran.out
    assert not folder.exists()


def test_a_search_that_is_running_is_left_alone(tmp_path):
    kept = tmp_path / "kept"
    running = searching(kept)
    ran = unpinned("check", KVM2008, *TWO, "--checkpoint", kept, "--resume", "--time", "60")
    running.kill()
    running.communicate()
    assert ran.code == 2
    assert "another process has the checkpoint" in ran.err


def test_the_folder_is_there_from_the_beginning(tmp_path):
    """So a search may be killed at any time, and resumed in the same way."""
    kept = tmp_path / "a" / "kept"
    assert unpinned("check", KVM2008, "--plan", "Kvm2008", "--ops", "zap", "--checkpoint", kept).quiet
    assert list(kept.iterdir()) == []
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", kept, "--resume")
    assert ran.code == 0
    assert "(2 vCPUs, 1 page, zap): the search begins anew" in ran.err


# ---- nothing that matches


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    kept = tmp_path / "x" / "y"
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", kept, "--resume")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"unpinned: --checkpoint {kept} does not exist: there is nothing to resume\n  Name ")
    assert list(tmp_path.iterdir()) == []


def test_another_scenario_begins_anew_and_says_so(written, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(written, kept)
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", kept, "--resume")
    what = "this Kvm2008 (2 vCPUs, 1 page, zap)"
    assert ran.err == f"unpinned: {kept} holds no checkpoint of {what}: the search begins anew\n"
    assert ran.code == 0
    assert "95472" in ran.out
    assert [path.name for path in kept.iterdir()] == [path.name for path in written.iterdir()]  # nothing is lost


def test_a_plan_that_was_edited_begins_anew_and_says_so(written, tmp_path):
    text = (ROOT / KVM2008).read_text(encoding="utf-8")
    (tmp_path / "renamed.py").write_text(text.replace("range_count", "ranges"), encoding="utf-8")
    edited = begins_anew(
        plan_of(tmp_path / "renamed.py"),
        Options(checkpoint=written, resume=True),
        scenario=PAGES,
    )
    assert edited.startswith(f"{written} holds no checkpoint of this Kvm2008 (")
    other = plan_of(name="Kvm2008Both")
    assert "this Kvm2008Both: the search begins anew" in begins_anew(other, Options(checkpoint=written, resume=True))


def test_what_can_be_resumed_is_found_on_any_rung(written):
    options = Options(checkpoint=written, resume=True)
    assert begins_anew(plan_of(), options, scenario=PAGES) == ""
    assert begins_anew(plan_of(), options) == ""
    assert begins_anew(plan_of(), options, required_only=True)  # that rung is a later one
    assert begins_anew(plan_of(), Options(checkpoint=written)) == ""
    assert begins_anew(plan_of(), Options(resume=True)) == ""


def test_a_search_for_a_rule_that_is_not_promised_is_found(tmp_path):
    text = (ROOT / KVM2008).read_text(encoding="utf-8")
    head, dot, tail = text.partition("class Kvm2008(")
    name, colon, body = tail.partition("\n    mmu_lock")
    file = tmp_path / "kvm.py"
    file.write_text(head + dot + name + '\n    waive = {"progress": "a test"}\n' + colon + body, encoding="utf-8")
    plan = plan_of(file)
    kept = tmp_path / "kept" / digest(build(plan, ZAP, frozenset({"progress"})))
    kept.mkdir(parents=True)
    options = Options(checkpoint=kept.parent, resume=True)
    assert begins_anew(plan, options, scenario=ZAP) == f"{kept}: {ANEW}"
    (kept / "checkpoint.json").touch()
    assert begins_anew(plan, options, scenario=ZAP) == ""


# ---- refused


def test_the_reference_engine_takes_no_checkpoint(tmp_path):
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", tmp_path / "kept", "--engine", "reference")
    assert ran.code == 2
    assert ran.err.startswith("unpinned: --engine reference takes no --checkpoint\n  ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_an_empty_name_is_no_folder(resume):
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", "", *resume)
    assert ran.code == 2
    assert ran.err.startswith("unpinned: --checkpoint '' names no folder\n")


def test_a_folder_that_cannot_be_made_is_refused():
    ran = unpinned("check", KVM2008, *ONE, "--checkpoint", f"{KVM2008}/kept")
    assert ran.code == 2
    assert ran.err.startswith(f"unpinned: --checkpoint {KVM2008}/kept cannot be used: Not a directory\n  ")
