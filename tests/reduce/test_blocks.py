# SPDX-License-Identifier: Apache-2.0
"""Merge blocks of systems made by hand: where it applies, with counts, and traps in which a careless merge is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.kvm_seq import OLD, kvm_seq
from support.systems import acquire, fork, op, put, system, thread, to

from unpinned.check.graph import stuck
from unpinned.check.search import Graph, explore
from unpinned.check.successors import compile_system
from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Goto,
    Local,
    Note,
    Set,
    Shared,
    Stmt,
    System,
    Thread,
    Var,
    Wait,
    leaves,
)
from unpinned.reduce.blocks import MAX_PATHS, MAX_STEPS, merge_blocks

X, Y, Z = Shared("plan.x"), Shared("plan.y"), Shared("plan.z")
L, M = Shared("plan.lock"), Shared("plan.mutex")
SEM = Shared("plan.sem")
A, B = Local("own.a"), Local("own.b")
DATA = (Var("plan.x", "int", 0, 3), Var("plan.y", "int", 0, 3), Var("plan.z", "int", 0, 3))
LOCKS = (Var("plan.lock", "spinlock", 0, 1), Var("plan.mutex", "mutex", 0, 1), Var("plan.sem", "rwsem", 0, 5))
OWN = (Var("own.a", "int", 0, 3), Var("own.b", "int", 0, 3))


def made(*threads: list[Body], ends: bool = True, more: tuple[Var, ...] = ()) -> System:
    """Make a system of threads that promise `leak`."""
    cpus = (thread(f"CPU{i}", bodies, *OWN, ends=ends) for i, bodies in enumerate(threads))
    return system((*DATA, *LOCKS, *more), cpus, "leak")


def straight(*steps: tuple[Stmt, ...] | Stmt) -> list[Body]:
    """Make steps that follow one another."""
    return [to(i, *(step if isinstance(step, tuple) else (step,))) for i, step in enumerate(steps, start=1)]


def never(cond: Expr) -> Check:
    """Make a check that breaks `leak` when a condition holds."""
    return Check(op("not", cond), "leak", "seen")


def search(of: System) -> Graph:
    return explore(compile_system(of), to_end=True)


def glued(of: System, number: int, first: int, last: int) -> System:
    """Put steps without branches together, whether that is right or not, as a careless reduction would.

    A wait within comes to the front, where the program has them.
    """
    cpu = of.threads[number]
    stmts = [stmt for place in range(first, last + 1) for stmt in cpu.steps[place].body.stmts]
    stmts.sort(key=lambda stmt: not isinstance(stmt, Wait))
    steps = list(cpu.steps)
    steps[first] = replace(steps[first], body=Body(tuple(stmts), cpu.steps[last].body.end))
    threads = list(of.threads)
    threads[number] = replace(cpu, steps=tuple(steps))
    return replace(of, threads=tuple(threads))


def targets(cpu: Thread, place: int) -> set[int]:
    return {goto.target for _, goto in leaves(cpu.steps[place].body)}


def blocks(of: System, number: int = 0) -> dict[int, set[int]]:
    """Return where each block of a thread begins, and where it may end."""
    cpu = merge_blocks(of)[0].threads[number]
    found: dict[int, set[int]] = {}
    work = [0]
    for place in work:
        if place < len(cpu.steps) and place not in found:
            found[place] = targets(cpu, place)
            work += sorted(found[place])
    return found


# ---- where it applies -------------------------------------------------------------------------------------------

BUMP = put(X, op("-", 3, X))


@pytest.mark.parametrize("count", [2, 3])
def test_a_lock_section_is_one_step(count: int) -> None:
    """Each CPU is before its section or behind it, and x tells nothing new: 2 ** n states."""
    section = straight(acquire(L), put(A, X), put(X, op("-", 3, A)), (put(L, 0), put(A, 0)))
    full = made(*[section] * count)
    assert blocks(full) == {0: {4}}
    merged, notes = merge_blocks(full)
    assert notes == ()
    assert len(search(merged).states) == 2**count
    assert len(search(full).states) > 2 ** (count + 1)


def test_steps_keep_their_number_and_their_place() -> None:
    full = made(straight(acquire(L), BUMP, put(L, 0)), straight(acquire(L), BUMP, put(L, 0)))
    merged, _ = merge_blocks(full)
    for old, new in zip(full.threads, merged.threads, strict=True):
        assert [step.pos for step in new.steps] == [step.pos for step in old.steps]
        assert new.steps[1:] == old.steps[1:]
        assert (new.done, new.locals) == (old.done, old.locals)
    assert merged.shared == full.shared


def test_local_steps_join_the_step_before() -> None:
    """CPU0 counts to itself between two writes that CPU1 sees: two blocks."""
    steps = straight(put(X, 1), put(A, 1), Choose(B, Const(0), Const(3)), put(X, 2), put(A, 2), put(B, 0))
    full = made(steps, straight(put(Y, X)))
    assert blocks(full) == {0: {3}, 3: {6}}


def test_a_cpu_that_is_alone_with_its_variables_takes_one_step() -> None:
    full = made(straight(put(X, 1), put(Y, X), put(Z, Y)), straight(put(A, 1), put(B, 2)))
    assert blocks(full) == {0: {3}}
    assert len(search(merge_blocks(full)[0]).states) == 4


def test_one_step_that_does_not_move_stands_in_the_middle() -> None:
    """The lock moves right, x is seen by CPU1 without it, y is not, the release moves left."""
    steps = straight(acquire(L), put(Y, 1), put(X, 1), put(Y, 2), put(L, 0))
    full = made(steps, straight(put(A, X), acquire(L), put(Y, 3), put(L, 0)))
    assert blocks(full) == {0: {5}}
    two = made(straight(acquire(L), put(X, 1), put(X, 2), put(L, 0)), straight(put(A, X)))
    assert blocks(two) == {0: {2}, 2: {4}}


def test_those_who_share_a_lock_read_in_one_step_each() -> None:
    """Two readers and a writer of x, all under the semaphore."""
    many = Wait(op("<", SEM, 5)), put(SEM, op("+", SEM, 1))
    reader = straight(many, put(A, X), put(B, X), put(SEM, op("-", SEM, 1)))
    writer = straight((Wait(op("==", SEM, 0)), put(SEM, 5)), put(X, 1), put(X, 2), put(SEM, 0))
    full = made(reader, reader, writer)
    assert [blocks(full, i) for i in range(3)] == [{0: {4}}] * 3
    # Before or behind its section, and of a reader behind it what it saw: before the writer 0, else 2.
    assert len(search(merge_blocks(full)[0]).states) == 4 + (1 + 2) ** 2


def test_different_elements_of_an_array_do_not_meet() -> None:
    array = Var("plan.w", "int", 0, 3, size=4)

    def cell(index: int) -> Shared:
        return Shared("plan.w", Const(index))

    full = made(straight(put(cell(0), 1), put(cell(1), 1)), straight(put(cell(2), 1), put(cell(3), 1)), more=(array,))
    assert blocks(full) == {0: {2}}
    own = Shared("plan.w", op("+", 2, op("==", A, 1)))
    full = made(straight(put(cell(0), 1), put(cell(1), 1)), straight(put(own, 1), put(own, 2)), more=(array,))
    assert blocks(full) == {0: {2}}
    assert blocks(full, 1) == {0: {2}}
    any_ = Shared("plan.w", A)
    full = made(straight(put(cell(0), 1), put(cell(1), 1)), straight(put(any_, 1), put(any_, 2)), more=(array,))
    assert blocks(full) == {0: {1}, 1: {2}}


def test_a_step_joins_on_the_sides_on_which_it_touches_nothing() -> None:
    """What is freed is seen by the other CPU; where there is nothing to free, that is known before."""
    free = fork(A, to(2, put(X, 0), put(A, 0)), to(2), Note("free"), Cover("freed"))
    full = made([to(1, Choose(A, Const(0), Const(2)), put(Y, 1)), free], straight(put(Z, op("+", X, Y))))
    assert blocks(full) == {0: {1, 2}, 1: {2}}
    merged = merge_blocks(full)[0].threads[0].steps[0].body
    assert merged.end == Branch(A, Body((), Goto(1)), Body((Note("free"), Cover("freed")), Goto(2)))


def test_a_side_joins_only_if_nothing_is_done_before_it() -> None:
    late = fork(A, to(2, put(X, 0)), to(2), put(B, 1))
    full = made([to(1, Choose(A, Const(0), Const(2)), put(Y, 1)), late], straight(put(Z, op("+", X, Y))))
    assert blocks(full) == {0: {1}, 1: {2}}


def test_nothing_moves_twice_round_a_loop() -> None:
    full = made([to(1, put(A, 1)), to(0, put(A, 0))], straight(put(Y, X)))
    assert blocks(full) == {0: {0}}


def test_a_check_that_is_not_promised_is_no_access() -> None:
    looks = straight(Check(op("==", X, 0), "balance", "x"), put(A, 1))
    full = made(straight(put(X, 1), put(X, 2)), looks)
    assert blocks(full) == {0: {2}}
    assert blocks(replace(full, promised=frozenset({"balance"}))) == {0: {1}, 1: {2}}


def free_only_what_is_there(of: System) -> System:
    """Return kvm-seq with `if old: owner[old] = 0` in place of `owner[old] = 0`."""

    def freed(body: Body) -> Body:
        frees = [s for s in body.stmts if isinstance(s, Set) and s.target.name == "mm.owner"]
        if not frees:
            return body
        return fork(OLD, body, Body(tuple(stmt for stmt in body.stmts if stmt not in frees), body.end))

    threads = (
        replace(cpu, steps=tuple(replace(step, body=freed(step.body)) for step in cpu.steps)) if cpu.done else cpu
        for cpu in of.threads
    )
    return replace(of, threads=tuple(threads))


@pytest.mark.parametrize(
    ("bound", "plain", "settled"), [((2, 1, 2, 1, 2), 3113, 2567), ((2, 2, 1, 1, 3), 17147, 14171)]
)
def test_kvm_seq_has_the_blocks_that_were_found_by_hand(
    bound: tuple[int, int, int, int, int], plain: int, settled: int
) -> None:
    """A search written by hand in C++, with blocks and local steps merged, counts from where all have chosen."""
    full = free_only_what_is_there(kvm_seq(*bound))
    merged, notes = merge_blocks(full)
    assert notes == ()
    assert len(search(merged).states) == plain
    single, together = compile_system(full), compile_system(merged)
    starts = {single.initial}
    for _, _, steps in single.threads:
        chosen: list[tuple[int, bytes]] = []
        for state in starts:
            steps[0](state, chosen)
        starts = {state for _, state in chosen}
    seen, work = set(starts), list(starts)
    for state in work:
        fresh = {after for _, after in together.expand(state)} - seen
        seen |= fresh
        work += fresh
    assert len(seen) == settled


# ---- traps ------------------------------------------------------------------------------------------------------


def breaks(of: System) -> bool:
    return bool(search(of).broken)


def test_what_is_read_without_the_lock_does_not_move() -> None:
    """As sptes are read by guests: between the two writes, CPU1 sees one and not the other."""
    writer = straight(acquire(L), put(X, 1), put(Y, 1), put(L, 0))
    full = made(writer, straight(put(A, X), never(op("and", A, op("not", Y)))))
    assert breaks(full)
    assert not breaks(glued(full, 0, 0, 3))
    assert blocks(full) == {0: {2}, 2: {4}}
    assert breaks(merge_blocks(full)[0])


def test_an_invariant_reads_what_it_checks() -> None:
    """CPU1's own write is under the lock; its check of x is not."""
    looks = straight((put(Z, 1), never(op("!=", X, Y))))
    full = made(straight(acquire(L), put(X, 1), put(Y, 1), put(L, 0)), looks)
    assert breaks(full)
    assert not breaks(glued(full, 0, 0, 3))
    assert breaks(merge_blocks(full)[0])


