# SPDX-License-Identifier: Apache-2.0
"""Hold what the rules look at, and what they find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from unpinned.errors import Pos
from unpinned.lint.events import Begins, Event, Hold, Stores
from unpinned.lint.walk import Paths

#: The calls of a plan that clear sptes, and those that flush TLBs.
ZAPS: Final = frozenset({"zap", "zap_sptes"})
FLUSHES: Final = frozenset({"zap", "flush"})

#: The hooks of one way in which the mm takes pages away, which belong together.
WAYS: Final = (("invalidate_range_start", "invalidate_range_end"), ("invalidate_page",), ("invalidate",))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: in which method, where, what is wrong there, and what to do."""

    rule: str
    hook: str
    pos: Pos
    what: str
    advice: str


@dataclass(frozen=True)
class Walked:
    """The paths of all hooks of a plan, by name; and of those that the OOM reaper calls, as it calls them."""

    paths: Mapping[str, Paths]
    reaped: Mapping[str, Paths]

    @property
    def fault(self) -> Paths:
        """Return the paths of page_fault, which every plan has."""
        return self.paths["page_fault"]

    def events(self, hooks: tuple[str, ...]) -> Iterator[tuple[str, Event]]:
        """Yield the events of those hooks that the plan has, each with the hook."""
        for name in hooks:
            if name in self.paths:
                for event in self.paths[name].events:
                    yield name, event

    @property
    def invalidations(self) -> tuple[str, ...]:
        """Return the names of the hooks that take pages away."""
        return tuple(name for way in WAYS for name in way if name in self.paths)

    @property
    def bumped(self) -> frozenset[str]:
        """Return the fields by whose change an invalidation can tell a fault: they only go up."""
        stores = [event for _, event in self.events(tuple(self.paths)) if isinstance(event, Stores)]
        down = {event.field for event in stores if event.by is None or event.by <= 0}
        return frozenset(
            event.field for _, event in self.events(self.invalidations) if isinstance(event, Stores)
        ) - frozenset(down)


def exclude(one: frozenset[Hold], other: frozenset[Hold]) -> bool:
    """Tell whether two CPUs cannot hold these locks at the same time."""
    return any(a.lock == b.lock and not (a.shared and b.shared) for a in one for b in other)


def is_zap(event: Event) -> bool:
    """Tell whether an event is a call that clears sptes."""
    return isinstance(event, Begins) and event.name in ZAPS


def is_flush(event: Event) -> bool:
    """Tell whether an event is a call that flushes TLBs."""
    return isinstance(event, Begins) and event.name in FLUSHES
