# SPDX-License-Identifier: Apache-2.0
"""Read the plans of a file as validated syntax, inheritance resolved; nothing is executed or imported."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unpinned.errors import PlanError, Pos
from unpinned.plan.reading.attributes import Value
from unpinned.plan.reading.expressions import is_super
from unpinned.plan.reading.members import ClassDef, FieldDecl, MethodDef
from unpinned.plan.reading.modules import Reader
from unpinned.plan.reading.source import Source
from unpinned.plan.reading.subset import method_calls
from unpinned.plan.vocabulary import (
    ERA_HOOKS,
    ERA_OPERATIONS,
    ERAS,
    HOOKS,
    LATER_HOOKS,
    MM_CALLS,
    ORDERING,
    hook_meant,
    listed,
    nearest,
)

__all__ = ["FieldDecl", "MethodDef", "PlanClass", "read_model", "read_plans"]


@dataclass(frozen=True)
class PlanClass:
    """A plan, with all that it inherits.

    `lineage` has the class names, most derived first, without SecondaryMMU. `methods` has the most derived
    definition of each; `supers` what `super().method()` means, by (class that says it, method).
    `operations` and `promises` are None where the plan does not say. `own` are the client's own operations.
    """

    name: str
    source: Source
    pos: Pos
    doc: str
    lineage: tuple[str, ...]
    fields: dict[str, FieldDecl]
    methods: dict[str, MethodDef]
    supers: dict[tuple[str, str], MethodDef]
    era: str
    flavour: str
    sptes: str
    operations: tuple[str, ...] | None
    promises: tuple[str, ...] | None
    waive: dict[str, str]
    own: tuple[str, ...] = ()
    core: str = "current"

    @property
    def alone(self) -> frozenset[str]:
        """Return the methods that CPUs of their own run: operations of the client's own, and work."""
        return frozenset(self.own).union(decl.method for decl in self.fields.values() if decl.method)

    @property
    def admitted(self) -> tuple[str, ...]:
        """Return the operations that the mm may do to the plan, in the order of its era.

        Unless it says so, it is for a plan with `release` alone that the mm exits.
        """
        ops = self.operations
        if ops is None:
            ops = tuple(op for op in ERA_OPERATIONS[self.era] if op != "exit" or "release" in self.methods)
        return tuple(op for op in ERA_OPERATIONS[self.era] if op in ops)


