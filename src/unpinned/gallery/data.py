# SPDX-License-Identifier: Apache-2.0
"""Write the gallery as data: what `unpinned gallery --json` prints (docs/gallery.md describes every key)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from unpinned import api
from unpinned.gallery.entry import Entry
from unpinned.gallery.judge import Half, Judged, diff

FORMAT: Final = "unpinned-gallery"
#: Goes up when a key changes its meaning or goes away; new keys may come without that.
VERSION: Final = 1


def gallery_data(found: Sequence[Entry], judged: Sequence[Judged] = ()) -> dict[str, Any]:
    """Return entries as JSON data, with what a check gave for those that were checked."""
    results = {one.entry.name: one for one in judged}
    return {
        "format": FORMAT,
        "version": VERSION,
        "entries": [_entry(entry, results.get(entry.name)) for entry in found],
    }


def _entry(entry: Entry, judged: Judged | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "year": entry.year,
        "corpus": entry.corpus,
        "source": entry.source,
        "evidence": entry.evidence,
        "reading": entry.reading,
        "chain": entry.chain or None,
        "place": entry.place or None,
        "class": entry.plan,
        "broken": str(entry.broken),
        "fixed": str(entry.fixed),
        "expected": {
            "property": entry.rule,
            "scenario": entry.scenario,
            "steps": entry.steps,
            "states": entry.states,
            "fixed_states": entry.fixed_states,
        },
        "fix": {"what": entry.fix, "places": entry.places, "diff": diff(entry)},
        "as_expected": None if judged is None else not judged.amiss,
        "amiss": [] if judged is None else list(judged.amiss),
        "checked_broken": None if judged is None else _half(judged.broken),
        "checked_fixed": None if judged is None or judged.fixed is None else _half(judged.fixed),
    }


def _half(half: Half) -> dict[str, Any]:
    """Return what a check of a plan gave: the data of `unpinned check --json`, and the seconds."""
    return {"seconds": round(half.seconds, 3), "result": api.as_data([half.result])["plans"][0]}
