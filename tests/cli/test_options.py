# SPDX-License-Identifier: Apache-2.0
"""The options of `unpinned check`: what they take, what is refused, and what is said where llvmlite cannot be had."""

from __future__ import annotations

import re

import click
import pytest
from support.command import KVM2008, WIDTH, unpinned

from unpinned.cli import main
from unpinned.options import read_size

SMALL = ("--plan", "Kvm2008", "--ops", "zap")
#: More states than are left to the reference engine.
LARGE = ("--plan", "Kvm2008", "--vcpus", "2", "--ops", "zap", "--time", "60")

#: Stands for a machine without llvmlite.
MISSING = 'import sys\nsys.modules["llvmlite"] = None\n'
#: What an llvmlite may do that was built for something else, or was installed in part.
BROKEN = {
    "OSError: libz missing": "raise OSError('libz missing')\n",
    "ZeroDivisionError": "raise ZeroDivisionError\n",
    "ModuleNotFoundError: No module named 'llvmlite.binding'": "",
}

# ---- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1T", 1 << 40),
        ("1GB", 1 << 30),
        ("1GiB", 1 << 30),
        ("2g", 2 << 30),
        ("512MiB", 512 << 20),
        ("512mb", 512 << 20),
        ("0.5 TiB", 512 << 30),
        ("100000K", 100_000 << 10),
        ("100000000", 100_000_000),
        ("100000000B", 100_000_000),
        (None, None),
    ],
)
def test_a_size_may_have_a_unit(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("size", ["5X", "1KiG", "G", "GiB", "1iB", "1GBB", "nan", "inf", "1G\n2"])
def test_a_size_with_another_unit_is_refused(size):
    ran = unpinned("check", KVM2008, "--memory", size)
    assert ran.code == 2
    assert f"--memory {size}" in ran.err
    assert "Traceback" not in ran.err


# ---- seeds


def test_a_seed_is_a_word_of_64_bits():
    ran = unpinned("check", KVM2008, *LARGE, "--seed", str((1 << 64) - 1))
    assert (ran.code, ran.err) == (0, "")
    assert "95472" in ran.out
    ran = unpinned("check", KVM2008, *LARGE, "--seed", str(1 << 64))
    assert ran.code == 2
    assert str((1 << 64) - 1) in ran.err


# ---- help


def test_every_option_says_what_it_does():
    for command in main.commands.values():
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert [option.name for option in options if not option.help] == []


def test_the_help_names_bounds():
    said = " ".join(unpinned("check", "--help").out.split())
    assert f"0<=x<={(1 << 64) - 1}" in said
    assert "beside up to 250 MiB for Python and the compiler" in said


# ---- files


@pytest.mark.parametrize("command", [("check", ""), ("export", "--promela", ""), ("check", KVM2008, "", *SMALL)])
def test_an_empty_name_is_no_file(command):
    ran = unpinned(*command)
    assert ran.code == 2
    assert ran.err.startswith("unpinned: no file is named: ''")
    assert "Give the path" in ran.err


# ---- llvmlite


def without(folder, code, *options):
    """Run a check where Python runs some code as it begins."""
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return unpinned("check", KVM2008, *options, env={"PYTHONPATH": str(folder)})


def with_broken(folder, code, *options):
    """Run a check where llvmlite is a package of this code."""
    (folder / "llvmlite").mkdir()
    (folder / "llvmlite" / "__init__.py").write_text(code, encoding="utf-8")
    return unpinned("check", KVM2008, *options, env={"PYTHONPATH": str(folder)})


@pytest.mark.parametrize("engine", [(), ("--engine", "native")])
def test_that_llvmlite_is_missing_is_said_in_narrow_lines(engine, tmp_path):
    ran = without(tmp_path, MISSING, *SMALL, *engine)
    assert ran.code == 0
    assert ran.err.splitlines() == [
        "unpinned: llvmlite is not installed: the reference engine answers",
        "  It is many times slower.",
        "  Install llvmlite with: pip install llvmlite",
    ]


@pytest.mark.parametrize("reason", BROKEN)
def test_if_llvmlite_is_broken_the_reference_engine_answers_and_says_why(reason, tmp_path):
    ran = with_broken(tmp_path, BROKEN[reason], *LARGE)
    assert ran.code == 0
    assert "Observation Kvm2008 Never 0 95472" in ran.out
    first, *rest = ran.err.splitlines()
    assert first == "unpinned: llvmlite cannot be loaded: the reference engine answers"
    assert f"It is many times slower. What went wrong: {reason}" in re.sub(r"\s+", " ", " ".join(rest))
    assert rest[-1].startswith("  Install llvmlite anew with: pip install")
    assert max(map(len, ran.err.splitlines())) <= WIDTH


def test_that_llvmlite_is_broken_is_said_once(tmp_path):
    scenario = ("--vcpus", "2", "--ops", "zap", "--time", "60", "--json")
    ran = with_broken(tmp_path, BROKEN["OSError: libz missing"], *scenario)
    assert ran.err.count("llvmlite cannot be loaded") == 1
    assert ran.data["engine"] == "reference"
    assert [plan["verdict"] for plan in ran.data["plans"]][1:] == ["holds", "holds"]


def test_a_small_search_does_not_load_llvmlite(tmp_path):
    ran = with_broken(tmp_path, BROKEN["OSError: libz missing"], *SMALL)
    assert (ran.code, ran.err) == (0, "")


def test_a_checkpoint_that_cannot_be_written_without_llvmlite_is_said(tmp_path):
    ran = without(tmp_path, MISSING, *SMALL, "--checkpoint", tmp_path / "kept")
    assert ran.code == 0
    assert "Nothing is written to the folder of --checkpoint" in ran.err


def test_tasks_on_one_cpu() -> None:
    run = unpinned("check", "tests/plans/tasks.py", "--plan", "Spins", "--ops", "zap", "--cpus", "1")
    assert run.code == 1
    assert "1 vCPU, 1 page, zap on 1 CPU" in run.out
    assert "task0 - " in run.out
    assert "task1 waits for a CPU" in run.out
    assert "running" not in run.out
    token = " ".join(run.out.split("unpinned replay \\\n")[1].split()).split(" ")[0]
    again = unpinned("replay", token, "tests/plans/tasks.py")
    assert (again.code, "task1 waits for a CPU" in again.out) == (1, True)


def test_no_cpu_at_all() -> None:
    run = unpinned("check", "tests/plans/tasks.py", "--plan", "Spins", "--cpus", "0")
    assert (run.code, "tasks cannot share 0 CPUs" in run.err, "Take 1 to 8" in run.err) == (2, True, True)
