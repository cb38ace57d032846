# SPDX-License-Identifier: Apache-2.0
"""Hold the compiled engine against the reference engine: every state, step, level, file and path taken."""

from __future__ import annotations

import itertools

from unpinned.check.graph import anyone_waits
from unpinned.check.search import Bounds, Graph, explore
from unpinned.check.successors import compile_system
from unpinned.engine import explorer
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, LIMIT


def compare(
    system: System, cores: int = 1, to_end: bool = True, most: int = 60_000, program: Program | None = None
) -> int:
    """Search a system with both engines and assert that they saw the same; return the number of states.

    What is larger than `most` states is not compared, and gives 0.
    """
    graph = explore(compile_system(system), Bounds(states=most), to_end=to_end)
    if graph.stopped:
        return 0
    program = program or Program(system)
    limits = Limits(256 << 20, cores=cores, to_end=to_end, deadly="deadlock" in system.promised)
    search = Search(program, limits)
    try:
        search.run()
        assert_same(graph, search)
    finally:
        search.close()
    return len(graph.states)


def assert_same(graph: Graph, search: Search) -> None:
    """Assert that a finished search of each engine saw the same."""
    whole = [i for i, state in enumerate(graph.states) if not state[BROKEN]]
    assert search.states == len(whole)
    numbers = list(search.numbers())
    states = {search.state(number) for number in numbers}
    assert len(numbers) == len(whole)
    assert states == {graph.states[i] for i in whole}
    sizes: dict[int, int] = {}
    for i in whole:
        sizes[graph.depth(i)] = sizes.get(graph.depth(i), 0) + 1
    # A search that ends early has not expanded its last states: the reference engine counts them to the last level.
    whole_levels = len(sizes) if graph.complete else len(sizes) - 1
    assert search.levels[:whole_levels] == [sizes[level] for level in range(whole_levels)]
    sound = set(whole)
    assert search.transitions == sum(1 for i in whole for _, j in graph.out(i) if j in sound)
    for counter, code in ((explorer.BROKEN, None), (explorer.LIMITS, CODES[LIMIT])):
        leading = {
            graph.states[i]
            for i in whole
            for _, j in graph.out(i)
            if graph.states[j][BROKEN] and (graph.states[j][BROKEN] == CODES[LIMIT]) == (code is not None)
        }
        assert {search.state(number) for number in search.filed(counter)} == leading
        assert search.count(counter) == len(leading)
    if graph.complete:
        assert {search.state(number) for number in search.filed(explorer.DEAD)} == {
            graph.states[i] for i in whole if not graph.edges[i] and _unfinished(graph, i)
        }
        assert search.complete
        assert search.waited == anyone_waits(graph)
        assert search.passed() == sorted({leaf for flat in graph.edges for leaf in flat[::2]})
    for number in numbers[:: max(1, len(numbers) // 50)]:
        path = [search.state(step) for step in search.path(number)]
        depth = graph.depth(graph.states.index(path[-1]))
        assert len(path) - 1 == depth or (not graph.complete and depth == len(graph.levels) - 1)
        for before, after in itertools.pairwise(path):
            assert after in [state for _, state in graph.successors.expand(before)]


def _unfinished(graph: Graph, i: int) -> bool:
    lay, threads = graph.successors.lay, graph.successors.system.threads
    return any(lay.place(graph.states[i], t) < len(thread.steps) for t, thread in enumerate(threads))