def test_two_locks_taken_in_opposite_orders_still_deadlock() -> None:
    one = straight(acquire(L), acquire(M), put(X, 1), put(M, 0), put(L, 0))
    other = straight(acquire(M), acquire(L), put(X, 2), put(L, 0), put(M, 0))
    full = made(one, other)
    assert stuck(search(full)) is not None
    assert stuck(search(glued(full, 0, 0, 1))) is None
    assert blocks(full) == {0: {1}, 1: {5}}
    assert stuck(search(merge_blocks(full)[0])) is not None


def test_a_wait_begins_a_block() -> None:
    """CPU0 holds the lock while it waits for x, which CPU1 sets under the lock."""
    full = made(straight(acquire(L), Wait(X), put(L, 0)), straight(acquire(L), put(X, 1), put(L, 0)))
    assert stuck(search(full)) is not None
    assert stuck(search(glued(full, 0, 0, 1))) is None
    assert blocks(full) == {0: {1}, 1: {3}}
    assert stuck(search(merge_blocks(full)[0])) is not None


def test_a_choice_that_may_find_nothing_begins_a_block() -> None:
    """The same with a choice among the values that x allows: none at first."""
    choice = Choose(A, Const(0), Const(2), op("<", A, X))
    full = made(straight(acquire(L), choice, put(L, 0)), straight(acquire(L), put(X, 1), put(L, 0)))
    assert stuck(search(full)) is not None
    assert stuck(search(glued(full, 0, 0, 1))) is None
    assert stuck(search(merge_blocks(full)[0])) is not None
    narrow = Choose(A, B, Const(1))
    assert blocks(made(straight(put(B, 1), narrow))) == {0: {1}, 1: {2}}
    wide = Choose(A, Const(0), op("+", B, 1))
    assert blocks(made(straight(put(B, 1), wide))) == {0: {2}}


