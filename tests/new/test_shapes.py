# SPDX-License-Identifier: Apache-2.0
"""Jumps become loops and copies, locks become blocks, and what is done stays the same, in the same order."""

from __future__ import annotations

import pytest
from support.c_shapes import Maker, Run, comparable

from unpinned.new.c.jumps import without_jumps
from unpinned.new.c.locks import balance, with_blocks
from unpinned.new.c.shape import Block, Code, Gap, Goto, If, Leave, Lock, Loop, Unlock, With, everything

BODIES = 1000
RUNS = 12


@pytest.mark.parametrize("part", range(4))
def test_what_is_done_stays_the_same(part: int) -> None:
    """Bodies that are made up run as C does and as a plan does, with the same answers to every condition."""
    kept = 0
    for seed in range(part * BODIES, (part + 1) * BODIES):
        body = Maker(seed).body()
        straight = without_jumps(body)
        if any(isinstance(stmt, Gap) for stmt in everything(straight)):
            continue
        blocks = with_blocks(straight)
        assert not any(isinstance(stmt, Lock | Unlock | Goto) for stmt in everything(blocks))
        if any(isinstance(stmt, Gap) for stmt in everything(blocks)):
            continue
        kept += 1
        for dice in range(RUNS):
            in_c, in_blocks = Run(dice), Run(dice)
            was, now = comparable(in_c.function(body)), comparable(in_blocks.function(blocks))
            shared = min(len(was), len(now)) if in_c.cut or in_blocks.cut else None
            assert was[:shared] == now[:shared], f"seed {seed}, dice {dice}"
    assert kept > BODIES // 3


def lines(*stmts) -> Block:
    return (*stmts, Leave("return", 99))


def test_a_lock_that_is_dropped_at_several_places() -> None:
    """lock; if (c) { unlock; put(); return; } work(); unlock: what is put is put outside."""
    early = If("c", 2, (Unlock("m", 3), Code("put", 4), Leave("return", 5)))
    body = with_blocks(lines(Lock("m", "", 1), early, Code("work", 6), Unlock("m", 7)))
    held, *behind = body
    assert isinstance(held, With)
    assert held.body == (If("c", 2, (), (Code("work", 6), Leave("return", 99))),)
    assert behind == [Code("put", 4), Leave("return", 5)]


def test_paths_that_go_on_behind_a_lock_are_told_apart_by_a_flag() -> None:
    early = If("c", 2, (Unlock("m", 3), Code("put", 4), Leave("return", 5)))
    body = with_blocks(lines(Lock("m", "", 1), early, Code("work", 6), Unlock("m", 7), Code("more", 8)))
    assert body[0] == Code("out_2 = False", 0)
    assert isinstance(body[1], With)
    assert body[1].body == (If("c", 2, (Code("out_2 = True", 0),), (Code("work", 6),)),)
    assert body[2] == If("out_2", 0, (Code("put", 4), Leave("return", 5)))
    assert body[3:] == (Code("more", 8), Leave("return", 99))


def test_a_plain_way_out_stays_in_the_block() -> None:
    early = If("c", 2, (Unlock("m", 3), Leave("return", 5)))
    body = with_blocks(lines(Lock("m", "", 1), early, Code("work", 6), Unlock("m", 7)))
    assert [type(stmt) for stmt in body] == [With]


def test_a_way_out_that_looks_at_shared_state_does_not() -> None:
    early = If("c", 2, (Unlock("m", 3), Leave("return", 5, "self.count")))
    body = with_blocks(lines(Lock("m", "", 1), early, Code("work", 6), Unlock("m", 7)))
    held, way_out = body
    assert isinstance(held, With)
    assert way_out == Leave("return", 5, "self.count")


def test_a_loop_that_drops_what_it_was_entered_with_is_turned() -> None:
    """The shape of a cache that translates again and again: unlock; gup(); lock; while (stale)."""
    loop = Loop(
        "while True",
        2,
        (
            Code("snapshot", 3),
            Unlock("m", 4),
            Code("gup", 5),
            Lock("m", "", 6),
            If("stale", 7, (Leave("continue", 7),)),
            Leave("break", 7),
        ),
    )
    body = with_blocks(lines(loop, Code("valid", 8)))
    first, again = body
    assert isinstance(first, With)
    assert first.lock.line == 0
    assert first.body == (Code("snapshot", 3),)
    assert isinstance(again, Loop)
    assert isinstance(again.body[0], Code)
    assert isinstance(again.body[1], With)
    assert Code("valid", 8) in set(everything(again.body[1].body))


def test_locks_that_do_not_nest_are_told() -> None:
    """Hand over hand: lock a, lock b, unlock a, unlock b."""
    body = with_blocks(lines(Lock("a", "", 1), Lock("b", "", 2), Unlock("a", 3), Code("work", 4), Unlock("b", 5)))
    gaps = [stmt for stmt in everything(body) if isinstance(stmt, Gap)]
    assert {gap.line for gap in gaps} in ({1, 3}, {2, 5})


def test_a_return_with_a_lock_held_is_told() -> None:
    (held,) = with_blocks((Lock("m", "", 1), Leave("return", 2)))
    assert isinstance(held, With)
    (way_out,) = held.body
    assert isinstance(way_out, Leave)
    assert way_out.note == "GAP line 2: returns with m held"


def test_balance() -> None:
    assert balance(lines(Lock("m", "", 1), Unlock("m", 2)))
    assert not balance(lines(Lock("m", "", 1)))
    assert not balance(lines(Unlock("m", 1), Lock("m", "", 2)))
    assert not balance(lines(Lock("m", "", 1), If("c", 2, (Leave("return", 3),)), Unlock("m", 4)))
