# SPDX-License-Identifier: Apache-2.0
"""Refuse methods that hold more than the plan language, each with what to write instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from unpinned.plan.reading.expressions import Expressions
from unpinned.plan.reading.refusals import node_words, operator_words
from unpinned.plan.reading.source import Source
from unpinned.plan.vocabulary import DRIVER_WORDS, MODEL_WORDS, SECTIONS, SIDES, TRIES

#: Levels of syntax that a method may nest; readers recurse over it.
DEEPEST: Final = 60


def check_method(source: Source, fn: ast.FunctionDef, *, model: bool) -> None:
    """Refuse a method unless all of it is in the language.

    :param model: whether the words of `unpinned.plan.modelling` may be used.
    :raises PlanError: at the first construct that is not in the language.
    """
    _check_depth(source, fn)
    params = check_params(source, fn)
    stores = [node for node in ast.walk(fn) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    names = frozenset(params).union(node.id for node in stores if node.id != "self")
    _Statements(source, model, Expressions(source, model, names)).body(fn.body, docstring=True)


def check_params(source: Source, fn: ast.FunctionDef) -> tuple[str, ...]:
    """Return the parameters of a method without self, having refused all but plain ones."""
    if fn.decorator_list:
        what = "decorators are not in the plan language"
        raise source.error(fn.decorator_list[0], what, "Write a plain method: `def f(self, x):`.")
    args = fn.args
    odd = [*args.posonlyargs, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    defaults = [*args.defaults, *filter(None, args.kw_defaults)]
    if odd or getattr(fn, "type_params", None):
        what = "a method has plain parameters only"
        raise source.error(odd[0] if odd else fn, what, "Write `def f(self, x, y):`, without `*` and `/`.")
    if defaults:
        raise source.error(defaults[0], "parameters have no defaults in a plan", "Pass every argument in the call.")
    if not args.args or args.args[0].arg != "self":
        raise source.error(fn, f"`{fn.name}` has no self", f"Write `def {fn.name}(self, ...):`.")
    seen = {"self"}
    for arg in args.args[1:]:
        if arg.arg in seen:
            raise source.error(arg, f"two parameters are called `{arg.arg}`", "Rename one.")
        _check_local(source, arg, arg.arg)
        seen.add(arg.arg)
    return tuple(arg.arg for arg in args.args[1:])


def _check_local(source: Source, node: ast.AST, name: str) -> None:
    """Refuse names that a local or parameter may not have."""
    if name == "self":
        raise source.error(node, "`self` cannot be assigned", "Assign to a field: `self.f = value`.")
    if name in DRIVER_WORDS or name in MODEL_WORDS or name == "super":
        raise source.error(node, f"`{name}` is a word of the language", "Give the local another name.")
    if name.startswith("__"):
        raise source.error(node, f"`{name}`: names with two underscores are Python's own", "Rename it.")


def _check_depth(source: Source, fn: ast.FunctionDef) -> None:
    """Refuse syntax so deep that reading it by recursion would fail."""
    level: list[ast.AST] = [fn]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    place = next((node for node in level if hasattr(node, "lineno")), fn)
    raise source.error(place, "nested too deep", "Make a method of the inner part: `self.m(...)`.")


#: The methods by which a lock is taken, and of these those that only try.
_TRYING: Final = frozenset(way for ways in TRIES.values() for way in ways)
_WAYS: Final = _TRYING | {way for ways in SIDES.values() for way in ways}


@dataclass(frozen=True)
class _Statements:
    """What the statements of one method may be."""

    source: Source
    model: bool
    expressions: Expressions

    def body(self, stmts: Sequence[ast.stmt], *, loop: bool = False, docstring: bool = False) -> None:
        """Check statements in order; `loop` says whether `break` may stand here."""
        for number, stmt in enumerate(stmts):
            if not (docstring and number == 0 and is_docstring(stmt)):
                self._statement(stmt, loop)

    def _statement(self, stmt: ast.stmt, loop: bool) -> None:
        """Check one statement and those inside it."""
        check = self.expressions.check
        match stmt:
            case ast.If():
                check(stmt.test)
                self.body(stmt.body, loop=loop)
                self.body(stmt.orelse, loop=loop)
            case ast.While():
                check(stmt.test)
                self._no_else(stmt.orelse)
                self.body(stmt.body, loop=True)
            case ast.For():
                self._for(stmt)
            case ast.With():
                for item in stmt.items:
                    self._with_item(item)
                self.body(stmt.body, loop=loop)
            case ast.Break() | ast.Continue() if not loop:
                word = "break" if isinstance(stmt, ast.Break) else "continue"
                raise self.source.error(stmt, f"`{word}` stands in no loop", "Write `return`, or leave it out.")
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case _:
                self._simple(stmt)

    def _simple(self, stmt: ast.stmt) -> None:
        """Check a statement that holds expressions only."""
        check = self.expressions.check
        match stmt:
            case ast.Assign():
                self._assign(stmt)
            case ast.AugAssign():
                if not isinstance(stmt.op, ast.Add | ast.Sub):
                    raise self.source.error(stmt, *operator_words(stmt.op))
                self._target(stmt.target)
                check(stmt.value)
            case ast.Return():
                if stmt.value is not None:
                    check(stmt.value)
            case ast.Raise() if self.model:
                if not isinstance(stmt.exc, ast.Name) or stmt.exc.id != "FAULT" or stmt.cause is not None:
                    raise self.source.error(stmt, "a model raises nothing but FAULT", "Write `raise FAULT`.")
            case ast.Expr(value=ast.Call() as call):
                self.expressions.call(call)
            case ast.Expr(value=value):
                if not isinstance(value, ast.Name | ast.Attribute | ast.Subscript):
                    check(value)
                raise self.source.error(stmt, *node_words(stmt))
            case _:
                raise self.source.error(stmt, *node_words(stmt))

    def _assign(self, stmt: ast.Assign) -> None:
        """Check an assignment."""
        if len(stmt.targets) > 1:
            raise self.source.error(stmt, "one assignment stores one value", "Write two assignments.")
        self._target(stmt.targets[0])
        self.expressions.check(stmt.value)

    def _target(self, target: ast.expr) -> None:
        """Check what is assigned to: a local, a field or an element."""
        match target:
            case ast.Name():
                _check_local(self.source, target, target.id)
            case ast.Attribute() | ast.Subscript():
                self.expressions.place(target)
            case ast.Tuple() | ast.List() | ast.Starred():
                what = "one assignment stores one value"
                raise self.source.error(target, what, "Write one assignment for each name.")
            case _:
                raise self.source.error(target, *node_words(target))

    def _for(self, stmt: ast.For) -> None:
        """Check a loop over a range."""
        if not isinstance(stmt.target, ast.Name):
            raise self.source.error(stmt.target, "a loop has one name", "Write `for gfn in r:`.")
        _check_local(self.source, stmt.target, stmt.target.id)
        self.expressions.check(stmt.iter)
        self._no_else(stmt.orelse)
        self.body(stmt.body, loop=True)

    def _no_else(self, orelse: Sequence[ast.stmt]) -> None:
        """Refuse the else of a loop."""
        if orelse:
            hint = "Set a local before `break`, and test it after the loop."
            raise self.source.error(orelse[0], "a loop has no else in a plan", hint)

    def _with_item(self, item: ast.withitem) -> None:
        """Check one lock of a with block, or the side of one, or the try of one (in models: atomic() too)."""
        lock = item.context_expr
        match lock:
            case ast.Call(func=ast.Attribute(attr=way, value=ast.Attribute() | ast.Subscript() as taken)) if (
                way in _WAYS
            ):
                self._with_way(item, lock, taken, way)
                return
        if item.optional_vars is not None:
            raise self.source.error(item.optional_vars, "a lock gives no value", "Write `with self.lock:`, without as.")
        match lock:
            case ast.Attribute() | ast.Subscript():
                self.expressions.place(lock)
            case ast.Call(func=ast.Name(id=name)) if name in SECTIONS and not self.model:
                if lock.args or lock.keywords:
                    raise self.source.error(lock, f"{name}() takes nothing", f"Write `with {name}():`.")
            case ast.Call(func=ast.Name(id="atomic")) if self.model:
                if lock.args or lock.keywords:
                    raise self.source.error(lock, "atomic() takes nothing", "Write `with atomic():`.")
            case _:
                self.expressions.check(lock)
                raise self.source.error(lock, "`with` takes a lock of the plan", "Write `with self.lock:`.")

    def _with_way(self, item: ast.withitem, call: ast.Call, lock: ast.Attribute | ast.Subscript, way: str) -> None:
        """Check `with self.lock.read():` and the like, and `with self.lock.trylock() as got:`."""
        self.expressions.place(lock)
        if call.args or call.keywords:
            raise self.source.error(call, f"{way}() takes nothing", f"Write `{ast.unparse(lock)}.{way}()`.")
        shown = f"with {ast.unparse(lock)}.{way}()"
        match item.optional_vars:
            case None if way in _TRYING:
                what = f"{way}() may fail, and nobody would know"
                raise self.source.error(call, what, f"Write `{shown} as got:`, and test `got` in the block.")
            case ast.Name(id=name) as target if way in _TRYING:
                _check_local(self.source, target, name)
            case ast.expr() as target:
                hint = f"Write `{shown} as got:`." if way in _TRYING else f"Write `{shown}:`, without as."
                what = "one name is wanted here" if way in _TRYING else "a lock gives no value"
                raise self.source.error(target, what, hint)


def is_docstring(stmt: ast.stmt) -> bool:
    """Say whether a statement is a string alone."""
    return isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant) and isinstance(stmt.value.value, str)


def method_calls(fn: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the name and the node of every `self.m(...)` and `super().m(...)` in a method."""
    for node in ast.walk(fn):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name() | ast.Call(), attr=name)):
                yield name, node
