# SPDX-License-Identifier: Apache-2.0
"""List what could be done to repair a plan: bumps, checks, locks and flushes that are added or moved."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.vocabulary import HOOKS
from unpinned.vary.added_calls import added_calls, added_methods
from unpinned.vary.added_checks import added_checks
from unpinned.vary.elements import removal
from unpinned.vary.locking import added_locks
from unpinned.vary.proposals import Proposal, may_be_copied
from unpinned.vary.spots import Spot, ends
from unpinned.vary.text import Change, lines_of, origin, span, written
from unpinned.vary.walk import Place, call_of, field_of, kind_of, places, reached


def proposals(plan: PlanClass) -> Iterator[Proposal]:
    """Yield the edits that could repair a plan, those that are the least work first; some are of no use."""
    methods = [method for method in reached(plan) if may_be_copied(plan, method)]
    for method in methods:
        if method.name != "page_fault":
            yield from _bumps(plan, method)
        yield from _flushes(method)
        yield from added_calls(plan, method)
    yield from added_methods(plan)
    for method in methods:
        yield from _moved(plan, method, methods)
    for method in methods:
        yield from added_checks(plan, method)
        yield from added_locks(plan, method)


def _bumps(plan: PlanClass, method: MethodDef) -> Iterator[Proposal]:
    """Yield what can be added to or taken from the counters of a plan in a method."""
    for name, decl in plan.fields.items():
        if kind_of(plan, name) != "Counter" or (decl.of is not None and "gfn" not in method.params):
            continue
        field = f"self.{name}" if decl.of is None else f"self.{name}[gfn]"
        for sign in "+-":
            stmt = f"{field} {sign}= 1"
            if any(written(method.source, place.stmt) == stmt for place in places(method)):
                continue
            for spot in ends(method):
                parts = ((method, (spot.put(stmt),)),)
                yield Proposal(f"add `{stmt}` in {method.name}()", parts, ("bump", stmt, method.name))


# ---- zaps and flushes


def _flushes(method: MethodDef) -> Iterator[Proposal]:
    """Yield where a flush, or a zap, can be added."""
    calls = [(place.stmt, found) for place in places(method) if (found := call_of(place.stmt))]
    for stmt, (name, call) in calls:
        if name == "zap_sptes":
            end = span(method.source, call.func).end
            change = Change(end - len("zap_sptes"), end, "zap", stmt.lineno)
            text = written(method.source, stmt)
            yield Proposal(f"call zap for `{text}` in {method.name}()", ((method, (change,)),), ("zap", text))
    if method.name not in HOOKS or method.name == "page_fault":
        return
    for word in ("flush", "zap"):
        if any(name in ("zap", word) for _, (name, _) in calls):
            continue
        stmt_text = f"self.{word}({method.params[0]})"
        for spot in ends(method):
            what = f"add `{stmt_text}` in {method.name}()"
            yield Proposal(what, ((method, (spot.put(stmt_text),)),), ("zap", stmt_text, method.name))


# ---- moves


def _moved(plan: PlanClass, method: MethodDef, methods: list[MethodDef]) -> Iterator[Proposal]:
    """Yield where the bumps, snapshots, zaps and flushes of a method could stand instead."""
    for place in places(method):
        source, stmt = method.source, place.stmt
        if lines_of(source, stmt) is None or not _moves(plan, place):
            continue
        text = written(source, stmt)
        if "\n" in text or "\r" in text:
            continue
        for spot in _other_spots(place):
            parts = (method, (removal(place), spot.put(text)))
            what = f"move `{text}` to line {origin(source, spot.line)} of {method.name}()"
            yield Proposal(what, (parts,), ("move", text, method.name, str(spot.line)))
        if not (isinstance(stmt, ast.AugAssign) and isinstance(stmt.target, ast.Attribute)):
            continue
        for other in methods:
            if other is method or other.name == "page_fault":
                continue
            for spot in ends(other):
                both = ((method, (removal(place),)), (other, (spot.put(text),)))
                what = f"move `{text}` from {method.name}() to {other.name}()"
                yield Proposal(what, both, ("move", text, method.name, other.name))


#: The calls of the mm whose place matters to others.
_MOVED: Final = ("flush", "mmu_interval_read_begin", "mmu_interval_set_seq", "tfh_read", "zap", "zap_sptes")


def _moves(plan: PlanClass, place: Place) -> bool:
    """Tell whether a statement is one whose place matters to others: a write, a snapshot, a zap or a flush."""
    match place.stmt:
        case ast.AugAssign(target=target) | ast.Assign(targets=[target]) if kind_of(plan, field_of(target)):
            return True
        case ast.Assign(targets=[ast.Name()], value=value) if kind_of(plan, field_of(value)):
            return True
        case ast.Expr() | ast.Assign(targets=[ast.Name()]):
            found = call_of(place.stmt)
            return found is not None and found[0] in _MOVED
    return False


def _other_spots(place: Place) -> Iterator[Spot]:
    """Yield the places of a method at which a statement does not stand, first those near the top."""
    seen: set[int] = set()
    own = lines_of(place.method.source, place.stmt)
    assert own is not None
    seen.update((own.start, own.end))
    for other in places(place.method):
        lines = lines_of(place.method.source, other.stmt)
        if lines is None or other.stmt is place.stmt or any(stmt is place.stmt for stmt in ast.walk(other.stmt)):
            continue
        for at, line in ((lines.start, lines.first), (lines.end, lines.last)):
            if at not in seen and not (at == lines.end and isinstance(other.stmt, ast.Return)):
                seen.add(at)
                indent = place.method.source.lines[lines.first - 1][: other.stmt.col_offset]
                yield Spot(place.method, at, indent, line)
