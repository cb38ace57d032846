# SPDX-License-Identifier: Apache-2.0
"""Hold the arrays of a search, and answer what was found: states by number, paths, levels, what was filed."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from unpinned.engine import explorer as x
from unpinned.engine.compaction import Shelf, odds
from unpinned.engine.logs import Logs
from unpinned.engine.memory import Array
from unpinned.engine.program import Program
from unpinned.engine.store import Store
from unpinned.engine.table import Table
from unpinned.engine.widest import widest
from unpinned.native import cache

#: A file has room for so many states at most.
MOST_FILED: Final = 1 << 20
#: Levels whose ends there is room for.
MOST_LEVELS: Final = 1 << 22

_U64 = ctypes.c_uint64


class Found:
    """What a search has found so far; may be asked whenever the workers stand still."""

    def __init__(self, program: Program, workers: int, seed: int, folder: Path | None) -> None:
        """Hold nothing yet; with a folder, files lie there."""
        self.program = program
        self.words = program.pack.words
        self.workers = workers
        self.compact = False
        self._seed = seed
        self._closing = ExitStack()
        self._logs = Logs(folder, cache.folder())
        self._closing.callback(self._logs.close)

    def _allot(self, region: int) -> None:
        """Make the arrays; a region has so many states, 0 for as many as can be."""
        self._store = Store.make(self.words, self.workers, region)
        self._closing.callback(self._store.close)
        self._table = Table(self._store.table, self.workers)
        self._closing.callback(self._table.close)
        self._shelf = Shelf(self.program, self._seed, self._store, self._logs)
        self._control_array = self._array(8 * (x.OWN + x.EACH * self.workers))
        self.control = (_U64 * (x.OWN + x.EACH * self.workers)).from_address(self._control_array.address)
        self._levels = self._array(MOST_LEVELS * 8 * self.workers)
        self._files = [self._array(MOST_FILED * 4) for _ in range(3)]
        self._seen = self._array(max(1, len(self.program.leaves)))
        batch = x.BATCH * max(1, self.program.most)
        recent = x.RECENT * self.words * 8
        sizes = (batch * self.words * 8, (batch + x.scratch_words(self.words)) * 8, batch * 8, recent)
        self._buffers = [tuple(self._array(size) for size in sizes) for _ in range(self.workers)]
        self._allotted = sum(sizes) * self.workers + self._table.beside

    def _array(self, size: int) -> Array:
        array = Array(size)
        self._closing.callback(array.close)
        return array

    def _tail(self, worker: int) -> int:
        return int(self.control[x.OWN + x.EACH * worker + x.TAIL])

    def _tails(self) -> list[int]:
        return [self._tail(w) for w in range(self.workers)]

    def close(self) -> None:
        """Give all memory back, and close all files."""
        self._closing.close()

    @property
    def states(self) -> int:
        """Return how many states were stored."""
        return int(self.control[x.TOTAL])

    @property
    def transitions(self) -> int:
        """Return how many steps were taken to states that are not broken."""
        return sum(int(self.control[x.OWN + x.EACH * w + x.TAKEN]) for w in range(self.workers))

    @property
    def depth(self) -> int:
        """Return the number of the last level."""
        return int(self.control[x.DEPTH])

    @property
    def frontier(self) -> int:
        """Return how many states of the next level are known."""
        own = [x.OWN + x.EACH * w for w in range(self.workers)]
        return sum(int(self.control[at + x.TAIL] - self.control[at + x.HIGH]) for at in own)

    @property
    def before(self) -> int:
        """Return how many states of levels that were searched whole lead to broken ones."""
        return int(self.control[x.BEFORE])

    def depth_of(self, number: int) -> int:
        """Return the level of a state."""
        ends = (_U64 * ((self.depth + 1) * self.workers)).from_address(self._levels.address)
        own = self._store.owner(number)
        return bisect_right(range(self.depth + 1), number, key=lambda depth: int(ends[depth * self.workers + own]))

    @property
    def levels(self) -> list[int]:
        """Return the number of states of each level."""
        return [sum(high - low for low, high in self.level(depth)) for depth in range(self.depth + 1)]

    def level(self, depth: int) -> list[tuple[int, int]]:
        """Return the states of a level: for each worker a range of numbers."""
        ends = (_U64 * ((self.depth + 1) * self.workers)).from_address(self._levels.address)
        first = [self._store.first(w) for w in range(self.workers)]
        if depth:
            first = [int(ends[(depth - 1) * self.workers + w]) for w in range(self.workers)]
        return [(first[w], int(ends[depth * self.workers + w])) for w in range(self.workers)]

    @property
    def waited(self) -> bool:
        """Tell whether somewhere a CPU had to wait while another went on."""
        return bool(self.control[x.WAITED])

    def filed(self, counter: int, first: int | None = None) -> list[int]:
        """Return the states that were filed under BROKEN, LIMITS or DEAD (the `first` so many), by their numbers.

        There are fewer than count() says where the file had no room for more.
        """
        count = min(int(self.control[counter]) if first is None else first, int(self.control[x.FILED]))
        array = self._files[(x.BROKEN, x.LIMITS, x.DEAD).index(counter)]
        return sorted((ctypes.c_uint32 * count).from_address(array.address))

    def count(self, counter: int) -> int:
        """Return how many states were filed, also those for which the file had no room."""
        return int(self.control[counter])

    def passed(self) -> list[int]:
        """Return the numbers of the leaves that were taken; needs a program with coverage."""
        return [leaf for leaf, taken in enumerate(self._seen.read(0, len(self.program.leaves))) if taken]

    def ranges(self) -> list[tuple[int, int]]:
        """Return the numbers of all states: for each worker a range."""
        return [(self._store.first(w), self._tail(w)) for w in range(self.workers)]

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all states."""
        for low, high in self.ranges():
            yield from range(low, high)

    @property
    def end(self) -> int:
        """Return a number that no state reaches."""
        return max(high for _, high in self.ranges())

    @property
    def states_at(self) -> int:
        """Return the address of the states."""
        return self._store.states.address

    @property
    def table_at(self) -> int:
        """Return the address of the table."""
        return self._table.address

    @property
    def table_size(self) -> int:
        """Return the entries of the table, full and free."""
        return self._table.size

    def scratch(self, worker: int) -> tuple[int, int, int]:
        """Return addresses that a worker may write to: paths taken, successors, hashes."""
        out, hashes, _, _ = self._buffers[worker]
        return self._seen.address, out.address, hashes.address

    def state(self, number: int) -> bytes:
        """Return a state as ir/layout.py lays it out."""
        return self.program.pack.unpack(self.packed(number))

    def packed(self, number: int) -> tuple[int, ...]:
        """Return the words of a state; if it was given back, it is made again along its path."""
        if self._store.is_there(number):
            return self._store.packed(number)
        return self._shelf.packed(self.path(number))

    def path(self, number: int) -> list[int]:
        """Return the numbers of the states on a shortest path from the first state to this one."""
        parent = self._shelf.parent if self.compact else self._store.parent
        found = [number]
        while found[-1] != 0:
            found.append(parent(found[-1]))
        return found[::-1]

    def kept(self) -> list[tuple[int, int]]:
        """Return the numbers of the states that are in memory: for each worker a range."""
        return list(zip(self._store.given, self._tails(), strict=True))

    def widest(self) -> tuple[str, int]:
        """Return the variable with the most values among the states in memory, or some of them, and how many."""
        return widest(self.program.pack, self.kept(), self._store.packed)

    @property
    def odds(self) -> float:
        """Return an upper bound of the probability that a state was missed: 0 unless states were compacted."""
        return odds(self.states) if self.compact else 0.0
