# SPDX-License-Identifier: Apache-2.0
"""Lead a path of a reduced system back to the system that it was made of.

A step of a reduced system stands for some steps of one CPU. They are found by running that CPU alone in the full
system, until it stands where it stands in the reduced one and all that both systems have is equal: places, and the
variables of the same names; of those that hold ranks in place of values (reduce/ranks.py) the order. Other variables of
the full system (a counter that was taken out) are not looked at, so more than one run can fit, and one may turn out
later not to lead on: then the next is tried. No step comes twice in a block, so there are only so many runs, and no
state of the full system is tried twice at one place of the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from unpinned.ir.interp import outcomes
from unpinned.ir.layout import BROKEN, Slot, initial, layout
from unpinned.ir.program import System
from unpinned.reduce.alike import SHARED, Family
from unpinned.reduce.ranks import Ranks

#: The step of the full system: a CPU, and which of the outcomes of its next step it takes.
Choice = tuple[int, int]


class LiftError(Exception):
    """A path of a reduced system stands for no run of the full one: a bug of a reduction, or a bound of the model."""


def lift(
    full: System, path: Sequence[tuple[int, bytes]], reduced: System, families: Sequence[Family] = ()
) -> tuple[Choice, ...]:
    """Return a schedule of the full system that goes where a path of the reduced one goes.

    :param path: for each step of the reduced system from its initial state, the CPU that takes it and the state after
        it. In a broken state the place of that CPU is not compared: the full system stops within the block.
    :param families: the variables that hold ranks, each with those whose values have one order.
    :raises LiftError: if there is no such schedule.
    """
    return _Lifter(full, reduced, families).lifted(path)


class _Lifter:
    """Search for the schedule, depth first."""

    def __init__(self, full: System, reduced: System, families: Sequence[Family]) -> None:
        self.full, self.lay = full, layout(full)
        self.reduced = layout(reduced)
        ranked = [key for family in families for key in family]
        self.ranks = Ranks(families, self.lay), Ranks(families, self.reduced)
        self.bytes = tuple(_common(self.lay.shared, self.reduced.shared, {name for t, name in ranked if t == SHARED}))
        for t, (mine, theirs) in enumerate(zip(self.lay.locals, self.reduced.locals, strict=True)):
            self.bytes += tuple(_common(mine, theirs, {name for thread, name in ranked if thread == t}))

    def lifted(self, path: Sequence[tuple[int, bytes]]) -> tuple[Choice, ...]:
        if not path:
            return ()
        tried: set[tuple[int, bytes]] = set()
        schedule: list[tuple[Choice, ...]] = []
        furthest = 0
        open_ = [self.runs(initial(self.lay), *path[0])]
        while open_:
            run = next(open_[-1], None)
            if run is None:
                open_.pop()
                if schedule:
                    schedule.pop()
                continue
            choices, state = run
            if len(open_) == len(path):
                return tuple(choice for part in [*schedule, choices] for choice in part)
            if (len(open_), state) not in tried:
                tried.add((len(open_), state))
                schedule.append(choices)
                furthest = max(furthest, len(open_))
                open_.append(self.runs(state, *path[len(open_)]))
        thread = path[furthest][0]
        raise LiftError(f"step {furthest + 1} of the reduced {self.full.name}, of CPU {thread}, has no run that fits")

    def runs(self, start: bytes, thread: int, goal: bytes) -> Iterator[tuple[tuple[Choice, ...], bytes]]:
        """Yield the runs of one CPU alone that end in a state equal to `goal`, with their choices."""
        stack: list[tuple[bytes, tuple[Choice, ...], frozenset[int]]] = [(start, (), frozenset())]
        while stack:
            state, choices, seen = stack.pop()
            if choices and self.equal(state, thread, goal):
                yield choices, state
            place = self.lay.place(state, thread)
            if state[BROKEN] or place in seen:
                continue
            ways = outcomes(self.full, self.lay, state, thread)
            stack += [
                (ways[number].state, (*choices, (thread, number)), seen | {place})
                for number in reversed(range(len(ways)))
            ]

    def equal(self, state: bytes, thread: int, goal: bytes) -> bool:
        """Tell whether a state of the full system is one of the reduced system, as far as both have the same."""
        if state[BROKEN] != goal[BROKEN]:
            return False
        for t in range(len(self.full.threads)):
            here, there = self.lay.place(state, t), self.reduced.place(goal, t)
            if here != there and not (t == thread and goal[BROKEN]):
                return False
        if any(state[a : a + n] != goal[b : b + n] for a, b, n in self.bytes):
            return False
        mine, theirs = self.ranks
        return mine.orders(state) == theirs.orders(goal)


def _common(mine: dict[str, Slot], theirs: dict[str, Slot], but: Set[str]) -> Iterator[tuple[int, int, int]]:
    """Yield where the variables of the same names, `but` some, stand in both systems, and how many bytes they take."""
    for name in (mine.keys() & theirs.keys()) - but:
        yield mine[name].at, theirs[name].at, mine[name].var.size
