# SPDX-License-Identifier: Apache-2.0
"""Who leaves the list of notifiers: what the core owes to its client, and which scenarios ask for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.searching import PLANS

import unpinned.mm.core
from unpinned.check.ladder import ladder
from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.errors import UsageError
from unpinned.mm import system
from unpinned.mm.scenario import Scenario
from unpinned.plan.reading.classes import PlanClass, read_model, read_plans

MADE = {plan.name: plan for plan in read_plans(PLANS / "registration.py")}
CORE = Path(unpinned.mm.core.__file__)
REAL = system._mm
#: A step of the core, and where it stands.
SYNCHRONIZE = "        self.srcu.synchronize()\n"
SECTION = "        with self.srcu.read():\n            found = self.find()\n"


def rules_with(core: Path, text: str, method: str, beside: tuple[str, ...], patch: pytest.MonkeyPatch) -> set[str]:
    """Return the rules that `Closed` breaks when one method of the core stands as in another text."""
    core.write_text(text, encoding="utf-8")
    other = read_model(core, "Core").methods[method]

    def made(era: str, flavour: str, name: str) -> PlanClass:
        mm = REAL(era, flavour, name)
        return replace(mm, methods=mm.methods | {method: other})

    patch.setattr(system, "_mm", made)
    graph = explore(compile_system(system.build(MADE["Closed"], Scenario(1, 1, beside))))
    return {graph.rule(i) for i in graph.broken}


@pytest.mark.parametrize(
    ("method", "old", "new", "beside"),
    [
        ("mmu_notifier_unregister", SYNCHRONIZE, "", ("zap", "close")),
        ("walk_start", SECTION, SECTION.replace("with self.srcu.read()", "if True"), ("zap", "close")),
        ("mmu_notifier_unregister", "            self.unlink()\n", "", ("zap", "close")),
    ],
    ids=["no synchronize", "no section", "not taken off"],
)
def test_a_core_that_calls_a_client_that_has_left(tmp_path, monkeypatch, method, old, new, beside):
    text = CORE.read_text(encoding="utf-8")
    at = text.index(f"    def {method}(")
    changed = text[:at] + text[at:].replace(old, new, 1)
    assert changed != text
    assert rules_with(tmp_path / "core.py", text, method, beside, monkeypatch) == set()
    assert "lifetime" in rules_with(tmp_path / "core.py", changed, method, beside, monkeypatch)


def test_exit_is_for_plans_that_are_released():
    asked = {plan.name: [r.scenario for r in ladder(plan) if "exit" in r.scenario.ops] for plan in MADE.values()}
    assert Scenario(1, 1, ("reclaim", "exit")) in asked["Released"]
    assert Scenario(1, 1, ("close", "exit")) in asked["Closed"]
    assert all(len(scenarios) >= 4 for scenarios in asked.values())
    (without,) = read_plans(PLANS.parents[1] / "src/unpinned/drivers/kvm.py")
    assert not [rung for rung in ladder(without) if "exit" in rung.scenario.ops]
    only = replace(MADE["Released"], operations=("exit",))
    assert [rung.scenario.ops for rung in ladder(only)] == [("exit",)] * 3


@pytest.mark.parametrize("ops", [("zap", "exit"), ("exit", "munmap@0"), ("exit", "exit")], ids="+".join)
def test_exit_comes_after_all_threads(ops):
    with pytest.raises(UsageError, match="exit comes once, when no thread of the process is left"):
        Scenario(1, 1, ops)


def test_the_mm_exits_as_a_whole():
    with pytest.raises(UsageError, match="the mm exits as a whole"):
        Scenario(1, 1, ("exit@0",))


def test_without_a_way_out_there_is_no_list():
    """The states of a plan with release are those that it had without, where nothing can take it off."""
    plan = MADE["Released"]
    names = {var.name for var in system.build(plan, Scenario(1, 1, ("zap",))).shared}
    assert not names & {"mm.linked", "mm.srcu", "mm.list_lock", "mm.left"}
    names = {var.name for var in system.build(plan, Scenario(1, 1, ("exit",))).shared}
    assert {"mm.linked", "mm.srcu", "mm.list_lock"} <= names
    assert "mm.left" not in names
