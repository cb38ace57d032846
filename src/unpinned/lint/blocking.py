# SPDX-License-Identifier: Apache-2.0
"""Find what an invalidation does where it may not block, or does not do where it has not got its lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import Answers, Begins, Breaks, Event, Misses, Returned, Takes
from unpinned.lint.finding import Finding, Walked, is_flush, is_zap
from unpinned.lint.walk import Paths

#: The hooks that say by what they return, if they do, that an invalidation was taken in; and what they return then.
_TAKEN_IN = {"invalidate": 1, "invalidate_range_start": 0}


def sleep_not_blockable(walked: Walked) -> Iterator[Finding]:
    """Find what may sleep in a hook that the OOM reaper calls with a range that may not block."""
    found: dict[tuple[str, Pos], None] = {}
    for name, paths in walked.reaped.items():

        def step(called: Pos | None, event: Event, name: str = name) -> Pos | None:
            match event:
                case Begins():
                    return event.pos
                case Returned():
                    return None
                case Breaks(rule="sleep-in-atomic") if not _sleeps_anyway(walked.paths[name], event):
                    found.setdefault((name, called or event.pos))
            return called

        paths.follow(None, step)
    for name, pos in found:
        answer = {"invalidate": "return False", "invalidate_range_start": "return -EAGAIN"}.get(name, "do without it")
        yield Finding(
            "sleep-not-blockable",
            name,
            pos,
            "what stands here may sleep, and the OOM reaper calls with a range for which nothing may",
            f"Do it only if r.blockable; else take a lock by trylock, and {answer} if that fails.",
        )


def _sleeps_anyway(paths: Paths, event: Event) -> bool:
    """Tell whether it breaks the rule where the range may block too, as under a spinlock: that is another mistake."""
    return any(isinstance(one, Breaks) and (one.pos, one.held) == (event.pos, event.held) for one in paths.events)


@dataclass(frozen=True, slots=True)
class _Memory:
    """The locks that were not got, each with its place, since the last zap; and what the hook returns."""

    missed: frozenset[tuple[str, Pos]] = frozenset()
    answer: int | None = None


def trylock_ignored(walked: Walked) -> Iterator[Finding]:
    """Find invalidations that say that all is done when they have not got the lock under which they zap."""
    found: dict[tuple[str, str, Pos], None] = {}
    for walks in (walked.paths, walked.reaped):
        for name, well in _TAKEN_IN.items():
            if name in walks:
                for lock, pos in _ignored(walks, name, well):
                    found.setdefault((name, lock, pos))
    for name, lock, pos in found:
        answer = "Return -EAGAIN" if name == "invalidate_range_start" else "Return False"
        yield Finding(
            "trylock-ignored",
            name,
            pos,
            f"if {lock} is not got here, nothing is zapped, and the mm is not told: it frees pages that are mapped",
            f"{answer} where r is not blockable; elsewhere wait for {lock}: `with self.{lock}:`.",
        )


def _ignored(walks: Mapping[str, Paths], name: str, well: int) -> frozenset[tuple[str, Pos]]:
    """Return the locks under which a hook zaps, and without which it does not and answers that all is well."""
    paths = walks[name]
    needed = {hold.lock for event in paths.events if is_zap(event) or is_flush(event) for hold in event.held}

    def step(memory: _Memory, event: Event) -> _Memory:
        match event:
            case Misses(lock=lock) if lock in needed:
                return replace(memory, missed=memory.missed | {(lock, event.pos)})
            case Takes(hold=hold):
                return replace(memory, missed=frozenset(one for one in memory.missed if one[0] != hold.lock))
            case Begins() if is_zap(event) or is_flush(event):
                return replace(memory, missed=frozenset())
            case Answers(value=value):
                return replace(memory, answer=value if value is not None else -1)
        return memory

    ends = paths.follow(_Memory(), step)
    return frozenset().union(*(end.missed for end in ends if end.answer in (None, well)))
