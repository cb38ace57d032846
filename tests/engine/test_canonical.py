# SPDX-License-Identifier: Apache-2.0
"""The compiled canonical form is in the orbit of its state, and mostly the same for the whole orbit.

The oracle is support/orbits.py, which tries every permutation. canon() is compiled with checks, and may touch its state
and its scratch memory only.
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from support.campaigns import compare_many, in_parts, seeds
from support.orbits import Orbits, explore_quotient
from support.reducible import ranking_system
from support.searching import DRIVERS
from support.symmetric import (
    RACY,
    any_systems,
    kvm_seq_counted,
    kvm_seq_free,
    number_above_all_frames,
    small,
    who_was_up,
)
from support.systems import fork, op, put, thread, to

from benchmarks.models.system import interval
from unpinned.check.search import Bounds, explore
from unpinned.check.successors import Successors, compile_system
from unpinned.engine import explorer
from unpinned.engine.explorer import scratch_words
from unpinned.engine.program import Program
from unpinned.engine.quotient import quotient
from unpinned.engine.search import Limits, Search
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import Check, Choose, Const, Expr, Local, Shared, System, Var
from unpinned.ir.rules import CODES, LIMIT
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.native.machine import compile_module, load
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.ranks import rank_counters
from unpinned.reduce.symmetry import find_symmetry

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
    found = Canonical(made).symmetry
    assert (found.threads, found.pages, found.frames) == (((0, 1),), False, False)
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
    states = random.Random(1).sample(whole_states(made, 6_000), 1_000)
    forms, orbits = forms_and_orbits(made, states[: 10_000 // len(Canonical(made).orbits.group)])
    assert forms == orbits
    assert_one_form(made, states[:3])


# ---- random systems


def _forms_are_in_orbits(made: System, most: int = 1_000) -> None:
    symmetry = find_symmetry(made)
    assume(symmetry.pages or symmetry.frames or symmetry.threads)
    forms, orbits = forms_and_orbits(made, whole_states(made, most), symmetry)
    assert orbits <= forms <= 2 * orbits


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_systems())
def test_forms_of_random_systems_are_in_their_orbits(made):
    _forms_are_in_orbits(made, 400)


@in_parts(10)
def test_forms_of_many_random_systems_are_in_their_orbits(part):
    compare_many(_forms_are_in_orbits, any_systems(), part=part, examples=150)


# ---- where frames cannot be told apart one by one


def _pairs(cpus: int, frames: int) -> System:
    """Make threads that take two frames each, the first and the second in variables of their own."""
    first, second = Local("own.first"), Local("own.second")
    steps = [
        to(1, Choose(first, Const(1), Const(frames + 1))),
        to(2, Choose(second, Const(1), Const(frames + 1))),
        to(3, put(Shared("mm.done"), 1)),
    ]
    own = [Var(f"own.{name}", "page", 0, frames) for name in ("first", "second")]
    threads = [thread(f"t{t}", steps, *own) for t in range(cpus)]
    return small([Var("mm.done", "bool", 0, 1)], threads, pages=0, frames=frames)


def test_forms_may_be_more_than_orbits_and_never_lie_outside():
    """Three frames in a ring of first and second look alike one by one, and cannot be exchanged two by two."""
    made = _pairs(3, 3)
    forms, orbits = forms_and_orbits(made, random.Random(2).sample(whole_states(made, 20_000), 1_500))
    assert orbits < forms < 1.1 * orbits


# ---- ranks


def ranked(full: System, counter: str = "plan.seq") -> tuple[System, Symmetry] | None:
    """Return a system whose counter has no bound, and what of it is alike; None if the counter stays."""
    made, families, _ = rank_counters(full, [counter])
    return (made, replace(find_symmetry(made), ranked=families)) if families else None


def ranked_alike(made: System, symmetry: Symmetry, most: int) -> int:
    """Compare the forms of states with ranks, and how many of them a search sees; return that number, 0 for too many.

    The oracle is a search of states that are renumbered, and renamed, by support/orbits.py.
    """
    successors = compile_system(made)
    orbits = Orbits(made, symmetry, successors.lay)
    found = explore_quotient(successors.initial, successors.expand, orbits.canonical, most)
    if len(found.states) >= most:
        return 0
    kept = [state for state in found.states if not state[BROKEN]]
    after = {after for state in kept for _, after in successors.expand(state) if not after[BROKEN]}
    forms, seen = forms_and_orbits(made, [*kept, *sorted(after)], symmetry)
    assert forms == seen == len(kept)
    program = Program(made, symmetry=symmetry)
    assert program.symmetry == symmetry
    search = Search(program, Limits(256 << 20, to_end=True))
    try:
        search.run()
        assert search.states == len(kept)
        bad = {CODES[LIMIT]} if found.limits else set()
        assert broken_codes(search, successors) == bad | {state[BROKEN] for state in found.broken}
    finally:
        search.close()
    return len(kept)


def ranked_at_random(seeds: range, most: int) -> Counter[str]:
    """Compare made-up systems; return how many were what."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        found = ranked(ranking_system(seed, forever=seed % 2 == 0))
        if found is not None and ranked_alike(*found, most):
            seen.update(systems=1, threads=bool(found[1].threads))
    return seen


