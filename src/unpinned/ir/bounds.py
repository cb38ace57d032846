# SPDX-License-Identifier: Apache-2.0
"""Bound what variables can hold, by intervals that no step leaves.

The bounds begin at the initial values and grow with everything that any step stores, wherever it stands; one that
keeps growing is set to what the variable is declared for, which no value ever leaves (ir/program.py: Set). All
elements of an array share one bound, and so do the locals of one name in all threads: the bounds hold in a state in
which threads or elements have changed places, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from unpinned.ir.program import Body, Choose, Const, Expr, Goto, Local, Op, Set, Shared, Stmt, System, Var

Interval = tuple[int, int]
#: What a reference is called here: whether it is shared, and its name.
Name = tuple[bool, str]

#: How often a bound may grow before it becomes the declared one.
_PATIENCE = 4


def name_of(ref: Local | Shared) -> Name:
    """Return what a reference is called here."""
    return isinstance(ref, Shared), ref.name


def bounds(system: System) -> Mapping[Name, Interval]:
    """Return for each variable the interval that its values never leave."""
    found: dict[Name, Interval] = {}
    declared: dict[Name, Interval] = {}
    stores: list[Stmt] = []
    for shared, variables in ((True, system.shared), *((False, thread.locals) for thread in system.threads)):
        for var in variables:
            name = shared, var.name
            found[name] = _hull(found.get(name, (var.init, var.init)), (var.init, var.init))
            declared[name] = _hull(declared.get(name, _declared(var)), _declared(var))
    for thread in system.threads:
        for step in thread.steps:
            stores += [stmt for stmt in statements(step.body) if isinstance(stmt, Set | Choose)]
    grown = dict.fromkeys(found, 0)
    changed = True
    while changed:
        changed = False
        for stmt in stores:
            if not isinstance(stmt, Set | Choose):
                continue
            name = name_of(stmt.target)
            now = _meet(_hull(found[name], _stored(stmt, found)), declared[name])
            if now != found[name]:
                grown[name] += 1
                found[name] = now if grown[name] < _PATIENCE else declared[name]
                changed = True
    return found


def statements(body: Body) -> Iterator[Stmt]:
    """Yield every statement of a tree once."""
    yield from body.stmts
    if not isinstance(body.end, Goto):
        yield from statements(body.end.then)
        yield from statements(body.end.orelse)


def interval(expr: Expr, of: Callable[[Local | Shared], Interval]) -> Interval:
    """Return an interval that holds the value of an expression, if `of` does so for variables."""
    match expr:
        case Const(value):
            return value, value
        case Local() | Shared():
            return of(expr)
        case Op("?:", (_, then, orelse)):
            return _hull(interval(then, of), interval(orelse, of))
        case Op("+" | "-" | "*" as sign, (left, right)):
            (a, b), (c, d) = interval(left, of), interval(right, of)
            if sign == "+":
                return a + c, b + d
            if sign == "-":
                return a - d, b - c
            ends = a * c, a * d, b * c, b * d
            return min(ends), max(ends)
    return 0, 1


def _stored(stmt: Set | Choose, found: Mapping[Name, Interval]) -> Interval:
    def of(ref: Local | Shared) -> Interval:
        return found[name_of(ref)]

    if isinstance(stmt, Set):
        return interval(stmt.value, of)
    (lo, _), (_, hi) = interval(stmt.lo, of), interval(stmt.hi, of)
    return lo, max(lo, hi - 1)


def _declared(var: Var) -> Interval:
    return var.lo, var.hi


def _hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _meet(a: Interval, b: Interval) -> Interval:
    return max(a[0], b[0]), min(a[1], b[1])
