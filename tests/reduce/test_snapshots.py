# SPDX-License-Identifier: Apache-2.0
"""Take counters out of systems made by hand: where it applies, with counts, and traps in which it would be wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.counters import BUMP, HIGH, KEPT, LOCK, OWN, READER, SEQ, SHARED, TAKE, A, S, T, X, made, same, straight
from support.kvm_seq import K, kvm_seq
from support.systems import acquire, fork, op, put, system, thread, to

from unpinned.check.search import Graph, explore
from unpinned.check.successors import compile_system
from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Goto,
    Local,
    Note,
    Op,
    Set,
    Shared,
    System,
    Thread,
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT
from unpinned.reduce.blocks import merge_blocks
from unpinned.reduce.snapshots import abstract_counters


def search(of: System) -> Graph:
    return explore(compile_system(of), to_end=True)


def names(of: System) -> set[str]:
    return {var.name for var in of.shared}


def taken_out(of: System) -> System:
    """Return the system without its counter."""
    reduced, staying = abstract_counters(of)
    assert not staying
    assert "plan.seq" not in names(reduced)
    return reduced


def stays(of: System, why: str) -> None:
    """Hold that the counter stays, for a reason that is given with its place."""
    reduced, staying = abstract_counters(of)
    assert reduced == of
    assert why in staying["plan.seq"]


# ---- where it applies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 5])
def test_bumps_are_not_counted(times: int) -> None:
    """CPU0 has no snapshot, a fresh one or a stale one; CPU1 says by its place alone how often it has bumped."""
    full = made(straight(TAKE, put(X, 0), put(A, op("==", S, SEQ)), put(A, 0)), straight(*[BUMP] * times))
    reduced = taken_out(full)
    # CPU0 before the snapshot, done or behind it: without one. In between, at each place of CPU1: fresh, or stale if
    # CPU1 has taken a step. Where it has compared, the answer is dead.
    states = 3 * (times + 1) + 2 * (times + 1 + times)
    assert len(search(reduced).states) == states
    assert len(search(full).states) >= states
    assert [(var.name, var.hi, var.size) for var in reduced.shared if var.name.startswith("stale")] == [
        ("stale.own.s", 2, 2)
    ]


def test_bumps_have_no_bound() -> None:
    """CPU1 bumps for ever: the full system ends at the counter's width, the reduced one has no end to come to."""
    inside = op("and", op("<=", 0, op("+", SEQ, 1)), op("<=", op("+", SEQ, 1), 4))
    guard = Check(op(">=", op("+", SEQ, 1), 0), "balance", "below"), Check(inside, LIMIT, "width")
    full = made(straight(TAKE, put(X, 0), put(A, op("==", S, SEQ))), [to(0, *guard, BUMP)])
    assert search(full).limits
    graph = search(taken_out(full))
    assert graph.complete
    assert not graph.limits
    assert len(graph.states) == 1 + 2 * 2 + 1


def test_a_cpu_that_bumps_makes_its_own_snapshot_stale() -> None:
    full = made(straight(TAKE, BUMP, same(op("==", S, SEQ))))
    assert search(full).broken
    assert search(taken_out(full)).broken
    within = made(straight((TAKE, put(T, S), BUMP, same(op("!=", SEQ, T)))))
    assert not search(within).broken
    assert not search(taken_out(within)).broken


def test_a_temporary_is_fresh_where_it_was_just_read() -> None:
    """As plans are lowered: the comparison is of two locals, and the second was read in the same step."""
    late = fork(op("!=", T, S), to(3, put(X, 1)), to(3, put(X, 2)), put(T, SEQ))
    full = made([to(1, put(T, SEQ), put(S, T)), to(2, put(X, 0)), late], straight(BUMP))
    reduced = taken_out(full)
    assert {name for name in names(reduced) if name.startswith("stale")} == {"stale.own.s"}
    assert [var.name for var in reduced.threads[0].locals] == ["own.a"]


