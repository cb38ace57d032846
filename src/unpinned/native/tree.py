# SPDX-License-Identifier: Apache-2.0
"""The typed tree between the checker and the emitter: what a program says, with nothing left to find out.

Every expression has a type, names of constants are replaced by their values, and each statement is one of a few
kinds. Nodes are not changed once made; they are not frozen, because there are ten thousands of them in a program and
making a frozen one takes three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

MASK = (1 << 64) - 1


class Type(Enum):
    """What a value is; `NOTHING` is the result of an intrinsic that has none."""

    U64 = "u64"
    BOOL = "bool"
    U8P = "u8p"
    U16P = "u16p"
    U32P = "u32p"
    U64P = "u64p"
    NOTHING = "nothing"


#: Bits of an element of each pointer type.
WIDTHS = {Type.U8P: 8, Type.U16P: 16, Type.U32P: 32, Type.U64P: 64}

#: The types that can be written in an annotation.
NAMED = {type_.value: type_ for type_ in Type if type_ is not Type.NOTHING}


@dataclass(slots=True)
class Expr:
    """An expression of a type."""

    type: Type


@dataclass(slots=True)
class Const(Expr):
    """A number, or 0 or 1 for a bool."""

    value: int


@dataclass(slots=True)
class Local(Expr):
    """The value of a local or parameter."""

    name: str


@dataclass(slots=True)
class Binary(Expr):
    """An operation on two numbers or two bools; `op` is the LLVM instruction."""

    op: str
    left: Expr
    right: Expr
    line: int


@dataclass(slots=True)
class Compare(Expr):
    """A comparison of two numbers or two bools; `op` is the LLVM condition."""

    op: str
    left: Expr
    right: Expr


@dataclass(slots=True)
class Not(Expr):
    """The other bool."""

    value: Expr


@dataclass(slots=True)
class Logic(Expr):
    """Two or more bools joined by `and`, or by `or`: none is evaluated after the one that decides."""

    every: bool
    values: list[Expr]


@dataclass(slots=True)
class Choice(Expr):
    """`then if cond else orelse`: only one of the two is evaluated."""

    cond: Expr
    then: Expr
    orelse: Expr


@dataclass(slots=True)
class Load(Expr):
    """`pointer[index]`."""

    pointer: Expr
    index: Expr
    line: int


@dataclass(slots=True)
class Call(Expr):
    """A call of a function of the module."""

    name: str
    args: list[Expr]
    line: int


@dataclass(slots=True)
class Intrinsic(Expr):
    """A call of an intrinsic; the first two arguments of all but `popcount` are a pointer and an index."""

    name: str
    args: list[Expr]
    line: int


class Stmt:
    """A statement."""

    __slots__ = ()


@dataclass(slots=True)
class Assign(Stmt):
    """`name = value`."""

    name: str
    value: Expr


@dataclass(slots=True)
class Store(Stmt):
    """`pointer[index] = value`; the value is evaluated first, as in Python."""

    pointer: Expr
    index: Expr
    value: Expr
    line: int


@dataclass(slots=True)
class Update(Stmt):
    """`pointer[index] op= value`: pointer and index are evaluated once, the old element is read before the value."""

    pointer: Expr
    index: Expr
    op: str
    value: Expr
    line: int


@dataclass(slots=True)
class If(Stmt):
    """The first arm whose condition is true, or else `orelse`."""

    arms: list[tuple[Expr, list[Stmt]]]
    orelse: list[Stmt]


@dataclass(slots=True)
class While(Stmt):
    """A loop; `cond` is None for `while True`."""

    cond: Expr | None
    body: list[Stmt]


@dataclass(slots=True)
class For(Stmt):
    """A loop over the numbers from `start` to below `stop`, both evaluated once."""

    name: str
    start: Expr
    stop: Expr
    body: list[Stmt]


@dataclass(slots=True)
class Switch(Stmt):
    """The case that has the subject among its numbers, or else `default`; no number stands twice."""

    subject: Expr
    cases: list[tuple[list[int], list[Stmt]]]
    default: list[Stmt]


@dataclass(slots=True)
class Break(Stmt):
    """Leave the innermost loop."""


@dataclass(slots=True)
class Continue(Stmt):
    """Begin the next round of the innermost loop."""


@dataclass(slots=True)
class Return(Stmt):
    """Leave the function with a value."""

    value: Expr


@dataclass(slots=True)
class Do(Stmt):
    """A call for its effect."""

    call: Expr


@dataclass(slots=True)
class Function:
    """A function: `types` has its locals, the parameters first and in order; `calls` the functions it calls."""

    name: str
    params: list[Type]
    result: Type
    line: int
    types: dict[str, Type] = field(default_factory=dict)
    body: list[Stmt] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Module:
    """All functions of a text, by name."""

    functions: dict[str, Function]


def fold(op: str, left: int, right: int) -> int | None:
    """Return the result of a `Binary` on two constants, or None if a debug build must refuse it when it is run."""
    match op:
        case "add":
            return (left + right) & MASK
        case "sub":
            return (left - right) & MASK
        case "mul":
            return (left * right) & MASK
        case "and":
            return left & right
        case "or":
            return left | right
        case "xor":
            return left ^ right
        case "shl":
            return (left << right) & MASK if right < 64 else None
        case "lshr":
            return left >> right if right < 64 else None
        case "udiv":
            return left // right if right else None
    return left % right if right else None
