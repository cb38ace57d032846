# SPDX-License-Identifier: Apache-2.0
"""`unpinned new`: what is written where, and what is never overwritten. What stands in it: tests/new."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from support.command import ROOT, unpinned

from unpinned.api import families, new_plan, new_plan_from

MIRROR = ROOT / "tests" / "new" / "c" / "mirror.c"
OLD = "what was there before\n"


def test_a_plan_is_written_beside_and_said(tmp_path: Path) -> None:
    run = unpinned("new", "my_driver", cwd=tmp_path)
    assert (run.code, run.out) == (0, "")
    assert run.err == "unpinned: my_driver.py: written; `unpinned check my_driver.py` checks it\n"
    assert [path.name for path in tmp_path.iterdir()] == ["my_driver.py"]
    assert (tmp_path / "my_driver.py").read_text() == new_plan("my_driver")
    assert unpinned("check", "my_driver.py", "--required", "--time", "60", cwd=tmp_path).code == 0


def test_another_family_to_stdout(tmp_path: Path) -> None:
    run = unpinned("new", "gate", "--family", "d", "-o", "-", cwd=tmp_path)
    assert (run.code, run.out, run.err) == (0, new_plan("gate", "D"), "")
    assert not list(tmp_path.iterdir())
    assert [node.name for node in ast.parse(run.out).body if isinstance(node, ast.ClassDef)] == ["Gate"]


@pytest.mark.parametrize("output", [(), ("-o", "my_driver.py"), ("-o", "other.py")])
def test_nothing_is_overwritten(output: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / (output[1] if output else "my_driver.py")
    path.write_text(OLD)
    run = unpinned("new", "my_driver", *output, cwd=tmp_path)
    assert run.code == 2
    assert f"{path.name} is there already" in run.err
    assert path.read_text() == OLD


def test_a_device_may_be_written_to() -> None:
    assert unpinned("new", "my_driver", "-o", os.devnull).code == 0


def test_the_list() -> None:
    run = unpinned("new", "--list")
    assert (run.code, run.out, run.err) == (0, families(), "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "no name"),
        (("my_driver", "--family", "Z"), "no family 'Z'"),
        (("counter",), "word of the language"),
        (("a/b",), "no name for a plan"),
        (("my_driver", "-o", "no/such/folder/x.py"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(args: tuple[str, ...], words: str, tmp_path: Path) -> None:
    run = unpinned("new", *args, cwd=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert words in run.err
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) >= 2
    assert not list(tmp_path.iterdir())


def test_a_plan_from_c_is_written_and_what_was_found_is_said(tmp_path: Path) -> None:
    run = unpinned("new", "mirror", "--from", MIRROR, cwd=tmp_path)
    begun = new_plan_from("mirror", MIRROR)
    assert (run.code, run.out) == (0, "")
    assert run.err.splitlines() == [
        f"unpinned: {begun.understood} of {begun.read} statements were understood",
        "unpinned: the fault is mirror_fault()",
        "unpinned: the callbacks are mirror_invalidate",
        "unpinned: mirror.py: written; `unpinned check mirror.py` checks it",
    ]
    assert (tmp_path / "mirror.py").read_text() == begun.text
    checked = unpinned("check", "mirror.py", "--required", "--time", "60", cwd=tmp_path)
    assert checked.code == 1
    assert "progress in page_fault()" in checked.out, "nothing is mapped before the user says where"


def test_the_fault_may_be_named(tmp_path: Path) -> None:
    run = unpinned("new", "mirror", "--from", MIRROR, "--fault", "mirror_invalidate", "-o", "-", cwd=tmp_path)
    assert run.code == 0
    assert '"""mirror_invalidate(), line 10."""' in run.out
    assert "the fault is mirror_invalidate()" in run.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--fault", "f"), "--fault names a function of no file"),
        (("--from", MIRROR, "--family", "B"), "both say what to begin from"),
        (("--from", MIRROR, "--fault", "mirror_falt"), "did you mean `mirror_fault`?"),
        (("--from", "nowhere.c"), "nowhere.c: No such file"),
        (("--from", "."), "a directory"),
        (("--from", os.devnull), "no mmu_notifier_ops"),
    ],
)
def test_c_that_cannot_be_read_is_said(args: tuple[str | Path, ...], words: str, tmp_path: Path) -> None:
    run = unpinned("new", "mirror", *args, cwd=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert words in run.err
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) >= 2
    assert not list(tmp_path.iterdir())


def test_without_tree_sitter_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "tree_sitter.py").write_text("raise ImportError('not here')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    run = unpinned("new", "mirror", "--from", MIRROR, "-o", "-", env={"PYTHONPATH": path})
    assert (run.code, run.out) == (2, "")
    assert "C is read with tree-sitter, and that is not installed (not here)" in run.err
    assert "pip install 'unpinned[c]'" in run.err
    assert unpinned("new", "mirror", "-o", "-", env={"PYTHONPATH": path}).code == 0
