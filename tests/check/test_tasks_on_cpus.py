# SPDX-License-Identifier: Apache-2.0
"""What the mail says of faults and ranges on one CPU, where tasks share it; the verdicts are in rules.txt.

"The page fault can't happen [...] if we're in the begin/end critical section" is true of one task. Another vCPU's task
runs there where the operation may sleep between start and end, and nowhere else.
"""

from __future__ import annotations

import pytest
from support.searching import PLANS, find, search

from unpinned.check.search import Graph
from unpinned.ir.layout import initial
from unpinned.mm.cpus import RUNNING


def _inside(graph: Graph, var: str) -> tuple[set[int], int]:
    """Return the places of the operation at which vCPU 0 takes a step while `var` is not 0, and how many have it so."""
    lay, leaves = graph.successors.lay, graph.successors.leaves
    slot = lay.shared[var]
    opened = [i for i, state in enumerate(graph.states) if state[slot.at] != slot.bias]
    moved = {lay.place(graph.states[i], 1) for i in opened for leaf, _ in graph.out(i) if leaves[leaf].thread == 0}
    return moved, len(opened)


def test_a_fault_runs_between_start_and_end_where_the_operation_lets_it() -> None:
    graph = search(PLANS / "tasks.py", "Replays", "1:1:zap/1")
    zap = graph.successors.system.threads[1]
    moved, opened = _inside(graph, "mm.open")
    assert opened
    (place,) = moved
    assert zap.steps[place].sleeps
    assert (zap.steps[place].pos.file.endswith("primary.py"), zap.steps[place].held) == (True, ("mm.mmap_lock",))


def test_no_fault_runs_while_a_page_is_reclaimed_on_its_cpu() -> None:
    assert _inside(search(PLANS / "tasks.py", "Replays", "1:1:reclaim/1"), "mm.open")[0] == set()
    assert _inside(search(PLANS / "tasks.py", "Replays", "1:1:reclaim/2"), "mm.open")[0]


@pytest.mark.parametrize("beside", ["1:1:zap/1", "2:1:munmap/1", "1:1:zap+reclaim/2"])
def test_no_more_tasks_run_than_there_are_cpus(beside: str) -> None:
    graph = search(PLANS / "tasks.py", "Replays", beside)
    slot = graph.successors.lay.shared[RUNNING]
    running = {state[slot.at] - slot.bias for state in graph.states}
    assert running == set(range(int(beside[-1]) + 1))
    assert graph.states[0] == initial(graph.successors.lay)


def test_cpus_for_all_tasks_change_nothing_but_the_rescheduling() -> None:
    """As many CPUs as tasks: each state is one of those without the count, for where a task stands decides it."""
    for beside in ("1:1:reclaim", "1:1:reclaim+reclaim"):
        tasks = 1 + beside.count("reclaim")
        found, free = (find(PLANS / "tasks.py", "Spins", text) for text in (f"{beside}/{tasks}", beside))
        assert (found.rules, found.states) == (free.rules, free.states)
