# SPDX-License-Identifier: Apache-2.0
"""Search a plan to the end, past violations, and say which rules it broke."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from unpinned.check.graph import endless_fault, stuck
from unpinned.check.search import Graph, explore
from unpinned.check.successors import compile_system
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import read_plans

ROOT = Path(__file__).parents[2]
PLANS = ROOT / "tests" / "plans"
EXAMPLES = ROOT / "examples"
DRIVERS = ROOT / "src" / "unpinned" / "drivers"


#: The files of plans whose clients have more than locks and counters: operations of their own, objects, work.
CLIENTS = ("own", "lifetime", "work", "registration")


def every_plan() -> list[ParameterSet]:
    """Return the plans against the mm of 2008, the examples and those of the tests; mutants are for the long form."""
    files = [*DRIVERS.glob("*2008.py"), *sorted(EXAMPLES.glob("*.py")), *sorted(PLANS.glob("*.py"))]
    return [
        pytest.param(plan, id=plan.name, marks=pytest.mark.long if file.stem.startswith("mutants") else ())
        for file in files
        for plan in read_plans(file)
    ]


@dataclass(frozen=True)
class Found:
    """What a search to the end found: every rule that some state breaks, and how many states there are.

    States that break a rule are counted and not expanded. `graph` is all of it.
    """

    rules: frozenset[str]
    states: int
    graph: Graph


def judged(*files: str) -> list[tuple[Path, str, str]]:
    """Return (path, class, scenario) for each row of tests/check/rules.txt on these files of tests/plans."""
    table = (ROOT / "tests" / "check" / "rules.txt").read_text(encoding="utf-8")
    rows = [line.split("#")[0].split() for line in table.splitlines()]
    named = [(*row[0].split("."), row[1]) for row in rows if row]
    return [(PLANS / f"{file}.py", name, beside) for file, name, beside in named if file in files]


def scenario(text: str) -> Scenario:
    """Read "2:1:zap+reclaim/1": vCPUs, pages, operations (there may be none), and CPUs, if tasks share them."""
    vcpus, pages, ops = text.split(":")
    ops, _, cpus = ops.partition("/")
    return Scenario(int(vcpus), int(pages), tuple(ops.split("+")) if ops else (), int(cpus) if cpus else None)


def search(path: Path, name: str, beside: str) -> Graph:
    """Search the plan `name` of a file beside a scenario, to the end; every rule is promised."""
    plan = next(plan for plan in read_plans(path) if plan.name == name)
    return explore(compile_system(build(plan, scenario(beside))), to_end=True)


def find(path: Path, name: str, beside: str) -> Found:
    """Search a plan to the end, the rules of the whole graph included; no bound of the model may be met."""
    graph = search(path, name, beside)
    assert graph.complete
    assert not graph.limits
    rules = {graph.rule(i) for i in graph.broken}
    if stuck(graph):
        rules.add("deadlock")
    if endless_fault(graph):
        rules.add("progress")
    return Found(frozenset(rules), len(graph.states), graph)
