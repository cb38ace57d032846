# SPDX-License-Identifier: Apache-2.0
"""Make up systems that reductions have something to do with: lock sections, sequence counters, and mistakes in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from support.systems import acquire, fork, op, put, system, thread, to

from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import (
    TRUE,
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Shared,
    Stmt,
    System,
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT

A, B = Local("own.a"), Local("own.b")
#: Under which lock most accesses to a variable stand; z is used anywhere.
GUARDS = {"plan.x": "plan.spin", "plan.y": "plan.sem", "plan.w": "plan.mutex", "plan.z": ""}
OWN = (Var("own.a", "int", 0, 2), Var("own.b", "int", 0, 1))
DATA = (
    Var("plan.x", "int", 0, 2),
    Var("plan.y", "int", 0, 2, size=2, init=1),
    Var("plan.w", "int", 0, 2),
    Var("plan.z", "int", 0, 1),
)
LOCKS = (Var("plan.spin", "spinlock", 0, 1), Var("plan.mutex", "mutex", 0, 1), Var("plan.sem", "rwsem", 0, 4))
SEQ = Shared("plan.seq")
S, KEPT, TEMP = Local("own.s"), Local("own.kept"), Local("own.temp")


class _Author:
    """Draw the steps of a thread, each of which goes on to the next or, now and then, elsewhere."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.bodies: list[Body] = []
        self.under = [""]

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def times(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    # ---- parts of steps

    def shared(self) -> Shared:
        guarded = [name for name, lock in GUARDS.items() if lock in self.under]
        name: str = self.pick(list(GUARDS) if self.chance(5) else guarded + guarded[:1])
        if name != "plan.y":
            return Shared(name)
        return Shared(name, self.pick([Const(0), Const(1), B]))

    def value(self) -> Expr:
        """Draw a value from 0 to 2."""
        small: Expr = op("-", 1, self.pick([B, Shared("plan.z")]))
        value: Expr = self.pick([Const(0), Const(1), A, B, self.shared(), small, op("?:", self.cond(), 1, 2)])
        return value

    def cond(self) -> Expr:
        cond: Expr = self.pick(
            [op("==", A, self.times(0, 2)), B, op("not", B), op("==", self.shared(), self.times(0, 1)), self.shared()]
        )
        return cond

    def stmt(self) -> Stmt:
        kind = self.times(0, 13)
        if kind < 4:
            target = self.shared()
            value = self.value()
            return put(target, op("?:", value, 1, 0) if target.name == "plan.z" else value)
        if kind < 6:
            return put(A, self.value())
        if kind < 7:
            return put(B, op("?:", self.cond(), 1, 0))
        if kind < 9:
            return Choose(B, Const(0), Const(2), self.pick([TRUE, TRUE, op("==", B, self.shared())]))
        if kind < 12:
            cond = self.pick([self.cond(), op("or", self.cond(), self.cond())])
            return Check(cond, self.pick(["leak", "balance", "balance", LIMIT]), "a check")
        return put(self.pick([A, self.shared()]), 0)

    def stmts(self, least: int, most: int) -> tuple[Stmt, ...]:
        return tuple(self.stmt() for _ in range(self.times(least, most)))

    # ---- steps

    def step(self) -> None:
        """Add a step that looks at what there is."""
        on = len(self.bodies) + 1
        kind = self.times(0, 9)
        if kind < 5:
            self.bodies.append(to(on, *self.stmts(1, 2)))
        elif kind < 9:
            self.bodies.append(self.tree(on, 2))
        else:
            self.bodies.append(to(on, Wait(op("or", self.cond(), self.cond())), *self.stmts(0, 1)))

    def tree(self, on: int, depth: int) -> Body:
        """Draw a tree of tests, many of them of locals, with little or nothing done on the way."""
        if depth == 0 or self.chance(30):
            return to(on, *self.stmts(0, 2))
        cond = self.pick([A, B, op("==", A, 1), self.cond()])
        return fork(cond, self.tree(on, depth - 1), self.tree(on, depth - 1), *self.stmts(0, 1))

    def section(self, depth: int = 0) -> None:
        """Add a lock section, or a lock section in which something is wrong."""
        lock = Shared(self.pick(["plan.spin", "plan.mutex", "plan.sem"]))
        many = lock.name == "plan.sem" and self.chance(50)
        take: tuple[Stmt, ...] = acquire(lock)
        if many:
            take = Wait(op("<", lock, 4)), put(lock, op("+", lock, 1))
        elif lock.name == "plan.sem":
            take = Wait(op("==", lock, 0)), put(lock, 4)
        self.under.append(lock.name)
        self.bodies.append(to(len(self.bodies) + 1, *take, *(self.stmts(0, 1) if self.chance(20) else ())))
        for _ in range(self.times(0, 2)):
            if depth == 0 and self.chance(20):
                self.section(1)
            else:
                self.step()
        self.wrong(lock)
        give = put(lock, op("-", lock, 1) if many else 0)
        self.under.pop()
        self.bodies.append(to(len(self.bodies) + 1, give, *(self.stmts(0, 1) if self.chance(30) else ())))

    def wrong(self, lock: Shared) -> None:
        """Now and then, use a lock as no lock should be used."""
        on = len(self.bodies) + 1
        match self.times(0, 25):
            case 0:
                self.bodies.append(fork(lock, to(on, *self.stmts(0, 1)), to(on)))
            case 1:
                self.bodies.append(fork(op("not", lock), to(on, put(lock, 1)), to(on)))
            case 2:
                self.bodies.append(to(on, put(lock, 0)))
            case 3:
                self.bodies.append(to(on, Wait(op("not", lock))))

    def finished(self, ends: bool, stray: int) -> list[Body]:
        """Return the steps; some of their paths go elsewhere, as far as a lock's place does not matter."""
        count = len(self.bodies)
        places = list(range(count + ends))

        def led(body: Body) -> Body:
            if isinstance(body.end, Branch):
                return Body(body.stmts, replace(body.end, then=led(body.end.then), orelse=led(body.end.orelse)))
            target = body.end.target % (count + ends)
            if self.chance(stray):
                target = self.pick(places)
            return Body(body.stmts, Goto(target))

        return [led(body) for body in self.bodies]


def locked_system(seed: int) -> System:
    """Make up a system of 2 or 3 threads with lock sections."""
    random = Random(seed)
    threads = []
    count = random.choice([2, 2, 3])
    stray = random.choice([0, 0, 0, 4, 10])
    for number in range(count):
        author = _Author(random)
        for _ in range(author.times(2, 4) if count == 2 else 2):
            if author.chance(60):
                author.section()
            else:
                author.step()
        ends = author.chance(60)
        threads.append(thread(f"CPU{number}", author.finished(ends, stray), *OWN, ends=ends))
    promised = random.choice([[], [], ["leak"], ["leak", "balance"]])
    return _placed(system((*DATA, *LOCKS), threads, *promised, name=f"locks at random, {seed}"))


def _placed(made: System) -> System:
    """Give every step a line of its own."""
    return replace(
        made,
        threads=tuple(
            replace(thread, steps=tuple(replace(s, pos=replace(s.pos, line=i)) for i, s in enumerate(thread.steps)))
            for thread in made.threads
        ),
    )


# ---- counters ---------------------------------------------------------------------------------------------------


class _Counting(_Author):
    """Draw the steps of a thread that bumps a counter up to `top`, or takes snapshots of it and compares them."""

    def __init__(self, random: Random, wrong: bool, top: int) -> None:
        super().__init__(random)
        self.odd, self.top = wrong, top

    def add(self, *stmts: Stmt) -> None:
        self.bodies.append(to(len(self.bodies) + 1, *stmts))

    def effect(self) -> tuple[Stmt, ...]:
        return tuple(put(self.pick([Shared("plan.x"), A]), self.times(0, 2)) for _ in range(self.times(0, 1)))

    def bump(self) -> None:
        """Add to the counter, in one step or in two under a lock, or without it."""
        lock, by = Shared("plan.spin"), self.pick([1, 1, 1, 2])
        how = self.times(0, 3 if self.odd else 2)
        old: Expr = SEQ if how == 0 else TEMP
        new = op("+", old, by)
        inside = op("and", op("<=", 0, new), op("<=", new, self.top))
        add = Check(op(">=", new, 0), "balance", "below"), Check(inside, LIMIT, "full"), put(SEQ, new)
        if how == 0:
            self.add(*add, *self.effect())
        elif how == 1:
            self.add(put(TEMP, SEQ), *add, *self.effect())
        else:
            if how == 2:
                self.add(*acquire(lock))
            self.add(put(TEMP, SEQ))
            self.add(*add)
            if how == 2:
                self.add(put(lock, 0), *self.effect())

    def compare(self) -> None:
        """Compare a snapshot with the counter: at once, by way of a temporary, or of a copy."""
        on = len(self.bodies) + 1
        which = self.pick([S, S, KEPT])
        sign = self.pick(["==", "!="])
        match self.times(0, 3 if not self.odd else 6):
            case 0:
                self.bodies.append(fork(op(sign, which, SEQ), to(on, *self.effect()), to(on, *self.effect())))
            case 1:
                self.bodies.append(
                    fork(op(sign, TEMP, which), to(on, *self.effect()), to(on, *self.effect()), put(TEMP, SEQ))
                )
            case 2:
                self.add(Check(op("or", op(sign, SEQ, which), self.cond()), "leak", "moved"))
            case 3:
                self.add(put(B, op(sign, which, SEQ)))
            case 4:
                self.add(put(B, op(sign, which, self.pick([S, KEPT, Const(1)]))))
            case 5:
                self.add(put(Shared("plan.z"), op("<", which, SEQ)))
            case 6:
                self.add(put(A, op("?:", op("<=", which, 2), which, 0)))

    def act(self) -> None:
        match self.times(0, 7):
            case 0 | 1:
                self.bump()
            case 2:
                self.add(put(KEPT, S), *self.effect())
            case 3:
                self.add(put(S, SEQ), *self.effect())
            case 4:
                self.add(put(A, self.pick([A, Shared("plan.x")])))
            case 5:
                self.add(*([put(S, 0)] if self.chance(20) else self.effect()))
            case _:
                self.compare()


#: How far a counter of `counting_systems` goes where threads go round for ever, and where they do not.
LOW, HIGH = 9, 250


def counting_system(seed: int, forever: bool) -> System:
    """Make up 2 or 3 threads round a sequence counter; they go round for ever, or take each step once."""
    random = Random(seed)
    threads = []
    wrong = random.choice([False, False, True])
    top = LOW if forever else HIGH
    for number in range(random.choice([2, 2, 3])):
        author = _Counting(random, wrong, top)
        if author.chance(85):
            author.add(put(S, SEQ), *([put(KEPT, S)] if author.chance(60) else []))
        for _ in range(author.times(1, 4)):
            author.act()
        ends = not forever or author.chance(30)
        own = (*OWN, *(Var(name, "int", 0, HIGH) for name in ("own.s", "own.kept", "own.temp")))
        made = thread(f"CPU{number}", author.finished(ends, 4 if forever else 0), *own, ends=ends)
        threads.append(reset_dead_locals(made) if author.chance(70) else made)
    shared = (*DATA, LOCKS[0], Var("plan.seq", "int", 0, HIGH))
    return _placed(system(shared, threads, "leak", "balance", name=f"a counter at random, {seed}"))


class _Ranking(_Counting):
    """Draw the steps of a thread that also keeps versions in shared fields, and compares any two of them."""

    def __init__(self, random: Random, wrong: bool, top: int, cpu: int) -> None:
        super().__init__(random, wrong, top)
        self.cpu = cpu

    def kept(self) -> Shared:
        return Shared("plan.seen") if self.chance(60) else Shared("plan.marks", Const(self.cpu))

    def version(self) -> Expr:
        drawn: Expr = self.pick([SEQ, S, S, KEPT, self.kept(), self.kept(), Const(0)])
        return drawn

    def compare(self) -> None:
        on = len(self.bodies) + 1
        if self.odd and self.chance(25):
            super().compare()
            return
        cond = op(self.pick(["==", "==", "!=", "<", ">", "<=", ">="]), self.version(), self.version())
        match self.times(0, 3):
            case 0:
                self.bodies.append(fork(cond, to(on, *self.effect()), to(on, *self.effect())))
            case 1:
                self.add(Check(self.pick([cond, op("or", cond, self.cond())]), "leak", "as it should be"))
            case 2:
                self.add(put(B, cond))
            case 3:
                self.add(Wait(op("or", cond, self.cond())), *self.effect())

    def act(self) -> None:
        match self.times(0, 9):
            case 0 | 1:
                self.bump()
            case 2:
                self.add(put(self.kept(), self.pick([S, SEQ, 0])), *self.effect())
            case 3:
                self.add(put(self.pick([S, KEPT]), self.kept()), *self.effect())
            case 4:
                self.add(put(S, SEQ), *self.effect())
            case 5:
                self.add(put(KEPT, S), *self.effect())
            case 6 if self.odd:
                self.add(put(self.kept(), self.pick([A, op("+", S, 1), self.version()])))
            case _:
                self.compare()


def ranking_system(seed: int, forever: bool) -> System:
    """Make up 2 or 3 threads round a counter whose values are kept in fields; half of the time they are all alike."""
    random = Random(seed)
    wrong, alike = random.choice([False, False, True]), random.choice([False, True])
    top = LOW if forever else HIGH
    count = random.choice([2, 2, 3])
    drawn = random.random()
    threads = []
    for number in range(count):
        author = _Ranking(Random(drawn) if alike else random, wrong, top, number)
        if author.chance(60):
            author.add(put(S, SEQ))
        for _ in range(author.times(2, 6 if count == 2 else 3)):
            author.act()
        ends = not forever or author.chance(30)
        own = (*OWN, *(Var(name, "int", 0, HIGH) for name in ("own.s", "own.kept", "own.temp")))
        made = thread(f"CPU{number}", author.finished(ends, 4 if forever else 0), *own, ends=ends)
        threads.append(reset_dead_locals(made) if author.chance(70) else made)
    first = random.choice([0, 0, 1, 3])
    shared = (
        *(*DATA, LOCKS[0], Var("plan.seq", "int", 0, HIGH, 1, first)),
        Var("plan.seen", "int", 0, HIGH, 1, random.choice([0, first])),
        Var("plan.marks", "int", 0, HIGH, count, 0, ("cpu",)),
    )
    whole = _placed(system(shared, threads, "leak", "balance", name=f"ranks at random, {seed}"))
    return replace(whole, extents=(("cpu", count),))


def stmts(body: Body) -> list[Stmt]:
    """Return all statements of a tree."""
    if isinstance(body.end, Goto):
        return list(body.stmts)
    return [*body.stmts, *stmts(body.end.then), *stmts(body.end.orelse)]
