# SPDX-License-Identifier: Apache-2.0
"""What a state packs to is unique, unpacks to the same state, and no bit belongs to two fields."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from support.kvm_seq import kvm_seq
from support.searching import DRIVERS, scenario
from support.symmetric import any_systems, kvm_seq_free, small
from support.systems import fork, op, put, system, systems, thread, to

from unpinned import api
from unpinned.check.search import Bounds, explore
from unpinned.check.successors import compile_system
from unpinned.engine.dirty import dirty_locals
from unpinned.engine.packing import WORD, Field, Packing, packing, width
from unpinned.engine.quotient import quotient
from unpinned.ir.bounds import bounds
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import Choose, Const, Local, Shared, System, Var
from unpinned.mm.system import build
from unpinned.reduce.symmetry import find_symmetry

_X, _Y, _I = Local("own.x"), Local("own.y"), Local("own.i")


def bits(at: Field) -> int:
    """Return the bits of a field in the words side by side."""
    return at.mask << at.shift + WORD * at.word


def assert_apart(pack: Packing) -> None:
    """Assert that no two fields have a bit in common, and that what renames states finds all that it moves."""
    found = [row.field(i) for row in pack.rows.values() for i in range(row.var.size)]
    for part in pack.slices:
        found += [part.pc, *part.registers]
    assert all(at.shift + at.bits <= WORD and at.word < pack.words for at in found if at.bits)
    taken = 0
    for at in found:
        assert not taken & bits(at)
        taken |= bits(at)
    for part in pack.slices:
        # At one place no two cells stand in one register, and places have numbers of their own.
        assert all(len(set(held.values())) == len(held) for held in part.held.values())
        assert len(set(part.places.values())) == len(part.places) <= 1 << part.pc.bits
        whole = sum(bits(at) for at in part.parts)
        assert all(bits(at) & whole == bits(at) for at in (part.pc, *part.registers))
    for one, other in combinations(pack.slices, 2):
        assert not any(bits(a) & bits(b) for a in one.parts for b in other.parts)


def reached(made: System, most: int = 3_000) -> list[bytes]:
    """Return states that are reached and not broken: all, or many."""
    graph = explore(compile_system(made), Bounds(states=most), to_end=True)
    return [state for state in graph.states if not state[BROKEN]]


def assert_packs(made: System, pack: Packing | None = None, most: int = 3_000) -> Packing:
    """Assert that every state comes back from a packed state of its own; return the packing."""
    pack = pack or packing(made)
    assert_apart(pack)
    states = reached(made, most)
    packed = [pack.pack(state) for state in states]
    assert all(len(words) == pack.words and all(0 <= word < 1 << WORD for word in words) for words in packed)
    assert [pack.unpack(words) for words in packed] == states
    assert len(set(packed)) == len(states)
    return pack


# ---- systems of many kinds


@pytest.mark.parametrize("beside", ["1:1:zap+zap", "2:1:munmap+reclaim", "1:2:reclaim"])
@pytest.mark.parametrize("plan", api.plans(DRIVERS / "kvm2008.py"), ids=lambda plan: plan.name)
def test_shipped_plans(plan, beside):
    made = build(plan, scenario(beside))
    assert_packs(made, most=5_000)
    assert_packs(made, quotient(made, find_symmetry(made)).pack, most=1_000)


@pytest.mark.parametrize("bounds", [(2, 1, 2, 1, 2), (1, 2, 1, 2, 3), (3, 1, 1, 2, 5)])
def test_kvm_seq(bounds):
    assert assert_packs(kvm_seq(*bounds)).words <= 2
    made = kvm_seq_free(*bounds)
    assert_packs(made, quotient(made, find_symmetry(made)).pack)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_random_systems(made):
    assert_packs(made, most=300)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_systems())
def test_random_systems_that_are_to_be_renamed(made):
    symmetry = find_symmetry(made)
    assume(symmetry.pages or symmetry.frames or symmetry.threads)
    assert_packs(made, quotient(made, symmetry).pack, most=300)


# ---- widths


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 0, (1, 0)), (0, 1, (1, 0)), (0, 255, (8, 0)), (-1, 0, (1, 1)), (-3, 4, (3, 3))]
)
def test_a_field_is_as_wide_as_its_values(low, high, expected):
    assert width(low, high) == expected


def test_values_below_zero_are_stored_with_a_bias():
    local = Var("own.x", "int", -7, 7, 1, -2)
    steps = [to(1, put(_X, op("-", Shared("s.a", Const(1)), 2))), to(2, put(Shared("s.a", Const(1)), _X))]
    steps.append(to(0, put(Shared("s.a", Const(0)), op("-", 0, Shared("s.a", Const(1)))), put(_X, -2)))
    pack = assert_packs(system([Var("s.a", "int", -7, 9, 2)], [thread("a", steps[:1], local)]))
    assert pack.rows["s.a"].bias == 0  # nothing is stored there
    pack = packing(system([Var("s.a", "int", -7, 9, 2, 1)], [thread("a", steps, local, ends=False)]))
    assert pack.rows["s.a"].bias == 7
    assert pack.slices[0].registers[0].bias == 7
    assert_apart(pack)


def test_a_bound_is_found_from_what_is_stored_and_no_wider():
    up = fork(op("<", Shared("s.n"), 3), to(0, put(Shared("s.n"), op("+", Shared("s.n"), 1))), to(0))
    flag = to(0, put(Shared("s.flag"), op("==", Shared("s.n"), 2)))
    copy = to(0, put(Shared("s.copy"), op("?:", Shared("s.flag"), 6, Shared("s.flag"))))
    shared = [Var(f"s.{name}", "int", 0, 255) for name in ("n", "flag", "copy", "still")]
    made = system(shared, [thread(name, [body], ends=False) for name, body in (("a", up), ("b", flag), ("c", copy))])
    found = bounds(made)
    assert found[True, "s.flag"] == (0, 1)
    assert found[True, "s.copy"] == (0, 6)
    assert found[True, "s.still"] == (0, 0)
    assert found[True, "s.n"] == (0, 255)  # a bound that grows is given up: conditions are not looked at
    assert_packs(made)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_no_value_leaves_its_bounds(made):
    found, lay = bounds(made), packing(made).lay
    for state in reached(made, 300):
        for shared, slots in ((True, lay.shared), *((False, own) for own in lay.locals)):
            for name, slot in slots.items():
                low, high = found[shared, name]
                assert all(low <= state[slot.at + i] - slot.bias <= high for i in range(slot.var.size))


def test_a_field_has_room_for_all_names_where_it_is_renamed():
    """Nothing is stored in these fields: unrenamed they hold their initial values, and locals what is read of them."""
    take, mark = put(Local("own.p"), Shared("mm.spare")), put(Shared("mm.flag", Shared("mm.first")), 1)
    steps = [to(1, take), to(0, mark, put(Local("own.p"), 0))]
    shared = [
        Var("mm.first", "gfn", 0, 3),
        Var("mm.spare", "page", 0, 7, 1, 1),
        Var("mm.flag", "bool", 0, 1, 3, 0, ("page",)),
    ]
    made = small(shared, [thread("a", steps, Var("own.p", "page", 0, 7), ends=False)], pages=3, frames=7)
    plain, renamed = packing(made), quotient(made, find_symmetry(made)).pack
    assert [plain.rows[name].bits for name in ("mm.first", "mm.spare", "mm.flag")] == [1, 1, 1]
    assert [renamed.rows[name].bits for name in ("mm.first", "mm.spare", "mm.flag")] == [2, 3, 1]
    assert [pack.slices[0].registers[0].bits for pack in (plain, renamed)] == [1, 3]


# ---- rows


@pytest.mark.parametrize(
    ("size", "high", "words"), [(16, 15, 1), (17, 15, 2), (21, 7, 1), (22, 7, 2), (9, 200, 2), (200, 1, 4)]
)
def test_an_array_takes_as_many_words_as_it_needs(size, high, words):
    steps = [to(1, Choose(_I, Const(0), Const(size))), to(2, put(Shared("s.a", _I), high))]
    made = system([Var("s.a", "int", 0, high, size)], [thread("a", steps, Var("own.i", "int", 0, size - 1))])
    pack = assert_packs(made)
    chunks = pack.rows["s.a"].chunks
    assert len({chunk.word for chunk in chunks}) == words
    assert sum(chunk.count for chunk in chunks) == size
    assert [chunk.first for chunk in chunks[1:]] == [chunk.first + chunk.count for chunk in chunks[:-1]]


# ---- threads


@pytest.mark.parametrize(("count", "wide"), [(1, 1), (255, 8), (256, 9), (300, 9), (700, 10)])
def test_a_place_is_a_number_of_as_many_bits_as_there_are_places(count, wide):
    made = system([Var("s.a", "bool", 0, 1)], [thread("a", [to(place + 1) for place in range(count)])])
    pack = assert_packs(made)
    assert pack.slices[0].pc.bits == wide
    assert len(reached(made)) == count + 1


def test_places_that_nothing_leads_to_have_no_number():
    steps = [to(3), to(2), to(1), fork(Shared("s.a"), to(0), to(3, put(Shared("s.a"), 1)))]
    pack = assert_packs(system([Var("s.a", "bool", 0, 1)], [thread("a", steps, ends=False)]))
    assert pack.slices[0].places == {0: 0, 3: 1}
    assert pack.slices[0].pc.bits == 1


def test_a_thread_of_one_place_takes_no_bits():
    pack = assert_packs(system([Var("s.a", "bool", 0, 1)], [thread("a", [to(0, put(Shared("s.a"), 1))], ends=False)]))
    assert pack.slices[0].pc.bits == 0


def test_locals_that_are_never_set_at_once_share_bits():
    steps = [to(1, Choose(_X, Const(0), Const(9))), to(2, put(_Y, _X), put(_X, 0)), to(0, put(_Y, 4))]
    own = [Var("own.x", "int", 0, 8), Var("own.y", "int", 0, 8, 1, 4), Var("own.i", "int", 0, 8)]
    made = system([Var("s.a", "bool", 0, 1)], [thread("a", steps, *own, ends=False)])
    pack = assert_packs(made)
    assert dirty_locals(made.threads[0]) == [frozenset(), {("own.x", 0)}, {("own.y", 0)}, None]
    assert len(pack.slices[0].registers) == 1  # own.i is never set, and has none
    assert pack.slices[0].held == {0: {}, 1: {("own.x", 0): 0}, 2: {("own.y", 0): 0}}


def test_locals_of_other_signs_share_nothing():
    steps = [to(1, Choose(_X, Const(0), Const(9))), to(2, put(_Y, op("-", 0, _X)), put(_X, 0)), to(0, put(_Y, 0))]
    own = [Var("own.x", "int", 0, 8), Var("own.y", "int", -8, 8)]
    pack = assert_packs(system([Var("s.a", "bool", 0, 1)], [thread("a", steps, *own, ends=False)]))
    assert sorted(at.bias for at in pack.slices[0].registers) == [0, 8]


def test_a_local_that_holds_something_where_two_paths_meet_is_kept():
    other = to(1, put(_Y, 2))
    steps = [fork(Shared("s.a"), to(1, put(_X, 1)), other), to(2, put(Shared("s.a"), op("==", _X, _Y)))]
    own = [Var("own.x", "int", 0, 1), Var("own.y", "int", 0, 2)]
    made = system([Var("s.a", "bool", 0, 1)], [thread("a", steps, *own)])
    assert dirty_locals(made.threads[0])[1] == frozenset({("own.x", 0), ("own.y", 0)})
    assert len(assert_packs(made).slices[0].registers) == 2


def test_elements_of_a_local_array_are_kept_one_by_one():
    element = Local("own.a", Const(1))
    steps = [
        to(1, put(element, 1)),
        to(2, put(Local("own.a", _I), 1)),
        to(0, *(put(Local("own.a", Const(i)), 0) for i in range(3))),
    ]
    made = system(
        [Var("s.r", "bool", 0, 1)],
        [thread("a", steps, Var("own.a", "bool", 0, 1, 3), Var("own.i", "int", 0, 2), ends=False)],
    )
    assert dirty_locals(made.threads[0])[:3] == [frozenset(), {("own.a", 1)}, {("own.a", i) for i in range(3)}]
    assert_packs(made)


def test_parts_of_threads_that_may_be_exchanged_stand_side_by_side():
    """What arrays hold for a CPU stands with its thread, in the same order for each."""
    made = kvm_seq_free(3, 1, 1, 2, 2)
    found = quotient(made, find_symmetry(made))
    (group,) = found.symmetry.threads
    assert group == (0, 1, 2)
    widths = {tuple(at.bits for at in found.pack.slices[t].parts) for t in group}
    assert len(widths) == 1
