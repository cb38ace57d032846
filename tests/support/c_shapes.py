# SPDX-License-Identifier: Apache-2.0
"""Run the shapes that C functions take on their way to a plan, and make some up: what is done, in which order."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from unpinned.new.c.shape import Block, Code, Gap, Goto, If, Label, Leave, Lock, Loop, Stmt, Unlock, With

#: What a run did, in order.
Events = list[tuple[str, ...]]
MOST_EVENTS = 80


class _LeaveError(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


class _GotoError(Exception):
    def __init__(self, label: str) -> None:
        self.label = label


class _EnoughError(Exception):
    pass


class Run:
    """One run of a function; conditions and trylocks turn out as a seed says, in the order in which they are met.

    `cut` says that it was ended after so many events as can be compared.
    """

    def __init__(self, seed: int) -> None:
        self.events: Events = []
        self.cut = False
        self._dice = random.Random(seed)
        self._locals: dict[str, bool] = {}

    def function(self, body: Block) -> Events:
        """Run a body to its end, or for as many events as can be compared."""
        labels = {stmt.name: place for place, stmt in enumerate(body) if isinstance(stmt, Label)}
        start = 0
        try:
            while True:
                try:
                    self._block(body[start:])
                    break
                except _GotoError as jump:
                    start = labels[jump.label]
        except _LeaveError:
            pass  # loops catch `break` and `continue`, so that this is `return`
        except _EnoughError:
            self.cut = True
        return self.events[:MOST_EVENTS]

    def _event(self, *words: str) -> None:
        self.events.append(words)
        if len(self.events) >= MOST_EVENTS:
            raise _EnoughError

    def _block(self, block: Block) -> None:
        for stmt in block:
            self._stmt(stmt)

    def _stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Code(text=text) if match := re.fullmatch(r"(out_\w+) = (True|False)", text):
                self._locals[match[1]] = match[2] == "True"
            case Code(text=text):
                self._event(text)
            case Lock():
                self._take(stmt)
            case Unlock(field=field):
                self._event("drop", field)
            case With(lock=lock, body=body):
                if lock.line:
                    self._take(lock)
                try:
                    self._block(body)
                finally:
                    if not lock.got or self._locals[lock.got]:
                        self.events.append(("drop", lock.field))
            case If(cond=cond):
                self._block(stmt.then if self._holds(cond) else stmt.other)
            case Loop(body=body):
                self._loop(body)
            case Leave(kind=kind, line=line):
                if kind == "return" and line:
                    self.events.append(("return", str(line)))
                raise _LeaveError(kind)
            case Goto(label=label):
                self._event("round")
                raise _GotoError(label)
            case Label() | Gap():
                pass

    def _take(self, lock: Lock) -> None:
        if not lock.got:
            self._event("take", lock.field)
            return
        self._locals[lock.got] = self._dice.random() < 0.5
        self._event("try", lock.field)

    def _holds(self, cond: str) -> bool:
        name = cond.removeprefix("not ")
        if name in self._locals:
            return self._locals[name] != cond.startswith("not ")
        self._event("look", cond)
        return self._dice.random() < 0.5

    def _loop(self, body: Block) -> None:
        while True:
            self._event("round")
            try:
                self._block(body)
            except _LeaveError as leave:
                if leave.kind == "break":
                    return
                if leave.kind == "return":
                    raise


def comparable(events: Events) -> Events:
    """Return events without what only C or only a `with` has: rounds, and locks that are dropped last of all."""
    returned = [event for event in events if event[0] == "return"]
    done = [event for event in events if event[0] not in ("round", "return")]
    while done and done[-1][0] == "drop":
        done.pop()
    return [*done, *returned]


class Maker:
    """Makes up complete bodies of functions with locks, choices, loops and jumps."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._line = 0

    def body(self) -> Block:
        """Return a body."""
        parts = [self._label("again"), self._some(3, 2, False), self._label("out"), self._some(2, 1, False)]
        return (*(stmt for part in parts for stmt in part), Leave("return", 0))

    def _label(self, name: str) -> Block:
        return (Label(name, 0),)

    def _next(self) -> int:
        self._line += 1
        return self._line

    def _some(self, most: int, depth: int, in_loop: bool) -> Block:
        return tuple(stmt for _ in range(self._dice.randint(1, most)) for stmt in self._one(depth, in_loop))

    def _one(self, depth: int, in_loop: bool) -> Iterator[Stmt]:
        line, dice = self._next(), self._dice
        kind = dice.choice(["code", "code", "held", "held", "early", "try", "if", "loop", "leave", "drop", "take"])
        field = dice.choice(["a", "b"])
        if kind == "held" and depth:
            yield Lock(field, "", line)
            yield from self._some(2, depth - 1, in_loop)
            yield Unlock(field, line)
        elif kind == "early" and depth:
            yield Lock(field, "", line)
            yield Code(f"work {line}", line)
            late: Block = (Unlock(field, line), *self._work(), self._way_out(in_loop))
            yield If(f"c{line}", line, late)
            yield from self._some(1, depth - 1, in_loop)
            yield Unlock(field, line)
        elif kind == "try" and depth:
            yield Lock(field, "", line, f"got_{line}")
            yield If(f"not got_{line}", line, (*self._work(), self._way_out(in_loop)))
            yield from self._some(1, depth - 1, in_loop)
            yield Unlock(field, line)
        elif kind == "if" and depth:
            yield If(f"c{line}", line, self._some(2, depth - 1, in_loop), self._some(1, depth - 1, in_loop))
        elif kind == "loop" and depth:
            end = If(f"c{line}", line, (Leave("break", line),))
            yield Loop(
                "while True", line, (*self._some(2, depth - 1, True), end, *self._work(), Leave("continue", line))
            )
        elif kind == "leave" and depth < 2:
            yield self._way_out(in_loop)
        elif kind == "drop" and dice.random() < 0.5:
            yield Unlock(field, line)
            yield from self._work()
            yield Lock(field, "", line)
        elif kind == "take" and dice.random() < 0.3:
            yield Lock(field, "", line)
        else:
            yield Code(f"work {line}", line)

    def _work(self) -> Block:
        return (Code(f"work {self._next()}", self._line),) if self._dice.random() < 0.6 else ()

    def _way_out(self, in_loop: bool) -> Stmt:
        line = self._next()
        kinds = ["return", "out", "out", "again"] + (["break", "continue"] if in_loop else [])
        match self._dice.choice(kinds):
            case "out" | "again" as label if not in_loop or label == "out":
                return Goto(label, line)
            case "break":
                return Leave("break", line)
            case "continue":
                return Leave("continue", line)
            case _:
                return Leave("return", line)
