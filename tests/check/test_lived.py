# SPDX-License-Identifier: Apache-2.0
"""Take walks of the engine on the plan as Python runs it: nothing that reads plans is shared (support/lived.py).

After each step every shared variable is the same on both sides, and each CPU can go on in as many ways.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.campaigns import RUN, compare_many, in_parts
from support.lived import Life
from support.made_plans import SCENARIOS, made_plans, read_made
from support.searching import CLIENTS, DRIVERS, EXAMPLES, PLANS, judged, scenario

from unpinned.ir.interp import outcomes
from unpinned.ir.layout import BROKEN, Layout, initial, layout
from unpinned.ir.program import FALSE, Body, Check, Expr, Goto, Set, Shared, Step, Stmt, Wait, reads
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build
from unpinned.plan.reading.classes import PlanClass, read_plans

FILES = [DRIVERS / "kvm2008.py", *sorted(EXAMPLES.glob("*.py")), *sorted(PLANS.glob("*.py"))]
# The mm that Python runs here is that of 2008, and no client leaves it.
ELSEWHERE = {
    "current",
    "ioproc",
    "lints_current",
    "mutants",
    "mutants2008",
    "mutants_lifetime",
    "registration",
}
FILES = [path for path in FILES if path.stem not in ELSEWHERE]


def _stmts(body: Body) -> list[Stmt]:
    if isinstance(body.end, Goto):
        return list(body.stmts)
    return [*body.stmts, *_stmts(body.end.then), *_stmts(body.end.orelse)]


def _silent(step: Step, plan_files: set[str]) -> bool:
    """Tell whether a step is one of the engine's own: a cut in a loop of locals, a sleep that is not allowed."""
    stmts = _stmts(step.body)
    exprs: list[Expr] = []
    for stmt in stmts:
        exprs += [stmt.target, stmt.value] if isinstance(stmt, Set) else []
        exprs += [stmt.cond] if isinstance(stmt, Wait) else []
        # To use an object changes nothing, and is a step all the same.
        exprs += [stmt.cond] if isinstance(stmt, Check) and stmt.rule == "lifetime" else []
    if any(isinstance(ref, Shared) for expr in exprs for ref in reads(expr)):
        return False
    return step.pos.file in plan_files or any(isinstance(stmt, Check) and stmt.cond == FALSE for stmt in stmts)


def _seen(lay: Layout, state: bytes) -> dict[str, list[int]]:
    return {
        name: [byte - slot.bias for byte in state[slot.at : slot.at + slot.var.size]]
        for name, slot in lay.shared.items()
    }


def walk(plan: PlanClass, text: str, who: Scenario, random: Random, steps: int) -> int:
    """Take one walk on both sides; return how many steps it had before a rule was broken or nobody could move."""
    system = build(plan, who, any_frame=True)
    lay = layout(system)
    state = initial(lay)
    files = {method.source.path for method in plan.methods.values()}
    silent = [[_silent(step, files) for step in thread.steps] for thread in system.threads]
    life = Life(text, plan.name, who.vcpus, who.pages, who.frames, who.ops)
    last = 0
    try:
        for taken in range(steps):
            ways = {}
            for t, thread in enumerate(system.threads):
                ways[t] = outcomes(system, lay, state, t)
                place = lay.place(state, t)
                if place < len(thread.steps) and silent[t][place]:
                    continue
                limits = [way for way in ways[t] if way.state[BROKEN]]
                assert len(ways[t]) == life.cpus[t].able() or limits, f"step {taken}: CPU {t} at {place}"
            able = [t for t, found in ways.items() if found]
            if not able:
                return taken
            last = t = last if last in able and random.random() < 0.6 else random.choice(able)
            choice = random.randrange(len(ways[t]))
            place = lay.place(state, t)
            state = ways[t][choice].state
            if state[BROKEN]:
                return taken
            if not silent[t][place]:
                life.cpus[t].take(choice)
            assert _seen(lay, state) == life.values, f"step {taken}: CPU {t} at {system.threads[t].steps[place].pos}"
    finally:
        life.end()
    return steps


def whole_text(path: Path) -> str:
    """Return a file with the plan that it may derive from before it."""
    base = "" if path.name == "kvm2008.py" else (DRIVERS / "kvm2008.py").read_text()
    return base + path.read_text()


@pytest.mark.parametrize("beside", ["1:1:munmap", "2:2:zap+reclaim", "1:2:zap@0+reclaim@1"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_plans_do_what_python_does(path: Path, beside: str) -> None:
    random = Random(1)
    for plan in read_plans(path):
        for _ in range(2):
            walk(plan, whole_text(path), scenario(beside), random, 150)


#: Rows of plans that are run as Python here, where each task has a CPU of its own.
LIVED = [row for row in judged(*CLIENTS, "tasks") if "/" not in row[2] and row[0].stem not in ELSEWHERE]


@pytest.mark.parametrize(("path", "name", "beside"), LIVED, ids=lambda value: getattr(value, "stem", value))
def test_clients_do_what_python_does(path: Path, name: str, beside: str) -> None:
    (plan,) = (plan for plan in read_plans(path) if plan.name == name)
    random = Random(2)
    taken = [walk(plan, whole_text(path), scenario(beside), random, 400) for _ in range(6)]
    assert max(taken) > 5


WHO = [":".join(map(str, at)) for at in SCENARIOS] + [
    "1:2:zap",
    "2:1:munmap+reclaim",
    "2:2:zap+reclaim",
    "1:2:munmap@1+zap@0",
]


MADE = (made_plans(), st.sampled_from(WHO), st.integers(0, 10**6))


def walk_some(text: str, beside: str, seed: int) -> None:
    random = Random(seed)
    for _ in range(3):
        walk(read_made(text), text, scenario(beside), random, 300)


@settings(max_examples=40, deadline=None, derandomize=True, phases=RUN, suppress_health_check=list(HealthCheck))
@given(*MADE)
def test_made_plans_do_what_python_does(text: str, beside: str, seed: int) -> None:
    walk_some(text, beside, seed)


@in_parts(10)
def test_many_made_plans_do_what_python_does(part: int) -> None:
    compare_many(walk_some, *MADE, part=part, examples=200)
