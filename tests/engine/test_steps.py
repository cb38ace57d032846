# SPDX-License-Identifier: Apache-2.0
"""Each construct of the IR does in compiled code what the interpreter says, and touches no memory but its own.

Every reachable state of a small system is given to succ() of a debug build, in which each load and store must lie in
the state, in room for `most` successors or among the leaves; and to succ() of an optimised one.
"""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import HealthCheck, given, settings
from support.campaigns import compare_many, in_parts
from support.systems import acquire, fork, op, put, system, systems, thread, to

from unpinned.check.successors import compile_system
from unpinned.engine.explorer import LIMITED, MAX_THREADS, RACE
from unpinned.engine.packing import packing
from unpinned.engine.program import Program, UnfitError
from unpinned.engine.steps import Writer
from unpinned.ir.bounds import bounds
from unpinned.ir.interp import outcomes
from unpinned.ir.layout import BROKEN, initial
from unpinned.ir.program import (
    Check,
    Choose,
    Const,
    Cover,
    Local,
    Shared,
    System,
    Var,
    Wait,
)
from unpinned.ir.rules import CODES, LIMIT
from unpinned.native.machine import compile_module, load

#: Words before a state and before its successors, to see that `at` and `o` are heeded.
_BEFORE = 3


class Steps:
    """succ() of a system in one build; a debug build may touch the state, `most` successors and the leaves only."""

    def __init__(self, made: System, *, debug: bool) -> None:
        self.pack = packing(made)
        writer = Writer(self.pack, bounds(made), coverage=True)
        writer.write()
        self.source = "\n".join(writer.lines) + "\n"
        self.leaves = len(writer.leaves)
        self.most = writer.most
        loaded = load(compile_module(self.source, {"succ": 5}, level=0 if debug else 2, debug=debug))
        self._succ = loaded.function("succ")
        words = self.pack.words
        self._state = (ctypes.c_uint64 * (_BEFORE + words))()
        self._out = (ctypes.c_uint64 * (_BEFORE + max(1, self.most) * words))()
        self._seen = (ctypes.c_uint8 * max(1, self.leaves))()
        if debug:
            skipped = 8 * _BEFORE
            loaded.region(ctypes.addressof(self._state) + skipped, 8 * words)
            loaded.region(ctypes.addressof(self._out) + skipped, 8 * self.most * words)
            loaded.region(ctypes.addressof(self._seen), self.leaves)

    def after(self, state: bytes) -> tuple[int, list[bytes], set[int]]:
        """Return what succ() says of a state, its successors, and the leaves that were taken."""
        words = self.pack.words
        for k, word in enumerate(self.pack.pack(state)):
            self._state[_BEFORE + k] = word
        ctypes.memset(self._seen, 0, ctypes.sizeof(self._seen))
        addresses = [ctypes.addressof(array) for array in (self._state, self._out, self._seen)]
        result = self._succ(addresses[0], _BEFORE, addresses[1], _BEFORE, addresses[2])
        found = [self._out[_BEFORE + k * words : _BEFORE + (k + 1) * words] for k in range(result & 65535)]
        taken = {leaf for leaf, was in enumerate(self._seen) if was}
        states = [self.pack.unpack(successor) for successor in found]
        # Bits that hold nothing are 0, else one state would be stored twice.
        assert found == [list(self.pack.pack(successor)) for successor in states]
        return result, states, taken


def expected_after(made: System, steps: Steps, state: bytes) -> tuple[int, list[bytes], list[bytes]]:
    """Return what succ() should say of a state, its successors, and the broken ones, by the interpreter."""
    whole, broken, result = [], [], 0
    for t, each in enumerate(made.threads):
        ways = [way.state for way in outcomes(made, steps.pack.lay, state, t)]
        whole += [after for after in ways if not after[BROKEN]]
        broken += [after for after in ways if after[BROKEN]]
        result |= bool(ways) << 20 + t | (steps.pack.lay.place(state, t) < len(each.steps)) << 32 + t
    for after in broken:
        result |= (LIMITED if after[BROKEN] == CODES[LIMIT] else RACE) << 16
    return result | len(whole), whole, broken