def not_a_lock(full: System, why: str, end: int) -> None:
    """Hold that a lock is none: the first block of CPU0 ends within its section, and the race is found."""
    merged, notes = merge_blocks(full)
    assert any(note.startswith("plan.lock") and why in note for note in notes)
    assert blocks(full)[0] == {end}
    assert breaks(full)
    assert breaks(merged)


WRITER = straight(acquire(L), put(X, 1), put(X, 0), put(L, 0))


def test_a_lock_that_somebody_looks_at_is_none() -> None:
    full = made(straight(acquire(L), put(X, 1), put(L, 0)), straight(never(L)))
    assert not breaks(glued(full, 0, 0, 2))
    not_a_lock(full, "looked at (plan.py:1)", 2)


def test_a_lock_that_is_waited_for_and_not_taken_is_none() -> None:
    """CPU1 waits until nobody holds the lock, and reads x without it."""
    full = made(WRITER, straight(Wait(op("not", L)), never(X)))
    not_a_lock(full, "waited for and not taken", 1)


def test_a_lock_that_is_tried_is_none() -> None:
    """CPU1 tells by a trylock that CPU0 is in its section."""
    tries = [fork(L, to(2, never(op("==", Y, 0))), to(1, put(L, 1))), to(2, put(L, 0))]
    full = made(straight(acquire(L), put(X, 1), put(L, 0)), tries)
    assert not breaks(glued(full, 0, 0, 2))
    not_a_lock(full, "looked at", 2)


