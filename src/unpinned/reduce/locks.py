# SPDX-License-Identifier: Apache-2.0
"""Find the variables that are locks, and say which locks a CPU surely holds at each of its steps.

A shared variable of one element, of a lock's type and at first 0, is a lock if every access to it, in any thread, is

- taking it alone: `Wait(lock == 0)`, then on every path through the step, and before anything else looks at the lock,
  `lock = c` for a constant c that is not 0; or taking it with others: `Wait(lock < c)`, then `lock = lock + 1`, where c
  is the constant of those who take it alone; or
- releasing it by a CPU that surely holds it: `lock = 0` if it was taken alone, `lock = lock - 1` if with others.

Anything else (a look at the lock, a trylock, a release by somebody else) makes the variable no lock, and a note says
where. What is surely held at a step is what every path through the thread to that step has taken and not released.

Then, by induction over steps: if some CPU holds the lock alone, its value is c and nobody else holds it; otherwise its
value is the number of those who hold it with others. For it can be taken alone at 0 only, and at c by nobody. So two
CPUs never both stand at steps at which both surely hold the lock and one of them holds it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from unpinned.ir.program import (
    LOCK_TYPES,
    Body,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Op,
    Set,
    Shared,
    Step,
    Stmt,
    System,
    Thread,
    Wait,
    reads,
)
from unpinned.ir.rules import LIMIT

#: Locks that a CPU holds: their names, and whether it holds them alone.
Held = frozenset[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks of a system: `names`, and `held[thread][place]`, what is surely held before each step.

    At a place that no path leads to, everything is held. `notes` say which variables are no locks, and why.
    """

    names: frozenset[str]
    held: tuple[tuple[Held, ...], ...]
    notes: tuple[str, ...]


def exclude(one: Held, other: Held) -> bool:
    """Tell whether two CPUs cannot hold these locks at the same time."""
    return any((name, True) in other or (alone and (name, False) in other) for name, alone in one)


def taken(stmt: Stmt, names: frozenset[str]) -> Held:
    """Return the lock that a statement takes, if it takes one."""
    if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name in names:
        match stmt.value:
            case Op("+"):
                return frozenset({(stmt.target.name, False)})
            case Const(value) if value:
                return frozenset({(stmt.target.name, True)})
    return frozenset()


def released(stmt: Stmt, names: frozenset[str]) -> Held:
    """Return the lock that a statement releases, if it releases one."""
    if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name in names:
        match stmt.value:
            case Op("-"):
                return frozenset({(stmt.target.name, False)})
            case Const(0):
                return frozenset({(stmt.target.name, True)})
    return frozenset()


def uses(stmt: Stmt, promised: frozenset[str]) -> tuple[Expr, ...]:
    """Return the expressions that a statement evaluates; the arguments of notes and checks not promised are none."""
    match stmt:
        case Set(target, value):
            return (value,) if target.index is None else (value, target.index)
        case Choose(target, lo, hi, where):
            return (lo, hi, where) if target.index is None else (lo, hi, where, target.index)
        case Wait(cond):
            return (cond,)
        case Check(cond, rule, _) if rule in promised or rule == LIMIT:
            return (cond,)
    return ()


def find_locks(system: System) -> Locks:
    """Return the locks of a system and where they are held."""
    candidates = {v.name for v in system.shared if v.type in LOCK_TYPES and v.size == 1 and v.init == 0}
    scan = _Scan(system, frozenset(candidates))
    for thread in system.threads:
        for step in thread.steps:
            scan.body(step.body, {}, step)
    scan.same_constant()
    names = frozenset(candidates - scan.faults.keys())
    held = [_held(thread, names) for thread in system.threads]
    for thread, before in zip(system.threads, held, strict=True):
        for place, step in enumerate(thread.steps):
            if (now := before[place]) is not None:
                scan.releases(step.body, now, step, names)
    names = frozenset(candidates - scan.faults.keys())
    everything = frozenset((name, True) for name in names)
    known = tuple(tuple(everything if h is None else _of(h, names) for h in before) for before in held)
    notes = tuple(f"{name} is not used as a lock alone: {why}" for name, why in sorted(scan.faults.items()))
    return Locks(names, known, notes)


def _of(held: Held, names: frozenset[str]) -> Held:
    return frozenset((name, alone) for name, alone in held if name in names)


