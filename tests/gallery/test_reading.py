# SPDX-License-Identifier: Apache-2.0
"""entry.toml: what it may hold, and what is said where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from unpinned.errors import GalleryError, UsageError
from unpinned.gallery.entry import entries, named, read

GOOD = """\
title = "a title"
year = 2008
corpus = "1"
source = "a mail"
evidence = "S"
class = "Kvm"

[race]
rule = "stale-use"
scenario = "1 vCPU, 1 page, zap"
steps = 33
states = 1065

[fix]
what = "a bump"
places = 1
states = 406564
"""


def folder_of(root: Path, text: str = GOOD, name: str = "an-entry") -> Path:
    """Write an entry with empty plans."""
    folder = root / name
    folder.mkdir()
    (folder / "entry.toml").write_text(text, encoding="utf-8")
    for plan in ("broken.py", "fixed.py"):
        (folder / plan).write_text("", encoding="utf-8")
    return folder


def test_an_entry_is_read(tmp_path: Path) -> None:
    entry = read(folder_of(tmp_path, 'chain = "a chain"\nplace = 2\nreading = true\n' + GOOD))
    assert entry.name == "an-entry"
    assert (entry.chain, entry.place, entry.reading) == ("a chain", 2, True)
    assert (entry.plan, entry.rule, entry.steps, entry.states) == ("Kvm", "stale-use", 33, 1065)
    assert (entry.fix, entry.places, entry.fixed_states) == ("a bump", 1, 406564)


def test_what_may_be_left_out_is_left_out(tmp_path: Path) -> None:
    entry = read(folder_of(tmp_path))
    assert (entry.chain, entry.place, entry.reading) == ("", 0, False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('title = "a title"\n', "", "title is missing"),
        ('rule = "stale-use"\n', "", "race.rule is missing"),
        ("[fix]", "[fixes]", "unknown key 'fixes'; did you mean `fix`?"),
        ("steps = 33", "step = 33", "unknown key 'race.step'; did you mean `steps`?"),
        ("year = 2008", 'year = "2008"', "year is '2008'"),
        ("steps = 33", "steps = true", "race.steps is True"),
        ('"stale-use"', '"stale"', "there is no rule 'stale'"),
        ('evidence = "S"', 'evidence = "Z"', "there is no evidence 'Z'"),
        ('evidence = "S"', 'evidence = "S"\nplace = 1', "chain and place go together"),
        ('evidence = "S"', 'evidence = "S"\nchain = "c"', "chain and place go together"),
        ("year = 2008", "year 2008", "cannot be read: "),
    ],
)
def test_a_wrong_entry_is_refused_with_what_where_and_a_hint(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    folder = folder_of(tmp_path, GOOD.replace(old, new))
    with pytest.raises(GalleryError) as caught:
        read(folder)
    assert words in caught.value.what
    assert str(folder / "entry.toml") in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize("plan", ["broken.py", "fixed.py"])
def test_a_missing_plan_is_said(tmp_path: Path, plan: str) -> None:
    folder = folder_of(tmp_path)
    (folder / plan).unlink()
    with pytest.raises(GalleryError, match=rf"{plan} is missing"):
        read(folder)


def test_an_empty_gallery_is_said(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="has no entries"):
        entries(tmp_path)


def test_the_oldest_bug_comes_first(tmp_path: Path) -> None:
    folder_of(tmp_path, GOOD.replace("2008", "2012"), "a")
    folder_of(tmp_path, GOOD, "c")
    folder_of(tmp_path, GOOD, "b")
    assert [entry.name for entry in entries(tmp_path)] == ["b", "c", "a"]


def test_an_unknown_name_is_met_with_the_nearest(tmp_path: Path) -> None:
    folder_of(tmp_path)
    with pytest.raises(UsageError, match="no 'an-enrty'; did you mean `an-entry`") as caught:
        named("an-enrty", entries(tmp_path))
    assert caught.value.hint == "It has: an-entry."
