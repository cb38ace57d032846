# SPDX-License-Identifier: Apache-2.0
"""List the checks that a fault could make and does not: of a counter or flag, or of whether it has changed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.vocabulary import DRIVER_WORDS, HOOKS
from unpinned.vary.checks import checks
from unpinned.vary.proposals import Proposal
from unpinned.vary.spots import before, indented
from unpinned.vary.text import Change, lines_of, origin, span, written
from unpinned.vary.walk import call_of, field_of, kind_of, places


def added_checks(plan: PlanClass, method: MethodDef) -> Iterator[Proposal]:
    """Yield the conditions that the checks of a fault, or of its helpers, could have beside their own."""
    if method.name in HOOKS and method.name != "page_fault":
        return
    for name, decl in plan.fields.items():
        if kind_of(plan, name) not in ("Counter", "Flag") or (decl.of is not None and "gfn" not in method.params):
            continue
        field = f"self.{name}" if decl.of is None else f"self.{name}[gfn]"
        is_counter = kind_of(plan, name) == "Counter"
        # A counter alone is no truth value, which another edit may need.
        conditions = [_Condition(field, f"not {field}", f"{field} != 0" if is_counter else field)]
        if is_counter:
            conditions += [
                _Condition(f"{field} != {old}", f"{field} == {old}", f"{field} != {old}", more)
                for old, more in _snapshots(method, field, name)
            ]
        for condition in conditions:
            yield from _asked_too(plan, method, condition)
            yield from _asked_first(method, condition)
    if "invalidate" in plan.methods:
        retry = "self.mmu_interval_read_retry"
        for old, more in _snapshots(method, "self.mmu_interval_read_begin()", "seq"):
            condition = _Condition(f"{retry}({old})", f"not {retry}({old})", f"{retry}({old})", more)
            yield from _asked_too(plan, method, condition)
            yield from _asked_first(method, condition)


@dataclass(frozen=True, slots=True)
class _Condition:
    """What says that something has happened, that nothing has, and the former by itself; `more` is needed for it."""

    stale: str
    fresh: str
    alone: str
    more: tuple[Change, ...] = ()


def _snapshots(method: MethodDef, field: str, local: str) -> Iterator[tuple[str, tuple[Change, ...]]]:
    """Yield the local that holds what a field was before the page was got, and the change that sets it if need be.

    :param local: what it is called if there is none.
    """
    page = None
    for place in places(method):
        match place.stmt:
            case ast.Assign(targets=[ast.Name(id=old)], value=value) if written(method.source, value) == field:
                yield old, ()
                return
        if page is None and (found := call_of(place.stmt)) is not None and found[0] == "get_user_page":
            page = place.stmt
    spot = before(method, page) if page is not None else None
    if spot is None:
        return
    taken = {node.id for node in ast.walk(method.node) if isinstance(node, ast.Name)} | set(method.params)
    while local in taken or local in DRIVER_WORDS:
        local += "_then"
    yield local, (spot.put(f"{local} = {field}"),)


def _asked_too(plan: PlanClass, method: MethodDef, condition: _Condition) -> Iterator[Proposal]:
    """Yield a condition added to each that there is; one that is always false or true gives way to it."""
    for check in [*checks(method.node), *_constants(method.node), *_flags(plan, method.node)]:
        text = written(method.source, check)
        at, is_fresh = span(method.source, check), _says_fresh(check)
        word, new = ("and", condition.fresh) if is_fresh else ("or", condition.stale)
        if new in text:
            continue
        if isinstance(check, ast.Constant):
            new = condition.fresh if is_fresh else condition.alone
            change = Change(at.start, at.end, new, at.first)
        elif isinstance(check, ast.BoolOp) and isinstance(check.op, ast.And) != is_fresh:
            change = Change(at.start, at.end, f"({text}) {word} {new}", at.first)
        else:
            change = Change(at.end, at.end, f" {word} {new}", at.first)
        what = f"ask `{new}` too, line {origin(method.source, at.first)} of {method.name}()"
        yield Proposal(what, ((method, (*condition.more, change)),), ("check", new, str(at.start)))


def _asked_first(method: MethodDef, condition: _Condition) -> Iterator[Proposal]:
    """Yield a condition on which alone a page is mapped."""
    fresh = condition.fresh
    for place in places(method):
        found = call_of(place.stmt)
        spot = before(method, place.stmt)
        change = indented(method, place.stmt, place.stmt)
        lines = lines_of(method.source, place.stmt)
        if found is None or found[0] != "map" or spot is None or change is None or lines is None:
            continue
        what = f"map only if `{fresh}`, line {origin(method.source, lines.first)} of {method.name}()"
        changes = (*condition.more, spot.put(f"if {fresh}:"), change)
        yield Proposal(what, ((method, changes),), ("check", fresh, str(lines.start)))


def _flags(plan: PlanClass, fn: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the flags that are read into a local, to which a check can be joined."""
    for node in ast.walk(fn):
        match node:
            case ast.Assign(targets=[ast.Name()], value=value) if kind_of(plan, field_of(value)) == "Flag":
                yield value


def _constants(fn: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the truth values that stand where a check could."""
    for node in ast.walk(fn):
        match node:
            case (
                ast.Assign(targets=[ast.Name()], value=ast.Constant(value=bool()) as value)
                | ast.If(test=ast.Constant(value=bool()) as value)
                | ast.Return(value=ast.Constant(value=bool()) as value)
            ):
                yield value


def _says_fresh(check: ast.expr) -> bool:
    """Tell whether a check is true where nothing has happened: `seq == old`, `not busy`, and what joins such."""
    match check:
        case ast.Constant(value=value):
            return bool(value)
        case ast.BoolOp(values=values):
            return _says_fresh(values[0])
        case ast.UnaryOp(operand=operand):
            return not _says_fresh(operand)
        case ast.Compare(ops=[op]):
            return isinstance(op, ast.Eq | ast.NotIn)
    return not field_of(check)