def unjudged(plan: PlanClass) -> tuple[str, ...]:
    """Return the words of a plan that order memory: they are accepted, and no check says whether they are needed."""
    calls = (node for method in plan.methods.values() for node in ast.walk(method.node))
    names = {node.func.id for node in calls if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return tuple(sorted(names & ORDERING.keys()))


def read_plans(path: str | os.PathLike[str], instead: Mapping[str, Source] | None = None) -> tuple[PlanClass, ...]:
    """Return the plans that a file defines, in order.

    :param instead: by real path, the files that are taken as they are here and not read from disk.

    A class without page_fault is no plan, and is left out if another class of the file derives from it.

    :raises PlanError: if the file is no plan file, or defines no plan.
    """
    reader = Reader(model=False, instead=instead)
    module = reader.module(path)
    bases = {id(plan.base) for plan in module.defined}
    called = {name for plan in reader.classes() for fn in plan.methods.values() for name, _ in method_calls(fn.node)}
    plans: list[PlanClass] = []
    for defined in module.defined:
        plan = _resolve(defined, model=False)
        if "page_fault" not in plan.methods and id(defined) in bases:
            continue
        _check_names(defined, called)
        if "page_fault" not in plan.methods:
            hint = "Write `def page_fault(self, gfn, write):`, which returns REPLAY, MAPPED or FAULT."
            raise defined.source.error(defined.node, f"`{plan.name}` has no page_fault", hint)
        _check_fields(plan)
        _check_run(plan)
        plans.append(plan)
    if not plans:
        hint = "Define one: `class Kvm(SecondaryMMU):`."
        raise PlanError("this file defines no plan", Pos(module.source.path, 1, text=module.source.lines[0]), hint)
    return tuple(plans)


def read_model(path: str | os.PathLike[str], name: str) -> PlanClass:
    """Return one subclass of Model, read in the dialect of models.

    :raises PlanError: if the file is no model file, or defines no such model.
    """
    module = Reader(model=True).module(path)
    for defined in module.defined:
        if defined.name == name:
            return _resolve(defined, model=True)
    shown = ", ".join(defined.name for defined in module.defined) or "none"
    raise PlanError(f"{module.source.path} has no model `{name}`", None, f"There are: {shown}.")


def _lineage(defined: ClassDef) -> list[ClassDef]:
    """Return a class and its bases, most derived first."""
    lineage = [defined]
    while lineage[-1].base is not None:
        lineage.append(lineage[-1].base)
    return lineage


def _resolve(defined: ClassDef, *, model: bool) -> PlanClass:
    """Join a class with what it inherits."""
    lineage = _lineage(defined)
    names = tuple(plan.name for plan in lineage)
    if len(set(names)) < len(names):
        hint = "Give this one another name."
        raise defined.source.error(defined.node, f"`{defined.name}` and a base of it share a name", hint)
    fields: dict[str, FieldDecl] = {}
    methods: dict[str, MethodDef] = {}
    supers: dict[tuple[str, str], MethodDef] = {}
    attributes: dict[str, Value] = {}
    for plan in reversed(lineage):
        _check_overrides(plan, fields, methods)
        supers |= {(plan.name, name): method for name, method in methods.items()}
        fields |= plan.fields
        methods |= plan.methods
        attributes |= plan.attributes
    for plan in lineage:
        _check_supers(plan, supers)
    _check_recursion(methods, supers)
    # A model has no era: what it calls its methods is its own affair.
    era = ERAS[0] if model else _era(defined, attributes, methods)
    flavour = attributes.get("flavour", "spinning")
    waive, sptes = attributes.get("waive", {}), attributes.get("sptes", "own")
    operations, promises = attributes.get("operations"), attributes.get("promises")
    own, core = attributes.get("own", ()), attributes.get("core", "current")
    return PlanClass(
        name=defined.name,
        source=defined.source,
        pos=defined.source.pos(defined.node),
        doc=ast.get_docstring(defined.node) or "",
        lineage=names,
        fields=fields,
        methods=methods,
        supers=supers,
        era=era,
        flavour=flavour if isinstance(flavour, str) else "spinning",
        sptes=sptes if isinstance(sptes, str) else "own",
        operations=operations if isinstance(operations, tuple) else None,
        promises=promises if isinstance(promises, tuple) else None,
        waive=waive if isinstance(waive, dict) else {},
        own=own if isinstance(own, tuple) else (),
        core=core if isinstance(core, str) else "current",
    )


def _era(defined: ClassDef, attributes: Mapping[str, Value], methods: Mapping[str, MethodDef]) -> str:
    """Return the era of a plan: what it says, or that of a hook that one era alone has, or 2008.

    :raises PlanError: if it has hooks or operations of another era.
    """
    said = attributes.get("era")
    era = said if isinstance(said, str) else "current" if set(ERA_HOOKS["current"]) & methods.keys() else "2008"
    for other, hooks in ERA_HOOKS.items():
        for hook in hooks:
            if other != era and hook in methods:
                hint = f"The mm of era {era!r} does not call it: write `era = {other!r}`, or leave the method out."
                raise methods[hook].source.error(methods[hook].node, f"`{hook}` is of era {other!r}", hint)
    for hook in ("invalidate_range_start", "invalidate_range_end") if era == "2005" else ():
        if hook in methods:
            hint = "The mm of era '2005' does not call it: write `era = '2008'`, or leave the method out."
            raise methods[hook].source.error(methods[hook].node, f"`{hook}` is of later eras", hint)
    operations = attributes.get("operations")
    for op in operations if isinstance(operations, tuple) else ():
        if op not in ERA_OPERATIONS[era]:
            what = f"the mm of era {era!r} has no operation `{op}`"
            raise defined.source.error(defined.node, what, f"There are: {', '.join(ERA_OPERATIONS[era])}.")
    for method in methods.values():
        for name, call in method_calls(method.node):
            if name.startswith("mmu_interval_") and "invalidate" not in methods:
                hint = "Define `def invalidate(self, r, cur_seq):`, which makes the plan an interval notifier's."
                raise method.source.error(call, f"`{name}` without a subscription", hint)
    if era != "2008" and attributes.get("flavour") is not None:
        then = "sleep in the current era" if era == "current" else "are spinlocks in that of 2005"
        what = f"`flavour` is said of 2008: the locks of the reverse map {then}"
        raise defined.source.error(defined.node, what, "Leave it out.")
    return era


def _check_overrides(plan: ClassDef, fields: dict[str, FieldDecl], methods: dict[str, MethodDef]) -> None:
    """Refuse a class that turns what it inherits into something of another kind."""
    for name, decl in plan.fields.items():
        node = _declaration(plan, name)
        if name in methods:
            what = f"`{name}` is a method of `{methods[name].owner}`, and a field here"
            raise plan.source.error(node, what, "Rename one.")
        if name in fields and _shape(fields[name]) != _shape(decl):
            what = f"`{name}` is inherited as a {' of '.join(_shape(fields[name]))}"
            raise plan.source.error(node, what, "Give this one another name, or leave it out.")
    for name, method in plan.methods.items():
        if name in fields:
            raise plan.source.error(method.node, f"`{name}` is inherited as a field", "Rename one.")


def _check_fields(plan: PlanClass) -> None:
    """Refuse `self.NAME` where the plan has nothing of that name, in methods that nobody calls too."""
    known = plan.fields.keys() | plan.methods.keys() | MM_CALLS
    for method in [*plan.methods.values(), *plan.supers.values()]:
        for node in ast.walk(method.node):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name) if name not in known:
                    what = f"`{plan.name}` has no field `{name}`{nearest(name, known)}"
                    hint = f"Its fields are: {listed(plan.fields) or 'none'}. Declare one: `{name} = Counter()`."
                    raise method.source.error(node, what, hint)


