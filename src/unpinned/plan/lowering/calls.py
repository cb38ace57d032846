# SPDX-License-Identifier: Apache-2.0
"""Lower calls: methods are inlined, and a model's functions become statements."""

from __future__ import annotations

import ast
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from unpinned.ir.program import TRUE, Check, Choose, Const, Cover, Expr, Local, Note, Op, Set, Shared, Stmt, Wait
from unpinned.ir.rules import LIMIT
from unpinned.plan.lowering.builder import Component, Frame
from unpinned.plan.lowering.lifetime import Lifetimes
from unpinned.plan.lowering.values import TYPE_NAMES, Val, any_of
from unpinned.plan.reading.classes import MethodDef
from unpinned.plan.vocabulary import ORDERING

#: What the mm hands to a plan's methods.
HOOK_TYPES: Final = {
    "page_fault": ("gfn", "bool"),
    "invalidate_range_start": ("range",),
    "invalidate_range_end": ("range",),
    "invalidate_page": ("gfn",),
    "invalidate": ("range", "int"),
    "arch_invalidate_secondary_tlbs": ("range",),
    "release": (),
    "ioproc_invalidate_range": ("range",),
    "ioproc_invalidate_page": ("gfn",),
    "ioproc_update_page": ("gfn", "page", "bool"),
}
#: What a hook returns that may return something, and what it means if it returns nothing.
HOOK_RESULTS: Final = {"invalidate_range_start": Val("int", (Const(0),)), "invalidate": Val("bool", (TRUE,))}
#: What a plan hands to the mm and to its hardware; "span" is a range, or a gfn for the range of that one page.
BUILTIN_TYPES: Final = {
    "get_user_page": ("gfn", "bool"),
    "put_page": ("page",),
    "tfh_read": ("gfn",),
    "tfh_write_restart": ("gfn", "page", "bool"),
    "map": ("gfn", "page", "bool"),
    "mmu_interval_read_begin": (),
    "mmu_interval_read_retry": ("int",),
    "mmu_interval_set_seq": ("int",),
    "mmu_notifier_unregister": (),
    "zap": ("span",),
    "zap_sptes": ("span",),
    "flush": ("span",),
}