def test_a_temporary_stays_fresh_under_the_lock_of_those_who_bump() -> None:
    """`seq += 1` is a read and a write; under the lock no bump is lost, and the temporary needs no element."""
    bump = straight(acquire(LOCK), put(T, SEQ), put(SEQ, op("+", T, 1)), put(LOCK, 0))
    full = made(bump, bump, READER)
    reduced = taken_out(full)
    assert {name for name in names(reduced) if name.startswith("stale")} == {"stale.own.s"}


def test_a_snapshot_is_followed_through_its_copies() -> None:
    steps = straight(TAKE, put(T, S), put(X, 1), same(op("==", SEQ, T)))
    full = made(steps, straight(BUMP))
    assert search(full).broken
    reduced = taken_out(full)
    assert search(reduced).broken
    assert {"stale.own.s", "stale.own.t"} <= names(reduced)


def test_a_snapshot_that_is_not_used_again_is_none() -> None:
    """Without the resets of dead locals, the reduced system has them all the same."""
    steps = straight(TAKE, put(X, 1), put(A, op("==", S, SEQ)), put(X, 2))
    with_resets, without = (taken_out(made(steps, straight(BUMP, BUMP), resets=resets)) for resets in (True, False))
    stale = [[s for s in search(of).states if s] for of in (with_resets, without)]
    at = [compile_system(of).lay.shared["stale.own.s"].at for of in (with_resets, without)]
    place = [compile_system(of).lay.pc[0] for of in (with_resets, without)]
    for states, element, pc in zip(stale, at, place, strict=True):
        assert {state[element] for state in states if state[pc] in (0, 3, 4)} == {0}
        assert {state[element] for state in states if state[pc] in (1, 2)} == {1, 2}


def test_a_counter_that_nobody_looks_at_goes() -> None:
    full = made(straight(BUMP, put(X, 1)), straight(BUMP))
    reduced = taken_out(full)
    assert len(search(reduced).states) == 3 * 2
    assert {name for name in names(reduced) if name.startswith("stale")} == set()


def test_notes_on_a_counter_go_with_it() -> None:
    told = Note("seq is {s}", (("s", "int", S),)), Note("bump"), Check(op("<", SEQ, 3), "coherence", "not promised")
    full = made(straight(TAKE, (*told, put(A, op("==", S, SEQ)))), straight(BUMP))
    reduced = taken_out(full)
    assert [s for s in reduced.threads[0].steps[1].body.stmts if isinstance(s, Note | Check)] == [told[1]]


def test_steps_out_of_reach_do_nothing() -> None:
    """Merged blocks leave steps behind that name the counter."""
    merged, _ = merge_blocks(made(straight(TAKE, put(A, op("==", S, SEQ)), BUMP)))
    reduced = taken_out(merged)
    assert reduced.threads[0].steps[1].body == Body((), Goto(1))


def test_a_comparison_may_stand_anywhere() -> None:
    """In a wait, a choice, a store and a branch."""
    moved = op("!=", SEQ, S)
    steps = straight(TAKE, Wait(moved), Choose(A, Const(0), Const(2), op("or", moved, A)), put(X, moved))
    full = made(steps, straight(BUMP))
    assert len(search(taken_out(full)).states) == len(search(full).states)


def endless(of: System) -> System:
    """Return kvm-seq with hosts that never stop."""

    def body(old: Body) -> Body:
        if isinstance(old.end, Branch) and isinstance(old.end.cond, Op) and old.end.cond.args[0] == K:
            stmts = tuple(stmt for stmt in old.stmts if not (isinstance(stmt, Set) and stmt.target == K))
            return Body(stmts, Goto(0))
        return old

    def host(cpu: Thread) -> Thread:
        own = tuple(var for var in cpu.locals if var.name != K.name)
        return replace(cpu, locals=own, steps=tuple(replace(step, body=body(step.body)) for step in cpu.steps))

    return replace(of, threads=tuple(host(cpu) if cpu.done else cpu for cpu in of.threads))


