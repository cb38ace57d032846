# SPDX-License-Identifier: Apache-2.0
"""Type expressions: from Python's syntax tree to the typed tree, or a `CompileError` that says what to write.

All integers are u64. There is no truth value of a number and no number of a bool: `if n != 0`, `1 if b else 0`.
Intrinsics, whose first arguments are a pointer and an index as in `p[i]`:

    cas(p, i, old, new)  store `new` if the element is `old`; the element as it was (acquire and release)
    fetch_add(p, i, n)   add `n`; the element as it was (acquire and release)
    aload(p, i)          load with acquire         astore(p, i, v)  store with release
    prefetch(p, i)       ask for the cache line; the address need not exist
    ptr(p, i)            the address of p[i], of p's type
    popcount(x)          how many bits of a number are set
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from unpinned.native.errors import CompileError
from unpinned.native.tree import (
    MASK,
    WIDTHS,
    Binary,
    Call,
    Choice,
    Compare,
    Const,
    Expr,
    Function,
    Intrinsic,
    Load,
    Local,
    Logic,
    Not,
    Type,
    fold,
)

U64, BOOL, NOTHING = Type.U64, Type.BOOL, Type.NOTHING

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "lshr",
    ast.FloorDiv: "udiv",
    ast.Mod: "urem",
}

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "ult",
    ast.LtE: "ule",
    ast.Gt: "ugt",
    ast.GtE: "uge",
}

#: Arguments of type u64 after the pointer, and the result; `ptr` has the pointer's type instead.
_ON_MEMORY = {
    "cas": (3, U64),
    "fetch_add": (2, U64),
    "aload": (1, U64),
    "astore": (2, NOTHING),
    "prefetch": (1, NOTHING),
    "ptr": (1, U64),
}

#: Names that a module cannot give to anything else.
RESERVED = frozenset({*_ON_MEMORY, "popcount", "range"})


@dataclass(slots=True)
class Expressions:
    """Reader of a function's expressions: it knows the names and which locals have a value by now.

    `assigned` has bit `bits[name]` set for each local that has a value on every path that leads here; it is -1, all
    bits, where no path leads.
    """

    function: Function
    functions: Mapping[str, Function]
    constants: Mapping[str, Const]
    assigned: int = 0
    bits: dict[str, int] = field(default_factory=dict)

    def refuse(self, node: ast.AST, what: str, hint: str = "") -> NoReturn:
        """Raise the error for a node."""
        raise CompileError(self.function.name, getattr(node, "lineno", self.function.line), what, hint)

    def typed(self, node: ast.expr, wanted: Type, what: str) -> Expr:
        """Read an expression that must have a type."""
        expr = self.read(node)
        if expr.type is not wanted:
            hint = _CONVERSIONS.get((expr.type, wanted), "")
            self.refuse(node, f"{what} is {expr.type.value}, not {wanted.value}", hint)
        return expr

    def read(self, node: ast.expr) -> Expr:
        """Read an expression."""
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Constant():
                return self._constant(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Subscript():
                return self._load(node)
            case ast.Compare():
                return self._compare(node)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.IfExp():
                return self._choice(node)
        return self.refuse(node, f"{type(node).__name__} is not in the language", _INSTEAD.get(type(node), ""))

    def combine(self, node: ast.AST, operator: ast.operator, left: Expr, right: Expr) -> Expr:
        """Apply a binary operator to what was read."""
        op = _OPERATORS.get(type(operator))
        if op is None:
            hint = "write // for division" if isinstance(operator, ast.Div) else ""
            self.refuse(node, f"the operator {type(operator).__name__} is not in the language", hint)
        if left.type is not right.type:
            self.refuse(node, f"the operands are {left.type.value} and {right.type.value}", "both must be of one type")
        if left.type is not U64 and not (left.type is BOOL and op in {"and", "or", "xor"}):
            hint = "write `1 if b else 0` for a number" if left.type is BOOL else "write ptr(p, i) for an address"
            self.refuse(node, f"the operator {type(operator).__name__} does not take {left.type.value}", hint)
        if isinstance(left, Const) and isinstance(right, Const):
            value = fold(op, left.value, right.value)
            if value is not None:
                return Const(left.type, value)
        return Binary(left.type, op, left, right, getattr(node, "lineno", 0))

    def _constant(self, node: ast.Constant) -> Expr:
        if isinstance(node.value, bool):
            return Const(BOOL, int(node.value))
        if isinstance(node.value, int):
            if node.value > MASK:
                self.refuse(node, f"{node.value} does not fit in 64 bits")
            return Const(U64, node.value)
        return self.refuse(node, f"{node.value!r} is not in the language", "there are numbers, True and False")

    def _name(self, node: ast.Name) -> Expr:
        name = node.id
        type_ = self.function.types.get(name)
        if type_ is None:
            constant = self.constants.get(name)
            if constant is not None:
                return constant
            if name in self.functions or name in RESERVED:
                self.refuse(node, f"the function {name} is not a value", f"call it: {name}(...)")
            self.refuse(node, f"{name} has no value here")
        if not self.assigned >> self.bits[name] & 1:
            self.refuse(node, f"{name} may have no value here", "assign it on every path, or before the branch or loop")
        return Local(type_, name)

    def _binary(self, node: ast.BinOp) -> Expr:
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        left = self.read(chain[-1].left)
        for link in reversed(chain):
            left = self.combine(link, link.op, left, self.read(link.right))
        return left

    def _unary(self, node: ast.UnaryOp) -> Expr:
        if isinstance(node.op, ast.Not):
            value = self.typed(node.operand, BOOL, "the operand of not")
            return Const(BOOL, 1 - value.value) if isinstance(value, Const) else Not(BOOL, value)
        if isinstance(node.op, ast.Invert):
            operand = self.typed(node.operand, U64, "the operand of ~")
            return self.combine(node, ast.BitXor(), operand, Const(U64, MASK))
        return self.refuse(node, "a sign is not in the language", "write 0 - x")

    def _compare(self, node: ast.Compare) -> Expr:
        if len(node.ops) > 1:
            self.refuse(node, "a chained comparison is not in the language", "write `a < b and b < c`")
        op = _COMPARISONS.get(type(node.ops[0]))
        if op is None:
            self.refuse(node, f"the comparison {type(node.ops[0]).__name__} is not in the language")
        left, right = self.read(node.left), self.read(node.comparators[0])
        if left.type is not right.type:
            self.refuse(node, f"{left.type.value} is compared with {right.type.value}", "both must be of one type")
        if left.type is not U64 and not (left.type is BOOL and op in {"eq", "ne"}):
            self.refuse(node, f"{left.type.value} cannot be compared so", "numbers can, and bools by == and !=")
        return Compare(BOOL, op, left, right)

    def _logic(self, node: ast.BoolOp) -> Expr:
        every = isinstance(node.op, ast.And)
        what = "an operand of " + ("and" if every else "or")
        return Logic(BOOL, every, [self.typed(value, BOOL, what) for value in node.values])

    def _choice(self, node: ast.IfExp) -> Expr:
        cond = self.typed(node.test, BOOL, "the condition")
        then, orelse = self.read(node.body), self.read(node.orelse)
        if then.type is not orelse.type:
            what = f"the choice is between {then.type.value} and {orelse.type.value}"
            self.refuse(node, what, "both must be of one type")
        return Choice(then.type, cond, then, orelse)

    def _load(self, node: ast.Subscript) -> Expr:
        pointer, index = self.element(node)
        return Load(U64, pointer, index, node.lineno)

    def element(self, node: ast.Subscript) -> tuple[Expr, Expr]:
        """Read the pointer and the index of `p[i]`."""
        pointer = self.read(node.value)
        if pointer.type not in WIDTHS:
            self.refuse(node, f"{pointer.type.value} has no elements", "only pointers can be indexed")
        return pointer, self.typed(node.slice, U64, "the index")

    def _call(self, node: ast.Call) -> Expr:
        if not isinstance(node.func, ast.Name):
            self.refuse(node, "only functions of the module can be called", "call a function by its name")
        name = node.func.id
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            self.refuse(node, f"the call of {name} has a keyword or a star", "give the arguments in their order")
        if name in _ON_MEMORY:
            return self._intrinsic(node, name)
        if name == "popcount":
            self._count(node, name, 1)
            return Intrinsic(U64, name, [self.typed(node.args[0], U64, "the argument of popcount")], node.lineno)
        called = self.functions.get(name)
        if called is None:
            hint = "it stands in `for i in range(n)` only" if name == "range" else "define it in this module"
            self.refuse(node, f"there is no function {name} to call", hint)
        self._count(node, name, len(called.params))
        args = [
            self.typed(arg, wanted, f"argument {place} of {name}")
            for place, (arg, wanted) in enumerate(zip(node.args, called.params, strict=True), 1)
        ]
        self.function.calls.setdefault(name, node.lineno)
        return Call(called.result, name, args, node.lineno)

    def _intrinsic(self, node: ast.Call, name: str) -> Expr:
        count, result = _ON_MEMORY[name]
        self._count(node, name, count + 1)
        pointer = self.read(node.args[0])
        if pointer.type not in WIDTHS:
            what = f"argument 1 of {name} is {pointer.type.value}, not a pointer"
            self.refuse(node, what, f"write {name}(p, i, ...)")
        args = [self.typed(arg, U64, f"argument {place} of {name}") for place, arg in enumerate(node.args[1:], 2)]
        return Intrinsic(pointer.type if name == "ptr" else result, name, [pointer, *args], node.lineno)

    def _count(self, node: ast.Call, name: str, wanted: int) -> None:
        if len(node.args) != wanted:
            self.refuse(node, f"{name} takes {wanted} arguments, not {len(node.args)}")


_CONVERSIONS = {
    (U64, BOOL): "write `x != 0`",
    (BOOL, U64): "write `1 if b else 0`",
}

_INSTEAD: dict[type[ast.expr], str] = {
    ast.Attribute: "keep what belongs together in memory behind a pointer",
    ast.Tuple: "use a statement for each value",
    ast.NamedExpr: "assign in a statement of its own",
    ast.List: "use memory behind a pointer",
    ast.Dict: "use memory behind a pointer",
    ast.Slice: "index one element",
}
