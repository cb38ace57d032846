# SPDX-License-Identifier: Apache-2.0
"""Make systems with pages, frames and CPUs: kvm-seq with full symmetry, and random ones that may be symmetric.

Random systems are written in types: pages are stored where pages belong, and loops over all pages or frames are
written out. With `odd` constants, orders, sums and single elements are strewn in, which break some symmetry or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from support.kvm_seq import kvm_seq
from support.systems import fork, op, put, to

from unpinned.errors import Pos
from unpinned.ir.liveness import reset_dead_locals
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

_POS = Pos("plan.py", 1)

# ---- kvm-seq -----------------------------------------------------------------------------------------------


def counted(system: System, pages: int, frames: int, vcpus: int) -> System:
    """Say of kvm-seq's arrays what they count."""
    per = {"mm.spte": ("page",), "mm.pte": ("page",), "mm.owner": ("frame",)}
    shared = tuple(replace(var, per=per.get(var.name, ())) for var in system.shared)
    extents = ("page", pages), ("frame", frames), ("vcpu", vcpus), ("cpu", len(system.threads))
    return replace(system, shared=shared, extents=extents)


def kvm_seq_counted(vcpus: int, hosts: int, times: int, pages: int, frames: int) -> System:
    """Make kvm-seq as it is: its threads are symmetric, its pages and frames are not."""
    return counted(kvm_seq(vcpus, hosts, times, pages, frames), pages, frames, vcpus)


def kvm_seq_free(vcpus: int, hosts: int, times: int, pages: int, frames: int, *, literal: bool = False) -> System:
    """Make the symmetric kvm-seq: a fault takes any free frame, and a range visits its pages in any order."""
    plain = kvm_seq(vcpus, hosts, times, pages, frames, literal=literal)
    threads = [_any_frame(made, frames) for made in plain.threads[:vcpus]]
    threads += [_any_order(made, pages) for made in plain.threads[vcpus:]]
    return counted(replace(plain, threads=tuple(threads)), pages, frames, vcpus)


def _any_frame(vcpu: Thread, frames: int) -> Thread:
    taken = Local("own.p")
    any_free = Choose(taken, Const(1), Const(frames + 1), op("==", Shared("mm.owner", taken), 0))

    def rewrite(body: Body) -> Body:
        stmts = tuple(any_free if isinstance(stmt, Choose) and stmt.target == taken else stmt for stmt in body.stmts)
        end = body.end
        if isinstance(end, Branch):
            end = replace(end, then=rewrite(end.then), orelse=rewrite(end.orelse))
        return Body(stmts, end)

    return replace(vcpu, steps=tuple(replace(step, body=rewrite(step.body)) for step in vcpu.steps))


def _any_order(host: Thread, pages: int) -> Thread:
    """Put `own.seen` in place of the loop's variable in the two steps that visit the pages of a range."""
    gfn, old = Local("own.g"), Local("own.old")

    def seen(page: Expr) -> Local:
        return Local("own.seen", page)

    all_seen: Expr = seen(Const(0))
    for page in range(1, pages):
        all_seen = op("and", all_seen, seen(Const(page)))
    visit = to(
        6,
        Choose(gfn, Const(0), Const(pages), op("not", seen(gfn))),
        put(seen(gfn), 1),
        put(old, Shared("mm.pte", gfn)),
        put(Shared("mm.pte", gfn), 0),
        put(gfn, 0),
    )
    free = put(Shared("mm.owner", old), 0), put(old, 0)
    again = fork(all_seen, to(7, *(put(seen(Const(page)), 0) for page in range(pages))), to(5), *free)
    steps = list(host.steps)
    steps[5], steps[6] = replace(steps[5], body=visit), replace(steps[6], body=again)
    return replace(host, steps=tuple(steps), locals=(*host.locals, Var("own.seen", "bool", 0, 1, pages, 0, ("page",))))


# ---- small ones by hand --------------------------------------------------------------------------------------


def small(
    shared: Iterable[Var], threads: Iterable[Thread], *promised: str, pages: int = 2, frames: int = 2, vcpus: int = 0
) -> System:
    """Make a system that says how many pages, frames and vCPUs it has."""
    made = tuple(threads)
    extents = ("page", pages), ("frame", frames), ("vcpu", vcpus), ("cpu", len(made))
    return System("by hand", tuple(shared), made, (None,) * len(made), frozenset(promised), extents)


# ---- at random -----------------------------------------------------------------------------------------------

PAGES, FRAMES = 2, 2
ROW = FRAMES + 1
#: Stand for the number of the CPU, and for that of its first element of `mm.taken`, until the thread has a number.
_CPU, _ROW = 800, 900
_G, _H, _P, _B, _I = (Local(f"own.{name}") for name in "ghpbi")


