# SPDX-License-Identifier: Apache-2.0
"""Find locks of a fault that are held over too much, or over too little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import Begins, Compares, Drops, Event, Hold, Reads, Returned, Sleeps, Stores, Takes, Wakes
from unpinned.lint.finding import WAYS, Finding, Walked, exclude, is_zap

#: The operations of the mm that hold, while they call a hook, what get_user_page waits for: munmap has mmap_lock for
#: writing, and reclaim the page lock.
_WAITED_FOR = frozenset({"munmap", "reclaim"})


def lock_across_gup(walked: Walked) -> Iterator[Finding]:
    """Find locks held round get_user_page that an invalidation waits for, and round wait_event that wakers need."""
    yield from _across_wait_event(walked)
    takers = {
        event.hold: name
        for name, event in walked.events(walked.invalidations)
        if isinstance(event, Takes) and event.waits and walked.paths[name].hook.callers & _WAITED_FOR
    }
    for event in walked.fault.events:
        if isinstance(event, Begins) and event.name == "get_user_page":
            for hold, taker in takers.items():
                if exclude(event.held, frozenset({hold})):
                    yield Finding(
                        "lock-across-gup",
                        "page_fault",
                        event.pos,
                        f"{hold.lock} is held here, and get_user_page() may wait for an operation of the mm that"
                        f" waits for {hold.lock} in {taker}()",
                        f"Drop {hold.lock} before get_user_page(), and test behind it what may have changed.",
                    )


def _across_wait_event(walked: Walked) -> Iterator[Finding]:
    """Find locks of a fault that sleeps, without which nobody wakes it."""
    wakers = [(hook, event) for hook, event in walked.events(tuple(walked.paths)) if isinstance(event, Wakes)]
    for event in walked.fault.events:
        if not isinstance(event, Sleeps):
            continue
        waking = [(hook, one) for hook, one in wakers if one.queue == event.queue]
        for hold in sorted(event.held, key=lambda hold: hold.lock):
            if waking and all(exclude(frozenset({hold}), one.held) for _, one in waking):
                yield Finding(
                    "lock-across-gup",
                    "page_fault",
                    event.pos,
                    f"{hold.lock} is held here, and who wakes {event.queue} takes it first, in {waking[0][0]}():"
                    " nobody wakes who sleeps under it",
                    f"Drop {hold.lock} before wait_event(), or wake without it.",
                )


@dataclass(frozen=True, slots=True)
class _Test:
    """A counter that was read: where, and what was done before and is not undone: locks taken, fields set.

    A fault may keep invalidations out by a field of its own, a gate: it sets the field, and they look at it.
    """

    field: str
    pos: Pos
    held: frozenset[Hold]
    gates: frozenset[str]
    early: bool = False

    def after(self, event: Event) -> _Test:
        """Return it as it is after an event: a lock may be dropped, a gate opened, a page got."""
        match event:
            case Drops(hold=hold):
                return replace(self, held=self.held - {hold})
            case Stores(field=name):
                return replace(self, gates=self.gates - {name})
            case Returned(name="get_user_page"):
                return replace(self, early=True)
        return self


@dataclass(frozen=True, slots=True)
class _Memory:
    """The fields that were set, the last read of each counter, and what was found unchanged."""

    gates: frozenset[str] = frozenset()
    reads: frozenset[_Test] = frozenset()
    tests: frozenset[_Test] = frozenset()

    def after(self, event: Event) -> _Memory:
        """Return it as it is after an event."""
        reads, tests = (frozenset(one.after(event) for one in each) for each in (self.reads, self.tests))
        gates = self.gates | {event.field} if isinstance(event, Stores) else self.gates
        return _Memory(gates, reads, tests)


def check_outside_lock(walked: Walked) -> Iterator[Finding]:
    """Find tests of a snapshot that are not in one critical section, with the map, of a lock that keeps others out."""
    bumped = walked.bumped
    found: dict[tuple[str, Pos, Pos], str] = {}

    def step(memory: _Memory, event: Event) -> _Memory:
        memory = memory.after(event)
        match event:
            case Reads(field=name) if name in bumped:
                others = frozenset(one for one in memory.reads if one.field != name)
                return replace(memory, reads=others | {_Test(name, event.pos, event.held, memory.gates)})
            case Compares(old=old, new=new, same=True) if old.field in bumped:
                same = {replace(one, pos=event.pos) for one in memory.reads if one.pos == new.pos}
                return replace(memory, tests=memory.tests | same)
            case Begins(name="map"):
                for name in {one.field for one in memory.tests if not one.early}:
                    tests = [one for one in memory.tests if one.field == name]
                    if all(_comes_between(walked, one) for one in tests):
                        last = max((one for one in tests if not one.early), key=lambda one: (one.pos.line, one.pos.col))
                        found.setdefault((name, last.pos, event.pos), _comes_between(walked, last))
        return memory

    walked.fault.follow(_Memory(), step)
    for (name, pos, mapped), hook in found.items():
        yield Finding(
            "check-outside-lock",
            "page_fault",
            pos,
            f"{name} is tested here, and the page is mapped at line {mapped.line}: no lock is held from the one to the"
            f" other that keeps {hook}() out",
            f"Hold one lock from the test to the map, and round the zap of {hook}().",
        )


def _comes_between(walked: Walked, test: _Test) -> str:
    """Return a hook that can come between a test and the map, or "".

    None can that bumps the counter if all zaps of its way, or all bumps, are under a lock of the test, or at a gate.
    """
    for way in WAYS:
        events = list(walked.events(way))
        bumps = [(hook, one) for hook, one in events if isinstance(one, Stores) and one.field == test.field]
        zaps = [(hook, one) for hook, one in events if is_zap(one)]
        seen = {one.field for _, one in events if isinstance(one, Reads | Stores)}
        locked = any(some and all(exclude(test.held, one.held) for _, one in some) for some in (bumps, zaps))
        if bumps and not locked and not (test.gates - {test.field}) & seen:
            return next(hook for hook, one in zaps or bumps if not exclude(test.held, one.held))
    return ""
