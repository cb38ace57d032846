# SPDX-License-Identifier: Apache-2.0
"""Make systems with pages, frames and CPUs: kvm-seq with full symmetry, and random ones that may be symmetric.

Random systems are written in types: pages are stored where pages belong, and loops over all pages or frames are
written out. Some variables are read and never written, one holds a number above all frames, and threads may have an
array that counts CPUs. With `odd` constants, orders, sums and single elements are strewn in, which break some symmetry
or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from support.kvm_seq import kvm_seq
from support.systems import fork, op, put, thread, to

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


# Systems in which "leak" is broken, and would not be if names were given wrongly.


def who_was_up() -> System:
    """Make two threads that note in arrays of their own who was up before them: one sees the other."""

    def steps(cpu: int) -> list[Body]:
        look = [put(Local("own.saw", Const(k)), Shared("mm.up", Const(k))) for k in range(2)]
        flip = put(Shared("mm.n"), op("-", 1, Shared("mm.n")))
        check = Check(op("not", Local("own.saw", Const(1 - cpu))), "leak", "the other was up")
        return [to(1, *look, put(Shared("mm.up", Const(cpu)), 1)), to(2, flip), to(3, check)]

    own = Var("own.saw", "bool", 0, 1, 2, 0, ("cpu",))
    threads = [thread(f"t{cpu}", steps(cpu), own) for cpu in range(2)]
    shared = [Var("mm.up", "bool", 0, 1, 2, 0, ("cpu",)), Var("mm.n", "bool", 0, 1)]
    return small(shared, threads, "leak", pages=0, frames=0)


def more_elements_than_cpus() -> System:
    """Make two threads that share the first element of an array of four, two for each CPU, as its `per` has it."""
    first = Shared("mm.x", Const(0))
    flip = put(Shared("mm.n"), op("-", 1, Shared("mm.n")))
    steps = [to(1, put(first, 1)), to(2, flip), to(3, Check(op("not", first), "leak", "set"))]
    shared = [Var("mm.x", "bool", 0, 1, 4, 0, ("cpu",)), Var("mm.n", "bool", 0, 1)]
    threads = [thread(f"t{cpu}", steps, Var("own.q", "bool", 0, 1)) for cpu in range(2)]
    return small(shared, threads, "leak", pages=0, frames=0)


def number_above_all_frames() -> System:
    """Make a thread that marks two frames, one and the other in turn, and stores 3, which is no frame."""
    one, other, last = Local("own.p"), Local("own.q"), Shared("mm.last")
    marks = [put(Shared(f"mm.mark{i}", other if i % 2 else one), 1) for i in range(8)]
    both = Choose(one, Const(1), Const(3)), Choose(other, Const(1), Const(3), op("!=", other, one))
    check = Check(op("!=", last, 3), "leak", "3 is no frame")
    bodies: list[tuple[Stmt, ...]] = [(*both, marks[0]), (put(last, 3),), *((mark,) for mark in marks[1:]), (check,)]
    shared = [Var(f"mm.mark{i}", "bool", 0, 1, 3, 0, ("frame",)) for i in range(8)]
    return _watched(bodies, ["own.p", "own.q"], [*shared, Var("mm.last", "page", 0, 3)], frames=2)


def frames_that_are_never_stored() -> System:
    """Make a thread that marks any frame, and looks at those that variables name which nothing is stored in."""
    names = [Shared(f"mm.{name}") for name in ("first", "second", "third")]
    marked = [(Check(op("not", Shared("mm.mark", name)), "leak", "marked"),) for name in names]
    bodies: list[tuple[Stmt, ...]] = [
        (Choose(Local("own.p"), Const(1), Const(4)),),
        (put(Shared("mm.mark", Local("own.p")), 1),),
    ]
    shared = [Var(name.name, "page", 0, 3, 1, init) for init, name in enumerate(names, 1)]
    mark = Var("mm.mark", "bool", 0, 1, 4, 0, ("frame",))
    return _watched([*bodies, *marked], ["own.p"], [*shared, mark], frames=3)


def _watched(bodies: list[tuple[Stmt, ...]], own: list[str], shared: list[Var], frames: int) -> System:
    """Make a thread of these steps, and one that looks at all arrays of frames, so that no steps are merged."""
    seen: Expr = Shared("mm.z")
    for var in shared:
        for frame in range(1, frames + 1) if var.per else ():
            seen = op("and", seen, Shared(var.name, Const(frame)))
    steps = [to(place + 1, *stmts) for place, stmts in enumerate(bodies)]
    threads = [
        thread("a", steps, *(Var(name, "page", 0, frames) for name in own)),
        thread("look", [to(0, put(Shared("mm.z"), op("not", seen)))], ends=False),
    ]
    return small([*shared, Var("mm.z", "bool", 0, 1)], threads, "leak", pages=0, frames=frames)


RACY = [who_was_up, more_elements_than_cpus, number_above_all_frames, frames_that_are_never_stored]


# ---- at random -----------------------------------------------------------------------------------------------

PAGES, FRAMES = 2, 2
ROW = FRAMES + 1
#: Stand for the number of the CPU, and for that of its first element of `mm.taken`, until the thread has a number.
_CPU, _ROW = 800, 900
_G, _H, _P, _B, _I = (Local(f"own.{name}") for name in "ghpbi")


def _locals(cpus: int, saw: bool) -> tuple[Var, ...]:
    by_cpu = (Var("own.saw", "bool", 0, 1, cpus, 0, ("cpu",)),) if saw else ()
    return (
        *by_cpu,
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
        Var("mm.up", "bool", 0, 1, cpus, 0, ("cpu",)),
        Var("mm.used", "bool", 0, 1, PAGES * ROW, 0, ("page", "frame")),
        # Nothing is stored in these: a page, a page plus one, a frame.
        Var("mm.first", "gfn", 0, PAGES),
        Var("mm.one", "int", 0, PAGES, 1, 1),
        Var("mm.spare", "page", 0, FRAMES, 1, 1),
        # A frame, or a number above all of them.
        Var("mm.last", "page", 0, FRAMES + 1),
    )


@dataclass(slots=True)
class _Author:
    """Draw steps; with `odd` one expression or statement in some is of a kind that may break a symmetry.

    With `saw` the threads note in an array of their own which of the `cpus` are up.
    """

    draw: Any
    odd: bool
    cpus: int
    saw: bool

    def pick(self, *some: Any) -> Any:
        return self.draw(st.sampled_from(some))

    def slip(self) -> bool:
        return self.odd and bool(self.draw(st.integers(0, 11)) == 0)

    def gfn(self) -> Expr:
        if self.slip():
            return Const(self.draw(st.integers(0, PAGES - 1)))
        return self.pick(_G, _G, _H, Shared("mm.first"))

    def page(self) -> Expr:
        if self.slip():
            return self.pick(Const(1), Const(2), op("?:", op("==", _P, FRAMES), 0, op("+", _P, 1)))
        return self.pick(_P, _P, Shared("mm.pte", self.gfn()), Shared("mm.spare"), Const(0))

    def owner(self) -> Expr:
        return self.pick(Const(0), op("+", self.gfn(), 1), Shared("mm.owner", self.page()), Shared("mm.one"))

    def used(self) -> Shared:
        return Shared("mm.used", op("+", op("*", self.gfn(), ROW), self.page()))

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
        what = self.pick("and", "or", "not", "flag", "gfn", "page", "last", "owner", "number", "own", "all")
        if what in ("and", "or") and depth:
            return op(what, self.cond(depth - 1), self.cond(depth - 1))
        match what:
            case "not" if depth:
                return op("not", self.cond(depth - 1))
            case "flag":
                return self.pick(Shared("mm.flag", self.gfn()), self.used())
            case "last":
                return op(self.pick("==", "!="), Shared("mm.last"), self.pick(Const(FRAMES + 1), self.page()))
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
        own = _B, Local("own.set", self.gfn()), _P
        return self.pick(*own, *((Local("own.saw", Const(_CPU)), self.any_seen()) if self.saw else ()))

    def stmts(self) -> list[Stmt]:
        """Draw a statement, or a loop over all of something."""
        rules = "stale-use", "leak"
        of_pages = "gfn", "pte", "flag", "set", "used"
        of_frames = "page", "owner", "taken", "last"
        of_cpus = ("saw", "saw", "up", "up") if self.saw else ()
        match self.pick(*of_pages, *of_frames, *of_cpus, "n", "own", "loop", "check", "cover"):
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
            case "used":
                return [put(self.used(), self.draw(st.integers(0, 1)))]
            case "last":
                return [put(Shared("mm.last"), self.pick(Const(FRAMES + 1), self.page()))]
            case "up":
                return [put(Shared("mm.up", Const(_CPU)), self.draw(st.integers(0, 1)))]
            case "saw":
                return self.look()
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

    def look(self) -> list[Stmt]:
        """Note which CPUs are up."""
        return [put(Local("own.saw", Const(cpu)), Shared("mm.up", Const(cpu))) for cpu in range(self.cpus)]

    def any_seen(self) -> Expr:
        """Return whether any CPU was up when this one looked."""
        seen: Expr = Local("own.saw", Const(0))
        for cpu in range(1, self.cpus):
            seen = op("or", seen, Local("own.saw", Const(cpu)))
        return seen

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
    order = draw(st.sampled_from([(0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]))
    author = _Author(draw, odd, len(order), saw=draw(st.integers(0, 2)) == 0)
    templates = [_template(author), _template(author)]
    threads = []
    for cpu, which in enumerate(order):
        steps, ends = templates[which]
        bodies = [_numbered(step, cpu) for step in steps]
        made = tuple(Step(body, _POS, "method") for body in bodies)
        threads.append(Thread(f"CPU{cpu}", "op", _locals(author.cpus, author.saw), made, len(made) if ends else None))
    if not odd or draw(st.booleans()):
        threads = [reset_dead_locals(made) for made in threads]
    promised = draw(st.sets(st.sampled_from(["stale-use", "leak"])))
    shared = _shared(len(threads), draw(st.sampled_from(["gfn", "int"])) if odd else "int")
    return small(shared, threads, *promised, pages=PAGES, frames=FRAMES)


def _template(author: _Author) -> tuple[list[Body], bool]:
    count, ends = author.draw(st.integers(2, 4)), author.draw(st.booleans())
    places = list(range(count + ends))
    bodies = [author.body([places[(place + 1) % len(places)]] * 2 + places) for place in range(count)]
    if author.saw:
        first, *_, last = bodies
        bodies[0] = Body((*first.stmts, *author.look(), put(Shared("mm.up", Const(_CPU)), 1)), first.end)
        bodies[-1] = Body((*last.stmts, put(_B, author.any_seen())), last.end)
    if not author.odd:
        # A gfn that is read before it is chosen is page 0, and a page plus one is known by what it is compared with.
        chosen = Choose(_G, Const(0), Const(PAGES)), Choose(_H, Const(0), Const(PAGES))
        stmts = tuple(stmt for stmt in bodies[0].stmts if not isinstance(stmt, Wait))
        bodies[0] = Body((*chosen, put(_B, op("==", Shared("mm.one"), op("+", _G, 1))), *stmts), bodies[0].end)
    return bodies, ends


def any_systems() -> st.SearchStrategy[System]:
    """Draw a system that is symmetric by its making, or an odd one."""
    return st.one_of(symmetric_systems(), symmetric_systems(odd=True))


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
