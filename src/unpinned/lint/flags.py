# SPDX-License-Identifier: Apache-2.0
"""Find fields that are read and cleared in two steps, with room for another CPU between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unpinned.errors import Pos
from unpinned.lint.events import Begins, Drops, Event, Finds, Hold, Reads, Stores
from unpinned.lint.finding import Finding, Walked, exclude


@dataclass(frozen=True, slots=True)
class _Seen:
    """A field that was read at a place: the locks held ever since, and what came of it.

    `found` says that it was set, `acted` that something was done since which others see, `cleared` where it was cleared
    with room for others since it was read.
    """

    field: str
    pos: Pos
    held: frozenset[Hold]
    found: bool = False
    acted: bool = False
    cleared: Pos | None = None


def read_then_clear(walked: Walked) -> Iterator[Finding]:
    """Find fields that are found set, and then cleared, while another CPU may store to them between.

    Who clears first and does then what may be done twice loses nothing. It matters what is done before the field is
    cleared, for that is not done again if it is set between; and what may be done once only: to lower a counter, to put
    a page.
    """
    stores = [event for _, event in walked.events(tuple(walked.paths)) if isinstance(event, Stores)]
    found: dict[tuple[str, str, Pos, Pos], None] = {}
    for name, paths in walked.paths.items():

        def step(memory: frozenset[_Seen], event: Event, name: str = name) -> frozenset[_Seen]:
            if isinstance(event, Reads):
                others = {one for one in memory if (one.field, one.pos) != (event.field, event.pos)}
                return frozenset(others | {_Seen(event.field, event.pos, event.held)})
            after = frozenset(later for one in memory if (later := _after(one, event, stores)) is not None)
            for one in after:
                if one.cleared is not None and (one.acted or _once_only(event)):
                    found.setdefault((name, one.field, one.pos, one.cleared))
            return after

        paths.follow(frozenset[_Seen](), step)
    for name, what, read, cleared in found:
        yield Finding(
            "read-then-clear",
            name,
            cleared,
            f"{what} was found set at line {read.line} and is cleared here: another CPU may have found it set too,"
            " or set it again, between the two",
            f"Take it in one step, `self.{what}.xchg(...)`, or hold a lock from the one to the other that all who"
            f" store to {what} hold.",
        )


def _after(seen: _Seen, event: Event, stores: Sequence[Stores]) -> _Seen | None:
    """Return what is known of a field that was read, after an event; None if nothing more can come of it."""
    match event:
        case Finds(snapshot=snapshot, truth=truth) if (seen.field, seen.pos) == (snapshot.field, snapshot.pos):
            return replace(seen, found=True) if truth else None
        case Drops(hold=hold):
            return replace(seen, held=seen.held - {hold})
        case Stores(field=name) if name == seen.field:
            alone = all(exclude(seen.held, one.held) for one in stores if one.field == name)
            if event.value == 0 and seen.found and not alone and seen.cleared is None:
                return replace(seen, cleared=event.pos)
            return None
        case Stores() | Begins() if seen.found and seen.cleared is None:
            return replace(seen, acted=True)
    return seen


def _once_only(event: Event) -> bool:
    """Tell whether an event is something that may not be done twice."""
    if isinstance(event, Stores):
        return event.by is not None and event.by < 0
    return isinstance(event, Begins) and event.name == "put_page"
