# SPDX-License-Identifier: Apache-2.0
"""What a program does not treat alike is given up, and would be counted wrong if it were not.

Each trap below is a system that breaks one symmetry. The test shows that it is found, that the note says what it is,
and that a search of orbits which exchanged them all the same would see other states, or another verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.orbits import Orbits, explore_quotient
from support.searching import DRIVERS
from support.symmetric import small
from support.systems import fork, op, put, thread, to

from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.engine.packing import Kinds, packing
from unpinned.ir.layout import shape
from unpinned.ir.program import Check, Choose, Const, Expr, Local, Shared, System, Thread, Var
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.symmetry import find_symmetry

G, H, P, B = (Local(f"own.{name}") for name in "ghpb")
GFN, OTHER, FRAME = Var("own.g", "gfn", 0, 2), Var("own.h", "gfn", 0, 2), Var("own.p", "page", 0, 2)
PTE = Var("mm.pte", "page", 0, 2, 2, 0, ("page",))
FLAG = Var("mm.flag", "bool", 0, 1, 2, 0, ("page",))
USED = Var("mm.used", "bool", 0, 1, 3, 0, ("frame",))
SEEN = Var("mm.seen", "int", 0, 7)
ANY_PAGE = Choose(G, Const(0), Const(2))


def flag(page: Expr | int) -> Shared:
    return Shared("mm.flag", Const(page) if isinstance(page, int) else page)


def used(frame: Expr | int) -> Shared:
    return Shared("mm.used", Const(frame) if isinstance(frame, int) else frame)


def see(value: Expr | int):
    return put(Shared("mm.seen"), value)


def one(*bodies, own: tuple[Var, ...] = (GFN,), ends: bool = True, **made) -> Thread:
    return replace(thread("CPU0", bodies, *own, ends=ends), **made)


def wrong(system: System, symmetry: Symmetry) -> bool:
    """Tell whether a search of orbits sees others than there are, with the least or the greatest state for each."""
    compiled = compile_system(system)
    orbits = Orbits(system, symmetry, compiled.lay)
    states = explore(compiled, to_end=True).states

    def greatest(state: bytes) -> bytes:
        return max(orbits.apply(permutation, state) for permutation in orbits.group)

    return any(
        set(explore_quotient(compiled.initial, compiled.expand, kept).states) != set(map(kept, states))
        for kept in (orbits.canonical, greatest)
    )


# ---- what arrays count ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "size", "dims"),
    [
        (("page",), 2, (("page", 2),)),
        (("cpu", "frame"), 6, (("cpu", 2), ("frame", 3))),
        (("cpu",), 4, ()),
        (("frame",), 2, ()),
        (("node",), 2, ()),
    ],
)
def test_an_array_counts_something_if_it_has_as_many_elements(per, size, dims):
    var = Var("mm.x", "bool", 0, 1, size, 0, per)
    assert shape(var, {"page": 2, "frame": 2, "cpu": 2}) == dims
    made = small([var], [one(to(0, put(Shared("mm.x", Const(0)), 1)), ends=False) for _ in range(2)])
    pack = packing(made, Kinds(((0, 1),)))
    pieces = [chunk.count for chunk in pack.rows["mm.x"].chunks]
    assert pieces == ([extent for _, extent in dims[-1:]] * (size // dims[-1][1]) if dims else [size])


# ---- what is symmetric --------------------------------------------------------------------------------


def test_any_page_and_any_frame_are_alike():
    take = to(2, Choose(P, Const(1), Const(3), op("not", used(P))), put(used(P), 1), put(Shared("mm.pte", G), P))
    made = small([PTE, USED], [one(to(1, ANY_PAGE), take, own=(GFN, FRAME))])
    assert find_symmetry(made) == Symmetry((), True, True)


def test_a_loop_over_all_pages_within_a_step_is_symmetric():
    made = small(
        [PTE, FLAG],
        [one(to(1, *(put(Shared("mm.pte", Const(p)), 0) for p in (0, 1)), put(flag(1), 1), put(flag(0), 1)))],
    )
    assert find_symmetry(made).pages


def test_a_loop_with_a_branch_for_each_page_is_symmetric():
    second = fork(flag(1), to(1, put(flag(1), 0)), to(1))
    after = fork(flag(1), to(1, put(flag(1), 0)), to(1), put(flag(0), 0))
    made = small([FLAG], [one(to(1, ANY_PAGE, put(flag(G), 1)), fork(flag(0), after, second))])
    assert find_symmetry(made).pages


def test_checks_of_one_rule_may_change_places():
    def checks(*rules: str) -> System:
        stmts = [Check(op("not", flag(page)), rule, "set") for page, rule in enumerate(rules)]
        return small([FLAG], [one(to(1, ANY_PAGE, put(flag(G), 1)), to(2, *stmts), to(0))], "leak", "balance")

    assert find_symmetry(checks("leak", "leak")).pages
    assert not find_symmetry(checks("leak", "balance")).pages
    assert find_symmetry(replace(checks("leak", "balance"), promised=frozenset())).pages


def test_an_owner_may_hold_the_gfn_plus_one():
    owner = Var("mm.owner", "gfn", 0, 2, 3, 0, ("frame",))
    store = put(Shared("mm.owner", P), op("+", G, 1))
    check = Check(op("==", Shared("mm.owner", P), op("+", G, 1)), "leak", "owner")
    take = to(2, Choose(P, Const(1), Const(3), op("not", Shared("mm.owner", P))), store, check)
    free = to(3, put(Shared("mm.owner", P), 0))
    made = small([owner], [one(to(1, ANY_PAGE), take, free, own=(GFN, FRAME))], "leak")
    assert find_symmetry(made) == Symmetry((), True, True)


def test_an_order_that_comes_out_the_same_for_all_is_none():
    inside = op("and", op("<=", 0, op("+", G, 1)), op("<=", op("+", G, 1), 15))
    made = small([FLAG], [one(to(1, ANY_PAGE, put(flag(G), 1)), to(2, Check(inside, "limit", "width")))])
    assert find_symmetry(made).pages


def test_like_threads_with_elements_of_their_own_are_exchanged():
    mine = Var("hw.tlb", "bool", 0, 1, 4, 0, ("vcpu", "page"))
    threads = [
        one(
            to(1, ANY_PAGE), to(0, put(Shared("hw.tlb", op("+", 2 * cpu, G)), 1)), own=(replace(GFN, hi=1),), ends=False
        )
        for cpu in (0, 1)
    ]
    made = small([mine], threads, vcpus=2)
    assert find_symmetry(made) == Symmetry(((0, 1),), True, False)


def test_the_first_state_need_not_be_symmetric():
    """A gfn is page 0 at first: all that is seen is seen of one of its orbit, and no more."""
    cur = Var("mm.cur", "gfn", 0, 2)
    steps = to(1, put(flag(Shared("mm.cur")), 1)), to(0, ANY_PAGE, put(Shared("mm.cur"), G), put(G, 0))
    made = small([cur, FLAG], [one(*steps, ends=False)])
    assert find_symmetry(made).pages
    assert not wrong(made, find_symmetry(made))


def test_locks_that_are_held_tell_threads_apart():
    def made(*held: str) -> Thread:
        one_step = one(to(1, see(1)), own=())
        return replace(one_step, steps=tuple(replace(step, held=held) for step in one_step.steps))

    lock = Var("mm.lock", "spinlock", 0, 1)
    assert find_symmetry(small([SEEN, lock], [made(), made()])).threads == ((0, 1),)
    assert find_symmetry(small([SEEN, lock], [made(), made("mm.lock")])).threads == ()


def test_threads_of_two_kinds_and_of_two_lengths_are_not_alike():
    short, long = one(to(1, see(1)), own=()), one(to(1, see(1)), to(2), own=())
    vcpu = replace(short, kind="vcpu")
    assert find_symmetry(small([SEEN], [short, long, vcpu])).threads == ()
    assert find_symmetry(small([SEEN], [short, long, short, long, vcpu])).threads == ((0, 2), (1, 3))


def test_what_faults_is_exchanged_with_its_cpu():
    made = small([TURN], [one(to(0, put(turn(cpu), 1)), own=(), ends=False) for cpu in (0, 1)], vcpus=2)
    flags = turn(0), turn(1)
    assert find_symmetry(replace(made, faulting=flags)).threads == ((0, 1),)
    assert find_symmetry(replace(made, faulting=(turn(0), None))).threads == ()
    assert find_symmetry(replace(made, faulting=flags[::-1])).threads == ((0, 1),)
    assert find_symmetry(replace(made, faulting=(turn(0), turn(0)))).threads == ()


def test_steps_that_no_cpu_comes_to_do_not_matter():
    made = small([FLAG], [one(to(2, ANY_PAGE), to(2, put(flag(0), 1)), to(3, put(flag(G), 1)))])
    assert find_symmetry(made).pages


# ---- traps --------------------------------------------------------------------------------------------


def take_twice(take) -> System:
    """Take a frame, mark it, free it, and take one again: which is the marked one, if it is the lowest."""
    mark = Var("mm.mark", "bool", 0, 1, 3, 0, ("frame",))
    free = put(Shared("mm.mark", P), 1), put(used(P), 0), put(P, 0)
    again = Check(Shared("mm.mark", P), "leak", "another frame")
    return small(
        [USED, mark], [one(to(1, take, put(used(P), 1)), to(2, *free), to(3, take, again), own=(FRAME,))], "leak"
    )


def lowest_free_frame() -> System:
    lowest = op("or", op("==", P, 1), used(1))
    return take_twice(Choose(P, Const(1), Const(3), op("and", op("not", used(P)), lowest)))


def lowest_by_a_conditional() -> System:
    return take_twice(put(P, op("?:", op("not", used(1)), 1, 2)))


def pages_in_order() -> System:
    visit = fork(op("<", G, 1), to(0, put(G, op("+", G, 1))), to(1), put(flag(G), 1))
    return small([FLAG], [one(visit)])


def a_gfn_below_another() -> System:
    both = ANY_PAGE, Choose(H, Const(0), Const(2))
    return small([SEEN], [one(to(1, *both), fork(op("<", G, H), to(2, see(1)), to(2)), own=(GFN, OTHER))])


def an_order_that_the_first_page_meets() -> System:
    """Compare a gfn by order that is page 0 in every state that is seen."""
    cur = Var("mm.cur", "gfn", 0, 2)
    return small([cur, SEEN], [one(fork(op("<", Shared("mm.cur"), 1), to(1, see(1)), to(1, see(2))))])


def an_aimed_operation() -> System:
    return small([FLAG], [one(to(1, put(flag(0), 1)), to(2, Check(flag(0), "leak", "clear")))], "leak")


def an_aimed_operation_by_a_local() -> System:
    """Aim by a local that never holds another page."""
    rows = Var("mm.rows", "bool", 0, 1, 6, 0, ("page", "frame"))
    row = Shared("mm.rows", op("+", op("*", G, 3), 1))
    steps = to(1, put(G, 0)), to(2, put(row, 1)), to(3, put(G, 0)), to(4, Check(row, "leak", "clear"))
    return small([rows], [one(*steps)], "leak")


def a_local_array_that_counts_nothing() -> System:
    mine = Var("own.mine", "bool", 0, 1, 2)
    check = Check(Local("own.mine", G), "leak", "clear")
    return small([FLAG], [one(to(1, ANY_PAGE, put(Local("own.mine", G), 1)), to(2, check), own=(GFN, mine))], "leak")


def a_local_array_looked_at_in_order() -> System:
    mine = Var("own.mine", "bool", 0, 1, 2, 0, ("page",))
    look = fork(Local("own.mine", Const(0)), to(2, see(1)), to(2, see(2)))
    return small([SEEN], [one(to(1, ANY_PAGE, put(Local("own.mine", G), 1), put(G, 0)), look, own=(GFN, mine))])


def pages_that_begin_unlike() -> System:
    """Give one page in a first step what the other has not."""
    look = fork(flag(G), to(3, see(1)), to(3, see(2)), put(flag(0), 1))
    return small([FLAG, SEEN], [one(to(1, put(flag(1), 1)), to(2, ANY_PAGE), look)])


def an_owner_that_is_page_0_when_free() -> System:
    owner = Var("mm.owner", "gfn", 0, 2, 3, 0, ("frame",))
    stmts = Choose(P, Const(1), Const(3)), put(Shared("mm.owner", P), G)
    return small([owner], [one(to(1, ANY_PAGE), to(2, *stmts), to(3, put(Shared("mm.owner", P), 0)), own=(GFN, FRAME))])


def a_choice_among_some_pages() -> System:
    look = fork(flag(G), to(2, see(1)), to(2, see(2)), Choose(G, Const(1), Const(2)))
    return small([FLAG, SEEN], [one(to(1, ANY_PAGE, put(flag(G), 1), put(G, 0)), look)])


def a_choice_by_a_constant() -> System:
    choice = Choose(G, Const(0), Const(2), op("==", G, 0))
    look = fork(flag(G), to(2, see(1)), to(2, see(2)), choice)
    return small([FLAG, SEEN], [one(to(1, ANY_PAGE, put(flag(G), 1), put(G, 0)), look)])


def a_gfn_as_a_truth_value() -> System:
    return small([SEEN], [one(to(1, ANY_PAGE), fork(G, to(2, see(1)), to(2, see(2))))])


def arithmetic_on_gfns() -> System:
    return small([SEEN], [one(to(1, ANY_PAGE), to(2, see(op("+", G, 2))))])


def stores_of_which_the_last_wins() -> System:
    cur = Var("mm.cur", "gfn", 0, 2)
    look = fork(flag(Shared("mm.cur")), to(3, see(1)), to(3, see(2)))
    cur_is_g = put(Shared("mm.cur"), G)
    stores = (put(Shared("mm.cur"), page) for page in (0, 1))
    return small([FLAG, SEEN, cur], [one(to(1, ANY_PAGE, cur_is_g), to(2, put(flag(G), 1), *stores), look)])


def a_check_between_two_stores() -> System:
    """Break a rule when one page is set and the other is not yet."""
    check = Check(Local("own.b"), "leak", "chosen")
    chosen = Choose(Local("own.b"), Const(0), Const(2))
    steps = to(1, ANY_PAGE, chosen, put(Shared("mm.pte", G), 1)), to(2, put(flag(0), 1), check, put(flag(1), 1))
    return small([FLAG, PTE], [one(*steps, own=(GFN, Var("own.b", "bool", 0, 1)))], "leak")


def checks_of_two_rules_page_by_page() -> System:
    leak = [Check(op("not", flag(page)), "leak", "set") for page in (0, 1)]
    balance = [Check(op("not", Shared("mm.pte", Const(page))), "balance", "set") for page in (0, 1)]
    choice = ANY_PAGE, Choose(H, Const(0), Const(2)), put(flag(G), 1), put(Shared("mm.pte", H), 1)
    checks = leak[0], balance[0], leak[1], balance[1]
    return small([FLAG, PTE], [one(to(1, *choice), to(2, *checks), own=(GFN, OTHER))], "leak", "balance")


def checks_of_two_rules() -> System:
    checks = Check(op("not", flag(0)), "leak", "set"), Check(op("not", flag(1)), "balance", "set")
    return small([FLAG], [one(to(1, ANY_PAGE, put(flag(G), 1)), to(2, *checks))], "leak", "balance")


def a_frame_compared_with_a_constant() -> System:
    any_frame = Choose(P, Const(1), Const(3))
    check = Check(op("!=", P, 2), "leak", "frame 2")
    return small([USED], [one(to(1, any_frame), to(2, check, put(used(P), 1)), own=(FRAME,))], "leak")


def frames_in_a_ring() -> System:
    """Link each frame to the next: turning the ring changes nothing, and swapping two frames does."""
    ring = Var("mm.ring", "bool", 0, 1, 16, 0, ("frame", "frame"))
    link = [put(Shared("mm.ring", Const(4 * a + b)), 1) for a, b in ((1, 2), (2, 3), (3, 1))]
    other = Local("own.q")
    there, back = (Shared("mm.ring", op("+", op("*", a, 4), b)) for a, b in ((P, other), (other, P)))
    check = Check(op("not", op("and", there, back)), "leak", "both ways")
    choose = Choose(P, Const(1), Const(4)), Choose(other, Const(1), Const(4), op("!=", P, other))
    own = replace(FRAME, hi=3), Var("own.q", "page", 0, 3)
    return small([ring], [one(to(1, *link), to(2, *choose), to(3, *link, check), own=own)], "leak", frames=3)


def arithmetic_on_frames() -> System:
    any_frame = Choose(P, Const(1), Const(3))
    return small([SEEN], [one(to(1, any_frame), to(2, see(op("*", P, 2))), own=(FRAME,))])


def the_next_frame() -> System:
    following = put(P, op("?:", op("<", P, 2), op("+", P, 1), P))
    check = Check(op("not", used(P)), "leak", "the same")
    any_frame = Choose(P, Const(1), Const(3)), put(used(P), 1)
    return small([USED], [one(to(1, *any_frame), to(2, following, check), own=(FRAME,))], "leak")


TURN = Var("mm.turn", "int", 0, 3, 2, 0, ("cpu",))


def turn(cpu: int) -> Shared:
    return Shared("mm.turn", Const(cpu))


def cpus_flushed_in_order() -> System:
    """Let another CPU flush one vCPU after the other."""
    vcpus = [one(to(1, put(turn(cpu), 1)), own=()) for cpu in (0, 1)]
    flush = one(to(1, put(turn(0), 2)), to(2, put(turn(1), 2)), own=())
    return small([replace(TURN, size=3)], [*vcpus, flush])


def the_number_of_a_cpu_stored() -> System:
    return small([SEEN], [one(to(1, see(cpu)), own=()) for cpu in (1, 2)])


def a_difference_the_other_way_round() -> System:
    own = Var("own.i", "int", 0, 3, 1, 1)
    i, other = Local("own.i"), Shared("mm.other")
    values = op("+", op("-", i, other), 3), op("+", op("-", other, i), 3)
    return small([SEEN, Var("mm.other", "int", 0, 3)], [one(to(1, see(value)), own=(own,)) for value in values])


def like_threads_with_other_locals() -> System:
    def made(init: int) -> Thread:
        return one(to(1, see(B)), own=(Var("own.b", "int", 0, 1, 1, init),))

    return small([SEEN], [made(0), made(1)])


def an_element_of_the_next_row() -> System:
    """Reach the elements of the next CPU by a gfn that is the end of a range."""
    tlb = Var("hw.tlb", "int", 0, 3, 4, 0, ("cpu", "page"))
    beyond = put(G, 2), put(Shared("hw.tlb", G), 1)
    inside = put(G, 0), put(Shared("hw.tlb", op("+", 2, G)), 1)
    return small([tlb], [one(to(1, *beyond)), one(to(1, *inside))])


TRAPS: list[tuple[Callable[[], System], str, str]] = [
    (lowest_free_frame, "frames", "does not treat 1 and 2 alike"),
    (lowest_by_a_conditional, "frames", "does not treat 1 and 2 alike"),
    (pages_in_order, "pages", "for a number"),
    (a_gfn_below_another, "pages", "by order"),
    (an_order_that_the_first_page_meets, "pages", "by order"),
    (an_aimed_operation, "pages", "does not treat 0 and 1 alike"),
    (an_aimed_operation_by_a_local, "pages", "does not treat 0 and 1 alike"),
    (a_local_array_that_counts_nothing, "pages", "for a number"),
    (a_local_array_looked_at_in_order, "pages", "does not treat 0 and 1 alike"),
    (pages_that_begin_unlike, "pages", "does not treat 0 and 1 alike"),
    (an_owner_that_is_page_0_when_free, "pages", "does not treat 0 and 1 alike"),
    (a_choice_among_some_pages, "pages", "chooses among some"),
    (a_choice_by_a_constant, "pages", "does not treat 0 and 1 alike"),
    (arithmetic_on_gfns, "pages", "computes with their numbers"),
    (a_gfn_as_a_truth_value, "pages", "for a truth value"),
    (stores_of_which_the_last_wins, "pages", "does not treat 0 and 1 alike"),
    (a_check_between_two_stores, "pages", "does not treat 0 and 1 alike"),
    (checks_of_two_rules, "pages", "does not treat 0 and 1 alike"),
    (checks_of_two_rules_page_by_page, "pages", "does not treat 0 and 1 alike"),
    (a_frame_compared_with_a_constant, "frames", "does not treat 1 and 2 alike"),
    (frames_in_a_ring, "frames", "does not treat 1 and 2 alike"),
    (arithmetic_on_frames, "frames", "computes with their numbers"),
    (the_next_frame, "frames", "by order"),
    (cpus_flushed_in_order, "threads", "does not treat 0 and 1 alike"),
    (the_number_of_a_cpu_stored, "threads", "does not treat 0 and 1 alike"),
    (a_difference_the_other_way_round, "threads", "does not treat 0 and 1 alike"),
    (an_element_of_the_next_row, "threads", "cannot be split"),
]


@pytest.mark.parametrize(("trap", "kind", "word"), TRAPS, ids=[trap.__name__ for trap, _, _ in TRAPS])
def test_a_trap_is_given_up_and_would_be_counted_wrong(trap, kind, word):
    system = trap()
    symmetry = find_symmetry(system)
    assert not getattr(symmetry, kind)
    assert any(note.startswith(kind) and word in note for note in symmetry.notes), symmetry.notes
    forced = {
        "pages": replace(symmetry, pages=True),
        "frames": replace(symmetry, frames=True),
        "threads": replace(symmetry, threads=((0, 1),)),
    }
    assert wrong(system, forced[kind])
    assert not wrong(system, symmetry)


def test_a_gfn_that_is_left_set_or_not_gives_pages_up():
    """A gfn that no one reads again is a page on one way and none on the other."""
    way = fork(Local("own.b"), to(1, ANY_PAGE), to(1), Choose(Local("own.b"), Const(0), Const(2)))
    system = small([FLAG], [one(way, to(2, put(flag(0), 0), put(flag(1), 0)), own=(GFN, Var("own.b", "bool", 0, 1)))])
    symmetry = find_symmetry(system)
    assert not symmetry.pages
    assert symmetry.notes == ("pages: method (plan.py:1) may leave g set or not",)


def test_a_variable_without_room_for_all_pages_gives_them_up():
    """A swap would store what the variable cannot hold."""
    system = small([FLAG, Var("mm.cur", "gfn", 0, 0)], [one(to(1, ANY_PAGE))])
    assert find_symmetry(system).notes == ("pages: mm.cur has no room for all of them",)


def test_a_step_of_too_many_paths_is_given_up():
    body = to(1)
    for bit in range(11):
        body = fork(Local("own.bits", Const(bit)), body, body)
    system = small([FLAG], [one(body, own=(Var("own.bits", "bool", 0, 1, 11),))])
    symmetry = find_symmetry(system)
    assert symmetry.notes[0] == "pages: method (plan.py:1) has too many paths to be compared"
    assert not symmetry.pages


def test_threads_of_which_one_has_no_element_are_not_alike():
    threads = [one(to(1, see(1)), own=()) for _ in (0, 1)]
    assert find_symmetry(small([SEEN], threads, vcpus=1)).threads == ()
    assert find_symmetry(small([SEEN], threads, vcpus=2)).threads == ((0, 1),)


def test_threads_that_differ_in_their_locals_are_not_alike():
    system = like_threads_with_other_locals()
    assert find_symmetry(system) == Symmetry((), False, False)


# ---- plans --------------------------------------------------------------------------------------------


def kvm(vcpus: int, pages: int, *ops: str, any_frame: bool = True) -> Symmetry:
    plan = next(plan for plan in read_plans(DRIVERS / "kvm2008.py") if plan.name == "Kvm2008")
    return find_symmetry(build(plan, Scenario(vcpus, pages, ops), any_frame=any_frame))


def test_like_operations_of_the_shipped_plan_are_exchanged_and_flushed_vcpus_are_not():
    found = kvm(2, 1, "zap", "reclaim", "zap")
    assert found.threads == ((2, 4),)
    assert found.frames
    (note,) = found.notes
    assert re.search(r"flush \(secondary\.py:\d+\) does not treat 0 and 1 alike$", note)
    assert note.startswith("threads vCPU0 and vCPU1: zap/")


def test_the_lowest_free_frame_of_the_shipped_plan_gives_frames_up():
    found = kvm(1, 1, "zap", any_frame=False)
    assert not found.frames
    assert any(note.startswith("frames: ") and "(primary.py:" in note for note in found.notes)


def test_operations_aimed_at_different_pages_are_not_alike():
    assert kvm(1, 2, "reclaim@0", "reclaim@1").threads == ()
    assert kvm(1, 2, "reclaim@1", "reclaim@1").threads == ((1, 2),)
    assert not kvm(1, 2, "reclaim@0").pages


def test_arrays_say_what_they_count():
    plan = next(plan for plan in read_plans(DRIVERS / "kvm2008.py") if plan.name == "Kvm2008")
    system = build(plan, Scenario(2, 2, ("zap",)))
    shared = {var.name: var for var in system.shared}
    extents = dict(system.extents)
    assert extents == {"page": 2, "frame": 4, "vcpu": 2, "cpu": 3}
    assert shared["hw.tlb"].per == ("vcpu", "page")
    assert shared["mm.taken"].per == ("cpu", "frame")
    assert shared["mm.pt_lock"].per == ()
    gather = next(var for var in system.threads[2].locals if var.name == "clear.gather")
    assert gather.per == ("page",)