def test_a_lock_that_another_cpu_releases_is_none() -> None:
    """CPU1 lets CPU2 into the section of CPU0, which sees x between two writes."""
    full = made(WRITER, straight(put(L, 0)), straight(acquire(L), never(X), put(L, 0)))
    assert not breaks(glued(full, 0, 0, 3))
    not_a_lock(full, "released where it might not be held", 1)


def test_a_lock_that_is_held_on_one_path_only_is_not_held() -> None:
    """CPU0 takes the lock or not, and releases it all the same."""
    sloppy = [
        fork(A, to(1), to(2), Choose(A, Const(0), Const(2))),
        to(2, *acquire(L)),
        to(3, put(X, 1)),
        to(4, put(X, 0)),
        to(5, put(L, 0)),
    ]
    full = made(sloppy, straight(acquire(L), never(X), put(L, 0)))
    assert breaks(full)
    merged, notes = merge_blocks(full)
    assert any("released where it might not be held" in note for note in notes)
    assert breaks(merged)


def test_a_lock_that_is_taken_twice_with_others_is_released_once() -> None:
    many = Wait(op("<", SEM, 5)), put(SEM, op("+", SEM, 1))
    less = put(SEM, op("-", SEM, 1))
    _, notes = merge_blocks(made(straight(many, many, less, less)))
    assert "released where it might not be held" in notes[0]


