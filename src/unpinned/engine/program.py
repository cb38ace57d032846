# SPDX-License-Identifier: Apache-2.0
"""Put the steps of a system and the explorer together, and have them compiled.

Code is wanted at once and fast: compiled code of earlier runs is taken from the cache; where there is none, code
without optimisation serves until the search has proved long, and optimised code is made beside it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from unpinned.engine.explorer import MAX_THREADS, explorer_source, scratch_words
from unpinned.engine.packing import Packing, Row, Slice
from unpinned.engine.sweeps import SWEEPS
from unpinned.ir.digest import exact_key
from unpinned.ir.layout import initial, layout
from unpinned.ir.program import Leaf, System
from unpinned.native import cache, machine
from unpinned.native.cache import remembered
from unpinned.reduce.alike import Symmetry

#: What is called from outside, with the number of its arguments.
_SEARCH: Final = {
    "level": 18,
    "serial": 18,
    "advance": 3,
    "rebuild": 8,
    "spread": 6,
    "unstash": 3,
    "fingerprint": 5,
    "representative": 2,
}
_ANALYSIS: Final = {"lookup": 5, "mark_back": 11, "sweep": 10, "enter_rest": 4, "fair_cycle": 20}
_EXPORTS: Final = _SEARCH | _ANALYSIS


_MOST_STEPS: Final = 65535
#: No two states are taken for one.
NONE: Final = Symmetry((), pages=False, frames=False)


@dataclass(frozen=True, slots=True)
class Code:
    """The compiled functions of explorer.py and sweeps.py; pointers are given as addresses."""

    level: Callable[..., int]
    serial: Callable[..., int]
    advance: Callable[..., int]
    rebuild: Callable[..., int]
    spread: Callable[..., int]
    unstash: Callable[..., int]
    fingerprint: Callable[..., int]
    representative: Callable[..., int]
    lookup: Callable[..., int]
    mark_back: Callable[..., int]
    sweep: Callable[..., int]
    enter_rest: Callable[..., int]
    fair_cycle: Callable[..., int]


class UnfitError(Exception):
    """A system that the compiled engine has no way to search; the reference engine does."""


class Program:
    """The compiled search of a system.

    `first` is the packed initial state, `leaves` are the paths by number, `most` bounds the successors of a state, and
    `wanted` are the bits of sweeps.py.
    """

    def __init__(self, system: System, coverage: bool = True, symmetry: Symmetry = NONE) -> None:
        """Write and compile; states that a `symmetry` exchanges are one state.

        :raises UnfitError: if it has more threads, or steps out of a state, than the result of succ() has bits for.
        """
        if len(system.threads) > MAX_THREADS:
            raise UnfitError(f"more than {MAX_THREADS} threads")
        self.system = system
        key = (exact_key(system), coverage, symmetry)
        written = remembered("program", key, lambda: _write(system, coverage, symmetry))
        (rows, slices, words), self.symmetry, self.source, self.leaves, self.most, self.wanted = written
        self.pack = Packing(system, layout(system), rows, slices, words)
        self._improving: threading.Thread | None = None
        found = cache.find(self.source, level=2)
        self.level = 0 if found is None else 2
        self.best = _loaded(found) if found is not None else self._compiled(0)
        self.first = self.canonical(initial(self.pack.lay))

    def canonical(self, state: bytes) -> tuple[int, ...]:
        """Return the packed state that stands for a state of ir/layout.py in the search."""
        packed = self.pack.pack(state)
        words = (ctypes.c_uint64 * len(packed))(*packed)
        spare = (ctypes.c_uint64 * scratch_words(len(packed)))()
        self.best.representative(ctypes.addressof(words), ctypes.addressof(spare))
        return tuple(words)

    def _compiled(self, level: int) -> Code:
        def make() -> bytes:
            return machine.compile_module(self.source, _EXPORTS, level=level)

        return _loaded(cache.cached(self.source, make, level=level))

    def improve(self) -> None:
        """Begin to make optimised code, if that has not begun; `best` is exchanged when it is there."""
        if self.level == 0 and self._improving is None:
            self._improving = threading.Thread(target=self._improve)
            self._improving.start()

    def _improve(self) -> None:
        self.best, self.level = self._compiled(2), 2


#: Rows, slices and words of a packing; the symmetry that is used; source; leaves; most successors; wanted bits.
_Written = tuple[tuple[dict[str, Row], tuple[Slice, ...], int], Symmetry, str, tuple[Leaf, ...], int, int]


def _write(system: System, coverage: bool, symmetry: Symmetry) -> _Written:
    """Write the whole source; what writes it is imported here, since it is seldom needed and takes time."""
    from unpinned.engine.quotient import quotient  # noqa: PLC0415
    from unpinned.engine.steps import Writer  # noqa: PLC0415

    chosen = quotient(system, symmetry)
    writer = Writer(chosen.pack, chosen.bounds, coverage)
    writer.write()
    if writer.most > _MOST_STEPS:
        raise UnfitError(f"more than {_MOST_STEPS} steps out of a state")
    source = "\n".join(writer.lines) + "\n" + chosen.canon
    source += explorer_source(chosen.pack.words, writer.most, bool(chosen.canon), SWEEPS)
    packing = (chosen.pack.rows, chosen.pack.slices, chosen.pack.words)
    return packing, chosen.symmetry, source, tuple(writer.leaves), writer.most, writer.wanted


def _loaded(code: bytes) -> Code:
    loaded = machine.load(code)
    return Code(**{name: loaded.function(name) for name in _EXPORTS})
