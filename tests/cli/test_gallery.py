# SPDX-License-Identifier: Apache-2.0
"""`unpinned gallery`: the list, one entry, the check, from a clone and as it is installed."""

from __future__ import annotations

import re
import shutil
import signal
import tomllib
from pathlib import Path

import pytest
from support.command import ROOT, WIDTH, Ran, begin, rows, token, unpinned

GALLERY = ROOT / "gallery"
NAMES = sorted(path.parent.name for path in GALLERY.glob("*/entry.toml"))
#: The one that is checked fastest.
QUICK = "kvm-swapping-v5"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with the package as a wheel of it would be unpacked: what pyproject.toml includes, and where."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    without = shutil.ignore_patterns("__pycache__")
    (package,) = wheel["wheel"]["packages"]
    shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=without)
    for source, target in wheel["wheel"]["force-include"].items():
        shutil.copytree(ROOT / source, tmp_path / target, ignore=without)
    return tmp_path


def installed(site: Path, *args: str, cwd: Path = Path("/usr")) -> Ran:
    """Run the command of a package that is installed there."""
    return unpinned(*args, cwd=cwd, env={"PYTHONPATH": str(site)})


def changed(site: Path, name: str, old: str, new: str, file: str = "entry.toml") -> None:
    """Change an installed entry."""
    path = site / "unpinned" / "gallery" / "entries" / name / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# ---- the list


def test_the_list_has_each_entry_with_year_rule_title_and_source() -> None:
    ran = unpinned("gallery")
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= WIDTH
    for name in NAMES:
        entry = tomllib.loads((GALLERY / name / "entry.toml").read_text(encoding="utf-8"))
        (block,) = [part for part in ran.out.split("\n\n") if part.startswith(f"{name} ")]
        words = " ".join(block.split())
        assert words.startswith(f"{name} ({entry['year']}) breaks {entry['race']['rule']} {entry['title']} from ")
        assert entry["source"] in words
        assert ("our own reading" in words) == entry.get("reading", False)
    assert "gallery/README.md" in ran.out


def test_the_list_as_data() -> None:
    data = unpinned("gallery", "--json").data
    assert (data["format"], data["version"]) == ("unpinned-gallery", 1)
    assert sorted(entry["name"] for entry in data["entries"]) == NAMES
    assert all(entry["as_expected"] is None for entry in data["entries"])


# ---- one entry


def test_one_entry_is_its_plan_its_report_and_its_fix() -> None:
    ran = unpinned("gallery", "seed-hole")
    assert (ran.code, ran.err) == (0, "")
    assert (GALLERY / "seed-hole" / "broken.py").read_text(encoding="utf-8") in ran.out
    assert (GALLERY / "seed-hole" / "expected.txt").read_text(encoding="utf-8") in ran.out
    assert "\n+            self.seq += 1\n" in ran.out
    assert len(re.findall(r"^[-+] ", ran.out, re.MULTILINE)) == 1
    assert "read at the source" in ran.out
    assert "seed-hole, then pfncache-hva" in ran.out


def test_the_race_can_be_replayed_as_it_is_printed() -> None:
    shown = unpinned("gallery", "seed-hole").out
    ran = unpinned("replay", token(shown), "gallery/seed-hole/broken.py")
    assert ran.code == 1
    assert rows(ran.out) == rows(shown)


def test_a_long_report_has_source_lines() -> None:
    assert "      broken.py:" in unpinned("gallery", "seed-hole", "-v").out


def test_colour_marks_the_report() -> None:
    plain = unpinned("gallery", "seed-hole").out
    coloured = unpinned("gallery", "seed-hole", "--color", "always").out
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_one_entry_as_data() -> None:
    (entry,) = unpinned("gallery", "seed-hole", "--json").data["entries"]
    assert entry["as_expected"] is True
    assert entry["checked_broken"]["result"]["race"]["property"] == entry["expected"]["property"] == "stale-use"
    assert entry["checked_fixed"] is None
    assert entry["fix"]["diff"][0] == "--- gallery/seed-hole/broken.py"


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    ran = unpinned("gallery", "seed-whole")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("unpinned: the gallery has no 'seed-whole'; did you mean `seed-hole`?\n")
    assert all(name in ran.err for name in NAMES)


# ---- the check


def test_a_check_of_one() -> None:
    ran = unpinned("gallery", "--check", QUICK)
    assert (ran.code, ran.err) == (0, "")
    name, *lines = ran.out.splitlines()
    assert name == QUICK
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(ran.out.split())
    assert re.search(r"broken coherence; 1 vCPU, 1 page, reclaim; \d+ steps; \d+ states \d+\.\d\d s", text)
    assert re.search(r"fixed holds; \d+ states \d+\.\d\d s 1 entry, as expected, in \d+\.\d s$", text)


