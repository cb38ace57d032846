# SPDX-License-Identifier: Apache-2.0
"""Lower what is done with fields but reading them: stores, the methods of Atomic, Flag and WaitQueue, and barriers."""

from __future__ import annotations

import ast
from abc import abstractmethod

from unpinned.ir.program import Check, Const, Cover, Expr, Local, Note, Op, Set, Shared, Stmt, Var, Wait
from unpinned.ir.rules import LIMIT
from unpinned.plan.lowering.expressions import Expressions
from unpinned.plan.lowering.values import Val
from unpinned.plan.vocabulary import ALONE, FIELD_CALLS, a_or_an, listed

#: What a CPU is on a wait queue: not there, queued before it looks at its condition, or woken.
_GONE, QUEUED, _WOKEN = Const(0), Const(1), Const(2)


class Fields(Expressions):
    """Lower stores to fields, and calls of their methods."""

    # ---- stores

    def store_field(self, ref: Shared, value: Expr, node: ast.AST) -> None:
        """Emit the step that stores a field."""
        self.shared([*self.in_width(ref, value, node), Set(ref, value)], node)

    def in_width(self, ref: Shared, value: Expr, node: ast.AST) -> list[Stmt]:
        """Return the checks of a store: a counter must not go below zero, nor past its width."""
        component = next(c for c in self.components.values() if ref.name.startswith(f"{c.prefix}."))
        shown = ref.name.split(".", 1)[1]
        var, decl, _ = self.field_var(component, shown)
        signed = decl.kind == "Atomic" and decl.signed
        if isinstance(value, Const) and not (var.lo if signed else 0) <= value.value <= var.hi:
            holds = f"{var.lo} to {var.hi}" if signed else f"0 to {var.hi}"
            if value.value > var.hi or signed:
                hint = f"{decl.kind}(bits=N) holds 0 to 2**N - 1; {shown} holds {holds}."
                raise self.error(node, f"constant out of range: {shown} cannot hold {value.value}", hint)
        if decl.kind not in ("Counter", "Atomic") or (isinstance(value, Const) and value.value >= 0):
            return []
        checks: list[Stmt] = []
        if not signed:
            if isinstance(value, Op) and value.op == "-" and not self.model:
                checks.append(Cover("rule:balance"))
            checks.append(Check(Op(">=", (value, Const(0))), "balance", f"{shown} goes below zero"))
        inside = Op("and", (Op("<=", (Const(var.lo), value)), Op("<=", (value, Const(var.hi)))))
        low = var.lo if signed else 0
        checks.append(Check(inside, LIMIT, f"the counter {shown} passed its width, {low}..{var.hi}"))
        return checks

    # ---- methods of fields

    def field_call(self, func: ast.Attribute, node: ast.Call) -> Val:
        """Lower `self.f.m(...)`."""
        var, ref = self.field(func.value)
        component, name = self.field_name(func.value.value if isinstance(func.value, ast.Subscript) else func.value)
        decl = component.cls.fields[name]
        while decl.of is not None:
            decl = decl.of
        methods = FIELD_CALLS.get(decl.kind, {})
        if func.attr not in methods:
            has = f"It has {listed(methods)}." if methods else "It has no methods."
            owners = [kind for kind, each in FIELD_CALLS.items() if func.attr in each]
            hint = f"{has} {listed(owners)} {'has' if len(owners) == 1 else 'have'} this one."
            raise self.error(node, f"{name} is {a_or_an(decl.kind)}, which has no {func.attr}", hint)
        match func.attr:
            case "wait_event":
                self.wait_event(var, node.args[0], node)
                return Val("none")
            case "wake_up":
                self.wake_up(var, node)
                return Val("none")
        if decl.kind in ALONE:
            return self.lifetime_call(func.attr, var, node)
        values = [self.need(self.value(arg), var.type, arg) for arg in node.args]
        return self.exchange(func.attr, var, ref, [value.expr for value in values], node)

    @abstractmethod
    def lifetime_call(self, method: str, var: Var, node: ast.Call) -> Val:
        """Lower a method of an Object, an Srcu or a WorkItem (lifetime.py)."""

    def exchange(self, method: str, var: Var, ref: Shared, given: list[Expr], node: ast.Call) -> Val:
        """Lower what reads and writes in one step: add_return, cmpxchg, xchg."""
        result = self.fresh("bool" if method == "cmpxchg" else var.type)
        assert isinstance(result.expr, Local)
        match method:
            case "add_return":
                new: Expr = Op("+", (ref, given[0]))
                stmts: list[Stmt] = [*self.in_width(ref, new, node), Set(ref, new), Set(result.expr, ref)]
            case "cmpxchg":
                new = Op("?:", (result.expr, given[1], ref))
                stmts = [Set(result.expr, Op("==", (ref, given[0]))), *self.in_width(ref, new, node), Set(ref, new)]
            case _:
                stmts = [*self.in_width(ref, given[0], node), Set(result.expr, ref), Set(ref, given[0])]
        names = [f"a{i}" for i in range(len(given))]
        text = f"{_shown(ref)}.{method}({', '.join(f'{{{name}}}' for name in names)}) = {{result}}"
        told = [(name, var.type, expr) for name, expr in zip(names, given, strict=True)]
        told.append(("result", result.type, result.expr))
        if ref.index is not None:
            told.append(("at", "gfn", ref.index))
        self.shared([*stmts, Note(text, tuple(told))], node)
        return result

    def wait_event(self, var: Var, cond: ast.expr, node: ast.Call) -> None:
        """Lower wait_event: queue, look, sleep until woken, and begin again.

        As prepare_to_wait() of the kernel it queues before it looks, so that no wake_up() falls between.
        """
        if self.atomic:
            raise self.error(node, "a CPU may not sleep in an atomic block", "Write `wait(COND)`.")
        name = var.name.split(".", 1)[1]
        mine = Shared(var.name, Const(self.cpu))
        for stmt in self.may_sleep(f"wait_event() of {name}"):
            self.local(stmt, node)
        head = self.flow.emit(self._node(Note(""), None, False, node))
        self.shared([Set(mine, QUEUED), Note(f"wait_event({name}): on the queue")], node, sleeps=True)
        yes, no = self.test(cond)
        self.merge(no)
        woken: list[Stmt] = [Wait(Op("==", (mine, _WOKEN))), Set(mine, _GONE), Note(f"wait_event({name}): woken")]
        self.shared(woken, node, sleeps=True)
        self.flow.catch(head)
        self.merge(yes)
        self.shared([Set(mine, _GONE), Note(f"wait_event({name}): done")], node)

    def wake_up(self, var: Var, node: ast.Call) -> None:
        """Lower wake_up: every CPU on the queue is woken."""
        stmts: list[Stmt] = []
        for cpu in range(self.dims.cpus):
            one = Shared(var.name, Const(cpu))
            stmts.append(Set(one, Op("?:", (Op("==", (one, QUEUED)), _WOKEN, one))))
        self.shared([*stmts, Note(f"wake_up({var.name.split('.', 1)[1]})")], node)

    # ---- memory ordering

    def ordering(self, name: str, node: ast.Call) -> Val:
        """Lower READ_ONCE, barriers and their like: accesses as without them, for memory is sequentially consistent."""
        match name:
            case "READ_ONCE" | "smp_load_acquire":
                return self.value(node.args[0])
            case "WRITE_ONCE" | "smp_store_release":
                value = self.value(node.args[1])
                self.store_place(node.args[0], value, node)
        return Val("none")

    def store_place(self, target: ast.expr, value: Val, node: ast.AST) -> None:
        """Lower a store to a field or an element of one."""
        var, ref = self.field(target)
        self.no_lock(target, var)
        self.store_field(ref, self.need(value, var.type, target).expr, node)


def _shown(ref: Shared) -> str:
    name = ref.name.split(".", 1)[1]
    return name if ref.index is None else f"{name}[{{at}}]"
