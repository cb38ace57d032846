# SPDX-License-Identifier: Apache-2.0
"""Say what a path of a hook does, and what may be known of a value on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from unpinned.errors import Pos

#: An age stands for itself below this; this and more are one.
OLDEST: Final = 3

#: The sequence of an interval notifier, as if it were a field.
SEQUENCE: Final = "the notifier's sequence"


@dataclass(frozen=True, slots=True)
class Known:
    """A number, or 0 or 1 for a truth value."""

    value: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read of a field at `pos`; `age` is how often the field was read since."""

    field: str
    pos: Pos
    age: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A page that a call at `pos` has returned."""

    pos: Pos


@dataclass(frozen=True, slots=True)
class Changed:
    """Whether a field has changed between two reads of it, which a call has found out."""

    old: Snapshot
    new: Snapshot


Value = Known | Snapshot | Page | Changed


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock of the plan that is held, alone or, a `shared` one, with others."""

    lock: str
    shared: bool


# ---- events: each has its place, and the locks that are held then


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a path does."""

    pos: Pos
    held: frozenset[Hold]


@dataclass(frozen=True, slots=True)
class Reads(Event):
    """It reads a field."""

    field: str


@dataclass(frozen=True, slots=True)
class Stores(Event):
    """It stores to a field: adds `by` to it, or makes it `value`; if neither is known, it becomes anything."""

    field: str
    by: int | None
    value: int | None


@dataclass(frozen=True, slots=True)
class Takes(Event):
    """It takes a lock, and `waits` for it or only tries."""

    hold: Hold
    waits: bool


@dataclass(frozen=True, slots=True)
class Misses(Event):
    """It tries to take a lock, and does not get it."""

    lock: str


@dataclass(frozen=True, slots=True)
class Drops(Event):
    """It drops a lock."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class Sleeps(Event):
    """It goes on a wait queue, and may sleep until it is woken."""

    queue: str


@dataclass(frozen=True, slots=True)
class Breaks(Event):
    """It breaks a rule of the checker, whatever others do."""

    rule: str


@dataclass(frozen=True, slots=True)
class Answers(Event):
    """The hook returns `value`, or something that is not known."""

    value: int | None


@dataclass(frozen=True, slots=True)
class Wakes(Event):
    """It wakes who is on a wait queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class Begins(Event):
    """It calls the mm or the hardware, with a page that was got at `page`."""

    name: str
    page: Pos | None


@dataclass(frozen=True, slots=True)
class Returned(Event):
    """The mm or the hardware has returned; a page of its is known by the place of the call."""

    name: str


@dataclass(frozen=True, slots=True)
class Compares(Event):
    """It finds what was read of a field twice the `same`, or not: `old` was read before `new`."""

    old: Snapshot
    new: Snapshot
    same: bool


@dataclass(frozen=True, slots=True)
class Finds(Event):
    """It finds what was read of a field true, or not 0; or false."""

    snapshot: Snapshot
    truth: bool