@pytest.mark.parametrize(
    ("bound", "states"), [((2, 1, 1, 1, 2), 7_688), ((1, 1, 1, 2, 3), 10_516), ((2, 2, 1, 1, 3), 279_651)]
)
def test_kvm_seq_with_hosts_that_never_stop(bound: tuple[int, int, int, int, int], states: int) -> None:
    """Any number of invalidations: a search written by hand in C++, with one bit for seq and s, counts as many."""
    reduced, _ = abstract_counters(endless(kvm_seq(*bound)))
    graph = search(reduced)
    assert graph.complete
    assert not graph.broken
    assert len(graph.states) == states


@pytest.mark.parametrize(("bound", "states"), [((2, 1, 2, 1, 2), 9_442), ((2, 2, 1, 1, 3), 73_301)])
def test_kvm_seq_with_hosts_that_stop(bound: tuple[int, int, int, int, int], states: int) -> None:
    """As many as the same search counts."""
    assert len(search(abstract_counters(kvm_seq(*bound))[0]).states) == states


# ---- traps ------------------------------------------------------------------------------------------------------


def test_two_snapshots_that_are_compared() -> None:
    stays(made(straight(TAKE, put(T, SEQ), same(op("==", S, T))), straight(BUMP)), "two snapshots of it are compared")


def test_a_constant() -> None:
    stays(made(straight(same(op("!=", SEQ, 2))), straight(BUMP, BUMP)), "used otherwise than in == or !=")
    stays(made(straight(TAKE, same(op("==", S, 0))), straight(BUMP)), "(plan.py:2)")


def test_parity() -> None:
    half = op("==", SEQ, op("*", 2, A))
    stays(made(straight(Choose(A, Const(0), Const(3)), same(half)), straight(BUMP)), "used otherwise")


def test_order() -> None:
    stays(made(straight(TAKE, same(op("<=", S, SEQ))), straight(BUMP)), "used otherwise")


def test_truth() -> None:
    stays(made([fork(SEQ, to(1), to(1, put(X, 1)))], straight(BUMP)), "used otherwise")


def test_a_counter_that_shrinks() -> None:
    """Down and up again: the snapshot is what the counter is, though it has moved."""
    full = made(READER, straight(BUMP, put(SEQ, op("-", SEQ, 1))))
    stays(full, "does not only grow (plan.py:2)")
    stays(made(READER, straight(BUMP, put(SEQ, op("+", SEQ, -1)))), "does not only grow")
    stays(made(READER, straight(BUMP, put(SEQ, op("+", SEQ, 0)))), "does not only grow")
    stays(made(READER, straight(BUMP, put(SEQ, 0))), "does not only grow")
    stays(made(READER, straight(put(A, 1), put(SEQ, op("+", A, 1)))), "set otherwise than by adding to it")


def test_a_bump_that_may_be_lost() -> None:
    """CPU0 reads 0; CPU1 bumps to 1; CPU2 takes 1; CPU0 stores 1: CPU2's snapshot is what the counter is."""
    lost = straight(put(T, SEQ), put(SEQ, op("+", T, 1)))
    full = made(lost, straight(BUMP), READER)
    stays(full, "one bump be lost (plan.py:2)")
    other = Shared("plan.lock")
    unlike = straight(acquire(other), *(step.stmts for step in lost), put(other, 0))
    stays(made(unlike, straight(BUMP), READER), "one bump be lost")


def test_a_snapshot_that_is_fresh_on_one_of_two_paths() -> None:
    """Where the lock was dropped and taken again, somebody may have bumped between."""
    drop, take = put(LOCK, 0), acquire(LOCK)
    steps = [
        to(1, *take),
        fork(X, to(2), to(4), TAKE),
        to(3, drop),
        to(4, *take),
        to(5, put(SEQ, op("+", S, 1))),
        to(6, drop),
    ]
    full = made(steps, straight(take, BUMP, drop, put(X, 1)))
    stays(full, "one bump be lost (plan.py:5)")


