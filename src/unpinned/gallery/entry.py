# SPDX-License-Identifier: Apache-2.0
"""Read the entries of the gallery: a folder each, with entry.toml, broken.py and fixed.py."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unpinned.errors import GalleryError, UsageError
from unpinned.ir.rules import RULES
from unpinned.plan.vocabulary import nearest

#: How far the source of an entry was followed.
EVIDENCE: Final = {
    "S": "read at the source",
    "C": "its subject or id was seen in a list of commits",
    "R": "recalled; the source itself was not read",
}

#: The keys of entry.toml, with what stands there if one is left out (None: it may not be left out).
_TOP: Final[dict[str, Any]] = {
    "title": None,
    "year": None,
    "corpus": None,
    "source": None,
    "evidence": None,
    "class": None,
    "reading": False,
    "chain": "",
    "place": 0,
    "race": None,
    "fix": None,
}
_RACE: Final[dict[str, Any]] = {"rule": None, "scenario": None, "steps": None, "states": None}
_FIX: Final[dict[str, Any]] = {"what": None, "places": None, "states": None}
_TYPES: Final[dict[str, type]] = {"reading": bool, "race": dict, "fix": dict} | dict.fromkeys(
    ("year", "place", "steps", "states", "places"), int
)
_WORDS: Final = {str: "a string", int: "an integer", bool: "true or false", dict: "a table"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A bug with its fix.

    `corpus` is its number in our list of bugs. `reading` says that it is a bug by our own reading, which nobody has
    confirmed. `chain` joins bugs that follow from each other, `place` from 1 is the one of this entry. `plan` is the
    class, of one name in both files. `rule`, `scenario`, `steps` and `states` are what a check of the broken plan is
    expected to find, `fixed_states` how many states the required part of the fixed plan's ladder has. `places` is the
    number of places in which the two files differ.
    """

    folder: Path
    title: str
    year: int
    corpus: str
    source: str
    evidence: str
    reading: bool
    chain: str
    place: int
    plan: str
    rule: str
    scenario: str
    steps: int
    states: int
    fix: str
    places: int
    fixed_states: int

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return self.folder.name

    @property
    def broken(self) -> Path:
        """Return the file of the plan with the bug."""
        return self.folder / "broken.py"

    @property
    def fixed(self) -> Path:
        """Return the file of the plan without it."""
        return self.folder / "fixed.py"


def home() -> Path:
    """Return the folder of the entries: that of an installed package, or gallery/ of the repository.

    :raises GalleryError: if there is neither.
    """
    here = Path(__file__).absolute().parent
    for folder in (here / "entries", here.parents[2] / "gallery"):
        if folder.is_dir():
            return _shown(folder)
    raise GalleryError(
        f"the gallery is not there: {here / 'entries'} is missing",
        hint="Install unpinned anew with pip, or run it from a clone of its repository.",
    )


def entries(folder: Path | None = None) -> tuple[Entry, ...]:
    """Return the entries of a folder, by default of the gallery, the oldest bug first.

    :raises GalleryError: if one cannot be read, or there is none.
    """
    folder = home() if folder is None else folder
    found = [read(path.parent) for path in sorted(folder.glob("*/entry.toml"))]
    if not found:
        raise GalleryError(f"{folder} has no entries", hint="An entry is a folder in it with an entry.toml.")
    return tuple(sorted(found, key=lambda entry: (entry.year, entry.name)))


def named(name: str, among: tuple[Entry, ...]) -> Entry:
    """Return the entry of a name.

    :raises UsageError: if there is none.
    """
    for entry in among:
        if entry.name == name:
            return entry
    names = [entry.name for entry in among]
    raise UsageError(f"the gallery has no {name!r}{nearest(name, names)}", hint=f"It has: {', '.join(names)}.")


def read(folder: Path) -> Entry:
    """Read the entry in a folder.

    :raises GalleryError: if entry.toml is not what it should be, or a plan is missing.
    """
    file = folder / "entry.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GalleryError(f"{file} cannot be read: {error}", hint="Write it in TOML, in UTF-8.") from error
    top = _checked(file, "", table, _TOP)
    race = _checked(file, "race.", top["race"], _RACE)
    fix = _checked(file, "fix.", top["fix"], _FIX)
    if race["rule"] not in RULES:
        raise GalleryError(f"{file}: there is no rule {race['rule']!r}", hint=f"There are: {', '.join(RULES)}.")
    if top["evidence"] not in EVIDENCE:
        hint = "There are: " + "; ".join(f"{letter}, {words}" for letter, words in EVIDENCE.items()) + "."
        raise GalleryError(f"{file}: there is no evidence {top['evidence']!r}", hint=hint)
    if bool(top["chain"]) != (top["place"] > 0):
        raise GalleryError(f"{file}: chain and place go together", hint="Give both, place from 1, or neither.")
    entry = Entry(
        folder=folder,
        plan=top["class"],
        **{key: top[key] for key in _TOP if key not in {"class", "race", "fix"}},
        **race,
        fix=fix["what"],
        places=fix["places"],
        fixed_states=fix["states"],
    )
    for plan in (entry.broken, entry.fixed):
        if not plan.is_file():
            raise GalleryError(f"{plan} is missing", hint="An entry has broken.py, fixed.py and entry.toml.")
    return entry


def _checked(file: Path, prefix: str, table: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with every key, each of its type.

    :raises GalleryError: if it has others, or lacks one.
    """
    for key in table:
        if key not in keys:
            hint = f"Its keys are: {', '.join(keys)}."
            raise GalleryError(f"{file}: unknown key {prefix + key!r}{nearest(key, keys)}", hint=hint)
    for key, default in keys.items():
        wanted = _TYPES.get(key, str)
        value = table.get(key, default)
        if value is None:
            raise GalleryError(f"{file}: {prefix + key} is missing", hint=f"It is {_WORDS[wanted]}.")
        if type(value) is not wanted:
            raise GalleryError(f"{file}: {prefix + key} is {value!r}", hint=f"It should be {_WORDS[wanted]}.")
    return {key: table.get(key, default) for key, default in keys.items()}


def _shown(path: Path) -> Path:
    """Return a path as reports show it: from the current folder, if it lies in there."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return path