def test_states_with_ranks_have_one_form_for_each_orbit():
    seen = ranked_at_random(range(60), 3_000)
    assert seen["systems"] > 20
    assert seen["threads"] > 2


@in_parts(5)
def test_states_with_ranks_of_many_systems(part):
    assert ranked_at_random(seeds(part, 300), 6_000)["systems"] > 100


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize(
    "bound", [(1, 1, 2, 1, 2), (2, 1, 2, 1, 2), pytest.param((1, 2, 1, 2, 3), marks=pytest.mark.long)]
)
def test_states_of_the_interval_notifier_have_one_form(bound, forever):
    found = ranked(interval(*bound, forever=forever), "model.generation")
    assert found is not None
    assert ranked_alike(*found, 100_000)


# ---- what a packed state cannot express


def _frame_that_is_there_from_the_start() -> System:
    """Make a thread that frees a frame, and has another one named before anything was stored."""
    steps = [
        to(1, Choose(Local("own.q"), Const(1), Const(3))),
        to(2, put(Shared("mm.busy", Local("own.q")), 1)),
        to(3, put(Shared("mm.last"), Local("own.p"))),
    ]
    own = [Var("own.p", "page", 0, 2, 1, 1), Var("own.q", "page", 0, 2)]
    shared = [Var("mm.busy", "bool", 0, 1, 3, 0, ("frame",)), Var("mm.last", "page", 0, 2)]
    return small(shared, [thread("a", steps, *own)], pages=0)


def _array_of_gfns() -> System:
    """Make a thread with a local array of pages, all page 0 at first."""
    gfn, element = Local("own.g"), Local("own.a", Const(0))
    steps = [
        to(1, Choose(gfn, Const(0), Const(2))),
        to(2, put(Shared("mm.flag", gfn), 1)),
        to(3, put(Shared("mm.last"), op("+", element, 1))),
    ]
    own = [Var("own.g", "gfn", 0, 2), Var("own.a", "gfn", 0, 2, 2)]
    shared = [Var("mm.flag", "bool", 0, 1, 2, 0, ("page",)), Var("mm.last", "int", 0, 3)]
    return small(shared, [thread("a", steps, *own)], frames=0)


def _next_of_each_frame() -> System:
    """Make a list of frames: an array that counts frames and holds frames."""
    frame, other = Local("own.p"), Local("own.q")
    steps = [
        to(1, Choose(frame, Const(1), Const(3))),
        to(2, Choose(other, Const(1), Const(3))),
        to(0, put(Shared("mm.next", frame), other)),
    ]
    own = [Var(f"own.{name}", "page", 0, 2) for name in "pq"]
    shared = [Var("mm.next", "page", 0, 2, 3, 0, ("frame",))]
    return small(shared, [thread("a", steps, *own, ends=False)], pages=0)


def _pages_of_cpus() -> System:
    """Make an array that counts pages first and CPUs second, so that no CPU's part stands together."""
    gfn = Local("own.g")

    def steps(cpu: int):
        element = Shared("mm.tlb", op("+", op("*", gfn, 2), cpu))
        return [to(1, Choose(gfn, Const(0), Const(2))), to(0, put(element, 1))]

    threads = [thread(f"t{cpu}", steps(cpu), Var("own.g", "gfn", 0, 2), ends=False) for cpu in range(2)]
    return small([Var("mm.tlb", "bool", 0, 1, 4, 0, ("page", "cpu"))], threads, frames=0)


