# SPDX-License-Identifier: Apache-2.0
"""Turn jumps to labels into loops and copies of what stands behind the labels."""

from __future__ import annotations

from dataclasses import replace

from unpinned.new.c.shape import Block, Gap, Goto, If, Label, Leave, Loop, Stmt, everything, falls_through

#: A function that grows past so many statements keeps its jumps, as gaps.
MOST_STATEMENTS = 3000


def without_jumps(body: Block, otherwise: str = "") -> Block:
    """Return the complete body of a function without jumps.

    A jump forward becomes a copy of what stands behind its label; one backward goes round a loop from the label to the
    end. A jump into a block, or out of a loop to a label that goes round, stays as a gap, and the
    function ends there with `otherwise`, or the loop.
    """
    return _Jumps(body, otherwise).tail(0, {}, 0)


class _Jumps:
    """The top level of a function, with the places of its labels."""

    def __init__(self, body: Block, otherwise: str) -> None:
        self.body = body
        self.otherwise = otherwise
        self.places = {stmt.name: place for place, stmt in enumerate(body) if isinstance(stmt, Label)}
        self.size = 0

    def tail(self, start: int, open_: dict[str, int], depth: int) -> Block:
        """Return what is done from a place on to the end; `open_` has the labels that go round, and their depths."""
        out: list[Stmt] = []
        for place in range(start, len(self.body)):
            stmt = self.body[place]
            if isinstance(stmt, Label):
                if stmt.name not in open_ and self._jumped_back_to(stmt.name, place):
                    inside = self.tail(place + 1, {**open_, stmt.name: depth + 1}, depth + 1)
                    return (*out, Loop("while True", stmt.line, inside))
                continue
            out += self._resolved(stmt, open_, depth)
            if not falls_through((stmt,)):
                break
        return tuple(out)

    def _jumped_back_to(self, label: str, place: int) -> bool:
        """Say whether something behind a place jumps to a label."""
        return any(stmt == Goto(label, stmt.line) for stmt in everything(self.body[place:]) if isinstance(stmt, Goto))

    def _resolved(self, stmt: Stmt, open_: dict[str, int], depth: int) -> Block:
        """Return a statement without jumps."""
        self.size += 1
        match stmt:
            case Goto(label=label, line=line):
                return self._jump(label, line, open_, depth)
            case If():
                then = self._block(stmt.then, open_, depth)
                return (replace(stmt, then=then, other=self._block(stmt.other, open_, depth)),)
            case Loop():
                return (replace(stmt, body=self._block(stmt.body, open_, depth + 1)),)
            case Label(line=line):
                return (Gap(line, "a label within a block"),)
            case _:
                return (stmt,)

    def _block(self, block: Block, open_: dict[str, int], depth: int) -> Block:
        """Return a block without jumps."""
        return tuple(inner for stmt in block for inner in self._resolved(stmt, open_, depth))

    def _jump(self, label: str, line: int, open_: dict[str, int], depth: int) -> Block:
        """Return what a jump does."""
        if label in open_:
            if open_[label] == depth:
                return (Leave("continue", line),)
            return (Gap(line, f"goto {label}, out of a loop"), Leave("break", line))
        if label not in self.places or self.size > MOST_STATEMENTS:
            return (Gap(line, f"goto {label}"), Leave("return", line, self.otherwise))
        return self.tail(self.places[label], open_, depth)
