# SPDX-License-Identifier: Apache-2.0
"""Hold the reference engine against SPIN on the shipped plans, the gallery, and plans that use all of the language."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.searching import CLIENTS, DRIVERS, judged
from support.searching import PLANS as PLAN_FILES
from support.searching import scenario as read_scenario
from support.spin import requires_spin, run_spin

import unpinned.drivers.kvm2008
from unpinned.check.ladder import ladder
from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.export.promela import promela
from unpinned.gallery.entry import entries
from unpinned.ir.program import System
from unpinned.ir.rules import RULES
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans

PLANS = {plan.name: plan for plan in read_plans(Path(unpinned.drivers.kvm2008.__file__))}
ENTRIES = {entry.name: entry for entry in entries()}
TODAY = {
    plan.name: plan
    for file in ("kvm", "interval", "gru", "sva", "pinned", "rdma_odp", "xpmem")
    for plan in read_plans(DRIVERS / f"{file}.py")
    if plan.era == "current"
}
VOCABULARY = {plan.name: plan for plan in read_plans(PLAN_FILES / "vocabulary.py")}


def agree(system: System, scenario: Scenario, workdir: Path, optimize: str = "-O0") -> None:
    graph = explore(compile_system(system), to_end=True)
    judged = run_spin(promela(system, str(scenario)), workdir, optimize=optimize)
    rules = [graph.rule(i) for i in graph.broken]
    deadlocks = rules.count("deadlock")
    assert graph.complete
    assert judged.states == len(graph.states)
    assert judged.broken == len(rules) - deadlocks + len(graph.limits)
    assert judged.rules == ({*rules} - {"deadlock"}) | ({"limit"} if graph.limits else set())
    assert judged.deadlocks == deadlocks


@requires_spin
@pytest.mark.parametrize("op", ["munmap", "zap", "reclaim"])
@pytest.mark.parametrize("plan", PLANS)
def test_spin_agrees(plan: str, op: str, tmp_path: Path) -> None:
    scenario = Scenario(1, 1, (op,))
    agree(build(PLANS[plan], scenario), scenario, tmp_path)


@requires_spin
@pytest.mark.parametrize("plan", VOCABULARY)
def test_spin_agrees_on_every_word_of_the_language(plan: str, tmp_path: Path) -> None:
    scenario = Scenario(1, 1, ("zap",))
    agree(build(VOCABULARY[plan], scenario), scenario, tmp_path)


@requires_spin
@pytest.mark.parametrize("op", ["fork+cow", "migrate", "mprotect", "mremap", "oom_reap", "zap"])
@pytest.mark.parametrize("plan", TODAY)
def test_spin_agrees_on_the_mm_of_today(plan: str, op: str, tmp_path: Path) -> None:
    scenario = Scenario(1, 1, tuple(op.split("+")))
    agree(build(TODAY[plan], scenario, frozenset(RULES)), scenario, tmp_path)


@requires_spin
@pytest.mark.parametrize(
    ("path", "name", "beside"), judged(*CLIENTS, "tasks"), ids=lambda value: getattr(value, "stem", value)
)
def test_spin_agrees_on_clients(path: Path, name: str, beside: str, tmp_path: Path) -> None:
    (plan,) = (plan for plan in read_plans(path) if plan.name == name)
    scenario = read_scenario(beside)
    agree(build(plan, scenario), scenario, tmp_path)


@requires_spin
@pytest.mark.parametrize(("path", "name", "beside"), judged("ioproc"), ids=lambda value: getattr(value, "stem", value))
def test_spin_agrees_on_hooks_under_the_page_table_lock(path: Path, name: str, beside: str, tmp_path: Path) -> None:
    (plan,) = (plan for plan in read_plans(path) if plan.name == name)
    scenario = read_scenario(beside)
    agree(build(plan, scenario), scenario, tmp_path)


@requires_spin
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(1, 1, ("zap", "zap")),
        Scenario(1, 1, ("zap", "reclaim")),
        Scenario(1, 2, ("zap",)),
        Scenario(2, 1, ("zap",)),
    ],
    ids=str,
)
@pytest.mark.parametrize("plan", PLANS)
def test_spin_agrees_on_larger_scenarios(plan: str, scenario: Scenario, tmp_path: Path) -> None:
    agree(build(PLANS[plan], scenario), scenario, tmp_path, optimize="-O2")


@requires_spin
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", ["broken", "fixed"])
@pytest.mark.parametrize("name", ENTRIES)
def test_spin_agrees_on_the_gallery(name: str, which: str, tmp_path: Path) -> None:
    entry = ENTRIES[name]
    (plan,) = read_plans(getattr(entry, which))
    scenario = next(rung.scenario for rung in ladder(plan) if str(rung.scenario) == entry.scenario)
    agree(build(plan, scenario), scenario, tmp_path)
