# SPDX-License-Identifier: Apache-2.0
"""Put a plan, the hardware and the mm together into a system that engines search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from unpinned.errors import UsageError
from unpinned.ir.invariants import add_invariants
from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import Check, Const, Expr, Shared, System, Thread, Var
from unpinned.ir.rules import RULES
from unpinned.mm.cpus import share_cpus
from unpinned.mm.frames import free_frames_are_alike, take_the_lowest
from unpinned.mm.scenario import MAX_OPS, Scenario
from unpinned.plan.lowering.builder import Component, field_var
from unpinned.plan.lowering.statements import Lowerer, lower_thread
from unpinned.plan.lowering.values import Dims, Val
from unpinned.plan.lowering.workers import lower_worker, variables, workers
from unpinned.plan.reading.classes import PlanClass, read_model
from unpinned.plan.reading.subset import method_calls
from unpinned.plan.vocabulary import ERA_HOOKS, ERA_OPERATIONS

#: What a plan calls as its own -> the component and method that do it.
BUILTINS = {
    "get_user_page": ("mm", "get_user_page"),
    "mmu_notifier_unregister": ("mm", "mmu_notifier_unregister"),
    "put_page": ("mm", "put_page"),
    "tfh_read": ("hw", "tfh_read"),
    "tfh_write_restart": ("hw", "tfh_write_restart"),
    "map": ("hw", "map"),
    "mmu_interval_read_begin": ("mm", "mmu_interval_read_begin"),
    "mmu_interval_read_retry": ("mm", "mmu_interval_read_retry"),
    "mmu_interval_set_seq": ("mm", "mmu_interval_set_seq"),
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
    :raises UsageError: if the scenario names an operation that neither the mm nor the plan has.
    """
    refuse_unknown(plan, scenario)
    beside = workers(plan)
    cpus = scenario.vcpus + len(scenario.ops) + len(beside)
    dims = Dims(scenario.pages, scenario.frames, scenario.vcpus, cpus)
    ops = frozenset(op.name for op in scenario.operations)
    components = parts(plan, ops if scenario.cpus is None else ops | {"cpus"})
    invariants = _invariants(components, dims)
    threads: list[Thread] = []
    for cpu in range(cpus - len(beside)):
        args: tuple[Val, ...] = ()
        after: tuple[str, str] | None = None
        if cpu < scenario.vcpus:
            name, kind, entry = f"vCPU{cpu}", "vcpu", ("hw", "vcpu")
        else:
            op = scenario.operations[cpu - scenario.vcpus]
            name, kind, entry = op.name, "op", ("mm", op.name)
            if op.page is not None:
                entry, args = _AIMED[op.name](op.page)
            elif op.name in plan.own:
                entry, after = ("client", op.name), ("hw", "returned")
        thread = lower_thread(components, dims, cpu, name, kind, entry, args, after)
        threads.append(add_invariants(thread, invariants))
    for cpu, worker in enumerate(beside, start=len(threads)):
        threads.append(add_invariants(lower_worker(components, dims, cpu, worker), invariants))
    if promised is None:
        promised = promises(plan)
    if not any_frame and free_frames_are_alike(threads, promised):
        threads = [take_the_lowest(thread, dims.frames) for thread in threads]
    threads = [reset_dead_locals(thread) for thread in threads]
    shared: list[Var] = []
    for component in components.values():
        shared += [field_var(component, name, dims)[0] for name in component.cls.fields]
    shared += variables(plan, components["client"], dims)
    if scenario.cpus is not None:
        threads, running = share_cpus(threads, scenario.cpus)
        shared.append(running)
    faulting: list[Expr | None] = [Shared("hw.faulting", Const(cpu)) for cpu in range(scenario.vcpus)]
    faulting += [None] * (len(scenario.ops) + len(beside))
    extents = ("page", dims.pages), ("frame", dims.frames), ("vcpu", dims.vcpus), ("cpu", dims.cpus)
    # A fault that writes to a page which fork has shared copies it, and tells the client as the mm does.
    opened = tuple(Shared("mm.open", Const(page)) for page in range(dims.pages)) if "fork" in ops else ()
    return System(plan.name, tuple(shared), tuple(threads), tuple(faulting), promised, extents, opened)


def parts(plan: PlanClass, ops: frozenset[str] = frozenset()) -> dict[str, Component]:
    """Return the three sides of a system in which these operations run, by name: the plan, the hardware, the mm.

    Among the operations stands "cpus" where tasks share CPUs.
    """
    given = _given(plan, ops)
    return {
        "client": Component("client", "plan", plan, model=False, builtins=BUILTINS),
        "hw": Component("hw", "hw", _without(_model("secondary", "Secondary"), given), model=True, given=given),
        "mm": Component("mm", "mm", _without(_mm(plan.era, plan.flavour, plan.core), given), model=True, given=given),
    }


def _one_page(method: str) -> Callable[[int], tuple[tuple[str, str], tuple[Val, ...]]]:
    return lambda page: (("mm", method), (Val("range", (Const(page), Const(page + 1))),))