def assert_steps(made: System, most: int = 5_000, *, every_leaf: bool = True) -> int:
    """Compare both builds with the interpreter on every state (or on `most` of them); return how many there are."""
    builds = [Steps(made, debug=True), Steps(made, debug=False)]
    reference = compile_system(made)
    assert len(reference.leaves) == builds[0].leaves
    states = [initial(builds[0].pack.lay)]
    known = set(states)
    passed: set[int] = set()
    for state in states:
        result, whole, _ = expected_after(made, builds[0], state)
        taken = {leaf for leaf, _ in reference.expand(state)}
        for build in builds:
            assert build.after(state) == (result, whole, taken)
        passed |= taken
        if len(states) < most:
            new = [after for after in dict.fromkeys(whole) if after not in known]
            known.update(new)
            states += new
    assert not every_leaf or len(passed) == builds[0].leaves, "some path of the system is never taken"
    return len(states)


# ---- expressions

_X, _Y, _I, _J, _V = (Local(f"own.{name}") for name in "xyijv")
_R = Shared("s.r")


def choose(target: Local, lo: int, hi: int) -> Choose:
    return Choose(target, Const(lo), Const(hi))


_FROM_MINUS_3 = [Var("own.i", "int", 0, 6), Var("own.j", "int", 0, 6), Var("own.x", "int", -3, 3)]
_FROM_MINUS_3.append(Var("own.y", "int", -3, 3))
_SIGNED = to(1, choose(_I, 0, 7), choose(_J, 0, 7), put(_X, op("-", _I, 3)), put(_Y, op("-", _J, 3)))


@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
def test_comparisons_are_signed(sign):
    shared = Var("s.r", "bool", 0, 1, 4)
    ends = [op(sign, _X, _Y), op(sign, _X, -1), op(sign, 1, _Y), op(sign, op("-", _X, _Y), op("*", _X, 2))]
    stores = [put(Shared("s.r", Const(k)), end) for k, end in enumerate(ends)]
    branches = fork(ends[0], to(2, put(_I, 0)), to(2, put(_J, 0)), *stores)
    made = system([shared], [thread("a", [_SIGNED, branches], *_FROM_MINUS_3)])
    assert assert_steps(made) > 50


@pytest.mark.parametrize("sign", ["+", "-", "*"])
def test_arithmetic_goes_below_zero_and_comes_back(sign):
    shared = [Var("s.r", "int", -9, 9), Var("s.q", "int", -9, 20)]
    last = to(0, put(_R, op(sign, _X, _Y)), put(Shared("s.q"), op("+", op("*", op(sign, _X, _Y), -1), 9)))
    made = system(shared, [thread("a", [_SIGNED, last], *_FROM_MINUS_3, ends=False)])
    assert assert_steps(made) > 49


def test_a_negative_variable_counts_down_and_up():
    down = fork(op(">", _R, -5), to(0, put(_R, op("-", _R, 1))), to(0))
    up = fork(op("<", _R, -1), to(0, put(_R, op("+", _R, 1))), to(0))
    made = system([Var("s.r", "int", -5, -1, 1, -2)], [thread(n, [b], ends=False) for n, b in (("a", down), ("b", up))])
    assert assert_steps(made) == 5


def test_truth_is_any_value_but_0():
    minus = Var("s.r", "int", -1, 1, 1, -1)
    cond = op("and", op("or", _R, Shared("s.q")), op("not", op("and", _R, Shared("s.q"))))
    step = fork(cond, to(0, put(_R, op("?:", _R, 0, 1))), to(0, put(Shared("s.q"), op("not", Shared("s.q")))))
    other = to(0, put(Shared("s.q"), op("?:", op("not", Shared("s.q")), 3, 0)), put(_R, op("-", 0, op("==", _R, 0))))
    threads = [thread("a", [step], ends=False), thread("b", [other], ends=False)]
    assert assert_steps(system([minus, Var("s.q", "int", 0, 3)], threads)) > 4


