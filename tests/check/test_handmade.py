# SPDX-License-Identifier: Apache-2.0
"""Hold what the engine makes of a plan against the same plan modelled by hand, from the reader to the last state.

support/handmade.py shares nothing with unpinned: where the lowering, the mm's side, the resets or the search went wrong
in a way that all engines share, the counts would differ here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from support import handmade
from support.handmade import Plan
from support.searching import DRIVERS, EXAMPLES, scenario

from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans

PLANS = {
    "Kvm2008Posted": Plan(),
    "Kvm2008Both": Plan(bump_in_start=True, bump_in_end=True),
    "Kvm2008": Plan(bump_in_end=True),
    "BumpInStart": Plan(bump_in_start=True),
    "SeqWithoutCount": Plan(bump_in_end=True, tests_count=False),
    "CountWithoutSeq": Plan(bump_in_end=True, tests_seq=False),
}
READ = {plan.name: plan for path in [DRIVERS / "kvm2008.py", *EXAMPLES.glob("*.py")] for plan in read_plans(path)}


def agree(name: str, beside: str, *, any_frame: bool = True) -> None:
    """Compare the number of states, and of those that break each rule."""
    who = scenario(beside)
    graph = explore(compile_system(build(READ[name], who, any_frame=any_frame)), to_end=True)
    assert not graph.limits
    found = handmade.Found(len(graph.states), Counter(graph.rule(i) for i in graph.broken))
    assert handmade.explore(replace(PLANS[name], any_frame=any_frame), who.vcpus, who.ops) == found


@pytest.mark.parametrize("beside", ["1:1:zap", "1:1:munmap", "1:1:reclaim", "2:1:"])
@pytest.mark.parametrize("name", list(PLANS))
@pytest.mark.parametrize("any_frame", [True, False])
def test_one_operation(name: str, beside: str, any_frame: bool) -> None:
    agree(name, beside, any_frame=any_frame)


@pytest.mark.parametrize("beside", ["1:1:zap+zap", "1:1:zap+reclaim", "1:1:munmap+reclaim"])
@pytest.mark.parametrize("any_frame", [True, False])
def test_two_operations(beside: str, any_frame: bool) -> None:
    agree("Kvm2008", beside, any_frame=any_frame)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "beside", ["1:1:zap+zap", "1:1:zap+reclaim", "1:1:zap+munmap", "2:1:reclaim", "2:1:munmap", "2:1:zap"]
)
@pytest.mark.parametrize("name", list(PLANS))
@pytest.mark.parametrize("any_frame", [True, False])
def test_larger_scenarios(name: str, beside: str, any_frame: bool) -> None:
    agree(name, beside, any_frame=any_frame)
