# SPDX-License-Identifier: Apache-2.0
"""Follow the snapshots of a counter through the steps of a CPU.

A *snapshot* is a local that is set from the counter, from another snapshot, or from a shared field that holds one. At
each point of a path it has a status: NONE (it need not hold a value of the counter), FRESH (it surely holds the
counter's value of now), STALE (it surely holds an earlier one), or SOME (it holds one of the two). Between two steps
other CPUs may change the counter, so FRESH becomes SOME, unless the CPU holds a lock under which nobody else changes it
(reduce/locks.py). Where paths meet, the lesser status holds. A snapshot that no step will read again is NONE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as Names
from dataclasses import dataclass, field, replace

from unpinned.ir.bounds import statements
from unpinned.ir.liveness import live_locals
from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Note,
    Op,
    Set,
    Shared,
    Step,
    Stmt,
    System,
    Thread,
    leaves,
    reads,
)
from unpinned.ir.rules import LIMIT
from unpinned.reduce.locks import Held, exclude, find_locks, taken

NONE, SOME, FRESH, STALE = range(4)

#: The status of each snapshot of a thread; those that are not named are NONE.
Status = Mapping[str, int]


class GiveUpError(Exception):
    """The counter must stay, for the reason given."""

    def __init__(self, why: str, step: Step | None = None) -> None:
        where = f" ({step.pos.short})" if step is not None else ""
        super().__init__(why + where)


@dataclass(slots=True)
class Versions:
    """The snapshots of one counter, and what is known of them.

    `fields` are other shared variables that hold values of the counter.
    `system` is the full one without steps out of reach, and without notes and dead checks that name the snapshots.
    `names[thread]` are its snapshots, `live[thread][place]` those that are read again from there, and
    `status[thread][place]` what is known of them there; None for a place that no path leads to.

    :raises GiveUpError: if a snapshot may hold anything else, or is an array.
    """

    full: System
    counter: str
    fields: frozenset[str] = frozenset()
    system: System = field(init=False)
    names: tuple[frozenset[str], ...] = field(init=False)
    live: tuple[tuple[frozenset[str], ...], ...] = field(init=False)
    status: tuple[tuple[Status | None, ...], ...] = field(init=False)
    _safe: tuple[tuple[bool, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Find the snapshots and follow them."""
        threads = tuple(map(_reached, self.full.threads))
        self.names = tuple(_snapshots(thread, self.fields | {self.counter}) for thread in threads)
        threads = tuple(map(self._bare, threads, self.names))
        self.system = replace(self.full, threads=threads)
        self.live = tuple(
            tuple(live & names for live in live_locals(thread))
            for thread, names in zip(threads, self.names, strict=True)
        )
        self._safe = _safe_places(self.system, self.counter)
        self.status = tuple(self._follow(number) for number in range(len(threads)))

    def names_in(self, thread: int, expr: Expr) -> bool:
        """Tell whether an expression reads the counter, one of the fields or a snapshot."""
        return any(self.is_version(thread, ref) for ref in reads(expr))

    def is_version(self, thread: int, expr: Expr) -> bool:
        """Tell whether an expression is the counter itself, one of the fields or a snapshot."""
        if isinstance(expr, Shared):
            return expr.name == self.counter or expr.name in self.fields
        return isinstance(expr, Local) and expr.name in self.names[thread]

    def is_bound(self, thread: int, cond: Expr, least: Callable[[Expr], int], limit: bool) -> bool:
        """Tell whether a check is true of every value that the counter takes; of a limit, its upper bound apart.

        :param least: the least value that the counter or a snapshot can have here.
        """
        match cond:
            case Op("and", (left, right)):
                return self.is_bound(thread, left, least, limit) and self.is_bound(thread, right, least, limit)
            case Op(">=", (value, Const(bound))) | Op("<=", (Const(bound), value)):
                version, k = bump_of(value) or (value, 0)
                return self.is_version(thread, version) and least(version) + k >= bound
            case Op("<=" | "<", (value, Const())):
                version, _ = bump_of(value) or (value, 0)
                return limit and self.is_version(thread, version) and least(version) >= 0
        return False

    def after(self, thread: int, stmt: Stmt, status: Status) -> Status:
        """Return what is known of a thread's snapshots after a statement of its own."""
        if not isinstance(stmt, Set):
            return status
        if isinstance(stmt.target, Shared):
            if stmt.target.name != self.counter:
                return status
            return {name: STALE if known else NONE for name, known in status.items()}
        if stmt.target.name not in self.names[thread]:
            return status
        match stmt.value:
            case Shared(name):
                known = FRESH if name == self.counter else SOME
            case Local(name):
                known = status.get(name, NONE)
            case _:
                known = NONE
        return {**status, stmt.target.name: known}

    def _bare(self, thread: Thread, names: frozenset[str]) -> Thread:
        """Return a thread without notes on the counter and its snapshots, and without checks that nobody looks at."""

        def named(expr: Expr) -> bool:
            return any(
                ref.name in ({self.counter} | self.fields if isinstance(ref, Shared) else names) for ref in reads(expr)
            )

        def kept(stmt: Stmt) -> bool:
            if isinstance(stmt, Note):
                return not any(named(value) for _, _, value in stmt.args)
            if isinstance(stmt, Check) and stmt.rule not in self.full.promised and stmt.rule != LIMIT:
                return not named(stmt.cond)
            return True

        def rewrite(body: Body) -> Body:
            end = body.end
            if isinstance(end, Branch):
                end = replace(end, then=rewrite(end.then), orelse=rewrite(end.orelse))
            return Body(tuple(filter(kept, body.stmts)), end)

        return replace(thread, steps=tuple(replace(step, body=rewrite(step.body)) for step in thread.steps))

    def _follow(self, number: int) -> tuple[Status | None, ...]:
        """Return what is known at each place of a thread."""
        steps = self.system.threads[number].steps
        known: list[Status | None] = [None] * (len(steps) + 1)
        known[0] = {}
        work = [0]
        while work:
            place = work.pop()
            before = known[place]
            if place == len(steps) or before is None:
                continue
            for target, status in self._ends(number, steps[place].body, before):
                seen = known[target]
                now = status if seen is None else {n: min(s, status.get(n, NONE)) for n, s in seen.items()}
                if now != seen:
                    known[target] = now
                    work.append(target)
        return tuple(known)

    def _ends(self, number: int, body: Body, status: Status) -> Iterator[tuple[int, Status]]:
        """Yield for each path through a tree where it goes, and what is known when its thread takes the next step."""
        for stmt in body.stmts:
            status = self.after(number, stmt, status)
        if isinstance(body.end, Branch):
            yield from self._ends(number, body.end.then, status)
            yield from self._ends(number, body.end.orelse, status)
            return
        target = body.end.target
        after = {}
        for name in self.live[number][target]:
            known = status.get(name, NONE)
            keeps = known == NONE or (known == FRESH and self._safe[number][target])
            after[name] = known if keeps else SOME
        yield target, after


