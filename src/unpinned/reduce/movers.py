# SPDX-License-Identifier: Apache-2.0
"""Say of a path through a step whether it moves: whether it may change places with the steps of other CPUs.

Two accesses conflict if they may meet in one element of a shared variable and one of them writes, unless both can
never be at hand at once because of a lock (reduce/locks.py): the one that is at hand runs under what its CPU holds
before the step, and under what it took earlier in the step. For while a CPU stands before a step that it would take
under a lock, nobody can take a step under the same lock, nor take that lock, if one of the two holds it alone.

Reads are those of checks too, but only of those that engines look at: of a promised rule or a limit. What guest
hardware and invariants read is read without any lock, so most accesses to sptes and TLB entries move nowhere.

A path through a step of CPU A, taken just before a step b of CPU B, *moves right* if it conflicts with no step of
another CPU and releases no lock: then b can be taken first, with the same result; and if b breaks a rule, it breaks it
without A's step too. To take a lock moves right. If A has it alone, b can neither take nor release it. If A shares it,
nobody has it alone; another CPU that joins or leaves commutes, and finds the same room for one more.

A path taken just after b *moves left* if it conflicts with no step of another CPU and takes no lock: then it can be
taken before b, with the same result; and if b breaks a rule, it still does. To release a lock moves left: b came before
it, so b neither took the lock nor needed it free, unless both share it, and then there is more room without A.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from unpinned.ir.program import (
    TRUE,
    Body,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Op,
    Set,
    Shared,
    Stmt,
    System,
    Thread,
    Var,
    Wait,
    reads,
)
from unpinned.reduce.locks import Held, exclude, find_locks, released, taken, uses


@dataclass(frozen=True, slots=True)
class Access:
    """An access to a shared variable: the elements that it may meet as a bit mask, and whether it writes."""

    name: str
    elements: int
    writes: bool


@dataclass(frozen=True, slots=True)
class Path:
    """What a path did so far: whether it still moves right and left, whether it can block, and what it runs under."""

    held: Held
    right: bool = True
    left: bool = True
    blocks: bool = False


@dataclass(slots=True)
class Movers:
    """Know every access of a system, and judge paths by them. `notes` say which variables are no locks."""

    system: System
    notes: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    held: tuple[tuple[Held, ...], ...] = ()
    _shared: dict[str, Var] = field(default_factory=dict)
    _locals: list[dict[str, Var]] = field(default_factory=list)
    _known: list[dict[str, dict[tuple[int, bool, Held], None]]] = field(default_factory=list)
    _alone: dict[tuple[int, Access, Held], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Collect the accesses of every step."""
        locks = find_locks(self.system)
        self.notes, self.names, self.held = locks.notes, locks.names, locks.held
        self._shared = {var.name: var for var in self.system.shared}
        self._locals = [{var.name: var for var in thread.locals} for thread in self.system.threads]
        for t, thread in enumerate(self.system.threads):
            self._known.append({})
            self._collect(t, thread)

    def start(self, thread: int, place: int) -> Path:
        """Return the path that has not begun the step at `place` yet."""
        return Path(self.held[thread][place])

    def run(self, thread: int, path: Path, stmt: Stmt) -> Path:
        """Return the path after a statement."""
        if isinstance(stmt, Wait) or (isinstance(stmt, Choose) and not self._has_a_choice(thread, stmt)):
            path = replace(path, blocks=True)
        path = self._judged(thread, path, self._accesses(thread, stmt))
        if took := taken(stmt, self.names):
            path = replace(path, held=path.held | took, left=False)
        if released(stmt, self.names):
            path = replace(path, right=False)
        return path

    def look(self, thread: int, path: Path, cond: Expr) -> Path:
        """Return the path after the condition of a branch."""
        return self._judged(thread, path, self._reads(thread, cond))

    def _judged(self, thread: int, path: Path, accesses: Iterator[Access]) -> Path:
        for access in accesses:
            if not self._is_alone(thread, access, path.held):
                return replace(path, right=False, left=False)
        return path

    def _is_alone(self, thread: int, access: Access, held: Held) -> bool:
        """Tell whether no other CPU can make an access that conflicts."""
        key = thread, access, held
        if key not in self._alone:
            self._alone[key] = not any(
                (access.writes or writes) and access.elements & elements and not exclude(held, theirs)
                for t, known in enumerate(self._known)
                if t != thread
                for elements, writes, theirs in known.get(access.name, ())
            )
        return self._alone[key]

    # ---- what a step accesses

    def _collect(self, t: int, thread: Thread) -> None:
        def note(accesses: Iterator[Access], held: Held) -> None:
            for access in accesses:
                self._known[t].setdefault(access.name, {})[access.elements, access.writes, held] = None

        def walk(body: Body, held: Held) -> None:
            for stmt in body.stmts:
                note(self._accesses(t, stmt), held)
                held |= taken(stmt, self.names)
            if not isinstance(body.end, Goto):
                note(self._reads(t, body.end.cond), held)
                walk(body.end.then, held)
                walk(body.end.orelse, held)

        for place, step in enumerate(thread.steps):
            walk(step.body, self.held[t][place])

    def _accesses(self, thread: int, stmt: Stmt) -> Iterator[Access]:
        for expr in uses(stmt, self.system.promised):
            yield from self._reads(thread, expr)
        if isinstance(stmt, Set) and isinstance(stmt.target, Shared) and stmt.target.name not in self.names:
            yield Access(stmt.target.name, self._elements(thread, stmt.target), writes=True)

    def _reads(self, thread: int, expr: Expr) -> Iterator[Access]:
        for ref in reads(expr):
            if isinstance(ref, Shared) and ref.name not in self.names:
                yield Access(ref.name, self._elements(thread, ref), writes=False)

    def _elements(self, thread: int, ref: Shared) -> int:
        """Return the elements that a reference may mean, as far as the bounds of what its index reads tell."""
        size = self._shared[ref.name].size
        if ref.index is None:
            return 1
        lo, hi = self._range(thread, ref.index)
        lo, hi = max(lo, 0), min(hi, size - 1)
        return ((1 << (hi + 1)) - 1) & ~((1 << lo) - 1) if lo <= hi else (1 << size) - 1

    def _has_a_choice(self, thread: int, stmt: Choose) -> bool:
        """Tell whether a choice never blocks: some value is always there."""
        return stmt.where == TRUE and self._range(thread, stmt.lo)[1] < self._range(thread, stmt.hi)[0]

    def _range(self, thread: int, expr: Expr) -> tuple[int, int]:
        """Return bounds of the values of an expression."""
        match expr:
            case Const(value):
                return value, value
            case Local(name):
                return self._locals[thread][name].lo, self._locals[thread][name].hi
            case Shared(name):
                return self._shared[name].lo, self._shared[name].hi
            case Op("+" | "-" | "*" as op, (left, right)):
                (a, b), (c, d) = self._range(thread, left), self._range(thread, right)
                if op == "+":
                    return a + c, b + d
                if op == "-":
                    return a - d, b - c
                ends = (a * c, a * d, b * c, b * d)
                return min(ends), max(ends)
            case Op("?:", (_, then, orelse)):
                (a, b), (c, d) = self._range(thread, then), self._range(thread, orelse)
                return min(a, c), max(b, d)
        return 0, 1
