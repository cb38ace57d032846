# SPDX-License-Identifier: Apache-2.0
"""Drive the compiled explorer: memory, workers, growth of the table, bounds, and what was found.

The main thread only waits, looks at the clock and answers Ctrl-C; the search runs in worker threads, whose compiled
code holds no interpreter lock. Whenever the workers stand still (between two chunks), everything that the search is
stands in its arrays: then the table may grow, better code may be put in, states may be compacted, or a checkpoint be
begun.

Memory. While states are told apart exactly, one takes its words and 4 bytes for its parent, and the table 8 bytes an
entry, of which three quarters may be taken: from 10.7 bytes a state, full, to 18.7 when it has just grown (a small
table grows faster). It grows where it stands (table.py), so growth takes nothing beside. With two words that is 30.7 to
38.7 bytes a state. The last table is made as large as the bound allows. When that is full, states are compacted
(compaction.py): the table takes as much as before, states are in memory only until they are expanded, and parents and
hashes only until they are written; so 10.7 to 18.7 bytes, and the width of two levels.
Whatever the workers may add before they stand still the next time fits into the bound: ROOM says how many states.
"""

from __future__ import annotations

import ctypes
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from unpinned.engine import explorer as x
from unpinned.engine.checkpoint import Body, Keeper, Part
from unpinned.engine.crew import Crew
from unpinned.engine.found import MOST_FILED, MOST_LEVELS, Found
from unpinned.engine.memory import Array
from unpinned.engine.program import Program
from unpinned.errors import UsageError

#: Entries of the table may take this share of it; then it grows: fourfold while it is small, then by three quarters.
_FULL: Final = 0.75
_FIRST_TABLE: Final = 1 << 12
_SMALL_TABLE: Final = 1 << 25
#: Below so many states a level is not worth waking a second worker.
_WIDE_LEVEL: Final = 20_000
#: What is filed may take this share of the memory.
_FILED_SHARE: Final = 1 / 16
#: After so many levels, and when compacted after so many states, the workers stand still.
_LEVELS_AT_ONCE: Final = 1 << 16
_STATES_AT_ONCE: Final = 1 << 22
_TICK: Final = 0.05  # seconds
_LONG: Final = 0.3  # seconds after which a search is worth better code

