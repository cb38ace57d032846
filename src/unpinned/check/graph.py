# SPDX-License-Identifier: Apache-2.0
"""Judge what no single state shows: CPUs that wait for ever, and faults that never complete.

Both need the whole graph, so they are asked only after a complete search without other violations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unpinned.check.search import Graph
from unpinned.ir.components import components
from unpinned.ir.layout import BROKEN, Layout
from unpinned.ir.program import Const, Shared, System


@dataclass(frozen=True, slots=True)
class Lasso:
    """A state, and the steps as (leaf, state) of a cycle that begins and ends there; no steps if it stands still."""

    start: int
    cycle: tuple[tuple[int, int], ...] = ()


def stuck(graph: Graph) -> tuple[Lasso, int] | None:
    """Return the first way in which a CPU can never go on, and that CPU; None if there is none.

    A CPU waits for ever in a state if it is not done there, and neither there nor in any state that can be reached
    from there can it take a step. An mm operation spins for ever on a cycle from which no state can be reached in
    which it is done; for a vCPU, which is never done, that is a matter of `progress`. A broken state, or one at a
    limit of the model, counts as a way out: what comes behind it is not known.
    """
    able = _able(graph)
    found: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []
    for t, thread in enumerate(graph.successors.system.threads):
        unfinished = _unfinished(graph, t)
        waiting = _closed(graph, {i for i in unfinished if not able[i] >> t & 1})
        if waiting:
            found.append((min(waiting), t, ()))
        if thread.end is not None and (hopeless := _closed(graph, unfinished)):
            steps = {i: list(graph.out(i)) for i in hopeless}
            spinning = [set(c) for c in _rings(steps) if _moves(graph, steps, set(c), t)]
            if spinning:
                ring = min(spinning, key=min)
                found.append((min(ring), t, _closed_walk(graph, steps, min(ring), ring, [t], None)))
    if not found:
        return None
    start, t, cycle = min(found)
    return Lasso(start, cycle), t


def _unfinished(graph: Graph, thread: int) -> set[int]:
    """Return the states in which no rule is broken and a CPU is not done; an idle worker is."""
    lay, end = graph.successors.lay, graph.successors.system.threads[thread].end
    if lay.wide[thread]:
        return {i for i, s in enumerate(graph.states) if not s[BROKEN] and lay.place(s, thread) != end}
    at = lay.pc[thread]
    return {i for i, state in enumerate(graph.states) if not state[BROKEN] and state[at] != end}


def _moves(graph: Graph, steps: dict[int, list[tuple[int, int]]], inside: set[int], thread: int) -> bool:
    """Tell whether a CPU takes a step within a set of states."""
    leaves = graph.successors.leaves
    return any(leaves[leaf].thread == thread and j in inside for i in inside for leaf, j in steps[i])


def anyone_waits(graph: Graph) -> bool:
    """Tell whether in some state a CPU that is not done had to wait."""
    lay, threads = graph.successors.lay, graph.successors.system.threads
    leaves = graph.successors.leaves
    for i, flat in enumerate(graph.edges):
        moving = len({leaves[leaf].thread for leaf in flat[::2]})
        if flat and moving < len(threads):
            state = graph.states[i]
            if moving < sum(lay.place(state, t) != thread.end for t, thread in enumerate(threads)):
                return True
    return False


def _able(graph: Graph) -> list[int]:
    """Return for each state the set of CPUs that can take a step, as a bit mask."""
    bit = [1 << leaf.thread for leaf in graph.successors.leaves]
    able = []
    for flat in graph.edges:
        mask = 0
        for leaf in flat[::2]:
            mask |= bit[leaf]
        able.append(mask)
    return able


def _closed(graph: Graph, states: set[int]) -> set[int]:
    """Return the largest subset that no step leaves."""
    edges = graph.edges
    before = -1
    while len(states) != before:
        before = len(states)
        # Most steps lead to states that were found later, so the last ones go first.
        for i in sorted(states, reverse=True):
            if not states.issuperset(edges[i][1::2]):
                states.discard(i)
    return states


def endless_fault(graph: Graph) -> Lasso | None:
    """Return a weakly fair cycle at rest in which no fault completes, the first that can be reached; or None.

    At rest no mm operation is open and none starts: every operation stands before its first step or is done. A
    cycle is weakly fair if each vCPU, and each worker, takes a step in it or waits somewhere in it. It is a violation
    if a fault is under way all along it, that is, if a vCPU is faulting in its states (completing a fault would leave
    the cycle).
    """
    steps = _rest(graph)
    able = _able(graph)
    going = goes_on(graph.successors.system)
    leaves = graph.successors.leaves
    best: tuple[int, list[int]] | None = None
    for component in _rings(steps):
        inside = set(component)
        moved = {leaves[leaf].thread for i in component for leaf, j in steps[i] if j in inside}
        if not moved:
            continue
        fair = all(t in moved or any(not able[i] >> t & 1 for i in component) for t in going)
        if fair and (best is None or min(component) < best[0]):
            best = (min(component), component)
    if best is None:
        return None
    return Lasso(best[0], _closed_walk(graph, steps, best[0], set(best[1]), going, able))


def goes_on(system: System) -> list[int]:
    """Return the CPUs that go on with the mm at rest: vCPUs and workers."""
    return [t for t, thread in enumerate(system.threads) if thread.kind != "op"]


def at_rest(system: System, lay: Layout, state: bytes) -> bool:
    """Tell whether no operation of the mm is under way, each has not begun or is done, and no fault has one open."""
    threads = ((t, len(thread.steps)) for t, thread in enumerate(system.threads) if thread.kind == "op")
    slots = ((lay.shared[ref.name], ref.index) for ref in system.opened)
    if any(state[slot.at + (index.value if isinstance(index, Const) else 0)] != slot.bias for slot, index in slots):
        return False
    return all(lay.place(state, t) in (0, done) for t, done in threads)


def fault_flags(system: System, lay: Layout) -> dict[int, int]:
    """Return for each vCPU the byte of a state that says whether a fault of it is under way."""
    flags: dict[int, int] = {}
    for t, expr in enumerate(system.faulting):
        if isinstance(expr, Shared):
            index = expr.index.value if isinstance(expr.index, Const) else 0
            flags[t] = lay.shared[expr.name].at + index
    return flags


def _rest(graph: Graph) -> dict[int, list[tuple[int, int]]]:
    """Return the states at rest with a fault under way, and their steps to such states that complete no fault."""
    system, lay, leaves = graph.successors.system, graph.successors.lay, graph.successors.leaves
    flags = fault_flags(system, lay)
    followed = {*flags, *(t for t, thread in enumerate(system.threads) if thread.kind == "worker")}
    kept = {
        i
        for i, state in enumerate(graph.states)
        if any(state[at] for at in flags.values()) and not state[BROKEN] and at_rest(system, lay, state)
    }
    steps: dict[int, list[tuple[int, int]]] = {}
    for i in kept:
        steps[i] = []
        for leaf, j in graph.out(i):
            t = leaves[leaf].thread
            completes = t in flags and graph.states[i][flags[t]] and not graph.states[j][flags[t]]
            if t in followed and j in kept and not completes:
                steps[i].append((leaf, j))
    return steps


def _rings(steps: dict[int, list[tuple[int, int]]]) -> Iterator[list[int]]:
    """Yield the strongly connected components of a part of the graph."""
    return components({i: [j for _, j in out] for i, out in steps.items()})


def _closed_walk(
    graph: Graph,
    steps: dict[int, list[tuple[int, int]]],
    start: int,
    inside: set[int],
    threads: list[int],
    able: list[int] | None,
) -> tuple[tuple[int, int], ...]:
    """Return a closed walk from `start` within a component, on which each of some CPUs takes a step.

    With `able`, it is enough that the CPU waits in a state of the walk.
    """
    leaves = graph.successors.leaves
    walk: list[tuple[int, int]] = []

    def go(arrived: int | None, thread: int | None) -> None:
        """Append a shortest walk to state `arrived`, or to the end of a step of `thread`."""
        here = walk[-1][1] if walk else start
        queue: list[tuple[int, tuple[object, int, int] | None]] = [(here, None)]
        seen = {here}
        for i, chain in queue:
            for leaf, j in steps[i]:
                if j not in inside:
                    continue
                link = (chain, leaf, j)
                if j == arrived or leaves[leaf].thread == thread:
                    found: list[tuple[int, int]] = []
                    at: object = link
                    while isinstance(at, tuple):
                        at, step, to = at
                        found.append((step, to))
                    walk.extend(reversed(found))
                    return
                if j not in seen:
                    seen.add(j)
                    queue.append((j, link))

    for t in threads:
        waits = set() if able is None else {i for i in inside if not able[i] >> t & 1}
        if any(leaves[leaf].thread == t for leaf, _ in walk) or waits & {start, *(j for _, j in walk)}:
            continue
        blocked = min(waits, default=None)
        moves = _moves(graph, steps, inside, t)
        go(None if moves else blocked, t if moves else None)
    if not walk or walk[-1][1] != start:
        go(start, None)
    return tuple(walk)
