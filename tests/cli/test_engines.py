# SPDX-License-Identifier: Apache-2.0
"""`unpinned check --engine`: either engine gives the same report, and what is missing is said."""

from __future__ import annotations

import re

import pytest
from support.command import KVM2008, unpinned

SCENARIO = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap", "--time", "60")
#: Stands for a machine without llvmlite: an import of it fails, and it cannot be found.
WITHOUT = """\
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "llvmlite" else find(name, *rest)
sys.modules["llvmlite"] = sys.modules["llvmlite.binding"] = None
"""


def test_both_engines_print_the_same_report():
    fast = unpinned("check", KVM2008, *SCENARIO)
    slow = unpinned("check", KVM2008, *SCENARIO, "--engine", "reference")
    assert (fast.code, fast.err) == (slow.code, slow.err) == (0, "")
    assert fast.out == slow.out
    assert "95472" in fast.out  # more states than are left to the reference engine


def test_both_engines_print_the_same_race():
    scenario = ("--plan", "Kvm2008Posted", "--vcpus", "2", "--pages", "2", "--ops", "zap", "--time", "60")
    fast = unpinned("check", KVM2008, *scenario)
    slow = unpinned("check", KVM2008, *scenario, "--engine", "reference")
    assert fast.code == slow.code == 1
    assert fast.out == slow.out


@pytest.mark.parametrize("options", [("--reduce", "none"), ("--cores", "1"), ("--memory", "200M")])
def test_how_it_is_searched_changes_nothing(options):
    ran = unpinned("check", KVM2008, *SCENARIO, *options)
    assert ran.code == 0
    assert ran.out == unpinned("check", KVM2008, *SCENARIO).out


def test_data_names_the_engine():
    for engine in ("native", "reference"):
        ran = unpinned("check", KVM2008, "--plan", "Kvm2008", "--ops", "zap", "--engine", engine, "--json")
        assert ran.data["engine"] == engine


def test_without_llvmlite_the_reference_engine_answers_and_says_that_it_is_slow(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    ran = unpinned("check", KVM2008, "--plan", "Kvm2008", "--ops", "zap", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert ran.code == 0
    assert ran.data["engine"] == "reference"
    assert ran.err.startswith(
        "unpinned: llvmlite is not installed: the reference engine answers\n  It is many times slower."
    )
    assert "pip install llvmlite" in ran.err


@pytest.mark.parametrize("size", ["much", "10M", "-4G", "", "1e99G"])
def test_a_size_that_is_none_is_refused(size):
    ran = unpinned("check", KVM2008, "--memory", size)
    assert ran.code == 2
    assert f"--memory {size}" in ran.err
    assert "Traceback" not in ran.err


def test_a_cache_that_cannot_be_used_changes_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder", encoding="utf-8")
    ran = unpinned("check", KVM2008, *SCENARIO, env={"UNPINNED_CACHE": str(blocked / "cache")})
    assert (ran.code, ran.err) == (0, "")


def test_a_search_goes_on_from_its_checkpoint(tmp_path):
    scenario = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap,zap", "--checkpoint", tmp_path / "kept")
    cut = unpinned("check", KVM2008, *scenario, "--time", "1.2")
    assert cut.code == 3
    assert "the time was up" in cut.out
    assert "run it again with --resume" in " ".join(cut.out.split())
    assert list((tmp_path / "kept").iterdir())
    whole = unpinned("check", KVM2008, *scenario, "--resume", "--time", "100")
    assert (whole.code, whole.err) == (0, "")
    assert "Observation Kvm2008 Never 0 2797372" in whole.out
    assert not list((tmp_path / "kept").iterdir())  # what has ended need not go on


@pytest.mark.parametrize("options", [("--resume",), ("--checkpoint", KVM2008)])
def test_checkpoints_that_cannot_be(options):
    ran = unpinned("check", KVM2008, *options)
    assert ran.code == 2
    assert ran.err.startswith("unpinned: --")
    assert "Traceback" not in ran.err


def test_a_checkpoint_that_is_damaged_is_refused(tmp_path):
    scenario = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap,zap", "--checkpoint", tmp_path / "kept")
    unpinned("check", KVM2008, *scenario, "--time", "1.2")
    (folder,) = (tmp_path / "kept").iterdir()
    (folder / "checkpoint.json").write_text("{}", encoding="utf-8")
    ran = unpinned("check", KVM2008, *scenario, "--resume", "--time", "100")
    assert ran.code == 2
    assert str(folder) in ran.err
    assert "Traceback" not in ran.err


def test_at_the_bound_on_memory_the_report_says_what_to_do():
    scenario = ("--plan", "Kvm2008", "--vcpus", "2", "--pages", "2", "--ops", "zap", "--memory", "64M")
    ran = unpinned("check", KVM2008, *scenario, "--time", "60")
    assert ran.code == 3
    told = " ".join(ran.out.split())
    assert "the memory that may be used was full" in told
    assert re.search(
        r"what to do allow more memory \(--memory SIZE\), or pick a smaller scenario \(--(vcpus|pages) first\)", told
    )
    assert "the time was up" not in told


def test_what_was_given_up_is_told_at_length_and_in_data():
    scenario = ("--plan", "Kvm2008", "--vcpus", "3", "--pages", "2", "--ops", "zap", "--time", "3")
    place = r"vcpu/walk/page_fault/get_user_page \(primary\.py:\d+\)"
    note = f"frames are not taken for alike: {place} compares them by order"
    ran = unpinned("check", KVM2008, *scenario, "-v")
    assert re.search(note, " ".join(ran.out.split()))
    assert "alike" not in unpinned("check", KVM2008, *scenario).out
    (rung,) = unpinned("check", KVM2008, *scenario, "--json").data["plans"][0]["rungs"]
    assert any(re.search(note, told) for told in rung["notes"])
