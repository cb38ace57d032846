# SPDX-License-Identifier: Apache-2.0
"""Find the places of a method where a statement can be put, and write the changes that put or take one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from unpinned.plan.reading.classes import MethodDef
from unpinned.plan.reading.subset import is_docstring
from unpinned.vary.text import Change, indent_of, lines_of
from unpinned.vary.walk import places


@dataclass(frozen=True, slots=True)
class Spot:
    """A place between statements: the character, the blanks of a line there, and the line that it is said to be."""

    method: MethodDef
    at: int
    indent: str
    line: int

    def put(self, *lines: str) -> Change:
        """Return the change that puts lines there."""
        text = "".join(f"{self.indent}{line}\n" for line in lines)
        whole = not self.at or self.method.source.text[self.at - 1] in "\r\n"
        return Change(self.at, self.at, text if whole else "\n" + text.removesuffix("\n"), self.line, new=True)


def before(method: MethodDef, stmt: ast.stmt) -> Spot | None:
    """Return the place before a statement, if that begins a line."""
    lines = lines_of(method.source, stmt)
    return None if lines is None else Spot(method, lines.start, indent_of(method.source, stmt), lines.first)


def after(method: MethodDef, stmt: ast.stmt) -> Spot | None:
    """Return the place behind a statement, if that ends a line."""
    lines = lines_of(method.source, stmt)
    return None if lines is None else Spot(method, lines.end, indent_of(method.source, stmt), lines.last)


def ends(method: MethodDef) -> Iterator[Spot]:
    """Yield where a statement can be put first and last: under each lock, or in the method where it takes none."""
    blocks = [place.stmt.body for place in places(method) if isinstance(place.stmt, ast.With)]
    for block in blocks or [method.node.body]:
        own = [stmt for stmt in block if not is_docstring(stmt)]
        if not own:
            continue
        last = own[-1]
        found = [before(method, own[0]), before(method, last) if isinstance(last, ast.Return) else after(method, last)]
        yield from (spot for spot in found if spot is not None)


def indented(method: MethodDef, first: ast.stmt, last: ast.stmt) -> Change | None:
    """Return the change that moves the lines of some statements one level to the right."""
    begin, end = lines_of(method.source, first), lines_of(method.source, last)
    if begin is None or end is None:
        return None
    lines = method.source.lines[begin.first - 1 : end.last]
    text = "".join(f"    {line}\n" if line.strip() else f"{line}\n" for line in lines)
    return Change(begin.start, end.end, text, begin.first)
