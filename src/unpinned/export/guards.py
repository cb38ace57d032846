# SPDX-License-Identifier: Apache-2.0
"""Say, on the state before a step, what holds in the middle of it.

A language whose steps are a guard and then effects needs to know before the first effect whether the step waits, and
before a choice is made what it would make true.
"""

from __future__ import annotations

from unpinned.ir.program import (
    TRUE,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Op,
    Set,
    Shared,
    Stmt,
    Wait,
)


def ready(stmts: tuple[Stmt, ...], end: Goto | Branch, stops: frozenset[str]) -> Expr:
    """Return whether a path can be taken to its end, as an expression on the state before the step.

    :param stops: the rules that end a path where they are broken.
    :raises ValueError: if a Wait stands after a Set or Choose of its path.
    """
    for i, stmt in enumerate(stmts):
        rest = stmts[i + 1 :]
        match stmt:
            case Wait(cond):
                return both(cond, ready(rest, end, stops))
            case Check(cond, rule, _) if rule in stops:
                after = ready(rest, end, stops)
                return after if after == TRUE else Op("or", (Op("not", (cond,)), after))
            case Set() | Choose():
                if ready(rest, end, stops) != TRUE:
                    raise ValueError(f"a wait stands after {stmt}")
                return TRUE
    if isinstance(end, Goto):
        return TRUE
    then, orelse = (ready(body.stmts, body.end, stops) for body in (end.then, end.orelse))
    return then if then == orelse else Op("?:", (end.cond, then, orelse))


def both(left: Expr, right: Expr) -> Expr:
    """Return the conjunction of two conditions."""
    if TRUE in (left, right):
        return right if left == TRUE else left
    return Op("and", (left, right))


def given(expr: Expr, target: Local, value: int) -> Expr:
    """Return an expression as it reads once `target` has become `value`, on the state before that."""
    match expr:
        case Local(name, index) if name == target.name:
            here = Const(0) if index is None else given(index, target, value)
            there = target.index or Const(0)
            if here == there:
                return Const(value)
            return Op("?:", (Op("==", (here, there)), Const(value), Local(name, here)))
        case Local(name, index) | Shared(name, index) if index is not None:
            return type(expr)(name, given(index, target, value))
        case Op(op, args):
            return Op(op, tuple(given(arg, target, value) for arg in args))
    return expr