def test_a_lock_shared_by_two_does_not_keep_them_apart() -> None:
    """Two CPUs write x under the semaphore that both only share."""
    many = Wait(op("<", SEM, 5)), put(SEM, op("+", SEM, 1))
    less = put(SEM, op("-", SEM, 1))
    full = made(straight(many, put(X, 1), put(X, 0), less), straight(many, never(X), less))
    assert breaks(full)
    assert not breaks(glued(full, 0, 0, 3))
    assert blocks(full) == {0: {2}, 2: {4}}
    assert breaks(merge_blocks(full)[0])


def test_nothing_that_does_not_move_follows_the_release() -> None:
    """What CPU0 writes under the lock is seen under it before what it writes behind it."""
    writer = straight(acquire(L), put(X, 1), put(L, 0), put(Y, 1))
    reader = straight(acquire(L), put(A, X), put(L, 0), never(op("and", A, op("not", Y))))
    full = made(writer, reader)
    assert breaks(full)
    assert not breaks(glued(full, 0, 0, 3))
    assert blocks(full) == {0: {3}, 3: {4}}
    assert breaks(merge_blocks(full)[0])


def test_a_lock_that_is_held_at_first_is_none() -> None:
    """Nobody can take it; to merge would do no harm here, but nothing is known of who holds it."""
    full = made(straight(acquire(L), put(X, 1)), straight(acquire(L), put(Y, X)))
    held = replace(full, shared=tuple(replace(var, init=1) if var.name == "plan.lock" else var for var in full.shared))
    assert blocks(held) == {0: {1}, 1: {2}}


def test_a_block_does_not_grow_without_bound() -> None:
    """Two ways at each step, none of which anybody sees."""
    steps = [fork(A, to(i), to(i, put(A, 0)), Choose(A, Const(0), Const(2))) for i in range(1, 15)]
    merged, notes = merge_blocks(made(steps, straight(put(Y, 1))))
    assert all(len(list(leaves(step.body))) <= MAX_PATHS for step in merged.threads[0].steps)
    assert len(notes) >= 1
    assert "ends early: it would have too many ways to go (plan.py:" in notes[0]
    assert search(merged).complete


def test_a_block_does_not_have_any_number_of_steps() -> None:
    merged, notes = merge_blocks(made(straight(*[put(A, i % 2) for i in range(200)])))
    assert targets(merged.threads[0], 0) == {MAX_STEPS}
    assert "too many steps" in notes[0]


def test_merging_again_changes_nothing() -> None:
    """What is known of a step's locks holds for a step that takes one and goes on under it too."""
    full = kvm_seq(2, 1, 1, 1, 2)
    merged, _ = merge_blocks(full)
    again, _ = merge_blocks(merged)
    assert set(search(again).states) == set(search(merged).states)
