# SPDX-License-Identifier: Apache-2.0
"""The required part of the ladder: what is in it, and plans that only one of its rungs catches."""

from __future__ import annotations

import pytest
from support.searching import DRIVERS, EXAMPLES, PLANS, find

from unpinned.api import check_plan, plans
from unpinned.check.ladder import ladder
from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.check.verdict import Verdict
from unpinned.errors import PlanError, UsageError
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build


def required(plan):
    return [str(rung.scenario) for rung in ladder(plan) if rung.required]


def one(file, name):
    (plan,) = plans(file, name)
    return plan


def test_the_required_part_for_all_operations():
    assert required(one(DRIVERS / "kvm2008.py", "Kvm2008")) == [
        "1 vCPU, 1 page, zap",
        "1 vCPU, 1 page, munmap",
        "1 vCPU, 1 page, reclaim",
        "1 vCPU, 1 page, zap + zap",
        "1 vCPU, 1 page, zap + reclaim",
        "2 vCPUs, 1 page, zap",
        "1 vCPU, 2 pages, zap",
        "1 vCPU, 2 pages, zap@0 + reclaim@1",
    ]


def test_the_required_part_for_reclaim_alone():
    assert required(one(EXAMPLES / "page_alone.py", "PageAlone")) == [
        "1 vCPU, 1 page, reclaim",
        "1 vCPU, 1 page, reclaim + reclaim",
        "2 vCPUs, 1 page, reclaim",
        "1 vCPU, 2 pages, reclaim",
        "1 vCPU, 2 pages, reclaim@0 + reclaim@1",
    ]


def test_mprotect_and_mremap_come_later_and_are_required_where_there_is_nothing_else(tmp_path):
    plan = one(DRIVERS / "kvm2008.py", "Kvm2008")
    later = [str(rung.scenario) for rung in ladder(plan) if not rung.required]
    assert later[:2] == ["1 vCPU, 1 page, mprotect", "1 vCPU, 1 page, mremap"]
    head = "from unpinned.drivers.kvm2008 import Kvm2008Posted\n\n\nclass Moved(Kvm2008Posted):\n"
    (tmp_path / "moved.py").write_text(f"{head}    operations = ('mremap',)\n", encoding="utf-8")
    moved = one(tmp_path / "moved.py", "Moved")
    assert required(moved)[0] == "1 vCPU, 1 page, mremap"
    race = check_plan(moved, required_only=True).race
    assert race is not None
    assert race.rule == "coherence"


def test_the_required_part_has_the_operations_of_the_client():
    alone = "1 vCPU, 1 page, "
    assert required(one(PLANS / "own.py", "TwoOrders"))[1:6] == [
        f"{alone}{ops}"
        for ops in ("register", "deregister", "zap + register", "zap + deregister", "register + deregister")
    ]
    result = check_plan(one(PLANS / "own.py", "TwoOrders"), seconds=100, required_only=True)
    assert result.race is not None
    assert str(result.rungs[-1].rung.scenario) == "1 vCPU, 1 page, register + deregister"


def test_an_operation_that_nobody_has():
    plan = one(PLANS / "own.py", "PutsPages")
    with pytest.raises(UsageError, match=r"neither the mm of era .2008. nor PutsPages has an operation 'register'"):
        build(plan, Scenario(1, 1, ("register",)))
    with pytest.raises(UsageError, match="only an operation of the mm is aimed at a page"):
        Scenario(1, 1, ("deregister@0",))


def test_a_plan_with_too_many_workers_is_refused(tmp_path):
    text = (PLANS / "work.py").read_text(encoding="utf-8")
    field = '    work = WorkItem("handle")\n'
    more = "".join(f'    work{i} = WorkItem("handle")\n' for i in range(3))
    (tmp_path / "work.py").write_text(text.replace(field, field + more), encoding="utf-8")
    with pytest.raises(PlanError, match="4 work items and objects that are freed later"):
        build(one(tmp_path / "work.py", "Handler"), Scenario(1, 1, ("zap",)))


@pytest.mark.parametrize(
    ("name", "rule", "rung"),
    [
        ("PageSkipsUnderRange", "coherence", "1 vCPU, 2 pages, zap@0 + reclaim@1"),
        ("NestedStartSkips", "stale-use", "1 vCPU, 2 pages, zap@0 + zap@1"),
        ("PageCounterUnlocked", "balance", "1 vCPU, 2 pages, reclaim@0 + reclaim@1"),
        ("FirstPageOnly", "stale-use", "1 vCPU, 2 pages, zap"),
        ("Toggle", "stale-use", "1 vCPU, 1 page, munmap + munmap"),
    ],
)
def test_only_this_rung_of_the_required_part_shows_the_race(name, rule, rung):
    result = check_plan(one(PLANS / "ladder.py", name), seconds=100, required_only=True)
    assert result.verdict is Verdict.RACE
    assert result.race is not None
    assert result.race.rule == rule
    assert str(result.rungs[-1].rung.scenario) == rung


FILES = sorted([*DRIVERS.glob("k*.py"), *EXAMPLES.glob("*.py"), *PLANS.glob("*.py")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_lowest_free_frame_shows_what_any_frame_shows(file):
    """The narrowing of mm/frames.py changes no rule, no shortest length, and never adds a state."""
    for plan in plans(file):
        admitted = plan.operations or ("zap", "munmap", "reclaim")
        # What a plan's own operations do takes no frames.
        two_pages = [] if plan.own else [Scenario(1, 2, (admitted[-1],))]
        for scenario in [Scenario(1, 1, (op,)) for op in admitted] + two_pages:
            seen = []
            for any_frame in (True, False):
                graph = explore(compile_system(build(plan, scenario, any_frame=any_frame)), to_end=True)
                rules = {graph.rule(i) for i in graph.broken}
                first = min(map(graph.depth, graph.broken), default=None)
                seen.append((rules, first, len(graph.states)))
            assert seen[0][:2] == seen[1][:2]
            assert seen[1][2] <= seen[0][2]


def test_any_frame_is_tried_where_a_page_is_used_after_it_was_put():
    """EarlyPutUntested uses its page after put_page: there the narrowing is given up."""
    plan, scenario = one(PLANS / "stale_use.py", "EarlyPutUntested"), Scenario(1, 1, ("zap",))
    assert build(plan, scenario) == build(plan, scenario, any_frame=True)
    other = one(DRIVERS / "kvm2008.py", "Kvm2008")
    assert build(other, scenario) != build(other, scenario, any_frame=True)


def test_any_frame_is_tried_where_a_rule_is_not_promised():
    plan, scenario = one(DRIVERS / "kvm2008.py", "Kvm2008"), Scenario(1, 1, ("zap",))
    some = frozenset({"stale-use", "balance"})
    assert build(plan, scenario, some) == build(plan, scenario, some, any_frame=True)


def test_a_narrowed_search_breaks_what_the_table_of_rules_says():
    assert find(PLANS / "flush_before_free.py", "NoFlush", "1:1:zap").rules == {"flush-before-free"}
