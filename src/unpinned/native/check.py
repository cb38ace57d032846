# SPDX-License-Identifier: Apache-2.0
"""Read a program in restricted Python into the typed tree, or refuse it with a `CompileError`.

A text is a docstring, integer constants `NAME = 1 << 5`, and functions with annotated parameters and result:

    def total(p: u64p, n: u64) -> u64:
        sum_ = 0
        for i in range(n):
            sum_ += p[i]
        return sum_

Types are u64 (every integer; arithmetic is modulo 2**64), bool, and u8p, u16p, u32p, u64p: pointers to elements of
that width, which are widened to u64 when loaded and cut when stored. A local has the type of its first assignment.
Statements are assignments, `if`, `while`, `for i in range(...)`, `match` on numbers, `break`, `continue`, `return`,
`pass` and calls. Shifts by 64 and more give 0, `x // 0` is 0 and `x % 0` is x; a debug build refuses all three.

What is refused, because the two executions could differ or because nothing could be generated for it: a local read
where some path has not assigned it; a function whose end can be reached; recursion; a number used as a bool or a bool
as a number; a name that is both a constant or function and a local.

Definite assignment is a forward analysis with one bit for each local: joins intersect, an unreachable place has all
bits. A loop's body starts with what holds before the loop, which is sound because a round only adds bits; after the
loop holds what holds before it and at each `break` (only the latter, for `while True`).
"""

from __future__ import annotations

import ast

from unpinned.native.errors import CompileError
from unpinned.native.expressions import BOOL, RESERVED, U64, Expressions
from unpinned.native.tree import (
    MASK,
    NAMED,
    Assign,
    Binary,
    Break,
    Const,
    Continue,
    Do,
    Expr,
    For,
    Function,
    If,
    Load,
    Local,
    Module,
    Return,
    Stmt,
    Store,
    Switch,
    Type,
    Update,
    While,
)

_UNREACHABLE = -1


def read_module(source: str) -> Module:
    """Read and check a whole text."""
    try:
        parsed = ast.parse(source)
        return _read(parsed)
    except SyntaxError as error:
        raise CompileError("", error.lineno or 0, f"not Python: {error.msg}") from error
    except RecursionError as error:
        raise CompileError("", 0, "an expression or a block is nested too deeply", "split it") from error


def _read(parsed: ast.Module) -> Module:
    functions: dict[str, Function] = {}
    constants: dict[str, Const] = {}
    nodes: list[ast.FunctionDef] = []
    for node in parsed.body:
        match node:
            case ast.FunctionDef(name=name):
                if name in functions or name in constants or name in RESERVED:
                    raise CompileError(name, node.lineno, f"the name {name} is taken", "choose another")
                if not name.isascii():
                    raise CompileError(name, node.lineno, "the name of a function is not ASCII", "choose another")
                functions[name] = _signature(node)
                nodes.append(node)
            case ast.Assign(targets=[ast.Name(id=name)]):
                if name in functions or name in constants or name in RESERVED:
                    raise CompileError("", node.lineno, f"the name {name} is taken", "choose another")
                constants[name] = _constant(node, constants)
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case _:
                what = f"{type(node).__name__} is not in the language here"
                raise CompileError("", node.lineno, what, "a module has functions and constants NAME = 123 only")
    for node in nodes:
        _Body(functions[node.name], functions, constants).read(node)
    _refuse_recursion(functions)
    return Module(functions)


def _signature(node: ast.FunctionDef) -> Function:
    args = node.args
    if args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg or args.defaults:
        raise CompileError(node.name, node.lineno, "only plain parameters are in the language", "write `name: u64`")
    if node.decorator_list:
        raise CompileError(node.name, node.lineno, "decorators are not in the language", "remove them")
    result = _type(node.returns, node, "the result", "-> u64")
    function = Function(node.name, [], result, node.lineno)
    for arg in args.args:
        type_ = _type(arg.annotation, node, f"the parameter {arg.arg}", f"{arg.arg}: u64")
        function.params.append(type_)
        function.types[arg.arg] = type_
    return function


def _type(annotation: ast.expr | None, node: ast.FunctionDef, what: str, example: str) -> Type:
    if isinstance(annotation, ast.Name) and annotation.id in NAMED:
        return NAMED[annotation.id]
    fault = "has no type" if annotation is None else f"has the type {ast.unparse(annotation)}"
    raise CompileError(node.name, node.lineno, f"{what} {fault}", f"write `{example}`: one of {', '.join(NAMED)}")


def _constant(node: ast.Assign, constants: dict[str, Const]) -> Const:
    value = Expressions(Function("", [], U64, node.lineno), {}, constants).read(node.value)
    if not isinstance(value, Const):
        raise CompileError("", node.lineno, "the value is not known when compiling", "write a number")
    return value


