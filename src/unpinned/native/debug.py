# SPDX-License-Identifier: Apache-2.0
"""Write the debug build of a program: every load and store, division and shift is checked, and a fault ends the call.

Every function has a hidden first parameter, the context of the call from outside:

    context[0]  number of the place of the fault, counted from 1; 0 while there is none
    context[1]  the address, or the amount of the shift
    context[2]  number of regions; then for each region its first address and its length in bytes

A failed check fills in the first two and returns; after each call of another function the caller looks at context[0]
and returns too, so the exported function returns soon, having done nothing after the fault. A context belongs to one
call, so calls from several threads do not meet. What the context's helpers do is written in the language itself.

An address must lie in one region with all its bytes, and be a multiple of the element's size. That an address lies in
another region than the pointer it was computed from is not noticed. `ptr` and `prefetch` touch nothing and may name
any address. `native.places` is a string with the places as JSON: function, line, kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from unpinned.native.check import read_module
from unpinned.native.emit import Emitter, zero
from unpinned.native.program import DECLARATIONS, exported, signatures, text_constant
from unpinned.native.tree import Call, Function, Module

_CONTEXT = "ptr %context"
_PREFIX = "debug."

_HELPERS = '''
def inside(context: u64p, address: u64, size: u64) -> bool:
    """Say whether an element lies in a region, and at a multiple of its size."""
    if address % size != 0:
        return False
    for region in range(context[2]):
        offset = address - context[3 + 2 * region]
        length = context[4 + 2 * region]
        if offset < length and size <= length - offset:
            return True
    return False

def fail(context: u64p, place: u64, value: u64) -> u64:
    """Note a fault."""
    context[0] = place
    context[1] = value
    return 0
'''


class DebugEmitter(Emitter):
    """Writer of one function with checks; `places` is shared by all functions of the module."""

    hidden = _CONTEXT
    guarded = frozenset({"udiv", "urem", "shl", "lshr"})

    def __init__(self, function: Function, places: list[tuple[str, int, str]]) -> None:
        super().__init__(function)
        self.places = places

    def require(self, cond: str, line: int, kind: str, value: str) -> None:
        """End the call with a fault unless a condition holds."""
        self.places.append((self.function.name, line, kind))
        good, bad = self.label("good"), self.label("bad")
        self.lines += [
            f"br i1 {cond}, label %{good}, label %{bad}",
            f"{bad}:",
            f'%f.{bad} = call i64 @"{_PREFIX}fail"({_CONTEXT}, i64 {len(self.places)}, i64 {value})',
        ]
        self.give_up()
        self.place(good)

    def give_up(self) -> None:
        """Return from a function whose result does not matter any more."""
        self.lines.append(f"ret {self.result} {zero(self.function.result)}")

    def touch(self, address: str, width: int, line: int, kind: str) -> None:
        """Check the address of an element."""
        number = self.make(f"ptrtoint ptr {address} to i64")
        good = self.make(f'call i1 @"{_PREFIX}inside"({_CONTEXT}, i64 {number}, i64 {width // 8})')
        self.require(good, line, kind, number)

    def call(self, expr: Call) -> str:
        """Write a call, and return at once if it ended with a fault."""
        result = super().call(expr)
        fault = self.make("load i64, ptr %context")
        good, bad = self.label("good"), self.label("bad")
        self.lines.append(f"br i1 {self.make(f'icmp eq i64 {fault}, 0')}, label %{good}, label %{bad}")
        self.lines.append(f"{bad}:")
        self.give_up()
        self.place(good)
        return result


def debug_text(module: Module, exports: Iterable[str]) -> str:
    """Return a whole program as LLVM IR with checks."""
    names = list(exports)
    places: list[tuple[str, int, str]] = []
    lines = [DECLARATIONS]
    for helper in read_module(_HELPERS).functions.values():
        lines += Emitter(helper, _PREFIX, "noinline").text()
    for function in module.functions.values():
        lines += DebugEmitter(function, places).text()
    for name in names:
        lines += exported(module.functions[name], _CONTEXT)
    lines += [signatures(module, names), text_constant("native.places", json.dumps(places))]
    return "\n".join(lines) + "\n"
