# SPDX-License-Identifier: Apache-2.0
"""Hold systems whose counters have become ranks against the full ones: their states are the full system's, ranked."""

from __future__ import annotations

from collections import Counter

import pytest
from support.campaigns import in_parts, seeds
from support.orbits import Quotient, explore_quotient
from support.reducible import ranking_system

from benchmarks.models.system import interval
from unpinned.check.search import Bounds, explore
from unpinned.check.successors import compile_system
from unpinned.ir.layout import BROKEN, Layout, layout
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, LIMIT
from unpinned.reduce.alike import SHARED, Key
from unpinned.reduce.blocks import merge_blocks
from unpinned.reduce.ranks import Ranks, rank_counters

SEEN: Counter[str] = Counter()


def image(full: System, reduced: System, family: frozenset[Key], state: bytes) -> bytes:
    """Return the state of the reduced system that stands for one of the full system, by its definition."""
    old, new = layout(full), layout(reduced)
    values: dict[tuple[Key, int], int] = {}
    for (t, here), there in zip(_blocks(old), (new.shared, *new.locals), strict=True):
        for name, slot in here.items():
            for i in range(slot.var.size):
                values[(t, name), i] = state[slot.at + i] - slot.bias
            assert there[name].var.size == slot.var.size
    held = {value for (key, _), value in values.items() if key in family}
    made = bytearray(new.size)
    made[BROKEN] = state[BROKEN]
    for t, slots in _blocks(new):
        for name, slot in slots.items():
            for i in range(slot.var.size):
                value = values[(t, name), i]
                if (t, name) in family and value:
                    value = sum(0 < other <= value for other in held)
                made[slot.at + i] = value + slot.bias
    for a, b, wide in zip(old.pc, new.pc, new.wide, strict=True):
        made[b : b + 1 + wide] = state[a : a + 1 + wide]
    return bytes(made)


def _blocks(lay: Layout) -> list[tuple[int, dict]]:
    return [(SHARED, lay.shared), *enumerate(lay.locals)]


def compare(full: System, most: int, counter: str = "plan.seq") -> Quotient | None:
    """Search a system with numbers and with ranks and compare; None if the counter stays, or it is too large."""
    reduced, families, staying = rank_counters(full, [counter])
    if not families:
        assert staying
        assert reduced is full
        SEEN.update(stays=1)
        return None
    whole = explore(compile_system(full), Bounds(states=most), to_end=True)
    if not whole.complete:
        return None
    successors = compile_system(reduced)
    ranks = Ranks(families, successors.lay)
    small = explore_quotient(successors.initial, successors.expand, ranks.renumbered)
    family = frozenset(families[0])
    of = {state: image(full, reduced, family, state) for state in whole.states}
    sound = {of[state] for state in whole.states if not state[BROKEN]}
    broken = {of[state] for state in whole.states if state[BROKEN] not in (0, CODES[LIMIT])}
    kept = {state for state in small.states if not state[BROKEN]}
    if whole.limits:
        assert sound <= kept
        assert broken <= set(small.broken)
    else:
        assert sound == kept
        assert broken == set(small.broken)
    SEEN.update(systems=1, limits=bool(whole.limits), broken=bool(broken), fewer=len(kept) < len(whole.states))
    SEEN.update(fields=any(t == SHARED for t, _ in family - {(SHARED, counter)}))
    return small


def compare_some(seeds: range, forever: bool, most: int) -> Counter[str]:
    """Compare made-up systems; return how many were what."""
    SEEN.clear()
    for seed in seeds:
        compare(ranking_system(seed, forever), most)
    return SEEN


def test_ranks_of_systems_that_end() -> None:
    seen = compare_some(range(600), forever=False, most=4_000)
    assert seen["systems"] > 200
    assert seen["stays"] > 100
    assert seen["fields"] > 100
    assert seen["fewer"] > 50
    assert seen["broken"] > 30
    assert seen["limits"] == 0


def test_ranks_of_systems_that_go_round_for_ever() -> None:
    seen = compare_some(range(250), forever=True, most=3_000)
    assert seen["systems"] > 20
    assert seen["limits"] > 10


@in_parts(10)
@pytest.mark.parametrize("forever", [False, True])
def test_ranks_of_many_systems(forever: bool, part: int) -> None:
    compare_some(seeds(part, 1_500), forever, most=6_000)


def test_ranks_in_blocks() -> None:
    """Merged steps may add more than once."""
    SEEN.clear()
    for seed in range(400):
        compare(merge_blocks(ranking_system(seed, forever=False))[0], 4_000)
    assert SEEN["systems"] > 100


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("bound", [(1, 1, 2, 1, 2), (2, 1, 1, 1, 2), (1, 2, 1, 2, 3)])
def test_ranks_of_the_interval_notifier(bound: tuple[int, int, int, int, int], forgetful: bool) -> None:
    full = interval(*bound, forgetful=forgetful)
    assert compare(full, 100_000, "model.generation") is not None
    assert compare(merge_blocks(full)[0], 100_000, "model.generation") is not None
