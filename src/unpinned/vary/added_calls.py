# SPDX-License-Identifier: Apache-2.0
"""List the calls that a plan could make and does not: of the mm, of what is waited for, and whole methods that lack."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.reading.subset import is_docstring
from unpinned.plan.vocabulary import ERA_HOOKS, HOOKS
from unpinned.vary.proposals import Proposal
from unpinned.vary.spots import before, ends
from unpinned.vary.text import Change, lines_of, origin, written
from unpinned.vary.walk import call_of, field_of, kind_of, places

#: The methods that may refuse a range which may not be waited for, and what they say then.
_REFUSALS = {"invalidate": "False", "invalidate_range_start": "-EAGAIN"}


def added_calls(plan: PlanClass, method: MethodDef) -> Iterator[Proposal]:
    """Yield the calls that a method could make too."""
    yield from _set_seq(method)
    yield from _refusals(method)
    yield from _put_pages(method)
    yield from _waits(plan, method)
    yield from _begins_anew(method)


def added_methods(plan: PlanClass) -> Iterator[Proposal]:
    """Yield the methods that the mm would call and the plan lacks, each with a zap under each lock, or under none."""
    own = [method for method in plan.methods.values() if method.owner == plan.name]
    if not own or not any(name in HOOKS and name != "page_fault" for name in plan.methods):
        return
    last = max(own, key=lambda method: method.node.lineno)
    lines = lines_of(last.source, last.node)
    locks = [name for name, decl in plan.fields.items() if decl.kind in ("SpinLock", "Mutex")]
    counters = [name for name, decl in plan.fields.items() if decl.kind == "Counter"]
    if "invalidate" in plan.methods or "arch_invalidate_secondary_tlbs" in plan.methods or lines is None:
        return
    called = ("invalidate_range_start", *(ERA_HOOKS["2008"] if plan.era == "2008" else ()))
    for name in (name for name in called if name not in plan.methods):
        (param,) = HOOKS[name]
        bodies = [(lock, bump) for lock in locks or [""] for bump in ("", *counters)]
        for lock, bump in bodies:
            stmts = [f"self.{bump} += 1"] if bump else []
            stmts.append(f"self.zap({param})")
            body = [f"with self.{lock}:", *(f"    {stmt}" for stmt in stmts)] if lock else stmts
            text = "".join(f"        {line}\n" for line in body)
            gap = "" if last.source.text[: lines.end].endswith(("\n", "\r")) else "\n"
            change = Change(
                lines.end, lines.end, f"{gap}\n    def {name}(self, {param}):\n{text}", lines.last, new=True
            )
            said = " and ".join(f"`{stmt}`" for stmt in stmts) + (f" under self.{lock}" if lock else "")
            yield Proposal(f"add {name}() with {said}", ((last, (change,)),), ("method", name, lock, bump))


def _set_seq(method: MethodDef) -> Iterator[Proposal]:
    """Yield where the sequence of an interval notifier can be set."""
    if method.name != "invalidate":
        return
    text = f"self.mmu_interval_set_seq({method.params[1]})"
    for spot in ends(method):
        what = f"add `{text}` at line {origin(method.source, spot.line)} of {method.name}()"
        yield Proposal(what, ((method, (spot.put(text),)),), ("set_seq", str(spot.at)))


def _refusals(method: MethodDef) -> Iterator[Proposal]:
    """Yield the refusal of every range that may not be waited for."""
    own = [stmt for stmt in method.node.body if not is_docstring(stmt)]
    names = {node.attr for node in ast.walk(method.node) if isinstance(node, ast.Attribute)}
    if method.name not in _REFUSALS or "blockable" in names or not own:
        return
    spot = before(method, own[0])
    if spot is None:
        return
    answer = _REFUSALS[method.name]
    lines = (f"if not {method.params[0]}.blockable:", f"    return {answer}")
    what = f"`return {answer}` where a range may not be waited for, in {method.name}()"
    changes = [spot.put(*lines)]
    if method.name == "invalidate_range_start" and not isinstance(own[-1], ast.Return):
        end = lines_of(method.source, own[-1])
        if end is None:
            return
        changes.append(Change(end.end, end.end, f"{spot.indent}return 0\n", end.last, new=True))
    yield Proposal(what, ((method, tuple(changes)),), ("refusal", method.name))


def _put_pages(method: MethodDef) -> Iterator[Proposal]:
    """Yield where the reference of a page that was got can be put: before each return behind it."""
    page = ""
    for place in places(method):
        match place.stmt:
            case ast.Assign(targets=[ast.Name(id=name)]) if (call_of(place.stmt) or ("",))[0] == "get_user_page":
                page = name
            case ast.Return() if page and (spot := before(method, place.stmt)) is not None:
                text = f"self.put_page({page})"
                what = f"add `{text}` at line {origin(method.source, spot.line)} of {method.name}()"
                yield Proposal(what, ((method, (spot.put(text),)),), ("put", str(spot.at)))


def _waits(plan: PlanClass, method: MethodDef) -> Iterator[Proposal]:
    """Yield the waits, for a grace period or for work, that could come before an object is freed."""
    waits = ["synchronize_rcu()"]
    waits += [f"self.{name}.synchronize()" for name, decl in plan.fields.items() if decl.kind == "Srcu"]
    waits += [f"self.{name}.cancel_sync()" for name, decl in plan.fields.items() if decl.kind == "WorkItem"]
    for place in places(method):
        match place.stmt:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=target, attr="free"))) if (
                kind_of(plan, field_of(target)) == "Object"
            ):
                spot = before(method, place.stmt)
                if spot is None:
                    continue
                text = written(method.source, place.stmt)
                for wait in waits:
                    what = f"add `{wait}` before `{text}` in {method.name}()"
                    yield Proposal(what, ((method, (spot.put(wait),)),), ("wait", wait, str(spot.at)))


def _begins_anew(method: MethodDef) -> Iterator[Proposal]:
    """Yield where a loop that gets a page can take the sequence of an interval notifier anew."""
    begins = [
        written(method.source, place.stmt)
        for place in places(method)
        if (call_of(place.stmt) or ("",))[0] == "mmu_interval_read_begin"
    ]
    loops = [place.stmt for place in places(method) if isinstance(place.stmt, ast.While)]
    for place in places(method):
        inside = any(node is place.stmt for loop in loops for node in ast.walk(loop))
        if not inside or (call_of(place.stmt) or ("",))[0] != "get_user_page":
            continue
        spot = before(method, place.stmt)
        if spot is None:
            continue
        for text in dict.fromkeys(begins):
            what = f"add `{text}` at line {origin(method.source, spot.line)} of {method.name}()"
            yield Proposal(what, ((method, (spot.put(text),)),), ("begin", str(spot.at)))
