# SPDX-License-Identifier: Apache-2.0
"""Run a program as Python: the meaning of the language, and the oracle for the compiled code.

The text is checked, annotations are removed, operators that CPython would let grow beyond 64 bits are masked, and the
rest is executed as it stands: control flow, order of evaluation, short circuits and calls are CPython's own. Pointers
are `Pointer`s into a `Memory`, and every access to one is checked, in every build. With `debug` shifts by 64 and more
and divisions by zero are faults too; without it they give what the compiled code gives.
"""

from __future__ import annotations

import ast
import operator
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unpinned.native.check import read_module
from unpinned.native.errors import CompileError, NativeError
from unpinned.native.tree import MASK

_FILE = "<native program>"


def _fault(kind: str, value: int) -> NativeError:
    """Return the error for the line of the program that runs."""
    frame = sys._getframe()  # noqa: SLF001 - traceback objects do not exist before the error
    while frame.f_code.co_filename != _FILE:
        if frame.f_back is None:
            return NativeError("", 0, kind, value)
        frame = frame.f_back
    return NativeError(frame.f_code.co_name, frame.f_lineno, kind, value)


@dataclass(slots=True)
class Memory:
    """A region of memory; `data` is anything that can be written as bytes, at a made-up address."""

    data: bytearray | memoryview
    address: int = 1 << 32
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pointer(self, width: int, offset: int = 0) -> Pointer:
        """Return a pointer to elements of `width` bits, `offset` bytes into the region."""
        return Pointer(self, width // 8, offset)


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to elements of `size` bytes; `offset` may lie outside as long as nothing is touched there."""

    memory: Memory
    size: int
    offset: int

    def at(self, index: int, kind: str) -> slice:
        """Return where an element lies, or raise the fault."""
        start = (self.offset + index * self.size) & MASK
        if start + self.size > len(self.memory.data) or (self.memory.address + start) % self.size:
            raise _fault(kind, (self.memory.address + start) & MASK)
        return slice(start, start + self.size)

    def __getitem__(self, index: int) -> int:
        return int.from_bytes(self.memory.data[self.at(index, "load")], sys.byteorder)

    def __setitem__(self, index: int, value: int) -> None:
        self.put(self.at(index, "store"), value)

    def put(self, place: slice, value: int) -> None:
        """Write an element, cut to its width."""
        self.memory.data[place] = (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, sys.byteorder)

    def exchange(self, index: int, change: Callable[[int], int | None]) -> int:
        """Replace an element as one step, unless `change` returns None; return what it was."""
        place = self.at(index, "atomic")
        with self.memory.lock:
            found = int.from_bytes(self.memory.data[place], sys.byteorder)
            new = change(found)
            if new is not None:
                self.put(place, new)
        return found


def _cas(pointer: Pointer, index: int, old: int, new: int) -> int:
    wanted = old & ((1 << 8 * pointer.size) - 1)
    return pointer.exchange(index, lambda found: new if found == wanted else None)


def _fetch_add(pointer: Pointer, index: int, amount: int) -> int:
    return pointer.exchange(index, lambda found: found + amount)


def _aload(pointer: Pointer, index: int) -> int:
    return pointer.exchange(index, lambda _: None)


def _astore(pointer: Pointer, index: int, value: int) -> None:
    pointer.exchange(index, lambda _: value)


def _ptr(pointer: Pointer, index: int) -> Pointer:
    return Pointer(pointer.memory, pointer.size, (pointer.offset + index * pointer.size) & MASK)


def _operations(debug: bool) -> dict[str, Callable[[int, int], int]]:
    """Return the functions that stand for the operators."""

    def shift_left(value: int, amount: int) -> int:
        if amount > 63:
            return refused("shift", amount, 0)
        return (value << amount) & MASK

    def shift_right(value: int, amount: int) -> int:
        return refused("shift", amount, 0) if amount > 63 else value >> amount

    def divide(value: int, divisor: int) -> int:
        return value // divisor if divisor else refused("division", 0, 0)

    def remainder(value: int, divisor: int) -> int:
        return value % divisor if divisor else refused("division", 0, value)

    def refused(kind: str, value: int, result: int) -> int:
        if debug:
            raise _fault(kind, value)
        return result

    return {
        "Add": lambda left, right: (left + right) & MASK,
        "Sub": lambda left, right: (left - right) & MASK,
        "Mult": lambda left, right: (left * right) & MASK,
        "BitAnd": operator.and_,
        "BitOr": operator.or_,
        "BitXor": operator.xor,
        "LShift": shift_left,
        "RShift": shift_right,
        "FloorDiv": divide,
        "Mod": remainder,
    }


class _Masked(ast.NodeTransformer):
    """Replace operators by calls of the functions that stand for them, and remove annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for arg in node.args.args:
            arg.annotation = None
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _operation(node, node.op, node.left, node.right)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Invert):
            return _operation(node, ast.BitXor(), node.operand, ast.Constant(MASK))
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        """Write `x op= v` out; in `p[i] op= v` pointer and index are evaluated once, before the old element."""
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            old = ast.Name(node.target.id, ast.Load())
            made = _operation(node, node.op, old, node.value)
            return ast.copy_location(ast.Assign([node.target], made), node)
        assert isinstance(node.target, ast.Subscript)
        names = ast.Name("pointer ", ast.Load()), ast.Name("index ", ast.Load())
        stored = [ast.Name(name.id, ast.Store()) for name in names]
        made = _operation(node, node.op, ast.Subscript(*names, ast.Load()), node.value)
        return [
            ast.copy_location(ast.Assign([stored[0]], node.target.value), node),
            ast.copy_location(ast.Assign([stored[1]], node.target.slice), node),
            ast.copy_location(ast.Assign([ast.Subscript(*names, ast.Store())], made), node),
        ]


def _operation(node: ast.AST, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.Call:
    called = ast.Name(f"operator {type(op).__name__}", ast.Load())
    return ast.copy_location(ast.Call(called, [left, right], []), node)


def run(source: str, debug: bool = False) -> dict[str, Callable[..., Any]]:
    """Return the functions of a program: they take ints, bools and `Pointer`s.

    Raises `CompileError` for a text that the compiler refuses; the functions raise `NativeError` for a fault.
    """
    read = read_module(source)
    try:
        parsed = compile(ast.fix_missing_locations(_Masked().visit(ast.parse(source))), _FILE, "exec")
    except RecursionError as error:
        raise CompileError("", 0, "an expression or a block is nested too deeply for Python", "split it") from error
    names: dict[str, Any] = {f"operator {name}": function for name, function in _operations(debug).items()}
    names |= {
        "cas": _cas,
        "fetch_add": _fetch_add,
        "aload": _aload,
        "astore": _astore,
        "prefetch": lambda _pointer, _index: None,
        "ptr": _ptr,
        "popcount": int.bit_count,
    }
    exec(parsed, names)  # noqa: S102 - our own text, checked above
    return {name: names[name] for name in read.functions}
