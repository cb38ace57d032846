# SPDX-License-Identifier: Apache-2.0
"""Each rule has plans that break it, with the exact set of rules that they break, and near twins that break none.

The plans are in tests/plans, the shipped ones in drivers/, the variants of 22 April 2008 in examples/. Each search goes
to the end: a state that breaks a rule is counted and not expanded. Where a plan breaks several rules, each of them ends
a path of its own: a comment says how.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.searching import DRIVERS, EXAMPLES, PLANS, find, scenario, search

from unpinned.check.graph import endless_fault, stuck
from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.ir.program import System
from unpinned.ir.rules import RULES
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build, promises
from unpinned.plan.reading.classes import read_plans

FOLDERS = {"drivers": DRIVERS, "examples": EXAMPLES}

TABLE = Path(__file__).with_name("rules.txt")


def _cases() -> list[tuple[str, str, int, frozenset[str]]]:
    lines = (line.split("#")[0].split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    return [(plan, beside, int(states), frozenset(rules)) for plan, beside, states, *rules in filter(None, lines)]


def _write_states(plan: str, beside: str, states: int) -> None:
    row = re.compile(rf"^({re.escape(plan)} +{re.escape(beside)} +)\d+", re.MULTILINE)
    text, found = row.subn(rf"\g<1>{states}", TABLE.read_text(encoding="utf-8"))
    assert found == 1
    TABLE.write_text(text, encoding="utf-8")


def _path(plan: str) -> tuple[Path, str]:
    """Return the file of "FILE.Class" (in tests/plans) or "FOLDER/FILE.Class", and the class."""
    where, name = plan.split(".")
    folder, _, file = where.rpartition("/")
    return FOLDERS.get(folder, PLANS) / f"{file}.py", name


@pytest.mark.parametrize(
    ("plan", "beside", "states", "rules"), _cases(), ids=[f"{case[0]}-{case[1]}" for case in _cases()]
)
def test_exact_rules_and_states(request, plan: str, beside: str, states: int, rules: frozenset[str]) -> None:
    found = find(*_path(plan), beside)
    assert found.rules == rules
    if request.config.getoption("write_golden"):
        _write_states(plan, beside, found.states)
    else:
        assert found.states == states


def test_every_rule_is_broken_by_a_plan_that_breaks_no_other() -> None:
    assert {next(iter(rules)) for _, _, _, rules in _cases() if len(rules) == 1} == set(RULES)


@pytest.mark.parametrize("folder", [PLANS, EXAMPLES, DRIVERS], ids=lambda folder: folder.name)
def test_every_plan_is_judged(folder) -> None:
    named = {_path(plan) for plan, _, _, _ in _cases()}
    # tests/lint checks its own plans.
    files = [path for path in sorted(folder.glob("*.py")) if path.stem not in ("__init__", "lints", "lints_current")]
    assert {(path, plan.name) for path in files for plan in read_plans(path)} <= named


def _waivers() -> list[object]:
    plans = (plan for path in sorted(DRIVERS.glob("*.py")) if path.name != "__init__.py" for plan in read_plans(path))
    return [pytest.param(plan, rule, id=f"{plan.name}-{rule}") for plan in plans for rule in plan.waive]


@pytest.mark.parametrize(("plan", "rule"), _waivers())
def test_what_a_shipped_plan_waives_it_breaks(plan, rule: str) -> None:
    systems = (build(plan, Scenario(1, 1, (op,)), frozenset({rule})) for op in (*plan.admitted, *plan.own))
    assert any(rule in found_rules(system) for system in systems)


def found_rules(system: System) -> set[str]:
    graph = explore(compile_system(system))
    return {graph.rule(i) for i in graph.broken}


def test_methods_that_sleep_need_locks_that_sleep() -> None:
    """The mail says it of XPMEM: it needs more of the patches than the GRU and KVM, whose methods do not sleep."""
    plan = next(plan for plan in read_plans(DRIVERS / "xpmem.py") if plan.name == "Xpmem2008")
    spinning = build(replace(plan, flavour="spinning"), scenario("1:1:reclaim"))
    assert found_rules(spinning) == {"sleep-in-atomic"}
    assert found_rules(build(plan, scenario("1:1:reclaim"))) == set()
    for path, other in (("gru", "Gru2008"), ("kvm2008", "Kvm2008")):
        plan = next(plan for plan in read_plans(DRIVERS / f"{path}.py") if plan.name == other)
        assert plan.flavour == "spinning"
        assert found_rules(build(plan, scenario("1:1:reclaim"))) == set()


def test_a_partial_deadlock_leaves_no_state_without_a_step() -> None:
    """The fault spins for ever under the lock, so that every state has a step; end waits for ever all the same."""
    graph = search(PLANS / "deadlock.py", "SpinUnderLock", "1:1:zap")
    assert graph.complete
    assert not graph.broken
    found = stuck(graph)
    assert found is not None
    where, cpu = found
    assert graph.successors.system.threads[cpu].name == "zap"
    assert graph.edges[where.start]
    assert endless_fault(graph) is None  # the spinning does not count: an invalidator stands between start and end


def test_a_hung_vcpu_is_told_while_another_goes_on() -> None:
    """vCPU0 has taken its page's lock twice; vCPU1 reads on through its TLB."""
    graph = search(PLANS / "deadlock.py", "WriteTwice", "2:1:")
    found = stuck(graph)
    assert found is not None
    where, hung = found
    movers = {graph.successors.leaves[leaf].thread for leaf, _ in graph.out(where.start)}
    assert movers
    assert hung not in movers


def test_every_fault_after_munmap_ends_with_fault() -> None:
    """With the page gone for good a fault neither maps nor is replayed for ever: it ends."""
    graph = search(DRIVERS / "kvm2008.py", "Kvm2008", "1:1:munmap")
    lay, system = graph.successors.lay, graph.successors.system
    gone = lay.shared["mm.unmapped"].at
    spte, open_ = lay.shared["hw.spte"].at, lay.shared["mm.open"].at
    closed = lay.shared["mm.open"].bias
    after = [i for i, state in enumerate(graph.states) if state[gone] and state[open_] == closed]
    done = [i for i in after if lay.place(graph.states[i], 1) == len(system.threads[1].steps)]
    assert done
    assert not any(graph.states[i][spte] for i in done)
    assert endless_fault(graph) is None


def test_a_gate_round_the_translation_waits_for_itself() -> None:
    """The fault is inside and wants mmap_lock; munmap has that, and waits until no fault is inside."""
    assert stuck(search(PLANS / "vocabulary.py", "Gate", "1:1:munmap"))


def test_methods_that_do_not_sleep_are_enough_for_three_clients() -> None:
    """The mail says it of GRU, KVM and Quadrics: the locks under which the mm calls them may be spinlocks."""
    clients = {"gru": "Gru2008", "kvm2008": "Kvm2008", "quadrics": "Ioproc"}
    for file, name in clients.items():
        plan = next(plan for plan in read_plans(DRIVERS / f"{file}.py") if plan.name == name)
        assert (plan.era, plan.flavour) in (("2008", "spinning"), ("2005", "spinning"))
        assert "sleep-in-atomic" in promises(plan)
        assert found_rules(build(plan, scenario("1:1:reclaim"))) == set()
