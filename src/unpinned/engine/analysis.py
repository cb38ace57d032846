# SPDX-License-Identifier: Apache-2.0
"""Ask a complete search what no single state shows: shortest paths, CPUs that wait for ever, faults without end.

The questions are answered by the compiled sweeps of sweeps.py; here they are started, one worker a range of states.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from unpinned.engine.memory import Array
from unpinned.engine.search import Search
from unpinned.engine.steps import MAX_THREADS


class Analysis:
    """Ask questions of a search that stands still; needs the states themselves, so none that was compacted."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.code = search.program.best
        self._common = (search.states_at, search.table_at, search.table_size, search.limits.seed)

    def number(self, state: bytes) -> int | None:
        """Return the number of a state of ir/layout.py, None if it was not reached."""
        words = self.search.program.canonical(state)
        array = Array(8 * len(words))
        array.write(0, b"".join(word.to_bytes(8, "little") for word in words))
        found = self.code.lookup(*self._common, array.address)
        array.close()
        return found - 1 if found else None

    def layers(self, targets: Sequence[int], depth: int, most: int) -> list[list[int]] | None:
        """Return for each level up to `depth` the states on shortest paths to some states of that level.

        None if there are more than `most` of them.
        """
        marks = Array(self.search.end)
        mark = 1
        for target in targets:
            marks.write(target, bytes([mark]))
        layers = [sorted(targets)]
        total = len(targets)
        for level in reversed(range(depth)):
            ranges = self.search.level(level)
            total += sum(self._sweep(self.code.mark_back, ranges, (mark, *self._common, marks.address)))
            if total > most:
                marks.close()
                return None
            mark = 3 - mark
            layer: list[int] = []
            for low, high in ranges:
                data = marks.read(low, high - low)
                at = data.find(mark)
                while at >= 0:
                    layer.append(low + at)
                    at = data.find(mark, at + 1)
            layers.append(layer)
        marks.close()
        return layers[::-1]

    def hopeless(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the CPUs that can never go on, and the operations that can never end, each with a first such state."""
        bits = Array(4 * self.search.end)
        while any(self._sweep(self.code.sweep, self._ranges(), (*self._common, bits.address))):
            pass
        waiting: dict[int, int] = {}
        endless: dict[int, int] = {}
        wanted = self.search.program.wanted
        for depth in range(self.search.depth + 1):
            for low, high in self.search.level(depth):
                data = memoryview(bits.read(4 * low, 4 * (high - low))).cast("I")
                for at, found in enumerate(data):
                    missing = wanted & ~found
                    if missing:
                        for t in range(MAX_THREADS):
                            if missing >> t & 1:
                                waiting.setdefault(t, low + at)
                            if missing >> MAX_THREADS + t & 1:
                                endless.setdefault(t, low + at)
        bits.close()
        return waiting, endless

    def endless_fault(self) -> int | None:
        """Return a first state of a weakly fair cycle at rest on which no fault completes, None if there is none."""
        kept, bits = Array(self.search.end), Array(self.search.end)
        found: int | None = None
        if any(self._sweep(self.code.enter_rest, self._ranges(), (self._common[0], kept.address), buffers=False)):
            dropped = True
            while dropped:
                arguments = (*self._common, kept.address, bits.address)
                while any(self._sweep(self.code.fair, self._ranges(), arguments)):
                    pass
                dropped = any(self._sweep(self.code.drop, self._ranges(), (kept.address, bits.address), buffers=False))
            for depth in range(self.search.depth + 1):
                firsts = [kept.read(low, high - low).find(1) + low for low, high in self.search.level(depth)]
                hits = [at for at, (low, _) in zip(firsts, self.search.level(depth), strict=True) if at >= low]
                if hits:
                    found = min(hits)
                    break
        kept.close()
        bits.close()
        return found

    def _ranges(self) -> list[tuple[int, int]]:
        return self.search.ranges()

    def _sweep(
        self, function: object, ranges: Sequence[tuple[int, int]], arguments: tuple[int, ...], buffers: bool = True
    ) -> list[int]:
        """Call a function on a range for each worker, at the same time; return what each found.

        :raises TimeoutError: if the time of the search is up.
        """
        assert callable(function)
        if self.search.limits.deadline is not None and time.monotonic() > self.search.limits.deadline:
            raise TimeoutError

        def call(worker: int) -> int:
            low, high = ranges[worker]
            own = self.search.scratch(worker) if buffers else ()
            return int(function(low, high, *arguments, *own))

        with ThreadPoolExecutor(len(ranges)) as pool:
            return list(pool.map(call, range(len(ranges))))
