# SPDX-License-Identifier: Apache-2.0
"""Keep the states of a search by number, and its table: address space that counts where it is written.

Each worker has a region of numbers. Regions are as large as numbers of 32 bits allow, so what a search may take decides
where it stops, and not where its states stand: a search that is resumed with more memory finds its states under their
old numbers. Where the system grants no such address space (`ulimit -v`, or no overcommitment at all), regions are
smaller.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from unpinned.engine.memory import Array
from unpinned.errors import UsageError

#: A number and one more go into 32 bits.
_MOST_STATES: Final = (1 << 32) - 2
#: A slot follows from 32 bits of a hash.
_MOST_ENTRIES: Final = 1 << 32
#: Regions begin at pages, whatever is kept for a state.
_ALIGNED: Final = 4096
_LEAST: Final = 1 << 16

_U64 = ctypes.c_uint64


@dataclass(slots=True)
class Store:
    """Packed states, the numbers of their parents, and their hashes if they are compacted, all by number; the table.

    `given` has for each worker the number before which its states were given back to the system.
    """

    words: int
    region: int
    states: Array
    parents: Array
    prints: Array
    table: Array
    given: list[int]

    @classmethod
    def make(cls, words: int, workers: int, region: int = 0) -> Store:
        """Ask for the address space: as much as numbers allow, or regions of this size.

        :raises UsageError: if the system does not grant it.
        """
        wanted = region or _MOST_STATES // workers // _ALIGNED * _ALIGNED
        while True:
            arrays: list[Array] = []
            try:
                for size in _sizes(words, wanted * workers):
                    arrays.append(Array(size))  # noqa: PERF401 (what there is then is closed below)
                states, parents, prints, table = arrays
                return cls(words, wanted, states, parents, prints, table, [w * wanted for w in range(workers)])
            except OSError as error:
                for array in arrays:
                    array.close()
                if region or wanted <= _LEAST:
                    size = sum(_sizes(words, wanted * workers)) >> 20
                    what = f"the system grants no {size} MiB of address space: {error.strerror}"
                    raise UsageError(what, hint="Raise `ulimit -v`, or vm.overcommit_memory.") from error
                wanted = wanted // 2 // _ALIGNED * _ALIGNED

    def first(self, worker: int) -> int:
        """Return the first number of a worker."""
        return worker * self.region

    def owner(self, number: int) -> int:
        """Return the worker that stored a state."""
        return number // self.region

    def is_there(self, number: int) -> bool:
        """Tell whether a state stands in memory still."""
        return number >= self.given[self.owner(number)]

    def packed(self, number: int) -> tuple[int, ...]:
        """Return the words of a state that is there."""
        size = self.words * 8
        return tuple((_U64 * self.words).from_buffer_copy(self.states.read(number * size, size)))

    def put(self, number: int, words: tuple[int, ...]) -> None:
        """Store a state."""
        self.states.write(number * self.words * 8, b"".join(word.to_bytes(8, "little") for word in words))

    def parent(self, number: int) -> int:
        """Return the number of a state's parent, if that is in memory."""
        return int.from_bytes(self.parents.read(number * 4, 4), "little")

    def give_back(self, worker: int, end: int) -> None:
        """Give the states of a worker back up to a number."""
        size = self.words * 8
        if end > self.given[worker]:
            self.states.forget(self.given[worker] * size, end * size)
            self.given[worker] = end

    def close(self) -> None:
        """Give all memory back."""
        for array in (self.states, self.parents, self.prints, self.table):
            array.close()


def _sizes(words: int, numbers: int) -> tuple[int, int, int, int]:
    """Return the bytes of each array; a table that has grown by three quarters has 7 entries for 3 states."""
    return numbers * words * 8, numbers * 4, numbers * 8, min(_MOST_ENTRIES, numbers * 7 // 3) * 8
