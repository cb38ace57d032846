# SPDX-License-Identifier: Apache-2.0
"""Ask a complete search what no single state shows: shortest paths, CPUs that wait for ever, faults without end.

The questions are answered by the compiled sweeps of sweeps.py; here they are started, one worker a range of states.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import ExitStack
from typing import Final

from unpinned.engine import explorer
from unpinned.engine.crew import Crew
from unpinned.engine.explorer import MAX_THREADS
from unpinned.engine.memory import Array
from unpinned.engine.search import Search

#: What fair_cycle() of sweeps.py returns if there is no such cycle, and if it was stopped.
_NONE: Final = 0xFFFFFFFF
_STOPPED: Final = 0xFFFFFFFE


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
        """Return a state of a weakly fair cycle at rest on which no fault completes, None if there is none.

        :raises TimeoutError: if the time of the search is up.
        """
        search, end = self.search, self.search.end
        with ExitStack() as stack:

            def array(size: int) -> int:
                made = Array(size)
                stack.callback(made.close)
                return made.address

            kept = array(end)
            count = sum(self._sweep(self.code.enter_rest, self._ranges(), (self._common[0], kept), buffers=False))
            if not count:
                return None
            steps = count * search.program.most
            arrays = (array(4 * end), array(4 * end), array(end), *(array(4 * (count + 1)) for _ in range(4)))
            arguments = (*self._common, kept, ctypes.addressof(search.control), *arrays, array(4 * steps), array(steps))
            arguments += search.scratch(0)
            found = min(self._watched(self.code.fair_cycle, (*part, *arguments)) for part in self._ranges())
        return None if found == _NONE else found

    def _watched(self, function: Callable[..., int], arguments: tuple[int, ...]) -> int:
        """Call a function that looks at control[STOP], and stop it when the time of the search is up."""
        deadline = self.search.limits.deadline
        try:
            with Crew(1) as crew:
                try:
                    running = crew.submit(function, *arguments)
                    while not running.done():
                        wait([running], timeout=0.05)
                        if deadline is not None and time.monotonic() > deadline:
                            break
                finally:
                    self.search.control[explorer.STOP] = 1
        finally:
            self.search.control[explorer.STOP] = 0
        if running.result() == _STOPPED:
            raise TimeoutError
        return running.result()

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

        with Crew(len(ranges)) as crew:
            return list(crew.map(call, range(len(ranges))))
