# SPDX-License-Identifier: Apache-2.0
"""Find where a local may differ from its initial value: only there has a packed state a place for it.

At every place of a thread, a local that is not *dirty* there surely has its initial value: no path stored anything in
it since the start, or since the last store of that value. So a state need not hold it, and two locals that are never
dirty at the same place may share their bits. Nothing is assumed about dead locals: where they are reset
(ir/liveness.py), few are dirty; where they are not, all that hold something are kept, and counts stay the same.
"""

from __future__ import annotations

from unpinned.ir.liveness import Cell
from unpinned.ir.program import Body, Branch, Choose, Const, Goto, Local, Set, Stmt, Thread


def dirty_locals(thread: Thread) -> list[frozenset[Cell] | None]:
    """Return for each place (`done` included) the local cells that may not have their initial value.

    A place that no path leads to has None.
    """
    sizes = {var.name: var.size for var in thread.locals}
    inits = {var.name: var.init for var in thread.locals}
    dirty: list[frozenset[Cell] | None] = [None] * (len(thread.steps) + 1)
    dirty[0] = frozenset()
    todo = [0]

    def after(stmt: Stmt, now: frozenset[Cell]) -> frozenset[Cell]:
        if not isinstance(stmt, Set | Choose) or not isinstance(stmt.target, Local):
            return now
        name = stmt.target.name
        match stmt.target.index:
            case None:
                cells = frozenset({(name, 0)})
            case Const(index):
                cells = frozenset({(name, index)})
            case _:
                cells = frozenset((name, i) for i in range(sizes[name]))
        resets = isinstance(stmt, Set) and stmt.value == Const(inits[name]) and len(cells) == 1
        return now - cells if resets else now | cells

    def follow(body: Body, now: frozenset[Cell]) -> None:
        for stmt in body.stmts:
            now = after(stmt, now)
        if isinstance(body.end, Branch):
            follow(body.end.then, now)
            follow(body.end.orelse, now)
        elif isinstance(body.end, Goto):
            before = dirty[body.end.target]
            joined = now if before is None else before | now
            if joined != before:
                dirty[body.end.target] = joined
                if body.end.target < len(thread.steps):
                    todo.append(body.end.target)

    while todo:
        place = todo.pop()
        follow(thread.steps[place].body, dirty[place] or frozenset())
    return dirty
