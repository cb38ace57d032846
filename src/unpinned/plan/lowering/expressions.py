# SPDX-License-Identifier: Apache-2.0
"""Lower expressions: every read of a field is a step of its own, in Python's order, unless the block is atomic."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import Final

from unpinned.ir.flow import Edge
from unpinned.ir.program import FALSE, LOCK_TYPES, TRUE, Const, Expr, Local, Op, Set, Shared, Var
from unpinned.plan.language import EAGAIN
from unpinned.plan.lowering.builder import Builder, Component
from unpinned.plan.lowering.values import RESULTS, TYPE_NAMES, Val
from unpinned.plan.vocabulary import ALONE, FIELD_CALLS, listed

COMPARE: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
ARITHMETIC: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}

#: (type that stands, type that is wanted) -> what to do about it.
HINTS: Final = {
    ("gfn", "range"): "Write page_range(gfn) for the range of that one page.",
    ("range", "gfn"): "Write `for gfn in r:` to take the gfns of a range one by one.",
    ("int", "bool"): "Write True or False, or compare the number with something.",
    ("bool", "int"): "A truth value may not be computed with.",
}


class Expressions(Builder, ABC):
    """Lower expressions to values."""

    @abstractmethod
    def call(self, node: ast.Call) -> Val:
        """Lower a call (calls.py)."""

    @abstractmethod
    def array_element(self, node: ast.Subscript) -> Val:
        """Lower an element of a local array (calls.py)."""

    # ---- values

    def value(self, node: ast.expr) -> Val:
        """Lower an expression; outside atomic blocks the value is made of locals and constants."""
        match node:
            case ast.Constant(value=bool() as truth):
                return Val("bool", (TRUE if truth else FALSE,))
            case ast.Constant(value=int() as number):
                return Val("int", (Const(number),))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return Val("int", (Const(-number),))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="EAGAIN")):
                return Val("int", (Const(-EAGAIN),))
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return self.logical(node)
            case ast.IfExp():
                return self.conditional(node)
            case ast.Compare():
                return self.compare(node)
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.Name():
                return self.name(node)
            case ast.Attribute(value=ast.Name(id=name), attr="blockable") if name in self.frame.vars:
                self.need(self.frame.vars[name], "range", node)
                return Val("bool", (TRUE if self.may_block else FALSE,))
            case ast.Attribute() | ast.Subscript():
                return self.read(node)
            case ast.Call():
                return self.call(node)
        raise self.error(node, "this expression is not in the language")

    def number(self, node: ast.expr) -> Expr:
        """Lower an expression that must be a number."""
        return self.need(self.value(node), "int", node).expr

    def truth(self, node: ast.expr) -> Expr:
        """Lower an expression whose truth is asked for: a truth value, or a number that is not 0."""
        value = self.value(node)
        if value.type not in ("bool", "int") and not self.model:
            hint = "A page that was got is always there." if value.type == "page" else "Compare it with something."
            raise self.error(node, f"{TYPE_NAMES[value.type]} is neither true nor false", hint)
        return value.expr

    def need(self, value: Val, type_: str, node: ast.AST) -> Val:
        """Return the value if it has the type; a model may mix all types of one number."""
        if value.type == type_:
            return value
        if self.model and not {"range", "none"} & {value.type, type_}:
            return Val(type_, value.exprs)
        hint = HINTS.get((value.type, type_), "Values of different types may not be mixed.")
        raise self.error(node, f"{TYPE_NAMES[value.type]} stands where {TYPE_NAMES[type_]} is wanted", hint)

    def name(self, node: ast.Name) -> Val:
        if node.id in self.frame.vars:
            if self.frame.assigned is not None and node.id not in self.frame.assigned:
                raise self.error(node, f"{node.id} may be used before it is set", "Set it on every path to here.")
            return self.frame.vars[node.id]
        if node.id == "EAGAIN":
            return Val("int", (Const(EAGAIN),))
        if node.id in RESULTS:
            return Val("result", (Const(RESULTS[node.id]),))
        if self.model and node.id in ("PAGES", "FRAMES", "VCPUS"):
            return Val("int", (Const(getattr(self.dims, node.id.lower())),))
        if self.model and node.id == "NONE":
            return Val("page", (Const(0),))
        raise self.error(node, f"{node.id} is not known here", "Set it first, or write self.NAME for a field.")

    # ---- logic

    def _simple(self, node: ast.expr) -> bool:
        """Tell whether an expression takes no step: no field, no call."""
        return self.atomic or not any(isinstance(part, ast.Attribute | ast.Call) for part in ast.walk(node))

    def logical(self, node: ast.UnaryOp | ast.BoolOp) -> Val:
        """Lower and, or, not: short-circuit, and the value is a truth value."""
        if isinstance(node, ast.UnaryOp):
            return Val("bool", (Op("not", (self.truth(node.operand),)),))
        if self._simple(node):
            op = "and" if isinstance(node.op, ast.And) else "or"
            expr = self.truth(node.values[0])
            for operand in node.values[1:]:
                expr = Op(op, (expr, self.truth(operand)))
            return Val("bool", (expr,))
        result = self.fresh("bool")
        ends = []
        for edges, value in zip(self.test(node), (TRUE, FALSE), strict=True):
            self.merge(edges)
            self.assign(result, Val("bool", (value,)), node)
            ends.append(self.flow.pending)
        self.merge(*ends)
        return result

    def test(self, node: ast.expr) -> tuple[list[Edge], list[Edge]]:
        """Lower a condition to control flow: return the edges on which it is true, and false."""
        match node:
            case ast.UnaryOp(op=ast.Not()):
                yes, no = self.test(node.operand)
                return no, yes
            case ast.BoolOp() if not self._simple(node):
                decided: list[Edge] = []
                is_and = isinstance(node.op, ast.And)
                for operand in node.values[:-1]:
                    yes, no = self.test(operand)
                    decided += no if is_and else yes
                    self.merge(yes if is_and else no)
                yes, no = self.test(node.values[-1])
                return (yes, decided + no) if is_and else (decided + yes, no)
        return self.branch(self.truth(node), node)

    def conditional(self, node: ast.IfExp) -> Val:
        """Lower `a if c else b`: both sides have one type."""
        if self._simple(node):
            cond = self.truth(node.test)
            then = self.value(node.body)
            orelse = self.need(self.value(node.orelse), then.type, node.orelse)
            pairs = zip(then.exprs, orelse.exprs, strict=True)
            return Val(then.type, tuple(Op("?:", (cond, a, b)) for a, b in pairs))
        yes, no = self.test(node.test)
        self.merge(yes)
        then = self.value(node.body)
        if then.type == "none":
            raise self.error(node.body, "nothing is returned there that could be kept")
        result = self.fresh(then.type)
        self.assign(result, then, node.body)
        yes = self.flow.pending
        self.merge(no)
        self.assign(result, self.need(self.value(node.orelse), then.type, node.orelse), node.orelse)
        self.merge(yes, self.flow.pending)
        return result

    # ---- comparison and arithmetic

    def compare(self, node: ast.Compare) -> Val:
        (op,), (other,) = node.ops, node.comparators
        left = self.value(node.left)
        if isinstance(op, ast.In | ast.NotIn):
            gfn = self.need(left, "gfn", node.left).expr
            start, end = self.need(self.value(other), "range", other).exprs
            inside = Op("and", (Op("<=", (start, gfn)), Op("<", (gfn, end))))
            return Val("bool", (Op("not", (inside,)) if isinstance(op, ast.NotIn) else inside,))
        right = self.need(self.value(other), left.type, other)
        if not self.model:
            if left.type in ("page", "range", "none"):
                what = TYPE_NAMES[left.type]
                raise self.error(node, f"{what} may not be compared", "Compare a counter, a flag or a gfn.")
            if left.type in ("bool", "result") and not isinstance(op, ast.Eq | ast.NotEq):
                raise self.error(node, f"{TYPE_NAMES[left.type]} has no order", "Use == or !=.")
            if left.type == "bool" and any(isinstance(side, ast.Name | ast.BoolOp) for side in (node.left, other)):
                # What `a or b` gave may be a number in Python, and equal to neither True nor False.
                raise self.error(node, "a truth value is not compared", "Write `x` or `not x`.")
        return Val("bool", (Op(COMPARE[type(op)], (left.expr, right.expr)),))

    def arithmetic(self, node: ast.BinOp) -> Val:
        left = self.value(node.left)
        if left.type == "gfn" and not self.model:
            raise self.error(node, "a gfn may not be computed with", "Take gfns from a range: `for gfn in r:`.")
        left = self.need(left, "int", node.left)
        right = self.need(self.value(node.right), "int", node.right)
        return Val("int", (Op(ARITHMETIC[type(node.op)], (left.expr, right.expr)),))

    # ---- fields

    def read(self, node: ast.Attribute | ast.Subscript) -> Val:
        """Lower the read of a field, or of an element of a local array."""
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return self.array_element(node)
        var, ref = self.field(node)
        self.no_lock(node, var)
        if self.atomic:
            return Val(var.type, (ref,))
        value = self.fresh(var.type)
        assert isinstance(value.expr, Local)
        self.shared([Set(value.expr, ref)], node)
        return value

    def no_lock(self, node: ast.expr, var: Var) -> None:
        """Refuse to read or write what has no value."""
        if var.type in LOCK_TYPES:
            raise self.error(node, f"{ast.unparse(node)} is a lock, not a value", "Take it: `with LOCK:`.")
        kind = {"waitqueue": "WaitQueue", "object": "Object", "srcu": "Srcu", "work": "WorkItem"}.get(var.type)
        if kind is not None:
            hint = f"Write `{ast.unparse(node)}.wait_event(COND)` or `.wake_up()`."
            if kind != "WaitQueue":
                hint = f"It has {listed(FIELD_CALLS[kind])}."
            raise self.error(node, f"{ast.unparse(node)} is {ALONE[kind]}, not a value", hint)

    def is_field(self, node: ast.expr) -> bool:
        """Tell whether an expression names a field of the plan, or an element of one."""
        base = node.value if isinstance(node, ast.Subscript) else node
        return (
            isinstance(base, ast.Attribute)
            and isinstance(base.value, ast.Name)
            and not (self.model and base.attr in self.components)
        )

    def is_atomic(self, ref: Shared) -> bool:
        """Tell whether a field is an Atomic, or an element of some."""
        component = next(c for c in self.components.values() if ref.name.startswith(f"{c.prefix}."))
        _, decl, _ = self.field_var(component, ref.name.split(".", 1)[1])
        return decl.kind == "Atomic"

    def field(self, node: ast.expr) -> tuple[Var, Shared]:
        """Return the variable that a field expression names, and the reference to its element."""
        indices: list[ast.expr] = []
        base = node
        if isinstance(base, ast.Subscript):
            indices = list(base.slice.elts) if isinstance(base.slice, ast.Tuple) else [base.slice]
            base = base.value
        component, name = self.field_name(base)
        var, _, shape = self.field_var(component, name)
        if len(indices) != len(shape):
            what = "is one for each page, so it needs an index" if shape else "takes no index"
            raise self.error(node, f"{name} {what}", f"Write self.{name}{'[gfn]' if shape else ''}.")
        index: Expr | None = None
        for extent, part in zip(shape, indices, strict=True):
            here = self.need(self.value(part), "gfn", part).expr
            index = here if index is None else _plus(_times(index, extent), here)
        return var, Shared(var.name, index)

    def field_name(self, node: ast.expr) -> tuple[Component, str]:
        """Return the component and the name of `self.NAME`, or of a model's `self.mm.NAME`."""
        component = self.frame.component
        if isinstance(node, ast.Attribute):
            base = node.value
            if isinstance(base, ast.Attribute):
                component, base = self.components[base.attr], base.value
            if isinstance(base, ast.Name) and base.id == "self":
                if node.attr in component.cls.fields:
                    return component, node.attr
                if node.attr in component.cls.methods or node.attr in component.builtins:
                    raise self.error(node, f"{node.attr} is a method", f"Call it: self.{node.attr}(...).")
                known = ", ".join(sorted(component.cls.fields)) or "none"
                hint = f"Its fields are: {known}. Declare one in the class: {node.attr} = Counter()."
                raise self.error(node, f"{component.cls.name} has no field {node.attr}", hint)
        raise self.error(node, "this is no field", "Write self.NAME.")


def _times(index: Expr, by: int) -> Expr:
    return Const(index.value * by) if isinstance(index, Const) else Op("*", (index, Const(by)))


def _plus(a: Expr, b: Expr) -> Expr:
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(a.value + b.value)
    return b if a == Const(0) else Op("+", (a, b))