def _check_run(plan: PlanClass) -> None:
    """Refuse what CPUs of their own are to run, and is no method, or wants arguments."""
    named = [(name, "own", plan.pos) for name in plan.own]
    named += [(decl.method, field, decl.pos) for field, decl in plan.fields.items() if decl.method]
    for name, where, pos in named:
        method = plan.methods.get(name)
        if method is None:
            what = f"`{where}` names `{name}`, and `{plan.name}` has no such method{nearest(name, plan.methods)}"
            raise PlanError(what, pos, f"Write `def {name}(self):`.")
        if method.params or name in HOOKS:
            what = f"nobody hands arguments to `{name}`, which `{where}` names"
            raise method.source.error(method.node, what, f"Write `def {name}(self):`.")


def _check_recursion(methods: dict[str, MethodDef], supers: dict[tuple[str, str], MethodDef]) -> None:
    """Refuse methods that call themselves, called from elsewhere or not: a call is inlined."""
    finished: set[int] = set()

    def visit(method: MethodDef, path: list[MethodDef]) -> None:
        for name, call in method_calls(method.node):
            up = isinstance(call.func, ast.Attribute) and is_super(call.func.value)
            callee = supers.get((method.owner, name)) if up else methods.get(name)
            if callee is None or id(callee) in finished:
                continue
            ring = [*path, method]
            if any(callee is open_ for open_ in ring):
                between = [step.name for step in ring[next(i for i, m in enumerate(ring) if m is callee) + 1 :]]
                what = f"`{callee.name}` calls itself" + (f", by way of {listed(between)}" if between else "")
                raise method.source.error(call, what, "Calls are inlined: write a loop instead.")
            visit(callee, ring)
        finished.add(id(method))

    for method in [*methods.values(), *supers.values()]:
        if id(method) not in finished:
            visit(method, [])


def _declaration(plan: ClassDef, name: str) -> ast.AST:
    """Return the node that declares a field in a class."""
    assigns = (stmt for stmt in plan.node.body if isinstance(stmt, ast.Assign))
    return next(stmt for stmt in assigns if isinstance(stmt.targets[0], ast.Name) and stmt.targets[0].id == name)


def _shape(decl: FieldDecl) -> tuple[str, ...]:
    """Return the kinds of a field and of what it holds, which a subclass may not change."""
    return (decl.kind, *(_shape(decl.of) if decl.of else ()))


def _check_supers(plan: ClassDef, supers: dict[tuple[str, str], MethodDef]) -> None:
    """Refuse `super().m()` where no base has the method."""
    for name, call in _super_calls(plan):
        if (plan.name, name) not in supers:
            hint, close = f"Write `self.{name}(...)`.", ""
            if name not in MM_CALLS:
                known = [method for owner, method in supers if owner == plan.name]
                close = nearest(name, known)
                hint = f"Above `{plan.name}` there are: {listed(known) or 'none'}."
            raise plan.source.error(call, f"no class above `{plan.name}` defines `{name}`{close}", hint)


def _super_calls(plan: ClassDef) -> Iterator[tuple[str, ast.Call]]:
    """Yield the name and the node of every `super().m(...)` in a class."""
    for method in plan.methods.values():
        for name, call in method_calls(method.node):
            if isinstance(call.func, ast.Attribute) and is_super(call.func.value):
                yield name, call


def _check_names(defined: ClassDef, called: set[str]) -> None:
    """Refuse methods that nobody calls and whose names say that the mm was meant to."""
    for plan in _lineage(defined):
        for name, method in plan.methods.items():
            if name in called or name in HOOKS:
                continue
            if name in LATER_HOOKS:
                hint = f"The mm calls {listed(HOOKS)}; a helper must be called by `self.{name}(...)`."
                raise plan.source.error(method.node, f"`{name}` is not modelled yet", hint)
            close = hook_meant(name)
            if close:
                hint = f"The mm calls {listed(HOOKS)}; a helper must be called by `self.{name}(...)`."
                raise plan.source.error(method.node, f"nobody calls `{name}`{close}", hint)
