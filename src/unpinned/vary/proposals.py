# SPDX-License-Identifier: Apache-2.0
"""Hold what could be done to a plan to repair it, and turn it into an edit of the plan's own file.

A method that the plan defines itself is changed where it stands. One that it inherits is left alone, for other plans
have it too: the plan gets a changed copy of its own.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.reading.source import Source
from unpinned.plan.vocabulary import DRIVER_WORDS
from unpinned.vary.edits import Edit
from unpinned.vary.text import Change, changed, indent_of, lines_of


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit: `what` says it in words, and `parts` are the changes of each method.

    Of proposals with one `key`, which differ in what seldom matters, one is enough. `locked` is how many statements of
    the plan as it is come under a lock that they were not under.
    """

    what: str
    parts: tuple[tuple[MethodDef, tuple[Change, ...]], ...]
    key: tuple[str, ...]
    locked: int = 0


def edit_of(plan: PlanClass, proposal: Proposal) -> Edit:
    """Return the edit of the plan's own file that a proposal comes to.

    :raises PlanError: if what it makes of a method is no Python.
    """
    own: list[Change] = []
    copies: list[tuple[MethodDef, Source]] = []
    for method, changes in proposal.parts:
        if method.owner == plan.name:
            own += changes
        else:
            copies.append((method, changed(method.source, changes)))
    if copies:
        own += _overrides(plan, copies)
    return Edit(proposal.what, plan.source, tuple(own))


def may_be_copied(plan: PlanClass, method: MethodDef) -> bool:
    """Tell whether a method means the same in the plan's own class: `super()` would not, nor what only that reaches."""
    names = {node.id for node in ast.walk(method.node) if isinstance(node, ast.Name)}
    return method.owner == plan.name or ("super" not in names and plan.methods[method.name] is method)


def class_of(source: Source, name: str) -> ast.ClassDef:
    """Return a class of a file."""
    return next(node for node in source.tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _overrides(plan: PlanClass, copies: Iterable[tuple[MethodDef, Source]]) -> list[Change]:
    """Return the changes that give a plan methods of its own, and the words of the language that they use."""
    source, body = plan.source, class_of(plan.source, plan.name).body
    at, words, text = lines_of(source, body[-1]), set[str](), ""
    for method, file in copies:
        node = next(
            stmt
            for stmt in class_of(file, method.owner).body
            if isinstance(stmt, ast.FunctionDef) and stmt.name == method.name
        )
        place = lines_of(file, node)
        assert place is not None, "a method stands on lines of its own"
        plain = textwrap.dedent("\n".join(file.lines[place.first - 1 : place.last]))
        text += "\n" + textwrap.indent(plain, indent_of(source, body[0])) + "\n"
        words |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} & DRIVER_WORDS
    if at is None:
        return []
    gap = "" if source.text[: at.end].endswith(("\n", "\r")) else "\n"
    changes = [Change(at.end, at.end, gap + text, at.last, new=True)]
    imports = [stmt for stmt in source.tree.body if isinstance(stmt, ast.ImportFrom)]
    known = {alias.asname or alias.name for stmt in imports for alias in stmt.names}
    missing = sorted(words - known)
    last = lines_of(source, imports[-1]) if imports else None
    if missing and "*" not in known and last is not None:
        changes.append(Change(last.end, last.end, f"from unpinned import {', '.join(missing)}\n", last.last))
    return changes
