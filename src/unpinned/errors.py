# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can cause; they are caught once, in cli.py, and printed without a traceback."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Pos:
    """A place in a source file: `line` from 1, `col` from 0, `end_col` exclusive; `text` is the whole line."""

    file: str
    line: int
    col: int = 0
    end_col: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col + 1}"

    @property
    def short(self) -> str:
        """Return the file's name and the line, for a word in a sentence: "mm2008.py:102"."""
        return f"{PurePath(self.file).name}:{self.line}"


class UnpinnedError(Exception):
    """A mistake that the user can mend: `what` is wrong, `pos` says where, `hint` says what to do."""

    def __init__(self, what: str, pos: Pos | None = None, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.pos = pos
        self.hint = hint

    def __str__(self) -> str:
        """Write the message in three parts: what and where, the line with a caret, what to do."""
        lines = [f"{self.pos}: {self.what}" if self.pos else self.what]
        if self.pos and self.pos.text:
            width = max(1, min(self.pos.end_col, len(self.pos.text)) - self.pos.col)
            shown = self.pos.text.expandtabs(1)
            lines += [f"    {shown}", "    " + " " * self.pos.col + "^" * width]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class PlanError(UnpinnedError):
    """A plan that cannot be read: not the language, not in the language yet, or wrong in itself."""


class UsageError(UnpinnedError):
    """A command or a call that asks for something which does not exist."""


class ReplayError(UnpinnedError):
    """A token that does not fit the plan it is replayed on."""


class GalleryError(UnpinnedError):
    """An entry of the gallery that cannot be read, or a gallery that is not there."""