def _refuse_recursion(functions: dict[str, Function]) -> None:
    """Refuse a cycle of calls: depth first, without recursion of our own."""
    done: set[str] = set()
    for root, function in functions.items():
        path = [(root, iter(function.calls.items()))]
        while path:
            name, calls = path[-1]
            for callee, line in calls:
                if any(callee == above for above, _ in path):
                    raise CompileError(name, line, f"{callee} calls itself, by way of {name}", "write a loop")
                if callee not in done:
                    path.append((callee, iter(functions[callee].calls.items())))
                    break
            else:
                done.add(name)
                path.pop()


class _Body:
    """Reader of one function's statements; `joins` has what holds at the breaks of each loop around."""

    def __init__(self, function: Function, functions: dict[str, Function], constants: dict[str, Const]) -> None:
        self.function = function
        self.taken = functions.keys() | constants.keys() | RESERVED
        self.names = Expressions(function, functions, constants)
        self.joins: list[int] = []

    def read(self, node: ast.FunctionDef) -> None:
        """Read the whole function."""
        for name in self.function.types:
            if name in self.taken:
                self.names.refuse(node, f"the name {name} is taken", "choose another")
            self.names.bits[name] = len(self.names.bits)
        self.names.assigned = (1 << len(self.names.bits)) - 1
        self.function.body = self.block(node.body)
        if self.names.assigned != _UNREACHABLE:
            self.names.refuse(node, "the end can be reached without a return", "end with `return 0`")

    def block(self, nodes: list[ast.stmt]) -> list[Stmt]:
        """Read statements in a row."""
        return [stmt for node in nodes if (stmt := self.statement(node)) is not None]

    def statement(self, node: ast.stmt) -> Stmt | None:
        """Read a statement; None for one that does nothing."""
        match node:
            case ast.Assign(targets=[target], value=value):
                return self.assign(target, value)
            case ast.AugAssign():
                return self.augment(node)
            case ast.If():
                return self.choose(node)
            case ast.Expr():
                return self.effect(node)
            case ast.Return():
                return self.leave(node)
            case ast.While():
                return self.loop(node)
            case ast.For():
                return self.count(node)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                return self.declare(node, name, value)
            case ast.Match():
                return self.switch(node)
            case ast.Break() | ast.Continue():
                return self.jump(node)
            case ast.Pass():
                return None
        what, hint = _told(node)
        return self.names.refuse(node, what, hint)

    def assign(self, target: ast.expr, value: ast.expr) -> Stmt:
        """Read `name = value` or `p[i] = value`."""
        read = self.names.read(value)
        if isinstance(target, ast.Name):
            self.bind(target, target.id, read.type)
            return Assign(target.id, read)
        if not isinstance(target, ast.Subscript):
            self.names.refuse(target, "only names and elements can be assigned", "write one statement for each")
        if read.type is not U64:
            self.names.refuse(target, f"an element cannot be {read.type.value}", "elements are u64: `1 if b else 0`")
        pointer, index = self.names.element(target)
        return Store(pointer, index, read, target.lineno)

    def bind(self, node: ast.AST, name: str, type_: Type) -> None:
        """Give a local a value from here on, and a type if it has none."""
        known = self.function.types.get(name)
        if known is None:
            if name in self.taken:
                self.names.refuse(node, f"{name} is a constant or a function", "choose another name for the local")
            if type_ is Type.NOTHING:
                self.names.refuse(node, "the right side has no value", "call it in a statement of its own")
            self.function.types[name] = type_
            self.names.bits[name] = len(self.names.bits)
        elif known is not type_:
            self.names.refuse(node, f"{name} is {known.value}, and cannot become {type_.value}", "choose another name")
        self.names.assigned |= 1 << self.names.bits[name]

    def augment(self, node: ast.AugAssign) -> Stmt:
        """Read `name op= value` or `p[i] op= value`."""
        if isinstance(node.target, ast.Name):
            name = node.target.id
            old = self.names.read(ast.Name(name, ast.Load(), lineno=node.lineno))
            if not isinstance(old, Local):
                self.names.refuse(node, f"{name} is a constant", "choose another name for the local")
            return Assign(name, self.names.combine(node, node.op, old, self.names.read(node.value)))
        if not isinstance(node.target, ast.Subscript):
            return self.names.refuse(node, "only names and elements can be assigned")
        pointer, index = self.names.element(node.target)
        value = self.names.read(node.value)
        made = self.names.combine(node, node.op, Load(U64, pointer, index, node.lineno), value)
        assert isinstance(made, Binary)
        return Update(pointer, index, made.op, value, node.lineno)

    def declare(self, node: ast.AnnAssign, name: str, value: ast.expr) -> Stmt:
        """Read `name: type = value`."""
        if not isinstance(node.annotation, ast.Name) or node.annotation.id not in NAMED:
            self.names.refuse(node, f"there is no type {ast.unparse(node.annotation)}", f"one of {', '.join(NAMED)}")
        read = self.names.typed(value, NAMED[node.annotation.id], "the value")
        self.bind(node, name, read.type)
        return Assign(name, read)

    def choose(self, node: ast.If) -> Stmt:
        """Read an `if` with all its `elif`s, however many."""
        arms: list[tuple[Expr, list[Stmt]]] = []
        after = _UNREACHABLE
        while True:
            cond = self.names.typed(node.test, BOOL, "the condition")
            before = self.names.assigned
            arms.append((cond, self.block(node.body)))
            after &= self.names.assigned
            self.names.assigned = before
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
        orelse = self.block(node.orelse)
        self.names.assigned &= after
        return If(arms, orelse)

    def switch(self, node: ast.Match) -> Stmt:
        """Read a `match` on a number."""
        subject = self.names.typed(node.subject, U64, "what is matched")
        before, after = self.names.assigned, _UNREACHABLE
        cases: list[tuple[list[int], list[Stmt]]] = []
        default: list[Stmt] = []
        seen: set[int] = set()
        complete = False
        for case in node.cases:
            if case.guard is not None:
                self.names.refuse(case.pattern, "a guard is not in the language", "write an if in the case")
            numbers = self.pattern(case.pattern)
            if seen & set(numbers) or len(set(numbers)) < len(numbers):
                self.names.refuse(case.pattern, "a number stands in two cases", "remove one")
            seen |= set(numbers)
            self.names.assigned = before
            body = self.block(case.body)
            after &= self.names.assigned
            if numbers:
                cases.append((numbers, body))
            else:
                default, complete = body, True
        self.names.assigned = after if complete else before & after
        return Switch(subject, cases, default)

    def pattern(self, node: ast.pattern) -> list[int]:
        """Return the numbers of a case; none for `_`."""
        match node:
            case ast.MatchValue(value=ast.Constant(value=int() as number)) if 0 <= number <= MASK:
                return [number]
            case ast.MatchOr(patterns=patterns):
                numbers = [self.pattern(part) for part in patterns]
                if all(numbers):
                    return [number for part in numbers for number in part]
            case ast.MatchAs(pattern=None, name=None):
                return []
        return self.names.refuse(node, "a case is not a number", "write `case 3:`, `case 3 | 4:` or `case _:`")

    def loop(self, node: ast.While) -> Stmt:
        """Read a `while`."""
        if node.orelse:
            self.names.refuse(node, "else after a loop is not in the language", "use a bool")
        cond = self.names.typed(node.test, BOOL, "the condition")
        forever = isinstance(cond, Const) and cond.value == 1
        before = self.names.assigned
        self.joins.append(_UNREACHABLE)
        body = self.block(node.body)
        left = self.joins.pop()
        self.names.assigned = left if forever else before & left
        return While(None if forever else cond, body)

    def count(self, node: ast.For) -> Stmt:
        """Read a `for` over a range."""
        if node.orelse:
            self.names.refuse(node, "else after a loop is not in the language", "use a bool")
        match node:
            case ast.For(
                target=ast.Name(id=name),
                iter=ast.Call(func=ast.Name(id="range"), args=[first, *more], keywords=[]),
            ) if len(more) < 2:
                pass
            case _:
                return self.names.refuse(node, "this loop is not in the language", "write `for i in range(a, b):`")
        start = self.names.typed(first, U64, "the bound of the range") if more else Const(U64, 0)
        stop = self.names.typed(more[0] if more else first, U64, "the bound of the range")
        before = self.names.assigned
        self.bind(node, name, U64)
        self.joins.append(_UNREACHABLE)
        body = self.block(node.body)
        self.names.assigned = before & self.joins.pop()
        return For(name, start, stop, body)

    def jump(self, node: ast.Break | ast.Continue) -> Stmt:
        """Read a `break` or `continue`."""
        if not self.joins:
            self.names.refuse(node, f"{type(node).__name__.lower()} stands outside of a loop")
        if isinstance(node, ast.Break):
            self.joins[-1] &= self.names.assigned
        self.names.assigned = _UNREACHABLE
        return Break() if isinstance(node, ast.Break) else Continue()

    def leave(self, node: ast.Return) -> Stmt:
        """Read a `return`."""
        if node.value is None:
            self.names.refuse(node, "the return has no value", "write `return 0`")
        value = self.names.typed(node.value, self.function.result, "the result")
        self.names.assigned = _UNREACHABLE
        return Return(value)

    def effect(self, node: ast.Expr) -> Stmt | None:
        """Read a call in a statement of its own; None for a docstring."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        if not isinstance(node.value, ast.Call):
            self.names.refuse(node, "this statement does nothing", "only calls stand alone")
        return Do(self.names.read(node.value))


def _told(node: ast.stmt) -> tuple[str, str]:
    """Return what is wrong with a statement that no reader takes, and what to write."""
    if isinstance(node, ast.AnnAssign):
        return "a declaration has no value", "write `name: u64 = 0`"
    if isinstance(node, ast.Assign):
        return "two targets are assigned at once", "write one statement for each"
    if isinstance(node, ast.FunctionDef):
        return "a function in a function is not in the language", "define it at the top"
    return f"the statement {type(node).__name__} is not in the language", ""
