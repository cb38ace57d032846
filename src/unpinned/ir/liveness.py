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

#: A local variable, and an element of it.
Cell = tuple[str, int]


def reset_dead_locals(thread: Thread) -> Thread:
    """Return the thread with dead locals reset at the end of every path."""
    cells = _Cells(thread)
    live = cells.live()
    maybe_set = cells.maybe_set(live)
    variables = {var.name: var for var in thread.locals}

    def rewrite(body: Body, dirty: frozenset[Cell]) -> Body:
        dirty |= {cell for stmt in body.stmts for cell in cells.written(stmt)}
        if not isinstance(body.end, Goto):
            end = replace(body.end, then=rewrite(body.end.then, dirty), orelse=rewrite(body.end.orelse, dirty))
            return Body(body.stmts, end)
        resets = []
        for name, element in sorted(dirty - live[body.end.target]):
            var = variables[name]
            index = None if var.size == 1 else Const(element)
            resets.append(Set(Local(name, index), Const(var.init), reset=True))
        return Body(body.stmts + tuple(resets), body.end)

    steps = tuple(replace(step, body=rewrite(step.body, maybe_set[place])) for place, step in enumerate(thread.steps))
    return replace(thread, steps=steps)


def live_locals(thread: Thread) -> list[frozenset[str]]:
    """Return for each place (`done` included) the locals that are live there, in one element at least."""
    return [frozenset(name for name, _ in live) for live in _Cells(thread).live()]


class _Cells:
    """The elements of a thread's locals, and what each statement does with them."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.sizes = {var.name: var.size for var in thread.locals}

    def live(self) -> list[frozenset[Cell]]:
        """Return for each place (`done` included) the cells that are live there."""
        live = [frozenset[Cell]()] * (len(self.thread.steps) + 1)
        changed = True
        while changed:
            changed = False
            for place in reversed(range(len(self.thread.steps))):
                now = self._before(self.thread.steps[place].body, live)
                if now != live[place]:
                    live[place], changed = now, True
        return live

    def _before(self, body: Body, live: list[frozenset[Cell]]) -> frozenset[Cell]:
        """Return the cells that are live before a body."""
        if isinstance(body.end, Goto):
            now = live[body.end.target]
        else:
            now = self._before(body.end.then, live) | self._before(body.end.orelse, live) | self.read(body.end.cond)
        for stmt in reversed(body.stmts):
            written = self.written(stmt)
            # A store through an index that is not constant leaves all but one as they are.
            now -= written if len(written) == 1 else frozenset()
            now |= self.used(stmt)
        return now

    def maybe_set(self, live: list[frozenset[Cell]]) -> list[frozenset[Cell]]:
        """Return for each place the cells that a step on the way there may have set and not reset."""
        dirty = [frozenset[Cell]()] * (len(self.thread.steps) + 1)
        changed = True
        while changed:
            changed = False
            for place, step in enumerate(self.thread.steps):
                for path, goto in leaves(step.body):
                    now = dirty[place] | {cell for stmt in path for cell in self.written(stmt)}
                    now = dirty[goto.target] | (now & live[goto.target])
                    if now != dirty[goto.target]:
                        dirty[goto.target], changed = now, True
        return dirty

    def cells(self, ref: Local) -> frozenset[Cell]:
        """Return the cells that a reference may mean."""
        if ref.index is None or isinstance(ref.index, Const):
            return frozenset({(ref.name, 0 if ref.index is None else ref.index.value)})
        return frozenset((ref.name, i) for i in range(self.sizes[ref.name]))

    def read(self, expr: Expr) -> frozenset[Cell]:
        """Return the cells that an expression may read."""
        return frozenset(cell for ref in reads(expr) if isinstance(ref, Local) for cell in self.cells(ref))

    def written(self, stmt: Stmt) -> frozenset[Cell]:
        """Return the cells that a statement may write."""
        if isinstance(stmt, Set | Choose) and isinstance(stmt.target, Local):
            return self.cells(stmt.target)
        return frozenset()

    def used(self, stmt: Stmt) -> frozenset[Cell]:
        """Return the cells that a statement may read."""
        match stmt:
            case Set(target, value):
                return self.read(value) | (self.read(target.index) if target.index is not None else frozenset())
            case Choose(target, lo, hi, where):
                index = self.read(target.index) if target.index is not None else frozenset()
                chosen = self.cells(target)
                chosen = chosen if len(chosen) == 1 else frozenset()
                return self.read(lo) | self.read(hi) | (self.read(where) - chosen) | index
            case Wait(cond) | Check(cond, _, _):
                return self.read(cond)
            case Note(_, args):
                return frozenset().union(*(self.read(value) for _, _, value in args))
        return frozenset()
