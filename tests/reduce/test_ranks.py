# SPDX-License-Identifier: Apache-2.0
"""Rank counters of systems made by hand: where it applies, with counts, and traps in which it would be wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from support.counters import BUMP, HIGH, KEPT, LOCK, OWN, SEQ, SHARED, TAKE, A, S, T, X, made, same, straight
from support.orbits import Quotient, explore_quotient
from support.systems import acquire, fork, op, put, system, thread, to

from benchmarks.models.system import interval, kvm_seq
from unpinned.check.reduced import search_reduced
from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.engine.search import Limits
from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import Check, Choose, Const, Expr, Local, Op, Set, Shared, System, Var, Wait
from unpinned.ir.rules import LIMIT
from unpinned.reduce.alike import SHARED as ALL
from unpinned.reduce.lift import _Lifter
from unpinned.reduce.pipeline import reduce_system
from unpinned.reduce.ranks import MOST, Ranks, rank_counters

STORE = put(KEPT, S)


def search(of: System, families) -> Quotient:
    """Search a system whose states are renumbered, to the end."""
    successors = compile_system(of)
    return explore_quotient(successors.initial, successors.expand, Ranks(families, successors.lay).renumbered)


def ranked(of: System) -> Quotient:
    """Search a system with ranks in place of numbers."""
    reduced, families, staying = rank_counters(of, ["plan.seq"])
    assert not staying
    return search(reduced, families)


def stays(of: System, why: str) -> None:
    """Hold that the counter stays a number, for a reason that is given with its place."""
    reduced, families, staying = rank_counters(of, ["plan.seq"])
    assert reduced is of
    assert families == ()
    assert why in staying["plan.seq"]


def family(of: System) -> set[tuple[int, str]]:
    _, (found,), _ = rank_counters(of, ["plan.seq"])
    return set(found)


# ---- where it applies


def test_bumps_have_no_bound():
    """CPU1 bumps for ever: kept is 0, an older value than seq or equal to it, and the rest is which of them."""
    guard = Check(op("<=", op("+", SEQ, 1), 4), LIMIT, "width")
    full = made(straight(TAKE, STORE, same(op("<=", KEPT, SEQ))), [to(0, guard, BUMP)])
    assert explore(compile_system(full)).limits
    found = ranked(full)
    assert not found.limits
    assert not found.broken
    # CPU0 at its first step: seq 0 or more. With the snapshot: 0 with seq 0 or more, or more with seq the same or
    # more. The same once it is stored, and once more when it was compared.
    assert len(found.states) == 2 + 3 * (2 + 2)


def test_snapshots_are_compared_with_each_other():
    """Both of 0, both of 1, or the older of 0: that order is kept and no other number."""
    later = straight(TAKE, put(T, SEQ), same(op("<=", S, T)), put(A, op("==", S, T)), put(X, A))
    full = made(later, straight(BUMP, BUMP))
    found = ranked(full)
    assert not found.broken
    assert {state[compile_system(full).lay.shared["plan.x"].at] for state in found.states} == {0, 1}
    assert ranked(made(straight(TAKE, put(T, SEQ), same(op("<", S, T))), straight(BUMP))).broken


def test_the_family_is_all_that_holds_or_is_compared_with_its_values():
    back = put(T, KEPT)
    assert family(made(straight(TAKE, STORE), straight(back, BUMP))) == {
        *((ALL, name) for name in ("plan.seq", "plan.kept")),
        (0, "own.s"),
        (1, "own.t"),
    }
    never_written = made(straight(put(T, KEPT), same(op("==", T, SEQ))), straight(BUMP))
    assert (ALL, "plan.kept") in family(never_written)


def test_none_is_0_and_stays_it():
    none = made(straight(TAKE, STORE, same(op("!=", KEPT, 0)), put(KEPT, 0)), straight(BUMP))
    assert len(ranked(none).broken) == len(explore(compile_system(none), to_end=True).broken)


def test_a_comparison_may_stand_anywhere():
    """In a wait, a choice, a store and a branch, and in what says whether a fault is under way."""
    moved = op("!=", KEPT, S)
    steps = [
        *straight(
            TAKE, STORE, Wait(op("or", moved, op("==", S, 0))), Choose(A, Const(0), Const(2), op("or", A, moved))
        ),
        fork(op(">", SEQ, KEPT), to(5, put(X, moved)), to(5)),
    ]
    full = replace(made(steps, straight(BUMP)), faulting=(moved, None))
    assert not ranked(full).broken


def test_a_bump_of_what_was_read_under_the_lock():
    bump = straight(acquire(LOCK), put(T, SEQ), put(SEQ, op("+", T, 2)), put(LOCK, 0))
    full = made(bump, bump, straight(TAKE, STORE))
    assert not ranked(full).limits
    assert {(0, "own.t"), (1, "own.t")} <= family(full)


def test_what_a_counter_begins_as_is_ranked():
    shared = tuple(replace(var, init={"plan.seq": 77, "plan.kept": 20}.get(var.name, var.init)) for var in SHARED)
    full = replace(made(straight(TAKE, STORE), straight(BUMP)), shared=shared)
    reduced, _, _ = rank_counters(full, ["plan.seq"])
    assert {var.name: var.init for var in reduced.shared if var.name != "plan.x"} == {
        "plan.seq": 2,
        "plan.kept": 1,
        "plan.lock": 0,
    }


def test_of_several_counters_each_has_its_family():
    other = Shared("plan.other")
    full = made(straight(TAKE, STORE, put(other, op("+", other, 1)), put(Shared("plan.held"), other)), straight(BUMP))
    more = Var("plan.other", "int", 0, HIGH), Var("plan.held", "int", 0, HIGH)
    full = replace(full, shared=(*full.shared, *more))
    _, families, staying = rank_counters(full, ["plan.seq", "plan.other"])
    assert not staying
    assert [len(each) for each in families] == [3, 2]


def test_the_pipeline_ranks_what_it_cannot_take_out():
    of_interval = reduce_system(interval(1, 1, 1, 1, 2, forever=True))
    assert len(of_interval.symmetry.ranked) == 1
    assert not any("generation" in note for note in of_interval.notes)
    assert reduce_system(kvm_seq(1, 1, 1, 1, 2)).symmetry.ranked == ()


# ---- traps


def test_a_constant():
    stays(made(straight(same(op("!=", SEQ, 2))), straight(BUMP, BUMP)), "not only compared with values of it")
    stays(made(straight(put(KEPT, 3)), straight((put(T, KEPT), same(op("==", T, SEQ))), BUMP)), "plan.kept may hold")


def test_parity_sums_indices_and_truth():
    half = op("==", SEQ, op("*", 2, A))
    stays(made(straight(Choose(A, Const(0), Const(3)), same(half)), straight(BUMP)), "not only compared")
    stays(made(straight(TAKE, STORE, put(X, op("-", SEQ, KEPT))), straight(BUMP)), "not only compared")
    stays(made([fork(SEQ, to(1), to(1, put(X, 1)))], straight(BUMP)), "not only compared")
    cell = Local("own.cells", S)
    cpus = [thread("CPU0", straight(TAKE, put(cell, 1)), *OWN, Var("own.cells", "int", 0, HIGH, size=3))]
    stays(system(SHARED, [*cpus, thread("CPU1", straight(BUMP), *OWN)], "leak"), "not only compared")


def test_an_index_within_the_family():
    """An array of its values is one thing, where in it to look another."""
    marks = Var("plan.marks", "int", 0, HIGH, 3)
    for at, good in ((A, True), (S, False)):
        mark = Shared("plan.marks", at)
        for stmt in (put(mark, S), put(T, mark), same(op("==", mark, SEQ)), same(op("==", 0, mark))):
            full = made(straight(TAKE, put(mark, SEQ) if good else STORE, stmt), straight(BUMP))
            full = replace(full, shared=(*full.shared, marks))
            if good:
                assert (ALL, "plan.marks") in family(full)
            else:
                stays(full, "not only compared")


def test_a_counter_that_shrinks():
    stays(made(straight(TAKE, STORE), straight(BUMP, put(SEQ, op("-", SEQ, 1)))), "does not only grow (plan.py:2)")
    stays(made(straight(TAKE, STORE), straight(BUMP, put(SEQ, 0))), "does not only grow")
    stays(made(straight(TAKE, STORE), straight(put(A, 1), put(SEQ, op("+", A, 1)))), "set otherwise than by adding")


def test_a_field_that_is_added_to():
    stays(made(straight(TAKE, STORE, put(KEPT, op("+", KEPT, 1))), straight(BUMP)), "plan.kept may hold something else")


def test_a_bump_that_may_be_lost():
    lost = straight(put(T, SEQ), put(SEQ, op("+", T, 1)))
    stays(made(lost, straight(BUMP), straight(TAKE, STORE)), "one bump be lost (plan.py:2)")
    twice = straight((put(T, SEQ), put(SEQ, op("+", T, 1)), put(SEQ, op("+", T, 1))))
    stays(made(twice, straight(TAKE, STORE)), "one bump be lost")


def test_a_bump_of_what_a_field_holds():
    """It may be an older value: the counter would come back to one that it had."""
    back = straight(put(KEPT, SEQ), BUMP, (put(T, KEPT), put(SEQ, op("+", T, 1))))
    stays(made(back, straight(TAKE, same(op("==", S, SEQ)))), "one bump be lost")
    stays(made(straight(put(KEPT, SEQ), put(SEQ, op("+", KEPT, 1)))), "one bump be lost")


def test_what_is_chosen_or_computed():
    kept = straight(TAKE, STORE)
    chosen = straight(Choose(T, Const(0), Const(2)), put(KEPT, T), BUMP)
    stays(made(kept, chosen), "plan.kept may hold something else (plan.py:2)")
    stays(made(straight(TAKE, STORE, Choose(S, Const(0), Const(2)), STORE), straight(BUMP)), "own.s may hold")
    either = Set(KEPT, Op("?:", (A, S, SEQ)))
    stays(made(straight(TAKE, STORE, either), straight(BUMP)), "plan.kept may hold something else")


def test_values_that_are_greater_than_the_counter_from_the_start():
    """7 is no value of the counter yet, and will be one."""
    full = made(straight(TAKE, STORE), straight(same(op("<=", KEPT, SEQ)), BUMP))
    shared = tuple(replace(var, init=7) if var.name == "plan.kept" else var for var in full.shared)
    stays(replace(full, shared=shared), "plan.kept begins as 7")
    cpus = [
        replace(cpu, locals=tuple(replace(var, init=1) if var.name == "own.s" else var for var in cpu.locals))
        for cpu in made(straight(TAKE, STORE), straight(BUMP), resets=False).threads
    ]
    stays(replace(full, threads=tuple(cpus)), "own.s begins as 1")


def test_types_and_widths():
    typed = tuple(replace(var, type="gfn") if var.name == "plan.kept" else var for var in SHARED)
    full = made(straight(TAKE, STORE), straight(BUMP))
    stays(replace(full, shared=typed), "plan.kept may hold something else (plan.py:2)")
    wide = tuple(replace(var, size=MOST) if var.name == "plan.kept" else var for var in SHARED)
    mark = Shared("plan.kept", Const(0))
    full = made(straight(TAKE, put(mark, S)), straight(BUMP))
    stays(replace(full, shared=wide), f"{MOST + 2} variables may hold its values")
    stays(made(straight(TAKE, STORE), straight(put(SEQ, op("+", SEQ, 60)))), "one step may add 60 to it")
    array = tuple(replace(var, size=2) if var.name == "plan.seq" else var for var in SHARED)
    one = Shared("plan.seq", Const(1))
    full = made(straight(put(one, op("+", one, 1))), straight(put(KEPT, one)))
    stays(replace(full, shared=array), "one bump be lost")
    stays(replace(made(straight(TAKE, STORE), straight(BUMP)), shared=array), "it is an array")


def test_a_local_of_that_name_in_another_thread_that_may_be_negative():
    full = made(straight(TAKE, STORE), straight(BUMP, put(S, op("-", 0, 3))))
    negative = tuple(replace(var, lo=-5) if var.name == "own.s" else var for var in OWN)
    threads = full.threads[0], replace(full.threads[1], locals=negative)
    stays(replace(full, threads=threads), "own.s of another CPU may be negative")


def test_checks_that_are_more_than_a_bound():
    """A limit below the first value, a limit that is no bound, a promised bound."""
    for check in (
        Check(op("<=", 5, SEQ), LIMIT, "from below"),
        Check(op("!=", SEQ, 3), LIMIT, "not three"),
        Check(op("<=", SEQ, 3), "leak", "small"),
        Check(op(">=", SEQ, 1), "balance", "never none"),
        Check(op("and", op("<=", SEQ, 9), op("==", X, 0)), LIMIT, "and x"),
    ):
        stays(made(straight(TAKE, STORE, (check, BUMP))), "not only compared")


@pytest.mark.parametrize("cond", [op("!=", SEQ, 3), op("!=", op("-", SEQ, KEPT), 3), op("!=", SEQ, op("*", 3, A))])
def test_what_ranks_would_hide(cond: Expr):
    """Three bumps break the rule, and ranks do not come to three: the conditions are needed."""
    full = made([*straight(put(A, 1), put(KEPT, SEQ)), to(2, put(X, 1), same(cond))], straight(BUMP, BUMP, BUMP))
    stays(full, "not only compared")
    assert explore(compile_system(full), to_end=True).broken
    assert not search(full, [((ALL, "plan.seq"), (ALL, "plan.kept"))]).broken


def test_a_local_that_looks_like_a_field_begins_as_a_local_does():
    """Of a local that is not dirty a packed state has nothing that could be renumbered."""
    kept = Var("plan.kept", "int", 0, HIGH, 1, 1)
    one = thread(
        "one", straight(put(KEPT, 0), same(op("==", Local("plan.kept"), SEQ)), put(Local("plan.kept"), SEQ)), kept
    )
    other = thread("other", straight((BUMP, put(KEPT, SEQ))))
    full = system([Var("plan.seq", "int", 0, HIGH, 1, 2), kept], [one, other], "leak")
    stays(full, "plan.kept begins as 1")
    assert explore(compile_system(full)).broken
    assert search_reduced(full, Limits(256 << 20, deadly=False)).rule == "leak"


@pytest.mark.parametrize("bumps", [3, 90])
def test_a_race_behind_many_bumps_is_led_back(bumps: int):
    """The concrete path has ranks as well: it is renumbered after each step."""
    full_ = Check(op("<=", op("+", SEQ, 1), HIGH), LIMIT, "width")
    round_ = to(0, full_, BUMP, put(KEPT, SEQ), put(A, op("+", A, 1)))
    one = [fork(op("<", A, bumps), round_, to(1)), *[to(2, put(S, KEPT)), to(3, same(op("!=", S, SEQ)))]]
    found = search_reduced(made(one), Limits(256 << 20, deadly=False))
    assert found.rule == "leak"
    assert found.schedule is not None
    assert len(found.schedule) == bumps + 3


def test_a_race_is_led_back_along_the_order_of_versions(monkeypatch):
    """Each block may have written any mark: without a look at their order all would be tried, one after the other."""
    count = 6
    marks = [Shared("plan.marks", Const(i)) for i in range(count)]
    rising = op("!=", marks[0], 0)
    for one, other in pairwise(marks):
        rising = op("and", rising, op("<", one, other))
    width = Check(op("<=", op("+", SEQ, 1), HIGH), LIMIT, "width")
    write = to(0, width, BUMP, put(Shared("plan.marks", A), SEQ))
    writer = thread("writer", [to(1, Choose(A, Const(0), Const(count))), write], *OWN, ends=False)
    looker = thread("looker", [to(0, same(op("not", rising)))], ends=False)
    shared = [Var("plan.seq", "int", 0, HIGH), Var("plan.marks", "int", 0, HIGH, count)]
    full = system(shared, [reset_dead_locals(writer), looker], "leak")
    assert reduce_system(full).symmetry.ranked
    begun, runs = [0], _Lifter.runs

    def counted(*given):
        begun[0] += 1
        return runs(*given)

    monkeypatch.setattr(_Lifter, "runs", counted)
    found = search_reduced(full, Limits(256 << 20, deadly=False))
    assert found.rule == "leak"
    assert found.schedule is not None
    assert begun[0] <= len(found.schedule)
