# SPDX-License-Identifier: Apache-2.0
"""Find the checks of a method: the conditions on shared state, and on what was read of it, that decide what is done."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from unpinned.plan.reading.expressions import is_self
from unpinned.vary.walk import field_of


def checks(fn: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the conditions of a method that say something of a field, or of a local that holds what was read.

    A name alone is not one: what it holds was decided before. Nor is a condition on parameters and loop variables, but
    for that which asks whether a range may be waited for.
    """
    given = {arg.arg for arg in fn.args.args} | {
        node.target.id for node in ast.walk(fn) if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(fn):
        for expr in _conditions(node):
            if _is_check(expr, given):
                yield expr


def operands(check: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
    """Yield the operands of the `and` and `or` of a check, each with the value that leaves all to the others."""
    for node in ast.walk(check):
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                if not isinstance(value, ast.BoolOp):
                    yield value, isinstance(node.op, ast.And)


def _conditions(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the conditions that stand directly in a node."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test
        case ast.Assign(value=value) | ast.Return(value=ast.expr() as value):
            if _is_boolean(value) or _asks_mm(value):
                yield value
        case ast.Call(args=args):
            yield from (arg for arg in args if _is_boolean(arg))


def _is_boolean(node: ast.expr) -> bool:
    """Tell whether an expression is a condition wherever it stands."""
    return isinstance(node, ast.BoolOp | ast.Compare) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


def _is_check(expr: ast.expr, given: set[str]) -> bool:
    """Tell whether a condition is one of shared state, or compares what was read."""
    if isinstance(expr, ast.UnaryOp):
        return _is_check(expr.operand, given)
    if any(field_of(node) or _asks_mm(node) for node in ast.walk(expr)):
        return True
    names = {node.id for node in ast.walk(expr) if isinstance(node, ast.Name)}
    return _is_boolean(expr) and not names <= given


def _asks_mm(node: ast.AST) -> bool:
    """Tell whether an expression asks the mm: did an invalidation come between, may a range be waited for."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr="mmu_interval_read_retry")):
            return is_self(owner)
        case ast.Attribute(value=ast.Name(), attr="blockable"):
            return True
    return False
