# SPDX-License-Identifier: Apache-2.0
"""Lower methods to the steps of a thread: statements, loops, locks and calls, which are inlined."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final

from unpinned.errors import PlanError, Pos
from unpinned.ir.flow import Edge, Node, fuse
from unpinned.ir.program import (
    FALSE,
    LOCK_TYPES,
    TRUE,
    Body,
    Branch,
    Choose,
    Const,
    Expr,
    Local,
    Mark,
    Note,
    Op,
    Set,
    Thread,
    Var,
    Wait,
)
from unpinned.plan.lowering.builder import LOCK_KINDS, Component, Frame, Loop
from unpinned.plan.lowering.calls import HOOK_RESULTS, HOOK_TYPES, Calls
from unpinned.plan.lowering.values import RESULTS, TYPE_NAMES, Dims, Val
from unpinned.plan.vocabulary import SIDES, TRIES, a_or_an

#: Hooks that return nothing; page_fault returns a result.
FAULT_HOOK: Final = "page_fault"


class Lowerer(Calls):
    """Lower the statements of methods."""

    # ---- statements

    def block(self, body: list[ast.stmt]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: ast.stmt) -> None:
        match stmt:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.Assign(targets=[ast.Name() as target], value=ast.Call(func=ast.Name(id="per_page")) as call):
                self.declare_array(target, call)
            case ast.Assign(targets=[target], value=value):
                self.store(target, self.value(value), stmt)
            case ast.AugAssign():
                self.augmented(stmt)
            case ast.If():
                self.if_(stmt)
            case ast.While():
                self.while_(stmt)
            case ast.For():
                self.for_(stmt)
            case ast.With():
                self.with_(stmt, list(stmt.items))
            case ast.Return():
                self.return_(stmt)
            case ast.Raise():
                self.fail_fault(stmt)
            case ast.Break() | ast.Continue():
                self.leave_loop(stmt)
            case _:
                raise self.error(stmt, "this statement is not in the language")
        if not isinstance(stmt, ast.With | ast.If | ast.For | ast.While):
            self.mark(stmt)

    def store(self, target: ast.expr, value: Val, node: ast.stmt) -> None:
        """Lower an assignment to a local, an element of a local array, or a field."""
        if isinstance(target, ast.Name):
            self.set_local(target, value, node)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            array = self.array_element(target).expr
            assert isinstance(array, Local)
            self.local(Set(array, value.expr), node)
        else:
            self.store_place(target, value, node)

    def set_local(self, target: ast.Name, value: Val, node: ast.AST) -> None:
        frame, name = self.frame, target.id
        if value.type == "none":
            raise self.error(node, "nothing is returned there that could be kept", "Call it on a line of its own.")
        if name in frame.fixed:
            raise self.error(target, f"{name} {frame.fixed[name]} and may not be set", "Take another name.")
        if name in RESULTS or (self.model and name in ("NONE", "PAGES", "FRAMES", "VCPUS")):
            raise self.error(target, f"{name} is a word of the language", "Take another name.")
        if name not in frame.vars:
            frame.vars[name] = self.fresh(value.type, name)
        held = frame.vars[name]
        if held.type != value.type and not self.model:
            what = f"{name} holds {TYPE_NAMES[held.type]} and would hold {TYPE_NAMES[value.type]}"
            raise self.error(node, what, "A local keeps the type that it was first given.")
        self.assign(held, value, node)
        if frame.assigned is not None:
            frame.assigned |= {name}

    def augmented(self, stmt: ast.AugAssign) -> None:
        """Lower `x += e`: on a Counter the read and the write are two steps, with `e` between them."""
        op = {ast.Add: "+", ast.Sub: "-"}[type(stmt.op)]
        if isinstance(stmt.target, ast.Name):
            old = self.need(self.name(stmt.target), "int", stmt.target).expr
            self.set_local(stmt.target, Val("int", (Op(op, (old, self.number(stmt.value))),)), stmt)
            return
        var, ref = self.field(stmt.target)
        if var.type != "int" and not self.model:
            hint = "Only a Counter and an Atomic can be added to."
            raise self.error(stmt, f"{ast.unparse(stmt.target)} is not a number", hint)
        old = ref
        if not self.atomic and not self.is_atomic(ref):
            read = self.fresh("int")
            assert isinstance(read.expr, Local)
            self.shared([Set(read.expr, ref)], stmt)
            old = read.expr
        self.store_field(ref, Op(op, (old, self.number(stmt.value))), stmt)

    # ---- control flow

    def if_(self, stmt: ast.If) -> None:
        match stmt.test:
            case ast.Call(func=ast.Name(id="given")):
                self.block(stmt.body if self.truth(stmt.test) == TRUE else stmt.orelse)
                return
        yes, no = self.test(stmt.test)
        before = self.frame.assigned
        self.merge(yes)
        self.mark(stmt)
        self.block(stmt.body)
        yes, then = self.flow.pending, self.frame.assigned
        self.merge(no)
        self.frame.assigned = before
        self.mark(stmt)
        self.block(stmt.orelse)
        self.merge(yes, self.flow.pending)
        self.frame.assigned = _both(then, self.frame.assigned)

    def while_(self, stmt: ast.While) -> None:
        loop = Loop(len(self.locks))
        head = self._here(stmt, stmt if not self.model else None)
        for_ever = isinstance(stmt.test, ast.Constant) and bool(stmt.test.value)
        exits: list[frozenset[str] | None] = []
        if not for_ever:
            yes, no = self.test(stmt.test)
            loop.breaks += no
            exits.append(self.frame.assigned)
            self.merge(yes)
        self.frame.loops.append(loop)
        self.block(stmt.body)
        self.frame.loops.pop()
        self._close(loop, head, exits)

    def for_(self, stmt: ast.For) -> None:
        assert isinstance(stmt.target, ast.Name)
        name, frame = stmt.target.id, self.frame
        if name in frame.vars:
            raise self.error(stmt.target, f"{name} is set already", "Take another name for the loop's variable.")
        if self.model and isinstance(stmt.iter, ast.Name) and stmt.iter.id in ("PAGES", "FRAMES", "VCPUS"):
            count = getattr(self.dims, stmt.iter.id.lower())
            first, type_ = (1, "page") if stmt.iter.id == "FRAMES" else (0, "int")
            self._unrolled(stmt, name, [Const(first + i) for i in range(count)], None, type_)
            return
        start, end = self.need(self.value(stmt.iter), "range", stmt.iter).exprs
        if self.atomic:
            self._unrolled(stmt, name, [Const(i) for i in range(self.dims.pages)], (start, end), "gfn")
            return
        # Python looks at the range once, before the first turn, whatever becomes of its name.
        end = self.kept_copy(Val("gfn", (end,)), stmt).expr
        gfn = self.fresh("gfn", name)
        self.assign(gfn, Val("gfn", (start,)), stmt)
        head = self._here(stmt, None)
        loop = Loop(len(self.locks))
        yes, no = self.branch(Op("<", (gfn.expr, end)), stmt)
        self.merge(yes)
        exits = [frame.assigned]
        self._loop_body(stmt, name, gfn, loop)
        self.merge(self.flow.pending, loop.continues)
        loop.continues = []
        self.assign(gfn, Val("gfn", (Op("+", (gfn.expr, Const(1))),)), stmt)
        loop.breaks += no
        self._close(loop, head, exits)

    def _loop_body(self, stmt: ast.For, name: str, value: Val, loop: Loop) -> None:
        """Lower the body of a `for` once, with the loop's variable standing for `value`."""
        frame = self.frame
        frame.vars[name] = value
        frame.fixed[name] = "is the variable of a loop"
        if frame.assigned is not None:
            frame.assigned |= {name}
        frame.loops.append(loop)
        self.block(stmt.body)
        frame.loops.pop()
        del frame.fixed[name]
        del frame.vars[name]
        if frame.assigned is not None:
            frame.assigned -= {name}

    def _unrolled(
        self, stmt: ast.For, name: str, values: list[Const], within: tuple[Expr, Expr] | None, type_: str
    ) -> None:
        """Lower a loop over a fixed set, one copy of the body for each; `within` skips those outside a range."""
        loop = Loop(len(self.locks))
        exits = [self.frame.assigned]
        for value in values:
            skipped: list[Edge] = []
            if within is not None:
                inside = Op("and", (Op("<=", (within[0], value)), Op("<", (value, within[1]))))
                yes, skipped = self.branch(inside, stmt)
                self.merge(yes)
            loop.continues = []
            self._loop_body(stmt, name, Val(type_, (value,)), loop)
            self.merge(self.flow.pending, loop.continues, skipped)
        exits += loop.assigned
        self.merge(self.flow.pending, loop.breaks)
        self.frame.assigned = _all(exits)

    def _here(self, stmt: ast.stmt, while_: ast.stmt | None) -> Node:
        """Emit a node that does nothing, for a loop to come back to."""
        head = self._node(Note(""), None, False, stmt)
        head.loop = self.pos(while_) if while_ is not None else None
        return self.flow.emit(head)

    def _close(self, loop: Loop, head: Node, exits: list[frozenset[str] | None]) -> None:
        """Lead the end of a loop's body back to its head, and go on behind the loop."""
        self.merge(self.flow.pending, loop.continues)
        self.flow.catch(head)
        self.merge(loop.breaks)
        self.frame.assigned = _all(exits + loop.assigned)

    def leave_loop(self, stmt: ast.Break | ast.Continue) -> None:
        if not self.frame.loops:
            raise self.error(stmt, "this stands outside every loop", "Use return to leave the method.")
        loop = self.frame.loops[-1]
        self.release_to(loop.locks, stmt)
        if isinstance(stmt, ast.Break):
            loop.breaks += self.flow.pending
            loop.assigned.append(self.frame.assigned)
        else:
            loop.continues += self.flow.pending
        self._unreachable()

    def _unreachable(self) -> None:
        self.flow.pending = []
        self.frame.assigned = None

    # ---- blocks

    def with_(self, stmt: ast.With, items: list[ast.withitem]) -> None:
        if not items:
            self.block(stmt.body)
            return
        context = items[0].context_expr
        if isinstance(context, ast.Call) and isinstance(context.func, ast.Name) and self.model:
            self.atomic_block(stmt)
            return
        if isinstance(context, ast.Call) and isinstance(context.func, ast.Name):
            self.in_section(self.rcu, stmt, items)
            return
        if self.atomic:
            raise self.error(stmt, "a lock may not be taken in an atomic block", "Take it outside.")
        way = ""
        if isinstance(context, ast.Call) and isinstance(context.func, ast.Attribute):
            way = context.func.attr
            context = context.func.value
        var, ref = self.field(context)
        if var.type == "srcu" and way == "read":
            self.in_section(var, stmt, items)
            return
        self._is_way(var, way, context)
        # Nothing may change the index while the lock is held: what is taken is what is released.
        index = None if ref.index is None else self.kept_copy(Val("gfn", (ref.index,)), stmt).expr
        depth = len(self.locks)
        name = items[0].optional_vars
        if isinstance(name, ast.Name):
            got = self._got(name)
            self.try_acquire(var, index, "read" not in way, got, context)
        else:
            self.acquire(var, index, way != "read", context)
        self.with_(stmt, items[1:])
        self.release_to(depth, context)
        del self.locks[depth:]
        if isinstance(name, ast.Name):
            del self.frame.fixed[name.id]

    def in_section(self, readers: Var, stmt: ast.With, items: list[ast.withitem]) -> None:
        """Lower a block that is a section of RCU or SRCU; one within another of the domain is no step."""
        depth = len(self.locks)
        self.enter_section(readers, items[0].context_expr)
        self.with_(stmt, items[1:])
        self.release_to(depth, items[0].context_expr)
        del self.locks[depth:]

    def _is_way(self, var: Var, way: str, lock: ast.expr) -> None:
        """Refuse to take what is no lock, or in a way that it does not have."""
        shown = ast.unparse(lock)
        if var.type == "srcu":
            what = f"{shown} is an SRCU domain, and taken by a section"
            raise self.error(lock, what, f"Write `with {shown}.read():`.")
        if var.type not in LOCK_TYPES:
            raise self.error(lock, f"{shown} is no lock", "Declare it: NAME = SpinLock().")
        kind = next(kind for kind, type_ in LOCK_KINDS.items() if type_ == var.type)
        ways = SIDES.get(kind, ("",))
        if way in (*ways, *TRIES[kind]):
            return
        if any(way in tries for tries in TRIES.values()):
            ways = TRIES[kind]
        after = " as got" if ways == TRIES[kind] else ""
        written = [f"`with {shown}{f'.{each}()' if each else ''}{after}:`" for each in ways]
        if way:
            what = f"{shown} is {a_or_an(kind)}, and has no {way}()"
            raise self.error(lock, what, f"Write {' or '.join(written)}.")
        raise self.error(lock, f"{shown} is {a_or_an(kind)}, and has two sides", f"Write {' or '.join(written)}.")

    def _got(self, name: ast.Name) -> Local:
        """Make the local that says whether a lock was got, which nothing else may set while the lock may be held."""
        self.set_local(name, Val("bool", (FALSE,)), name)
        self.frame.fixed[name.id] = "says whether a lock was got"
        got = self.frame.vars[name.id].expr
        assert isinstance(got, Local)
        return got

    def atomic_block(self, stmt: ast.With) -> None:
        """Lower `with atomic():`: all of it is one step."""
        if self.atomic:
            raise self.error(stmt, "an atomic block stands in another", "Leave out the inner one.")
        # The step is shown at its first line that does something.
        silent = ("note", "cover", "check", "limit")
        does = (s for s in stmt.body if not (isinstance(s, ast.Expr) and ast.unparse(s).startswith(silent)))
        self.flow.emit(self._node(Note(""), None, True, next(does, stmt.body[0])))
        self.atomic = True
        self.block(stmt.body)
        self.atomic = False

    # ---- leaving a method

    def return_(self, stmt: ast.Return) -> None:
        frame = self.frame
        hook = self.is_hook(frame)
        if self.atomic and frame.locks != len(self.locks):
            raise self.error(stmt, "a return may not stand in an atomic block under a lock")
        value = Val("none") if stmt.value is None else self.value(stmt.value)
        wanted = HOOK_RESULTS[frame.method.name].type if hook and frame.method.name in HOOK_RESULTS else None
        if hook and wanted is None:
            wanted = "result" if frame.method.name == FAULT_HOOK else "none"
        if wanted in ("int", "bool") and value.type not in ("none", wanted):
            what = f"{frame.method.name} returns {TYPE_NAMES[wanted]}, or nothing, and not {TYPE_NAMES[value.type]}"
            hint = "Return 0, or -EAGAIN." if wanted == "int" else "Return True, or False where it may not block."
            raise self.error(stmt, what, hint)
        if wanted == "result" and value.type != "result":
            hint = "page_fault returns REPLAY, MAPPED or FAULT on every path."
            raise self.error(stmt, f"page_fault returns {TYPE_NAMES[value.type]}", hint)
        if wanted == "none" and value.type != "none":
            raise self.error(stmt, f"{frame.method.name} returns nothing", "Write `return`.")
        self.give_back(value, stmt)

    def give_back(self, value: Val, node: ast.AST) -> None:
        """Set the result of the open call, release its locks, and leave it."""
        frame = self.frame
        if value.type != "none":
            if frame.result is None:
                frame.result = self.fresh(value.type, "return")
            if frame.result.type != value.type and not self.model:
                what = f"{frame.method.name} returns {TYPE_NAMES[value.type]} here and elsewhere another type"
                raise self.error(node, what, "A method returns values of one type.")
            self.assign(frame.result, value, node)
        self.mark(node)
        self.release_to(frame.locks, node)
        frame.exits += self.flow.pending
        self._unreachable()

    def fail_fault(self, stmt: ast.stmt) -> None:
        """Lower `raise FAULT`: the page_fault that got here releases its locks and ends with FAULT."""
        if self.atomic:
            raise self.error(stmt, "a fault may not fail in an atomic block", "Raise FAULT behind it.")
        depth = next((i for i, frame in enumerate(self.frames) if self._is_fault(frame)), None)
        if depth is None and not self.frames[0].component.model:
            self._leave_operation(stmt)
            return
        if depth is None:
            caller = next(frame for frame in reversed(self.frames) if not frame.component.model)
            what = "get_user_page is called outside page_fault"
            raise caller.method.source.error(caller.method.node, what, "Only a fault can fail and return FAULT.")
        fault = self.frames[depth]
        if fault.result is None:
            fault.result = self._result_of(fault)
        self.assign(fault.result, Val("result", (Const(RESULTS["FAULT"]),)), stmt)
        self.release_to(fault.locks, stmt)
        fault.exits += self.flow.pending
        self._unreachable()

    def _leave_operation(self, node: ast.AST) -> None:
        """Lower the end of an operation of the client's own, or of work, that found no page."""
        self.release_to(self.frames[0].locks, node)
        self.frames[0].exits += self.flow.pending
        self._unreachable()

    def _result_of(self, fault: Frame) -> Val:
        inner, self.frames = self.frames, self.frames[: self.frames.index(fault) + 1]
        result = self.fresh("result", "return")
        self.frames = inner
        return result

    def is_hook(self, frame: Frame) -> bool:
        if frame.component.model:
            return False
        return frame.method.name in HOOK_TYPES or frame.method.name in frame.component.cls.alone

    def _is_fault(self, frame: Frame) -> bool:
        return not frame.component.model and frame.method.name == FAULT_HOOK


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    """Return what is assigned where two paths meet; None is a path that nothing takes."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


def _all(paths: list[frozenset[str] | None]) -> frozenset[str] | None:
    met: frozenset[str] | None = None
    for path in paths:
        met = _both(met, path)
    return met


def _begin_past_initial_values(lowerer: Lowerer) -> None:
    """Begin a thread behind the stores that give locals their initial values: it needs no step to have them."""
    node = lowerer.flow.entry
    while node is not None and node.next is not None and not node.starts:
        match node.stmt:
            case Set(Local(name), Const(value)) if value == lowerer.locals[name].init:
                node = node.next
            case Note() | Mark():
                node = node.next
            case _:
                break
    lowerer.flow.entry = node


def _check_waits(body: Body, pos: Pos, changed: bool = False) -> None:
    """Refuse a step that would have to wait when it has done something already: it is taken whole or not at all."""
    for stmt in body.stmts:
        if isinstance(stmt, Wait) and changed:
            what = "this step may have to wait when it has stored or chosen something already"
            raise PlanError(what, pos, "Put wait(), and a choice among values, first in the atomic block.")
        changed |= isinstance(stmt, Set | Choose)
    if isinstance(body.end, Branch):
        _check_waits(body.end.then, pos, changed)
        _check_waits(body.end.orelse, pos, changed)


def lower_thread(
    components: dict[str, Component],
    dims: Dims,
    cpu: int,
    name: str,
    kind: str,
    entry: tuple[str, str],
    args: Sequence[Val] = (),
    after: tuple[str, str] | None = None,
) -> Thread:
    """Lower one CPU: the method `entry` = (component, method) with constant `args`, everything inlined.

    :param after: a method that it runs when that one has returned.
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    lowerer = Lowerer(components, dims, cpu)
    component, method = entry
    lowerer.enter(components[component], method, args)
    if after is not None:
        lowerer.enter(components[after[0]], after[1])
    _begin_past_initial_values(lowerer)
    steps, done = fuse(lowerer.flow)
    for step in steps:
        _check_waits(step.body, step.pos)
    return Thread(name, kind, tuple(lowerer.locals.values()), steps, done if lowerer.flow.pending else None)