class Calls(Lifetimes):
    """Lower calls."""

    def call(self, node: ast.Call) -> Val:
        if isinstance(node.func, ast.Name):
            if node.func.id == "page_range":
                gfn = self.need(self.value(node.args[0]), "gfn", node.args[0]).expr
                return Val("range", (gfn, Op("+", (gfn, Const(1)))))
            if node.func.id == "all_pages":
                return Val("range", (Const(0), Const(self.dims.pages)))
            if node.func.id == "synchronize_rcu":
                return self.grace_period(self.rcu, "synchronize_rcu()", node)
            if node.func.id == "cond_resched":
                return self.reschedule(node)
            if node.func.id in ORDERING:
                return self.ordering(node.func.id, node)
            if self.model:
                return self.model_function(node.func.id, node)
        elif isinstance(node.func, ast.Attribute):
            if self.is_field(node.func.value):
                return self.field_call(node.func, node)
            return self.method_call(node.func, node)
        raise self.error(node, "this call is not in the language")

    def reschedule(self, node: ast.Call) -> Val:
        """Lower cond_resched(): a step that does nothing, before which another task may be given the CPU."""
        what = "cond_resched()"
        if self.atomic:
            raise self.error(node, "a CPU may not sleep in an atomic block", "Call it outside.")
        self.shared([*self.may_sleep(what), Note(what)], node, sleeps=True)
        return Val("none")

    def method_call(self, func: ast.Attribute, node: ast.Call) -> Val:
        """Lower `self.m(...)`, `super().m(...)`, and a model's `self.mm.m(...)`."""
        component, name, base = self.frame.component, func.attr, func.value
        if isinstance(base, ast.Call):
            method = component.cls.supers.get((self.frame.method.owner, name))
            if method is None:
                raise self.error(node, f"no base of {self.frame.method.owner} has a method {name}")
            return self.inline(component, method, self.arguments(method, node, HOOK_TYPES.get(name)), node)
        types: tuple[str, ...] | None = None
        if isinstance(base, ast.Attribute):
            component = self.components[base.attr]
            if not component.model and name in HOOK_TYPES and name not in component.cls.methods:
                return HOOK_RESULTS.get(name, Val("none"))  # a NULL op: the mm skips it
        elif name in component.builtins:
            types = BUILTIN_TYPES[name]
            component_name, name = component.builtins[name]
            component = self.components[component_name]
        if not component.model:
            types = HOOK_TYPES.get(name)
        method = component.cls.methods.get(name)
        if method is None:
            if name in component.cls.fields:
                raise self.error(node, f"{name} is a field, not a method", f"Write self.{name}.")
            known = ", ".join(sorted([*component.cls.methods, *component.builtins]))
            raise self.error(node, f"{component.cls.name} has no method {name}", f"It has: {known}.")
        args = self.arguments(method, node, types)
        if component.model or not self.model:
            return self.inline(component, method, args, node)
        blocking, self.may_block = self.may_block, all(arg.blockable for arg in args)
        result = self.inline(component, method, args, node)
        self.may_block = blocking
        return HOOK_RESULTS.get(name, result) if result.type == "none" else result

    def arguments(self, method: MethodDef, node: ast.Call, types: tuple[str, ...] | None = None) -> list[Val]:
        """Lower the arguments of a call and check them against what the method takes."""
        name = method.name
        if types == ("span",) and not node.args and name == "flush":
            return [Val("range", (Const(0), Const(self.dims.pages)))]
        if len(node.args) != len(method.params):
            wanted = ", ".join(method.params) or "nothing"
            raise self.error(node, f"{name} takes {wanted}", f"It was given {len(node.args)} arguments.")
        values = []
        for i, arg in enumerate(node.args):
            value = self.value(arg)
            if types is not None:
                if types[i] == "span" and value.type == "gfn":
                    value = Val("range", (value.expr, Op("+", (value.expr, Const(1)))))
                value = self.need(value, "range" if types[i] == "span" else types[i], arg)
            if value.type == "none":
                raise self.error(arg, "nothing is returned there that could be handed on")
            values.append(self.keep(value, arg) if self.atomic else value)
        return values

    def inline(self, component: Component, method: MethodDef, args: Sequence[Val], node: ast.AST | None) -> Val:
        """Lower a method's body in place of its call and return what it returns."""
        for frame in self.frames:
            if frame.method == method and node is not None:
                what = f"{method.name} calls itself"
                if frame is not self.frame:
                    what += ", by way of " + ", ".join(
                        f.method.name for f in self.frames[self.frames.index(frame) + 1 :]
                    )
                raise self.error(node, what, "Methods are inlined: write a loop instead.")
        self._one_kind_of_return(method)
        path = f"{self.frames[-1].path}/{method.name}" if self.frames else method.name
        frame = Frame(component, method, path, len(self.locks))
        assigned = _assigned_names(method.node)
        was_atomic = self.atomic
        self.frames.append(frame)
        for name, arg in zip(method.params, args, strict=True):
            frame.vars[name] = arg
            if name in assigned:
                frame.vars[name] = self.fresh(arg.type, name)
                self.assign(frame.vars[name], arg, method.node)
        frame.assigned = frozenset(method.params)
        self.block(method.node.body)
        if self.flow.reachable:
            self.fall_off(frame)
        self.frames.pop()
        self.atomic = was_atomic
        self.merge(self.flow.pending, frame.exits)
        return frame.result or Val("none")

    def _one_kind_of_return(self, method: MethodDef) -> None:
        """Refuse a method that returns a value here and nothing there."""
        returns = [node for node in ast.walk(method.node) if isinstance(node, ast.Return)]
        bare = [node for node in returns if node.value is None]
        if bare and len(bare) < len(returns):
            what = f"{method.name} returns nothing here, and a value elsewhere"
            raise method.source.error(bare[0], what, "Return a value on every path, or on none.")

    def fall_off(self, frame: Frame) -> None:
        """Refuse a method that can end without the value that it returns elsewhere."""
        if frame.method.name == "page_fault" and not frame.component.model:
            what = "page_fault can end without saying REPLAY, MAPPED or FAULT"
            raise self.error(frame.method.node, what, "Return one of them on every path.")
        if frame.result is not None:
            what = f"{frame.method.name} can end without {TYPE_NAMES[frame.result.type]}, which it returns elsewhere"
            raise self.error(frame.method.node, what, "Return a value on every path.")

    @abstractmethod
    def block(self, body: list[ast.stmt]) -> None:
        """Lower statements (statements.py)."""

    # ---- a model's own functions

    def model_function(self, name: str, node: ast.Call) -> Val:
        match name:
            case "this_cpu":
                return Val("int", (Const(self.cpu),))
            case "given":
                return Val("bool", (Const(_text(node.args[0]) in self.frame.component.given),))
            case "non_blockable":
                return replace(self.need(self.value(node.args[0]), "range", node.args[0]), blockable=False)
            case "span":
                return Val("range", (self.number(node.args[0]), self.number(node.args[1])))
            case "choose" if len(node.args) == 1:
                return self.choose_value(node)
            case "choose":
                return self.choose(node)
            case "lowest":
                return self.lowest(node)
            case "exists":
                return Val("bool", (any_of(self.values_of(node)[2]),))
            case "choose_frame":
                return self.choose_frame(node)
            case "may_sleep":
                stmts = self.may_sleep(_text(node.args[0]))
                if len(stmts) > 1:
                    self.shared(stmts, node)
                else:
                    self.local(stmts[0], node)
                return Val("none")
        stmt: Stmt
        match name:
            case "wait":
                stmt = Wait(self.truth(node.args[0]))
            case "check":
                stmt = Check(self.truth(node.args[1]), _text(node.args[0]), self.filled(_text(node.args[2]), node))
            case "limit":
                stmt = Check(self.truth(node.args[0]), LIMIT, _text(node.args[1]))
            case "cover":
                stmt = Cover(_text(node.args[0]))
            case "note":
                text = _text(node.args[0])
                names = dict.fromkeys(re.findall(r"{(\w+)}", text))
                values = [(n, self.name(ast.copy_location(ast.Name(n), node))) for n in names]
                stmt = Note(text, tuple((n, value.type, value.expr) for n, value in values))
            case _:
                raise self.error(node, f"{name} is not in the language")
        if self.atomic or isinstance(stmt, Cover | Note):
            self.local(stmt, node)
        else:
            self.shared([stmt], node)
        return Val("none")

    def filled(self, text: str, node: ast.Call) -> str:
        """Fill in the {loop variable}s of a text: they are constants, since a model's loops are unrolled."""
        for name in re.findall(r"{(\w+)}", text):
            value = self.name(ast.copy_location(ast.Name(name), node)).expr
            assert isinstance(value, Const)
            text = text.replace(f"{{{name}}}", str(value.value))
        return text

    def choose(self, node: ast.Call) -> Val:
        """Lower choose(lo, hi): a gfn if hi is PAGES, a truth value if it is 2, else a number."""
        lo, hi = (self.number(arg) for arg in node.args)
        match node.args[1]:
            case ast.Name(id="PAGES") | ast.BinOp():
                type_ = "gfn"
            case ast.Constant(value=2):
                type_ = "bool"
            case _:
                type_ = "int"
        return self._chosen(type_, lo, hi, None, node)

    def choose_frame(self, node: ast.Call) -> Val:
        """Lower choose_frame(): any frame to which `self.refs` counts no reference."""
        refs, _, _ = self.field_var(self.frame.component, "refs")
        free: Expr = Const(0)
        for frame in range(1, self.dims.frames + 1):
            free = Op("or", (free, Op("==", (Shared(refs.name, Const(frame)), Const(0)))))
        self.local(Check(free, LIMIT, f"all {self.dims.frames} page frames of the scenario are in use"), node)
        return self._chosen("page", Const(1), Const(self.dims.frames + 1), refs.name, node)

    def _chosen(self, type_: str, lo: Expr, hi: Expr, zero: str | None, node: ast.Call) -> Val:
        self._in_atomic(node)
        chosen = self.fresh(type_)
        assert isinstance(chosen.expr, Local)
        free = Const(1) if zero is None else Op("==", (Shared(zero, chosen.expr), Const(0)))
        self.local(Choose(chosen.expr, lo, hi, free), node)
        return chosen

    def _in_atomic(self, node: ast.Call) -> None:
        if not self.atomic:
            raise self.error(node, "a choice stands outside an atomic block", "Write it in `with atomic():`.")

    # ---- a model's values that meet a condition

    def values_of(self, node: ast.Call) -> tuple[str, list[Const], list[Expr]]:
        """Return the type of the values in `f(x for x in SET if COND)`, the values, and the condition of each."""
        self._in_atomic(node)
        match node.args[0]:
            case ast.GeneratorExp(generators=[ast.comprehension(iter=ast.Name(id=name))]):
                type_ = {"FRAMES": "page", "PAGES": "gfn", "VCPUS": "int"}[name]
                first, count = int(name == "FRAMES"), getattr(self.dims, name.lower())
                values = [Const(first + i) for i in range(count)]
                return type_, values, [self.condition(node, Val(type_, (value,))) for value in values]
        raise self.error(node, "this is no set of values")

    def condition(self, node: ast.Call, value: Val) -> Expr:
        """Lower the condition of `f(x for x in SET if COND)` for one value of x."""
        frame = self.frame
        match node.args[0]:
            case ast.GeneratorExp(generators=[ast.comprehension(target=ast.Name(id=name) as target, ifs=[cond])]):
                if name in frame.vars:
                    raise self.error(target, f"{name} is set already", "Take another name for the values.")
                frame.vars[name], before = value, frame.assigned
                frame.assigned = None if before is None else before | {name}
                expr = self.truth(cond)
                del frame.vars[name]
                frame.assigned = before
                return expr
        raise self.error(node, "these values have no condition")

    def choose_value(self, node: ast.Call) -> Val:
        """Lower choose(x for x in SET if COND): the step waits until some value meets the condition."""
        type_, values, conds = self.values_of(node)
        self.local(Wait(any_of(conds)), node)
        chosen = self.fresh(type_)
        assert isinstance(chosen.expr, Local)
        hi = Const(values[-1].value + 1)
        self.local(Choose(chosen.expr, values[0], hi, self.condition(node, chosen)), node)
        return chosen

    def lowest(self, node: ast.Call) -> Val:
        """Lower lowest(x for x in SET if COND): the step waits until some value meets the condition."""
        type_, values, conds = self.values_of(node)
        self.local(Wait(any_of(conds)), node)
        least: Expr = values[-1]
        for value, cond in reversed(list(zip(values, conds, strict=True))[:-1]):
            least = Op("?:", (cond, value, least))
        found = self.fresh(type_)
        assert isinstance(found.expr, Local)
        self.local(Set(found.expr, least), node)
        return found

    def declare_array(self, target: ast.Name, call: ast.Call) -> None:
        """Lower `x = per_page(value)`: a local array, set anew each time."""
        init = self.value(call.args[0])
        assert isinstance(init.expr, Const)
        if target.id not in self.frame.vars:
            array = self.fresh_array(init.type, target.id, self.dims.pages, init.expr.value)
            self.frame.vars[target.id] = Val(init.type, (array,))
        (array_,) = self.frame.vars[target.id].exprs
        assert isinstance(array_, Local)
        for i in range(self.dims.pages):
            self.local(Set(Local(array_.name, Const(i)), init.expr), call)
        if self.frame.assigned is not None:
            self.frame.assigned |= {target.id}

    def array_element(self, node: ast.Subscript) -> Val:
        """Lower an element of a local array."""
        assert isinstance(node.value, ast.Name)
        array = self.name(node.value)
        ref = array.exprs[0] if array.exprs else None
        if not isinstance(ref, Local) or not self.model:
            raise self.error(node, f"{node.value.id} is no array", "Only fields declared with PerPage take an index.")
        return Val(array.type, (Local(ref.name, self.value(node.slice).expr),))

    def enter(self, component: Component, method: str, args: Sequence[Val] = ()) -> None:
        """Lower the method that a CPU runs."""
        self.inline(component, component.cls.methods[method], args, None)


def _assigned_names(fn: ast.FunctionDef) -> set[str]:
    """Return the names that a method sets."""
    return {node.id for node in ast.walk(fn) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _text(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)
