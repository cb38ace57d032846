# SPDX-License-Identifier: Apache-2.0
"""Define what a C function is on its way to a plan: statements in order, with locks first as calls, then as blocks.

A list of statements is *complete* if it ends with a `Leave` on every path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

#: What a section of RCU is called where a lock has its field.
RCU: Final = "rcu_read_lock"

#: A list of statements; those of an `If` or a `Loop` lie in it.
Block = tuple["Stmt", ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A statement of the plan language that came from line `line`; `note` says what of it is a gap."""

    text: str
    line: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was not understood, and stands in a comment."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock is taken: by `with self.FIELD:`, or of a side of it; with `got` it is only tried. RCU is no field.

    `line` is 0 if the function is entered with it held.
    """

    field: str
    side: str
    line: int
    got: str = ""

    @property
    def taken(self) -> str:
        """Return what a `with` says."""
        if self.field == RCU:
            return f"{RCU}()"
        if self.got:
            return f"self.{self.field}.{f'try_{self.side}' if self.side else 'trylock'}() as {self.got}"
        return f"self.{self.field}{f'.{self.side}()' if self.side else ''}"


@dataclass(frozen=True, slots=True)
class Unlock:
    """A lock is dropped."""

    field: str
    line: int


@dataclass(frozen=True, slots=True)
class With:
    """A lock that is held over a block."""

    lock: Lock
    body: Block


@dataclass(frozen=True, slots=True)
class If:
    """A choice on an expression of the plan language; `line` is 0 if the reader put it there."""

    cond: str
    line: int
    then: Block
    other: Block = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop: `head` is `while True`, or `for x in r`; its body is complete."""

    head: str
    line: int
    body: Block
    note: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """`return`, with an expression of the plan language or none, `break` or `continue`."""

    kind: Literal["return", "break", "continue"]
    line: int
    value: str = ""
    note: str = ""

    @property
    def is_plain(self) -> bool:
        """Say whether it looks at nothing that others share."""
        return "self." not in self.value


@dataclass(frozen=True, slots=True)
class Goto:
    """A jump to a label."""

    label: str
    line: int


@dataclass(frozen=True, slots=True)
class Label:
    """A label."""

    name: str
    line: int


Stmt = Code | Gap | Lock | Unlock | With | If | Loop | Leave | Goto | Label


def everything(block: Block) -> Iterator[Stmt]:
    """Yield all statements of a block, and those in them."""
    for stmt in block:
        yield stmt
        match stmt:
            case If():
                yield from everything(stmt.then)
                yield from everything(stmt.other)
            case Loop() | With():
                yield from everything(stmt.body)


def rewritten(block: Block, change: Callable[[Stmt], Block | None], *, into_loops: bool = True) -> Block:
    """Return a block with statements changed, wherever they lie; where `change` gives None, they stay."""
    out: list[Stmt] = []
    for stmt in block:
        new = change(stmt)
        if new is not None:
            out += new
            continue
        match stmt:
            case If():
                then = rewritten(stmt.then, change, into_loops=into_loops)
                out.append(replace(stmt, then=then, other=rewritten(stmt.other, change, into_loops=into_loops)))
            case With():
                out.append(replace(stmt, body=rewritten(stmt.body, change, into_loops=into_loops)))
            case Loop() if into_loops:
                out.append(replace(stmt, body=rewritten(stmt.body, change, into_loops=into_loops)))
            case _:
                out.append(stmt)
    return tuple(out)


def falls_through(block: Block) -> bool:
    """Say whether control can reach the end of a block."""
    for stmt in block:
        match stmt:
            case Leave() | Goto():
                return False
            case If() if not falls_through(stmt.then) and not falls_through(stmt.other) and stmt.other:
                return False
            case Loop() if stmt.head == "while True" and not _is_left(stmt):
                return False
            case With() if not falls_through(stmt.body):
                return False
    return True


def own(block: Block) -> Iterator[Stmt]:
    """Yield the statements of a block, and those in them that lie in no loop of it."""
    for stmt in block:
        yield stmt
        match stmt:
            case If():
                yield from own(stmt.then)
                yield from own(stmt.other)
            case With():
                yield from own(stmt.body)


def _is_left(loop: Loop) -> bool:
    """Say whether a loop is left by `break`."""
    return any(isinstance(stmt, Leave) and stmt.kind == "break" for stmt in own(loop.body))
