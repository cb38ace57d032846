# SPDX-License-Identifier: Apache-2.0
"""Define the words that only models may use: the mm side of unpinned itself, and models of other things.

A driver may not use them, since hardware gives no such step. Like the words of `unpinned.plan.language` they
are read and never run.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

from unpinned.plan.language import GfnRange, never_run

__all__ = [
    "FRAMES",
    "NONE",
    "PAGES",
    "VCPUS",
    "GfnField",
    "Model",
    "PerCpu",
    "PerFrame",
    "PerVcpu",
    "Pfn",
    "atomic",
    "check",
    "choose",
    "choose_frame",
    "cover",
    "exists",
    "given",
    "limit",
    "lowest",
    "may_sleep",
    "non_blockable",
    "note",
    "per_page",
    "span",
    "this_cpu",
    "wait",
]

#: No frame: the value of a Pfn that holds none.
NONE: Final[Any] = None
#: The pages of the scenario.
PAGES: Final[Any] = None
#: The page frames of the scenario.
FRAMES: Final[Any] = None
#: The vCPUs of the scenario.
VCPUS: Final[Any] = None

# ---- fields --------------------------------------------------------------------------------------


class Model:
    """A part of the modelled world, as `self.mm`, `self.hw` and `self.client` see each other."""

    mm: Any
    hw: Any
    client: Any


class _Value:
    """A field whose value a type checker does not follow."""

    def __get__(self, obj: object | None, owner: type) -> Any:
        """Read the field."""
        return self if obj is None else never_run(type(self).__name__)

    def __set__(self, obj: object, value: Any) -> None:
        """Write the field."""
        never_run(type(self).__name__)


class GfnField(_Value):
    """A guest frame number."""


class Pfn(_Value):
    """The number of a page frame, or NONE (at first)."""


class _Array:
    """One `of` for each of something; may be nested, and is then indexed as `self.tlb[cpu, gfn]`."""

    def __init__(self, of: object) -> None:
        """Declare the field."""

    def __getitem__(self, index: Any) -> Any:
        """Read an element: one step."""
        never_run(type(self).__name__)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write an element: one step."""
        never_run(type(self).__name__)


class PerFrame(_Array):
    """One `of` for each page frame."""


class PerVcpu(_Array):
    """One `of` for each vCPU."""


class PerCpu(_Array):
    """One `of` for each CPU: the vCPUs, and those that run the mm's operations."""


# ---- steps ---------------------------------------------------------------------------------------


def atomic() -> AbstractContextManager[None]:
    """Make one step of the block: `with atomic():`."""
    never_run("atomic()")


def choose(lo: Any, hi: Any = None) -> Any:
    """Return any value of lo..hi-1, or of `x for x in FRAMES if COND`: the search tries each.

    The CPU is held up while no value meets the condition. In place of FRAMES may stand PAGES or VCPUS.
    """
    never_run("choose()")


def lowest(values: Iterable[Any]) -> Any:
    """Return the lowest value of `x for x in FRAMES if COND`; the CPU is held up while there is none."""
    never_run("lowest()")


def exists(values: Iterable[Any]) -> Any:
    """Say whether there is a value in `x for x in FRAMES if COND`."""
    never_run("exists()")


def choose_frame() -> Any:
    """Return any free page frame: the search tries each."""
    never_run("choose_frame()")


def wait(cond: object) -> None:
    """Hold the CPU up until `cond` is true."""
    never_run("wait()")


def check(rule: str, cond: object, text: str) -> None:
    """Break `rule` unless `cond`; `text` is what the report says then."""
    never_run("check()")


def limit(cond: object, text: str) -> None:
    """End the path as undecided unless `cond`: a bound of the model, no fault of the plan."""
    never_run("limit()")


def cover(event: str) -> None:
    """Say that `event` has happened in the search."""
    never_run("cover()")


def note(text: str) -> None:
    """Say in the report what the step does, with {local} for values."""
    never_run("note()")


def may_sleep(text: str) -> None:
    """Break `sleep-in-atomic` if a spinlock is held; `text` names what sleeps."""
    never_run("may_sleep()")


def given(word: str) -> bool:
    """Say whether the plan has a hook of that name, calls that word or says it of itself, or an operation of it runs.

    It stands alone as the condition of an `if`, of which only the side that is taken is lowered.
    """
    never_run("given()")


def non_blockable(r: GfnRange) -> GfnRange:
    """Return the range as it is handed to a method that may not block."""
    never_run("non_blockable()")


def this_cpu() -> Any:
    """Return the number of the CPU that runs this."""
    never_run("this_cpu()")


def per_page(value: Any) -> Any:
    """Return a local array with `value` for each page."""
    never_run("per_page()")


def span(lo: Any, hi: Any) -> GfnRange:
    """Return the range of the pages lo..hi-1."""
    never_run("span()")