def test_and_or_and_choices_look_only_at_what_they_need():
    """An index out of range stands behind a condition that keeps it from being looked at."""
    row = Var("s.a", "int", 0, 3, 5)
    there = op("<", _I, 5)
    element = Shared("s.a", _I)
    guarded = [
        op("and", there, op("==", element, 2)),
        op("or", op("not", there), op("==", element, 0)),
        op("?:", there, element, 3),
    ]
    stores = [put(Shared("s.r", Const(k)), end) for k, end in enumerate(guarded)]
    steps = [to(1, choose(_I, 0, 9)), fork(there, to(0, *stores, put(element, op("-", 2, element))), to(0, *stores))]
    made = system([row, Var("s.r", "int", 0, 3, 3)], [thread("a", steps, Var("own.i", "int", 0, 8), ends=False)])
    assert assert_steps(made) > 100


# ---- rows

_ROWS = [(40, 15, 3), (25, 7, 2), (8, 255, 1), (9, 255, 2), (64, 1, 1), (65, 1, 2)]


@pytest.mark.parametrize(("size", "high", "words"), _ROWS)
def test_elements_of_a_row_of_several_words_are_read_and_written(size, high, words):
    """One element is stored, then read back by another index, with its neighbours and its mirror image."""
    row = Var("s.a", "int", 0, high, size)
    at, mirror = Shared("s.a", _I), Shared("s.a", op("-", size - 1, _I))
    steps = [
        to(1, choose(_I, 0, size)),
        to(2, put(at, high)),
        to(3, put(_R, op("+", op("==", at, high), op("*", op("==", mirror, high), 2)))),
        to(4, put(mirror, op("-", high, 1)), put(at, op("?:", op("==", mirror, at), 0, at))),
        to(0, put(at, 0), put(mirror, 0), put(_I, 0)),
    ]
    made = system([row, Var("s.r", "int", 0, 3)], [thread("a", steps, Var("own.i", "int", 0, size - 1), ends=False)])
    assert len({chunk.word for chunk in packing(made).rows["s.a"].chunks}) == words
    assert assert_steps(made) > 4 * size


def test_rows_of_negative_values_are_read_and_written_through_sums():
    row = Var("s.a", "int", -5, 3, 30, -1)
    at = Shared("s.a", op("+", op("*", _I, 5), op("+", _J, 2)))
    steps = [
        to(1, choose(_I, 0, 5), choose(_J, 0, 5)),
        to(2, put(at, op("-", op("?:", op("<", _I, _J), 3, -1), _J))),
        to(3, put(_V, op("+", Shared("s.a", op("+", _J, op("*", 5, _I))), at))),
        to(0, put(at, -1), put(_I, 0), put(_J, 0), put(_V, 0)),
    ]
    own = [Var("own.i", "int", 0, 4), Var("own.j", "int", 0, 4), Var("own.v", "int", -10, 6)]
    assert assert_steps(system([row], [thread("a", steps, *own, ends=False)])) > 50


def test_an_index_may_itself_be_an_element():
    names = Var("s.to", "int", 0, 19, 20)
    row = Var("s.a", "int", 0, 15, 20)
    steps = [
        to(1, choose(_I, 0, 20)),
        to(2, put(Shared("s.to", _I), op("-", 19, _I))),
        to(3, put(Shared("s.a", Shared("s.to", _I)), 9), put(Shared("s.to", Shared("s.to", Shared("s.to", _I))), 7)),
        to(0, put(Shared("s.a", Shared("s.to", _I)), 0), put(Shared("s.a", op("-", 19, _I)), 0), *_zeros("s.to", 20)),
    ]
    made = system([names, row], [thread("a", steps, Var("own.i", "int", 0, 19), ends=False)])
    assert assert_steps(made) > 60


