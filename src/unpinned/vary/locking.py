# SPDX-License-Identifier: Apache-2.0
"""List where a plan could hold a lock that it does not hold: round some statements, or round more than it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.reading.subset import is_docstring, method_calls
from unpinned.plan.vocabulary import MM_CALLS
from unpinned.vary.elements import header_end
from unpinned.vary.proposals import Proposal
from unpinned.vary.spots import indented
from unpinned.vary.text import Change, indent_of, lines_of, origin, span, written
from unpinned.vary.walk import field_of, kind_of, places

_LOCKS = ("SpinLock", "Mutex")


def added_locks(plan: PlanClass, method: MethodDef) -> Iterator[Proposal]:
    """Yield the ways to hold a lock round more of a method."""
    blocks = {id(place.block[0]): place.block for place in places(method)}
    for block in blocks.values():
        for at, stmt in enumerate(block):
            if isinstance(stmt, ast.With):
                yield from _widened(plan, method, block, at, stmt)
    for name, decl in plan.fields.items():
        if kind_of(plan, name) in _LOCKS and (decl.of is None or "gfn" in method.params):
            lock = f"self.{name}" if decl.of is None else f"self.{name}[gfn]"
            held = _under(method, lock)
            for block in blocks.values():
                if id(block[0]) not in held:
                    yield from _wrapped(plan, method, [stmt for stmt in block if not is_docstring(stmt)], lock)


def _wrapped(plan: PlanClass, method: MethodDef, block: Sequence[ast.stmt], lock: str) -> Iterator[Proposal]:
    """Yield a lock round each run of statements that begins and ends with shared state, long runs first."""
    source = method.source
    shared = [at for at, stmt in enumerate(block) if _is_shared(stmt)]
    runs = sorted(((i, j) for i in shared for j in shared if i <= j), key=lambda run: run[0] - run[1])
    for first, last in runs:
        run = block[first : last + 1]
        if _takes(_text(method, run), lock) or (kind_of(plan, _name(lock)) == "SpinLock" and _sleeps(run)):
            continue
        if any(isinstance(stmt, ast.Break | ast.Continue) for stmt in run):
            continue
        change, begin = indented(method, run[0], run[-1]), lines_of(source, run[0])
        if change is None or begin is None:
            continue
        text = f"{indent_of(source, run[0])}with {lock}:\n"
        parts = ((method, (Change(change.start, change.start, text, begin.first), change)),)
        top, end = origin(source, begin.first), _last_line(method, run[-1])
        shown = f"line {end}" if top == end else f"lines {top} to {end}"
        what = f"hold {lock} round {shown} of {method.name}()"
        yield Proposal(what, parts, ("lock", lock, method.name), _count(run))


def _under(method: MethodDef, lock: str) -> set[int]:
    """Return the statements of a method that are under a lock, by identity."""
    withs = [stmt for stmt in ast.walk(method.node) if isinstance(stmt, ast.With)]
    taking = [stmt for stmt in withs if any(written(method.source, item.context_expr) == lock for item in stmt.items)]
    return {id(node) for stmt in taking for part in stmt.body for node in ast.walk(part)}


def _widened(
    plan: PlanClass, method: MethodDef, block: Sequence[ast.stmt], at: int, stmt: ast.With
) -> Iterator[Proposal]:
    """Yield a `with` that takes in its neighbours, or a second lock."""
    source = method.source
    locks = [written(source, item.context_expr) for item in stmt.items]
    shown = " and ".join(locks)
    spins = any(kind_of(plan, field_of(item.context_expr)) == "SpinLock" for item in stmt.items)
    for more in range(1, len(block) - at):
        run = block[at + 1 : at + 1 + more]
        change = indented(method, run[0], run[-1])
        if change is not None and not (spins and _sleeps(run)):
            what = f"hold {shown} up to line {_last_line(method, run[-1])} of {method.name}()"
            yield Proposal(what, ((method, (change,)),), ("lock", shown, method.name, "down"), _count(run))
    for more in range(1, at + 1):
        run = [one for one in block[at - more : at] if not is_docstring(one)]
        change = indented(method, run[0], run[-1]) if run else None
        header = span(source, stmt).start, header_end(source, stmt)
        if change is None or (spins and _sleeps(run)) or lines_of(source, stmt) is None:
            continue
        text = source.text[header[0] : header[1]]
        begin = header[0] - len(indent_of(source, stmt))
        gone = Change(begin, _line_end(source.text, header[1]), "", stmt.lineno)
        top = Change(change.start, change.start, f"{indent_of(source, run[0])}{text}\n", stmt.lineno, new=True)
        what = f"hold {shown} from line {origin(source, run[0].lineno)} of {method.name}()"
        yield Proposal(what, ((method, (top, change, gone)),), ("lock", shown, method.name, "up"), _count(run))
    for name, decl in plan.fields.items():
        if kind_of(plan, name) in _LOCKS and decl.of is None and f"self.{name}" not in locks:
            end = span(source, stmt.items[-1].context_expr).end
            parts = ((method, (Change(end, end, f", self.{name}", stmt.lineno),)),)
            what = f"hold self.{name} too, with {shown} in {method.name}()"
            yield Proposal(what, parts, ("lock", name, method.name, "too"), _count(stmt.body))


def _text(method: MethodDef, run: Sequence[ast.stmt]) -> str:
    """Return the text of some statements."""
    return "\n".join(written(method.source, stmt) for stmt in run)


def _last_line(method: MethodDef, stmt: ast.stmt) -> int:
    """Return the number of the last line of a statement, before all edits."""
    return origin(method.source, span(method.source, stmt).last)


def _line_end(text: str, at: int) -> int:
    """Return the character behind the line that a character is in."""
    for end in range(at, len(text)):
        if text[end] in "\r\n":
            return end + (2 if text[end : end + 2] == "\r\n" else 1)
    return len(text)


def _name(lock: str) -> str:
    return lock.removeprefix("self.").removesuffix("[gfn]")


def _takes(text: str, lock: str) -> bool:
    """Tell whether a text takes a lock."""
    return any(line.strip().startswith("with ") and lock in line for line in text.splitlines())


def _is_shared(stmt: ast.stmt) -> bool:
    """Tell whether a statement touches what CPUs share."""
    if any(field_of(node) for node in ast.walk(stmt) if not isinstance(node, ast.Call)):
        return True
    return any(name in MM_CALLS for name, _ in method_calls(stmt))


def _sleeps(run: Sequence[ast.stmt]) -> bool:
    """Tell whether some statements get a page, which may sleep."""
    return any(name == "get_user_page" for stmt in run for name, _ in method_calls(stmt))


def _count(run: Sequence[ast.stmt]) -> int:
    """Return the number of statements, those inside others too."""
    return sum(isinstance(node, ast.stmt) for stmt in run for node in ast.walk(stmt))