_U64 = ctypes.c_uint64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may take: a time (of time.monotonic), bytes of memory, cores; and how it ends.

    `to_end` searches past violations; `deadly` makes a state in which no CPU can go on one. `compact` lets states be
    told apart by their hashes alone when memory runs short, `at_once` from the beginning. `seed` gives other hashes.
    More than `states` end it, undecided. With `checkpoint`, a folder, the search is written there every `interval`
    seconds, and when it ends.
    """

    memory: int
    deadline: float | None = None
    cores: int = 1
    to_end: bool = False
    deadly: bool = True
    compact: bool = True
    seed: int = 0
    at_once: bool = False
    checkpoint: Path | None = None
    interval: float = 60.0
    states: int | None = None


class Search(Found):
    """A search: make one, `run` it, and ask what was found; `close` gives its memory back.

    `stopped` says why it ended early: "time", "memory", "states", "interrupt" or "". States are named by their numbers.
    `note` is a sentence on what went wrong with a file, if something did.
    """

    def __init__(self, program: Program, limits: Limits, *, resumed: bool = False) -> None:
        """Begin a search, or take up the one in the folder of its limits.

        :raises UsageError: if the folder cannot be used, or the system grants no address space.
        """
        self.limits = limits
        self.stopped = ""
        self.note = ""
        self.complete = False
        self._built = False
        super().__init__(program, max(1, limits.cores), limits.seed, limits.checkpoint)
        self._keeper = self._keep(fresh=not resumed)
        body = self._keeper.body if self._keeper else None
        try:
            self._allot(body["region"] if body else 0)
            self._begin()
            if self._keeper and body:
                self._take_up(self._keeper, body)
            self._table.clear(self._first_size())
        except BaseException:
            self.close()
            raise

    @classmethod
    def resume(cls, program: Program, limits: Limits, folder: Path) -> Search:
        """Take up the search whose checkpoint is in a folder; it writes there again.

        :raises UsageError: if there is none, if it is damaged, or if it is of another search.
        """
        return cls(program, replace(limits, checkpoint=folder), resumed=True)

    def _slack(self) -> int:
        """Return how many states may be added after the last look at whether there is room."""
        return self.workers * x.BATCH * max(1, self.program.most)

    def _begin(self) -> None:
        c = self.control
        for w in range(self.workers):
            for part in (x.LOW, x.HIGH, x.TAIL):
                c[x.OWN + x.EACH * w + part] = self._store.first(w)
        c[x.OWN + x.HIGH] = c[x.OWN + x.TAIL] = c[x.TOTAL] = 1
        c[x.TO_END], c[x.DEADLY] = self.limits.to_end, self.limits.deadly
        c[x.FILED] = max(1, min(MOST_FILED, int(self.limits.memory * _FILED_SHARE) // 12))
        c[x.WIDE] = _WIDE_LEVEL if self.workers > 1 else 1 << 62
        self._store.put(0, self.program.first)
        for *_, recent in self._buffers:
            recent.write(0, b"".join(word.to_bytes(8, "little") for word in self.program.first) * x.RECENT)
        levels = (_U64 * self.workers).from_address(self._levels.address)
        for w in range(self.workers):
            levels[w] = c[x.OWN + x.EACH * w + x.HIGH]

    # ---- running

    def run(self, tick: Callable[[Search], None] | None = None) -> None:
        """Search until the end, a violation or a bound, and on from there if it is called again.

        `tick` is called about twenty times a second.
        """
        self._begun = time.monotonic()
        self.stopped = ""
        with Crew(self.workers) as crew:
            self._code = self.program.best
            try:
                if self.limits.at_once and not self.compact and not self._compact_states():
                    self.stopped = "memory"
                    return
                if not self._built:
                    self._rebuild(crew, self._table.size)
                self._loop(crew, tick)
            except KeyboardInterrupt:
                self.control[x.STOP] = 1
                self.stopped = "interrupt"
        self.control[x.STOP] = 0
        if self._keeper is not None:
            self._save()
            self._keeper.wait()
            self.note = self._keeper.error or self.note

    def _loop(self, crew: Crew, tick: Callable[[Search], None] | None) -> None:
        c = self.control
        while True:
            c[x.ROOM] = max(0, self._room())
            c[x.DEEP] = self.depth + _LEVELS_AT_ONCE
            ended = self._turn(crew, tick)
            if self.compact and not self._shelve():
                self.stopped = self.stopped or "memory"
            if self.stopped or (ended and self._is_over()):
                return
            if self._keeper is not None and self._keeper.is_due(self.limits.interval):
                self._save()
            self._code = self.program.best
            if self.depth + _LEVELS_AT_ONCE >= MOST_LEVELS or (c[x.TOTAL] >= c[x.ROOM] and not self._make_room(crew)):
                self.stopped = "memory"
                return

    def _is_over(self) -> bool:
        """Tell, at the end of a level, whether it was the last one."""
        c = self.control
        width = sum(c[x.OWN + x.EACH * w + x.HIGH] - c[x.OWN + x.EACH * w + x.LOW] for w in range(self.workers))
        violated = bool(c[x.OVER]) or (width == 0 and bool(c[x.BEFORE]) and not self.limits.to_end)
        self.complete = not violated and width == 0
        return violated or width == 0

    def _turn(self, crew: Crew, tick: Callable[[Search], None] | None) -> bool:
        """Let the workers run until they stand still; return whether a level has ended."""
        c = self.control
        width = sum(c[x.OWN + x.EACH * w + x.HIGH] - c[x.OWN + x.EACH * w + x.LOW] for w in range(self.workers))
        serial = self.workers == 1 or width < _WIDE_LEVEL
        running = [crew.submit(self._work, worker, serial) for worker in range(1 if serial else self.workers)]
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
        """Wait for the workers; stop them when time is up, on an interrupt, for better code, and for a checkpoint."""
        pending: set[Future[int]] = set(running)
        try:
            while pending:
                _, pending = wait(pending, timeout=_TICK)
                if tick is not None:
                    tick(self)
                if self.limits.deadline is not None and time.monotonic() > self.limits.deadline and pending:
                    self.stopped = "time"
                    self.control[x.STOP] = 1
                elif self.limits.states is not None and self.states > self.limits.states and pending:
                    self.stopped = "states"
                    self.control[x.STOP] = 1
                elif pending and self._keeper is not None and self._keeper.is_due(self.limits.interval):
                    self.control[x.STOP] = 1
                elif pending and time.monotonic() - self._begun > _LONG:
                    self.program.improve()
                    if self.program.best is not self._code:
                        self.control[x.STOP] = 1
        finally:
            self.control[x.STOP] = 1
            wait(running)

    def _work(self, worker: int, serial: bool) -> int:
        buffers = (array.address for array in self._buffers[worker])
        broken, limits, dead = (array.address for array in self._files)
        store = self._store
        shared = (
            *(self.workers, self.compact, self.limits.seed, store.states.address, store.parents.address),
            *(store.prints.address, self._table.address, self._table.size, self._control_array.address),
        )
        files = (broken, limits, dead, self._seen.address, *buffers)
        if serial:
            return self._code.serial(*shared, self._levels.address, *files)
        return self._code.level(worker, *shared, *files)

    # ---- memory

    def _each(self) -> int:
        """Return the bytes that a new state takes beside its entry in the table."""
        return self.words * 8 + (12 if self.compact else 4)

    def _taken(self) -> int:
        """Return the bytes that are taken without the table, and those that may be for what is filed."""
        c = self.control
        taken = self._allotted + 12 * c[x.FILED] + 8 * self.workers * (self.depth + 1)
        if not self.compact:
            return int(taken + self.states * self._each())
        return int(taken + self._waiting() * self.words * 8 + self._shelf.pending(self._tails()) * 12)

    def _waiting(self) -> int:
        """Return how many states were not given back."""
        return sum(end - given for end, given in zip(self._tails(), self._store.given, strict=True))

    def _room(self) -> int:
        """Return at how many states in all the workers are to stop: for a larger table, or since nothing else fits."""
        c, slack = self.control, self._slack()
        more = (self.limits.memory - self._taken() - self._table.size * 8) // self._each() - slack
        if self.compact:
            more = min(more, _STATES_AT_ONCE)
        numbers = min(self._store.first(w) + self._store.region - self._tail(w) for w in range(self.workers)) - slack
        return min(int(self._table.size * _FULL) - slack, int(c[x.TOTAL]) + min(more, numbers))

    @staticmethod
    def _grown(size: int) -> int:
        return size * 4 if size < _SMALL_TABLE else size * 7 // 4

    def _most_entries(self) -> int:
        """Return the entries of the largest table that leaves room for the states that fill it."""
        if self.compact:
            # What two levels take may yet become more.
            left = self.limits.memory - self._taken() - self._waiting() * self._each() // 2
            return min(self._table.most, (left - left // 32) // 8)
        left = self.limits.memory - self._taken() + self.states * self._each()
        return min(self._table.most, int(left / (self._each() * _FULL + 8)))

    def _make_room(self, crew: Crew) -> bool:
        """Take more memory, or take less for what there is; return whether the search can go on."""
        if self._room() > self.states:
            return True
        size = min(self._grown(self._table.size), self._most_entries())
        if size > self._table.size + self._table.size // 16:
            self._built = False
            self._built = self._table.grow(size, self._code, crew)
            if not self._built:
                self._rebuild(crew, size)
        elif self.limits.compact and not self.compact:
            if not self._compact_states():
                return False
            self._rebuild(crew, self._table.size)
        return self._room() > self.states

    def _compact_states(self) -> bool:
        """Write parents and hashes to files, and give back what is expanded; the table is to be rebuilt."""
        if self._keeper is not None:
            self._keeper.wait()
        try:
            self._shelf.fill(self._tails())
        except OSError as error:
            self._tell(error)
            return False
        self._built = False
        self.compact = True
        self._shelf.give_back_parents(self._tails())
        self._give_back()
        wanted = max(_FIRST_TABLE, self.states * 2, int(8 * self._slack() / _FULL))
        self._table.clear(max(_FIRST_TABLE, min(wanted, self._most_entries())))
        return self._table.size * _FULL > self.states

    def _shelve(self) -> bool:
        """Write what is new to the files, and give back what is not needed in memory; return whether that went well."""
        if self._keeper is not None:
            self._keeper.wait()
        try:
            self._shelf.flush(self._tails())
        except OSError as error:
            self._tell(error)
            return False
        self._give_back()
        return True

    def _tell(self, error: OSError) -> None:
        self.note = f"states could not be written to {self._logs.where}: {error.strerror or error}"

    def _give_back(self) -> None:
        """Give back the states that are expanded: those of earlier levels, and those of the chunks handed out."""
        c = self.control
        chunks = int(c[x.NEXT])
        for w in range(self.workers):
            low, high = int(c[x.OWN + x.EACH * w + x.LOW]), int(c[x.OWN + x.EACH * w + x.HIGH])
            own = -(-(high - low) // x.BATCH)
            self._store.give_back(w, min(high, low + min(chunks, own) * x.BATCH))
            chunks -= min(chunks, own)

    def _rebuild(self, crew: Crew, size: int) -> None:
        """Make the table anew, from the states."""
        self._built = False
        self._table.clear(size)
        list(crew.map(self._fill_table, range(self.workers)))
        self._built = True

    def _fill_table(self, worker: int) -> None:
        store = self._store
        shared = (self.compact, self.limits.seed, store.states.address, store.prints.address)

        def insert(low: int, high: int) -> None:
            self._code.rebuild(low, high, *shared, self._table.address, self._table.size)

        if self.compact:
            self._shelf.rebuild(worker, self._tail(worker), insert)
        else:
            insert(store.first(worker), self._tail(worker))

    @property
    def memory(self) -> int:
        """Return the bytes that are taken now."""
        c = self.control
        filed = sum(min(int(c[counter]), int(c[x.FILED])) for counter in (x.BROKEN, x.LIMITS, x.DEAD))
        return self._taken() - 12 * int(c[x.FILED]) + 4 * filed + self._table.size * 8

    # ---- checkpoints

    def _keep(self, *, fresh: bool) -> Keeper | None:
        limits = self.limits
        if limits.checkpoint is None:
            return None
        settings = {name: getattr(limits, name) for name in ("seed", "compact", "to_end", "deadly")}
        program = f"{self.program.source}{self.program.first}"
        key = {"program": hashlib.sha256(program.encode()).hexdigest(), "cores": self.workers} | settings
        keeper = Keeper(limits.checkpoint, key, fresh=fresh)
        self._closing.callback(keeper.close)
        return keeper

    def _save(self) -> None:
        """Begin a checkpoint; the workers stand still, and may run again when this returns."""
        assert self._keeper is not None
        self._keeper.wait()
        body = {
            "region": self._store.region,
            "control": list(self.control),
            "compacted": self.compact,
            "given": self._store.given,
            "seen": self._seen.read(0, len(self.program.leaves)).hex(),
        }
        if not self._shelf_is_behind():
            self._keeper.begin(self._logs, body, self._parts(saving=True))

    def _shelf_is_behind(self) -> bool:
        return self.compact and self._shelf.pending(self._tails()) > 0

    def _parts(self, *, saving: bool) -> list[Part]:
        """Return what a checkpoint keeps of the arrays: what its logs do not have yet, or all that is needed."""
        c, store = self.control, self._store
        # Of each array: where it is numbered from, from where it is needed, the end.
        kinds: list[tuple[str, Array, int, int, int, int]] = []
        for w, end in enumerate(self._tails()):
            first = store.first(w)
            kinds.append((f"states.{w}", store.states, self.words * 8, first, store.given[w], end))
            if not self.compact:
                kinds.append((f"parents.{w}", store.parents, 4, first, first, end))
        kinds.append(("levels", self._levels, 8 * self.workers, 0, 0, self.depth + 1))
        for counter, array in zip((x.BROKEN, x.LIMITS, x.DEAD), self._files, strict=True):
            kinds.append((f"filed.{counter}", array, 4, 0, 0, min(int(c[counter]), int(c[x.FILED]))))
        parts = []
        for name, array, unit, zero, low, end in kinds:
            begin = max(low * unit, zero * unit + self._logs[name].end) if saving else low * unit
            parts.append(Part(name, array, begin, end * unit, begin - zero * unit))
        return parts

    def _take_up(self, keeper: Keeper, body: Body) -> None:
        """Bring back what a checkpoint holds."""
        keeper.reopen(self._logs)
        for i, number in enumerate(body["control"]):
            self.control[i] = number
        self.compact = body["compacted"]
        self._store.given[:] = body["given"]
        self._seen.write(0, bytes.fromhex(body["seen"]))
        if self._shelf_is_behind():
            raise keeper.damaged("parents or hashes are missing")
        if self._taken() + 8 * self.states / _FULL > self.limits.memory:
            needed = int(self._taken() + 8 * (self.states + 2 * self._slack()) / _FULL)
            what = f"the checkpoint in {keeper.folder} needs {-(-needed >> 20)} MiB of memory"
            raise UsageError(what, hint="Allow that much.")
        keeper.restore(self._logs, self._parts(saving=False))

    def _first_size(self) -> int:
        """Return the size of a table for the states there are, and some more if there is memory for it."""
        size = _FIRST_TABLE
        while size * _FULL < self.states + 4 * self._slack():
            size = self._grown(size)
        most = (self.limits.memory - self._taken()) // 8 if self.states > 1 else size
        return min(size, most, self._table.most)

    def close(self) -> None:
        """Give all memory back."""
        if self._keeper is not None:
            self._keeper.wait()
        super().close()
