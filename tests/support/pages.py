# SPDX-License-Identifier: Apache-2.0
"""Read pages of Markdown: their fenced blocks, links, headings and tables; compare and refresh what blocks say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WILD = "..."


@dataclass(frozen=True)
class Block:
    """A fenced block: the words behind the fence, its lines, and the number of its first line (from 0)."""

    words: tuple[str, ...]
    lines: tuple[str, ...]
    at: int

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            yield Block(tuple(lines[start][3:].split()), tuple(lines[start + 1 : number]), start + 1)
            start = None
    assert start is None, f"line {start}: a fence is not closed"


def without_blocks(text: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    """A command of a console block and the output that the page shows under it."""

    line: str
    shown: list[str]


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block; a line that begins with `> ` goes on with the one before."""
    found: list[Command] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif line.startswith("> ") and found and not found[-1].shown:
            found[-1].line += "\n" + line[2:]
        else:
            assert found, f"a console block begins with a command, not with: {line}"
            found[-1].shown.append(line)
    return found


def console(done: list[Command]) -> list[str]:
    """Return the lines of a console block again."""
    lines: list[str] = []
    for command in done:
        first, *more = command.line.split("\n")
        lines += [f"$ {first}", *(f"> {line}" for line in more), *command.shown]
    return lines


def matches(shown: list[str], real: list[str]) -> bool:
    """Tell whether the lines are the same, where a line `...` stands for any number of lines."""
    if WILD not in shown:
        return shown == real
    first = shown.index(WILD)
    if real[:first] != shown[:first]:
        return False
    rest = shown[first + 1 :]
    return any(matches(rest, real[at:]) for at in range(first, len(real) + 1))


def refreshed(shown: list[str], real: list[str]) -> list[str]:
    """Return the real lines, shortened where the page shortens them: pieces go where they fit best."""
    if WILD not in shown or matches(shown, real):
        return shown if WILD in shown else real
    pieces: list[list[str]] = [[]]
    for line in shown:
        if line == WILD:
            pieces.append([])
        else:
            pieces[-1].append(line)
    lines = list(real[: len(pieces[0])])
    at = len(lines)
    for piece in pieces[1:-1]:
        places = range(at, max(at + 1, len(real) - len(piece) + 1))
        best = max(places, key=lambda i: _likeness(piece, real[i : i + len(piece)]))
        lines += [WILD, *real[best : best + len(piece)]]
        at = best + len(piece)
    last = pieces[-1]
    return [*lines, WILD, *(real[-len(last) :] if last else [])]


def _likeness(a: list[str], b: list[str]) -> float:
    return difflib.SequenceMatcher(None, "\n".join(a), "\n".join(b)).ratio()


def with_block(text: str, block: Block, lines: list[str]) -> str:
    """Return a page with other lines in a block of it, whose place is that of the page as it was read."""
    all_lines = text.split("\n")
    all_lines[block.at : block.at + len(block.lines)] = lines
    return "\n".join(all_lines)


def links(text: str) -> list[str]:
    """Return the targets of the links of a page that lead to files of the repository or to places of the page."""
    targets = re.findall(r"\]\(([^()\s]+)\)", without_blocks(text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sections(text: str, level: int) -> dict[str, str]:
    """Return the text under each heading of a level, up to the next heading of that level or a higher one."""
    found: dict[str, str] = {}
    name = None
    for line in text.split("\n"):
        heading = re.match(r"(#+) (.+)$", line)
        if heading and len(heading[1]) <= level:
            name = heading[2].strip() if len(heading[1]) == level else None
            if name is not None:
                found[name] = ""
        elif name is not None:
            found[name] += line + "\n"
    return found


def rows(text: str) -> list[list[str]]:
    """Return the rows of the tables of a text, heads and rules left out."""
    found, before = [], ""
    for line in text.split("\n"):
        if line.startswith("|") and before.startswith("|") and not re.fullmatch(r"[|\-: ]+", line):
            found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        before = line
    return found
