# SPDX-License-Identifier: Apache-2.0
"""Write methods as the text of a plan, each line with the line of C that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from unpinned.new.c.fields import Fields
from unpinned.new.c.shape import Block, Code, Gap, Goto, If, Label, Leave, Loop, Stmt, Unlock, With, falls_through
from unpinned.plan.vocabulary import DRIVER_WORDS

_ORDER: Final = (
    "SpinLock",
    "RwLock",
    "Mutex",
    "RwSem",
    "Counter",
    "Atomic",
    "Flag",
    "WaitQueue",
    "Object",
    "Srcu",
    "WorkItem",
)
#: What a refused statement is known by: it may stand in several places.
Refused = dict[int, str]


@dataclass(frozen=True)
class Method:
    """A method of a plan: its head without `def`, what stands above it and under it, and its body.

    `otherwise` is what it returns where a way out was refused.
    """

    head: str
    doc: str
    body: Block
    otherwise: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of a plan, and the statement that it came from."""

    text: str
    stmt: Stmt | None = None


def class_lines(
    name: str, doc: str, attributes: list[str], fields: Fields, methods: list[Method], refused: Refused
) -> list[Line]:
    """Return the lines of a class; statements that were refused stand as gaps."""
    lines = [Line(f"class {name}(SecondaryMMU):"), Line(f'    """{doc}"""'), Line("")]
    lines += [Line(f"    {text}") for text in attributes]
    body = [line for method in methods for line in _method(method, refused)]
    used = "\n".join(line.text for line in body)
    lines += [Line(f"    {text}") for text in _fields(fields, used)]
    return [*lines, *body]


def imports(lines: list[Line]) -> str:
    """Return the import that the lines of a plan need."""
    code = "\n".join(line.text.partition("#")[0] for line in lines)
    words = sorted(set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", code)) & DRIVER_WORDS, key=_as_sorted)
    flat = f"from unpinned import {', '.join(words)}"
    return flat if len(flat) <= 110 else "from unpinned import (\n" + "".join(f"    {word},\n" for word in words) + ")"


def _as_sorted(word: str) -> tuple[int, str]:
    """Return the key by which an import sorts its words: constants, then classes, then functions."""
    return (0 if word.isupper() else 1 if word[0].isupper() and not word.isupper() else 2), word


def _fields(fields: Fields, used: str) -> Iterator[str]:
    """Yield the declarations of the fields that a text uses, by their kinds, gaps last."""

    def key(name: str) -> tuple[bool, int, str]:
        return name.startswith("gap_"), _ORDER.index(fields.declared[name].partition("(")[0]), name

    for name in sorted((name for name in fields.declared if re.search(rf"self\.{name}\b", used)), key=key):
        note = fields.notes.get(name, "")
        yield f"{name} = {fields.declared[name]}" + (f"  # {note}" if note else "")


def _method(method: Method, refused: Refused) -> Iterator[Line]:
    """Yield the lines of a method."""
    yield Line("")
    for text in method.before:
        yield Line(f"    # {text}")
    yield Line(f"    def {method.head}:")
    yield Line(f'        """{method.doc}"""')
    body = method.body
    if len(body) > 1 and body[-1] == Leave("return", 0):
        body = body[:-1]
    yield from _Writer(refused, method.otherwise).block(body, 2, may_be_empty=True)


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one method: those that were refused as gaps, and ways out among these as `otherwise`."""

    refused: Refused
    otherwise: str

    def block(self, block: Block, depth: int, *, may_be_empty: bool = False) -> Iterator[Line]:
        """Yield the lines of a block, which is not empty in Python."""
        written = False
        last = ""
        for stmt in block:
            for line in self._statement(stmt, depth):
                if line.text == last and line.text.strip().startswith("#"):
                    continue
                last = line.text
                written = written or not line.text.lstrip().startswith("#")
                yield line
            if isinstance(stmt, Leave):
                break
        if not written and not may_be_empty:
            yield Line(" " * 4 * depth + "pass")

    def _statement(self, stmt: Stmt, depth: int) -> Iterator[Line]:
        """Yield the lines of a statement."""
        blanks = " " * 4 * depth
        why = self.refused.get(id(stmt), "")
        if why:
            yield Line(f"{blanks}# GAP line {_line(stmt)}: {why}")
        match stmt:
            case Gap(line=line, what=what):
                yield Line(f"{blanks}# GAP line {line}: {what}", stmt)
            case Code() if why:
                return
            case Leave() | Loop() if why:
                if not falls_through((stmt,)):
                    yield Line(f"{blanks}return {self.otherwise}".rstrip())
            case Code(text=text, line=line, note=note):
                yield Line(f"{blanks}{text}{_behind(line, note)}", stmt)
            case Leave(kind=kind, value=value, line=line, note=note):
                yield Line(f"{blanks}{kind}{' ' + value if value else ''}{_behind(line, note)}", stmt)
            case With(lock=lock, body=body) if why:
                yield from self.block(body, depth)
            case With(lock=lock, body=body):
                note = "" if lock.line else f"GAP: the caller holds {lock.field}"
                yield Line(f"{blanks}with {lock.taken}:{_behind(lock.line, note)}", stmt)
                yield from self.block(body, depth + 1)
            case If(cond=cond, line=line, then=then, other=other, note=note):
                cond = "False" if why else cond
                if not then and other:
                    cond, then, other = f"not ({cond})", other, ()
                gaps = note.split("; GAP ")
                yield from (Line(f"{blanks}# GAP {gap.removeprefix('GAP ')}") for gap in gaps if len(gaps) > 1)
                note = note if len(gaps) == 1 else ""
                yield Line(f"{blanks}if {cond}:{_behind(line, note)}", stmt)
                yield from self.block(then, depth + 1)
                if other and falls_through(then):
                    yield Line(f"{blanks}else:")
                    yield from self.block(other, depth + 1)
                elif other:
                    yield from self.block(other, depth, may_be_empty=True)
            case Loop(head=head, line=line, body=body, note=note):
                body = body[:-1] if body and isinstance(body[-1], Leave) and body[-1].kind == "continue" else body
                yield Line(f"{blanks}{head}:{_behind(line, note)}", stmt)
                yield from self.block(body, depth + 1)
            case Goto() | Label() | Unlock():
                raise AssertionError(f"{stmt} is no statement of a plan")


def _line(stmt: Stmt) -> int:
    """Return the line of C of a statement."""
    return stmt.lock.line if isinstance(stmt, With) else stmt.line


def _behind(line: int, note: str) -> str:
    """Return the comment behind a line of a plan."""
    said = note or (str(line) if line else "")
    return f"  # {said}" if said else ""
