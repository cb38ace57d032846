# SPDX-License-Identifier: Apache-2.0
"""Find flushes that come too late for another CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import Begins, Drops, Event, Takes
from unpinned.lint.finding import Finding, Walked, is_flush, is_zap
from unpinned.lint.walk import Paths

#: The hooks after which the mm frees pages.
_BEFORE_FREE = ("invalidate_range_start", "invalidate_page")


@dataclass(frozen=True, slots=True)
class _Zapped:
    """Sptes that were cleared and are not flushed: where, and the locks that were held then and dropped since."""

    pos: Pos
    held: frozenset[str]
    dropped: frozenset[str] = frozenset()


def flush_after_unlock(walked: Walked) -> Iterator[Finding]:
    """Find flushes behind an unlock, where another CPU may find nothing to zap under that lock and flush nothing.

    A hook that flushes on every path is right: whoever comes second flushes too before the mm frees the page.
    """
    quiet = frozenset[str]().union(*(_quiet(walked.paths[name]) for name in _BEFORE_FREE if name in walked.paths))
    found: dict[tuple[str, Pos, Pos, str], None] = {}
    for name in _BEFORE_FREE:

        def step(memory: frozenset[_Zapped], event: Event, name: str = name) -> frozenset[_Zapped]:
            match event:
                case Drops(hold=hold):
                    return frozenset(
                        replace(one, dropped=one.dropped | {hold.lock}) if hold.lock in one.held else one
                        for one in memory
                    )
                case Begins() if is_flush(event):
                    for one in memory:
                        for lock in one.dropped & quiet:
                            found.setdefault((name, one.pos, event.pos, lock))
                    return frozenset()
                case Begins() if is_zap(event):
                    return memory | {_Zapped(event.pos, frozenset(hold.lock for hold in event.held))}
            return memory

        if name in walked.paths:
            walked.paths[name].follow(frozenset[_Zapped](), step)
    for name, zap, flush, lock in found:
        yield Finding(
            "flush-after-unlock",
            name,
            flush,
            f"the sptes of line {zap.line} are flushed here, when {lock} was dropped: another CPU that finds them"
            f" gone under {lock} flushes nothing, and the mm frees the page",
            f"Flush before {lock} is dropped.",
        )


def _quiet(paths: Paths) -> frozenset[str]:
    """Return the locks that a path takes which flushes nothing."""

    def step(memory: frozenset[str] | None, event: Event) -> frozenset[str] | None:
        if memory is None or is_flush(event):
            return None
        return memory | {event.hold.lock} if isinstance(event, Takes) else memory

    nothing: frozenset[str] | None = frozenset()
    return frozenset[str]().union(*(end for end in paths.follow(nothing, step) if end is not None))
