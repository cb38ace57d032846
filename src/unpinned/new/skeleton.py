# SPDX-License-Identifier: Apache-2.0
"""Write the plan of a family under the name of a user, and list the families."""

from __future__ import annotations

import keyword
import re
import textwrap

from unpinned.errors import UsageError
from unpinned.new.family import PLACEHOLDER, Family, families
from unpinned.plan.vocabulary import ATTRIBUTES, DRIVER_WORDS

_WIDTH = 75


def class_name(name: str) -> str:
    """Return the class of a name as a user gives it: my_driver and my-driver are MyDriver.

    :raises UsageError: if a class cannot be called so.
    """
    parts = re.split(r"[-_]+", name)
    made = "".join(part[:1].upper() + part[1:] for part in parts)
    hint = "Take letters, digits, - and _, with a letter first: `unpinned new my_driver`."
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", made):
        raise UsageError(f"{name!r} is no name for a plan", hint=hint)
    if keyword.iskeyword(made) or made in DRIVER_WORDS | ATTRIBUTES:
        raise UsageError(f"{made} is a word of the language", hint="Give the plan another name.")
    return made


def skeleton(name: str, of: Family) -> str:
    """Return the text of a plan file with the plan of a family.

    :raises UsageError: if a class cannot be called so.
    """
    made = class_name(name)
    about = f"Begun with `unpinned new`. {of.title} A check says of it as it stands: {of.verdict}."
    head = f'"""{made}: a plan of family {of.letter}.\n\n{textwrap.fill(about, 110)}\n"""\n\n'
    return head + re.sub(rf"\b{PLACEHOLDER}\b", made, of.plan)


def listing() -> str:
    """Return the families as text."""
    blocks = []
    for one in families():
        lines = [_filled(f"{one.letter}  ", one.title), _filled("   who   ", one.who), _filled("   rule  ", one.rule)]
        lines.append(f"   write `unpinned new NAME --family {one.letter}`; a check says: {one.verdict}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _filled(head: str, text: str) -> str:
    """Return words behind a head, in lines that fit into a mail."""
    return textwrap.fill(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
