# SPDX-License-Identifier: Apache-2.0
"""Hold systems without their counters against the full ones: their states are the images of the full system's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.campaigns import in_parts, seeds
from support.kvm_seq import kvm_seq
from support.reducible import counting_system, locked_system

from unpinned.check.graph import stuck
from unpinned.check.search import Bounds, Graph, explore
from unpinned.check.successors import compile_system
from unpinned.ir.layout import BROKEN, layout
from unpinned.ir.liveness import live_locals
from unpinned.ir.program import Body, Branch, Check, Note, System, Thread
from unpinned.ir.rules import CODES, LIMIT
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.blocks import merge_blocks
from unpinned.reduce.snapshots import abstract_counters

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / "src/unpinned/drivers/kvm2008.py",
    *sorted((ROOT / "examples").glob("*.py")),
    *sorted((ROOT / "tests/plans").glob("*.py")),
]
SEEN: Counter[str] = Counter()


def without_words(thread: Thread, promised: frozenset[str]) -> Thread:
    """Return a thread without what engines do not look at."""

    def rewrite(body: Body) -> Body:
        end = body.end
        if isinstance(end, Branch):
            end = replace(end, then=rewrite(end.then), orelse=rewrite(end.orelse))
        dead = (
            isinstance(stmt, Note) or (isinstance(stmt, Check) and stmt.rule != LIMIT and stmt.rule not in promised)
            for stmt in body.stmts
        )
        return Body(tuple(stmt for stmt, gone in zip(body.stmts, dead, strict=True) if not gone), end)

    return replace(thread, steps=tuple(replace(step, body=rewrite(step.body)) for step in thread.steps))


def image(full: System, reduced: System, counter: str) -> Callable[[bytes], bytes]:
    """Return the function from states of the full system to those of the reduced one, by its definition."""
    old, new = layout(full), layout(reduced)
    live = [live_locals(without_words(thread, full.promised)) for thread in full.threads]
    copies = [
        (a[name].at, b[name].at, a[name].var.size)
        for a, b in zip((old.shared, *old.locals), (new.shared, *new.locals), strict=True)
        for name in a.keys() & b.keys()
    ]
    snapshots = [
        (t, name, slot.at + t, old.locals[t][name])
        for slot in new.shared.values()
        if slot.var.name.startswith("stale.")
        for name in [slot.var.name.removeprefix("stale.")]
        for t in range(len(full.threads))
        if name in old.locals[t].keys() - new.locals[t].keys()
    ]
    seq = old.shared[counter]

    def of(state: bytes) -> bytes:
        made = bytearray(new.size)
        made[BROKEN] = state[BROKEN]
        for a, b, size in copies:
            made[b : b + size] = state[a : a + size]
        for t in range(len(full.threads)):
            place = old.place(state, t)
            made[new.pc[t]] = place & 255
            if new.wide[t]:
                made[new.pc[t] + 1] = place >> 8
        for t, name, element, slot in snapshots:
            if name in live[t][old.place(state, t)] and not state[BROKEN]:
                fresh = state[slot.at] - slot.bias == state[seq.at] - seq.bias
                made[element] = 1 if fresh else 2
        return bytes(made)

    return of


def without_snapshots(reduced: System, state: bytes) -> bytes:
    """Return a state with nothing in place of its snapshots."""
    made = bytearray(state)
    for name, slot in layout(reduced).shared.items():
        if name.startswith("stale."):
            made[slot.at : slot.at + slot.var.size] = bytes(slot.var.size)
    return bytes(made)


def unbroken(graph: Graph) -> set[bytes]:
    return {state for state in graph.states if not state[BROKEN]}


def compare(full: System, most: int, counter: str = "plan.seq") -> tuple[Graph, Graph] | None:
    """Search a system with and without its counter and compare; None if the counter stays, or it is too large."""
    reduced, _ = abstract_counters(full)
    if counter in layout(reduced).shared:
        SEEN.update(stays=1)
        return None
    try:
        whole = explore(compile_system(full), Bounds(states=most), to_end=True)
    except ValueError:
        return None
    if not whole.complete:
        return None
    small = explore(compile_system(reduced), to_end=True)
    of = image(full, reduced, counter)
    images = {of(state) for state in unbroken(whole)}
    broken = {of(s) for s in whole.states if s[BROKEN] not in (0, CODES[LIMIT])}
    bad = {without_snapshots(reduced, s) for s in small.states if s[BROKEN] not in (0, CODES[LIMIT])}
    if whole.limits:
        assert images <= unbroken(small)
        assert broken <= bad
    else:
        assert images == unbroken(small)
        assert broken == bad
        assert (stuck(whole) is None) == (stuck(small) is None)
    SEEN.update(systems=1, limits=bool(whole.limits), broken=bool(broken), full=len(whole.states))
    SEEN.update(reduced=len(small.states), fewer=len(small.states) < len(whole.states))
    return whole, small


def compare_some(seeds: range, forever: bool, most: int) -> Counter[str]:
    """Compare made-up systems; return how many were what."""
    SEEN.clear()
    for seed in seeds:
        compare(counting_system(seed, forever), most)
    return SEEN


def test_snapshots_of_systems_that_end() -> None:
    seen = compare_some(range(600), forever=False, most=4_000)
    assert seen["systems"] > 100
    assert seen["stays"] > 100
    assert seen["fewer"] > 30
    assert seen["broken"] > 20
    assert seen["limits"] == 0


def test_snapshots_of_systems_that_go_round_for_ever() -> None:
    seen = compare_some(range(250), forever=True, most=3_000)
    assert seen["systems"] > 20
    assert seen["limits"] > 10


@in_parts(10)
@pytest.mark.parametrize("forever", [False, True])
def test_snapshots_of_many_systems(forever: bool, part: int) -> None:
    compare_some(seeds(part, 1_500), forever, most=6_000)


def test_snapshots_in_blocks() -> None:
    """The counter goes out of merged steps as it goes out of single ones."""
    SEEN.clear()
    for seed in range(400):
        compare(merge_blocks(counting_system(seed, forever=False))[0], 4_000)
    assert SEEN["systems"] > 100


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("bound", [(1, 1, 1, 1, 2), (2, 1, 1, 1, 2), (1, 2, 1, 1, 2), (1, 1, 2, 2, 3)])
def test_snapshots_of_kvm_seq(bound: tuple[int, int, int, int, int], literal: bool) -> None:
    full = kvm_seq(*bound, literal=literal)
    assert compare(full, 30_000) is not None
    assert compare(merge_blocks(full)[0], 30_000) is not None


def _cases() -> dict[str, System]:
    cases = {}
    for plan in (plan for path in FILES for plan in read_plans(path)):
        for op in ("zap", "reclaim", "munmap"):
            if plan.operations is None or op in plan.operations:
                cases[f"{plan.name}-{op}"] = build(plan, Scenario(1, 1, (op,)))
    return {name: case for name, case in cases.items() if any(v.name == "plan.seq" for v in case.shared)}


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
def test_snapshots_of_plans(name: str) -> None:
    full = CASES[name]
    if compare(full, 100_000) is not None:
        assert compare(merge_blocks(full)[0], 100_000) is not None


def test_systems_without_a_counter_stay_as_they_are() -> None:
    for seed in range(20):
        made = locked_system(seed)
        assert abstract_counters(made) == (made, {})
