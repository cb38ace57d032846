# SPDX-License-Identifier: Apache-2.0
"""Hold what the search of one system gave, whichever engine searched: all that a verdict is decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from unpinned.check.witness import Race
from unpinned.ir.program import Cover, Mark, System


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a system.

    `complete` says that every state was seen; else `stopped` says why not: "time", "memory", "interrupt", or "" after a
    violation. `limit` has the words of the first bound of the model that was run into, or "". `events` were seen, and
    `reached` are the source lines, as (file, line), that steps ran through. `notes` are sentences for the report,
    `details` such as only a long report has. `lower` is the option that makes the scenario smaller where it is widest.
    """

    system: System
    states: int
    depth: int
    complete: bool
    stopped: str
    limit: str
    race: Race | None
    events: frozenset[str]
    reached: frozenset[tuple[str, int]]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    lower: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """How far a search is: states so far, the level that is searched, the frontier, and how many states to expect.

    The frontier is the number of states of this level and the next. `expected` is None as long as levels grow.
    `search` says which search it is, "" for one of the full system.
    """

    states: int
    depth: int
    frontier: int
    expected: int | None = None
    search: str = ""


def expected(widths: Sequence[int]) -> int | None:
    """Return an estimate of the number of states from the widths of the levels so far, if these have begun to shrink.

    Levels of such searches grow to a peak and shrink behind it about evenly: what is to come is taken as a geometric
    series with the mean ratio of the last levels. It is a guess, for the progress line and nothing else.
    """
    last = widths[-4:]
    if len(last) < 4 or not all(a > b > 0 for a, b in pairwise(last)):
        return None
    ratio = (last[-1] / last[0]) ** (1 / 3)
    return sum(widths) + int(last[-1] * ratio / (1 - ratio))


#: What is called now and then while a search runs.
Tick = Callable[[Sight], None]


def covered(passed: Iterable[Cover | Mark], waited: bool) -> tuple[frozenset[str], frozenset[tuple[str, int]]]:
    """Return the events and source lines that a search ran through; `waited` says that a CPU had to wait somewhere."""
    events: set[str] = set()
    lines: set[tuple[str, int]] = set()
    for what in passed:
        if isinstance(what, Cover):
            events.add(what.event)
        else:
            lines.add((what.pos.file, what.pos.line))
    if waited:
        events.add("rule:deadlock")
    return frozenset(events), frozenset(lines)
