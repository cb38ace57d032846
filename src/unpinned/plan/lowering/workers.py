# SPDX-License-Identifier: Apache-2.0
"""Lower the CPUs that a plan has beside those of the scenario: they run its work items, and free objects later."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final

from unpinned.ir.flow import fuse
from unpinned.ir.program import Const, Note, Op, Set, Shared, Stmt, Thread, Var, Wait
from unpinned.plan.lowering.builder import Component, Frame, field_var
from unpinned.plan.lowering.lifetime import QUEUED, RUNS, deferred, rcu_readers
from unpinned.plan.lowering.statements import Lowerer
from unpinned.plan.lowering.values import Dims
from unpinned.plan.reading.classes import MethodDef, PlanClass

#: A plan with more of them is refused.
MOST_WORKERS: Final = 3


@dataclass(frozen=True, slots=True)
class Worker:
    """What a CPU of its own does when there is something to do.

    It runs the method of the work item `field`; or, where `domain` is not None, it frees the object `field` after a
    grace period of that SRCU domain, or of RCU (""). `node` is where the source says so, in `method`.
    """

    field: str
    domain: str | None
    method: MethodDef
    node: ast.AST

    @property
    def name(self) -> str:
        """Return what its CPU is said to run."""
        return self.method.name if self.domain is None else "call_srcu" if self.domain else "kfree_rcu"


def workers(plan: PlanClass) -> tuple[Worker, ...]:
    """Return the workers of a plan in the order of its fields: work items, then objects.

    :raises PlanError: if there are too many.
    """
    found = [
        Worker(name, None, plan.methods[decl.method], plan.methods[decl.method].node)
        for name, decl in plan.fields.items()
        if decl.kind == "WorkItem"
    ]
    freed = {(name, domain): (method, call) for name, domain, method, call in _freed_later(plan)}
    domains = ["", *(name for name, decl in plan.fields.items() if decl.kind == "Srcu")]
    pairs = [(name, domain) for name, decl in plan.fields.items() if decl.kind == "Object" for domain in domains]
    found += [Worker(*pair, *freed[pair]) for pair in pairs if pair in freed]
    if len(found) > MOST_WORKERS:
        what = f"`{plan.name}` has {len(found)} work items and objects that are freed later"
        worker = found[MOST_WORKERS]
        raise worker.method.source.error(worker.node, what, f"At most {MOST_WORKERS} can be searched.")
    return tuple(found)


def _freed_later(plan: PlanClass) -> list[tuple[str, str, MethodDef, ast.Call]]:
    """Return each call of kfree_rcu() and call_srcu(): the object, the domain, and where it stands."""
    found: list[tuple[str, str, MethodDef, ast.Call]] = []
    for method in [*plan.supers.values(), *plan.methods.values()]:
        for node in ast.walk(method.node):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=name), attr="kfree_rcu")):
                    found.append((name, "", method, node))
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr=name), attr="call_srcu"), args=[ast.Attribute(attr=of)]
                ):
                    found.append((name, of, method, node))
    return found


def lower_worker(components: dict[str, Component], dims: Dims, cpu: int, worker: Worker) -> Thread:
    """Lower one worker.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    lowerer = Lowerer(components, dims, cpu)
    client = components["client"]
    var, _, _ = field_var(client, worker.field, dims)
    frame = Frame(client, worker.method, worker.name, 0)
    lowerer.frames.append(frame)
    if worker.domain is None:
        _run_work(lowerer, frame, var, worker.node)
    else:
        domain = field_var(client, worker.domain, dims)[0] if worker.domain else rcu_readers(dims.cpus)
        lowerer.freeing_worker(var, domain, worker.node)
    steps, _ = fuse(lowerer.flow)
    return Thread(worker.name, "worker", tuple(lowerer.locals.values()), steps)


def _run_work(lowerer: Lowerer, frame: Frame, var: Var, node: ast.AST) -> None:
    """Lower the worker of a work item: it takes it off the queue, runs it, and begins again."""
    name, queued, runs = var.name.split(".", 1)[1], Shared(var.name, QUEUED), Shared(var.name, RUNS)
    head = lowerer.idle(node)
    begin: list[Stmt] = [
        Wait(Op("==", (queued, Const(1)))),
        Set(queued, Const(0)),
        Set(runs, Const(1)),
        Note(f"{name} begins"),
    ]
    lowerer.shared(begin, node)
    lowerer.inline(frame.component, frame.method, (), None)
    lowerer.merge(lowerer.flow.pending, frame.exits)
    lowerer.enter(lowerer.components["hw"], "returned")
    lowerer.shared([Set(runs, Const(0)), Note(f"{name} ends")], node)
    lowerer.flow.catch(head)


def variables(plan: PlanClass, client: Component, dims: Dims) -> list[Var]:
    """Return the shared variables of a plan that are no fields: marks of objects to be freed, flags of RCU sections."""
    found: list[Var] = []
    for worker in workers(plan):
        if worker.domain is not None:
            domain = field_var(client, worker.domain, dims)[0] if worker.domain else rcu_readers(dims.cpus)
            found.append(deferred(field_var(client, worker.field, dims)[0], domain))
    nodes = [node for method in (*plan.supers.values(), *plan.methods.values()) for node in ast.walk(method.node)]
    words = {getattr(node, "id", None) or getattr(node, "attr", None) for node in nodes}
    if words & {"rcu_read_lock", "synchronize_rcu", "kfree_rcu"}:
        found.append(rcu_readers(dims.cpus))
    return found
