# SPDX-License-Identifier: Apache-2.0
"""Find snapshots of a counter that are read too late, or once too seldom.

A fault reads a counter that invalidations bump, gets the page, and reads the counter again before it maps: if it is
the same, nobody has taken the page away. So the first of the two reads must come before get_user_page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import OLDEST, Begins, Compares, Event, Reads, Returned
from unpinned.lint.finding import Finding, Walked
from unpinned.lint.walk import Paths, State


@dataclass(frozen=True, slots=True)
class _Got:
    """A page in hand: how often each field was read since, and which were read before."""

    pos: Pos
    since: tuple[tuple[str, int], ...]
    before: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Compared:
    """A counter that was found unchanged, for a page: `early` if the snapshot was older than the page."""

    page: Pos
    field: str
    snapshot: Pos
    early: bool


@dataclass(frozen=True, slots=True)
class _Memory:
    read: frozenset[str] = frozenset()
    got: frozenset[_Got] = frozenset()
    compared: frozenset[_Compared] = frozenset()


@dataclass(frozen=True, slots=True)
class _Late:
    """A snapshot that is younger than the page that is mapped on its word."""

    field: str
    snapshot: Pos
    page: Pos


def snapshot_after_read(walked: Walked) -> Iterator[Finding]:
    """Find snapshots that are read when the page is in hand already."""
    for late in _late(walked, again=False):
        yield Finding(
            "snapshot-after-read",
            "page_fault",
            late.snapshot,
            f"{late.field} is read here, after get_user_page() at line {late.page.line} has returned the page that is"
            f" mapped if {late.field} does not change: what was taken away between the two goes unseen",
            f"Read {late.field} before get_user_page().",
        )


def snapshot_in_loop(walked: Walked) -> Iterator[Finding]:
    """Find snapshots that are read again for a page that was got under an older one."""
    plain = {(late.field, late.snapshot) for late in _late(walked, again=False)}
    for late in _late(walked, again=True):
        if (late.field, late.snapshot) not in plain:
            yield Finding(
                "snapshot-in-loop",
                "page_fault",
                late.snapshot,
                f"{late.field} is read again here, and the page that is mapped if it does not change is still that"
                f" of get_user_page() at line {late.page.line}: what the older snapshot would have told is lost",
                f"Test {late.field} for each page before it is read again, or get the page anew.",
            )


def snapshot_not_refreshed(walked: Walked) -> Iterator[Finding]:
    """Find loops that test a snapshot again which they never read again."""
    fault, bumped = walked.fault, walked.bumped
    for state, edges in fault.edges.items():
        for events, target in edges:
            for event in events:
                if not isinstance(event, Compares) or event.same or event.old.field not in bumped or target is None:
                    continue
                if _comes_back(fault, target, state, event.old.pos):
                    name = event.old.field
                    yield Finding(
                        "snapshot-not-refreshed",
                        "page_fault",
                        event.pos,
                        f"once {name} has changed, this loop finds it changed each time round: the snapshot of line"
                        f" {event.old.pos.line} is not read again in it",
                        f"Read {name} anew before the page is got again, or leave the fault with REPLAY.",
                    )


def _late(walked: Walked, again: bool) -> Iterator[_Late]:
    """Yield the snapshots that are too young; `again` says whether the field was read before the page was got, too."""
    bumped = walked.bumped
    found: dict[_Late, None] = {}

    def step(memory: _Memory, event: Event) -> _Memory:
        match event:
            case Reads(field=name) if name in bumped:
                got = frozenset(replace(one, since=_counted(one.since, name)) for one in memory.got)
                return replace(memory, read=memory.read | {name}, got=got)
            case Returned(name="get_user_page"):
                new = _Got(event.pos, (), memory.read)
                return replace(
                    memory,
                    got=frozenset(one for one in memory.got if one.pos != event.pos) | {new},
                    compared=frozenset(one for one in memory.compared if one.page != event.pos),
                )
            case Compares(old=old, new=fresh, same=True) if old.field in bumped:
                compared = set(memory.compared)
                for one in memory.got:
                    since = dict(one.since).get(old.field, 0)
                    if fresh.age < since:
                        compared.add(_Compared(one.pos, old.field, old.pos, old.age >= min(since, OLDEST)))
                return replace(memory, compared=frozenset(compared))
            case Begins(name="map", page=Pos() as page):
                read_before = next((one.before for one in memory.got if one.pos == page), frozenset[str]())
                told = {each.field for each in memory.compared if each.page == page and each.early}
                for late in memory.compared:
                    if late.page == page and late.field not in told and (late.field in read_before) == again:
                        found.setdefault(_Late(late.field, late.snapshot, page))
        return memory

    walked.fault.follow(_Memory(), step)
    yield from found


def _counted(since: tuple[tuple[str, int], ...], name: str) -> tuple[tuple[str, int], ...]:
    """Count one more read of a field; from OLDEST + 1 on all are one."""
    counts = dict(since)
    counts[name] = min(counts.get(name, 0) + 1, OLDEST + 1)
    return tuple(sorted(counts.items()))


def _comes_back(fault: Paths, begin: State, end: State, snapshot: Pos) -> bool:
    """Tell whether a path leads from one state to another without reading a snapshot."""
    seen, stack = {begin}, [begin]
    while stack:
        state = stack.pop()
        if state == end:
            return True
        for events, target in fault.edges.get(state, ()):
            reread = any(isinstance(event, Reads) and event.pos == snapshot for event in events)
            if target is not None and target not in seen and not reread:
                seen.add(target)
                stack.append(target)
    return False
