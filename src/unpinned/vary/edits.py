# SPDX-License-Identifier: Apache-2.0
"""Hold edits of a plan, and make the plans that they lead to, read by the ordinary reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from unpinned.errors import PlanError
from unpinned.plan.reading.classes import PlanClass, read_plans
from unpinned.plan.reading.source import Source
from unpinned.vary.text import Change, changed, diff


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes of one file, which together are one edit: `what` says it in words, "drop `self.seq += 1`"."""

    what: str
    source: Source
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A plan that edits have led to; `file` is the file that the last of them has changed."""

    plan: PlanClass
    file: Source


def sources(plan: PlanClass) -> Mapping[str, Source]:
    """Return the files that hold a plan and what it inherits, by real path."""
    every = [plan.source, *(method.source for method in (*plan.methods.values(), *plan.supers.values()))]
    return {os.path.realpath(source.path): source for source in every}


def variant(plan: PlanClass, edit: Edit) -> Variant:
    """Return a plan as an edit of one of its files makes it; what is on disk stays as it is.

    :raises PlanError: if it is not in the language any more.
    """
    file = changed(edit.source, edit.changes)
    files = {**sources(plan), os.path.realpath(file.path): file}
    found = next((one for one in read_plans(plan.source.path, files) if one.name == plan.name), None)
    if found is None:
        raise PlanError(f"the edit leaves no plan `{plan.name}`", plan.pos)
    return Variant(found, file)


def diff_of(edit: Edit) -> str:
    """Return the unified diff that an edit is."""
    return diff(edit.source, changed(edit.source, edit.changes))
