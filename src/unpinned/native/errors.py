# SPDX-License-Identifier: Apache-2.0
"""Errors of compiled programs: a text that is refused, and a fault that a debug build has caught.

Neither is a mistake of a user of unpinned: the programs are its own, so these are not `UnpinnedError`s.
"""

from __future__ import annotations


class CompileError(Exception):
    """A text outside the language: `function` and `line` (of the text, from 1) say where, `hint` what to write."""

    def __init__(self, function: str, line: int, what: str, hint: str = "") -> None:
        where = f"{function}, line {line}" if function else f"line {line}"
        super().__init__(f"{where}: {what}" + (f"; {hint}" if hint else ""))
        self.function = function
        self.line = line
        self.what = what
        self.hint = hint


class NativeError(Exception):
    """A fault while a program ran: `kind` is "load", "store", "atomic", "division" or "shift".

    `value` is the address of a load, store or atomic where one is known, and the amount of a shift.
    """

    def __init__(self, function: str, line: int, kind: str, value: int = 0) -> None:
        told = {
            "division": "division by zero",
            "shift": f"shift by {value}, which is more than 63",
        }.get(kind, f"{kind} outside of every region, or not aligned (address {value:#x})")
        super().__init__(f"{function}, line {line}: {told}")
        self.function = function
        self.line = line
        self.kind = kind
        self.value = value
