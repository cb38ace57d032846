# SPDX-License-Identifier: Apache-2.0
"""Check what must always hold after every step that could break it.

A check is added at the end of each path that writes something the check reads; on every other path it cannot have
changed. So every engine, and every export, sees the invariants as ordinary checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unpinned.ir.program import Body, Check, Const, Expr, Goto, Op, Set, Shared, Stmt, Thread

#: What is read or written: a shared variable and, if it is known, the element.
_Access = tuple[str, int | None]


def add_invariants(thread: Thread, invariants: Sequence[Check]) -> Thread:
    """Return the thread with each invariant checked at the end of every path that could break it."""
    read = [frozenset(_accesses(check.cond)) for check in invariants]

    def rewrite(body: Body, written: frozenset[_Access]) -> Body:
        written |= frozenset(_written(body.stmts))
        if not isinstance(body.end, Goto):
            then, orelse = rewrite(body.end.then, written), rewrite(body.end.orelse, written)
            return Body(body.stmts, replace(body.end, then=then, orelse=orelse))
        added = tuple(check for check, reads in zip(invariants, read, strict=True) if _meet(reads, written))
        return Body(body.stmts + added, body.end)

    steps = tuple(replace(step, body=rewrite(step.body, frozenset())) for step in thread.steps)
    return replace(thread, steps=steps)


def _written(stmts: Sequence[Stmt]) -> list[_Access]:
    return [_access(s.target) for s in stmts if isinstance(s, Set) and isinstance(s.target, Shared)]


def _access(ref: Shared) -> _Access:
    match ref.index:
        case None:
            return ref.name, 0
        case Const(index):
            return ref.name, index
    return ref.name, None


def _accesses(expr: Expr) -> list[_Access]:
    found: list[_Access] = []
    if isinstance(expr, Shared):
        found.append(_access(expr))
        if expr.index is not None:
            found += _accesses(expr.index)
    elif isinstance(expr, Op):
        for arg in expr.args:
            found += _accesses(arg)
    return found


def _meet(reads: frozenset[_Access], writes: frozenset[_Access]) -> bool:
    return any(
        name == other and (index is None or at is None or index == at) for name, index in reads for other, at in writes
    )
