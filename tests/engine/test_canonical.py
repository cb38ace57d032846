# SPDX-License-Identifier: Apache-2.0
"""The compiled canonical form is in the orbit of its state, and mostly the same for the whole orbit.

The oracle is reduce/orbits.py, which tries every permutation. canon() is compiled with checks, and may touch its state
and its scratch memory only.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from support.searching import DRIVERS
from support.symmetric import kvm_seq_counted, kvm_seq_free, small, symmetric_systems
from support.systems import fork, op, put, thread, to

from unpinned.check.search import Bounds, explore
from unpinned.check.successors import Successors, compile_system
from unpinned.engine import explorer
from unpinned.engine.canonical import scratch_words
from unpinned.engine.program import Program
from unpinned.engine.quotient import quotient
from unpinned.engine.search import Limits, Search
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import Check, Choose, Const, Local, Shared, System, Var
from unpinned.ir.rules import CODES, LIMIT
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.native.machine import compile_module, load
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.orbits import Orbits, explore_quotient
from unpinned.reduce.symmetry import Symmetry, find_symmetry

#: Words before a state and before the scratch memory, to see that `at` and `s` are heeded.
_BEFORE = 2


class Canonical:
    """canon() of a system in a debug build, beside the orbits of what it uses of a symmetry."""

    def __init__(self, made: System, symmetry: Symmetry | None = None) -> None:
        found = quotient(made, symmetry or find_symmetry(made))
        self.pack, self.symmetry = found.pack, found.symmetry
        self.orbits = Orbits(made, found.symmetry, found.pack.lay)
        self.renames = bool(found.canon)
        words = found.pack.words
        copied = "".join(f"    p[at + {k}] = q[b + {k}]\n" for k in range(words))
        text = f"def copy_state(p: u64p, at: u64, q: u64p, b: u64) -> u64:\n{copied}    return 0\n{found.canon}"
        self._state = (ctypes.c_uint64 * (_BEFORE + words))()
        self._spare = (ctypes.c_uint64 * (_BEFORE + scratch_words(words)))()
        if self.renames:
            loaded = load(compile_module(text, {"canon": 4}, level=0, debug=True))
            loaded.region(ctypes.addressof(self._state) + 8 * _BEFORE, 8 * words)
            loaded.region(ctypes.addressof(self._spare) + 8 * _BEFORE, 8 * scratch_words(words))
            self._canon = loaded.function("canon")

    def form(self, state: bytes) -> bytes:
        """Return the state that stands for a state."""
        for k, word in enumerate(self.pack.pack(state)):
            self._state[_BEFORE + k] = word
        if self.renames:
            self._canon(ctypes.addressof(self._state), _BEFORE, ctypes.addressof(self._spare), _BEFORE)
        return self.pack.unpack(self._state[_BEFORE:])


def whole_states(made: System, most: int) -> list[bytes]:
    """Return states that are reached and not broken."""
    graph = explore(compile_system(made), Bounds(states=most), to_end=True)
    return [state for state in graph.states if not state[BROKEN]]


def forms_and_orbits(made: System, states: Sequence[bytes], symmetry: Symmetry | None = None) -> tuple[int, int]:
    """Assert that each state's form is in its orbit; return how many forms and how many orbits there are."""
    canonical = Canonical(made, symmetry)
    forms, orbits = set(), set()
    for state in states:
        form, orbit = canonical.form(state), canonical.orbits.canonical(state)
        assert canonical.orbits.canonical(form) == orbit
        assert canonical.form(form) == form
        forms.add(form)
        orbits.add(orbit)
    return len(forms), len(orbits)


def assert_one_form(made: System, states: Sequence[bytes]) -> None:
    """Assert that all states of an orbit have one form."""
    canonical = Canonical(made)
    assert canonical.renames
    for state in states:
        moved = {canonical.orbits.apply(permutation, state) for permutation in canonical.orbits.group}
        assert len({canonical.form(each) for each in moved}) == 1


# ---- kvm-seq and the shipped plans


@pytest.mark.parametrize(
    ("bounds", "orbits"), [((1, 1, 1, 2, 2), 644), ((2, 1, 2, 1, 2), 4_066), ((2, 1, 1, 2, 2), 5_812)]
)
def test_kvm_seq_has_one_form_for_each_orbit(bounds, orbits):
    made = kvm_seq_free(*bounds)
    canonical = Canonical(made)
    forms = set()
    for number, state in enumerate(whole_states(made, 100_000)):
        form = canonical.form(state)
        forms.add(form)
        if number % 40 == 0:
            assert canonical.orbits.canonical(form) == canonical.orbits.canonical(state)
    assert len(forms) == orbits


@pytest.mark.parametrize("bounds", [(2, 2, 1, 2, 3), (3, 1, 1, 2, 4), (1, 1, 1, 3, 3), (2, 1, 1, 1, 5)])
def test_permuted_states_of_kvm_seq_have_one_form(bounds):
    made = kvm_seq_free(*bounds)
    assert_one_form(made, random.Random(1).sample(whole_states(made, 5_000), 25))


def test_threads_alone_are_sorted():
    made = kvm_seq_counted(2, 1, 2, 1, 2)
    assert Canonical(made).symmetry == Symmetry(((0, 1),), pages=False, frames=False)
    assert forms_and_orbits(made, whole_states(made, 20_000)) == (5_910, 5_910)


_PLANS = [
    ("Kvm2008", 1, 1, ("zap", "zap")),
    ("Kvm2008Posted", 1, 1, ("zap", "zap")),
    ("Kvm2008Both", 1, 2, ("reclaim", "reclaim")),
    ("Kvm2008", 1, 2, ("zap", "reclaim", "zap")),
    ("Kvm2008Posted", 2, 1, ("munmap", "munmap")),
]


def shipped(name: str, vcpus: int, pages: int, ops: tuple[str, ...]) -> System:
    plan = next(plan for plan in read_plans(DRIVERS / "kvm2008.py") if plan.name == name)
    return build(plan, Scenario(vcpus, pages, ops), any_frame=True)


@pytest.mark.parametrize(("name", "vcpus", "pages", "ops"), _PLANS)
def test_states_of_the_shipped_plans_have_one_form_for_each_orbit(name, vcpus, pages, ops):
    made = shipped(name, vcpus, pages, ops)
    states = random.Random(1).sample(whole_states(made, 6_000), 600)
    forms, orbits = forms_and_orbits(made, states)
    assert forms == orbits < len(states)
    assert_one_form(made, states[:15])


# ---- random systems


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(symmetric_systems(odd=True))
def test_forms_of_random_systems_are_in_their_orbits(made):
    symmetry = find_symmetry(made)
    assume(symmetry.pages or symmetry.frames or symmetry.threads)
    states = whole_states(made, 400)
    forms, orbits = forms_and_orbits(made, states, symmetry)
    event(f"{forms - orbits} forms too many")
    assert orbits <= forms <= 2 * orbits


@pytest.mark.long
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(symmetric_systems(odd=True))
@pytest.mark.timeout(3600)
def test_forms_of_many_random_systems_are_in_their_orbits(made):
    symmetry = find_symmetry(made)
    assume(symmetry.pages or symmetry.frames or symmetry.threads)
    assume_states = whole_states(made, 1_000)
    forms, orbits = forms_and_orbits(made, assume_states, symmetry)
    assert orbits <= forms <= 2 * orbits
