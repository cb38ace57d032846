# SPDX-License-Identifier: Apache-2.0
"""Read a plan file and parse it, without running it; every bad input is a PlanError."""

from __future__ import annotations

import ast
import os
import re
import stat
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from unpinned.errors import PlanError, Pos

#: A plan is a page of text; a file larger than this is something else.
MAX_BYTES: Final = 1_000_000
#: Longer lines are not shown in messages.
MAX_SHOWN: Final = 400

_LINE_END = re.compile(r"\r\n|\r|\n")  # what Python's parser counts; str.splitlines() counts more
_A_PLAN = "Give the path of a Python file with a class that derives from SecondaryMMU."


@dataclass(frozen=True)
class Source:
    """A plan file: `path` as the user gave it, its text and its syntax.

    In a variant that was made of a file, `origins` has for each line the number of the line that it was there.
    """

    path: str
    text: str
    tree: ast.Module
    origins: tuple[int, ...] = ()

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Return the lines as the parser counts them."""
        return tuple(_LINE_END.split(self.text))

    def pos(self, node: ast.AST) -> Pos:
        """Return the place of a node; of one that spans lines, its first line."""
        line = getattr(node, "lineno", 1)
        raw = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        col = _chars(raw, getattr(node, "col_offset", 0))
        end = _chars(raw, getattr(node, "end_col_offset", None) or 0)
        if getattr(node, "end_lineno", line) != line:
            end = len(raw.rstrip())
        origin = self.origins[line - 1] if line <= len(self.origins) else line
        return _place(self.path, origin, col, end, raw)

    def error(self, node: ast.AST, what: str, hint: str = "") -> PlanError:
        """Return the error that `what` is wrong at `node`, and `hint` what to write instead."""
        return PlanError(what, self.pos(node), hint)


def read_source(path: str | os.PathLike[str], shown: str | None = None) -> Source:
    """Read and parse a plan file; messages and reports name it `shown`, or as it was given.

    :raises PlanError: if it cannot be read, is no text, or is not Python.
    """
    data = _read(os.fsdecode(path))
    name = shown or os.fsdecode(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            Pos(name, data.count(b"\n", 0, error.start) + 1),
            "A plan is a Python file in UTF-8: save it so.",
        ) from None
    return parse_source(text, name)


def parse_source(text: str, path: str) -> Source:
    """Parse the text of a plan; `path` is only for messages.

    :raises PlanError: if it is not Python, or empty.
    """
    if "\0" in text:
        line = len(_LINE_END.split(text[: text.index("\0")]))
        raise PlanError("there is a null byte here", Pos(path, line), f"This is no text file. {_A_PLAN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, path)
    except SyntaxError as error:
        raise _syntax_error(error, path, tuple(_LINE_END.split(text))) from None
    except (RecursionError, MemoryError):
        raise PlanError(f"{path}: nested too deep to be read", None, "Break long expressions into lines.") from None
    except ValueError as error:
        raise PlanError(f"{path}: not Python: {error}", None, _A_PLAN) from None
    if not tree.body:
        raise PlanError(f"{path}: the file is empty", None, _A_PLAN)
    return Source(path, text, tree)


def _read(name: str) -> bytes:
    """Return the bytes of a regular file, without opening anything else."""
    try:
        info = os.stat(name)
        if stat.S_ISDIR(info.st_mode):
            raise PlanError(f"{name}: a directory, not a plan file", None, _A_PLAN)
        if not stat.S_ISREG(info.st_mode):
            raise PlanError(f"{name}: not a regular file", None, "Write the plan to a file, and give its path.")
        if info.st_size > MAX_BYTES:
            raise _too_large(name, info.st_size)
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PlanError(f"{name}: no such file", None, _A_PLAN) from None
    except PermissionError:
        raise PlanError(f"{name}: you may not read it", None, f"Give yourself leave: `chmod u+r {name}`.") from None
    except OSError as error:
        raise PlanError(f"{name}: cannot be read: {error.strerror or error}", None, _A_PLAN) from None
    except ValueError as error:
        raise PlanError(f"{name!r}: not a path: {error}", None, _A_PLAN) from None
    if len(data) > MAX_BYTES:
        raise _too_large(name, len(data))
    return data


def _too_large(name: str, size: int) -> PlanError:
    """Return the error for a file that is too large to be a plan."""
    shown = f"{size / 1e6:.0f} MB" if size >= 2 * MAX_BYTES else "over 1 MB"
    return PlanError(f"{name}: a plan is a page of Python; this file has {shown}", None, _A_PLAN)


def _syntax_error(error: SyntaxError, path: str, lines: tuple[str, ...]) -> PlanError:
    """Return what the parser found, with the place that it gives."""
    what = f"not Python: {error.msg}"
    hint = "Mend the syntax; `python3 -m py_compile FILE` says the same."
    if not error.lineno:
        return PlanError(f"{path}: {what}", None, hint)
    line = min(error.lineno, len(lines))
    raw = lines[line - 1]
    col = min(max((error.offset or 1) - 1, 0), len(raw))
    end = (error.end_offset or 0) - 1 if error.end_lineno == error.lineno else col + 1
    return PlanError(what, _place(path, line, col, end, raw), hint)


def _place(path: str, line: int, col: int, end: int, raw: str) -> Pos:
    """Return a Pos whose text is safe to print: no control characters, and not endless."""
    text = "".join(char if char.isprintable() else " " for char in raw.rstrip())
    return Pos(path, line, col, max(end, col + 1), text if len(text) <= MAX_SHOWN else "")


def _chars(line: str, offset: int) -> int:
    """Turn an offset in UTF-8 bytes, as `ast` counts, into one in characters."""
    if line.isascii():
        return offset
    return len(line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))
