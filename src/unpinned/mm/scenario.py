# SPDX-License-Identifier: Apache-2.0
"""Say who is there: so many vCPUs, pages and frames, and which mm operations run beside them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from unpinned.errors import UsageError
from unpinned.plan.vocabulary import OPERATIONS

#: More than these make no sense in a search, and would not fit the model's fields.
MAX_VCPUS, MAX_PAGES, MAX_OPS, MAX_CPUS = 4, 4, 4, 8
#: What threads of the process do: the mm exits once, after the last of them.
OF_THREADS: Final = ("zap", "munmap", "fork", "cow", "mprotect", "mremap")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the mm, on any page or range or on one page only, or one of the client's own."""

    name: str
    page: int | None = None

    @staticmethod
    def read(text: str, pages: int) -> Operation:
        """Read "zap", or "zap@0" for a zap of page 0 alone.

        Another name is one of the client's own, which the plan must have.

        :raises UsageError: if it could be neither, or is aimed at no page among `pages`.
        """
        name, at, page = text.partition("@")
        if name == "exit" and at:
            raise UsageError(f"{text!r}: the mm exits as a whole", hint="Write exit.")
        if name not in OPERATIONS and at:
            what = f"{text!r}: only an operation of the mm is aimed at a page"
            raise UsageError(what, hint=f"Those are: {', '.join(OPERATIONS)}.")
        if name not in OPERATIONS and not name.isidentifier():
            raise UsageError(f"there is no mm operation {name!r}", hint=f"There are: {', '.join(OPERATIONS)}.")
        if at and not (page.isdecimal() and int(page) < pages):
            hint = f"Its pages are {', '.join(map(str, range(pages)))}: write {name}@0, or {name} for any page."
            raise UsageError(f"{text!r} names no page of the scenario", hint=hint)
        return Operation(name, int(page) if at else None)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The bounds of a search: `ops` run once each, and vCPUs fault for ever; each is a task.

    An operation is "zap" or, aimed at one page, "zap@0", or the name of one of the client's own. The tasks share `cpus`
    CPUs; if it is None, each has one of its own.
    """

    vcpus: int
    pages: int
    ops: tuple[str, ...]
    cpus: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that the model does not have.

        :raises UsageError: for those.
        """
        for what, value, most in (("vCPUs", self.vcpus, MAX_VCPUS), ("pages", self.pages, MAX_PAGES)):
            if not 1 <= value <= most:
                raise UsageError(f"{value} {what} cannot be searched", hint=f"Take 1 to {most}.")
        if self.cpus is not None and not 1 <= self.cpus <= MAX_CPUS:
            hint = f"Take 1 to {MAX_CPUS}, or say nothing: then each task has one of its own."
            raise UsageError(f"tasks cannot share {self.cpus} CPUs", hint=hint)
        if not len(self.ops) <= MAX_OPS:
            raise UsageError(f"{len(self.ops)} mm operations cannot be searched", hint=f"Take up to {MAX_OPS}.")
        names = [Operation.read(op, self.pages).name for op in self.ops]
        if "exit" in names and (names.count("exit") > 1 or not set(names).isdisjoint(OF_THREADS)):
            what = "exit comes once, when no thread of the process is left"
            hint = f"Leave out {', '.join(OF_THREADS)}, which are done by its threads, and all but one exit."
            raise UsageError(what, hint=hint)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Return the operations, read."""
        return tuple(Operation.read(op, self.pages) for op in self.ops)

    @property
    def frames(self) -> int:
        """Return how many frames are enough: one a page, and one for each time that a page can be faulted in again.

        That is once for each page after a zap or the OOM reaper, once for the page after a reclaim or a migration, and
        never after another operation, for none frees a page that can be faulted in again. A fork lets each page be
        copied once.
        """
        again = {"zap": self.pages, "oom_reap": self.pages, "fork": self.pages, "reclaim": 1, "migrate": 1}
        most = [self.pages if op.page is None else 1 for op in self.operations]
        return self.pages + sum(min(again.get(op.name, 0), n) for op, n in zip(self.operations, most, strict=True))

    def __str__(self) -> str:
        """Write it as a report does: "1 vCPU, 2 pages, zap + reclaim", or "..., zap on 1 CPU" where tasks share it."""
        counts = Counter(self.ops)
        ops = " + ".join(" + ".join([op] * n) for op, n in counts.items()) or "no mm operation"
        on = "" if self.cpus is None else f" on {_count(self.cpus, 'CPU')}"
        return f"{_count(self.vcpus, 'vCPU')}, {_count(self.pages, 'page')}, {ops}{on}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
