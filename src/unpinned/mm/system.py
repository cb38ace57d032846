# SPDX-License-Identifier: Apache-2.0
"""Put a plan, the hardware and the mm together into a system that engines search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from unpinned.ir.invariants import add_invariants
from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import Check, Const, Expr, Shared, System, Thread, Var
from unpinned.ir.rules import RULES
from unpinned.mm.frames import free_frames_are_alike, take_the_lowest
from unpinned.mm.scenario import Scenario
from unpinned.plan.lowering.builder import Component, field_var
from unpinned.plan.lowering.statements import Lowerer, lower_thread
from unpinned.plan.lowering.values import Dims, Val
from unpinned.plan.reading.classes import PlanClass, read_model
from unpinned.plan.vocabulary import OPERATIONS

#: What a plan calls as its own -> the component and method that do it.
BUILTINS = {
    "get_user_page": ("mm", "get_user_page"),
    "put_page": ("mm", "put_page"),
    "map": ("hw", "map"),
    "zap": ("hw", "zap"),
    "zap_sptes": ("hw", "zap_sptes"),
    "flush": ("hw", "flush"),
}


def build(
    plan: PlanClass, scenario: Scenario, promised: frozenset[str] | None = None, any_frame: bool = False
) -> System:
    """Lower a plan beside a scenario.

    :param promised: the rules to break on, by default those of the plan.
    :param any_frame: let a new page take any free frame, even where the lowest shows the same (mm/frames.py).
    :raises PlanError: for whatever the plan does that is not in the language.
    """
    cpus = scenario.vcpus + len(scenario.ops)
    dims = Dims(scenario.pages, scenario.frames, scenario.vcpus, cpus)
    components = {
        "client": Component("client", "plan", plan, model=False, builtins=BUILTINS),
        "hw": Component("hw", "hw", _model("secondary", "Secondary"), model=True),
        "mm": Component("mm", "mm", _mm(plan.flavour), model=True),
    }
    invariants = _invariants(components, dims)
    threads: list[Thread] = []
    for cpu in range(cpus):
        args: tuple[Val, ...] = ()
        if cpu < scenario.vcpus:
            name, kind, entry = f"vCPU{cpu}", "vcpu", ("hw", "vcpu")
        else:
            op = scenario.operations[cpu - scenario.vcpus]
            name, kind, entry = op.name, "op", ("mm", op.name)
            if op.page is not None:
                entry, args = _AIMED[op.name](op.page)
        thread = lower_thread(components, dims, cpu, name, kind, entry, args)
        threads.append(add_invariants(thread, invariants))
    if promised is None:
        promised = promises(plan)
    if not any_frame and free_frames_are_alike(threads, promised):
        threads = [take_the_lowest(thread, dims.frames) for thread in threads]
    threads = [reset_dead_locals(thread) for thread in threads]
    shared: list[Var] = []
    for component in components.values():
        shared += [field_var(component, name, dims)[0] for name in component.cls.fields]
    faulting: list[Expr | None] = [Shared("hw.faulting", Const(cpu)) for cpu in range(scenario.vcpus)]
    faulting += [None] * len(scenario.ops)
    extents = ("page", dims.pages), ("frame", dims.frames), ("vcpu", dims.vcpus), ("cpu", dims.cpus)
    return System(plan.name, tuple(shared), tuple(threads), tuple(faulting), promised, extents)


def _one_page(method: str) -> Callable[[int], tuple[tuple[str, str], tuple[Val, ...]]]:
    return lambda page: (("mm", method), (Val("range", (Const(page), Const(page + 1))),))


#: What an operation that is aimed at one page runs: the method, and its arguments for a page.
_AIMED: Final[dict[str, Callable[[int], tuple[tuple[str, str], tuple[Val, ...]]]]] = {
    "zap": _one_page("zap_range"),
    "munmap": _one_page("munmap_range"),
    "reclaim": lambda page: (("mm", "reclaim_page"), (Val("gfn", (Const(page),)),)),
}


def whole(plan: PlanClass) -> System:
    """Lower all that the mm could call of a plan, so that a mistake is found before anything is searched.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    return build(plan, Scenario(1, 1, OPERATIONS))


def promises(plan: PlanClass) -> frozenset[str]:
    """Return the rules that a plan promises: all, unless it says which, and none that it waives."""
    return frozenset(plan.promises or RULES) - frozenset(plan.waive)


def null_ops(plan: PlanClass) -> tuple[str, ...]:
    """Return the methods that the mm would call and the plan lacks."""
    hooks = ("invalidate_range_start", "invalidate_range_end", "invalidate_page")
    return tuple(hook for hook in hooks if hook not in plan.methods)


@cache
def _mm(flavour: str) -> PlanClass:
    """Return the mm with the locks of its reverse map in a flavour: anon_vma's was a spinlock, and then slept (3.0)."""
    mm = _model("mm2008", "Mm2008")
    if flavour == "spinning":
        return mm
    lock = mm.fields["rmap_lock"]
    assert lock.of is not None
    return replace(mm, fields={**mm.fields, "rmap_lock": replace(lock, of=replace(lock.of, kind="Mutex"))})


@cache
def _model(module: str, name: str) -> PlanClass:
    return read_model(Path(__file__).parent / f"{module}.py", name)


def _invariants(components: dict[str, Component], dims: Dims) -> tuple[Check, ...]:
    """Return the checks of mm/rules.py, unrolled over pages and vCPUs."""
    rules = Component("rules", "rules", _model("rules", "Rules"), model=True)
    lowerer = Lowerer(components, dims, 0)
    lowerer.atomic = True
    lowerer.enter(rules, "after_each_step")
    checks: list[Check] = []
    node = lowerer.flow.entry
    while node is not None:
        if isinstance(node.stmt, Check):
            checks.append(node.stmt)
        node = node.next
    return tuple(checks)