def _own_array_of_frames() -> System:
    """Make a thread that notes in an array of its own which frames it had."""
    steps = [to(1, Choose(Local("own.p"), Const(1), Const(3))), to(0, put(Local("own.had", Local("own.p")), 1))]
    own = [Var("own.p", "page", 0, 2), Var("own.had", "bool", 0, 1, 3, 0, ("frame",))]
    return small([Var("mm.x", "bool", 0, 1)], [thread("a", steps, *own, ends=False)], pages=0)


def _number_that_is_no_frame() -> System:
    """Make a field of frames that also holds 20, which is none of them."""
    frame, last = Local("own.p"), Shared("mm.last")
    steps = [
        to(1, Choose(frame, Const(1), Const(3))),
        fork(Shared("mm.busy", frame), to(0, put(last, 20)), to(0, put(last, frame)), put(Shared("mm.busy", frame), 1)),
    ]
    shared = [Var("mm.busy", "bool", 0, 1, 3, 0, ("frame",)), Var("mm.last", "page", 0, 30)]
    return small(shared, [thread("a", steps, Var("own.p", "page", 0, 2), ends=False)], pages=0)


def _number_that_is_no_page() -> System:
    """Make a field of pages that also holds 20, which is none of them."""
    gfn, last = Local("own.g"), Shared("mm.last")
    steps = [
        to(1, Choose(gfn, Const(0), Const(2))),
        fork(Shared("mm.flag", gfn), to(0, put(last, 20)), to(0, put(last, gfn)), put(Shared("mm.flag", gfn), 1)),
    ]
    shared = [Var("mm.flag", "bool", 0, 1, 2, 0, ("page",)), Var("mm.last", "gfn", 0, 30, 1, 20)]
    return small(shared, [thread("a", steps, Var("own.g", "gfn", 0, 2), ends=False)], frames=0)


def _who_saw_whom() -> System:
    """Make threads that note in arrays of their own what they saw of each other."""

    def steps(cpu: int):
        other, mine = Const(1 - cpu), Shared("mm.up", Const(cpu))
        return [to(1, put(Local("own.saw", other), Shared("mm.up", other))), to(0, put(mine, op("not", mine)))]

    own = Var("own.saw", "bool", 0, 1, 2, 0, ("cpu",))
    threads = [thread(f"t{cpu}", steps(cpu), own, ends=False) for cpu in range(2)]
    return small([Var("mm.up", "bool", 0, 1, 2, 0, ("cpu",))], threads, pages=0, frames=0)


def _frames_before_pages() -> System:
    """Make an array that counts frames first and pages second."""
    frame, gfn = Local("own.p"), Local("own.g")
    steps = [
        to(1, Choose(frame, Const(1), Const(3)), Choose(gfn, Const(0), Const(2))),
        to(0, put(Shared("mm.seen", op("+", op("*", frame, 2), gfn)), 1)),
    ]
    own = [Var("own.p", "page", 0, 2), Var("own.g", "gfn", 0, 2)]
    shared = [Var("mm.seen", "bool", 0, 1, 6, 0, ("frame", "page"))]
    return small(shared, [thread("a", steps, *own, ends=False)])


_LOSES = [
    _frame_that_is_there_from_the_start,
    _array_of_gfns,
    _next_of_each_frame,
    _pages_of_cpus,
    _own_array_of_frames,
    _number_that_is_no_frame,
    _number_that_is_no_page,
]
_KEEPS = [_who_saw_whom, _frames_before_pages]


@pytest.mark.parametrize("make", [*_KEEPS, *_LOSES])
def test_what_cannot_be_renamed_is_given_up(make):
    """Symmetry.py finds all of these symmetric; what of it a packed state has no way to say must not be used."""
    made = make()
    symmetry = find_symmetry(made)
    assert symmetry.pages or symmetry.frames or symmetry.threads
    forms_and_orbits(made, whole_states(made, 3_000), symmetry)


def test_threads_are_not_exchanged_if_one_counts_threads_in_an_array_of_its_own():
    symmetry = Canonical(who_was_up()).symmetry
    assert symmetry.threads == ()
    assert symmetry.notes == ("threads: own.saw is a local array of CPUs",)


def test_a_number_above_all_frames_keeps_its_name():
    assert Canonical(number_above_all_frames()).symmetry.frames


