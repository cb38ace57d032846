# SPDX-License-Identifier: Apache-2.0
"""Define the words that a plan is written in; they give editors types and docstrings, and do nothing.

A plan is read from its source and never run, so nothing here has behaviour: a class that uses these words may
be imported (by an editor, a type checker, a documentation tool); every use at run time raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, NoReturn, Self, TypeVar, overload

__all__ = [
    "FAULT",
    "MAPPED",
    "REPLAY",
    "Counter",
    "Flag",
    "Gfn",
    "GfnRange",
    "Mutex",
    "Page",
    "PerPage",
    "SecondaryMMU",
    "SpinLock",
    "page_range",
]

T = TypeVar("T")


def never_run(what: str) -> NoReturn:
    """Raise the error of everything in the language that is called at run time."""
    raise RuntimeError(f"{what}: a plan is read by unpinned, not run; check it with `unpinned check FILE`")


# ---- values --------------------------------------------------------------------------------------


class Gfn:
    """A guest frame number: the page that an access or an invalidation is about."""


class Page:
    """A page frame with a reference that `get_user_page` took and `put_page` gives back."""


class GfnRange:
    """A range of guest frame numbers: `for gfn in r` walks it, `gfn in r` asks."""

    def __iter__(self) -> Iterator[Gfn]:
        """Walk the pages of the range in order."""
        never_run("GfnRange")

    def __contains__(self, gfn: Gfn) -> bool:
        """Say whether a page lies in the range."""
        never_run("GfnRange")


def page_range(gfn: Gfn) -> GfnRange:
    """Return the range of that one page."""
    never_run("page_range()")


class Result(Enum):
    """What a page fault returns."""

    REPLAY = "the guest takes the fault again"
    MAPPED = "the spte is set, and the guest goes on"
    FAULT = "there is no page to map, and the guest gets an error"


REPLAY: Final = Result.REPLAY
MAPPED: Final = Result.MAPPED
FAULT: Final = Result.FAULT

# ---- fields: state that all CPUs share -----------------------------------------------------------


class SpinLock:
    """A lock that is spun on: `with self.lock:`. Nothing may sleep under it."""

    def __enter__(self) -> Self:
        """Take the lock."""
        never_run("SpinLock")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the lock."""
        never_run("SpinLock")


class Mutex:
    """A lock that sleeps: `with self.lock:`. It may not be taken under a SpinLock."""

    def __enter__(self) -> Self:
        """Take the lock, or sleep until it is free."""
        never_run("Mutex")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the lock."""
        never_run("Mutex")


class Counter:
    """An integer of `bits` bits (1 to 6), from 0 to 2**bits-1, at first `init`.

    A read is one step and a write another: `self.seq += 1` is two steps, between which other CPUs may run.
    """

    def __init__(self, *, bits: int = 4, init: int = 0) -> None:
        """Declare a counter."""

    @overload
    def __get__(self, obj: None, owner: type) -> Counter: ...
    @overload
    def __get__(self, obj: object, owner: type) -> int: ...
    def __get__(self, obj: object | None, owner: type) -> Counter | int:
        """Read the counter: one step."""
        if obj is None:
            return self
        never_run("Counter")

    def __set__(self, obj: object, value: int) -> None:
        """Write the counter: one step."""
        never_run("Counter")


class Flag:
    """A truth value, at first `init`. A read is one step and a write another."""

    def __init__(self, *, init: bool = False) -> None:
        """Declare a flag."""

    @overload
    def __get__(self, obj: None, owner: type) -> Flag: ...
    @overload
    def __get__(self, obj: object, owner: type) -> bool: ...
    def __get__(self, obj: object | None, owner: type) -> Flag | bool:
        """Read the flag: one step."""
        if obj is None:
            return self
        never_run("Flag")

    def __set__(self, obj: object, value: bool) -> None:
        """Write the flag: one step."""
        never_run("Flag")


class PerPage(Generic[T]):
    """One `of` for each guest page: `seq = PerPage(Counter())`, then `self.seq[gfn]`."""

    @overload
    def __init__(self: PerPage[int], of: Counter) -> None: ...
    @overload
    def __init__(self: PerPage[bool], of: Flag) -> None: ...
    @overload
    def __init__(self: PerPage[SpinLock], of: SpinLock) -> None: ...
    @overload
    def __init__(self: PerPage[Mutex], of: Mutex) -> None: ...
    @overload
    def __init__(self: PerPage[Any], of: object) -> None: ...
    def __init__(self, of: object) -> None:
        """Declare the field."""

    def __getitem__(self, gfn: Gfn) -> T:
        """Read the element of a page: one step."""
        never_run("PerPage")

    def __setitem__(self, gfn: Gfn, value: T) -> None:
        """Write the element of a page: one step."""
        never_run("PerPage")


# ---- the plan ------------------------------------------------------------------------------------


class SecondaryMMU:
    """A locking plan: derive from it and write the hooks that the client has.

    `page_fault(self, gfn, write)` is called when the guest touches a page that has no spte, and returns
    REPLAY, MAPPED or FAULT. `invalidate_range_start(self, r)`, `invalidate_range_end(self, r)` and
    `invalidate_page(self, gfn)` are called by the mm; one that the plan lacks does nothing.
    """

    #: The kernel's notifier of that time: '2008' ('current' is not modelled yet).
    era: ClassVar[str] = "2008"
    #: What the mm may do to the plan, of 'munmap', 'zap' and 'reclaim'; all of them if the plan does not say.
    operations: ClassVar[tuple[str, ...]]
    #: The rules that the plan promises to keep; all of them if it does not say.
    promises: ClassVar[tuple[str, ...]]
    #: The rules that the plan may break, each with the reason.
    waive: ClassVar[Mapping[str, str]]

    def get_user_page(self, gfn: Gfn, write: bool) -> Page:
        """Return the page of `gfn` with a reference taken: several steps; may sleep or fail the fault."""
        never_run("get_user_page()")

    def put_page(self, page: Page) -> None:
        """Give back the reference of `page`; its frame is free when the last one is gone."""
        never_run("put_page()")

    def map(self, gfn: Gfn, page: Page, write: bool) -> None:
        """Set the spte of `gfn` to `page`, writable if `write`, and add it to the rmap."""
        never_run("map()")

    def zap(self, r: GfnRange | Gfn) -> None:
        """Clear the sptes of a range or a page, one a step, and flush the secondary TLB."""
        never_run("zap()")

    def zap_sptes(self, r: GfnRange | Gfn) -> None:
        """Clear the sptes of a range or a page, one a step: `zap` without its flush."""
        never_run("zap_sptes()")

    def flush(self, r: GfnRange | Gfn | None = None) -> None:
        """Flush a range, a page or everything from the secondary TLB of every vCPU."""
        never_run("flush()")
