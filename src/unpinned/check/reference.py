# SPDX-License-Identifier: Apache-2.0
"""Examine a system with the reference engine: search its whole graph in plain Python, and look at what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from unpinned.check.evidence import Evidence, Sight, Tick, covered, expected
from unpinned.check.graph import Lasso, anyone_waits, endless_fault, stuck
from unpinned.check.search import Bounds, Graph, explore, schedule_to
from unpinned.check.successors import compile_system
from unpinned.check.witness import Race, Seen, broken_by, followed, race_of_path
from unpinned.ir.program import System
from unpinned.ir.rules import severity


def examine(system: System, bounds: Bounds, tick: Tick | None = None) -> Evidence:
    """Search a system and return what is known of it; an interrupt ends the search and leaves what was found."""
    successors = compile_system(system)
    graph = explore(successors, bounds, tick=_sights(tick))
    if _shows_deadlock(graph):
        # Some CPUs may be stuck for ever long before none can go on; only the whole graph tells.
        graph = explore(successors, bounds, to_end=True, tick=_sights(tick))
    try:
        return _evidence(graph)
    except KeyboardInterrupt:
        graph.complete, graph.stopped = False, "interrupt"
        return _evidence(graph)


def _sights(tick: Tick | None) -> Callable[[Graph], None] | None:
    def seen(graph: Graph) -> None:
        assert tick is not None
        states = len(graph.states)
        widths = [after - before for before, after in pairwise(graph.levels)]
        frontier = states - (graph.levels[-1] if graph.levels else 0)
        tick(Sight(states, len(graph.levels) - 1, frontier, expected(widths)))

    return None if tick is None else seen


def _evidence(graph: Graph) -> Evidence:
    leaves = graph.successors.leaves
    passed = {leaf for flat in graph.edges for leaf in flat[::2]}
    events, reached = covered((what for leaf in passed for what in leaves[leaf].passed), anyone_waits(graph))
    race = find_race(graph)
    limit = _limit(graph) if graph.limits and race is None else ""
    stopped = "memory" if graph.stopped == "states" else graph.stopped
    return Evidence(
        *(graph.successors.system, len(graph.states), len(graph.levels) - 1, graph.complete, stopped, limit),
        *(race, events, reached),
    )


def find_race(graph: Graph) -> Race | None:
    """Return the race that a search shows: a broken rule, else a CPU that waits for ever, else an endless fault.

    :raises InternalError: if it does not replay.
    """
    promised = graph.successors.system.promised
    if graph.broken and not (graph.complete and _shows_deadlock(graph)):
        first = _first_broken(graph)
        rule = min((graph.rule(i) for i in first), key=severity)
        targets = [i for i in first if graph.rule(i) == rule]
        path, _ = schedule_to(graph, targets)
        shortest = not graph.limits and (rule != "deadlock" or graph.complete)
        return race_of_path(graph.successors, rule, _states(graph, path), _seen(graph), shortest)
    if graph.complete and "deadlock" in promised and (found := stuck(graph)) is not None:
        lasso, thread = found
        return _cycle(graph, "deadlock", lasso, thread)
    if graph.complete and "progress" in promised and (endless := endless_fault(graph)) is not None:
        return _cycle(graph, "progress", endless, None)
    return None


def _cycle(graph: Graph, rule: str, lasso: Lasso, thread: int | None) -> Race:
    """Return the race that ends in a state in which a CPU waits for ever, or in a cycle that is never left."""
    path, _ = schedule_to(graph, [lasso.start])
    cycle = len(path) if lasso.cycle else None
    shortest = not graph.limits and cycle is None
    walk = _states(graph, [*path, *lasso.cycle])
    return race_of_path(graph.successors, rule, walk, _seen(graph), shortest, cycle, thread)


def _states(graph: Graph, path: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
    return [(leaf, graph.states[i]) for leaf, i in path]


def _seen(graph: Graph) -> Seen:
    return Seen(len(graph.states), max(1, len(graph.broken)), len(graph.levels) - 1)


def _first_broken(graph: Graph) -> list[int]:
    """Return the broken states that the fewest steps lead to."""
    level = graph.depth(graph.broken[0])
    return [i for i in graph.broken if graph.depth(i) == level]


def _shows_deadlock(graph: Graph) -> bool:
    """Tell whether the first violation of a search is that no CPU can go on."""
    return bool(graph.broken) and all(graph.rule(i) == "deadlock" for i in _first_broken(graph))


def _limit(graph: Graph) -> str:
    """Return in words the first bound of the model that the search ran into."""
    path, _ = schedule_to(graph, [graph.limits[0]])
    _, run = followed(graph.successors, _states(graph, path))
    broke = broken_by(run[-1])
    assert broke is not None
    return broke.check.text