def _row_of_a_page_that_is_never_stored() -> System:
    """Make an array with a row for each page, in two words; a page that is never stored says which row is written.

    The row of another page is written before: of an orbit the form is kept in which that one comes first.
    """
    gfn, frame, first = Local("own.g"), Local("own.p"), Shared("mm.first")

    def seen(page: Expr) -> Shared:
        return Shared("mm.seen", op("+", op("*", page, 4), frame))

    steps = [
        to(1, Choose(frame, Const(1), Const(4))),
        to(2, Choose(gfn, Const(0), Const(3), op("!=", gfn, first)), put(seen(gfn), 1)),
        to(3, put(seen(first), 255)),
        to(4, Choose(gfn, Const(0), Const(3))),
        to(5, Check(op("<", seen(gfn), 255), "leak", "the first page is seen")),
    ]
    own = [Var("own.g", "gfn", 0, 3), Var("own.p", "page", 0, 3)]
    shared = [
        Var("mm.seen", "int", 0, 255, 12, 0, ("page", "frame")),
        Var("mm.first", "gfn", 0, 3),
    ]
    return small(shared, [thread("a", steps, *own)], "leak", pages=3, frames=3)


# ---- searches


def searched(made: System, *, cores: int = 1) -> tuple[Search, Successors]:
    """Search to the end under every symmetry there is; the search is to be closed."""
    program = Program(made, symmetry=find_symmetry(made))
    search = Search(program, Limits(256 << 20, cores=cores, to_end=True))
    search.run()
    assert search.complete
    return search, compile_system(made)


def broken_codes(search: Search, successors: Successors) -> set[int]:
    """Return the codes of the rules and limits that a search has seen broken."""
    before = [i for counter in (explorer.BROKEN, explorer.LIMITS) for i in search.filed(counter)]
    return {after[BROKEN] for i in before for _, after in successors.expand(search.state(i))} - {0}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("bounds", "orbits"),
    [((2, 1, 1, 2, 2), 5_812), ((1, 2, 1, 2, 3), 10_812), ((2, 2, 1, 1, 3), 14_604), ((2, 2, 1, 2, 4), 133_542)],
)
def test_a_search_sees_as_many_orbits_of_kvm_seq_as_a_search_by_hand_counts(bounds, orbits, cores):
    search, _ = searched(kvm_seq_free(*bounds), cores=cores)
    try:
        assert search.states == orbits
    finally:
        search.close()


def searched_alike(made: System, most: int = 3_000) -> bool:
    """Assert that a search under symmetry breaks the rules that the full one breaks, in as many steps.

    Returns False for a system of more states than `most`, which is not compared.
    """
    graph = explore(compile_system(made), Bounds(states=most), to_end=True)
    if not graph.complete:
        return False
    search, successors = searched(made)
    try:
        assert broken_codes(search, successors) == {graph.states[i][BROKEN] for i in [*graph.broken, *graph.limits]} - {
            0
        }
        whole = [i for i, state in enumerate(graph.states) if not state[BROKEN]]
        assert search.depth == max(graph.depth(i) for i in whole)
        assert bool(search.count(explorer.DEAD)) == any(
            not graph.edges[i] and search.program.pack.lay.place(graph.states[i], t) < len(each.steps)
            for i in whole
            for t, each in enumerate(made.threads)
        )
        orbits = Orbits(made, search.program.symmetry, search.program.pack.lay)
        quotient_ = explore_quotient(successors.initial, successors.expand, orbits.canonical)
        kept = {orbits.canonical(search.state(number)) for number in search.numbers()}
        assert kept == {state for state in quotient_.states if not state[BROKEN]}
        for number in list(search.numbers())[::20]:
            for before, after in zip(search.path(number), search.path(number)[1:], strict=False):
                goals = [orbits.canonical(state) for _, state in successors.expand(search.state(before))]
                assert orbits.canonical(search.state(after)) in goals
        return True
    finally:
        search.close()


@pytest.mark.parametrize("literal", [False, True])
def test_kvm_seq_races_among_orbits_if_it_races(literal):
    assert searched_alike(kvm_seq_free(1, 1, 1, 2, 2, literal=literal))


@pytest.mark.parametrize("make", [*RACY, _row_of_a_page_that_is_never_stored])
def test_what_a_wrong_name_would_hide_is_found_among_orbits(make):
    forms_and_orbits(make(), whole_states(make(), 3_000))
    assert searched_alike(make())


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_systems())
def test_random_systems_break_the_same_rules_among_orbits(made):
    event(f"compared {searched_alike(made, most=1_000)}")


@in_parts(5)
def test_many_random_systems_break_the_same_rules_among_orbits(part):
    compare_many(searched_alike, any_systems(), part=part, examples=100)
