# SPDX-License-Identifier: Apache-2.0
"""Search every state of a system breadth first: the reference engine.

Each state is stored once, with its number in the order of discovery, its level (how many steps lead to it at least)
and its edges. Nothing is left out and nothing is merged, so the counts are exact. A state in which a rule is broken
is counted and not expanded. The search ends when all states are seen, at the end of the level that shows the first
violation (unless it is to go on), or at a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from unpinned.check.successors import Successors
from unpinned.ir.layout import BROKEN
from unpinned.ir.rules import CODES, LIMIT

N = TypeVar("N", bound=Hashable)

#: States between two looks at the clock and calls of `tick`.
_STRIDE = 4096


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a search must stop: at a time of `time.monotonic()` in seconds, and at a number of states."""

    deadline: float | None = None
    states: int | None = None


@dataclass(slots=True)
class Graph:
    """What a search saw.

    `edges[i]` has leaf and target in turn for each step out of state `i`, in the order of threads and choices; it
    is empty for a state that was not expanded. `levels[d]` is the number of the first state at depth `d`. `broken`
    are the states in which a promised rule is broken or in which no CPU can go on, `limits` those in which a bound
    of the model was reached. `stopped` says why the search ended early: "", "time", "states", "interrupt".
    """

    successors: Successors
    states: list[bytes] = field(default_factory=list)
    edges: list[tuple[int, ...]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    complete: bool = False
    stopped: str = ""

    def out(self, i: int) -> Iterator[tuple[int, int]]:
        """Yield (leaf, target) for each step out of a state."""
        flat = self.edges[i]
        return zip(flat[::2], flat[1::2], strict=True)

    def depth(self, i: int) -> int:
        """Return the level of a state."""
        low, high = 0, len(self.levels)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.levels[middle] <= i else (low, middle)
        return low

    def rule(self, i: int) -> str:
        """Return the rule that is broken in one of the `broken` states."""
        code = self.states[i][BROKEN]
        return next((rule for rule, number in CODES.items() if number == code), "deadlock")


def explore(
    successors: Successors,
    bounds: Bounds = Bounds(),
    to_end: bool = False,
    tick: Callable[[Graph], None] | None = None,
) -> Graph:
    """Search all states from the initial one; with `to_end` past violations too.

    `tick` is called now and then with what was seen so far. An interrupt (Ctrl-C) ends the search and is told in
    `stopped`; nothing that was seen is lost.
    """
    graph = Graph(successors)
    try:
        _levels(graph, bounds, to_end, tick)
    except KeyboardInterrupt:
        graph.stopped = "interrupt"
    graph.edges += [()] * (len(graph.states) - len(graph.edges))
    return graph


def _levels(graph: Graph, bounds: Bounds, to_end: bool, tick: Callable[[Graph], None] | None) -> None:
    successors, states, edges = graph.successors, graph.states, graph.edges
    deadlock_counts = "deadlock" in successors.system.promised
    states.append(successors.initial)
    numbers = {successors.initial: 0}
    first = 0
    while first < len(states):
        graph.levels.append(first)
        end = len(states)
        for i in range(first, end):
            if i % _STRIDE == 0:
                if tick is not None:
                    tick(graph)
                graph.stopped = _past(bounds, len(states))
                if graph.stopped:
                    return
            state = states[i]
            flat: list[int] = []
            for leaf, successor in successors.expand(state):
                number = numbers.setdefault(successor, len(states))
                if number == len(states):
                    states.append(successor)
                flat += (leaf, number)
            edges.append(tuple(flat))
            if not flat:
                _dead_end(graph, i, state, deadlock_counts)
        if graph.broken and not to_end:
            return
        first = end
    graph.complete = True


def _dead_end(graph: Graph, i: int, state: bytes, deadlock_counts: bool) -> None:
    """File a state without successors: broken, at a limit, at its proper end, or deadlocked."""
    if state[BROKEN] == CODES[LIMIT]:
        graph.limits.append(i)
    elif state[BROKEN]:
        graph.broken.append(i)
    elif deadlock_counts:
        lay, threads = graph.successors.lay, graph.successors.system.threads
        if any(lay.place(state, t) != thread.end for t, thread in enumerate(threads)):
            graph.broken.append(i)


def _past(bounds: Bounds, states: int) -> str:
    if bounds.deadline is not None and time.monotonic() > bounds.deadline:
        return "time"
    return "states" if bounds.states is not None and states > bounds.states else ""


def schedule_to(graph: Graph, targets: list[int]) -> tuple[list[tuple[int, int]], int]:
    """Return a shortest schedule to one of the targets, one with the fewest context switches, and their number.

    The targets are states of one level. A schedule is a list of (leaf, state that it leads to). Among equal ones the
    first in the order of threads and choices is taken.
    """
    depth = graph.depth(targets[0])
    wanted = set(targets)
    layers: list[dict[int, list[tuple[int, int]]]] = []
    for level in reversed(range(depth)):
        layer = {}
        for i in range(graph.levels[level], graph.levels[level + 1]):
            steps = [(leaf, j) for leaf, j in graph.out(i) if j in wanted]
            if steps:
                layer[i] = steps
        layers.append(layer)
        wanted = set(layer)
    return fewest_switches(graph.successors, 0, layers[::-1])


def fewest_switches(
    successors: Successors, start: N, layers: Sequence[Mapping[N, Sequence[tuple[int, N]]]]
) -> tuple[list[tuple[int, N]], int]:
    """Return the walk through all layers that changes the thread least often, and how often it does.

    A layer has the states of one level and their steps, as (leaf, state), to those of the next; the last layer's steps
    lead to where the walk ends. Among equal walks the first in the order of threads and choices is taken.
    """
    leaves = successors.leaves
    # best[state, last thread] = (switches, schedule so far as a chain)
    best: dict[tuple[N, int], tuple[int, tuple[object, int, N] | None]] = {(start, -1): (0, None)}
    for layer in layers:
        following: dict[tuple[N, int], tuple[int, tuple[object, int, N] | None]] = {}
        for (i, last), (switches, chain) in best.items():
            for leaf, j in layer.get(i, ()):
                thread = leaves[leaf].thread
                cost = switches + (thread != last and last >= 0)
                if (j, thread) not in following or cost < following[j, thread][0]:
                    following[j, thread] = (cost, (chain, leaf, j))
        best = following
    switches, chain = min(best.values(), key=lambda found: found[0])
    schedule: list[tuple[int, N]] = []
    link: object = chain
    while isinstance(link, tuple):
        link, leaf, j = link
        schedule.append((leaf, j))
    return schedule[::-1], switches
