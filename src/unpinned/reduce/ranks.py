# SPDX-License-Identifier: Apache-2.0
"""Let a counter count without end where only the order of its values matters: a pass over systems.

Where reduce/snapshots.py must leave a counter as it is, because its values are kept in shared fields too (the sequence
number that a subscription of the interval notifier saw last), or because two snapshots are compared with each other,
what it counts to still does not matter. What matters is which of its values that are held somewhere are equal, and
which is the older. So a search may take for one any two states that differ only in these values, in the same order: of
all of them it keeps the one in which they are *ranks*, 1 for the oldest up to the number of different ones, and 0 for
0 (engine/canonical.py renumbers the packed states, `Ranks` those of ir/layout.py). Held values are few, so ranks are
small numbers, however far the counter has come.

**Why it is exact.** Call the counter and all variables that hold its values a *family*. Call two states alike if they
agree outside the family, and a function that keeps the order and leaves 0 as it is takes the family's values in one to
those in the other. Alike states take the same steps to alike states: copies and comparisons are the same on both sides,
and so is 0, which says "none" or is what a dead local is reset to. A positive number is added to the counter alone, and
only to its own value of now: before, no value of the family was greater, so that the new one is greater than all in
both states. As with snapshots.py it is **any number of bumps**; it is assumed that the real counter does not wrap round
to a value that is still held, and the checks that keep it within the model's bound are dropped.

**Conditions.** Each is checked, and where one fails the counter stays and a note says where:

- The counter is one shared variable, only ever set to itself plus a positive constant: directly, or by way of a
  snapshot that is surely fresh there (reduce/versions.py), so that no bump is lost and none comes back.
- The family is set from the family, or to 0: the rest of the program stores nothing else in it, and is told nothing of
  its values but by ==, !=, <, <=, > and >= among them or with 0. No sums, no parity, no index, no choice. At first no
  value of the family is greater than the counter.
- Checks on it are bounds: of a limit, which are dropped, or such as are true of every number that is not negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from unpinned.ir.bounds import bounds, statements
from unpinned.ir.layout import Layout, Slot
from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Local,
    Op,
    Set,
    Shared,
    Step,
    Stmt,
    System,
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT
from unpinned.reduce.alike import SHARED, Family, Key
from unpinned.reduce.kinds import conditions, expressions
from unpinned.reduce.versions import FRESH, NONE, GiveUpError, Status, Versions, bump_of, only_grows

#: The greatest number that a family may come to before it is renumbered: a word has a bit for each.
MOST: Final = 62
_COMPARED: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_ZERO: Final = Const(0)


def rank_counters(system: System, counters: Iterable[str]) -> tuple[System, tuple[Family, ...], dict[str, str]]:
    """Return the system in which some counters have no limit, their families, and why others stay.

    It is to be searched with the families renumbered after each step; its variables are then wide enough.
    """
    families: list[Family] = []
    staying: dict[str, str] = {}
    for name in counters:
        try:
            only_grows(system, name)
            system, family = _Ranker(Versions(system, name, _fields(system, name)), name).ranked()
            families.append(family)
        except GiveUpError as error:
            staying[name] = str(error)
    return system, tuple(families), staying


def _fields(system: System, counter: str) -> frozenset[str]:
    """Return the other shared variables that values of a counter are stored in, come from, or are compared with.

    Directly, or by way of others: all of them must be of its family.
    """
    near: dict[Key, set[Key]] = {}
    for t, thread in enumerate(system.threads):
        for step in thread.steps:
            for pair in _pairs(step.body):
                for one, other in (pair, pair[::-1]):
                    near.setdefault(_key(t, one), set()).add(_key(t, other))
    found = [(SHARED, counter)]
    for at in found:
        found += sorted(near.get(at, set()) - set(found))
    return frozenset(name for t, name in found if t == SHARED and name != counter)


def _pairs(body: Body) -> Iterator[tuple[Local | Shared, Local | Shared]]:
    """Yield the pairs of variables of which one is set from the other, or compared with it."""
    exprs = list(conditions(body))
    for stmt in statements(body):
        exprs += expressions(stmt)
        if isinstance(stmt, Set) and isinstance(stmt.value, Local | Shared):
            yield stmt.target, stmt.value
    for expr in exprs:
        if isinstance(expr, Op):
            exprs += expr.args
            if expr.op in _COMPARED:
                one, other = expr.args
                if isinstance(one, Local | Shared) and isinstance(other, Local | Shared):
                    yield one, other


def _key(thread: int, ref: Local | Shared) -> Key:
    return (SHARED if isinstance(ref, Shared) else thread), ref.name


@dataclass(slots=True)
class _Ranker:
    """Hold a counter's family against the conditions, and take away its bounds."""

    versions: Versions
    counter: str
    most: int = 0  # what a step may add
    thread: int = 0
    step: Step | None = None
    stored: dict[str, Step | None] = field(default_factory=dict)

    def ranked(self) -> tuple[System, Family]:
        """Return the system without bounds on the family, and the family.

        :raises GiveUpError: if a condition fails.
        """
        old = self.versions.system
        threads = []
        for self.thread, thread in enumerate(old.threads):
            steps = []
            for place, self.step in enumerate(thread.steps):
                status = self.versions.status[self.thread][place]
                body = self.step.body if status is None else self.body(self.step.body, status)
                steps.append(replace(self.step, body=body))
            threads.append(replace(thread, steps=tuple(steps)))
        self.step = None
        for self.thread, flag in enumerate(old.faulting):
            if flag is not None:
                self.expr(flag)
        names = self.versions.fields | {self.counter}
        members = [var for var in old.shared if var.name in names]
        own = [
            [var for var in thread.locals if var.name in mine]
            for thread, mine in zip(threads, self.versions.names, strict=True)
        ]
        self._look_at(members, [var for some in own for var in some])
        first = sorted({0, *(var.init for var in members)})
        held = sum(var.size for var in members) + sum(map(len, own))
        if held + self.most > MOST:
            raise GiveUpError(f"{held} variables may hold its values, and one step may add {self.most} to it")
        high = held + self.most

        def wide(var: Var, held: frozenset[str]) -> Var:
            return replace(var, lo=0, hi=high, init=first.index(var.init)) if var.name in held else var

        shared = tuple(wide(var, names) for var in old.shared)
        for t, mine in enumerate(self.versions.names):
            threads[t] = replace(threads[t], locals=tuple(wide(var, mine) for var in threads[t].locals))
        made = replace(old, shared=shared, threads=tuple(threads))
        # Locals of one name are packed alike, those of other threads that are not of the family, too.
        for (_, name), (low, _) in bounds(made).items():
            if low < 0 and any(name in mine for mine in (names, *self.versions.names)):
                raise GiveUpError(f"{name} of another CPU may be negative")
        keys = [(SHARED, var.name) for var in members] + [(t, var.name) for t, some in enumerate(own) for var in some]
        return made, tuple(keys)

    def _look_at(self, members: list[Var], own: list[Var]) -> None:
        """Look at what the family is declared for and begins with."""
        counter = next(var for var in members if var.name == self.counter)
        if counter.size > 1:
            raise GiveUpError("it is an array")
        # A local that is not dirty is not in a packed state, so that its first value cannot be renumbered.
        for most, variables in ((counter.init, members), (0, own)):
            for var in variables:
                if var.type != "int":
                    raise GiveUpError(f"{var.name} may hold something else", self.stored.get(var.name))
                if not 0 <= var.init <= most:
                    raise GiveUpError(f"{var.name} begins as {var.init}")

    def body(self, body: Body, status: Status, added: int = 0) -> Body:
        """Return a tree without bounds; `status` is what is known before it, `added` what was added on the way."""
        stmts: list[Stmt] = []
        for stmt in body.stmts:
            if not self.is_dropped(stmt):
                added += self.stmt(stmt, status)
                stmts.append(stmt)
            status = self.versions.after(self.thread, stmt, status)
        self.most = max(self.most, added)
        if isinstance(body.end, Branch):
            self.expr(body.end.cond)
            then, orelse = (self.body(way, status, added) for way in (body.end.then, body.end.orelse))
            return Body(tuple(stmts), replace(body.end, then=then, orelse=orelse))
        return Body(tuple(stmts), body.end)

    def is_dropped(self, stmt: Stmt) -> bool:
        """Tell whether a statement is a check that only bounds the family."""
        return isinstance(stmt, Check) and self.versions.is_bound(
            self.thread, stmt.cond, lambda _: 0, limit=stmt.rule == LIMIT
        )

    def stmt(self, stmt: Stmt, status: Status) -> int:
        """Look at a statement, and return what it adds to the counter."""
        match stmt:
            case Set(target, value) if self.is_version(target):
                self.index(target)
                self.stored.setdefault(target.name, self.step)
                if isinstance(target, Shared) and target.name == self.counter:
                    return self.bump(value, status)
                if self.is_version(value):
                    self.index(value)
                elif value != _ZERO:
                    raise GiveUpError(f"{target.name} may hold something else", self.step)
            case Set(target, value):
                self.index(target)
                self.expr(value)
            case Choose(target, lo, hi, where):
                self.index(target)
                for expr in (lo, hi, where):
                    self.expr(expr)
            case Wait(cond) | Check(cond, _, _):
                self.expr(cond)
        return 0

    def bump(self, value: Expr, status: Status) -> int:
        """Look at what the counter is set to, and return what is added to it."""
        bump = bump_of(value)
        if bump is None or not self.is_version(bump[0]):
            raise GiveUpError("it is set otherwise than by adding to it", self.step)
        version, added = bump
        if isinstance(version, Local):
            fresh = version.index is None and status.get(version.name, NONE) == FRESH
        else:
            fresh = version == Shared(self.counter)
        if not fresh:
            raise GiveUpError("two CPUs may add to it at once, and one bump be lost", self.step)
        return added

    def expr(self, expr: Expr) -> None:
        """Look at an expression: the family is only compared."""
        if self.is_version(expr):
            raise GiveUpError("it is not only compared with values of it", self.step)
        if isinstance(expr, Local | Shared):
            self.index(expr)
        elif isinstance(expr, Op):
            versions = [arg for arg in expr.args if self.is_version(arg)]
            if expr.op in _COMPARED and versions and all(arg in versions or arg == _ZERO for arg in expr.args):
                for arg in versions:
                    self.index(arg)
            else:
                for arg in expr.args:
                    self.expr(arg)

    def index(self, ref: Expr) -> None:
        """Look at what a variable is indexed by."""
        if isinstance(ref, Local | Shared) and ref.index is not None:
            self.expr(ref.index)

    def is_version(self, expr: Expr) -> bool:
        """Tell whether an expression is of the family."""
        return self.versions.is_version(self.thread, expr)


class Ranks:
    """Renumber the families of a state of ir/layout.py."""

    def __init__(self, families: Iterable[Family], lay: Layout) -> None:
        self.families = [[_slot(lay, key) for key in family] for family in families]

    def renumbered(self, state: bytes) -> bytes:
        """Return the state in which the values of each family are ranks."""
        out = bytearray(state)
        for slots in self.families:
            cells = [at for slot in slots for at in range(slot.at, slot.at + slot.var.size)]
            rank = {value: number for number, value in enumerate(sorted({0, *(state[at] for at in cells)}))}
            for at in cells:
                out[at] = rank[state[at]]
        return bytes(out)

    def orders(self, state: bytes) -> list[list[int]]:
        """Return for each family the ranks of its values, in a state in which they may be any numbers."""
        found = []
        for slots in self.families:
            values = [state[at] - slot.bias for slot in slots for at in range(slot.at, slot.at + slot.var.size)]
            rank = {value: number for number, value in enumerate(sorted({0, *values}))}
            found.append([rank[value] for value in values])
        return found


def _slot(lay: Layout, key: Key) -> Slot:
    thread, name = key
    return lay.shared[name] if thread == SHARED else lay.locals[thread][name]
