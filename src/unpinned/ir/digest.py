# SPDX-License-Identifier: Apache-2.0
"""Write a system as text without source places, and hash it: two systems with one digest take the same steps."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from unpinned.ir.program import (
    Body,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Goto,
    Local,
    Mark,
    Note,
    Op,
    Set,
    Shared,
    Stmt,
    System,
    Var,
    Wait,
)

#: Hexadecimal digits of a digest that a token carries.
DIGITS = 10


def digest(*systems: System) -> str:
    """Return the hash of all that decides what systems do: not of notes, comments and line numbers."""
    return hashlib.sha256("".join(map(dump, systems)).encode()).hexdigest()[:DIGITS]


def exact_key(system: System) -> object:
    """Return all that a system is, in a form that always pickles to the same bytes: without sets."""
    return replace(system, promised=frozenset()), sorted(system.promised)


def dump(system: System) -> str:
    """Return the system as text, a line a statement."""
    lines = [f"system {system.name}", "promised " + " ".join(sorted(system.promised))]
    lines += ["shared " + _var(var) for var in system.shared]
    lines += [f"opened {_expr(ref)}" for ref in system.opened]
    for thread in system.threads:
        lines.append(f"thread {thread.name} {thread.kind} {thread.done}")
        lines += ["  local " + _var(var) for var in thread.locals]
        for place, step in enumerate(thread.steps):
            lines.append(f"  step {place}")
            lines += _body(step.body, "    ")
    return "\n".join(lines) + "\n"


def _var(var: Var) -> str:
    return f"{var.name}[{var.size}] {var.type} {var.lo}..{var.hi} = {var.init}"


def _body(body: Body, indent: str) -> list[str]:
    lines = [indent + text for stmt in body.stmts if (text := _stmt(stmt))]
    if isinstance(body.end, Goto):
        return [*lines, f"{indent}goto {body.end.target}"]
    lines.append(f"{indent}if {_expr(body.end.cond)}")
    lines += _body(body.end.then, indent + "  ")
    lines.append(f"{indent}else")
    return lines + _body(body.end.orelse, indent + "  ")


def _stmt(stmt: Stmt) -> str:
    match stmt:
        case Set(target, value):
            return f"{_expr(target)} = {_expr(value)}"
        case Choose(target, lo, hi, where):
            return f"choose {_expr(target)} in {_expr(lo)}..{_expr(hi)} where {_expr(where)}"
        case Wait(cond):
            return f"wait {_expr(cond)}"
        case Check(cond, rule, _):
            return f"check {rule} {_expr(cond)}"
        case Cover() | Note() | Mark():
            return ""


def _expr(expr: Expr) -> str:
    match expr:
        case Const(value):
            return str(value)
        case Local(name, None) | Shared(name, None):
            return name
        case Local(name, index) | Shared(name, index):
            assert index is not None
            return f"{name}[{_expr(index)}]"
        case Op(op, args):
            return f"({op} {' '.join(_expr(arg) for arg in args)})"