def _reached(thread: Thread) -> Thread:
    """Return a thread whose steps that no path leads to do nothing for ever."""
    seen, work = {0}, [0]
    for place in work:
        if place < len(thread.steps):
            targets = {goto.target for _, goto in leaves(thread.steps[place].body)} - seen
            seen |= targets
            work += targets
    steps = (
        step if place in seen else replace(step, body=Body((), Goto(place))) for place, step in enumerate(thread.steps)
    )
    return replace(thread, steps=tuple(steps))


def _snapshots(thread: Thread, sources: Names[str]) -> frozenset[str]:
    """Return the locals of a thread that are set from some shared variables or from another of them.

    :raises GiveUpError: if one may be set to anything but that and its initial value, or is an array.
    """
    stores = [(step, stmt) for step in thread.steps for stmt in statements(step.body) if isinstance(stmt, Set | Choose)]
    copies: dict[str, set[str]] = {}
    names: set[str] = set()
    for _, stmt in stores:
        if isinstance(stmt, Set) and isinstance(stmt.target, Local):
            if isinstance(stmt.value, Shared) and stmt.value.name in sources:
                names.add(stmt.target.name)
            elif isinstance(stmt.value, Local):
                copies.setdefault(stmt.value.name, set()).add(stmt.target.name)
    work = list(names)
    while work:
        more = copies.get(work.pop(), set()) - names
        names |= more
        work += more
    variables = {var.name: var for var in thread.locals}
    for step, stmt in stores:
        if not isinstance(stmt.target, Local) or stmt.target.name not in names:
            continue
        var = variables[stmt.target.name]
        if var.size > 1 or stmt.target.index is not None:
            raise GiveUpError(f"its snapshot {var.name} is an array", step)
        value = stmt.value if isinstance(stmt, Set) else None
        good = (
            value == Const(var.init)
            or (isinstance(value, Shared) and value.name in sources)
            or (isinstance(value, Local) and value.name in names and value.index is None)
        )
        if not good:
            raise GiveUpError(f"its snapshot {var.name} may hold something else", step)
    return frozenset(names)


def _safe_places(system: System, counter: str) -> tuple[tuple[bool, ...], ...]:
    """Say for each place of each thread whether no other thread can change the counter while a CPU stands there."""
    locks = find_locks(system)

    def changes(body: Body, held: Held) -> Iterator[Held]:
        for stmt in body.stmts:
            if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name == counter:
                yield held
            held |= taken(stmt, locks.names)
        if isinstance(body.end, Branch):
            yield from changes(body.end.then, held)
            yield from changes(body.end.orelse, held)

    under = [
        {held for place, step in enumerate(thread.steps) for held in changes(step.body, locks.held[t][place])}
        for t, thread in enumerate(system.threads)
    ]
    return tuple(
        tuple(all(exclude(held, u) for o, others in enumerate(under) if o != t for u in others) for held in places)
        for t, places in enumerate(locks.held)
    )


def bump_of(value: Expr) -> tuple[Local | Shared, int] | None:
    """Read `version + k` for a constant k; None if the expression is no such sum."""
    match value:
        case Op("+", (Local() | Shared() as version, Const(k)) | (Const(k), Local() | Shared() as version)):
            return version, k
    return None


def only_grows(system: System, counter: str) -> None:
    """Look at every store to a shared variable.

    :raises GiveUpError: if one does not add a positive constant to something.
    """
    for thread in system.threads:
        for step in thread.steps:
            for stmt in statements(step.body):
                if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name == counter:
                    added = bump_of(stmt.value)
                    if added is None or added[1] <= 0:
                        raise GiveUpError("it does not only grow", step)
