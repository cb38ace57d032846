# SPDX-License-Identifier: Apache-2.0
"""Say what a value of the plan language is: its type, and the expressions that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from unpinned.ir.program import Const, Expr, Local, Op, Shared, Var, reads

#: The integers of locals and constants; a local that leaves them makes the plan undecided.
INT_LO: Final = -64
INT_HI: Final = 63

#: What page_fault returns, by name: the value of a "result".
RESULTS: Final = {"MAPPED": 0, "REPLAY": 1, "FAULT": 2}

#: How a type is called in messages.
TYPE_NAMES: Final = {
    "int": "a number",
    "bool": "a truth value",
    "gfn": "a gfn",
    "page": "a page",
    "range": "a range of gfns",
    "result": "REPLAY, MAPPED or FAULT",
    "none": "nothing",
}


@dataclass(frozen=True, slots=True)
class Dims:
    """How many there are of each: pages, frames, vCPUs, and CPUs in all (vCPUs and mm operations)."""

    pages: int
    frames: int
    vcpus: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Val:
    """A value: one expression, or two (start and end) for a range, which may be one of a call that may not block."""

    type: str
    exprs: tuple[Expr, ...] = ()
    blockable: bool = True

    @property
    def expr(self) -> Expr:
        """Return the one expression of a value that is no range."""
        (expr,) = self.exprs
        return expr

    @property
    def pure(self) -> bool:
        """Tell whether the value is made of locals and constants alone."""
        return not any(isinstance(ref, Shared) for expr in self.exprs for ref in reads(expr))


def local_vars(name: str, type_: str, dims: Dims) -> tuple[Var, ...]:
    """Return the variables that hold a local of a type: two for a range, else one."""
    match type_:
        case "bool":
            return (Var(name, "bool", 0, 1),)
        case "gfn":
            return (Var(name, "gfn", 0, dims.pages),)
        case "page":
            return (Var(name, "page", 0, dims.frames),)
        case "result":
            return (Var(name, "result", 0, len(RESULTS) - 1),)
        case "range":
            return (Var(f"{name}.start", "gfn", 0, dims.pages), Var(f"{name}.end", "gfn", 0, dims.pages))
    return (Var(name, "int", INT_LO, INT_HI),)


def of_locals(type_: str, variables: tuple[Var, ...]) -> Val:
    """Return the value that reads variables made by :func:`local_vars`."""
    return Val(type_, tuple(Local(var.name) for var in variables))


def may_leave_int(expr: Expr) -> bool:
    """Tell whether a number may leave INT_LO..INT_HI: only sums and differences can."""
    if isinstance(expr, Op):
        return expr.op in ("+", "-", "*") or any(may_leave_int(arg) for arg in expr.args)
    return isinstance(expr, Const) and not INT_LO <= expr.value <= INT_HI


def any_of(conds: Sequence[Expr]) -> Expr:
    """Return the disjunction of conditions, of which there is at least one."""
    found = conds[0]
    for cond in conds[1:]:
        found = Op("or", (found, cond))
    return found
