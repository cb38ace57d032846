# SPDX-License-Identifier: Apache-2.0
"""A table that grows where it stands has every entry where a look for it comes by, or says that it has failed."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kvm_seq import kvm_seq

from unpinned.engine.crew import Crew
from unpinned.engine.explorer import FLOOR, STASH
from unpinned.engine.memory import Array
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.engine.table import Table

MOST = 1 << 20


@cache
def program() -> Program:
    return Program(kvm_seq(2, 2, 1, 1, 3))


@contextmanager
def table(size: int, entries: Iterable[int], workers: int) -> Iterator[tuple[Table, ctypes.Array]]:
    """Yield a table with entries, and all of its words."""
    array = Array(8 * MOST)
    made = Table(array, workers)
    made.clear(size)
    words = (ctypes.c_uint64 * MOST).from_address(made.address)
    for entry in entries:
        slot = ((entry >> 32) * size) >> 32
        while words[slot]:
            slot = (slot + 1) % size
        words[slot] = entry
    try:
        yield made, words
    finally:
        made.close()
        array.close()


def grown(made: Table, size: int, workers: int) -> bool:
    with Crew(workers) as pool:
        return made.grow(size, program().best, pool)


def assert_found(words: ctypes.Array, size: int, entries: list[int]) -> None:
    """Hold that a look for each entry finds it, and that there is nothing else."""
    held = words[:MOST]
    assert sum(map(bool, held)) == len(entries)
    assert not any(held[size:])
    for entry in entries:
        slot = ((entry >> 32) * size) >> 32
        while held[slot] != entry:
            assert held[slot], f"{entry:#x} is not found"
            slot = (slot + 1) % size


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    old=st.integers(4 * FLOOR, 1 << 16),
    factor=st.floats(1.05, 4.0),
    full=st.floats(0.3, 0.8),
    workers=st.integers(1, 3),
    narrow=st.booleans(),
)
def test_every_entry_is_found_after_growth(seed, old, factor, full, workers, narrow):
    """Narrow: a third of the entries begin within a thousandth of the table, or near its end."""
    rng = random.Random(seed)
    entries = list({rng.randrange(1, 1 << 64) for _ in range(int(old * full))})
    if narrow:
        at = rng.choice([rng.randrange(1 << 32), (1 << 32) - 1, 0])
        for i in range(min(len(entries) // 3, FLOOR // 2)):
            tag = max(0, min((1 << 32) - 1, at + rng.randrange(-1 << 19, 1 << 19)))
            entries[i] = tag << 32 | i + 1
    with table(old, entries, workers) as (made, words):
        size = int(old * factor)
        assert grown(made, size, workers)
        assert made.size == size
        assert_found(words, size, entries)


@pytest.mark.parametrize("workers", [1, 2])
def test_growth_gives_up_when_more_is_displaced_than_it_can_put_aside(workers):
    """Entries that all begin in the last slot stand from slot 0 on; behind FLOOR there may be others that wait."""
    entries = [((1 << 32) - 1) << 32 | i + 1 for i in range(workers * STASH + FLOOR)]
    with table(1 << 16, entries, workers) as (made, _):
        assert not grown(made, 1 << 17, workers)


def test_a_small_table_is_made_anew():
    with table(4 * FLOOR - 1, [1 << 40], 1) as (made, _):
        assert not grown(made, 1 << 17, 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_search_goes_on_where_growth_has_failed(cores, monkeypatch):
    failed = []

    def grow(made: Table, size: int, *_: object) -> bool:
        """Fail as late as can be: with all entries gone."""
        made.clear(size)
        failed.append(size)
        return False

    monkeypatch.setattr(Table, "grow", grow)
    search = Search(program(), Limits(1 << 30, to_end=True, cores=cores))
    search.run()
    assert search.complete
    assert search.states == 81_112
    assert len(failed) > 1
    search.close()


def test_an_interrupt_while_the_table_grows_loses_nothing(monkeypatch):
    """The table is half moved then; it is made anew when the search goes on."""
    real = Table.grow

    def grow(made: Table, size: int, *rest: object) -> bool:
        monkeypatch.setattr(Table, "grow", real)
        made.clear(size)
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "grow", grow)
    search = Search(program(), Limits(1 << 30, to_end=True))
    search.run()
    assert search.stopped == "interrupt"
    search.run()
    assert search.complete
    assert search.states == 81_112
    search.close()
