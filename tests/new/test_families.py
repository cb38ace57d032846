# SPDX-License-Identifier: Apache-2.0
"""The plans of the families: each gives the verdict that it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from unpinned.api import check, new_plan
from unpinned.check.verdict import Verdict
from unpinned.errors import UsageError
from unpinned.new.family import families
from unpinned.new.skeleton import class_name, listing, skeleton
from unpinned.plan.vocabulary import HOOKS

ALL = families()


def by_letter(family) -> str:
    return family.letter


def test_there_are_six() -> None:
    assert [family.letter for family in ALL] == list("ABCDEF")


@pytest.mark.parametrize("family", ALL, ids=by_letter)
def test_a_check_says_what_the_skeleton_claims(family, tmp_path: Path) -> None:
    path = tmp_path / "my_driver.py"
    path.write_text(skeleton("my_driver", family), encoding="utf-8")
    (result,) = check(path, required_only=True, seconds=100)
    said = result.race.rule if result.race else result.verdict.value
    assert said == family.verdict
    assert result.plan.name == "MyDriver"
    assert f"as it stands: {family.verdict}" in " ".join(path.read_text().split())


@pytest.mark.parametrize("family", ALL, ids=by_letter)
def test_a_skeleton_teaches(family) -> None:
    """Before each hook stands a comment, which says when the mm calls it."""
    text = skeleton("my_driver", family)
    lines = text.splitlines()
    called = [i for i, line in enumerate(lines) if line.startswith(tuple(f"    def {hook}(" for hook in HOOKS))]
    assert called
    for i in called:
        assert lines[i - 1].startswith("    # "), lines[i]
    assert "What to change first" in text
    assert "Skeleton" not in text
    assert "SPDX" not in text
    assert max(map(len, lines)) <= 120


def test_a_letter_that_is_none() -> None:
    with pytest.raises(UsageError) as refused:
        new_plan("my_driver", "G")
    assert "A, B, C, D, E, F" in refused.value.hint


def test_the_list_has_all_and_fits_into_a_mail() -> None:
    text = listing()
    for family in ALL:
        assert f"{family.letter}  {family.title[:30]}" in text
        assert f"--family {family.letter}" in text
    assert max(map(len, text.splitlines())) <= 75


@pytest.mark.parametrize(
    ("name", "made"),
    [("kvm", "Kvm"), ("my_driver", "MyDriver"), ("my-driver2", "MyDriver2"), ("XPMEM", "XPMEM"), ("aB_c", "ABC")],
)
def test_a_class_is_called_after_the_name(name: str, made: str) -> None:
    assert class_name(name) == made


@pytest.mark.parametrize("name", ["", "2b", "a/b", "a b", "ä", "none", "counter", "spin-lock", "_", "../x", "a.py"])
def test_a_name_that_is_no_class(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        class_name(name)
    assert refused.value.hint


def test_the_verdicts_are_words_of_the_program() -> None:
    assert {family.verdict for family in ALL} <= {verdict.value for verdict in Verdict}