def _locals() -> tuple[Var, ...]:
    return (
        Var("own.g", "gfn", 0, PAGES),
        Var("own.h", "gfn", 0, PAGES),
        Var("own.p", "page", 0, FRAMES),
        Var("own.b", "bool", 0, 1),
        Var("own.i", "int", 0, 3),
        Var("own.set", "bool", 0, 1, PAGES, 0, ("page",)),
    )


def _shared(cpus: int, owner: str) -> tuple[Var, ...]:
    return (
        Var("mm.pte", "page", 0, FRAMES, PAGES, 0, ("page",)),
        Var("mm.owner", owner, 0, PAGES, ROW, 0, ("frame",)),
        Var("mm.flag", "bool", 0, 1, PAGES, 0, ("page",)),
        Var("mm.taken", "int", 0, 2, cpus * ROW, 0, ("cpu", "frame")),
        Var("mm.n", "int", 0, 3),
    )


@dataclass(slots=True)
class _Author:
    """Draw steps; with `odd` one expression or statement in some is of a kind that may break a symmetry."""

    draw: Any
    odd: bool

    def pick(self, *some: Any) -> Any:
        return self.draw(st.sampled_from(some))

    def slip(self) -> bool:
        return self.odd and bool(self.draw(st.integers(0, 11)) == 0)

    def gfn(self) -> Expr:
        if self.slip():
            return Const(self.draw(st.integers(0, PAGES - 1)))
        return self.pick(_G, _G, _H)

    def page(self) -> Expr:
        if self.slip():
            return self.pick(Const(1), Const(2), op("?:", op("==", _P, FRAMES), 0, op("+", _P, 1)))
        return self.pick(_P, _P, Shared("mm.pte", self.gfn()), Const(0))

    def owner(self) -> Expr:
        return self.pick(Const(0), op("+", self.gfn(), 1), Shared("mm.owner", self.page()))

    def taken(self) -> Shared:
        page = self.page()
        if isinstance(page, Const):
            return Shared("mm.taken", Const(_ROW + page.value))
        return Shared("mm.taken", op("+", _ROW, page))

    def number(self) -> Expr:
        number = self.pick(Const(self.draw(st.integers(0, 2))), Shared("mm.n"), _I, self.taken())
        return Const(_CPU) if self.slip() else number

    def cond(self, depth: int = 2) -> Expr:
        if self.slip():
            one, other = self.gfn(), self.gfn()
            return self.pick(op("<", one, other), op("<=", one, 0), _G, op("<", 0, self.page()))
        what = self.pick("and", "or", "not", "flag", "gfn", "page", "owner", "number", "own", "all")
        if what in ("and", "or") and depth:
            return op(what, self.cond(depth - 1), self.cond(depth - 1))
        match what:
            case "not" if depth:
                return op("not", self.cond(depth - 1))
            case "flag":
                return Shared("mm.flag", self.gfn())
            case "gfn":
                return op(self.pick("==", "!="), self.gfn(), self.gfn())
            case "page":
                return op(self.pick("==", "!="), self.page(), self.page())
            case "owner":
                return op("==", Shared("mm.owner", self.page()), self.owner())
            case "number":
                return op(self.pick("<", "==", ">="), self.number(), self.number())
            case "all":
                name = self.pick("mm.pte", "mm.flag")
                return op(self.pick("and", "or"), *(Shared(name, Const(page)) for page in range(PAGES)))
        return self.pick(_B, Local("own.set", self.gfn()), _P)

    def stmts(self) -> list[Stmt]:
        """Draw a statement, or a loop over all of something."""
        rules = "stale-use", "leak"
        what = self.pick("gfn", "page", "pte", "owner", "flag", "set", "taken", "n", "own", "loop", "check", "cover")
        match what:
            case "gfn":
                lo, hi = self.pick((0, 1), (1, PAGES)) if self.slip() else (0, PAGES)
                choice: Stmt = Choose(self.pick(_G, _H), Const(lo), Const(hi))
                return [choice if not self.slip() else put(self.pick(_G, _H), self.gfn())]
            case "page":
                choice = Choose(_P, Const(1), Const(FRAMES + 1), self.pick(TRUE, op("==", Shared("mm.owner", _P), 0)))
                return [self.pick(choice, put(_P, self.page()))]
            case "pte":
                return [put(Shared("mm.pte", self.gfn()), self.page())]
            case "owner":
                return [put(Shared("mm.owner", self.page()), self.owner())]
            case "flag":
                return [put(Shared("mm.flag", self.gfn()), self.draw(st.integers(0, 1)))]
            case "set":
                return [put(Local("own.set", self.gfn()), self.draw(st.integers(0, 1)))]
            case "taken":
                return [put(self.taken(), self.draw(st.integers(0, 2)))]
            case "n":
                return [put(Shared("mm.n"), self.number())]
            case "own":
                return [self.pick(put(_B, op("not", self.cond(0))), put(_I, self.number()))]
            case "check":
                return [Check(op("or", self.cond(), self.cond()), self.pick(*rules), "a check")]
            case "cover":
                return [Cover("event")]
        return self.loop(self.pick(*rules))

    def loop(self, rule: str) -> list[Stmt]:
        """Draw a loop over all pages or all frames, written out."""
        order = range(PAGES) if self.pick(True, False) else reversed(range(PAGES))
        pages = [Const(page) for page in order][: 1 if self.slip() else PAGES]
        match self.pick("clear", "check", "set", "frames"):
            case "clear":
                return [put(Shared("mm.pte", page), 0) for page in pages]
            case "check":
                return [
                    Check(op("or", Shared("mm.flag", page), op("==", Shared("mm.pte", page), 0)), rule, "all")
                    for page in pages
                ]
            case "set":
                return [put(Local("own.set", page), Shared("mm.flag", page)) for page in pages]
        return [put(Shared("mm.taken", Const(_ROW + frame)), 0) for frame in range(1, FRAMES + 1)]

    def body(self, places: list[int], depth: int = 2) -> Body:
        wait = [Wait(op("or", self.cond(), self.cond()))] if self.draw(st.integers(0, 4)) == 0 and depth == 2 else []
        stmts = [stmt for _ in range(self.draw(st.integers(1, 3))) for stmt in self.stmts()]
        if depth == 0 or self.draw(st.integers(0, 2)):
            return Body((*wait, *stmts), Goto(self.draw(st.sampled_from(places))))
        branch = Branch(self.cond(), self.body(places, depth - 1), self.body(places, depth - 1))
        return Body((*wait, *stmts), branch)


