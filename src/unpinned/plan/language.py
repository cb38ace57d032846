# SPDX-License-Identifier: Apache-2.0
"""Define the words that a plan is written in; they give editors types and docstrings, and do nothing.

A plan is read from its source and never run, so nothing here has behaviour: a class that uses these words may
be imported (by an editor, a type checker, a documentation tool); every use at run time raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, NoReturn, Self, TypeVar, overload

__all__ = [
    "EAGAIN",
    "FAULT",
    "MAPPED",
    "READ_ONCE",
    "REPLAY",
    "WRITE_ONCE",
    "Atomic",
    "Counter",
    "Flag",
    "Gfn",
    "GfnRange",
    "Mutex",
    "Object",
    "Page",
    "PerPage",
    "RwLock",
    "RwSem",
    "SecondaryMMU",
    "SpinLock",
    "Srcu",
    "WaitQueue",
    "WorkItem",
    "all_pages",
    "cond_resched",
    "page_range",
    "rcu_read_lock",
    "smp_load_acquire",
    "smp_mb",
    "smp_rmb",
    "smp_store_release",
    "smp_wmb",
    "synchronize_rcu",
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

    #: Whether the method that was handed this range may wait. Of a call of the OOM reaper it is False.
    blockable: bool

    def __iter__(self) -> Iterator[Gfn]:
        """Walk the pages of the range in order."""
        never_run("GfnRange")

    def __contains__(self, gfn: Gfn) -> bool:
        """Say whether a page lies in the range."""
        never_run("GfnRange")


def all_pages() -> GfnRange:
    """Return the range of all guest pages."""
    never_run("all_pages()")


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

#: What `invalidate_range_start` returns, with a minus, where it may not block and would have to.
EAGAIN: Final = 11

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

    def trylock(self) -> AbstractContextManager[bool]:
        """Take the lock if it is free: `with self.lock.trylock() as got:`. The block runs either way."""
        never_run("SpinLock.trylock()")


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

    def trylock(self) -> AbstractContextManager[bool]:
        """Take the lock if it is free: `with self.lock.trylock() as got:`. It does not sleep; the block runs always."""
        never_run("Mutex.trylock()")


class _Sides:
    """A lock that readers share and a writer has alone."""

    def read(self) -> AbstractContextManager[None]:
        """Hold it for reading; other readers may hold it too."""
        never_run("read()")

    def write(self) -> AbstractContextManager[None]:
        """Hold it for writing, alone."""
        never_run("write()")

    def try_read(self) -> AbstractContextManager[bool]:
        """Hold it for reading if no writer has it: `with self.sem.try_read() as got:`."""
        never_run("try_read()")

    def try_write(self) -> AbstractContextManager[bool]:
        """Hold it for writing if nobody has it: `with self.sem.try_write() as got:`."""
        never_run("try_write()")


class RwLock(_Sides):
    """A reader-writer lock that is spun on: `with self.lock.read():`, `.write():`. Nothing may sleep under it."""


class RwSem(_Sides):
    """A reader-writer semaphore, which sleeps: `with self.sem.read():`, `.write():`."""


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


class Atomic:
    """An integer as Counter has, which is changed in one step: `self.n += 1`, and what the methods do.

    It holds 0 to 2**bits-1; with `signed`, -2**(bits-1) to 2**(bits-1)-1.
    """

    def __init__(self, *, bits: int = 4, init: int = 0, signed: bool = False) -> None:
        """Declare an atomic counter."""

    @overload
    def __get__(self, obj: None, owner: type) -> Atomic: ...
    @overload
    def __get__(self, obj: object, owner: type) -> Any: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        """Read the counter: one step."""
        return self if obj is None else never_run("Atomic")

    def __set__(self, obj: object, value: int) -> None:
        """Write the counter: one step."""
        never_run("Atomic")

    def add_return(self, number: int) -> int:
        """Add a number and return the sum, in one step."""
        never_run("Atomic.add_return()")

    def cmpxchg(self, old: int, new: int) -> bool:
        """Set it to `new` if it is `old`, and say whether it was, in one step."""
        never_run("Atomic.cmpxchg()")

    def xchg(self, value: int) -> int:
        """Set it, and return what it was, in one step."""
        never_run("Atomic.xchg()")


class Flag:
    """A truth value, at first `init`. A read is one step and a write another."""

    def __init__(self, *, init: bool = False) -> None:
        """Declare a flag."""

    @overload
    def __get__(self, obj: None, owner: type) -> Flag: ...
    @overload
    def __get__(self, obj: object, owner: type) -> Any: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        """Read the flag: one step."""
        return self if obj is None else never_run("Flag")

    def __set__(self, obj: object, value: bool) -> None:
        """Write the flag: one step."""
        never_run("Flag")

    def xchg(self, value: bool) -> bool:
        """Set it, and return what it was, in one step."""
        never_run("Flag.xchg()")


class WaitQueue:
    """CPUs that sleep until a condition holds, and are woken to look again."""

    def wait_event(self, cond: object) -> None:
        """Sleep until `cond` holds: go on the queue, look, sleep until woken if it does not hold, and begin again.

        A wake_up() that comes before the CPU is on the queue is missed; then it looks in time, for it looks after.
        """
        never_run("WaitQueue.wait_event()")

    def wake_up(self) -> None:
        """Wake every CPU on the queue: one step."""
        never_run("WaitQueue.wake_up()")


class Object:
    """An object with a lifetime and a count of references: at first it is live, and has one."""

    def use(self) -> None:
        """Read or write it: one step, which breaks `lifetime` if it is freed."""
        never_run("Object.use()")

    def get(self) -> None:
        """Take a reference (kref_get): one step; there must be one."""
        never_run("Object.get()")

    def get_unless_zero(self) -> bool:
        """Take a reference if there is one (kref_get_unless_zero), and say whether: one step."""
        never_run("Object.get_unless_zero()")

    def put(self) -> bool:
        """Give back a reference and say whether it was the last (kref_put): one step. It frees nothing."""
        never_run("Object.put()")

    def free(self) -> None:
        """Free it (kfree): one step."""
        never_run("Object.free()")

    def kfree_rcu(self) -> None:
        """Have it freed when all RCU sections of now have ended: one step, which does not wait."""
        never_run("Object.kfree_rcu()")

    def call_srcu(self, srcu: Srcu) -> None:
        """Have it freed when all sections of a domain of now have ended: one step, which does not wait."""
        never_run("Object.call_srcu()")


class Srcu:
    """An SRCU domain: `with self.srcu.read():` is a section of it, which may sleep."""

    def read(self) -> AbstractContextManager[None]:
        """Be in a section."""
        never_run("Srcu.read()")

    def synchronize(self) -> None:
        """Sleep until all sections of now have ended (synchronize_srcu)."""
        never_run("Srcu.synchronize()")


class WorkItem:
    """A method that a CPU of its own runs when it is queued."""

    def __init__(self, method: str) -> None:
        """Declare it, by the name of the method, which takes no arguments."""

    def queue(self) -> bool:
        """Queue it, unless it is queued already, and say whether it was not (queue_work): one step."""
        never_run("WorkItem.queue()")

    def flush(self) -> None:
        """Sleep until what is queued or runs now has ended (flush_work)."""
        never_run("WorkItem.flush()")

    def cancel_sync(self) -> bool:
        """Take it off the queue, sleep until it does not run, and say whether it was queued (cancel_work_sync)."""
        never_run("WorkItem.cancel_sync()")


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


# ---- scheduling ---------------------------------------------------------------------------------


def cond_resched() -> None:
    """Let another task have the CPU; may sleep."""
    never_run("cond_resched()")


# ---- RCU ----------------------------------------------------------------------------------------


def rcu_read_lock() -> AbstractContextManager[None]:
    """Be in an RCU section: `with rcu_read_lock():`. Nothing may sleep in it."""
    never_run("rcu_read_lock()")


def synchronize_rcu() -> None:
    """Sleep until all RCU sections of now have ended."""
    never_run("synchronize_rcu()")


# ---- memory ordering: accepted and not judged, for memory is taken to be sequentially consistent ---


def READ_ONCE(field: T) -> T:  # noqa: N802 - the kernel's word
    """Read a field: one step, as without it."""
    never_run("READ_ONCE()")


def WRITE_ONCE(field: T, value: T) -> None:  # noqa: N802 - the kernel's word
    """Write a field: one step, as without it."""
    never_run("WRITE_ONCE()")


def smp_load_acquire(field: T) -> T:
    """Read a field: one step."""
    never_run("smp_load_acquire()")


def smp_store_release(field: T, value: T) -> None:
    """Write a field: one step."""
    never_run("smp_store_release()")


def smp_mb() -> None:
    """Order all accesses: no step."""
    never_run("smp_mb()")


def smp_rmb() -> None:
    """Order reads: no step."""
    never_run("smp_rmb()")


def smp_wmb() -> None:
    """Order writes: no step."""
    never_run("smp_wmb()")


# ---- the plan ------------------------------------------------------------------------------------


class SecondaryMMU:
    """A locking plan: derive from it and write the hooks that the client has.

    `page_fault(self, gfn, write)` is called when the guest touches a page that has no spte, and returns
    REPLAY, MAPPED or FAULT. `invalidate_range_start(self, r)`, `invalidate_range_end(self, r)` and, in 2008,
    `invalidate_page(self, gfn)` are called by the mm; one that the plan lacks does nothing. In the current era
    `invalidate_range_start` may return -EAGAIN where `r.blockable` is False; `invalidate(self, r, cur_seq)` makes the
    plan an interval notifier's; and `arch_invalidate_secondary_tlbs(self, r)` is called with the CPU's TLB flush.
    In the era of 2005 `ioproc_invalidate_range(self, r)`, `ioproc_invalidate_page(self, gfn)` and
    `ioproc_update_page(self, gfn, page, write)` are called under the page table lock.
    """

    #: The kernel's notifier of that time: '2008', 'current' (Linux 6.12), or '2005', with ioproc hooks.
    era: ClassVar[str] = "2008"
    #: The locks under which the mm walks its reverse map: 'spinning', or 'sleeping' for methods that sleep.
    flavour: ClassVar[str] = "spinning"
    #: What the hardware translates by: 'own' sptes, 'pinned' ones, which own references, or the 'cpu' page table.
    sptes: ClassVar[str] = "own"
    #: What the mm may do to the plan, of the operations of its era; all of them if the plan does not say.
    operations: ClassVar[tuple[str, ...]]
    #: The client's own operations: methods without parameters, each of which a CPU of its own runs once.
    own: ClassVar[tuple[str, ...]]
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

    def tfh_read(self, gfn: Gfn) -> None:
        """Read the entry of the miss at `gfn` in the TLB fault handle of a GRU: one step."""
        never_run("tfh_read()")

    def tfh_write_restart(self, gfn: Gfn, page: Page, write: bool) -> None:
        """Drop a translation into the TLB: one step, ignored if a flush of `gfn` came since tfh_read()."""
        never_run("tfh_write_restart()")

    def zap(self, r: GfnRange | Gfn) -> None:
        """Clear the sptes of a range or a page, one a step, and flush the secondary TLB."""
        never_run("zap()")

    def zap_sptes(self, r: GfnRange | Gfn) -> None:
        """Clear the sptes of a range or a page, one a step: `zap` without its flush."""
        never_run("zap_sptes()")

    def mmu_interval_read_begin(self) -> int:
        """Return the subscription's sequence number, when no invalidation of it is under way; may sleep."""
        never_run("mmu_interval_read_begin()")

    def mmu_interval_read_retry(self, seq: int) -> bool:
        """Say whether an invalidation has begun since `seq`: one step, under the lock that `invalidate` takes."""
        never_run("mmu_interval_read_retry()")

    def mmu_interval_set_seq(self, cur_seq: int) -> None:
        """Note in the subscription that an invalidation has begun: one step, under the same lock."""
        never_run("mmu_interval_set_seq()")

    def mmu_notifier_unregister(self) -> None:
        """Release the client, take it off the list of the mm's notifiers, and wait until nobody is calling it."""
        never_run("mmu_notifier_unregister()")

    def flush(self, r: GfnRange | Gfn | None = None) -> None:
        """Flush a range, a page or everything from the secondary TLB of every vCPU."""
        never_run("flush()")
