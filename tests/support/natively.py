# SPDX-License-Identifier: Apache-2.0
"""Run a program in every way there is, and compare: as Python, compiled at each level, and as debug builds."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unpinned.native.errors import NativeError
from unpinned.native.machine import Loaded, compile_module, load
from unpinned.native.python import Memory, run

LEVELS = (0, 2)

#: A result, or a fault in place of one; and the memory afterwards.
Outcome = tuple[Any, bytes]


@dataclass(frozen=True)
class At:
    """A pointer argument: elements of `width` bits, from a byte of the memory on."""

    width: int
    offset: int = 0


def compiled(source: str, level: int = 2, debug: bool = False, **exports: int) -> Loaded:
    """Compile and load; `exports` has functions and their numbers of parameters."""
    return load(compile_module(source, exports, level=level, debug=debug))


class Ways:
    """A program in all its executions."""

    def __init__(self, source: str, exports: Mapping[str, int], release: bool = True, debug: bool = True) -> None:
        self.python = {debugs: run(source, debugs) for debugs in (False, True)}
        self.native = [
            (f"level {level}{', debug' * debugs}", debugs, compiled(source, level, debugs, **exports))
            for level in LEVELS
            for debugs, wanted in ((False, release), (True, debug))
            if wanted
        ]

    def same(self, name: str, *args: int | At, memory: bytes = b"") -> Outcome:
        """Call a function in every way, check that all agree, and return what they agree on."""
        cells = (ctypes.c_uint64 * max(1, (len(memory) + 7) // 8))()
        address = ctypes.addressof(cells)
        expected = {debug: self._in_python(name, args, memory, address, debug) for debug in (False, True)}
        shown = None
        for way, debug, loaded in self.native:
            ctypes.memmove(cells, memory, len(memory))
            if debug:
                loaded.region(address, len(memory))
            numbers = [address + arg.offset if isinstance(arg, At) else arg for arg in args]
            got = _outcome(loaded.function(name), numbers), bytes(cells)[: len(memory)]
            if debug:
                loaded.forget(address)
            assert got == expected[debug], f"{way}: {name}{args}"
            shown = shown or got
        assert shown is not None
        return shown

    def result(self, name: str, *args: int | At, memory: bytes = b"") -> Any:
        """Return what `same` agrees on, without the memory."""
        return self.same(name, *args, memory=memory)[0]

    def _in_python(self, name, args, memory, address, debug) -> Outcome:
        own = Memory(bytearray(memory), address)
        values = [own.pointer(arg.width, arg.offset) if isinstance(arg, At) else arg for arg in args]
        return _outcome(self.python[debug][name], values), bytes(own.data)


def _outcome(function, args) -> Any:
    try:
        return int(function(*args))
    except NativeError as error:
        return error.function, error.line, error.kind, error.value


def program(text: str, **exports: int) -> Ways:
    """Return a program in all its executions."""
    return Ways(text, exports)