def test_a_check_as_data() -> None:
    (entry,) = unpinned("gallery", "--check", QUICK, "--json").data["entries"]
    assert entry["as_expected"] is True
    assert entry["amiss"] == []
    assert entry["checked_broken"]["result"]["race"]["property"] == "coherence"
    assert entry["checked_fixed"]["result"]["verdict"] == "holds"
    assert entry["checked_fixed"]["seconds"] > 0


def test_a_check_without_time_is_undecided() -> None:
    ran = unpinned("gallery", "--check", QUICK, "--time", "0.001")
    assert ran.code == 3
    assert "UNDECIDED  broken.py: " in ran.out
    assert "NOT AS EXPECTED" not in ran.out
    assert " ".join(ran.out.split()).endswith(f"undecided: {QUICK}; give each plan more time with --time SECONDS")
    ran = unpinned("gallery", "--check", "--time", "0")
    assert (ran.code, ran.out) == (2, "")
    assert "--time 0 leaves no time" in ran.err


def test_an_interrupt_ends_the_check_and_leaves_what_was_found() -> None:
    child = begin("gallery", "--check")
    assert child.stdout is not None
    first = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert child.returncode == 3
    assert first.strip() == QUICK
    assert "Traceback" not in errors
    assert re.search(r"interrupted: \d of \d entries begun", rest) or "unpinned: interrupted" in errors


# ---- as it is installed


def test_an_installed_package_has_the_gallery(site: Path) -> None:
    home = site / "unpinned" / "gallery" / "entries"
    ran = installed(site, "gallery")
    assert (ran.code, ran.err) == (0, "")
    assert str(home / "README.md") in ran.out
    ran = installed(site, "gallery", "seed-hole")
    assert (ran.code, ran.err) == (0, "")
    assert f"--- {home / 'seed-hole' / 'broken.py'}\n" in ran.out
    assert unpinned("replay", token(ran.out), home / "seed-hole" / "broken.py").code == 1


def test_an_entry_in_the_current_folder_is_named_from_there(site: Path) -> None:
    ran = installed(site, "gallery", "seed-hole", cwd=site)
    assert "--- unpinned/gallery/entries/seed-hole/broken.py\n" in ran.out


def test_a_package_without_a_gallery_says_so(site: Path) -> None:
    shutil.rmtree(site / "unpinned" / "gallery" / "entries")
    ran = installed(site, "gallery")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("unpinned: the gallery is not there")
    assert "pip" in ran.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'rule = "coherence"',
            'rule = "leak"',
            "the rule that broken.py breaks is coherence, and entry.toml says leak",
        ),
        ("steps = ", "steps = 1", "the number of steps is 24, and entry.toml says 124"),
        ("reclaim", "zap", "the scenario is 1 vCPU, 1 page, reclaim, and entry.toml says 1 vCPU, 1 page, zap"),
        ("places = ", "places = 1", "the number of places that the fix changes is 6, and entry.toml says 16"),
    ],
)
def test_what_is_not_as_expected_is_said(site: Path, old: str, new: str, words: str) -> None:
    changed(site, QUICK, old, new)
    ran = installed(site, "gallery", "--check", QUICK)
    assert ran.code == 1
    text = " ".join(ran.out.split())
    assert f"NOT AS EXPECTED {words}" in text
    assert text.endswith(f"not as expected: {QUICK}")


def test_a_fix_that_does_not_fix_is_said(site: Path) -> None:
    changed(site, QUICK, "            self.seq += 1\n", "", "fixed.py")
    ran = installed(site, "gallery", "--check", QUICK)
    assert ran.code == 1
    assert "NOT AS EXPECTED fixed.py races: it breaks coherence" in " ".join(ran.out.split())


def test_a_bug_that_is_none_is_said(site: Path) -> None:
    entry = site / "unpinned" / "gallery" / "entries" / QUICK
    shutil.copy(entry / "fixed.py", entry / "broken.py")
    ran = installed(site, "gallery", QUICK)
    assert ran.code == 1
    assert "NOT AS EXPECTED broken.py holds, and entry.toml says that it breaks coherence" in " ".join(ran.out.split())


def test_an_entry_that_cannot_be_read_is_said_with_its_place(site: Path) -> None:
    changed(site, QUICK, 'class = "Kvm"', 'class = "Kmv"')
    ran = installed(site, "gallery", "--check", QUICK)
    assert (ran.code, ran.out) == (2, "")
    assert "has no plan 'Kmv'" in ran.err
    changed(site, QUICK, "year = ", "yaer = ")
    ran = installed(site, "gallery")
    assert (ran.code, ran.out) == (2, "")
    assert "unknown key 'yaer'; did you mean `year`?" in ran.err
    assert "Traceback" not in ran.err
