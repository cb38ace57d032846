# SPDX-License-Identifier: Apache-2.0
"""Find the elements of a plan that can be taken out or swapped: locks, bumps, checks, flushes, references, some orders.

An element has one edit, or several where there are several ways to do without it: a condition can be left out as if it
were always true, or always false. It is needed if every one of them goes wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from unpinned.errors import Pos
from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.reading.expressions import FIELD_METHODS, is_self
from unpinned.plan.reading.source import Source
from unpinned.plan.reading.subset import is_docstring
from unpinned.vary.checks import checks, operands
from unpinned.vary.edits import Edit
from unpinned.vary.text import Change, indent_of, line_ends, lines_of, span, written
from unpinned.vary.walk import Place, call_of, field_of, kind_of, places, reached


@dataclass(frozen=True, slots=True)
class Element:
    """What could be left out of a plan, or done otherwise.

    `kind` is "lock", "bump", "flag", "wait", "wake", "reference", "miss", "check", "answer", "zap", "flush" or "order";
    `what` is what the report calls it, and `edits` are the ways to do without it.
    """

    kind: str
    what: str
    method: MethodDef
    pos: Pos
    edits: tuple[Edit, ...]


def elements(plan: PlanClass) -> tuple[Element, ...]:
    """Return the elements of the methods that the mm can reach, in the order of the lines of each."""
    found: list[Element] = []
    for method in reached(plan):
        mine = [element for place in places(method) for element in _of_statement(plan, place)]
        mine += [element for check in checks(method.node) for element in _of_check(method, check)]
        found += sorted(mine, key=lambda element: (element.pos.line, element.pos.col))
    return tuple(found)


def _of_statement(plan: PlanClass, place: Place) -> Iterator[Element]:
    """Yield the elements that one statement is or has."""
    stmt = place.stmt
    match stmt:
        case ast.With():
            yield from _locks(place, stmt)
        case ast.AugAssign(target=target) | ast.Assign(targets=[target]) if field_of(target):
            kind = "flag" if kind_of(plan, field_of(target)) == "Flag" else "bump"
            yield _dropped(place, kind)
        case ast.Assign(targets=[ast.Name()], value=value) if field_of(value) or _begins(place):
            yield from _snapshot(place)
        case ast.Return(value=ast.expr() as value) if place.method.name in _ANSWERS:
            yield from _answer(place, value)
        case ast.Expr(value=ast.Call() as call):
            yield from _zaps(place)
            if kind := _said_to_mm(call) or _stored(plan, call):
                yield _dropped(place, kind)
            yield from _deferred(plan, place, call)


def _stored(plan: PlanClass, call: ast.Call) -> str:
    """Return the kind of element that a call is which writes a field, or waits or wakes; "" for others."""
    match call:
        case ast.Call(func=ast.Name(id="WRITE_ONCE" | "smp_store_release"), args=[target, _]):
            field = field_of(target)
        case ast.Call(func=ast.Attribute(value=target, attr=name)) if name in FIELD_METHODS:
            field = field_of(target)
            if not field:
                return ""
            if kind_of(plan, field) == "Object":
                return "reference" if name in ("get", "put") else ""
            if name in _QUEUES:
                return _QUEUES[name]
        case _:
            return ""
    return "flag" if kind_of(plan, field) == "Flag" else "bump"


#: The methods of fields that wait for others, or let them go on, and what they are called here.
_QUEUES = {
    "cancel_sync": "wait",
    "flush": "wait",
    "queue": "wake",
    "synchronize": "wait",
    "wait_event": "wait",
    "wake_up": "wake",
}


#: The calls of the mm that are statements, and what they are called here; those that zap and flush have their own.
_CALLS: Final = {"mmu_interval_set_seq": "bump", "put_page": "reference", "tfh_read": "miss"}


def _said_to_mm(call: ast.Call) -> str:
    """Return the kind of element that a call of the mm is, or a wait for a grace period; "" for others."""
    match call.func:
        case ast.Name(id="synchronize_rcu"):
            return "wait"
        case ast.Attribute(value=owner, attr=name) if is_self(owner):
            return _CALLS.get(name, "")
    return ""


def _deferred(plan: PlanClass, place: Place, call: ast.Call) -> Iterator[Element]:
    """Yield the grace period after which a call frees an object, which could be freed at once."""
    match call.func:
        case ast.Attribute(value=target, attr="kfree_rcu" | "call_srcu") if kind_of(plan, field_of(target)) == "Object":
            source, text = place.method.source, _on_one_line(written(place.method.source, place.stmt))
            at = span(source, call)
            now = Change(at.start, at.end, f"{written(source, target)}.free()", at.first)
            yield _element(place, "wait", text, call, Edit(f"free at once for `{text}`", source, (now,)))


# ---- answers

#: The methods that may refuse a range which may not be waited for, and what they say otherwise.
_ANSWERS: Final = {"invalidate": "True", "invalidate_range_start": "0"}


def _answer(place: Place, value: ast.expr) -> Iterator[Element]:
    """Yield what a callback answers where that may be a refusal: it could say that all is done."""
    source, done = place.method.source, _ANSWERS[place.method.name]
    text = _on_one_line(written(source, place.stmt))
    if written(source, value) == done or any(isinstance(node, ast.Call) for node in ast.walk(value)):
        return
    at = span(source, value)
    edit = Edit(f"`return {done}` for `{text}`", source, (Change(at.start, at.end, done, at.first),))
    yield _element(place, "answer", text, place.stmt, edit)


def _element(place: Place, kind: str, what: str, node: ast.stmt | ast.expr, *edits: Edit) -> Element:
    return Element(kind, what, place.method, place.method.source.pos(node), edits)


def _dropped(place: Place, kind: str) -> Element:
    """Return the element that a statement is, without which the others stay as they are."""
    source = place.method.source
    text = _on_one_line(written(source, place.stmt))
    edit = Edit(f"drop `{text}`", source, (removal(place),))
    return _element(place, kind, text, place.stmt, edit)


def removal(place: Place) -> Change:
    """Return the change that takes a statement away; `pass` stands in its place where nothing else would."""
    source, stmt = place.method.source, place.stmt
    lines = lines_of(source, stmt)
    others = [other for other in place.block if other is not stmt and not is_docstring(other)]
    if lines is not None and others:
        return Change(lines.start, lines.end, "", lines.first)
    at = span(source, stmt)
    return Change(at.start, at.end, "pass", at.first)


def _on_one_line(text: str) -> str:
    """Return the text of a node without line ends."""
    return re.sub(r"\s*[\r\n]\s*", " ", text)


# ---- locks


def _locks(place: Place, stmt: ast.With) -> Iterator[Element]:
    """Yield the locks of a `with`: the block stays, and is not under that lock any more."""
    source = place.method.source
    for item in stmt.items:
        lock = written(source, item.context_expr)
        rest = [written(source, other.context_expr) for other in stmt.items if other is not item]
        begin, end = span(source, stmt).start, header_end(source, stmt)
        change = Change(begin, end, f"with {', '.join(rest)}:", stmt.lineno) if rest else without_header(source, stmt)
        edit = Edit(f"take no {lock}", source, (change,))
        yield _element(place, "lock", f"with {lock}", item.context_expr, edit)


def without_header(source: Source, stmt: ast.With) -> Change:
    """Return the change that leaves the block of a `with` alone in its place."""
    at, first = span(source, stmt), span(source, stmt.body[0])
    if first.first == at.first:
        return Change(at.start, first.start, "", at.first)
    outer, inner = indent_of(source, stmt), indent_of(source, stmt.body[0])
    last = header_end(source, stmt)
    line = at.first + len(line_ends(source.text[at.start : last]))
    body = source.lines[line : at.last]
    text = "\n".join(outer + part.removeprefix(inner) if part.startswith(inner) else part for part in body)
    return Change(at.start - len(outer), at.end, text, line + 1)


def header_end(source: Source, stmt: ast.With) -> int:
    """Return the character behind the colon of a `with`."""
    at = span(source, stmt.items[-1].context_expr).end
    match = re.compile(r"(?:[^:#]|#[^\r\n]*)*:").match(source.text, at)
    assert match is not None, "a with has a colon"
    return match.end()


# ---- checks


def _of_check(method: MethodDef, check: ast.expr) -> Iterator[Element]:
    """Yield a check and its operands."""
    source = method.source
    for operand, neutral in operands(check):
        text = _on_one_line(written(source, operand))
        edit = Edit(f"do not ask `{text}`", source, (_put(method, operand, neutral),))
        yield Element("check", text, method, source.pos(operand), (edit,))
    text = _on_one_line(written(source, check))
    edits = [Edit(f"put {value} for `{text}`", source, (_put(method, check, value),)) for value in (False, True)]
    yield Element("check", text, method, source.pos(check), tuple(edits))


def _put(method: MethodDef, node: ast.expr, value: bool) -> Change:
    """Return the change that puts a constant in the place of a condition."""
    at = span(method.source, node)
    return Change(at.start, at.end, str(value), at.first)


# ---- zaps and flushes


def _zaps(place: Place) -> Iterator[Element]:
    """Yield what a call of zap, zap_sptes or flush does."""
    source, stmt = place.method.source, place.stmt
    match call_of(stmt):
        case ("zap", call):
            end = span(source, call.func).end
            text = _on_one_line(written(source, stmt))
            for kind, half, other in (("zap", "sptes", "flush"), ("flush", "flush", "zap_sptes")):
                edit = Edit(f"call {other} for `{text}`", source, (Change(end - len("zap"), end, other, stmt.lineno),))
                yield _element(place, kind, f"{text}: the {half}", call, edit)
        case ("zap_sptes", _):
            yield _dropped(place, "zap")
        case ("flush", _):
            yield _dropped(place, "flush")
    yield from _late_flush(place)


def _late_flush(place: Place) -> Iterator[Element]:
    """Yield the order of a flush and the unlock that follows, where the flush could come after it."""
    source, stmt = place.method.source, place.stmt
    around = next((outer.stmt for outer in places(place.method) if stmt in getattr(outer.stmt, "body", ())), None)
    found = call_of(stmt)
    if found is None or found[0] not in ("zap", "flush") or not isinstance(around, ast.With):
        return
    lines, call = lines_of(source, stmt), found[1]
    outer = lines_of(source, around)
    leaves = any(isinstance(node, ast.Return | ast.Break | ast.Continue) for node in ast.walk(around))
    if lines is None or outer is None or leaves or not all(isinstance(arg, ast.Name) for arg in call.args):
        return
    args = ", ".join(arg.id for arg in call.args if isinstance(arg, ast.Name))
    text = f"{indent_of(source, around)}self.flush({args})\n"
    late = Change(outer.end, outer.end, text, stmt.lineno)
    if found[0] == "zap":
        end = span(source, call.func).end
        first = Change(end - len("zap"), end, "zap_sptes", stmt.lineno)
    else:
        first = removal(Place(place.method, tuple(around.body), around.body.index(stmt)))
    locks = " and ".join(written(source, item.context_expr) for item in around.items)
    edit = Edit(f"flush after the unlock of {locks}", source, (first, late))
    yield _element(place, "order", f"self.flush({args}) before the unlock of {locks}", call, edit)


# ---- snapshots


def _begins(place: Place) -> bool:
    """Tell whether a statement takes the sequence of an interval notifier."""
    found = call_of(place.stmt)
    return found is not None and found[0] == "mmu_interval_read_begin"


def _snapshot(place: Place) -> Iterator[Element]:
    """Yield the order of a snapshot and a get_user_page that follows."""
    source, stmt = place.method.source, place.stmt
    assert isinstance(stmt, ast.Assign)
    assert isinstance(stmt.targets[0], ast.Name)
    name = stmt.targets[0].id
    for other in place.block[place.at + 1 :]:
        found = call_of(other)
        if found is not None and found[0] == "get_user_page":
            mine, its = lines_of(source, stmt), lines_of(source, other)
            if mine is not None and its is not None:
                text = "\n".join(source.lines[mine.first - 1 : mine.last]) + "\n"
                moved = (Change(mine.start, mine.end, "", mine.first), Change(its.end, its.end, text, mine.first))
                what = f"{_on_one_line(written(source, stmt))} before get_user_page"
                yield _element(place, "order", what, stmt, Edit("take the snapshot after get_user_page", source, moved))
            return
        if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(other)):
            return