@dataclass(slots=True)
class _Scan:
    """Look at every access to the candidates; `faults` has the first one of each that fits no pattern."""

    system: System
    names: frozenset[str]
    faults: dict[str, str] = field(default_factory=dict)
    bounds: dict[str, set[int]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def body(self, body: Body, waited: dict[str, bool], step: Step) -> None:
        """Go through a tree; `waited` are the locks that the path has waited for and not yet taken."""
        for stmt in body.stmts:
            waited = self.stmt(stmt, waited, step)
        if isinstance(body.end, Goto):
            for name in waited:
                self.fault(name, "is waited for and not taken", step)
        else:
            self.look(body.end.cond, step)
            self.body(body.end.then, waited, step)
            self.body(body.end.orelse, waited, step)

    def stmt(self, stmt: Stmt, waited: dict[str, bool], step: Step) -> dict[str, bool]:
        if isinstance(stmt, Wait) and (free := _free(stmt.cond)) is not None and free[0].name in self.names:
            ref, alone, bound = free
            self.indices(ref, step)
            if ref.name in waited:
                self.fault(ref.name, "is waited for twice", step)
            if not alone:
                self.shared.add(ref.name)
                self.bounds.setdefault(ref.name, set()).add(bound)
            return {**waited, ref.name: alone}
        if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name in self.names:
            name = stmt.target.name
            self.indices(stmt.target, step)
            for other in reads(stmt.value):
                if isinstance(other, Shared) and other.name in self.names - {name}:
                    self.fault(other.name, "is looked at", step)
            self.change(name, stmt.value, waited.get(name), step)
            return {other: alone for other, alone in waited.items() if other != name}
        for expr in uses(stmt, self.system.promised):
            self.look(expr, step)
        return waited

    def change(self, name: str, value: Expr, alone: bool | None, step: Step) -> None:
        """Judge a store to a candidate; `alone` is how the path has waited for it, or None."""
        match value, alone:
            case Const(c), True if c:
                self.bounds.setdefault(name, set()).add(c)
            case Const(0), None:
                pass
            case Op("+", (Shared(read), Const(1))), False if read == name:
                pass
            case Op("-", (Shared(read), Const(1))), None if read == name:
                pass
            case _:
                self.fault(name, "is set otherwise than by taking and releasing it", step)

    def same_constant(self) -> None:
        """Fault the locks that are taken with others up to another number than that of those who take them alone."""
        for name in self.shared:
            if len(self.bounds[name]) > 1:
                self.faults.setdefault(name, "it has more than one value for being held alone")

    def look(self, expr: Expr, step: Step) -> None:
        """Fault every candidate that an expression reads."""
        for ref in reads(expr):
            if isinstance(ref, Shared) and ref.name in self.names:
                self.fault(ref.name, "is looked at", step)

    def indices(self, ref: Shared, step: Step) -> None:
        if ref.index is not None:
            self.look(ref.index, step)

    def fault(self, name: str, what: str, step: Step) -> None:
        self.faults.setdefault(name, f"it {what} ({step.pos.short})")

    def releases(self, body: Body, held: Held, step: Step, names: frozenset[str]) -> None:
        """Fault every lock that is released by a CPU that might not hold it."""
        for stmt in body.stmts:
            for name, _ in released(stmt, names) - held:
                self.fault(name, "is released where it might not be held", step)
            held = (held | taken(stmt, names)) - released(stmt, names)
        if not isinstance(body.end, Goto):
            self.releases(body.end.then, held, step, names)
            self.releases(body.end.orelse, held, step, names)


def _free(cond: Expr) -> tuple[Shared, bool, int] | None:
    """Read the condition on which a lock is taken: the lock, whether alone, and the number that must not be reached."""
    match cond:
        case Op("not", (Shared() as ref,)) | Op("==", (Shared() as ref, Const(0)) | (Const(0), Shared() as ref)):
            return ref, True, 0
        case Op("<", (Shared() as ref, Const(bound))) if bound > 0:
            return ref, False, bound
    return None


def _held(thread: Thread, names: frozenset[str]) -> list[Held | None]:
    """Return what every path to a place has taken and not released; None where no path leads."""
    held: list[Held | None] = [None] * (len(thread.steps) + 1)
    held[0] = frozenset()
    work = [0]
    while work:
        place = work.pop()
        before = held[place]
        if place == len(thread.steps) or before is None:
            continue
        for target, after in set(_ends(thread.steps[place].body, before, names)):
            known = held[target]
            now = after if known is None else known & after
            if now != known:
                held[target] = now
                work.append(target)
    return held


def _ends(body: Body, held: Held, names: frozenset[str]) -> Iterator[tuple[int, Held]]:
    """Yield for each path through a tree where it goes and what is held then."""
    for stmt in body.stmts:
        held = (held | taken(stmt, names)) - released(stmt, names)
    if isinstance(body.end, Goto):
        yield body.end.target, held
    else:
        yield from _ends(body.end.then, held, names)
        yield from _ends(body.end.orelse, held, names)
