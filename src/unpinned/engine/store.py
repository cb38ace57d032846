# SPDX-License-Identifier: Apache-2.0
"""Keep the states of a search by number: a region for each worker, of address space that counts where it is written.

Regions are as large as numbers of 32 bits allow, so what a search may take decides where it stops, and not where its
states stand: a search that is resumed with more memory finds its states under their old numbers. Where the system
grants no such address space (`ulimit -v`, or no overcommitment at all), regions are smaller.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from unpinned.engine.memory import Array
from unpinned.errors import UsageError

#: A number and one more go into 32 bits.
_MOST_STATES: Final = (1 << 32) - 2
#: Regions begin at pages, whatever is kept for a state.
_ALIGNED: Final = 4096
_LEAST: Final = 1 << 16

_U64 = ctypes.c_uint64


@dataclass(slots=True)
class Store:
    """Packed states, the numbers of their parents, and their hashes if they are compacted, all by number.

    `given` has for each worker the number before which its states were given back to the system.
    """

    words: int
    region: int
    states: Array
    parents: Array
    prints: Array
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
                for unit in (words * 8, 4, 8):
                    arrays.append(Array(wanted * workers * unit))  # noqa: PERF401 (what there is then is closed below)
                return cls(words, wanted, arrays[0], arrays[1], arrays[2], [w * wanted for w in range(workers)])
            except OSError as error:
                for array in arrays:
                    array.close()
                if region or wanted <= _LEAST:
                    size = wanted * workers * (words * 8 + 12) >> 20
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
        for array in (self.states, self.parents, self.prints):
            array.close()
