# SPDX-License-Identifier: Apache-2.0
"""Let the table of a search grow where it stands.

The slot at which the search for an entry begins follows from the entry alone (slot_of() in explorer.py): the upper half
of its hash, as a fraction, times the size of the table. So a larger table has its entries in nearly the order of the
smaller one, and growth reads and writes memory from one end to the other, where making the table anew from the states
would write everywhere at once. No memory is given back that would be asked for again.

Slots are emptied from the upper end, in phases: what stands in the slots from `low` to `end` goes to slots from `end`
on, which are free already, so that workers share a phase. An entry that was displaced across `low` would go below
`end`; it is put aside and inserted last, and so are the entries of the first FLOOR slots, where the others come to
stand that are displaced past the end of the table. Should one be displaced past FLOOR too, or more be put aside than
there is room for, growth gives up, and the table is made anew.
"""

from __future__ import annotations

from unpinned.engine.crew import Crew
from unpinned.engine.explorer import FLOOR, STASH
from unpinned.engine.memory import Array
from unpinned.engine.program import Code


class Table:
    """Entries of 8 bytes, of which `size` are in use, in address space for `most`."""

    def __init__(self, array: Array, workers: int) -> None:
        """Begin without entries."""
        self._array = array
        self._stashes = [Array(8 * (STASH + 1)) for _ in range(workers)]
        self.size = 0
        self.most = array.size // 8
        #: Bytes that are taken beside the entries.
        self.beside = sum(stash.size for stash in self._stashes)

    @property
    def address(self) -> int:
        """Return where the entries begin."""
        return self._array.address

    def clear(self, size: int) -> None:
        """Give the memory back, and have so many entries, all of them free."""
        self._array.forget(0, self._array.size)
        self.size = size

    def grow(self, size: int, code: Code, crew: Crew) -> bool:
        """Have more entries, and move those there are; return False if that failed: then the table must be cleared."""
        old, self.size = self.size, size
        if old < 4 * FLOOR:
            return False
        at = self.address
        for stash in self._stashes:
            stash.write(0, bytes(8))

        def spread(low: int, high: int, end: int) -> bool:
            step = -(-(high - low) // len(self._stashes))
            parts = ((low + w * step, min(high, low + (w + 1) * step)) for w in range(len(self._stashes)))
            calls = [
                crew.submit(code.spread, first, last, end, size, at, stash.address)
                for (first, last), stash in zip(parts, self._stashes, strict=True)
                if first < last
            ]
            done = [call.result() for call in calls]
            return all(done)

        if not spread(0, FLOOR, size):
            return False
        end = old
        while end > FLOOR:
            low = max(FLOOR, -(-end * old // size))
            if not spread(low, end, end):
                return False
            end = low
        for stash in self._stashes:
            code.unstash(size, at, stash.address)
        return True

    def close(self) -> None:
        """Give the memory back that is taken beside the entries."""
        for stash in self._stashes:
            stash.close()
