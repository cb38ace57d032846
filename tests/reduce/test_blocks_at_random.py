# SPDX-License-Identifier: Apache-2.0
"""Hold merged blocks against the full system: the same states between blocks, the same verdicts, the same dead ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from support.campaigns import RUN, compare_many, in_parts, seeds
from support.kvm_seq import kvm_seq
from support.reducible import locked_system, stmts
from support.systems import systems

from unpinned.check.graph import stuck
from unpinned.check.search import Bounds, Graph, explore
from unpinned.check.successors import compile_system
from unpinned.errors import Pos
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import Body, Mark, System, leaves
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.blocks import merge_blocks

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "src/unpinned/drivers/kvm2008.py", *sorted((ROOT / "examples").glob("*.py"))]
BAD = sorted((ROOT / "tests/plans").glob("*.py"))
SEEN: Counter[str] = Counter()


def marked(made: System) -> System:
    """Mark each step with its number, so that it can be seen where it went."""

    def with_mark(body: Body, place: int) -> Body:
        return Body((Mark(Pos("step", place)), *body.stmts), body.end)

    threads = (
        replace(
            thread,
            steps=tuple(replace(step, body=with_mark(step.body, place)) for place, step in enumerate(thread.steps)),
        )
        for thread in made.threads
    )
    return replace(made, threads=tuple(threads))


def inside(merged: System) -> Iterator[set[int]]:
    """Yield for each thread the places that are within some block, and those that begin none."""
    for thread in merged.threads:
        begun, work, within = {0}, [0], set[int]()
        for place in work:
            if place == len(thread.steps):
                continue
            body = thread.steps[place].body
            within |= {s.pos.line for s in stmts(body) if isinstance(s, Mark) and s.pos.file == "step"} - {place}
            targets = {goto.target for _, goto in leaves(body)} - begun
            begun |= targets
            work += sorted(targets)
        yield within | set(range(len(thread.steps))) - begun


def unbroken(graph: Graph) -> set[bytes]:
    return {state for state in graph.states if not state[BROKEN]}


def dead_ends(graph: Graph) -> set[bytes]:
    return {state for i, state in enumerate(graph.states) if not state[BROKEN] and not graph.edges[i]}


def passed(graph: Graph) -> set[object]:
    """Return what a search ran through: the marks of the steps, and events."""
    return {what for flat in graph.edges for leaf in flat[::2] for what in graph.successors.leaves[leaf].passed}


def compare(made: System, most: int) -> tuple[Graph, Graph] | None:
    """Search a system and its blocks and compare them; None if it is too large, or a value does not fit."""
    made = marked(made)
    merged, _ = merge_blocks(made)
    try:
        whole = explore(compile_system(made), Bounds(states=most), to_end=True)
    except ValueError:
        return None
    if not whole.complete:
        return None
    blocks = explore(compile_system(merged), to_end=True)
    breaks = any(state[BROKEN] for state in whole.states)
    assert any(state[BROKEN] for state in blocks.states) == breaks
    states = unbroken(whole)
    assert unbroken(blocks) <= states
    within, lay = list(inside(merged)), whole.successors.lay
    between = {s for s in states if all(lay.place(s, t) not in places for t, places in enumerate(within))}
    assert between <= unbroken(blocks)
    assert dead_ends(blocks) == dead_ends(whole)
    assert (stuck(blocks) is None) == (stuck(whole) is None)
    assert breaks or passed(blocks) == passed(whole)
    fewer = len(blocks.states) < len(whole.states)
    SEEN.update(systems=1, fewer=fewer, broken=breaks, stuck=stuck(whole) is not None)
    SEEN.update(full=len(whole.states), reduced=len(blocks.states))
    return whole, blocks


def compare_some(seeds: range, most: int) -> Counter[str]:
    """Compare made-up systems with locks; return how many were what."""
    SEEN.clear()
    for seed in seeds:
        compare(locked_system(seed), most)
    return SEEN


def test_blocks_of_systems_with_locks() -> None:
    seen = compare_some(range(600), 2_500)
    assert seen["systems"] > 500
    assert seen["fewer"] > 500
    assert seen["reduced"] < seen["full"] // 2
    assert min(seen["broken"], seen["stuck"], seen["systems"] - seen["stuck"]) > 50


@in_parts(10)
def test_blocks_of_many_systems_with_locks(part: int) -> None:
    compare_some(seeds(part, 2_000), 4_000)


@settings(max_examples=100, deadline=None, derandomize=True, phases=RUN, suppress_health_check=list(HealthCheck))
@given(systems())
def test_blocks_of_random_systems(made: System) -> None:
    assume(compare(made, 1_500) is not None)


@in_parts(10)
def test_blocks_of_many_random_systems(part: int) -> None:
    compare_many(lambda made: assume(compare(made, 2_500) is not None), systems(), part=part, examples=500)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("bound", [(1, 1, 1, 1, 2), (2, 1, 1, 1, 2), (1, 2, 1, 1, 2), (1, 1, 2, 2, 3)])
def test_blocks_of_kvm_seq(bound: tuple[int, int, int, int, int], literal: bool) -> None:
    found = compare(kvm_seq(*bound, literal=literal), 30_000)
    assert found is not None


def _cases(files: list[Path]) -> dict[str, System]:
    """Return the plans of some files, each beside one operation that it admits."""
    cases = {}
    for plan in (plan for path in files for plan in read_plans(path)):
        for op in ("zap", "reclaim", "munmap"):
            if plan.operations is None or op in plan.operations:
                cases[f"{plan.name}-{op}"] = build(plan, Scenario(1, 1, (op,)))
    return cases


CASES = _cases(SHIPPED)
BAD_CASES = _cases(BAD)


@pytest.mark.parametrize(
    "name", [*CASES, *(pytest.param(name, marks=pytest.mark.long) for name in BAD_CASES if name not in CASES)]
)
def test_blocks_of_plans(name: str) -> None:
    """Lock sections, sleeping locks, calls: every plan gets smaller, and says the same."""
    found = compare((CASES | BAD_CASES)[name], 300_000)
    assert found is not None
    whole, blocks = found
    assert len(blocks.states) < len(whole.states)
