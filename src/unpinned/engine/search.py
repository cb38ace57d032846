# SPDX-License-Identifier: Apache-2.0
"""Drive the compiled explorer: memory, workers, growth of the table, bounds, and what was found.

The main thread only waits, looks at the clock and answers Ctrl-C; the search runs in worker threads, whose compiled
code holds no interpreter lock. Whenever the workers stand still (between two chunks), everything that the search is
stands in its arrays: then the table may grow, better code may be put in, or a checkpoint be written.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from unpinned.engine import explorer as x
from unpinned.engine.canonical import scratch_words
from unpinned.engine.memory import Array
from unpinned.engine.program import Program

#: Entries of the table may take this share of it; then it is doubled.
_FULL: Final = 0.75
_FIRST_TABLE: Final = 1 << 12
#: Below so many states a level is not worth waking a second worker.
_WIDE_LEVEL: Final = 20_000
_FILED: Final = 1 << 20
_MOST_LEVELS: Final = 1 << 22
_MOST_STATES: Final = (1 << 32) - 2
_TICK: Final = 0.05  # seconds
_LONG: Final = 0.1  # seconds after which a search is worth better code

_U64 = ctypes.c_uint64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may take: a time (of time.monotonic), bytes of memory, cores; and how it ends.

    `to_end` searches past violations; `deadly` makes a state in which no CPU can go on one. `compact` lets states be
    told apart by their hashes alone when memory runs short. `seed` gives other hashes.
    """

    memory: int
    deadline: float | None = None
    cores: int = 1
    to_end: bool = False
    deadly: bool = True
    compact: bool = True
    seed: int = 0


