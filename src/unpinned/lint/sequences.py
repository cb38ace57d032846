# SPDX-License-Identifier: Apache-2.0
"""Find invalidations of an interval notifier that a fault does not learn of in time.

The sequence that a fault has begun with grows old by mmu_interval_set_seq() alone: it has to be called for every
invalidation that is taken in, and no later than the lock is dropped under which the fault tests the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import SEQUENCE, Answers, Drops, Event, Hold, Reads, Stores, Takes
from unpinned.lint.finding import Finding, Walked, exclude, is_flush, is_zap
from unpinned.lint.walk import Paths

_HOOK = "invalidate"


@dataclass(frozen=True, slots=True)
class _Memory:
    """Whether the sequence was set, what was zapped before it was, and the answer of the hook: 1 if all is well."""

    is_set: bool = False
    zapped: Pos | None = None
    answer: int = 1


def set_seq_missing(walked: Walked) -> Iterator[Finding]:
    """Find paths of invalidate() that take an invalidation in, zap for it or not, and do not set the sequence.

    A fault that does not look at the sequence may have something else to look at: a counter of the plan's own.
    """
    paths = walked.paths.get(_HOOK)
    reads = any(isinstance(event, Reads) and event.field == SEQUENCE for event in walked.fault.events)
    if paths is None or (not reads and walked.bumped - {SEQUENCE}):
        return

    def step(memory: _Memory, event: Event) -> _Memory:
        match event:
            case Stores(field=name) if name == SEQUENCE:
                return replace(memory, is_set=True)
            case Answers(value=value):
                return replace(memory, answer=-1 if value is None else value)
        if is_zap(event) or is_flush(event):
            return replace(memory, zapped=memory.zapped or event.pos)
        return memory

    missing = [end for end in paths.follow(_Memory(), step) if not end.is_set and end.answer == 1]
    if missing:
        zaps = sorted((end.zapped for end in missing if end.zapped is not None), key=lambda pos: (pos.line, pos.col))
        begin = paths.hook.nodes[0].pos
        yield Finding(
            "set-seq-missing",
            _HOOK,
            zaps[0] if zaps else begin,
            "on a path through here invalidate() takes the invalidation in and never calls mmu_interval_set_seq():"
            " a fault that has its page already finds its sequence unchanged, and maps it",
            "Call mmu_interval_set_seq(cur_seq) on every path, under the lock of the fault's test.",
        )


def set_seq_late(walked: Walked) -> Iterator[Finding]:
    """Find sequences that are set when the lock was dropped under which the sptes were cleared."""
    tests = [event.held for event in walked.fault.events if isinstance(event, Reads) and event.field == SEQUENCE]
    locks = {hold for held in tests for hold in held}
    paths = walked.paths.get(_HOOK)
    for pos, zap in _late(paths, locks) if paths is not None else ():
        yield Finding(
            "set-seq-late",
            _HOOK,
            pos,
            f"the sptes of line {zap.line} were cleared under a lock that is dropped before the sequence is set here: a"
            " fault that takes it in between finds its sequence unchanged, and maps its page again",
            "Call mmu_interval_set_seq() before the zap, under the lock of the fault's test.",
        )


def _late(paths: Paths, locks: set[Hold]) -> Iterator[tuple[Pos, Pos]]:
    """Yield the places where the sequence is set, each with a zap before it, with room for a fault between."""
    found: dict[tuple[Pos, Pos], None] = {}

    def step(zapped: tuple[Pos, bool] | None, event: Event) -> tuple[Pos, bool] | None:
        tested = frozenset(locks)
        match event:
            case Stores(field=name) if name == SEQUENCE:
                if zapped is not None and zapped[1]:
                    found.setdefault((event.pos, zapped[0]))
                return None
            case Drops(hold=hold) if zapped is not None and exclude(frozenset({hold}), tested):
                return zapped[0], True
        if is_zap(event) and not isinstance(event, Takes):
            return event.pos, not exclude(event.held, tested)
        return zapped

    paths.follow(None, step)
    yield from found
