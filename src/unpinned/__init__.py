# SPDX-License-Identifier: Apache-2.0
"""Locking plans for secondary MMUs: written once, checked against every interleaving.

A plan file imports from here the words of the plan language. The functions that check plans are here too; they are
loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unpinned.plan.language import (
    FAULT,
    MAPPED,
    REPLAY,
    Counter,
    Flag,
    Gfn,
    GfnRange,
    Mutex,
    Page,
    PerPage,
    SecondaryMMU,
    SpinLock,
    page_range,
)

if TYPE_CHECKING:
    from unpinned.api import as_data, check, export_promela, plans, replay, report, timelines
    from unpinned.mm.scenario import Scenario

_FUNCTIONS = {
    "as_data": "unpinned.api",
    "check": "unpinned.api",
    "export_promela": "unpinned.api",
    "plans": "unpinned.api",
    "replay": "unpinned.api",
    "report": "unpinned.api",
    "timelines": "unpinned.api",
    "Scenario": "unpinned.mm.scenario",
}

__all__ = [
    "FAULT",
    "MAPPED",
    "REPLAY",
    "Counter",
    "Flag",
    "Gfn",
    "GfnRange",
    "Mutex",
    "Page",
    "PerPage",
    "Scenario",
    "SecondaryMMU",
    "SpinLock",
    "as_data",
    "check",
    "export_promela",
    "page_range",
    "plans",
    "replay",
    "report",
    "timelines",
]


def __getattr__(name: str) -> Any:
    """Load a function when it is first used."""
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'unpinned' has no attribute {name!r}")
