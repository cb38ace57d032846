# SPDX-License-Identifier: Apache-2.0
"""Change the text of a plan file, and know of each new line which line of the original it was.

Lines end as the file's own do. A line that is moved keeps its number, a line that is new has that of its neighbour, so
that what is said of a variant points at the file that the user has.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from unpinned.plan.reading.source import Source, parse_source

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Change:
    """Characters `start` to `end` of a file become `text`, whose lines are said to be those from `line` on.

    If they are `new`, all of them are said to be `line`. `text` ends its lines with a line feed, as the file may not.
    """

    start: int
    end: int
    text: str
    line: int
    new: bool = False


def changed(source: Source, changes: Iterable[Change]) -> Source:
    """Return a file with changes, which may not overlap, parsed anew.

    :raises PlanError: if it is no Python any more.
    """
    out: list[str] = []
    origins: list[int] = []
    for text, line in _pieces(source, sorted(changes, key=lambda change: (change.start, change.end))):
        if not out or out[-1].endswith(("\r", "\n")):
            origins.append(origin(source, line))
        out.append(text)
    return replace(parse_source("".join(out), source.path), origins=tuple(origins))


def origin(source: Source, line: int) -> int:
    """Return the number that a line of a file had before all edits."""
    return source.origins[line - 1] if source.origins else line


def _pieces(source: Source, changes: list[Change]) -> Iterator[tuple[str, int]]:
    """Yield the parts of the new text, none of them longer than a line, each with the number of its line."""
    at, line = 0, 1
    for change in [*changes, Change(len(source.text), len(source.text), "", 0)]:
        assert at <= change.start, "changes overlap"
        for text in _LINE.findall(source.text, at, change.start):
            yield text, line
            line += text.endswith(("\r", "\n"))
        for number, text in enumerate(_LINE.findall(change.text)):
            yield text.replace("\n", _line_end(source)), change.line + (0 if change.new else number)
        line += len(line_ends(source.text[change.start : change.end]))
        at = change.end


def line_ends(text: str) -> list[str]:
    """Return what ends the lines of a text, in order."""
    return re.findall(r"\r\n|\r|\n", text)


def _line_end(source: Source) -> str:
    """Return how the lines of a file end."""
    return next(iter(line_ends(source.text)), "\n")


@dataclass(frozen=True, slots=True)
class Span:
    """Where something stands in a file: characters `start` to `end`, and the lines that they are on, from 1."""

    start: int
    end: int
    first: int
    last: int


def span(source: Source, node: ast.stmt | ast.expr) -> Span:
    """Return where a node stands."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start = _offset(source, node.lineno, node.col_offset)
    return Span(start, _offset(source, node.end_lineno, node.end_col_offset), node.lineno, node.end_lineno)


def written(source: Source, node: ast.stmt | ast.expr) -> str:
    """Return the text of a node, as it stands in the file."""
    place = span(source, node)
    return source.text[place.start : place.end]


def lines_of(source: Source, node: ast.stmt) -> Span | None:
    """Return the whole lines of a statement, with what ends them and a comment behind; None if it shares one."""
    place = span(source, node)
    start = _offset(source, place.first, 0)
    end = _offset(source, place.last + 1, 0)
    behind = source.text[place.end : end].strip()
    if source.text[start : place.start].strip() or (behind and not behind.startswith("#")):
        return None
    return Span(start, end, place.first, place.last)


def indent_of(source: Source, node: ast.stmt) -> str:
    """Return the blanks before a statement that begins its line."""
    place = span(source, node)
    return source.text[_offset(source, place.first, 0) : place.start]


def _offset(source: Source, line: int, col: int) -> int:
    """Return the character at a line and a column in bytes, as `ast` counts; of the line behind the last, the end."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", source.text))]
    if line > len(starts):
        return len(source.text)
    start = starts[line - 1]
    return start + len(source.lines[line - 1].encode("utf-8", "surrogatepass")[:col].decode("utf-8", "ignore"))


def diff(old: Source, new: Source) -> str:
    """Return the unified diff between two states of a file, its lines ended by line feeds."""
    before, after = ([text + "\n" for text in _shown(source)] for source in (old, new))
    name = PurePath(old.path).as_posix()
    return "".join(difflib.unified_diff(before, after, name, name))


def _shown(source: Source) -> list[str]:
    """Return the lines of a file without their ends; nothing stands behind the last end."""
    lines = list(source.lines)
    return lines[:-1] if lines and not lines[-1] else lines
