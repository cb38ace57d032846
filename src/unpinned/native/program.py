# SPDX-License-Identifier: Apache-2.0
"""Write a whole program as LLVM IR: its functions, what can be called from outside, and what tells of them.

Inside, a function f of the program is `py.f`, seen in the module only. For each export there is an external `native.f`
with a u64 in place of each parameter and of the result (an address for a pointer, 0 or 1 for a bool), so no name of a
program meets one of the C library. The string `native.signatures` has the exports and their numbers of parameters as
JSON: object code says what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from unpinned.native.emit import LLVM, Emitter, joined
from unpinned.native.tree import WIDTHS, Function, Module, Type

#: What LLVM provides.
DECLARATIONS = """\
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i64 @llvm.ctpop.i64(i64)
declare void @llvm.trap()
"""


def exported(function: Function, hidden: str = "") -> list[str]:
    """Return the external function through which `function` is called."""
    params = [hidden, *(f"{_outside(type_)} %a{place}" for place, type_ in enumerate(function.params))]
    lines = [f'define i64 @"native.{function.name}"({joined(params)}) nounwind {{', "entry:"]
    args = [hidden]
    for place, type_ in enumerate(function.params):
        if type_ is Type.BOOL:
            lines.append(f"%b{place} = icmp ne i64 %a{place}, 0")
        args.append(f"{LLVM[type_]} %{'b' if type_ is Type.BOOL else 'a'}{place}")
    lines.append(f'%r = call {LLVM[function.result]} @"py.{function.name}"({joined(args)})')
    match function.result:
        case Type.U64:
            return [*lines, "ret i64 %r", "}"]
        case Type.BOOL:
            return [*lines, "%w = zext i1 %r to i64", "ret i64 %w", "}"]
    return [*lines, "%w = ptrtoint ptr %r to i64", "ret i64 %w", "}"]


def text_constant(name: str, text: str) -> str:
    """Return a definition of a string that ends with a zero byte."""
    data = text.encode() + b"\0"
    shown = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}" for byte in data)
    return f'@"{name}" = constant [{len(data)} x i8] c"{shown}"'


def signatures(module: Module, exports: Iterable[str]) -> str:
    """Return the definition of the string that says what is exported."""
    counts = {name: len(module.functions[name].params) for name in exports}
    return text_constant("native.signatures", json.dumps(counts))


def module_text(module: Module, exports: Iterable[str], inline: Collection[str] = ()) -> str:
    """Return a whole program as LLVM IR; `inline` are functions to be inlined wherever they are called."""
    functions = module.functions
    names = list(exports)
    lines = [DECLARATIONS, signatures(module, names)]
    for function in functions.values():
        lines += Emitter(function, attributes="alwaysinline" if function.name in inline else "").text()
    for name in names:
        lines += exported(functions[name])
    return "\n".join(lines) + "\n"


def _outside(type_: Type) -> str:
    return "ptr" if type_ in WIDTHS else "i64"
