# SPDX-License-Identifier: Apache-2.0
"""Hold docs/gallery.md to what the code knows: the keys of entry.toml, and of the data."""

from __future__ import annotations

import json
import re
from typing import Any

from support.command import unpinned
from support.pages import ROOT, rows, sections

from unpinned.gallery import entry

PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
TYPES = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
    "table": dict,
}


def table_of(heading: str) -> dict[str, set[type]]:
    """Return the keys of the table under a heading, with their types."""
    return {
        key.strip("`"): {TYPES[word] for word in types.split(" or ")}
        for key, types, *_ in rows(sections(PAGE, 3)[heading])
    }


def test_every_key_of_an_entry_is_on_the_page_with_its_type() -> None:
    known = dict(entry._TOP) | {f"race.{key}": value for key, value in entry._RACE.items()}
    known |= {f"fix.{key}": value for key, value in entry._FIX.items()}
    assert table_of("What stands in `entry.toml`") == {
        key: {entry._TYPES.get(key.rpartition(".")[2], str)} for key in known
    }


def test_every_kind_of_evidence_is_on_the_page() -> None:
    said = next(row[2] for row in rows(PAGE) if row[0] == "`evidence`")
    assert re.findall(r"`(\w)`", said) == list(entry.EVIDENCE)


def test_every_key_of_the_data_is_on_the_page_and_there() -> None:
    seen: dict[str, dict[str, set[type]]] = {}
    for call in ((), ("page-as-range",), ("--check", "page-as-range")):
        collect(json.loads(unpinned("gallery", *call, "--json").out), "", seen)
    documented = {
        match[1] or "": table_of(heading)
        for heading in sections(PAGE, 3)
        if (match := re.fullmatch(r"The whole gallery|.*: `([\w.\[\]]+)`", heading))
    }
    assert seen == documented


def collect(value: Any, path: str, found: dict[str, dict[str, set[type]]]) -> None:
    """Collect for every object of the data its keys, and the types that each was seen to have."""
    if isinstance(value, list):
        for item in value:
            collect(item, f"{path}[]", found)
    elif isinstance(value, dict) and not path.endswith(".result"):
        keys = found.setdefault(path.replace("checked_fixed", "checked_broken"), {})
        for key, inner in value.items():
            keys.setdefault(key, set()).add(type(inner))
            collect(inner, f"{path}.{key}".lstrip("."), found)
