# SPDX-License-Identifier: Apache-2.0
"""The compiled engine sees exactly what the reference engine sees."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from support.campaigns import compare_many, in_parts
from support.engines import compare
from support.kvm_seq import kvm_seq
from support.systems import systems

from unpinned import api
from unpinned.ir.program import System
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build


@pytest.mark.parametrize(("bound", "states"), [((2, 1, 2, 1, 2), 11_031), ((2, 2, 1, 1, 3), 81_112)])
@pytest.mark.parametrize("cores", [1, 2])
def test_kvm_seq_has_the_states_that_other_checkers_count(bound, states, cores):
    assert compare(kvm_seq(*bound), cores=cores, most=100_000) == states


@pytest.mark.parametrize("to_end", [True, False])
def test_the_broken_variant_of_kvm_seq(to_end):
    assert compare(kvm_seq(2, 1, 2, 1, 2, literal=True), to_end=to_end)


#: vCPUs, pages and operations; whether to search past violations.
SCENARIOS = [("1 1 zap", True), ("1 1 zap reclaim", False), ("2 1 munmap", False)]


@pytest.mark.parametrize(("text", "to_end"), SCENARIOS)
@pytest.mark.parametrize("plan", api.plans("src/unpinned/drivers/kvm2008.py"), ids=lambda plan: plan.name)
def test_shipped_plans(plan, text, to_end):
    vcpus, pages, *ops = text.split()
    assert compare(build(plan, Scenario(int(vcpus), int(pages), tuple(ops))), to_end=to_end)


def _compare_random(made: System) -> None:
    for to_end in (True, False):
        compare(made, to_end=to_end, most=3000)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_random_systems(made):
    _compare_random(made)


@in_parts(10)
def test_many_random_systems(part):
    compare_many(_compare_random, systems(), part=part, examples=200)
