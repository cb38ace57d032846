# SPDX-License-Identifier: Apache-2.0
"""Say what is searched and by whom: a problem, a contender that takes it, and the commands that this comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: What the models' own counts are without reductions: all exact checkers agree on them.
COUNTS: Final[dict[tuple[str, tuple[int, ...]], int]] = {
    ("kvm-seq", (2, 1, 2, 1, 2)): 11_031,
    ("kvm-seq", (2, 2, 1, 1, 3)): 81_112,
    ("kvm-seq", (2, 2, 2, 1, 3)): 1_235_201,
    ("kvm-seq", (2, 2, 1, 2, 4)): 2_558_122,
    ("kvm-seq", (3, 2, 1, 2, 4)): 66_164_798,
    ("interval", (2, 1, 2, 1, 2)): 11_478,
    ("interval", (2, 2, 1, 1, 3)): 48_815,
    ("interval", (2, 1, 1, 2, 3)): 43_250,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A model at a bound: vCPUs (or devices), hosts, invalidations each, pages, frames.

    `variant` is "right", which holds; "broken", which races; or "forever": right, with hosts that never stop.
    """

    model: str
    bound: tuple[int, int, int, int, int]
    variant: str = "right"

    @property
    def verdict(self) -> str:
        """Return what a checker must say."""
        return "race" if self.variant == "broken" else "holds"

    def __str__(self) -> str:
        """Write it as a table does: "kvm-seq (2,2,1,2,4)"."""
        v, h, k, p, f = self.bound
        times = "*" if self.variant == "forever" else k
        return f"{self.model} ({v},{h},{times},{p},{f}){' broken' if self.variant == 'broken' else ''}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a checker printed: "holds", "race" or "undecided"; states, transitions, seconds of search of its own."""

    result: str
    states: int | None = None
    transitions: int | None = None
    seconds: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """The commands that build a checker for a problem, the one that searches, and how to read what it prints."""

    build: tuple[tuple[str, ...], ...]
    search: tuple[str, ...]
    read: Callable[[str], Report]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """A checker in one setting.

    `make` writes what the checker needs into a folder; `missing` says why it cannot run here and how to get it, or
    nothing. One that is `exact` counts every state of the plain model. A `slow` one is left out of a quick run.
    `takes` are the models and variants that it can be given.
    """

    name: str
    says: str
    make: Callable[[Problem, Path], Job]
    missing: Callable[[], str]
    takes: frozenset[tuple[str, str]]
    exact: bool = False
    slow: bool = False
