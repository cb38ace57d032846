# SPDX-License-Identifier: Apache-2.0
"""Read the class attributes by which a plan says what it is: era, operations, promises, waivers and so on."""

from __future__ import annotations

import ast
from collections.abc import Collection

from unpinned.ir.rules import LINTS, RULES
from unpinned.plan.reading.source import Source
from unpinned.plan.vocabulary import CORES, ERAS, FLAVOURS, HOOKS, LATER_HOOKS, MM_CALLS, OPERATIONS, SPTES, nearest

Value = str | tuple[str, ...] | dict[str, str]


def read_attribute(source: Source, name: str, value: ast.expr) -> Value:
    """Return the value of one attribute.

    :raises PlanError: if it is not written out, or names what does not exist.
    """
    if name == "era":
        return _era(source, value)
    if name == "core":
        return _known(source, value, "core", CORES, f"There are: {', '.join(CORES)}. Leave it out for today's.")
    if name == "flavour":
        return _known(source, value, "flavour", FLAVOURS, "Write `flavour = 'sleeping'`, or leave it out.")
    if name == "sptes":
        return _known(source, value, "kind of spte", SPTES, "Write `sptes = 'pinned'` or 'cpu', or leave it out.")
    if name == "operations":
        return _words(source, value, "operations", "operation", OPERATIONS)
    if name == "own":
        return _own(source, value)
    if name == "promises":
        return _words(source, value, "promises", "rule", RULES)
    return _waive(source, value)


def _era(source: Source, value: ast.expr) -> str:
    """Return the era."""
    era = value.value if isinstance(value, ast.Constant) else None
    if not isinstance(era, str) or era not in ERAS:
        raise source.error(value, "no such era", "Write `era = '2008'`, `era = 'current'` or `era = '2005'`.")
    return era


def _words(source: Source, value: ast.expr, name: str, what: str, known: Collection[str]) -> tuple[str, ...]:
    """Return a tuple of words that are all known."""
    example = f"Write `{name} = ('{next(iter(known))}',)`; there are: {', '.join(known)}."
    if not isinstance(value, ast.Tuple | ast.List):
        raise source.error(value, f"`{name}` is a tuple of strings", example)
    if not value.elts:
        hint = f"Leave `{name}` out for all of them: {', '.join(known)}."
        raise source.error(value, f"`{name}` is empty, and nothing would be checked", hint)
    words: list[str] = []
    for element in value.elts:
        word = _known(source, element, what, known, example)
        if word in words:
            raise source.error(element, f"`{word}` stands here twice", "Leave one out.")
        words.append(word)
    return tuple(words)


def _own(source: Source, value: ast.expr) -> tuple[str, ...]:
    """Return the names of the client's own operations; that there are such methods is looked at later."""
    example = "Write `own = ('deregister',)`, with a method `def deregister(self):`."
    if not isinstance(value, ast.Tuple | ast.List) or not value.elts:
        raise source.error(value, "`own` is a tuple of the names of methods", example)
    names: list[str] = []
    for element in value.elts:
        name = element.value if isinstance(element, ast.Constant) else None
        if not isinstance(name, str) or not name.isidentifier():
            raise source.error(element, "the name of a method must stand here", example)
        if name in (*OPERATIONS, *MM_CALLS, *HOOKS, *LATER_HOOKS):
            raise source.error(element, f"`{name}` is the mm's, not an operation of the client's own", example)
        if name in names:
            raise source.error(element, f"`{name}` stands here twice", "Leave one out.")
        names.append(name)
    return tuple(names)


def _waive(source: Source, value: ast.expr) -> dict[str, str]:
    """Return the rules and lints that are waived, with the reasons."""
    known = [*RULES, *LINTS]
    example = f'Write `waive = {{"rule": "why the plan may break it"}}`; there are: {", ".join(known)}.'
    if not isinstance(value, ast.Dict):
        raise source.error(value, "`waive` is a dict from rules to reasons", example)
    waive: dict[str, str] = {}
    for key, text in zip(value.keys, value.values, strict=True):
        if key is None:
            raise source.error(text, "`**` is not in the plan language", example)
        rule = _known(source, key, "rule", known, example)
        if rule in waive:
            raise source.error(key, f"`{rule}` stands here twice", "Leave one out.")
        if not isinstance(text, ast.Constant) or not isinstance(text.value, str) or not text.value.strip():
            raise source.error(text, f"the waiver of `{rule}` has no reason", "Say in a string why it may be broken.")
        waive[rule] = text.value
    return waive


def _known(source: Source, node: ast.expr, what: str, known: Collection[str], hint: str) -> str:
    """Return a string constant that is one of the known words."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise source.error(node, f"a string must stand here: the name of a {what}", hint)
    if node.value not in known:
        raise source.error(node, f"no such {what}{nearest(node.value, known)}", hint)
    return node.value
