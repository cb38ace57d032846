# SPDX-License-Identifier: Apache-2.0
"""Reset locals that no step will read again, so that states that differ only in them are one state.

A local is live at a step if some path from there reads it before writing it. Where a step's path ends, each local
that could hold a value and is not live at the goto's target is set to its initial value. The program's behaviour is
the same step for step: a dead local's value decides nothing.
"""

from __future__ import annotations

from dataclasses import replace

from unpinned.ir.program import (
    Body,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Note,
    Set,
    Stmt,
    Thread,
    Wait,
    leaves,
    reads,
)


def reset_dead_locals(thread: Thread) -> Thread:
    """Return the thread with dead locals reset at the end of every path."""
    live = live_locals(thread)
    maybe_set = _maybe_set_at(thread)
    variables = {var.name: var for var in thread.locals}

    def rewrite(body: Body, dirty: frozenset[str]) -> Body:
        dirty |= {name for stmt in body.stmts for name in _writes(stmt)}
        if not isinstance(body.end, Goto):
            end = replace(body.end, then=rewrite(body.end.then, dirty), orelse=rewrite(body.end.orelse, dirty))
            return Body(body.stmts, end)
        resets = []
        for name in sorted(dirty - live[body.end.target]):
            var = variables[name]
            indices: list[Expr | None] = [None] if var.size == 1 else [Const(i) for i in range(var.size)]
            resets += [Set(Local(name, index), Const(var.init), reset=True) for index in indices]
        return Body(body.stmts + tuple(resets), body.end)

    steps = tuple(replace(step, body=rewrite(step.body, maybe_set[place])) for place, step in enumerate(thread.steps))
    return replace(thread, steps=steps)


def live_locals(thread: Thread) -> list[frozenset[str]]:
    """Return for each place (`done` included) the locals that are live there."""
    live = [frozenset[str]()] * (len(thread.steps) + 1)
    changed = True
    while changed:
        changed = False
        for place in reversed(range(len(thread.steps))):
            now = _before(thread.steps[place].body, live, thread)
            if now != live[place]:
                live[place], changed = now, True
    return live


def _before(body: Body, live: list[frozenset[str]], thread: Thread) -> frozenset[str]:
    """Return the locals that are live before a body."""
    if isinstance(body.end, Goto):
        now = live[body.end.target]
    else:
        now = _before(body.end.then, live, thread) | _before(body.end.orelse, live, thread)
        now |= _locals(body.end.cond)
    arrays = {var.name for var in thread.locals if var.size > 1}
    for stmt in reversed(body.stmts):
        now -= _writes(stmt) - arrays
        now |= _uses(stmt)
    return now


def _maybe_set_at(thread: Thread) -> list[frozenset[str]]:
    """Return for each place the locals that a step on the way there may have set and not reset."""
    dirty = [frozenset[str]()] * (len(thread.steps) + 1)
    live = live_locals(thread)
    changed = True
    while changed:
        changed = False
        for place, step in enumerate(thread.steps):
            for path, goto in leaves(step.body):
                now = dirty[place] | {name for stmt in path for name in _writes(stmt)}
                now = dirty[goto.target] | (now & live[goto.target])
                if now != dirty[goto.target]:
                    dirty[goto.target], changed = now, True
    return dirty


def _locals(expr: Expr) -> frozenset[str]:
    return frozenset(ref.name for ref in reads(expr) if isinstance(ref, Local))


def _writes(stmt: Stmt) -> frozenset[str]:
    if isinstance(stmt, Set | Choose) and isinstance(stmt.target, Local):
        return frozenset({stmt.target.name})
    return frozenset()


def _uses(stmt: Stmt) -> frozenset[str]:
    match stmt:
        case Set(target, value):
            return _locals(value) | (_locals(target.index) if target.index is not None else frozenset())
        case Choose(target, lo, hi, where):
            return _locals(lo) | _locals(hi) | (_locals(where) - {target.name})
        case Wait(cond) | Check(cond, _, _):
            return _locals(cond)
        case Note(_, args):
            return frozenset().union(*(_locals(value) for _, _, value in args))
    return frozenset()
