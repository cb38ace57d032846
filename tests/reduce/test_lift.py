# SPDX-License-Identifier: Apache-2.0
"""Lead races of reduced systems back, and replay them on the interpreter, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.kvm_seq import kvm_seq
from support.reducible import counting_system, locked_system
from support.systems import acquire, fork, op, put, system, thread, to

from unpinned.check.search import Bounds, Graph, explore, schedule_to
from unpinned.check.successors import compile_system
from unpinned.check.witness import broken_by, replay
from unpinned.ir.layout import BROKEN, initial, layout
from unpinned.ir.program import Check, Choose, Const, Local, Shared, System, Var
from unpinned.ir.rules import CODES, LIMIT
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.blocks import merge_blocks
from unpinned.reduce.lift import LiftError, lift
from unpinned.reduce.snapshots import abstract_counters

Reduce = Callable[[System], System]


def blocks(full: System) -> System:
    return merge_blocks(full)[0]


def snapshots(full: System) -> System:
    return abstract_counters(full)[0]


def both(full: System) -> System:
    return snapshots(blocks(full))


def path_to(graph: Graph, target: int) -> list[tuple[int, bytes]]:
    """Return a shortest path to a state: who moves, and the state after it."""
    steps, _ = schedule_to(graph, [target])
    return [(graph.successors.leaves[leaf].thread, graph.states[j]) for leaf, j in steps]


def lifts(full: System, reduced: System, path: list[tuple[int, bytes]]) -> None:
    """Lift a path and replay it: it ends where the path does, as far as both systems have the same."""
    schedule = lift(full, path, reduced)
    run = replay(full, schedule)
    old, new = layout(full), layout(reduced)
    last = run[-1].state if run else initial(old)
    goal = path[-1][1] if path else initial(new)
    assert last[BROKEN] == goal[BROKEN]
    if goal[BROKEN]:
        broke = broken_by(run[-1])
        assert broke is not None
        assert CODES[broke.check.rule] == goal[BROKEN]
    else:
        assert [old.place(last, t) for t in range(len(old.pc))] == [new.place(goal, t) for t in range(len(new.pc))]
    for mine, theirs in zip((old.shared, *old.locals), (new.shared, *new.locals), strict=True):
        for name in mine.keys() & theirs.keys():
            a, b, size = mine[name].at, theirs[name].at, mine[name].var.size
            assert last[a : a + size] == goal[b : b + size]
    taken = [t for t, _ in schedule]
    moves = [t for t, _ in path]
    assert [t for i, t in enumerate(taken) if not i or taken[i - 1] != t] == [
        t for i, t in enumerate(moves) if not i or moves[i - 1] != t
    ]


def lift_some(full: System, reduce: Reduce, most: int = 4_000) -> int:
    """Lift some paths of a reduced system, to broken states and others; return to how many broken ones."""
    reduced = reduce(full)
    try:
        graph = explore(compile_system(reduced), Bounds(states=most), to_end=True)
    except ValueError:
        return 0
    broken = [i for i, state in enumerate(graph.states) if state[BROKEN]]
    for target in {*broken[:4], *broken[-2:], *range(0, len(graph.states), 1 + len(graph.states) // 5)}:
        lifts(full, reduced, path_to(graph, target))
    return len(broken[:4])


@pytest.mark.parametrize("reduce", [blocks, both])
def test_races_of_random_systems_with_locks(reduce: Reduce) -> None:
    assert sum(lift_some(locked_system(seed), reduce) for seed in range(250)) > 100


@pytest.mark.parametrize("reduce", [snapshots, both])
def test_races_of_random_systems_with_counters(reduce: Reduce) -> None:
    assert sum(lift_some(counting_system(seed, forever=False), reduce) for seed in range(250)) > 50


@pytest.mark.parametrize("reduce", [blocks, snapshots, both])
@pytest.mark.parametrize("bound", [(1, 1, 1, 1, 2), (2, 1, 1, 1, 2), (2, 2, 1, 1, 3)])
def test_the_race_of_kvm_seq(bound: tuple[int, int, int, int, int], reduce: Reduce) -> None:
    full = kvm_seq(*bound, literal=True)
    reduced = reduce(full)
    graph = explore(compile_system(reduced))
    assert graph.broken
    path = path_to(graph, graph.broken[0])
    lifts(full, reduced, path)
    assert len(lift(full, path, reduced)) >= len(path)


ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "src/unpinned/drivers").glob("kvm*.py")), *sorted((ROOT / "examples").glob("*.py"))]
FILES += sorted((ROOT / "tests/plans").glob("*.py"))


@pytest.mark.parametrize("reduce", [both, pytest.param(blocks, marks=pytest.mark.long)])
def test_the_races_of_plans(reduce: Reduce) -> None:
    """Every plan that breaks a rule beside a zap breaks it under reductions too, and the race is led back."""
    raced = 0
    for plan in (plan for path in FILES for plan in read_plans(path)):
        if plan.operations is None or "zap" in plan.operations:
            full = build(plan, Scenario(1, 1, ("zap",)))
            reduced = reduce(full)
            graph = explore(compile_system(reduced))
            for target in [i for i in graph.broken if graph.states[i][BROKEN]][:2]:
                lifts(full, reduced, path_to(graph, target))
                raced += 1
    assert raced > 20


# ---- by hand ------------------------------------------------------------------------------------------------------

X, LOCK, A, B = Shared("plan.x"), Shared("plan.lock"), Local("own.a"), Local("own.b")
SHARED = Var("plan.x", "int", 0, 3), Var("plan.lock", "spinlock", 0, 1)
OWN = Var("own.a", "int", 0, 3), Var("own.b", "int", 0, 3)


def test_the_empty_path_is_the_empty_schedule() -> None:
    full = locked_system(0)
    assert lift(full, [], blocks(full)) == ()


def test_a_choice_that_shows_later_is_found_by_going_back() -> None:
    """CPU0 keeps a number that the other system has not; only the last of three lets it go on."""
    steps = [
        to(1, Choose(A, Const(0), Const(3))),
        to(2, put(X, 1)),
        fork(op("==", A, 2), to(3, put(X, 2)), to(3, put(X, 3))),
    ]
    full = system(SHARED, [thread("CPU0", steps, *OWN)])
    other = system(SHARED, [thread("CPU0", [to(1), to(2, put(X, 1)), to(3, put(X, 2))], OWN[1])])
    graph = explore(compile_system(other))
    path = path_to(graph, len(graph.states) - 1)
    assert lift(full, path, other) == ((0, 2), (0, 0), (0, 0))


def test_a_block_that_breaks_a_rule_in_the_middle() -> None:
    section = [to(1, *acquire(LOCK)), to(2, put(X, 1)), to(3, Check(op("==", X, 0), "leak", "x")), to(4, put(LOCK, 0))]
    full = system(SHARED, [thread("CPU0", section, *OWN), thread("CPU1", section, *OWN)], "leak")
    reduced = blocks(full)
    graph = explore(compile_system(reduced))
    path = path_to(graph, graph.broken[0])
    assert len(path) == 1
    assert lift(full, path, reduced) == ((0, 0), (0, 0), (0, 0))


def test_a_path_that_is_none_is_refused() -> None:
    full = system(SHARED, [thread("CPU0", [to(1, put(X, 1)), to(2, put(X, 2))], *OWN)])
    other = system(SHARED, [thread("CPU0", [to(1, put(X, 1)), to(2, put(X, 3))], *OWN)])
    graph = explore(compile_system(other))
    path = path_to(graph, len(graph.states) - 1)
    with pytest.raises(LiftError, match="step 2 of the reduced by hand, of CPU 0, has no run that fits"):
        lift(full, path, other)


def test_a_race_behind_the_bound_of_a_counter_is_refused() -> None:
    """Without its counter the system goes on where the full one ends at the width of it."""
    seq = Shared("plan.seq")
    bump = Check(op("<=", op("+", seq, 1), 1), LIMIT, "width"), put(seq, op("+", seq, 1))
    steps = [to(1, *bump), to(0, put(X, op("+", X, 1)), Check(op("<", X, 2), "leak", "x"))]
    full = system((*SHARED, Var("plan.seq", "int", 0, 1)), [thread("CPU0", steps, *OWN, ends=False)], "leak")
    reduced = snapshots(full)
    graph = explore(compile_system(reduced))
    path = path_to(graph, graph.broken[0])
    assert not explore(compile_system(full), to_end=True).broken
    with pytest.raises(LiftError, match="step 3"):
        lift(full, path, reduced)
