# SPDX-License-Identifier: Apache-2.0
"""A whole search in a debug build touches no memory but its arrays, each as long as was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.kvm_seq import kvm_seq
from support.symmetric import kvm_seq_free

from unpinned.engine import memory
from unpinned.engine import program as programs
from unpinned.engine.analysis import Analysis
from unpinned.engine.explorer import scratch_words
from unpinned.engine.program import NONE, Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.program import System
from unpinned.native import cache
from unpinned.native.errors import NativeError
from unpinned.native.machine import Loaded, compile_module, load
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.symmetry import find_symmetry


class _Watched(Program):
    """A program in a debug build, which knows of each array that there is."""

    loaded: Loaded

    def _compiled(self, _level: int) -> programs.Code:
        self.loaded = load(compile_module(self.source, programs._EXPORTS, level=0, debug=True))
        return programs.Code(**{name: self.loaded.function(name) for name in programs._EXPORTS})

    def improve(self) -> None:
        """Stay with the debug build."""

    def canonical(self, state: bytes) -> tuple[int, ...]:
        words = self.pack.pack(state)
        array, spare = memory.Array(8 * len(words)), memory.Array(8 * scratch_words(len(words)))
        array.write(0, b"".join(word.to_bytes(8, "little") for word in words))
        self.best.representative(array.address, spare.address)
        found = array.read(0, 8 * len(words))
        return tuple(int.from_bytes(found[at : at + 8], "little") for at in range(0, len(found), 8))


@pytest.fixture
def watched(monkeypatch) -> Callable[[System, Symmetry], _Watched]:
    """Return what makes programs whose code may touch nothing but arrays, each as long as was asked for."""
    arrays: dict[int, int] = {}
    made: list[_Watched] = []
    make, close = memory.Array.__init__, memory.Array.close

    def init(self, size, *args, **kwargs):
        make(self, size, *args, **kwargs)
        arrays[self.address] = size
        for each in made:
            each.loaded.region(self.address, size)

    def gone(self):
        if arrays.pop(self.address, None) is not None:
            for each in made:
                each.loaded.forget(self.address)
        close(self)

    monkeypatch.setattr(memory.Array, "__init__", init)
    monkeypatch.setattr(memory.Array, "close", gone)
    monkeypatch.setattr(cache, "find", lambda *_, **__: None)

    def program(system: System, symmetry: Symmetry) -> _Watched:
        class Known(_Watched):
            def _compiled(self, level: int) -> programs.Code:
                code = super()._compiled(level)
                made.append(self)
                for address, size in arrays.items():
                    self.loaded.region(address, size)
                return code

        return Known(system, symmetry=symmetry)

    return program


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(("free", "compact"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_search_touches_nothing_outside_of_its_arrays(watched, free, compact, cores):
    """The table grows several times, and all questions are asked at the end."""
    made = kvm_seq_free(2, 1, 2, 1, 2) if free else kvm_seq(2, 1, 2, 1, 2)
    program = watched(made, find_symmetry(made) if free else NONE)
    search = Search(program, Limits(64 << 20, cores=cores, at_once=compact))
    try:
        search.run()
        assert search.complete
        assert search.states == (4_066 if free else 11_031)
        if not free and not compact:
            analysis = Analysis(search)
            last = search.level(search.depth)[0][0]
            assert analysis.number(search.state(last)) == last
            assert analysis.hopeless()[0] == {}
            assert analysis.endless_fault() is None
            assert analysis.layers([last], search.depth, 10_000)
    finally:
        search.close()


def test_what_lies_outside_would_be_seen(watched):
    made = kvm_seq(1, 1, 1, 1, 1)
    program = watched(made, NONE)
    search = Search(program, Limits(64 << 20))
    try:
        program.loaded.forget(search.table_at)
        with pytest.raises(NativeError):
            program.best.lookup(search.states_at, search.table_at, search.table_size, 0, search.states_at)
        program.loaded.region(search.table_at, 8)
    finally:
        search.close()
