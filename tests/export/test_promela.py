# SPDX-License-Identifier: Apache-2.0
"""Hold exported models against a plain search: SPIN must store as many states and give the same verdicts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from support.campaigns import compare_many, in_parts
from support.kvm_seq import kvm_seq
from support.plain import TooManyError, explore
from support.spin import SpinError, SpinResult, requires_spin, run_spin
from support.systems import acquire, fork, op, put, system, systems, thread, to

from unpinned.export.promela import promela
from unpinned.ir.program import Body, Check, Choose, Const, Cover, Expr, Local, Mark, Note, Shared, System, Var, Wait
from unpinned.ir.rules import LIMIT

X, LOCK, SEQ = Shared("plan.x"), Shared("plan.lock"), Shared("plan.seq")
Y, G = Local("fault.y"), Local("fault.g")
BIT = Var("plan.x", "bool", 0, 1)


def agree(made: System, workdir: Path) -> SpinResult:
    """Return what SPIN says, having seen that it is what the plain search says."""
    found, judged = explore(made), run_spin(promela(made), workdir)
    assert judged.states == found.states
    assert judged.broken == found.broken.total()
    assert judged.rules == set(found.broken)
    assert judged.deadlocks == found.deadlocks
    return judged


# ---- by hand ------------------------------------------------------------------------------------------


@requires_spin
def test_the_first_state_and_the_last_are_counted_once(tmp_path: Path) -> None:
    judged = agree(system([], [thread("CPU0", [to(1)]), thread("CPU1", [to(1), to(2)])]), tmp_path)
    assert judged == SpinResult(states=6, broken=0, rules=frozenset(), deadlocks=0)


@requires_spin
def test_a_thread_without_steps_is_done(tmp_path: Path) -> None:
    assert agree(system([], [thread("CPU0", []), thread("CPU1", [to(0)], ends=False)]), tmp_path).states == 1


@requires_spin
def test_lock_increments_in_two_steps(tmp_path: Path) -> None:
    """Two threads do x += 1 under a lock; y is dead after the store, and yet part of the state."""
    own, shared = Var("fault.y", "int", 0, 2), [Var("plan.lock", "spinlock", 0, 1), Var("plan.x", "int", 0, 2)]
    steps = [to(1, *acquire(LOCK)), to(2, put(Y, X)), to(3, put(X, op("+", Y, 1))), to(4, put(LOCK, 0))]
    assert agree(system(shared, [thread(f"CPU{i}", steps, own) for i in (0, 1)]), tmp_path).states == 17


@requires_spin
def test_a_deadlock_is_told_from_a_broken_rule(tmp_path: Path) -> None:
    """Two locks in both orders; the second thread checks something while it holds both."""
    a, b = Shared("plan.a"), Shared("plan.b")
    shared = [Var("plan.a", "spinlock", 0, 1), Var("plan.b", "mutex", 0, 1), BIT]
    first = [to(1, *acquire(a)), to(2, put(X, 1), *acquire(b)[1:]), to(3, put(a, 0), put(b, 0))]
    first[1] = to(2, *acquire(b), put(X, 1))
    second = [to(1, *acquire(b)), to(2, *acquire(a)), to(3, Check(op("not", X), "balance", "x"), put(b, 0), put(a, 0))]
    judged = agree(system(shared, [thread("CPU0", first), thread("CPU1", second)], "balance"), tmp_path)
    assert judged == SpinResult(judged.states, 1, frozenset({"balance"}), 1)
    assert judged.assertion
    assert judged.invalid_end


@requires_spin
def test_a_waiting_thread_beside_one_that_is_done_is_a_deadlock(tmp_path: Path) -> None:
    never = thread("CPU0", [to(0, Wait(op("==", X, 2)))], ends=False)
    assert agree(system([BIT], [never, thread("CPU1", [to(1)])]), tmp_path).deadlocks == 1


@requires_spin
def test_a_broken_step_keeps_its_place_and_its_earlier_stores(tmp_path: Path) -> None:
    """A promised rule ends the step half way, one that is not promised is passed over, a limit always ends it."""
    shared = [Var("plan.x", "int", 0, 3)]

    def steps(rule: str) -> System:
        body = to(1, put(X, 1), Check(op("==", X, 2), rule, "it's */ \\"), put(X, 3))
        return system(shared, [thread("CPU0", [body]), thread("CPU1", [to(1), to(2)])], "leak")

    for rule, states, broken in (("leak", 6, 3), (LIMIT, 6, 3), ("coherence", 6, 0)):
        judged = agree(steps(rule), tmp_path)
        assert (judged.states, judged.broken) == (states, broken)


@requires_spin
def test_two_rules_are_named(tmp_path: Path) -> None:
    checks = [Check(op("!=", Y, i), rule, "no") for i, rule in enumerate(["leak", "stale-use", LIMIT])]
    steps = [to(1, Choose(Y, Const(0), Const(4)), *checks)]
    made = system([], [thread("CPU0", steps, Var("fault.y", "int", 0, 3))], "leak", "stale-use")
    assert agree(made, tmp_path) == SpinResult(5, 3, frozenset({"leak", "stale-use", LIMIT}), 0)


@requires_spin
def test_waits_stand_under_branches_and_behind_checks(tmp_path: Path) -> None:
    body = fork(
        op("==", Y, 0),
        to(1, Wait(op("==", X, 1)), put(Y, 1), put(X, 0)),
        fork(X, to(2, Note("n"), put(Y, 0)), to(0, Wait(X))),
        Cover("here"),
        Check(op("or", op("not", Y), X), "leak", "y without x"),
        Wait(op("or", X, Y)),
    )
    steps = [body, to(0, put(Y, 1))]
    made = [
        thread("CPU0", steps, Var("fault.y", "bool", 0, 1)),
        thread("CPU1", [to(1, put(X, 1)), to(0)], ends=False),
    ]
    assert agree(system([BIT], made, "leak"), tmp_path).rules == {"leak"}
    assert agree(system([BIT], made), tmp_path).rules == frozenset()


@requires_spin
def test_choices_are_bounded_by_the_state(tmp_path: Path) -> None:
    """The bounds and the condition read what was stored and chosen before, the target itself included."""
    i, chosen = Local("fault.i"), Local("fault.a", Local("fault.i"))
    steps = [
        to(1, Choose(i, Const(0), Const(3), op("!=", i, X)), put(X, 1)),
        to(2, Choose(chosen, X, op("+", X, 2), op("or", op(">", chosen, X), op("==", i, chosen))), put(X, 2)),
        to(3, Choose(chosen, Const(0), op("+", X, 1), op("<=", Local("fault.a", X), chosen))),
        fork(op("==", i, 2), to(4, put(i, 0)), to(4, put(Local("fault.a", chosen), i), put(X, 0))),
    ]
    own = Var("fault.i", "int", 0, 2), Var("fault.a", "pfn", 0, 2, size=3)
    made = [thread("CPU0", steps, *own), thread("CPU1", [to(1, put(X, 1))])]
    assert agree(system([Var("plan.x", "int", 0, 2)], made), tmp_path).states > 50


@requires_spin
def test_a_choice_may_move_the_index_that_names_it(tmp_path: Path) -> None:
    """a[a[0]] is one element before the store and may be another after it; `where` is about the one after it."""
    a = [Local("fault.a", Const(n)) for n in range(3)]
    moved = Local("fault.a", a[0])
    steps = [
        to(1, Choose(a[1], Const(0), Const(3))),
        to(2, Choose(moved, Const(0), Const(3), op("or", op("==", moved, a[1]), op("==", moved, 1)))),
    ]
    made = system([], [thread("CPU0", steps, Var("fault.a", "int", 0, 2, size=3))])
    agree(made, tmp_path)


@requires_spin
@pytest.mark.parametrize(
    ("lo", "hi", "kind"), [(0, 1, "bit"), (0, 255, "byte"), (-3, 250, "short"), (-40000, 40000, "int")]
)
def test_ranges_fit_their_type(lo: int, hi: int, kind: str, tmp_path: Path) -> None:
    shared = [Var("plan.x", "int", lo, hi, init=hi), Var("plan.a", "int", lo, hi, size=1, init=lo)]
    element = Shared("plan.a", op("-", Y, Y))
    steps = [
        to(1, put(Y, op("==", op("-", X, element), hi - lo))),
        to(2, Check(Y, "leak", "range"), put(element, X), put(X, lo)),
        to(3, Choose(Local("fault.z"), Const(lo), Const(lo + 2), op("!=", op("*", Local("fault.z"), 1), lo))),
    ]
    made = system(shared, [thread("CPU0", steps, Var("fault.y", "bool", 0, 1), Var("fault.z", "int", lo, hi))], "leak")
    assert agree(made, tmp_path) == SpinResult(4, 0, frozenset(), 0)
    assert f"{kind} plan_x" in promela(made)


@requires_spin
def test_arrays_have_elements(tmp_path: Path) -> None:
    shared = [Var("mm.pte", "pfn", 0, 2, size=3, init=1), Var("mm.one", "bool", 0, 1, size=1)]
    pte = Shared("mm.pte", G)
    step = Shared("mm.pte", Shared("mm.pte", pte))
    steps = [
        to(1, Choose(G, Const(0), Const(3))),
        to(0, put(step, op("?:", op("<", pte, 2), op("+", pte, 1), 0)), put(Shared("mm.one", Const(0)), 1)),
    ]
    made = [thread("CPU0", steps, Var("fault.g", "gfn", 0, 2), ends=False) for _ in range(2)]
    assert agree(system(shared, made), tmp_path).states > 100


@requires_spin
def test_names_are_made_legal(tmp_path: Path) -> None:
    """Keywords, C's and the C library's words, capitals, labels, unicode, dots that fall together, long names."""
    names = ["int", "atomic", "a.b_c", "a_b.c", "a.b.c", "L0", "end", "plan.größe", "si.value", "now", "linux", "EOF"]
    names += ["x" * 300, "x" * 299 + "y", "double", "_pid", "1st", "BITSTATE", "broken", "stopped", "run", "LEAK"]
    shared = [Var(name, "bool", 0, 1) for name in names]
    own = [Var(name, "bool", 0, 1) for name in names]
    body = to(1, *(put(Shared(name), 1) for name in names), *(put(Local(name), Shared(name)) for name in names))
    made = system(shared, [thread(name, [body], *own) for name in ("init", "L0")], name="a */ #define x\n*/ \\ é")
    assert agree(made, tmp_path).states == 4


@requires_spin
def test_large_steps_and_long_expressions(tmp_path: Path) -> None:
    """A tree of 256 leaves, an expression of thousands of characters, 300 steps."""

    def tree(depth: int) -> Body:
        if depth == 8:
            return to(1, put(X, 1))
        way = op("==", Local("fault.y", Const(depth)), 1)
        return fork(way, tree(depth + 1), tree(depth + 1), put(Y, depth % 2))

    def long(lo: int, hi: int) -> Expr:
        middle = (lo + hi) // 2
        return op("==", SEQ, lo) if hi - lo == 1 else op("or", long(lo, middle), long(middle, hi))

    steps = [tree(0), to(2, Wait(long(0, 400)), put(X, 0)), *(to(place + 1) for place in range(2, 300))]
    shared = [BIT, Var("plan.seq", "int", 0, 3)]
    made = [thread(f"CPU{i}", steps, Var("fault.y", "int", 0, 1, size=8)) for i in range(2)]
    agree(system(shared, made), tmp_path)


def test_a_wait_behind_a_store_is_refused() -> None:
    with pytest.raises(ValueError, match="wait"):
        promela(system([BIT], [thread("CPU0", [to(1, put(X, 1), Wait(X))])]))
    inner = fork(X, to(1, Wait(X)), to(1), put(X, 1))
    with pytest.raises(ValueError, match="wait"):
        promela(system([BIT], [thread("CPU0", [inner])]))


def test_a_variable_wider_than_an_int_is_refused() -> None:
    with pytest.raises(ValueError, match=r"plan\.x"):
        promela(system([Var("plan.x", "int", 0, 2**31)], []))


def test_the_model_can_be_read() -> None:
    """The whole text: what a reader of an exported model sees."""
    shared = [Var("plan.mmu_lock", "spinlock", 0, 1), Var("plan.seq", "int", 0, 3)]
    lock, seq = Shared("plan.mmu_lock"), Shared("plan.seq")
    steps = [
        to(1, *acquire(lock), Mark(thread("", [to(0)]).steps[0].pos)),
        fork(
            op("and", op("==", seq, 3), op("or", lock, op("<", op("-", seq, op("-", Y, 1)), 2))),
            to(0, Choose(Y, Const(0), op("+", seq, 1), op("!=", Y, 2))),
            to(2, Check(op("<", seq, 3), LIMIT, "seq is at its width"), put(seq, op("+", seq, 1))),
        ),
    ]
    made = system(shared, [thread("CPU0", steps, Var("fault.y", "int", 0, 3), text="y = self.seq")], "leak")
    text = promela(made, "one CPU, */ nobody else")
    assert text == (Path(__file__).parent / "by_hand.pml").read_text()


# ---- a model with known counts --------------------------------------------------------------------------


@requires_spin
@pytest.mark.parametrize(
    ("bound", "states"), [((2, 1, 2, 1, 2), 11_031), ((2, 2, 1, 1, 3), 81_112)], ids=["11031", "81112"]
)
def test_kvm_seq_has_the_states_that_other_checkers_count(
    bound: tuple[int, int, int, int, int], states: int, tmp_path: Path
) -> None:
    """SPIN by hand, rumur, TLC, minicheck and musil agree on these counts."""
    assert agree(kvm_seq(*bound), tmp_path) == SpinResult(states, 0, frozenset(), 0)


@requires_spin
def test_kvm_seq_without_its_bump_races(tmp_path: Path) -> None:
    judged = agree(kvm_seq(2, 1, 1, 1, 2, literal=True), tmp_path)
    assert judged.rules == {"stale-use"}


# ---- at random ----------------------------------------------------------------------------------------


def _agree_at_random(made: System) -> None:
    try:
        found = explore(made, at_most=20_000)
    except TooManyError:
        reject()
    assume(found.states >= 15)
    with tempfile.TemporaryDirectory() as workdir:
        agree(made, Path(workdir))


@requires_spin
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(systems())
def test_random_systems(made: System) -> None:
    _agree_at_random(made)


@requires_spin
@in_parts(3)
def test_many_random_systems(part: int) -> None:
    compare_many(_agree_at_random, systems(), part=part, examples=100)


# ---- the judge ----------------------------------------------------------------------------------------


@requires_spin
def test_a_truncated_search_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.spin.DEPTHS", (10,))
    with pytest.raises(SpinError, match="too small"):
        run_spin(promela(kvm_seq(1, 1, 1, 1, 2)), tmp_path)


@requires_spin
def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpinError, match="syntax"):
        run_spin("active proctype p() { if }", tmp_path)
