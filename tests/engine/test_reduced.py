# SPDX-License-Identifier: Apache-2.0
"""Reductions keep whether a rule of single states is broken, and what they find replays on the full program."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from support.campaigns import compare_many, in_parts, seeds
from support.made_plans import made_plans, read_made
from support.reducible import ranking_system
from support.searching import CLIENTS, PLANS, every_plan, judged, scenario
from support.symmetric import RACY, any_systems, small
from support.systems import op, put, systems, thread, to

from benchmarks.models.system import interval, kvm_seq
from unpinned import api
from unpinned.check import compiled, reduced
from unpinned.check.reduced import search_reduced
from unpinned.check.search import Bounds, explore
from unpinned.check.successors import compile_system
from unpinned.check.witness import broken_by, replay
from unpinned.engine.quotient import quotient
from unpinned.engine.search import Limits
from unpinned.errors import PlanError
from unpinned.ir.program import Check, Choose, Const, Local, Shared, System, Var
from unpinned.ir.rules import GRAPH_RULES
from unpinned.mm.system import build
from unpinned.reduce.symmetry import find_symmetry

_LIMITS = Limits(512 << 20)


def same_safety(system: System, most: int = 40_000, *, at_once: bool = False) -> str:
    """Assert that the reduced search agrees with the full one; return what both say, "" if that was too large."""
    safe = replace(system, promised=system.promised - GRAPH_RULES)
    graph = explore(compile_system(safe), Bounds(states=most))
    if graph.stopped:
        return ""
    found = search_reduced(safe, replace(_LIMITS, deadly=False, at_once=at_once))
    if graph.broken:
        if found.schedule is None:  # a bound of the model may stand before the broken rule
            assert graph.limits
            assert not found.complete
            return "limit"
        broke = broken_by(replay(safe, found.schedule)[-1])
        assert broke is not None
        assert broke.check.rule == found.rule
        assert len(found.schedule) >= graph.depth(graph.broken[0])
        return "race"
    assert found.schedule is None
    assert not found.unled or graph.limits
    # Counters that are abstracted meet no bound, so the reduced search may see all where the full one does not.
    assert found.complete or graph.limits
    if not graph.limits:
        assert found.states <= len(graph.states)
    return "holds" if not graph.limits else "limit"


#: CI takes every plan beside one operation; the others are for the long form.
@pytest.mark.parametrize(
    ("op", "any_frame"),
    [
        ("reclaim", False),
        pytest.param("zap", False, marks=pytest.mark.long),
        pytest.param("zap", True, marks=pytest.mark.long),
        pytest.param("reclaim", True, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("plan", every_plan())
def test_every_plan_of_the_repository(plan, op, any_frame):
    if plan.operations is not None and op not in plan.operations:
        op = plan.operations[0]
    assert same_safety(build(plan, scenario(f"1:1:{op}"), any_frame=any_frame))


#: CI takes every third; the others are for the long form.
SOME_CLIENTS = [
    pytest.param(*case, marks=() if i % 3 == 0 else pytest.mark.long)
    for i, case in enumerate(judged(*CLIENTS, "protect", "tasks", "ioproc"))
]


@pytest.mark.parametrize(("path", "name", "beside"), SOME_CLIENTS, ids=lambda value: getattr(value, "stem", value))
def test_clients(path, name, beside):
    (plan,) = api.plans(path, name)
    assert same_safety(build(plan, scenario(beside)), most=70_000)


def test_a_grace_period_gives_the_symmetry_of_vcpus_up():
    """What it waits for is a local array with an element for each CPU, which no exchange of slices moves."""
    for name, alike in (("Counted", True), ("Rcu", False)):
        system = build(api.one_plan(PLANS / "lifetime.py", name), scenario("2:1:deregister"))
        used = quotient(system, find_symmetry(system)).symmetry
        assert bool(used.threads) == alike
        assert any("is a local array of CPUs" in note for note in used.notes) != alike


@pytest.mark.parametrize("variant", ["", "literal", "free", "free literal"])
def test_the_models_of_the_benchmark(variant):
    options = dict.fromkeys(variant.split(), True)
    wanted = "race" if "literal" in variant else "holds"
    assert same_safety(kvm_seq(2, 1, 2, 1, 2, **options)) == wanted


@pytest.mark.parametrize("forgetful", [False, True])
def test_the_interval_notifier(forgetful):
    assert same_safety(interval(2, 1, 2, 1, 2, forgetful=forgetful)) == ("race" if forgetful else "holds")


@pytest.mark.parametrize(("forgetful", "rule"), [(False, ""), (True, "stale-use")])
def test_the_interval_notifier_with_invalidations_without_end(forgetful, rule):
    """The number that the subscription keeps is compared with the core's: ranks of both are enough."""
    system = interval(1, 1, 0, 1, 2, forgetful=forgetful, forever=True)
    assert explore(compile_system(system), Bounds(states=100_000)).limits or forgetful
    found = search_reduced(system, replace(_LIMITS, deadly=False))
    assert found.complete or forgetful
    assert found.rule == rule


