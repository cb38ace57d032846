# SPDX-License-Identifier: Apache-2.0
"""Run one step of a thread and say what it did: the meaning of programs, as plain as it can be written.

The search uses the same steps compiled to Python (check/successors.py), which tests compare with this file. A race is
replayed here before it is printed, and the events of the steps are what a report tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unpinned.ir.layout import BROKEN, Layout, Slot
from unpinned.ir.program import (
    Body,
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
    Stmt,
    System,
    Wait,
)
from unpinned.ir.rules import CODES, LIMIT


@dataclass(frozen=True, slots=True)
class Stored:
    """A shared variable or a local was set: element `index` went from `old` to `new`."""

    var: str
    shared: bool
    index: int
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Read:
    """A shared variable was read into a local: element `index` is `value`."""

    var: str
    index: int
    value: int


@dataclass(frozen=True, slots=True)
class Said:
    """A note of the source, with its values (name, type, value) at the time when it was passed."""

    text: str
    values: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """The step ran through a Cover or a Mark."""

    what: Cover | Mark


@dataclass(frozen=True, slots=True)
class Broke:
    """A promised rule was broken, or a limit reached: the check that failed, and the elements that it looked at."""

    check: Check
    looked_at: tuple[tuple[str, int], ...]


Event = Stored | Read | Said | Passed | Broke


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which a step can go: the state after it and what happened, in order."""

    state: bytes
    events: tuple[Event, ...]


class _Run:
    """A state under work: values are read and written by name, and events are collected."""

    def __init__(self, system: System, lay: Layout, thread: int, state: bytes) -> None:
        self.system, self.lay, self.thread = system, lay, thread
        self.state = bytearray(state)
        self.events: list[Event] = []

    def fork(self) -> _Run:
        run = _Run(self.system, self.lay, self.thread, bytes(self.state))
        run.events = list(self.events)
        return run

    def slot(self, ref: Local | Shared) -> Slot:
        return self.lay.shared[ref.name] if isinstance(ref, Shared) else self.lay.locals[self.thread][ref.name]

    def index(self, ref: Local | Shared) -> int:
        index = 0 if ref.index is None else self.value(ref.index)
        if not 0 <= index < self.slot(ref).var.size:
            raise IndexError(f"{ref.name}[{index}]")
        return index

    def value(self, expr: Expr) -> int:
        match expr:
            case Const(value):
                return value
            case Local() | Shared():
                slot = self.slot(expr)
                return self.state[slot.at + self.index(expr)] - slot.bias
            case Op(op, args):
                return _operate(op, args, self)

    def set(self, target: Local | Shared, value: int, quiet: bool = False) -> None:
        slot, index = self.slot(target), self.index(target)
        if not slot.var.lo <= value <= slot.var.hi:
            raise ValueError(f"{target.name}[{index}] = {value}")
        old = self.state[slot.at + index] - slot.bias
        self.state[slot.at + index] = value + slot.bias
        if not quiet:
            self.events.append(Stored(target.name, isinstance(target, Shared), index, old, value))

    def elements(self, expr: Expr) -> Iterator[tuple[str, int]]:
        """Yield the shared elements that decide the value of an expression here."""
        if isinstance(expr, Op):
            for arg in expr.args:
                yield from self.elements(arg)
        elif isinstance(expr, Local | Shared):
            if expr.index is not None:
                yield from self.elements(expr.index)
            if isinstance(expr, Shared):
                yield expr.name, self.index(expr)

    def goto(self, place: int) -> None:
        at = self.lay.pc[self.thread]
        self.state[at] = place & 255
        if self.lay.wide[self.thread]:
            self.state[at + 1] = place >> 8


def _operate(op: str, args: tuple[Expr, ...], run: _Run) -> int:
    """Return the value of an operator; the logical ones look at their second argument only if they must."""
    first = run.value(args[0])
    match op:
        case "not":
            return int(not first)
        case "and":
            return int(bool(first and run.value(args[1])))
        case "or":
            return int(bool(first or run.value(args[1])))
        case "?:":
            return run.value(args[1] if first else args[2])
    second = run.value(args[1])
    match op:
        case "==":
            return int(first == second)
        case "!=":
            return int(first != second)
        case "<":
            return int(first < second)
        case "<=":
            return int(first <= second)
        case ">":
            return int(first > second)
        case ">=":
            return int(first >= second)
        case "+":
            return first + second
        case "-":
            return first - second
        case "*":
            return first * second
    raise ValueError(f"unknown operator {op}")


def outcomes(system: System, lay: Layout, state: bytes, thread: int) -> list[Outcome]:
    """Return every way in which `thread` can take its next step from `state`, in the order of the choices.

    The list is empty if the step must wait, if the thread is done, or if a rule is broken already.
    """
    place = lay.place(state, thread)
    if state[BROKEN] or place >= len(system.threads[thread].steps):
        return []
    run = _Run(system, lay, thread, state)
    return list(_body(run, system.threads[thread].steps[place].body))


def _body(run: _Run, body: Body, start: int = 0) -> Iterator[Outcome]:
    """Run a body from statement `start`: yield one outcome for each choice made on the way."""
    for i in range(start, len(body.stmts)):
        stmt = body.stmts[i]
        if isinstance(stmt, Choose):
            for value in range(run.value(stmt.lo), run.value(stmt.hi)):
                choice = run.fork()
                choice.set(stmt.target, value)
                if choice.value(stmt.where):
                    yield from _body(choice, body, i + 1)
            return
        if not _statement(run, stmt):
            if run.state[BROKEN]:
                yield Outcome(bytes(run.state), tuple(run.events))
            return
    if isinstance(body.end, Goto):
        run.goto(body.end.target)
        yield Outcome(bytes(run.state), tuple(run.events))
    else:
        yield from _body(run, body.end.then if run.value(body.end.cond) else body.end.orelse)


def _statement(run: _Run, stmt: Stmt) -> bool:
    """Run one statement; return whether the path goes on."""
    match stmt:
        case Set(target, value, reset):
            if isinstance(target, Local) and isinstance(value, Shared):
                run.events.append(Read(value.name, run.index(value), run.value(value)))
            run.set(target, run.value(value), quiet=reset)
        case Wait(cond):
            return bool(run.value(cond))
        case Check(cond, rule, _):
            if (rule in run.system.promised or rule == LIMIT) and not run.value(cond):
                run.state[BROKEN] = CODES[rule]
                run.events.append(Broke(stmt, tuple(run.elements(cond))))
                return False
        case Note(text, args):
            run.events.append(Said(text, tuple((name, type_, run.value(value)) for name, type_, value in args)))
        case Cover() | Mark():
            run.events.append(Passed(stmt))
        case Choose():
            raise AssertionError("a choice is made in _body")
    return True
