# SPDX-License-Identifier: Apache-2.0
"""What a symmetry exchanges is exchanged by every step, and a search of orbits sees each orbit once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from support.made_plans import made_plans, read_made
from support.orbits import Orbits, explore_quotient, moves
from support.searching import DRIVERS
from support.symmetric import kvm_seq_counted, kvm_seq_free, symmetric_systems
from support.systems import systems

from unpinned.check.search import Bounds, explore
from unpinned.check.successors import Successors, compile_system
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import System
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.symmetry import find_symmetry


def orbits_of(system: System, symmetry: Symmetry | None = None) -> tuple[Successors, Orbits]:
    compiled = compile_system(system)
    return compiled, Orbits(system, symmetry or find_symmetry(system), compiled.lay)


def assert_automorphic(compiled: Successors, orbits: Orbits, states: list[bytes], most: int = 48) -> None:
    """Assert that the successors of a permuted state are the permuted successors."""
    some = orbits.group if len(orbits.group) <= most else random.Random(1).sample(orbits.group, most)
    same = orbits.group[0]
    for state, permutation in product(states, some):
        moved = orbits.apply(permutation, state)
        after = Counter(orbits.apply(same, successor) for _, successor in compiled.expand(moved))
        assert after == Counter(orbits.apply(permutation, successor) for _, successor in compiled.expand(state))


def walks(compiled: Successors, steps: int, seed: int = 0) -> list[bytes]:
    """Return the states on random walks."""
    choice = random.Random(seed)
    states, state = [], compiled.initial
    for _ in range(steps):
        states.append(state)
        onward = compiled.expand(state)
        state = choice.choice(onward)[1] if onward else compiled.initial
    return states


def assert_each_orbit_once(system: System, symmetry: Symmetry | None = None) -> tuple[int, int]:
    """Compare a search of orbits with a full one; return how many orbits and states there are."""
    compiled, orbits = orbits_of(system, symmetry)
    graph = explore(compiled, to_end=True)
    assert graph.complete
    quotient = explore_quotient(compiled.initial, compiled.expand, orbits.canonical)
    assert set(quotient.states) == {orbits.canonical(state) for state in graph.states}
    assert {state[BROKEN] for state in quotient.states} == {state[BROKEN] for state in graph.states}
    return len(quotient.states), len(graph.states)


# ---- kvm-seq ------------------------------------------------------------------------------------------


# The numbers of orbits were counted by a search written by hand in C++ for this model alone, in which frames are
# ordered by a signature and threads are sorted. It counts 13,304,655 states at (2, 2, 1, 2, 4), and 133,542 orbits.
@pytest.mark.parametrize(
    ("bounds", "orbits", "states"),
    [
        ((1, 1, 1, 2, 2), 644, 2_328),
        ((2, 1, 2, 1, 2), 4_066, 14_193),
        ((2, 1, 1, 2, 2), 5_812, 42_158),
    ],
)
def test_kvm_seq_has_as_many_orbits_as_a_search_by_hand_counts(bounds, orbits, states):
    assert assert_each_orbit_once(kvm_seq_free(*bounds)) == (orbits, states)


@pytest.mark.parametrize(("bounds", "orbits"), [((1, 2, 1, 2, 3), 10_812), ((2, 2, 1, 1, 3), 14_604)])
def test_orbits_of_larger_bounds_are_counted_without_the_full_search(bounds, orbits):
    compiled, of = orbits_of(kvm_seq_free(*bounds))
    assert len(explore_quotient(compiled.initial, compiled.expand, of.canonical).states) == orbits


def test_the_threads_of_kvm_seq_as_it_is_are_symmetric():
    system = kvm_seq_counted(2, 1, 2, 1, 2)
    assert find_symmetry(system).threads == ((0, 1),)
    assert assert_each_orbit_once(system) == (5_910, 11_031)


def test_the_broken_variant_is_broken_among_orbits_too():
    system = kvm_seq_free(1, 1, 1, 2, 2, literal=True)
    compiled, orbits = orbits_of(system)
    assert explore_quotient(compiled.initial, compiled.expand, orbits.canonical).broken
    assert_each_orbit_once(system)


@pytest.mark.parametrize("bounds", [(2, 1, 1, 2, 3), (2, 2, 2, 2, 2), (1, 1, 1, 3, 3)])
def test_permutations_of_kvm_seq_are_automorphisms(bounds):
    compiled, orbits = orbits_of(kvm_seq_free(*bounds))
    assert_automorphic(compiled, orbits, walks(compiled, 150))


def test_a_dead_gfn_keeps_its_value():
    """A guest chooses a page in its first step, and before that its gfn is 0, which is no page."""
    system = kvm_seq_free(1, 1, 1, 2, 2)
    compiled, orbits = orbits_of(system)
    assert {orbits.apply(permutation, compiled.initial) for permutation in orbits.group} == {compiled.initial}
    site = next(site for site in orbits.sites if (site.name, site.thread) == ("own.g", 0))
    assert site.at is not None
    assert 0 not in site.at
    assert 1 in site.at


def test_every_variable_is_told_how_it_moves():
    system = kvm_seq_free(1, 1, 1, 2, 3)
    sites = {(site.name, site.thread): site for site in moves(system, find_symmetry(system))}
    assert sites["mm.spte", None].dims == (("page", 2),)
    assert sites["mm.spte", None].value == "page"
    assert sites["mm.owner", None].dims == (("frame", 4),)
    assert sites["mm.owner", None].value == "offset gfn"
    assert sites["own.p", 0].value == "page"
    assert sites["own.seen", 1].dims == (("page", 2),)
    assert sites["plan.seq", None].value == "plain"
    assert len(sites) == 6 + 3 + 5


# ---- plans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vcpus", "pages", "ops"),
    [
        ("Kvm2008", 1, 1, ("zap", "zap")),
        ("Kvm2008", 1, 2, ("zap", "reclaim", "zap")),
        ("Kvm2008Posted", 2, 1, ("munmap", "reclaim")),
        ("Kvm2008Both", 1, 2, ("reclaim", "reclaim")),
    ],
)
def test_permutations_of_the_shipped_plans_are_automorphisms(name, vcpus, pages, ops):
    plan = next(plan for plan in read_plans(DRIVERS / "kvm2008.py") if plan.name == name)
    system = build(plan, Scenario(vcpus, pages, ops), any_frame=True)
    symmetry = find_symmetry(system)
    assert symmetry.frames
    assert symmetry.threads == tuple(
        tuple(vcpus + i for i, op in enumerate(ops) if op == name) for name in set(ops) if ops.count(name) > 1
    )
    compiled, orbits = orbits_of(system, symmetry)
    assert_automorphic(compiled, orbits, walks(compiled, 120))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(made_plans())
def test_permutations_of_made_plans_are_automorphisms(text):
    system = build(read_made(text), Scenario(1, 1, ("zap", "zap")), any_frame=True)
    symmetry = find_symmetry(system)
    event(f"frames {symmetry.frames}, threads {symmetry.threads}")
    compiled, orbits = orbits_of(system, symmetry)
    assert_automorphic(compiled, orbits, walks(compiled, 40))


# ---- random systems -----------------------------------------------------------------------------------


def reachable(compiled: Successors) -> list[bytes]:
    graph = explore(compiled, Bounds(states=4_000), to_end=True)
    assume(graph.complete)
    return graph.states


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(symmetric_systems(odd=True))
def test_what_is_found_symmetric_in_odd_systems_is(system):
    symmetry = find_symmetry(system)
    event(f"{symmetry.pages} {symmetry.frames} {bool(symmetry.threads)}")
    compiled, orbits = orbits_of(system, symmetry)
    states = reachable(compiled)
    assert_automorphic(compiled, orbits, states[:: len(states) // 60 + 1])
    quotient = explore_quotient(compiled.initial, compiled.expand, orbits.canonical)
    assert set(quotient.states) == {orbits.canonical(state) for state in states}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(symmetric_systems())
def test_systems_that_are_symmetric_by_their_making_are_found_so(system):
    symmetry = find_symmetry(system)
    assert symmetry.pages, symmetry.notes
    assert symmetry.frames, symmetry.notes
    assert symmetry.threads, symmetry.notes
    compiled, orbits = orbits_of(system, symmetry)
    states = reachable(compiled)
    assert_automorphic(compiled, orbits, states[:: len(states) // 40 + 1])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_systems_that_know_nothing_of_pages_have_no_symmetry_but_of_like_threads(system):
    symmetry = find_symmetry(system)
    assert not symmetry.pages
    assert not symmetry.frames
    twice = replace(system, threads=(*system.threads, system.threads[0]), faulting=(*system.faulting, None))
    assert (0, len(system.threads)) in [(members[0], members[-1]) for members in find_symmetry(twice).threads]


def test_odd_systems_lose_each_symmetry_by_itself():
    """The tests above see systems in which one symmetry is left and another is not."""
    seen: Counter[tuple[bool, bool, bool]] = Counter()

    @settings(max_examples=200, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(symmetric_systems(odd=True))
    def look(system: System) -> None:
        symmetry = find_symmetry(system)
        seen[symmetry.pages, symmetry.frames, bool(symmetry.threads)] += 1

    look()
    assert len(seen) >= 6
    assert min(seen[True, True, True], seen[False, True, True], seen[True, False, True], seen[False, False, True]) > 0
