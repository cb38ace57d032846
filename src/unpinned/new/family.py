# SPDX-License-Identifier: Apache-2.0
"""Read the families of locking plans: what each is, and its plan."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unpinned.errors import UsageError

#: The family that most drivers belong to.
DEFAULT: Final = "B"

#: The class that stands in the files of the families.
PLACEHOLDER: Final = "Skeleton"

_FOLDER: Final = Path(__file__).with_name("families")


@dataclass(frozen=True, slots=True)
class Family:
    """A family: `title` is a sentence, `verdict` what a check says of `plan`."""

    letter: str
    title: str
    who: str
    rule: str
    verdict: str
    plan: str


def families() -> tuple[Family, ...]:
    """Return all families by their letters."""
    found = (_read(path) for path in _FOLDER.glob("*.py") if path.stem != "__init__")
    return tuple(sorted(found, key=lambda family: family.letter))


def family(letter: str) -> Family:
    """Return the family of a letter, of either case.

    :raises UsageError: if there is none.
    """
    by_letter = {one.letter: one for one in families()}
    found = by_letter.get(letter.upper())
    if found is None:
        hint = f"There are: {', '.join(by_letter)}; `unpinned new --list` says what they are."
        raise UsageError(f"there is no family {letter!r}", hint=hint)
    return found


def _read(path: Path) -> Family:
    """Read the file of a family."""
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    title, _, rest = docstring.partition("\n")
    words = dict(line.split(": ", 1) for line in rest.strip().splitlines())
    plan = re.sub(r'\A.*?""".*?"""\s*', "", text, flags=re.DOTALL)
    return Family(
        letter=words["family"],
        title=title,
        who=words["who"],
        rule=words["rule"],
        verdict=words["verdict"],
        plan=plan,
    )