class Search:
    """A search: make one, `run` it, and ask what was found; `close` gives its memory back.

    `stopped` says why it ended early: "time", "memory", "interrupt" or "". States are named by their numbers.
    """

    def __init__(self, program: Program, limits: Limits) -> None:
        self.program = program
        self.limits = limits
        self.words = program.pack.words
        self.workers = max(1, limits.cores)
        self.compact = False
        self.stopped = ""
        self.complete = False
        self._begun_before = False
        self._room = self._most_states()
        self._region = min(self._room + self._slack(), _MOST_STATES // self.workers)
        most = self._region * self.workers
        self._states = Array(most * self.words * 8)
        self._parents = Array(most * 4)
        self._prints = Array(8)
        self._control_array = Array(8 * (x.OWN + x.EACH * self.workers))
        self.control = (_U64 * (x.OWN + x.EACH * self.workers)).from_address(self._control_array.address)
        self._levels = Array(_MOST_LEVELS * 8 * self.workers)
        self._files = [Array(_FILED * 4) for _ in range(3)]
        self._seen = Array(max(1, len(program.leaves)))
        batch = x.BATCH * max(1, program.most)
        spare = scratch_words(self.words)
        self._buffers = [
            (Array(batch * self.words * 8), Array((batch + spare) * 8), Array(batch * 8)) for _ in range(self.workers)
        ]
        self._size = _FIRST_TABLE
        while self._size * _FULL < 4 * self._slack():
            self._size *= 2
        self._table = Array(self._size * 8)
        self._begin()

    def _slack(self) -> int:
        """Return how many states may be added after the last look at whether there is room."""
        return self.workers * x.BATCH * max(1, self.program.most)

    def _most_states(self) -> int:
        """Return how many states fit into the memory, exact: state, parent, and the table when it was last doubled."""
        each = self.words * 8 + 4 + 8 / _FULL
        return int(min(self.limits.memory / each, _MOST_STATES / 2))

    def _begin(self) -> None:
        c = self.control
        for w in range(self.workers):
            for part in (x.LOW, x.HIGH, x.TAIL):
                c[x.OWN + x.EACH * w + part] = w * self._region
        c[x.OWN + x.HIGH] = c[x.OWN + x.TAIL] = c[x.TOTAL] = 1
        c[x.TO_END], c[x.DEADLY], c[x.FILED] = self.limits.to_end, self.limits.deadly, _FILED
        c[x.DEEP] = _MOST_LEVELS - 1
        c[x.WIDE] = _WIDE_LEVEL if self.workers > 1 else 1 << 62
        first = (_U64 * self.words).from_address(self._states.address)
        for k, word in enumerate(self.program.first):
            first[k] = word
        levels = (_U64 * self.workers).from_address(self._levels.address)
        for w in range(self.workers):
            levels[w] = c[x.OWN + x.EACH * w + x.HIGH]

    # ---- running

    def run(self, tick: Callable[[Search], None] | None = None) -> None:
        """Search until the end, a violation or a bound, and on from there if it is called again; `tick` is called about twenty times a second."""
        self._begun = time.monotonic()
        self.stopped = ""
        with ThreadPoolExecutor(self.workers) as pool:
            self._code = self.program.best
            if not self._begun_before:
                self._rebuild(pool)
                self._begun_before = True
            try:
                self._loop(pool, tick)
            except KeyboardInterrupt:
                self.control[x.STOP] = 1
                self.stopped = "interrupt"
        self.control[x.STOP] = 0

    def _loop(self, pool: ThreadPoolExecutor, tick: Callable[[Search], None] | None) -> None:
        c = self.control
        while True:
            c[x.ROOM] = min(int(self._size * _FULL) - self._slack(), self._room)
            ended = self._turn(pool, tick)
            if self.stopped:
                return
            if ended and self._is_over():
                return
            self._code = self.program.best
            if c[x.TOTAL] >= c[x.ROOM] and not self._grow(pool):
                self.stopped = "memory"
                return

    def _is_over(self) -> bool:
        """Tell, at the end of a level, whether it was the last one."""
        c = self.control
        width = sum(c[x.OWN + x.EACH * w + x.HIGH] - c[x.OWN + x.EACH * w + x.LOW] for w in range(self.workers))
        violated = bool(c[x.OVER]) or (width == 0 and bool(c[x.BEFORE]) and not self.limits.to_end)
        self.complete = not violated and width == 0
        return violated or width == 0

    def _turn(self, pool: ThreadPoolExecutor, tick: Callable[[Search], None] | None) -> bool:
        """Let the workers run until they stand still; return whether a level has ended."""
        c = self.control
        width = sum(c[x.OWN + x.EACH * w + x.HIGH] - c[x.OWN + x.EACH * w + x.LOW] for w in range(self.workers))
        serial = self.workers == 1 or width < _WIDE_LEVEL
        running = [pool.submit(self._work, worker, serial) for worker in range(1 if serial else self.workers)]
        self._watch(running, tick)
        results = [future.result() for future in running]
        c[x.STOP] = 0
        if serial:
            return results[0] == 1
        if not any(results):
            return False
        self._code.advance(self.workers, self._control_array.address, self._levels.address)
        return True

    def _watch(self, running: list[Future[int]], tick: Callable[[Search], None] | None) -> None:
        """Wait for the workers; stop them when the time is up, on an interrupt, and when there is better code."""
        pending: set[Future[int]] = set(running)
        try:
            while pending:
                _, pending = wait(pending, timeout=_TICK)
                if tick is not None:
                    tick(self)
                if self.limits.deadline is not None and time.monotonic() > self.limits.deadline and pending:
                    self.stopped = "time"
                    self.control[x.STOP] = 1
                elif pending and time.monotonic() - self._begun > _LONG:
                    self.program.improve()
                    if self.program.best is not self._code:
                        self.control[x.STOP] = 1
        finally:
            self.control[x.STOP] = 1
            wait(running)

    def _work(self, worker: int, serial: bool) -> int:
        out, hashes, sources = (array.address for array in self._buffers[worker])
        broken, limits, dead = (array.address for array in self._files)
        shared = (
            *(self.workers, self.compact, self.limits.seed, self._states.address, self._parents.address),
            *(self._prints.address, self._table.address, self._size, self._control_array.address),
        )
        files = (broken, limits, dead, self._seen.address, out, hashes, sources)
        if serial:
            return self._code.serial(*shared, self._levels.address, *files)
        return self._code.level(worker, *shared, *files)

    # ---- the table

    def _grow(self, pool: ThreadPoolExecutor) -> bool:
        """Double the table, if memory allows; return whether the search can go on."""
        if self.control[x.TOTAL] >= self._room:
            return False
        self._table.close()
        self._size *= 2
        self._table = Array(self._size * 8)
        self._rebuild(pool)
        return True

    def _rebuild(self, pool: ThreadPoolExecutor) -> None:
        shared = (self.compact, self.limits.seed, self._states.address, self._prints.address)
        wait([
            pool.submit(self._code.rebuild, low, high, *shared, self._table.address, self._size)
            for low, high in self.ranges()
        ])

    def _tail(self, worker: int) -> int:
        return int(self.control[x.OWN + x.EACH * worker + x.TAIL])

    # ---- what was found

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
        return len(self.path(number)) - 1

    @property
    def levels(self) -> list[int]:
        """Return the number of states of each level."""
        return [sum(high - low for low, high in self.level(depth)) for depth in range(self.depth + 1)]

    def level(self, depth: int) -> list[tuple[int, int]]:
        """Return the states of a level: for each worker a range of numbers."""
        ends = (_U64 * ((self.depth + 1) * self.workers)).from_address(self._levels.address)
        first = [w * self._region for w in range(self.workers)]
        if depth:
            first = [int(ends[(depth - 1) * self.workers + w]) for w in range(self.workers)]
        return [(first[w], int(ends[depth * self.workers + w])) for w in range(self.workers)]

    @property
    def waited(self) -> bool:
        """Tell whether somewhere a CPU had to wait while another went on."""
        return bool(self.control[x.WAITED])

    def filed(self, counter: int, first: int | None = None) -> list[int]:
        """Return the states that were filed under BROKEN, LIMITS or DEAD (the `first` so many), by their numbers."""
        count = min(int(self.control[counter]) if first is None else first, _FILED)
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
        return [(w * self._region, self._tail(w)) for w in range(self.workers)]

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
        return self._states.address

    @property
    def table_at(self) -> int:
        """Return the address of the table."""
        return self._table.address

    @property
    def table_size(self) -> int:
        """Return the entries of the table, full and free."""
        return self._size

    @property
    def mask(self) -> int:
        """Return the same, under its former name."""
        return self._size

    def scratch(self, worker: int) -> tuple[int, int, int]:
        """Return addresses that a worker may write to: paths taken, successors, hashes."""
        out, hashes, _ = self._buffers[worker]
        return self._seen.address, out.address, hashes.address

    def state(self, number: int) -> bytes:
        """Return a state as ir/layout.py lays it out."""
        size = self.words * 8
        words = (_U64 * self.words).from_buffer_copy(self._states.read(number * size, size))
        return self.program.pack.unpack(words)

    def path(self, number: int) -> list[int]:
        """Return the numbers of the states on a shortest path from the first state to this one."""
        found = [number]
        parents = (ctypes.c_uint32 * (self._region * self.workers)).from_address(self._parents.address)
        while found[-1] != 0:
            found.append(parents[found[-1]])
        return found[::-1]

    @property
    def memory(self) -> int:
        """Return the bytes that states, parents and table take now."""
        return self.states * (self.words * 8 + 4) + self._size * 8

    def close(self) -> None:
        """Give all memory back."""
        arrays = [self._states, self._parents, self._prints, self._table, self._control_array, self._levels, self._seen]
        for array in [*arrays, *self._files, *(array for buffers in self._buffers for array in buffers)]:
            array.close()
