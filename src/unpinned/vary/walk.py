# SPDX-License-Identifier: Apache-2.0
"""Walk the methods of a plan that the mm can reach, their blocks, and the calls in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.reading.expressions import is_self, is_super
from unpinned.plan.reading.subset import method_calls
from unpinned.plan.vocabulary import HOOKS

_INVALIDATIONS: Final = tuple(name for name in HOOKS if name != "page_fault")


@dataclass(frozen=True, slots=True)
class Place:
    """A statement: its method, the block that it stands in, and its number there."""

    method: MethodDef
    block: tuple[ast.stmt, ...]
    at: int

    @property
    def stmt(self) -> ast.stmt:
        """Return the statement itself."""
        return self.block[self.at]


def reached(plan: PlanClass) -> tuple[MethodDef, ...]:
    """Return the methods that the mm calls or a CPU runs, and those that they call, each once; helpers come last."""
    found: dict[int, MethodDef] = {}

    def visit(method: MethodDef) -> None:
        if id(method) in found:
            return
        found[id(method)] = method
        for name, call in method_calls(method.node):
            up = isinstance(call.func, ast.Attribute) and is_super(call.func.value)
            callee = plan.supers.get((method.owner, name)) if up else plan.methods.get(name)
            if callee is not None:
                visit(callee)

    for name in (*HOOKS, *sorted(plan.alone)):
        if name in plan.methods:
            visit(plan.methods[name])
    order = {name: rank for rank, name in enumerate((*_INVALIDATIONS, "page_fault"))}
    return tuple(sorted(found.values(), key=lambda method: (order.get(method.name, len(order)), method.node.lineno)))


def places(method: MethodDef) -> Iterator[Place]:
    """Yield every statement of a method, outer ones first."""
    yield from _places(method, method.node.body)


def _places(method: MethodDef, block: list[ast.stmt]) -> Iterator[Place]:
    for at, stmt in enumerate(block):
        yield Place(method, tuple(block), at)
        for inner in (getattr(stmt, name, []) for name in ("body", "orelse")):
            yield from _places(method, inner)


def call_of(stmt: ast.stmt) -> tuple[str, ast.Call] | None:
    """Return the name and the node of a call `self.NAME(...)` that is a statement, or that one stores."""
    value = stmt.value if isinstance(stmt, ast.Expr | ast.Assign) else None
    match value:
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if is_self(owner):
            return name, value
    return None


def field_of(node: ast.AST) -> str:
    """Return the field that `self.NAME` or `self.NAME[i]` is, or ""."""
    match node:
        case ast.Attribute(value=owner, attr=name) if is_self(owner):
            return name
        case ast.Subscript(value=ast.Attribute(value=owner, attr=name)) if is_self(owner):
            return name
    return ""


def kind_of(plan: PlanClass, name: str) -> str:
    """Return the kind of a field, or of the fields that it holds: "Counter", "SpinLock"; "" if there is none."""
    decl = plan.fields.get(name)
    while decl is not None and decl.of is not None:
        decl = decl.of
    return "" if decl is None else decl.kind
