# SPDX-License-Identifier: Apache-2.0
"""Refuse expressions that are not in the plan language, each with what to write instead."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final

from unpinned.ir.rules import RULES
from unpinned.plan.reading.refusals import LOCK_METHODS, call_words, model_words, node_words, operator_words
from unpinned.plan.reading.source import Source
from unpinned.plan.vocabulary import (
    DRIVER_CALLS,
    DRIVER_VALUES,
    DRIVER_WORDS,
    FIELD_CALLS,
    LATER_WORDS,
    MM_CALLS,
    MODEL_CALLS,
    MODEL_VALUES,
    MODEL_WORDS,
    PARTS,
    SECTIONS,
    SET_CALLS,
    SETS,
    counted,
    listed,
    nearest,
)

LOWEST: Final = -64
HIGHEST: Final = 63

#: The methods that fields have, with the kinds of their arguments.
FIELD_METHODS: Final = {name: kinds for methods in FIELD_CALLS.values() for name, kinds in methods.items()}
#: Arguments as an example shows them, by their kinds.
_SHOWN: Final = {"": "", "e": "gfn", "f": "self.f", "fe": "self.f, value"}

_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)


@dataclass(frozen=True)
class Expressions:
    """What expressions of one method may hold: `names` are its parameters and locals."""

    source: Source
    model: bool
    names: frozenset[str]

    def check(self, node: ast.expr) -> None:
        """Refuse `node` unless it is an expression of the language."""
        match node:
            case ast.Constant():
                self._constant(node, node.value)
            case ast.Name():
                self._name(node)
            case ast.Attribute() | ast.Subscript():
                self.place(node)
            case ast.Call():
                self.call(node)
            case ast.BoolOp(values=values):
                for value in values:
                    self.check(value)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                for part in (body, test, orelse):
                    self.check(part)
            case ast.Compare():
                self._compare(node)
            case ast.UnaryOp():
                self._unary(node)
            case ast.BinOp(left=left, op=op, right=right):
                if not isinstance(op, ast.Add | ast.Sub) and not (self.model and isinstance(op, ast.Mult)):
                    raise self.source.error(node, *operator_words(op))
                self.check(left)
                self.check(right)
            case _:
                raise self.source.error(node, *node_words(node))

    def place(self, node: ast.Attribute | ast.Subscript) -> None:
        """Refuse what is no field and no element of one (in models: of a local array too)."""
        if isinstance(node, ast.Attribute):
            self._attribute(node)
            return
        if isinstance(node.value, ast.Subscript):
            hint = "Write `self.f[a, b]`." if self.model else "A field has one element a page: `self.f[gfn]`."
            raise self.source.error(node, "an element has no elements", hint)
        if isinstance(node.value, ast.Attribute):
            self._attribute(node.value)
        elif not (self.model and isinstance(node.value, ast.Name)):
            raise self.source.error(node, "only fields have elements", "Write `self.f[gfn]`, with `f = PerPage(...)`.")
        else:
            self._name(node.value)
        index = node.slice
        if not isinstance(index, ast.Tuple):
            self.check(index)
        elif not self.model or len(index.elts) != 2:
            raise self.source.error(node, "a field has one index", "Write `self.f[gfn]`.")
        else:
            for part in index.elts:
                self.check(part)

    def call(self, node: ast.Call) -> None:
        """Refuse what is no call of a method or of a function of the language."""
        func = node.func
        if isinstance(func, ast.Name):
            self._function(node, func.id)
            return
        if not isinstance(func, ast.Attribute):
            raise self.source.error(node, "only methods can be called", "Write `self.m(...)`.")
        if self._is_of_field(func):
            self._field_call(node, func)
            return
        if isinstance(func.value, ast.Call) and is_super(func.value):
            if func.value.args or func.value.keywords:
                raise self.source.error(func.value, "super() takes nothing here", f"Write `super().{func.attr}(...)`.")
        else:
            self._attribute(func, called=True)
        self.arguments(node)

    @staticmethod
    def _is_of_field(func: ast.Attribute) -> bool:
        """Say whether `func` is `self.f.m`, or `self.f[gfn].m`, for a method m that some field has."""
        base = func.value.value if isinstance(func.value, ast.Subscript) else func.value
        return func.attr in FIELD_METHODS and isinstance(base, ast.Attribute) and is_self(base.value)

    def _field_call(self, node: ast.Call, func: ast.Attribute) -> None:
        """Refuse wrong arguments of a field's method; which fields have it is known when the plan is lowered."""
        assert isinstance(func.value, ast.Attribute | ast.Subscript)
        self.place(func.value)
        self.arguments(node)
        count = len(FIELD_METHODS[func.attr])
        if len(node.args) != count:
            what = f"{func.attr}() takes {counted(count, 'argument')}, not {len(node.args)}"
            raise self.source.error(node, what, "See docs/plan-language.md.")

    def arguments(self, node: ast.Call) -> None:
        """Refuse arguments that are not positional expressions."""
        for arg in node.args:
            self.check(arg)
        if node.keywords:
            raise self.source.error(node.keywords[0], "arguments have no names in a plan", "Pass them by position.")

    def string(self, node: ast.expr) -> str:
        """Return the string constant that `node` must be."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise self.source.error(node, "a string constant must stand here", 'Write the text itself: "...".')

    def _constant(self, node: ast.expr, value: object) -> None:
        """Refuse constants that are no truth value and no small integer."""
        if isinstance(value, bool):
            return
        if isinstance(value, int):
            if not LOWEST <= value <= HIGHEST:
                hint = f"Integers go from {LOWEST} to {HIGHEST}: a plan's race needs no more."
                raise self.source.error(node, "constant out of range", hint)
        elif isinstance(value, str | bytes):
            raise self.source.error(node, "strings are not in the plan language", "Use True, False or an integer.")
        elif value is None:
            hint = "A fault returns REPLAY, MAPPED or FAULT; elsewhere write `return` alone."
            raise self.source.error(node, "None is not in the plan language", hint)
        elif value is ...:
            raise self.source.error(node, "`...` is not in the plan language", "Write `pass`.")
        else:
            raise self.source.error(node, "only integers are in the plan language", "Write a small integer.")

    def _name(self, node: ast.Name) -> None:
        """Refuse names that are no local and no constant of the language."""
        name = node.id
        if name in self.names or name in DRIVER_VALUES or (self.model and name in MODEL_VALUES):
            return
        if name == "self":
            raise self.source.error(node, "`self` is no value", "Name a field or a method: `self.f`, `self.m()`.")
        if name in LATER_WORDS:
            raise self.source.error(node, *call_words(name))
        if name in MODEL_WORDS and not self.model:
            raise self.source.error(node, *model_words(name))
        if name in DRIVER_CALLS or (self.model and name in MODEL_CALLS):
            raise self.source.error(node, f"`{name}` is a function", f"Call it: `{name}(...)`.")
        if name in DRIVER_WORDS or name in MODEL_WORDS:
            raise self.source.error(node, f"`{name}` is no value", "Only REPLAY, MAPPED and FAULT are.")
        close = nearest(name, self.names | DRIVER_VALUES)
        hint = f"Assign it first, or write `self.{name}` for a field of the plan."
        raise self.source.error(node, f"`{name}` is not defined in this method{close}", hint)

    def _attribute(self, node: ast.Attribute, called: bool = False) -> None:
        """Refuse attributes of anything but self (in models: of self.mm, self.hw and self.client too)."""
        base, attr = node.value, node.attr
        if attr.startswith("__"):
            raise self.source.error(node, f"`{attr}`: names with two underscores are Python's own", "Rename it.")
        if is_self(base):
            if attr in MM_CALLS and not called:
                raise self.source.error(node, f"`self.{attr}` is a method", f"Call it: `self.{attr}(...)`.")
            if self.model and attr in PARTS:
                raise self.source.error(node, f"`self.{attr}` is no value", f"Name a field of it: `self.{attr}.f`.")
            return
        if isinstance(base, ast.Attribute) and is_self(base.value):
            if base.attr in PARTS and self.model:
                return
            if base.attr in PARTS:
                what = f"a driver cannot see inside the {base.attr}"
                raise self.source.error(node, what, "It has its own fields, and the calls of SecondaryMMU.")
        if is_super(base):
            raise self.source.error(node, "super() only gives methods", f"Write `self.{attr}`.")
        if isinstance(base, ast.Name) and base.id in self.names and attr == "blockable" and not called:
            return
        if isinstance(base, ast.Name) and base.id not in self.names:
            hint = f"Write `self.{attr}`, or `super().{attr}(...)` for the method of the class above."
            raise self.source.error(node, f"only `self` has fields and methods, not `{base.id}`", hint)
        if isinstance(base, ast.Name | ast.Attribute | ast.Subscript):
            shown = ast.get_source_segment(self.source.text, base) or "self.lock"
            if called and attr in LOCK_METHODS:
                raise self.source.error(node, "a lock is held by a block, not by calls", f"Write `with {shown}:`.")
            hint = f"Make `{attr}` a field or a method of the plan: `self.{attr}`."
            raise self.source.error(node, f"`{shown}` has no parts", hint)
        raise self.source.error(node, "only `self` has fields and methods", f"Write `self.{attr}`.")

    def _function(self, node: ast.Call, name: str) -> None:
        """Refuse calls of functions that are not of the dialect, or with the wrong arguments."""
        kinds = DRIVER_CALLS.get(name)
        if kinds is None and self.model and name != "atomic":
            kinds = MODEL_CALLS.get(name)
        if kinds is None:
            if name == "super":
                raise self.source.error(node, "super() stands alone", "Write `super().method(...)`.")
            if name in SECTIONS or (name == "atomic" and self.model):
                raise self.source.error(node, f"{name}() is a block", f"Write `with {name}():`.")
            if name in self.names:
                raise self.source.error(node, f"`{name}` is a local, not a function", "Write `self.m(...)`.")
            raise self.source.error(node, *call_words(name))
        if self.model and name in SET_CALLS and len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp):
            kinds = "g"
        if len(node.args) != len(kinds) and not any(isinstance(arg, ast.Starred) for arg in node.args):
            what = f"{name}() takes {counted(len(kinds), 'argument')}, not {len(node.args)}"
            written = f"Write `{name}({_SHOWN[kinds]})`." if name in DRIVER_CALLS else "See unpinned.plan.modelling."
            raise self.source.error(node, what, written)
        for arg, kind in zip(node.args, kinds, strict=False):
            if kind == "e":
                self.check(arg)
            elif kind == "f":
                if not isinstance(arg, ast.Attribute | ast.Subscript):
                    raise self.source.error(arg, f"{name}() takes a field", f"Write `{name}({_SHOWN[kinds]})`.")
                self.place(arg)
            elif kind == "s":
                self.string(arg)
            elif kind == "g":
                self._values(arg, name)
            elif self.string(arg) not in RULES:
                raise self.source.error(
                    arg, f"no such rule{nearest(self.string(arg), RULES)}", f"There are: {', '.join(RULES)}."
                )
        self.arguments(ast.Call(node.func, [], node.keywords))

    def _values(self, node: ast.expr, name: str) -> None:
        """Refuse all but `x for x in SET if COND`, with a condition that calls nothing."""
        hint = f"Write `{name}(f for f in FRAMES if self.owner[f] == NONE)`; the sets are {listed(SETS)}."
        match node:
            case ast.GeneratorExp(
                elt=ast.Name(id=value),
                generators=[
                    ast.comprehension(target=ast.Name(id=target), iter=ast.Name(id=over), ifs=[cond], is_async=0)
                ],
            ) if value == target and over in SETS:
                if target == "self" or target in DRIVER_WORDS or target in MODEL_WORDS:
                    raise self.source.error(node, f"`{target}` is a word of the language", "Take another name.")
                for part in ast.walk(cond):
                    if isinstance(part, ast.Call):
                        raise self.source.error(part, "a condition of values calls nothing", "Read fields in it.")
                self.check(cond)
            case _:
                raise self.source.error(node, f"{name}() takes the values of a set that meet one condition", hint)

    def _compare(self, node: ast.Compare) -> None:
        """Refuse `is`, and comparisons of more than two values."""
        for op in node.ops:
            if not isinstance(op, _COMPARISONS):
                raise self.source.error(node, *operator_words(op))
        if len(node.ops) > 1:
            hint = "Write two, joined by and: `a < b and b < c`."
            raise self.source.error(node, "comparisons are not chained in a plan", hint)
        self.check(node.left)
        self.check(node.comparators[0])

    def _unary(self, node: ast.UnaryOp) -> None:
        """Refuse all but `not`, and a minus before an integer."""
        if isinstance(node.op, ast.Not):
            self.check(node.operand)
        elif not isinstance(node.op, ast.USub):
            raise self.source.error(node, *operator_words(node.op))
        elif isinstance(node.operand, ast.Name) and node.operand.id == "EAGAIN":
            self._name(node.operand)
        elif not isinstance(node.operand, ast.Constant) or type(node.operand.value) is not int:
            raise self.source.error(node, "a minus stands before integers only", "Write `0 - x`.")
        else:
            self._constant(node, -node.operand.value)


def is_self(node: ast.AST) -> bool:
    """Say whether a node is the name `self`."""
    return isinstance(node, ast.Name) and node.id == "self"


def is_super(node: ast.AST) -> bool:
    """Say whether a node is a call of super()."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