@st.composite
def symmetric_systems(draw: Any, odd: bool = False) -> System:
    """Draw a system of two like threads and perhaps another; unless `odd`, all that can be is symmetric."""
    author = _Author(draw, odd)
    templates = [_template(author), _template(author)]
    order = draw(st.sampled_from([(0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]))
    threads = []
    for cpu, which in enumerate(order):
        steps, ends = templates[which]
        bodies = [_numbered(step, cpu) for step in steps]
        made = tuple(Step(body, _POS, "method") for body in bodies)
        threads.append(Thread(f"CPU{cpu}", "op", _locals(), made, len(made) if ends else None))
    if not odd or draw(st.booleans()):
        threads = [reset_dead_locals(made) for made in threads]
    promised = draw(st.sets(st.sampled_from(["stale-use", "leak"])))
    shared = _shared(len(threads), draw(st.sampled_from(["gfn", "int"])) if odd else "int")
    return small(shared, threads, *promised, pages=PAGES, frames=FRAMES)


def _template(author: _Author) -> tuple[list[Body], bool]:
    count, ends = author.draw(st.integers(2, 4)), author.draw(st.booleans())
    places = list(range(count + ends))
    bodies = [author.body([places[(place + 1) % len(places)]] * 2 + places) for place in range(count)]
    if not author.odd:
        # A gfn that is read before it is chosen is page 0.
        chosen = Choose(_G, Const(0), Const(PAGES)), Choose(_H, Const(0), Const(PAGES))
        stmts = tuple(stmt for stmt in bodies[0].stmts if not isinstance(stmt, Wait))
        bodies[0] = Body((*chosen, *stmts), bodies[0].end)
    return bodies, ends


def _numbered(body: Body, cpu: int) -> Body:
    """Put a CPU's number in place of what stands for it."""

    def expr(old: Any) -> Any:
        match old:
            case Const(value) if value >= _ROW:
                return Const(value - _ROW + cpu * ROW)
            case Const(value) if value >= _CPU:
                return Const(cpu)
            case Local(name, index):
                return Local(name, None if index is None else expr(index))
            case Shared(name, index):
                return Shared(name, None if index is None else expr(index))
            case Op(sign, args):
                return Op(sign, tuple(expr(arg) for arg in args))
        return old

    def stmt(old: Stmt) -> Stmt:
        match old:
            case Set(target, value):
                return Set(expr(target), expr(value))
            case Choose(target, lo, hi, where):
                return Choose(target, lo, hi, expr(where))
            case Wait(cond):
                return Wait(expr(cond))
            case Check(cond, rule, text):
                return Check(expr(cond), rule, text)
        return old

    end = body.end
    if isinstance(end, Branch):
        end = Branch(expr(end.cond), _numbered(end.then, cpu), _numbered(end.orelse, cpu))
    return Body(tuple(stmt(old) for old in body.stmts), end)
