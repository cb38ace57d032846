# SPDX-License-Identifier: Apache-2.0
"""Walk the paths of a hook: what it reads, stores, tests, takes and calls, in order, with the locks that it holds.

What others have stored is not known, so that every look at shared state may come out either way. What follows from
such a look is known: a path on which `stale` was found true stays so. Truth values, small numbers, and from where a
local was read are followed; everything else may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from unpinned.ir.program import Check, Choose, Const, Expr, Local, Op, Set, Shared, Wait
from unpinned.lint.events import (
    OLDEST,
    SEQUENCE,
    Answers,
    Begins,
    Breaks,
    Changed,
    Compares,
    Drops,
    Event,
    Finds,
    Hold,
    Known,
    Misses,
    Page,
    Reads,
    Returned,
    Sleeps,
    Snapshot,
    Stores,
    Takes,
    Value,
    Wakes,
)
from unpinned.lint.graph import Call, Hook, field
from unpinned.plan.lowering.fields import QUEUED
from unpinned.plan.lowering.values import INT_HI, INT_LO

M = TypeVar("M", bound=Hashable)

#: A hook with more states than this is not walked to its end.
MAX_STATES: Final = 20_000


Env = frozenset[tuple[str, Value]]


@dataclass(frozen=True, slots=True)
class State:
    """A place on a path, what is known there, and the locks that are held."""

    place: int
    known: Env
    held: tuple[Hold, ...]


#: What leads on from a state: events in order, and the next state, or None where the hook ends.
Edge = tuple[tuple[Event, ...], State | None]


@dataclass(frozen=True)
class Paths:
    """All paths of a hook: the states, each with what leads on from it, and the first one.

    Where there were too many (`cut`), some paths are missing.
    """

    hook: Hook
    first: State
    edges: dict[State, tuple[Edge, ...]]
    cut: bool

    def follow(self, memory: M, step: Callable[[M, Event], M]) -> frozenset[M]:
        """Take every path, with a memory that each event changes; return what may be remembered at the end."""
        ends: set[M] = set()
        seen = {(self.first, memory)}
        stack = [(self.first, memory)]
        while stack:
            state, before = stack.pop()
            for events, target in self.edges.get(state, ()):
                after = before
                for event in events:
                    after = step(after, event)
                if target is None:
                    ends.add(after)
                elif (target, after) not in seen:
                    seen.add((target, after))
                    stack.append((target, after))
        return frozenset(ends)

    @property
    def events(self) -> Iterator[Event]:
        """Yield every event, in no order; some more than once."""
        for edges in self.edges.values():
            for events, _ in edges:
                yield from events


def paths(hook: Hook) -> Paths:
    """Return all paths of a hook."""
    first = State(0, frozenset(), ())
    edges: dict[State, tuple[Edge, ...]] = {}
    stack = [first]
    while stack and len(edges) < MAX_STATES:
        state = stack.pop()
        if state not in edges:
            edges[state] = tuple(_Step(hook, state).edges())
            stack += [target for _, target in edges[state] if target is not None and target not in edges]
    return Paths(hook, first, edges, cut=bool(stack))


class _Step:
    """Take the paths on from one state, over one node."""

    def __init__(self, hook: Hook, state: State) -> None:
        self.hook = hook
        self.state = state
        self.node = hook.nodes[state.place]
        self.held = frozenset(state.held)

    def edges(self) -> Iterator[Edge]:
        """Yield what leads on."""
        known, after = dict(self.state.known), self.hook.after[self.state.place]
        call = self.hook.calls.get(self.state.place)
        if call is not None:
            event: Event
            if call.begins:
                got = None if call.page is None else _value(call.page, known)
                event = Begins(self.node.pos, self.held, call.name, got.pos if isinstance(got, Page) else None)
            else:
                event = Returned(self.node.pos, self.held, call.name)
                if isinstance(call.page, Local):
                    known[call.page.name] = Page(self.node.pos)
            yield (event, *self._sequence(call, known)), self._at(after[0], known)
        elif self.node.cond is not None:
            for truth, env, events in self._decide(self.node.cond, known):
                yield events, self._at(after[0 if truth else 1], env)
        else:
            yield from self._statement(after[0], known)

    def _sequence(self, call: Call, known: dict[str, Value]) -> tuple[Event, ...]:
        """Note what is known of an interval notifier's sequence behind a call; return what that did to it."""
        if call.name == "mmu_interval_set_seq" and not call.begins:
            return (Stores(self.node.pos, self.held, SEQUENCE, 1, None),)
        if call.seq is None:
            return ()
        known.update(self._older(SEQUENCE, known))
        new = Snapshot(SEQUENCE, self.node.pos)
        old = None if call.old is None else _value(call.old, known)
        if call.old is None:
            known[call.seq.name] = new
        elif isinstance(old, Snapshot):
            known[call.seq.name] = Changed(old, new)
        return (Reads(self.node.pos, self.held, SEQUENCE),)

    def _at(self, place: int, known: dict[str, Value], held: tuple[Hold, ...] | None = None) -> State | None:
        if place < 0:
            return None
        live = self.hook.live[place]
        kept = frozenset((name, value) for name, value in known.items() if name in live)
        return State(place, kept, self.state.held if held is None else held)

    def _statement(self, place: int, known: dict[str, Value]) -> Iterator[Edge]:
        """Yield what a statement leads to."""
        match self.node.stmt:
            case Set(Shared() as target, value) if (name := field(target)) in self.hook.locks:
                yield self._lock(place, known, Hold(name, isinstance(value, Op)), value)
            case Set(Shared() as target, value) if (name := field(target)) in self.hook.queues:
                yield self._queue(name, value), self._at(place, known)
            case Set(Shared() as target, value) if name := field(target):
                by, new = _change(target, value, known)
                yield (Stores(self.node.pos, self.held, name, by, new),), self._at(place, known)
            case Set(Local(local, None), Shared() as source) if name := field(source):
                yield self._read(place, known, local, name)
            case Set(Local(local, None), value):
                for found, env, does in self._options(value, known):
                    events = (*does, *self._told(local, found))
                    if found is None:
                        env.pop(local, None)
                    else:
                        env[local] = found
                    yield events, self._at(place, env)
            case Check(cond, rule):
                for truth, env, events in self._decide(cond, known):
                    yield (*events, *(() if truth else (Breaks(self.node.pos, self.held, rule),))), self._at(place, env)
            case Choose(Local(local, None)):
                known.pop(local, None)
                yield (), self._at(place, known)
            case _:
                yield (), self._at(place, known)

    def _told(self, local: str, found: Value | None) -> tuple[Event, ...]:
        """Return what a local tells by its value: that a lock was not got, or what the hook returns."""
        if self.state.place in self.hook.tries and found == Known(0):
            return (Misses(self.node.pos, self.held, self.hook.tries[self.state.place]),)
        if local == self.hook.answer:
            return (Answers(self.node.pos, self.held, found.value if isinstance(found, Known) else None),)
        return ()

    def _queue(self, name: str, value: Expr) -> tuple[Event, ...]:
        """Return what a change of a wait queue is: a CPU goes there itself, or changes each that is there."""
        if isinstance(value, Op):
            return (Wakes(self.node.pos, self.held, name),)
        return (Sleeps(self.node.pos, self.held, name),) if value == QUEUED else ()

    def _lock(self, place: int, known: dict[str, Value], hold: Hold, value: Expr) -> Edge:
        """Take or drop a lock: alone it holds a constant, with others it counts."""
        taken = value.value != 0 if isinstance(value, Const) else isinstance(value, Op) and value.op == "+"
        held = list(self.state.held)
        if taken:
            held.append(hold)
            waits = any(isinstance(node.stmt, Wait) and node.next is self.node for node in self.hook.nodes)
            return (Takes(self.node.pos, self.held, hold, waits),), self._at(place, known, tuple(held))
        held.remove(hold)
        return (Drops(self.node.pos, self.held, hold),), self._at(place, known, tuple(held))

    def _read(self, place: int, known: dict[str, Value], local: str, name: str) -> Edge:
        """Read a field: what was read of it before is older by one."""
        older = self._older(name, known)
        older[local] = Snapshot(name, self.node.pos)
        return (Reads(self.node.pos, self.held, name),), self._at(place, older)

    @staticmethod
    def _older(name: str, known: dict[str, Value]) -> dict[str, Value]:
        """Return what is known when a field is read once more."""

        def aged(one: Snapshot) -> Snapshot:
            return replace(one, age=min(one.age + 1, OLDEST)) if one.field == name else one

        older: dict[str, Value] = {}
        for each, value in known.items():
            match value:
                case Snapshot():
                    older[each] = aged(value)
                case Changed(old, new):
                    older[each] = Changed(aged(old), aged(new))
                case _:
                    older[each] = value
        return older

    # ---- what an expression may be

    def _options(
        self, expr: Expr, known: dict[str, Value]
    ) -> Iterator[tuple[Value | None, dict[str, Value], tuple[Event, ...]]]:
        """Yield what an expression may be, with what is known then."""
        match expr:
            case Op("?:", (cond, then, orelse)):
                for truth, env, events in self._decide(cond, known):
                    for value, end, more in self._options(then if truth else orelse, env):
                        yield value, end, events + more
            case Op("not" | "and" | "or" | "==" | "!=" | "<" | "<=" | ">" | ">="):
                for truth, env, events in self._decide(expr, known):
                    yield Known(int(truth)), env, events
            case _:
                yield _value(expr, known), dict(known), ()

    def _decide(
        self, expr: Expr, known: dict[str, Value]
    ) -> Iterator[tuple[bool, dict[str, Value], tuple[Event, ...]]]:
        """Yield whether an expression may be true, and false, with what is known then."""
        match expr:
            case Op("not", (inner,)):
                for truth, env, events in self._decide(inner, known):
                    yield not truth, env, events
            case Op("and" | "or" as op, (left, right)):
                for truth, env, events in self._decide(left, known):
                    if truth == (op == "or"):
                        yield truth, env, events
                    else:
                        for also, end, more in self._decide(right, env):
                            yield also, end, events + more
            case Op("==" | "!=" | "<" | "<=" | ">" | ">=" as op, (left, right)):
                yield from self._compare(op, left, right, known)
            case _:
                yield from self._truth(expr, known)

    def _compare(
        self, op: str, left: Expr, right: Expr, known: dict[str, Value]
    ) -> Iterator[tuple[bool, dict[str, Value], tuple[Event, ...]]]:
        """Compare two values."""
        match _value(left, known), op, _value(right, known):
            case Known(a), _, Known(b):
                yield _holds(op, a, b), dict(known), ()
            case ((Snapshot() as one), ("==" | "!="), (Snapshot() as two)) if _in_order(one, two):
                old, new = (one, two) if one.age > two.age else (two, one)
                for same in (True,) if one == two else (True, False):
                    yield same == (op == "=="), dict(known), (Compares(self.node.pos, self.held, old, new, same),)
            case Snapshot(), ("==" | "!=" | ">"), Known(0):
                for truth, env, events in self._truth(left, known):
                    yield truth == (op != "=="), env, events
            case _:
                yield True, dict(known), ()
                yield False, dict(known), ()

    def _truth(self, expr: Expr, known: dict[str, Value]) -> Iterator[tuple[bool, dict[str, Value], tuple[Event, ...]]]:
        """Ask whether a value is true; whatever was read together with it is then known too."""
        value = _value(expr, known)
        if isinstance(value, Known):
            yield value.value != 0, dict(known), ()
            return
        names = {name for name, other in known.items() if other == value}
        if isinstance(expr, Local) and expr.index is None:
            names.add(expr.name)
        is_truth = bool(names & self.hook.truths)
        for truth in (True, False):
            events: tuple[Event, ...] = ()
            if isinstance(value, Snapshot):
                events = (Finds(self.node.pos, self.held, value, truth),)
            elif isinstance(value, Changed):
                events = (Compares(self.node.pos, self.held, value.old, value.new, not truth),)
            found = dict.fromkeys(names, Known(int(truth))) if is_truth or not truth else {}
            yield truth, {**known, **found}, events


