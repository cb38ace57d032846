# SPDX-License-Identifier: Apache-2.0
"""`unpinned export --promela`: which plan, which scenario, and where it is written. What SPIN says: tests/export."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest
from support.command import KVM2008, ROOT, Ran, unpinned

from unpinned.api import export_promela, plans
from unpinned.check.ladder import ladder
from unpinned.mm.scenario import Scenario

ALONE = "examples/page_alone.py"
OLD = "what was there before\n"


def export(*args: str | Path, **more) -> Ran:
    return unpinned("export", "--promela", *args, **more)


def failed(run: Ran, *words: str) -> None:
    assert (run.code, run.out) == (2, "")
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) >= 2
    for word in words:
        assert word in run.err


def test_stdout() -> None:
    run = export(ALONE)
    assert run.code == 0
    assert run.quiet
    assert run.out == export_promela(ROOT / ALONE)
    assert "proctype" in run.out
    assert run.out.isascii()


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a model.pml"
    run = export(ALONE, "-o", path)
    assert (run.code, run.out, run.err) == (0, "", "")
    assert path.read_text() == export(ALONE).out
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "model.pml"
    path.write_text(OLD)
    path.chmod(0o640)
    assert export(ALONE, "-o", path).code == 0
    assert path.read_text() == export(ALONE).out
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_mode_that_the_user_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "model.pml"
    assert export(ALONE, "-o", path, preexec=lambda: os.umask(0o022)).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["Kvm2008Posted", "Kvm2008"])
def test_the_first_rung_by_default(name: str) -> None:
    (plan,) = plans(ROOT / KVM2008, name)
    first = ladder(plan)[0].scenario
    run = export(KVM2008, "--plan", name)
    assert run.code == 0
    same = export(
        KVM2008, "--plan", name, "--vcpus", str(first.vcpus), "--pages", str(first.pages), "--ops", ",".join(first.ops)
    )
    assert run.out == same.out == export_promela(ROOT / KVM2008, name, first)


def test_the_scenario_is_in_the_model() -> None:
    texts = set()
    for options in (
        [],
        ["--vcpus", "2"],
        ["--pages", "2"],
        ["--ops", "munmap"],
        ["--ops", "zap,reclaim"],
        ["--ops", "none"],
    ):
        run = export(KVM2008, "--plan", "Kvm2008", *options)
        assert run.code == 0
        assert run.quiet
        texts.add(run.out)
    assert len(texts) == 6
    run = export(KVM2008, "--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap,reclaim")
    assert run.out == export_promela(ROOT / KVM2008, "Kvm2008", Scenario(2, 1, ("zap", "reclaim")))


def test_the_model_says_of_what_it_is() -> None:
    """A model lies about for weeks: its first comment names the plan and the scenario."""
    first = export(KVM2008, "--plan", "Kvm2008", "--vcpus", "2", "--ops", "munmap").out.split("*/")[0]
    assert "Kvm2008" in first
    assert "2 vCPUs, 1 page, munmap" in " ".join(first.split())


def test_one_of_several_plans_must_be_named() -> None:
    failed(export(KVM2008), "several plans", "--plan", "Kvm2008Posted, Kvm2008Both, Kvm2008")
    failed(export(KVM2008, "--plan", "Kvm2009"), "Kvm2009", "Kvm2008Posted")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--vcpus", "0"), "0 vCPUs"),
        (("--pages", "9"), "9 pages"),
        (("--ops", "fork"), "'fork'"),
        (("--ops", "zap"), "PageAlone"),
    ],
)
def test_a_scenario_that_makes_no_sense(options: tuple[str, ...], word: str) -> None:
    failed(export(ALONE, *options), word)


def test_a_format_must_be_named() -> None:
    failed(unpinned("export", ALONE), "--promela")


def test_a_bad_plan_leaves_the_old_file(tmp_path: Path) -> None:
    plan, path = tmp_path / "plan.py", tmp_path / "model.pml"
    path.write_text(OLD)
    plan.write_text("class Kvm(:\n")
    failed(export(plan, "-o", path), "plan.py:1:")
    failed(export(tmp_path / "nowhere.py", "-o", path), "no such file")
    failed(export(KVM2008, "-o", path), "several plans")
    assert path.read_text() == OLD


@pytest.mark.parametrize("output", ["no/such/folder/model.pml", ".", "", "plan.py/model.pml"])
def test_an_output_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    (tmp_path / "plan.py").write_text((ROOT / ALONE).read_text())
    failed(export("plan.py", "-o", output, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["plan.py"]


def test_a_disk_that_fills_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pml"
    path.write_text(OLD)
    size = len(export(ALONE).out)
    run = export(ALONE, "-o", path, preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)))
    failed(run, "model.pml")
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_written_to_and_not_replaced() -> None:
    failed(export(ALONE, "-o", "/dev/full"), "/dev/full", "No space left")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    run = export(ALONE, "-o", "/dev/null")
    assert (run.code, run.out) == (0, "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.pml", tmp_path / "link.pml"
    target.write_text(OLD)
    link.symlink_to(target)
    assert export(ALONE, "-o", link).code == 0
    assert link.is_symlink()
    assert target.read_text() == export(ALONE).out
