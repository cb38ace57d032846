# SPDX-License-Identifier: Apache-2.0
"""Let a new page take the lowest free frame, where that shows all that any free frame would show.

Free frames are alike if nothing refers to one: then to swap two of them changes no state, and to try one is to try
all. In a state in which no rule is broken, nothing refers to a free frame, provided that

- `stale-use`, `flush-before-free` and `balance` are promised, so that sptes, TLB entries and PTEs refer to frames
  with references only; and
- no page that a CPU has put is used by it again: after each put_page no local of it that holds a page is live. (Until
  it is put, the reference keeps the frame from being free.)

The rest of a frame's state is that of a fresh one when it is freed (mm2008.py). Where a condition does not hold, any
free frame is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from unpinned.ir.liveness import live_locals
from unpinned.ir.program import TRUE, Body, Branch, Choose, Const, Expr, Op, Shared, Stmt, Thread, leaves

#: The rules that keep sptes, TLB entries and PTEs from referring to free frames.
_NEEDED: Final = frozenset({"stale-use", "flush-before-free", "balance"})


def free_frames_are_alike(threads: Sequence[Thread], promised: frozenset[str]) -> bool:
    """Tell whether both conditions hold."""
    return promised >= _NEEDED and not any(_uses_a_put_page(thread) for thread in threads)


def _uses_a_put_page(thread: Thread) -> bool:
    """Tell whether a local that holds a page is live behind a put_page."""
    pages = {var.name for var in thread.locals if var.type == "page"}
    live = live_locals(thread)
    return any(
        pages & live[goto.target]
        for step in thread.steps
        if step.method.endswith("/put_page")
        for _, goto in leaves(step.body)
    )


def take_the_lowest(thread: Thread, frames: int) -> Thread:
    """Return the thread with each choice among free frames narrowed to the lowest."""

    def rewrite(body: Body) -> Body:
        stmts = tuple(_lowest(stmt, frames) for stmt in body.stmts)
        end = body.end
        if isinstance(end, Branch):
            end = replace(end, then=rewrite(end.then), orelse=rewrite(end.orelse))
        return Body(stmts, end)

    return replace(thread, steps=tuple(replace(step, body=rewrite(step.body)) for step in thread.steps))


def _lowest(stmt: Stmt, frames: int) -> Stmt:
    """Add to a choice of a free frame that no lower one is free; other statements stay as they are."""
    if not isinstance(stmt, Choose) or stmt.where == TRUE:
        return stmt
    where: Expr = stmt.where
    for frame in range(1, frames):
        taken = Op("!=", (Shared("mm.refs", Const(frame)), Const(0)))
        where = Op("and", (where, Op("or", (Op("<=", (stmt.target, Const(frame))), taken))))
    return replace(stmt, where=where)
