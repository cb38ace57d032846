# SPDX-License-Identifier: Apache-2.0
"""Make small systems by hand round the counter plan.seq."""

from __future__ import annotations

from support.systems import op, put, system, thread, to

from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import Body, Check, Expr, Local, Shared, Stmt, System, Var

SEQ, X, KEPT, LOCK = Shared("plan.seq"), Shared("plan.x"), Shared("plan.kept"), Shared("plan.lock")
S, T, A = Local("own.s"), Local("own.t"), Local("own.a")
HIGH = 100
SHARED = (
    Var("plan.seq", "int", 0, HIGH),
    Var("plan.x", "int", 0, 3),
    Var("plan.kept", "int", 0, HIGH),
    Var("plan.lock", "spinlock", 0, 1),
)
OWN = Var("own.s", "int", 0, HIGH), Var("own.t", "int", 0, HIGH), Var("own.a", "int", 0, HIGH)
BUMP = put(SEQ, op("+", SEQ, 1))
TAKE = put(S, SEQ)


def straight(*steps: tuple[Stmt, ...] | Stmt) -> list[Body]:
    """Make steps that follow one another."""
    return [to(i, *(step if isinstance(step, tuple) else (step,))) for i, step in enumerate(steps, start=1)]


def made(*threads: list[Body], resets: bool = True) -> System:
    """Make a system of threads that end and promise `leak` and `balance`."""
    cpus = [thread(f"CPU{i}", bodies, *OWN) for i, bodies in enumerate(threads)]
    return system(SHARED, [reset_dead_locals(cpu) if resets else cpu for cpu in cpus], "leak", "balance")


def same(cond: Expr) -> Check:
    return Check(cond, "leak", "moved")


READER = straight(TAKE, put(X, 0), same(op("==", S, SEQ)))
