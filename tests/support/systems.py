# SPDX-License-Identifier: Apache-2.0
"""Make systems for tests: by hand with few words, and at random with hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from unpinned.errors import Pos
from unpinned.ir.program import (
    TRUE,
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Goto,
    Local,
    Mark,
    Note,
    Op,
    Set,
    Shared,
    Step,
    Stmt,
    System,
    Thread,
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT

_POS = Pos("plan.py", 1)

# ---- by hand ------------------------------------------------------------------------------------------


def op(sign: str, *args: Expr | int) -> Op:
    """Make an operation; integers are constants."""
    return Op(sign, tuple(Const(arg) if isinstance(arg, int) else arg for arg in args))


def put(target: Local | Shared, value: Expr | int) -> Set:
    """Make a store; an integer is a constant."""
    return Set(target, Const(value) if isinstance(value, int) else value)


def acquire(lock: Shared) -> tuple[Stmt, ...]:
    """Wait until a lock is free and take it, in one step."""
    return Wait(op("not", lock)), put(lock, 1)


def to(target: int, *stmts: Stmt) -> Body:
    """Make a body without branches."""
    return Body(stmts, Goto(target))


def fork(cond: Expr, then: Body, orelse: Body, *stmts: Stmt) -> Body:
    """Make a body that runs `stmts` and then branches."""
    return Body(stmts, Branch(cond, then, orelse))


def thread(name: str, bodies: Iterable[Body], *variables: Var, ends: bool = True, text: str = "pass") -> Thread:
    """Make a thread of steps; it is done behind the last one, unless it never ends."""
    steps = tuple(
        Step(body, Pos("dir/plan.py", line, text=f"    {text}"), "method") for line, body in enumerate(bodies, start=1)
    )
    return Thread(name, "op" if ends else "vcpu", variables, steps, len(steps) if ends else None)


def system(shared: Iterable[Var], threads: Iterable[Thread], *promised: str, name: str = "by hand") -> System:
    """Make a system that promises some rules."""
    threads = tuple(threads)
    return System(name, tuple(shared), threads, (None,) * len(threads), frozenset(promised))


# ---- at random ----------------------------------------------------------------------------------------

_RULES = ("balance", "coherence", "leak", LIMIT)
_RANGES = ((0, 1), (0, 1), (0, 2), (0, 3), (-1, 1), (-2, 0), (1, 3), (-3, 200))


class _Random:
    """Draw parts of a system so that every value stays in its range and every choice has a value."""

    def __init__(self, draw: Any, shared: tuple[Var, ...], own: tuple[Var, ...]) -> None:
        self.draw, self.shared, self.own = draw, shared, own

    def flip(self, chances: int = 2) -> bool:
        return bool(self.draw(st.integers(0, chances - 1)) == 0)

    def var(self, own: bool | None = None) -> tuple[type[Local | Shared], Var]:
        pool: list[tuple[type[Local | Shared], Var]] = [] if own else [(Shared, var) for var in self.shared]
        if own is not False:
            pool += [(Local, var) for var in self.own]
        choice: tuple[type[Local | Shared], Var] = self.draw(st.sampled_from(pool))
        return choice

    def ref(self, kind: type[Local | Shared], var: Var, depth: int = 1) -> Local | Shared:
        """Name an element of a variable."""
        if var.size == 1 and self.flip():
            return kind(var.name)
        return kind(var.name, self.value(0, var.size - 1, depth))

    def number(self, depth: int) -> Expr:
        """Draw any expression; its value may be anything."""
        if depth == 0 or self.flip(3):
            return Const(self.draw(st.integers(-1, 3)))
        if self.flip():
            return self.ref(*self.var(), depth=depth - 1)
        sign = self.draw(st.sampled_from(["+", "-", "*", "?:", "=="]))
        args = [self.number(depth - 1) for _ in range(3 if sign == "?:" else 2)]
        return Op(sign, tuple(args))

    def cond(self, depth: int = 2) -> Expr:
        sign = self.draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "not", "and", "or", "", "?:"]))
        if depth == 0 or not sign:
            return self.ref(*self.var(), depth=0)
        if sign in ("not", "and", "or", "?:"):
            count = {"not": 1, "?:": 3}.get(sign, 2)
            return Op(sign, tuple(self.cond(depth - 1) for _ in range(count)))
        return Op(sign, (self.ref(*self.var(), depth=depth - 1), self.number(depth - 1)))

    def value(self, lo: int, hi: int, depth: int = 2) -> Expr:
        """Draw an expression whose value is in lo..hi."""
        if depth == 0 or lo == hi or self.flip(3):
            return Const(self.draw(st.integers(lo, min(hi, lo + 3))))
        any_ = self.number(depth - 1)
        return op("?:", op("and", op("<=", lo, any_), op("<=", any_, hi)), any_, self.value(lo, hi, depth - 1))

    def choose(self) -> Stmt:
        _, var = self.var(own=True)
        target = Local(var.name, Const(self.draw(st.integers(0, var.size - 1))))
        last = min(var.hi, var.lo + 3)
        if self.flip():
            lo: Expr = self.value(var.lo, last)
            hi: Expr = Const(last + 1)
            sure = last
        else:
            sure = self.draw(st.integers(var.lo, last))
            lo, hi = Const(sure), self.value(sure + 1, last + 1)
        where = TRUE if self.flip() else op("or", op("==", target, sure), self.cond())
        return Choose(target, lo, hi, where)

    def check(self) -> Stmt:
        return Check(op("or", self.cond(), self.cond()), self.draw(st.sampled_from(_RULES)), "a check")

    def before(self) -> Stmt:
        """Draw a statement that may stand before a wait."""
        words: list[Stmt] = [Cover("event"), Note("words"), Mark(_POS)]
        match self.draw(st.sampled_from(["wait", "wait", "wait", "check", "words"])):
            case "wait":
                return Wait(op("or", self.cond(), self.cond()))
            case "check":
                return self.check()
        word: Stmt = self.draw(st.sampled_from(words))
        return word

    def after(self) -> Stmt:
        if self.own and self.flip(3):
            return self.choose()
        if self.flip(12):
            return self.check()
        kind, var = self.var()
        return Set(self.ref(kind, var), self.value(var.lo, var.hi))

    def body(self, places: list[int], depth: int = 2, waits: bool = True) -> Body:
        """Draw a tree that goes to one of `places`."""
        early = [self.before() for _ in range(self.draw(st.integers(0, 2)))] if waits and self.flip(3) else []
        late = [self.after() for _ in range(self.draw(st.integers(0, 3)))]
        stmts = (*early, *late)
        if depth == 0 or not self.flip(3):
            return Body(stmts, Goto(self.draw(st.sampled_from(places))))
        waits = waits and not late
        then, orelse = self.body(places, depth - 1, waits), self.body(places, depth - 1, waits)
        return Body(stmts, Branch(self.cond(), then, orelse))


@st.composite
def systems(draw: Any) -> System:
    """Draw a system of 2 or 3 threads with 2 to 6 steps each."""

    def variables(prefix: str, least: int, most: int) -> tuple[Var, ...]:
        found = []
        for i in range(draw(st.integers(least, most))):
            lo, hi = draw(st.sampled_from(_RANGES))
            size, init = draw(st.sampled_from([1, 1, 1, 2, 3])), draw(st.integers(lo, min(hi, lo + 3)))
            found.append(Var(f"{prefix}{i}", "int", lo, hi, size, init))
        return tuple(found)

    shared = variables("plan.x", 1, 3)
    threads = []
    for i in range(draw(st.integers(2, 3))):
        own, count = variables("fault.y", 0, 2), draw(st.integers(2, 6))
        some, ends = _Random(draw, shared, own), draw(st.booleans())
        places = list(range(count + ends))
        steps = []
        for place in range(count):
            onward = [places[(place + 1) % len(places)]] * len(places)  # as likely as all others together
            steps.append(Step(some.body(onward + places), _POS, "fault"))
        threads.append(Thread(f"CPU{i}", "op", own, tuple(steps), count if ends else None))
    promised = draw(st.sets(st.sampled_from([*_RULES[:-1], "deadlock"])))
    return System("at random", shared, tuple(threads), (None,) * len(threads), frozenset(promised))