def _value(expr: Expr, known: dict[str, Value]) -> Value | None:
    """Return what an expression is, if that is known."""
    match expr:
        case Const(value):
            return Known(value)
        case Local(name, None):
            return known.get(name)
        case Op("+" | "-" as op, (left, right)):
            match _value(left, known), _value(right, known):
                case Known(a), Known(b) if INT_LO <= (total := a + b if op == "+" else a - b) <= INT_HI:
                    return Known(total)
    return None


def _in_order(one: Snapshot, two: Snapshot) -> bool:
    """Tell whether two values were read of one field, and it is known which was first."""
    return one.field == two.field and min(one.age, two.age) < OLDEST


def _change(target: Shared, value: Expr, known: dict[str, Value]) -> tuple[int | None, int | None]:
    """Return what a store adds to a field, or what it makes it, as far as that is known."""
    new = _value(value, known)
    if isinstance(new, Known):
        return None, new.value
    match value:
        case Op("+" | "-" as op, (before, change)):
            old, by = _value(before, known), _value(change, known)
            was_read = before == target or (isinstance(old, Snapshot) and old.field == field(target))
            if was_read and isinstance(by, Known):
                return (by.value if op == "+" else -by.value), None
    return None, None


def _holds(op: str, a: int, b: int) -> bool:
    match op:
        case "==":
            return a == b
        case "!=":
            return a != b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
    return a >= b
