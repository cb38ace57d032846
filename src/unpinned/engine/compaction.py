# SPDX-License-Identifier: Apache-2.0
"""Go on when the states no longer fit: tell them apart by 64-bit hashes, and give back those that are expanded.

The table then holds hashes (8 bytes, 10.7 to 16 with its free entries) instead of numbers. What finds the way back to a
state, its parent and its hash, is written to files: 12 bytes a state, at the end of two logs a worker. A state that was
given back is made again: from the nearest state before it on its path that is there (the first always can be made),
forward through those successors whose hashes stand on the path.

What is lost is certainty: a state whose hash is that of another one is taken for seen. Let n be the states stored at
the end. Up to the first such mistake the search is exact, so that mistake is made on one of at most n + 1 different
states, two of which have one hash. If the hashes of different states are independent and uniform, two agree with
probability 2**-64, and some pair of n * (n + 1) / 2 with at most so many times that: `odds`. The assumption is the
usual one, and it is one: hash_state() of explorer.py mixes each word fully, so that states which differ in few bits, as
neighbours do, have unlike hashes, and a seed, mixed as fully, gives others. So a second search with another seed, which
misses other states, is a second opinion.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from unpinned.engine import explorer as x
from unpinned.engine.logs import Logs
from unpinned.engine.memory import Array
from unpinned.engine.program import Program
from unpinned.engine.store import Store

#: So many hashes are made, or read back, before they are given back.
_CHUNK: Final = 1 << 16
_REMEMBERED: Final = 1 << 16

_U64 = ctypes.c_uint64


def odds(states: int) -> float:
    """Return an upper bound of the probability that hashes of 64 bits hid a state from a search that stored so many."""
    return states * (states + 1) / 2 / 2**64


class Walker:
    """Take the steps out of one state with the compiled explorer itself: a level of one state, in a small table."""

    def __init__(self, program: Program, seed: int) -> None:
        self.code = program.best
        self.seed = seed
        self.words = program.pack.words
        most = x.BATCH * max(1, program.most)
        self.size = 4 * (program.most + 1)
        self.control = (_U64 * (x.OWN + x.EACH))()
        self.states = (_U64 * ((program.most + 1) * self.words))()
        self.prints = (_U64 * (program.most + 1))()
        self.parents = (ctypes.c_uint32 * (program.most + 1))()
        self.seen = (ctypes.c_uint8 * max(1, len(program.leaves)))()
        self.out = (_U64 * (most * self.words))()
        self.hashes = (_U64 * (most + x.scratch_words(self.words)))()
        self.sources = (_U64 * most)()

    def steps(self, state: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        """Return the successors of a packed state, by their hashes."""
        at = ctypes.addressof
        c = self.control
        ctypes.memset(at(c), 0, ctypes.sizeof(c))
        table = (_U64 * self.size)()
        c[x.TOTAL], c[x.ROOM], c[x.TO_END] = 1, 1 << 62, 1
        c[x.OWN + x.HIGH] = c[x.OWN + x.TAIL] = 1
        self.states[: self.words] = list(state)
        self.recent = (_U64 * (x.RECENT * self.words))(*state * x.RECENT)
        stored = (at(self.states), at(self.parents), at(self.prints), at(table), self.size, at(c))
        buffers = (at(self.out), at(self.hashes), at(self.sources), at(self.recent))
        self.code.level(0, 1, 0, self.seed, *stored, 0, 0, 0, at(self.seen), *buffers)
        end = c[x.OWN + x.TAIL]
        self.code.fingerprint(1, end, self.seed, at(self.states), at(self.prints))
        return {self.prints[i]: tuple(self.states[i * self.words : (i + 1) * self.words]) for i in range(1, end)}


@dataclass(slots=True)
class Shelf:
    """The states of a compacted search: those in memory, and the logs from which the others can be made again."""

    program: Program
    seed: int
    store: Store
    logs: Logs
    known: dict[int, tuple[int, ...]] = field(default_factory=dict)
    walker: Walker | None = None

    def fill(self, ends: Sequence[int]) -> None:
        """Write the parents and hashes of all states, up to the end of each worker; nothing is given back yet.

        :raises OSError: if the disk is full, or fails.
        """
        store, prints = self.store, self.store.prints
        for worker, end in enumerate(ends):
            self._append("parents", worker, end)
            low = store.first(worker) + self.logs[f"prints.{worker}"].end // 8
            while low < end:
                high = min(end, low + _CHUNK)
                self.program.best.fingerprint(low, high, self.seed, store.states.address, prints.address)
                self._append("prints", worker, high)
                prints.forget(low * 8, high * 8)
                low = high

    def flush(self, ends: Sequence[int]) -> None:
        """Write the parents and hashes of new states, and give back the memory of all that is written.

        :raises OSError: if the disk is full, or fails.
        """
        for worker, end in enumerate(ends):
            for kind, unit, array in self._kinds():
                written = self._append(kind, worker, end)
                array.forget(written * unit, end * unit)

    def give_back_parents(self, ends: Sequence[int]) -> None:
        """Give back the memory of the parents that were written."""
        for worker, end in enumerate(ends):
            self.store.parents.forget(self.store.first(worker) * 4, end * 4)

    def pending(self, ends: Sequence[int]) -> int:
        """Return of how many states parent and hash are not written yet."""
        return sum(end - self._written("prints", worker) for worker, end in enumerate(ends))

    def rebuild(self, worker: int, end: int, insert: Callable[[int, int], object]) -> None:
        """Bring the hashes of a worker's states back, part by part, and have each part inserted into the table.

        :raises OSError: if they cannot be read.
        """
        prints, first = self.store.prints, self.store.first(worker)
        written = self._written("prints", worker)
        low = first
        while low < written:
            high = min(written, low + _CHUNK)
            self.logs[f"prints.{worker}"].read((low - first) * 8, prints, low * 8, (high - low) * 8)
            insert(low, high)
            prints.forget(low * 8, high * 8)
            low = high
        insert(written, end)

    def parent(self, number: int) -> int:
        """Return the number of a state's parent."""
        return self._number("parents", number)

    def packed(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return the words of the last state of a path of numbers from the first state on."""
        at = next((i for i in reversed(range(len(path))) if path[i] in self.known or self.store.is_there(path[i])), 0)
        if self.store.is_there(path[at]):
            words = self.store.packed(path[at])
        else:
            words = self.known.get(path[at], self.program.first)
        self.walker = self.walker or Walker(self.program, self.seed)
        for number in path[at + 1 :]:
            words = self.walker.steps(words)[self._number("prints", number)]
            if len(self.known) < _REMEMBERED:
                self.known[number] = words
        return words

    def _kinds(self) -> tuple[tuple[str, int, Array], ...]:
        return ("parents", 4, self.store.parents), ("prints", 8, self.store.prints)

    def _written(self, kind: str, worker: int) -> int:
        """Return the number up to which a worker's log has been written."""
        return self.store.first(worker) + self.logs[f"{kind}.{worker}"].end // (4 if kind == "parents" else 8)

    def _append(self, kind: str, worker: int, end: int) -> int:
        """Write what is new of one kind up to a number; return the number where that began."""
        unit, array = (4, self.store.parents) if kind == "parents" else (8, self.store.prints)
        low = self._written(kind, worker)
        log = self.logs[f"{kind}.{worker}"]
        log.append(array, low * unit, end * unit, log.end)
        return low

    def _number(self, kind: str, number: int) -> int:
        """Return what is kept for a state: from its log, or from memory while it is not written."""
        worker = self.store.owner(number)
        unit, array = (4, self.store.parents) if kind == "parents" else (8, self.store.prints)
        if number < self._written(kind, worker):
            return self.logs[f"{kind}.{worker}"].number((number - self.store.first(worker)) * unit, unit)
        return int.from_bytes(array.read(number * unit, unit), "little")
