# SPDX-License-Identifier: Apache-2.0
"""Locking plans for secondary MMUs: written once, checked against every interleaving.

A plan file imports from here the words of the plan language. The functions that check plans are in `unpinned.api`.
"""

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
    Result,
    SecondaryMMU,
    SpinLock,
    page_range,
)

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
    "Result",
    "SecondaryMMU",
    "SpinLock",
    "page_range",
]