def _zeros(name, size):
    return [put(Shared(name, Const(i)), 0) for i in range(size)]


def test_a_step_sees_what_it_has_stored():
    """Two elements change places by way of a local, in one step, whether or not they are one element."""
    one, other = Shared("s.a", _I), Shared("s.a", _J)
    steps = [
        to(1, choose(_I, 0, 4), choose(_J, 0, 4)),
        to(0, put(_V, one), put(one, other), put(other, _V), put(_R, op("==", one, other)), put(_V, 0)),
    ]
    start = [put(Shared("s.a", Const(i)), i) for i in range(4)]
    own = [Var("own.i", "int", 0, 3), Var("own.j", "int", 0, 3), Var("own.v", "int", 0, 3)]
    made = [thread("a", [to(1, *start), to(2, *steps[0].stmts), to(1, *steps[1].stmts)], *own, ends=False)]
    assert assert_steps(system([Var("s.a", "int", 0, 3, 4), Var("s.r", "bool", 0, 1)], made)) > 24


# ---- locals


def test_local_arrays_are_read_and_written_at_any_index():
    own = [Var("own.a", "int", -2, 2, 3, -1), Var("own.i", "int", 0, 2), Var("own.j", "int", 0, 2)]
    one, other = Local("own.a", _I), Local("own.a", op("-", 2, _J))
    steps = [
        to(1, choose(_I, 0, 3), choose(_J, 0, 3)),
        to(2, put(one, op("?:", op("<", other, 2), op("+", other, 1), -2))),
        fork(op(">", one, other), to(0, put(_R, one), put(_I, 0), put(_J, 0)), to(0, put(Local("own.a", Const(1)), 0))),
    ]
    made = system([Var("s.r", "int", -2, 2)], [thread("a", steps, *own, ends=False)])
    assert assert_steps(made) > 500


def test_a_local_that_was_never_stored_has_its_initial_value():
    own = [Var("own.x", "int", -3, 3, 1, -3), Var("own.y", "int", 0, 200, 1, 199)]
    step = fork(op("<", _X, -2), to(1, put(_R, op("+", _X, _Y))), to(1))
    assert assert_steps(system([Var("s.r", "int", 0, 255)], [thread("a", [step], *own)]), every_leaf=False) == 2


def test_locals_that_share_bits_do_not_disturb_each_other():
    """Of x, y and v two are never set at once, so they share bits; each is read where another had stood before."""
    own = [Var(f"own.{name}", "int", 0, 15, 1, init) for name, init in (("x", 0), ("y", 3), ("v", 0))]
    steps = [
        to(1, choose(_X, 0, 16)),
        to(2, put(_R, _X), choose(_Y, 0, 16), put(_X, 0)),
        fork(op("<", _Y, 8), to(3, put(_V, _Y), put(_Y, 3)), to(0, put(_R, _Y), put(_Y, 3))),
        to(0, put(_R, op("+", _V, op("*", _Y, _X))), put(_V, 0)),
    ]
    made = system([Var("s.r", "int", 0, 15)], [thread("a", steps, *own, ends=False)])
    assert len(packing(made).slices[0].registers) == 1
    assert assert_steps(made) > 500


def test_a_local_keeps_its_value_where_another_path_has_not_stored_it():
    own = [Var("own.x", "int", 0, 7, 1, 5), Var("own.i", "int", 0, 1)]
    steps = [
        fork(op("==", _I, 0), to(1, put(_X, 2)), to(1), choose(_I, 0, 2)),
        to(0, put(_R, _X), put(_X, op("?:", _I, _X, 5)), put(_I, 0)),
    ]
    assert assert_steps(system([Var("s.r", "int", 0, 7)], [thread("a", steps, *own, ends=False)])) > 4


