# SPDX-License-Identifier: Apache-2.0
"""Bound the values that variables take, so that a packed state has no bit that is never used.

The analysis joins, whatever the order of steps, all that is ever stored in a variable: it begins at the initial
values and follows every Set and Choose until nothing changes. A value that is stored always fits the variable's own
range (ir/program.py), so each bound is cut to it; one that still grows after some rounds is given up to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from unpinned.ir.program import Body, Branch, Choose, Const, Expr, Local, Op, Set, Shared, Stmt, System, Var

#: A thread's number, or SHARED, and a variable's name.
Key = tuple[int, str]
SHARED: Final = -1

#: (least, greatest); both belong to it.
Interval = tuple[int, int]

_TRUTH: Final[Interval] = (0, 1)
_PATIENCE: Final = 4  # rounds in which a bound may grow before it is given up to the variable's range


class Ranges:
    """What values each variable of a system takes."""

    def __init__(self, system: System) -> None:
        self.declared: dict[Key, Var] = {(SHARED, var.name): var for var in system.shared}
        for t, thread in enumerate(system.threads):
            self.declared |= {(t, var.name): var for var in thread.locals}
        self.found: dict[Key, Interval] = {key: (var.init, var.init) for key, var in self.declared.items()}
        steps = [(t, step) for t, thread in enumerate(system.threads) for step in thread.steps]
        stores = [(t, stmt) for t, step in steps for stmt in _stores(step.body)]
        grown: dict[Key, int] = {}
        changed = True
        while changed:
            changed = False
            for t, stmt in stores:
                key = self.key(stmt.target, t)
                var, (low, high) = self.declared[key], self.found[key]
                new_low, new_high = self.stored(stmt, t)
                joined = (max(var.lo, min(low, new_low)), min(var.hi, max(high, new_high)))
                if joined != (low, high):
                    grown[key] = grown.get(key, 0) + 1
                    self.found[key] = joined if grown[key] < _PATIENCE else (var.lo, var.hi)
                    changed = True

    @staticmethod
    def key(ref: Local | Shared, thread: int) -> Key:
        """Return the key of a variable that `thread` names."""
        return (SHARED if isinstance(ref, Shared) else thread, ref.name)

    def stored(self, stmt: Set | Choose, thread: int) -> Interval:
        """Return what a statement may store."""
        if isinstance(stmt, Set):
            return self.of(stmt.value, thread)
        return self.of(stmt.lo, thread)[0], self.of(stmt.hi, thread)[1] - 1

    def of(self, expr: Expr, thread: int) -> Interval:
        """Return bounds of an expression's value."""
        match expr:
            case Const(value):
                return value, value
            case Local() | Shared():
                return self.found[self.key(expr, thread)]
            case Op("?:", (_, then, orelse)):
                (a, b), (c, d) = self.of(then, thread), self.of(orelse, thread)
                return min(a, c), max(b, d)
            case Op("+" | "-" | "*" as op, (left, right)):
                (a, b), (c, d) = self.of(left, thread), self.of(right, thread)
                if op == "+":
                    return a + c, b + d
                if op == "-":
                    return a - d, b - c
                products = (a * c, a * d, b * c, b * d)
                return min(products), max(products)
        return _TRUTH


def _stores(body: Body) -> Iterator[Set | Choose]:
    stmts: tuple[Stmt, ...] = body.stmts
    yield from (stmt for stmt in stmts if isinstance(stmt, Set | Choose))
    if isinstance(body.end, Branch):
        yield from _stores(body.end.then)
        yield from _stores(body.end.orelse)