def test_a_snapshot_that_is_stored() -> None:
    stays(made(straight(TAKE, put(KEPT, S)), straight(BUMP)), "used otherwise")
    stays(made(straight(put(KEPT, SEQ)), straight(BUMP)), "used otherwise")


def test_a_snapshot_that_may_hold_something_else() -> None:
    """7 is no value of the counter yet, and will be one."""
    other = [fork(A, to(1, put(S, 7)), to(1, TAKE), Choose(A, Const(0), Const(2))), to(2, same(op("==", S, SEQ)))]
    stays(made(other, straight(BUMP)), "own.s may hold something else (plan.py:1)")
    chosen = straight(TAKE, Choose(S, Const(0), Const(2)), same(op("==", S, SEQ)))
    stays(made(chosen, straight(BUMP)), "own.s may hold something else (plan.py:2)")


def test_a_snapshot_that_might_not_be_set() -> None:
    """At first it equals the counter, which no snapshot of it does."""
    unset = [fork(A, to(1), to(1, TAKE), Choose(A, Const(0), Const(2))), to(2, put(X, op("==", S, SEQ)))]
    stays(made(unset, straight(BUMP)), "own.s is used where it might not be set (plan.py:2)")
    again = straight(TAKE, put(S, 0), put(X, op("==", S, SEQ)))
    stays(made(again, straight(BUMP), resets=False), "own.s is used where it might not be set (plan.py:3)")
    copied = straight(put(T, S), TAKE, put(X, op("==", T, SEQ)))
    stays(made(copied, straight(BUMP)), "own.s is used where it might not be set (plan.py:1)")


def test_an_index_a_sum_and_an_array() -> None:
    cell = Local("own.cells", S)
    array = Var("own.cells", "int", 0, HIGH, size=3)
    for steps, why in (
        (straight(TAKE, put(cell, 1)), "used otherwise"),
        (straight(TAKE, put(A, op("+", S, 1))), "used otherwise"),
        (straight(put(Local("own.cells", Const(0)), SEQ)), "own.cells is an array"),
    ):
        cpus = [thread("CPU0", steps, *OWN, array), thread("CPU1", straight(BUMP), *OWN)]
        stays(system(SHARED, cpus, "leak"), why)


def test_checks_that_are_more_than_a_bound() -> None:
    """A limit below the first value, a limit that is no bound, a promised bound."""
    for check in (
        Check(op("<=", 5, SEQ), LIMIT, "from below"),
        Check(op("!=", SEQ, 3), LIMIT, "not three"),
        Check(op("<=", SEQ, 3), "leak", "small"),
        Check(op(">=", SEQ, 1), "balance", "never none"),
        Check(op("and", op("<=", SEQ, 9), op("==", X, 0)), LIMIT, "and x"),
    ):
        stays(made(straight((check, BUMP))), "used otherwise")


def test_a_counter_that_says_whether_a_fault_is_under_way() -> None:
    full = replace(made(straight(BUMP)), faulting=(SEQ,))
    stays(full, "whether a fault is under way")


def test_a_name_that_is_taken() -> None:
    full = made(READER, straight(BUMP))
    full = replace(full, shared=(*full.shared, Var("stale.own.s", "int", 0, 1)))
    stays(full, "there is a stale.own.s already")


def test_other_counters_are_told_of_and_left() -> None:
    """A count that goes up and down, beside a sequence counter."""
    reduced, staying = abstract_counters(kvm_seq(1, 1, 1, 1, 2))
    assert staying == {"plan.count": "it does not only grow (plan.py:17)"}
    assert names(reduced) == {"mm.spte", "mm.pte", "mm.owner", "plan.count", "plan.lock", "stale.own.s"}
