# SPDX-License-Identifier: Apache-2.0
"""Hold the three implementations of what programs mean against each other, on systems made up at random."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, reject, settings
from support.campaigns import compare_many, in_parts
from support.plain import TooManyError, explore
from support.systems import systems

from unpinned.check import search
from unpinned.check.successors import compile_system
from unpinned.ir.interp import outcomes
from unpinned.ir.program import System
from unpinned.ir.rules import LIMIT


def _agree(made: System) -> None:
    """Visit every state; interpreter and compiled steps give the same successors, in the same order."""
    try:
        found = explore(made, at_most=5_000)
    except TooManyError:
        reject()
    compiled = compile_system(made)
    graph = search.explore(compiled, to_end=True)
    for state in graph.states:
        told = [outcome.state for i in range(len(made.threads)) for outcome in outcomes(made, compiled.lay, state, i)]
        assert [new for _, new in compiled.expand(state)] == told
    assert graph.complete
    assert len(graph.states) == found.states
    assert len(graph.limits) == found.broken.pop(LIMIT, 0)
    if "deadlock" in made.promised and found.deadlocks:
        found.broken["deadlock"] = found.deadlocks
    assert Counter(map(graph.rule, graph.broken)) == found.broken


@settings(max_examples=100, deadline=None, derandomize=True)
@given(systems())
def test_random_systems(made: System) -> None:
    _agree(made)


@in_parts(4)
def test_many_random_systems(part: int) -> None:
    compare_many(_agree, systems(), part=part, examples=500)