#: What an operation that is aimed at one page runs: the method, and its arguments for a page.
_AIMED: Final[dict[str, Callable[[int], tuple[tuple[str, str], tuple[Val, ...]]]]] = {
    "zap": _one_page("zap_range"),
    "munmap": _one_page("munmap_range"),
    "reclaim": lambda page: (("mm", "reclaim_page"), (Val("gfn", (Const(page),)),)),
    "migrate": lambda page: (("mm", "migrate_page"), (Val("gfn", (Const(page),)),)),
    "fork": _one_page("fork_range"),
    "cow": lambda page: (("mm", "write_page"), (Val("gfn", (Const(page),)),)),
    "oom_reap": _one_page("reap_range"),
    "mprotect": _one_page("mprotect_range"),
    "mremap": _one_page("mremap_range"),
}


#: Fields of models that only some systems need: by name, the word that must be given for it.
_NEEDED_FOR: Final = {
    "active": "invalidate",
    "itree_lock": "invalidate",
    "itree_seq": "invalidate",
    "itree_wait": "invalidate",
    "left": "mmu_notifier_unregister",
    "linked": "listed",
    "list_lock": "listed",
    "missed": "tfh_read",
    "read_only": "mprotect",
    "refused": "mprotect",
    "shared": "fork",
    "srcu": "listed",
    "sub_seq": "invalidate",
    "zapped": "pinned",
}


def _without(model: PlanClass, given: frozenset[str]) -> PlanClass:
    """Return a model without the fields that what is given does not need."""
    unneeded = {name for name, word in _NEEDED_FOR.items() if word not in given}
    kept = {name: decl for name, decl in model.fields.items() if name not in unneeded}
    return replace(model, fields=kept)


def _given(plan: PlanClass, ops: frozenset[str]) -> frozenset[str]:
    """Return what models ask for by given(): hooks and calls of the plan, and the operations that run."""
    calls = _calls(plan)
    words = {*plan.methods, *calls, *ops, plan.sptes}
    if "mmu_notifier_unregister" in calls or "exit" in ops:
        words.add("listed")
    if "mmu_notifier_unregister" in calls and not ops.isdisjoint(plan.own):
        words.add("closing")
    return frozenset(words)


def _calls(plan: PlanClass) -> frozenset[str]:
    """Return the names of all that the methods of a plan call."""
    return frozenset(name for method in plan.methods.values() for name, _ in method_calls(method.node))


def whole(plan: PlanClass) -> tuple[System, ...]:
    """Lower all of a plan that could run, so that a mistake is found before anything is searched.

    Each system has as many operations as a scenario may have.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    ops = (*(op for op in plan.admitted if op != "exit"), *plan.own)
    together = [ops[i : i + MAX_OPS] for i in range(0, len(ops), MAX_OPS)]
    together += [("exit",)] * ("exit" in plan.admitted)
    return tuple(build(plan, Scenario(1, 1, some)) for some in together)


def refuse_unknown(plan: PlanClass, scenario: Scenario) -> None:
    """Refuse a scenario with an operation that neither the mm nor the plan has.

    :raises UsageError: for that.
    """
    known = (*ERA_OPERATIONS[plan.era], *plan.own)
    for op in scenario.operations:
        if op.name not in known:
            what = f"neither the mm of era {plan.era!r} nor {plan.name} has an operation {op.name!r}"
            raise UsageError(what, plan.pos, f"There are: {', '.join(known)}.")


def promises(plan: PlanClass) -> frozenset[str]:
    """Return the rules that a plan promises: all, unless it says which, and none that it waives."""
    return frozenset(plan.promises or rules(plan)) - frozenset(plan.waive)


def rules(plan: PlanClass) -> tuple[str, ...]:
    """Return the rules that a plan could break: `lifetime` only where it has an object, or unregisters."""
    objects = any(decl.kind == "Object" for decl in plan.fields.values())
    unregisters = "mmu_notifier_unregister" in _calls(plan)
    return tuple(rule for rule in RULES if rule != "lifetime" or objects or unregisters)


def null_ops(plan: PlanClass) -> tuple[str, ...]:
    """Return the methods that the mm would call and the plan lacks."""
    hooks = ("invalidate_range_start", "invalidate_range_end", "invalidate_page")
    if plan.era == "2005":
        return tuple(hook for hook in ERA_HOOKS["2005"] if hook not in plan.methods)
    if "invalidate" in plan.methods or "arch_invalidate_secondary_tlbs" in plan.methods:
        return ()
    called = [hook for hook in hooks if plan.era == "2008" or hook not in ERA_HOOKS["2008"]]
    return tuple(hook for hook in called if hook not in plan.methods)


#: Module and class of the mm of an era.
_MODELS: Final = {"2005": ("mm2005", "Mm2005"), "2008": ("mm2008", "Mm2008"), "current": ("current", "MmCurrent")}


@cache
def _mm(era: str, flavour: str, core: str) -> PlanClass:
    """Return the mm of an era, with the core of the notifiers that a plan asks for.

    That of 2008 has the locks of its reverse map in a flavour: anon_vma's was a spinlock, and then slept (3.0).
    """
    mm = _model(*_MODELS[era])
    if core != "current":
        other = _model("cores", f"Core{core}")
        before = {name: method for name, method in other.methods.items() if method.owner in other.lineage[:-2]}
        mm = replace(mm, methods=mm.methods | before)
    if era != "2008" or flavour == "spinning":
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