def test_a_local_that_takes_over_the_bits_of_another_has_its_initial_value():
    """At place 2 the bits are y's; one way there has set y, and the other one has set x, and nothing since."""
    own = [Var("own.x", "int", 0, 7), Var("own.y", "int", 0, 7, 1, 3)]
    steps = [
        fork(op("<", _R, 4), to(1, choose(_X, 4, 8)), to(2, choose(_Y, 0, 4))),
        to(2, put(_X, 0)),
        to(0, put(_R, op("+", _Y, 1)), put(_Y, 3)),
    ]
    made = system([Var("s.r", "int", 0, 8)], [thread("a", steps, *own, ends=False)])
    assert len(packing(made).slices[0].registers) == 1
    assert assert_steps(made) > 12


# ---- statements


def test_choices_are_made_where_they_may_be():
    own = [Var("own.x", "int", 0, 9), Var("own.y", "int", 0, 9), Var("own.a", "int", 0, 9, 2)]
    steps = [
        to(1, Choose(_X, Const(0), Const(10), op("==", op("*", _X, _X), op("+", _X, op("*", _R, 6))))),
        to(2, Choose(_Y, _X, op("+", _X, 3), op("!=", _Y, _R)), Choose(_V, _Y, Const(6))),
        to(3, Choose(Local("own.a", _I), Const(1), Const(3), op("!=", Local("own.a", _I), Local("own.a", _J)))),
        to(0, put(_R, op("-", 1, _R)), put(_I, _J), put(_J, op("-", 1, _I)), put(_X, 0), put(_Y, 0), put(_V, 0)),
    ]
    own += [Var("own.i", "int", 0, 1), Var("own.j", "int", 0, 1, 1, 1), Var("own.v", "int", 0, 9)]
    made = system([Var("s.r", "int", 0, 1)], [thread("a", steps, *own, ends=False)])
    assert assert_steps(made) > 30


def test_a_choice_among_nothing_blocks():
    steps = [to(1, Choose(_X, Const(3), op("-", 3, _R))), to(2)]
    waits = thread("a", steps, Var("own.x", "int", 0, 3))
    made = system([Var("s.r", "int", 0, 2)], [waits, thread("b", [to(0, put(_R, op("-", 2, _R)))], ends=False)])
    assert assert_steps(made, every_leaf=False) == 2


@pytest.mark.parametrize(("lo", "hi"), [(-3, -1), (-3, 0), (-2, 2)])
def test_choices_may_begin_below_zero(lo, hi):
    steps = [to(1, choose(_X, lo, hi)), to(0, put(_R, _X))]
    made = system([Var("s.r", "int", -3, 1)], [thread("a", steps, Var("own.x", "int", -3, 1), ends=False)])
    assert assert_steps(made) > 4


def test_branches_nest():
    def tree(depth, name):
        if depth == 4:
            return to(0, put(_R, name), put(_I, 0))
        cond = op("==", op("-", _I, op("*", op(">=", _I, 8 >> depth), 8 >> depth)), _I)
        return fork(
            cond, tree(depth + 1, name), tree(depth + 1, name + (8 >> depth)), *([put(_V, depth)] * (depth % 2))
        )

    leave = to(0, put(_V, 0), put(_I, 0))
    made = [thread("a", [to(1, choose(_I, 0, 16)), tree(0, 0), leave], *_small("i", "v"), ends=False)]
    assert assert_steps(system([Var("s.r", "int", 0, 15)], made), every_leaf=False) > 16


def _small(*names):
    return [Var(f"own.{name}", "int", 0, 15) for name in names]


