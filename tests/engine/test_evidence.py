# SPDX-License-Identifier: Apache-2.0
"""Both engines give the same evidence: verdict, counts, the very steps of a race, events and lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.searching import DRIVERS, EXAMPLES, PLANS, scenario

from unpinned import api
from unpinned.check import compiled, reference
from unpinned.check.search import Bounds
from unpinned.engine.search import Limits
from unpinned.ir.program import System
from unpinned.mm.system import build

FILES = [*DRIVERS.glob("*2008.py"), *sorted(EXAMPLES.glob("*.py")), *sorted(PLANS.glob("*.py"))]
_LIMITS = Limits(512 << 20)


def same_evidence(system: System, most: int = 40_000) -> bool:
    """Assert that both engines give the same evidence on a system; tell whether it was small enough to compare."""
    expected = reference.examine(system, Bounds(states=most))
    if expected.stopped:
        return False
    for cores in (1, 2):
        found = compiled.examine(system, replace(_LIMITS, cores=cores))
        assert replace(found, race=None) == replace(expected, race=None)
        if found.race is None or expected.race is None or expected.race.stuck is None is expected.race.cycle:
            assert found.race == expected.race
        else:  # there may be several such cycles, and which is met first depends on the order of the search
            assert (found.race.rule, found.race.states) == (expected.race.rule, expected.race.states)
            assert (found.race.stuck is None) == (expected.race.stuck is None)
    return True


PARAMETERS = [pytest.param(plan, id=plan.name) for file in FILES for plan in api.plans(file)]


#: CI takes every plan beside one operation; the other is for the long form.
@pytest.mark.parametrize("op", ["zap", pytest.param("reclaim", marks=pytest.mark.long)])
@pytest.mark.parametrize("plan", PARAMETERS)
def test_the_engines_agree_on_every_plan_of_the_repository(plan, op):
    if plan.operations is not None and op not in plan.operations:
        op = plan.operations[0]
    assert same_evidence(build(plan, scenario(f"1:1:{op}")))