def _compare_ranked(seeds: range, most: int) -> Counter[str]:
    """Compare the reduced search with the full one on systems round a counter; return how many said what."""
    return Counter(same_safety(ranking_system(seed, forever=seed % 3 == 0), most) for seed in seeds)


def test_random_systems_whose_counters_are_kept():
    seen = _compare_ranked(range(60), 1_500)
    assert seen["holds"] > 20
    assert seen["race"] > 5


@in_parts(10)
def test_many_random_systems_whose_counters_are_kept(part):
    _compare_ranked(seeds(part, 200), 5_000)


@pytest.mark.parametrize("make", RACY)
def test_what_a_wrong_name_would_hide(make):
    assert same_safety(make()) == "race"


def test_a_counter_without_bound_is_decided_where_numbers_are_not():
    system = kvm_seq(2, 1, 0, 1, 2, free=True, forever=True)
    graph = explore(compile_system(system))
    assert graph.limits
    found = search_reduced(system, replace(_LIMITS, deadly=False))
    assert found.complete
    assert found.schedule is None


# ---- orbits of several forms --------------------------------------------------------------------------


def _ring(frames: int) -> System:
    """Make three CPUs that take two frames each; in rings (1, 2), (2, 3), (3, 1) all three frames look alike.

    A rule is broken when all have.
    """
    one, other, done = Local("own.a"), Local("own.b"), Shared("mm.n")
    taken, again = Shared("mm.x", one), Shared("mm.y", other)
    last = Const(frames + 1)
    steps = [
        to(1, Choose(one, Const(1), last, op("not", taken)), put(taken, 1)),
        to(2, Choose(other, Const(1), last, op("and", op("not", again), op("!=", one, other))), put(again, 1)),
        to(3, put(done, op("+", done, 1))),
        to(4, Check(op("!=", done, 3), "leak", "all"), put(done, op("?:", op("==", one, other), 0, done))),
    ]
    own = Var("own.a", "page", 0, frames), Var("own.b", "page", 0, frames)
    shared = [Var(name, "bool", 0, 1, frames + 1, 0, ("frame",)) for name in ("mm.x", "mm.y")]
    threads = [thread(f"t{cpu}", steps, *own) for cpu in range(3)]
    return small([*shared, Var("mm.n", "int", 0, 3)], threads, "leak", pages=0, frames=frames)


@pytest.mark.parametrize("frames", [3, 4])
@pytest.mark.parametrize("compact", [False, True])
def test_a_path_through_an_orbit_of_several_forms_is_led_back(frames, compact):
    assert same_safety(_ring(frames), at_once=compact) == "race"


def test_where_there_are_too_many_names_to_try_the_full_search_decides(monkeypatch):
    monkeypatch.setattr(reduced, "_MOST_NAMES", 1)
    found = search_reduced(_ring(3), replace(_LIMITS, deadly=False))
    assert found.schedule is None
    assert "its frames have too many names" in found.unled
    monkeypatch.setattr(compiled, "_UNREDUCED", 0.0)
    whole = compiled.examine(_ring(3), _LIMITS)
    assert whole.race is not None
    assert whole.race.rule == "leak"


def _compare_plan(text: str) -> None:
    try:
        plan = read_made(text)
        made = [build(plan, scenario(beside)) for beside in ("1:1:zap", "1:1:zap+reclaim")]
    except PlanError:
        return
    for system in made:
        same_safety(system, most=15_000)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(made_plans())
def test_made_plans(text):
    _compare_plan(text)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_random_systems(made):
    same_safety(made, most=3000)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_systems())
def test_random_systems_that_may_be_symmetric(made):
    same_safety(made, most=1_000)


@in_parts(20)
def test_many_made_plans(part):
    compare_many(_compare_plan, made_plans(), part=part, examples=100)


def _compare_system(made: System) -> None:
    same_safety(made, most=3_000)


@in_parts(10)
def test_many_random_systems(part):
    compare_many(_compare_system, systems(), part=part, examples=300)


@in_parts(10)
def test_many_random_systems_that_may_be_symmetric(part):
    compare_many(_compare_system, any_systems(), part=part, examples=150)