def test_waits_hold_a_path_back_and_not_its_neighbour():
    one = fork(
        _R, to(1, Wait(op("==", Shared("s.q"), 2)), put(_R, 0)), to(1, Wait(op("<", Shared("s.q"), 2)), put(_R, 1))
    )
    other = to(0, Cover("before"), Wait(op("!=", _R, 0)), Wait(op("<", Shared("s.q"), 2)), put(Shared("s.q"), 2))
    again = to(0, Wait(op("==", Shared("s.q"), 2)), put(Shared("s.q"), 0))
    threads = [thread("a", [one, to(0)], ends=False), thread("b", [other]), thread("c", [again], ends=False)]
    assert assert_steps(system([Var("s.r", "bool", 0, 1), Var("s.q", "int", 0, 2)], threads)) > 5


def test_locks_are_taken_and_released():
    lock = Shared("s.lock")
    steps = [to(1, *acquire(lock)), to(2, put(_R, op("-", 1, _R))), to(0, put(lock, 0))]
    threads = [thread(name, steps, ends=False) for name in "abc"]
    assert assert_steps(system([Var("s.lock", "spinlock", 0, 1), Var("s.r", "bool", 0, 1)], threads)) == 14


def test_checks_break_a_rule_or_reach_a_limit_or_are_not_promised():
    """A broken path stops there; another choice of the same step goes on."""
    steps = [
        to(1, choose(_I, 0, 6), put(_R, _I), Check(op("!=", _I, 4), "leak", "four")),
        to(
            2,
            Check(op("!=", _I, 1), "balance", "not promised"),
            put(_R, 5),
            Check(op("!=", _I, 2), LIMIT, "two"),
            Check(op("<", _I, 5), "leak", "five"),
            choose(_J, 0, 3),
            Check(op("!=", op("+", _J, 1), _I), "coherence", "like"),
            put(_R, _J),
        ),
        fork(
            Check(op("<", _J, 2), "leak", "").cond,
            to(0, Check(op("!=", _I, 3), LIMIT, "three"), put(_R, 0)),
            to(0, put(_I, 0)),
            Check(op("or", _J, _I), LIMIT, "neither"),
        ),
    ]
    made = system([Var("s.r", "int", 0, 5)], [thread("a", steps, *_small("i", "j"), ends=False)], "leak", "coherence")
    assert assert_steps(made) > 20


# ---- threads


def test_a_thread_may_have_more_than_255_steps():
    steps = [to(place + 1, put(_R, place % 5), put(_I, place % 7)) for place in range(300)]
    made = system([Var("s.r", "int", 0, 4)], [thread("a", steps, *_small("i"), ends=True)])
    assert assert_steps(made) == 301


def test_results_have_room_for_as_many_threads_as_are_let_in():
    def many(count):
        return system([_bits(count)], [thread(f"t{t}", [_flip(t)], ends=bool(t % 2)) for t in range(count)])

    assert assert_steps(many(MAX_THREADS), most=200, every_leaf=False) >= 200
    with pytest.raises(UnfitError, match="threads"):
        Program(many(MAX_THREADS + 1))


def _bits(count):
    return Var("s.a", "bool", 0, 1, count)


def _flip(t):
    return to(1 if t % 2 else 0, put(Shared("s.a", Const(t)), op("not", Shared("s.a", Const(t)))))


def test_places_that_nothing_leads_to_are_left_out_and_their_leaves_counted():
    steps = [to(2), fork(_R, to(0), to(2), Check(_R, "leak", "never")), to(0, put(_R, op("not", _R)))]
    made = system([Var("s.r", "bool", 0, 1)], [thread("a", steps, ends=False)], "leak")
    assert packing(made).slices[0].places == {0: 0, 2: 1}
    assert assert_steps(made, every_leaf=False) == 4


# ---- at random


def _assert_some_steps(made: System) -> None:
    assert_steps(made, most=100, every_leaf=False)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(systems())
def test_steps_of_random_systems(made):
    _assert_some_steps(made)


@in_parts(5)
def test_steps_of_many_random_systems(part):
    compare_many(_assert_some_steps, systems(), part=part, examples=200)
