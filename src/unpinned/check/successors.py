# SPDX-License-Identifier: Apache-2.0
"""Translate the steps of a system to Python functions that give a state's successors.

Each step of each thread becomes one function `(state, out)`, which appends `(leaf, successor)` for every way in which
the step can go. The translation is one to one (an expression becomes the same Python expression on the bytes of the
state); `ir/interp.py` gives the meaning, and tests hold the two against each other on every state of the shipped
plans. A *leaf* numbers a path through a step's tree over the whole system: what a path says of itself (its thread,
events and source lines) is looked up in `Successors.leaves`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from unpinned.ir.layout import BROKEN, Layout, Slot, initial, layout
from unpinned.ir.program import (
    Body,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Goto,
    Leaf,
    Local,
    Mark,
    Op,
    Set,
    Shared,
    Stmt,
    System,
    Wait,
)
from unpinned.ir.rules import CODES, LIMIT

Step = Callable[[bytes, list[tuple[int, bytes]]], None]


@dataclass(frozen=True, slots=True)
class Successors:
    """The compiled steps of a system, and the leaves that they report.

    `threads` has for each thread where its place stands in a state, whether that takes two bytes, and the function
    of each step, with one behind them that does nothing, for a thread that is done.
    """

    system: System
    lay: Layout
    initial: bytes
    threads: tuple[tuple[int, bool, tuple[Step, ...]], ...]
    leaves: tuple[Leaf, ...]

    def expand(self, state: bytes) -> list[tuple[int, bytes]]:
        """Return every (leaf, successor) of a state, thread by thread; none if a rule is broken there."""
        out: list[tuple[int, bytes]] = []
        if not state[BROKEN]:
            for at, wide, steps in self.threads:
                steps[state[at] | state[at + 1] << 8 if wide else state[at]](state, out)
        return out


def compile_system(system: System) -> Successors:
    """Translate every step of every thread."""
    lay = layout(system)
    writer = _Writer(system, lay)
    for thread in range(len(system.threads)):
        for place in range(len(system.threads[thread].steps)):
            writer.function(thread, place)
    namespace: dict[str, Step] = {}
    exec(compile("\n".join(writer.lines), f"<steps of {system.name}>", "exec"), namespace)  # noqa: S102
    threads = tuple(
        (at, wide, (*(namespace[f"t{t}_s{s}"] for s in range(len(thread.steps))), _no_step))
        for t, (at, wide, thread) in enumerate(zip(lay.pc, lay.wide, system.threads, strict=True))
    )
    return Successors(system, lay, initial(lay), threads, tuple(writer.leaves))


def _no_step(state: bytes, out: list[tuple[int, bytes]]) -> None:
    """Take no step: the thread is done."""


@dataclass(slots=True)
class _Writer:
    """Write the functions; `state` is the name of the bytes (or bytearray) that the path reads at this point."""

    system: System
    lay: Layout
    lines: list[str] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    thread: int = 0
    place: int = 0

    def function(self, thread: int, place: int) -> None:
        self.thread, self.place = thread, place
        self.lines.append(f"def t{thread}_s{place}(s, out):")
        self.body(self.system.threads[thread].steps[place].body, 0, "s", 1, ())

    def slot(self, ref: Local | Shared) -> Slot:
        return self.lay.shared[ref.name] if isinstance(ref, Shared) else self.lay.locals[self.thread][ref.name]

    def element(self, ref: Local | Shared, state: str) -> str:
        at = self.slot(ref).at
        match ref.index:
            case None:
                return f"{state}[{at}]"
            case Const(index):
                return f"{state}[{at + index}]"
            case index:
                return f"{state}[{at} + {self.expr(index, state)}]"

    def expr(self, expr: Expr, state: str) -> str:
        match expr:
            case Const(value):
                return str(value)
            case Local() | Shared():
                bias = self.slot(expr).bias
                element = self.element(expr, state)
                return f"({element} - {bias})" if bias else element
            case Op("not", (arg,)):
                return f"(not {self.expr(arg, state)})"
            case Op("?:", (cond, then, orelse)):
                return f"({self.expr(then, state)} if {self.expr(cond, state)} else {self.expr(orelse, state)})"
            case Op("and" | "or" as op, (left, right)):
                return f"bool({self.expr(left, state)} {op} {self.expr(right, state)})"
            case Op(op, (left, right)):
                return f"({self.expr(left, state)} {op} {self.expr(right, state)})"
        raise ValueError(f"unknown expression {expr}")

    def body(self, body: Body, start: int, state: str, depth: int, passed: tuple[Cover | Mark, ...]) -> None:
        """Write the statements from `start` on; a path copies the state before its first change."""
        for i in range(start, len(body.stmts)):
            stmt = body.stmts[i]
            match stmt:
                case Cover() | Mark():
                    passed += (stmt,)
                case Wait(cond):
                    self.line(depth, f"if {self.expr(cond, state)}:")
                    depth += 1
                case Set(target, value):
                    state = self.own(state, depth)
                    self.store(depth, state, target, self.expr(value, state))
                case Choose(target, lo, hi, where):
                    self.line(depth, f"for c{i} in range({self.expr(lo, state)}, {self.expr(hi, state)}):")
                    self.line(depth + 1, f"x{depth} = bytearray({state})")
                    state, depth = f"x{depth}", depth + 1
                    self.store(depth, state, target, f"c{i}")
                    if where != Const(1):
                        self.line(depth, f"if {self.expr(where, state)}:")
                        depth += 1
                case Check(cond, rule, _) if rule in self.system.promised or rule == LIMIT:
                    self.line(depth, f"if not {self.expr(cond, state)}:")
                    self.leaf(depth + 1, state, passed, rule)
                    self.line(depth, "else:")
                    depth += 1
        if isinstance(body.end, Goto):
            self.leaf(depth, state, passed, None, body.end.target)
            return
        self.line(depth, f"if {self.expr(body.end.cond, state)}:")
        self.body(body.end.then, 0, state, depth + 1, passed)
        self.line(depth, "else:")
        self.body(body.end.orelse, 0, state, depth + 1, passed)

    def own(self, state: str, depth: int) -> str:
        """Return the name of a copy that the path may change, making it if there is none yet."""
        if state != "s":
            return state
        self.line(depth, "x = bytearray(s)")
        return "x"

    def store(self, depth: int, state: str, target: Local | Shared, value: str) -> None:
        bias = self.slot(target).bias
        self.line(depth, f"{self.element(target, state)} = {value}{f' + {bias}' if bias else ''}")

    def leaf(
        self, depth: int, state: str, passed: tuple[Cover | Mark, ...], broken: str | None, target: int = 0
    ) -> None:
        """Write the end of a path: it goes to a step, or breaks a rule and stays where it is."""
        state = self.own(state, depth)
        if broken is not None:
            self.line(depth, f"{state}[{BROKEN}] = {CODES[broken]}")
        else:
            at = self.lay.pc[self.thread]
            self.line(depth, f"{state}[{at}] = {target & 255}")
            if self.lay.wide[self.thread]:
                self.line(depth, f"{state}[{at + 1}] = {target >> 8}")
        self.line(depth, f"out.append(({len(self.leaves)}, bytes({state})))")
        self.leaves.append(Leaf(self.thread, self.place, broken, passed))

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


def marks(system: System) -> Iterator[Mark]:
    """Yield every source mark of a system's steps, reached or not."""

    def walk(body: Body) -> Iterator[Stmt]:
        yield from body.stmts
        if not isinstance(body.end, Goto):
            yield from walk(body.end.then)
            yield from walk(body.end.orelse)

    for thread in system.threads:
        for step in thread.steps:
            yield from (stmt for stmt in walk(step.body) if isinstance(stmt, Mark))
