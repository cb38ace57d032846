# SPDX-License-Identifier: Apache-2.0
"""Find out which members and variables of C become fields of a plan, and under which names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from unpinned.new.c.primitives import ATOMIC
from unpinned.new.c.syntax import CFile, Function, walk
from unpinned.plan.vocabulary import (
    ATTRIBUTES,
    DRIVER_WORDS,
    HOOKS,
    LATER_HOOKS,
    LATER_WORDS,
    MM_CALLS,
    MODEL_WORDS,
    PARTS,
)

if TYPE_CHECKING:
    from tree_sitter import Node

#: Members that count, by their names: those that are only read in this file.
_COUNTS: Final = re.compile(r"\w*seq|\w*in_progress|\w*invalidate_count|\w*range_active|\w*range_count")
_TRUTH: Final = frozenset(["true", "false"])
#: Names that a field, a method or a local may not have.
_TAKEN: Final = (
    DRIVER_WORDS
    | MODEL_WORDS
    | ATTRIBUTES
    | MM_CALLS
    | PARTS
    | LATER_HOOKS
    | LATER_WORDS
    | HOOKS.keys()
    | {"gfn", "page", "r", "self", "write"}
)


def free_name(name: str) -> str:
    """Return a name that means nothing else in a plan."""
    name = name.strip("_") or "unnamed"
    return f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name


@dataclass
class Fields:
    """The fields of one plan: how each is declared, and a comment on it.

    `members` has the kinds of the members of structures that hold counts and flags, as far as the file shows.
    """

    declared: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    _names: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def survey(self, file: CFile, functions: Iterable[Function]) -> None:
        """Look how functions use the members of structures."""
        kinds: dict[str, set[str]] = {}
        for node in (inner for function in functions for inner in walk(function.body)):
            for name, kind in _uses(file, node):
                kinds.setdefault(name, set()).add(kind)
        for name, found in kinds.items():
            self.members[name] = next(kind for kind in ("Atomic", "Flag", "Counter") if kind in found)

    def member(self, name: str) -> str:
        """Return the field of a member that holds a count or a flag, and declare it."""
        return self.declare(name, f"{self.members[name]}()")

    def object(self, file: CFile, node: Node, kind: str, types: dict[str, str]) -> str:
        """Return the field of a lock or a queue, and declare it; `types` has those of the variables in scope.

        Of two structures that each have a member of that name, each has its own field.
        """
        target = _target(node)
        owner = ""
        if target.type == "field_expression" and (base := target.child_by_field_name("argument")) is not None:
            owner = types.get(file.text(base), "").removeprefix("struct ").rstrip("*")
        name = name_of(file, node)
        known = [one for (other, whose, what), one in self._names.items()
                 if (other, what) == (name, kind) and (whose == owner or not whose or not owner)]  # fmt: skip
        if known:
            return known[0]
        clash = any(other == name for other, _, _ in self._names)
        wanted = f"{owner or kind.lower()}_{name}" if clash else name
        self._names[name, owner, kind] = self.declare(wanted, f"{kind}()")
        return self._names[name, owner, kind]

    def declare(self, name: str, declaration: str, note: str = "") -> str:
        """Declare a field, and return its name."""
        name = free_name(name)
        self.declared.setdefault(name, declaration)
        if note:
            self.notes[name] = note
        return name


def name_of(file: CFile, node: Node) -> str:
    """Return the last name of an object: lock for &gpc->lock, and for &locks[i].lock."""
    target = _target(node)
    if target.type == "field_expression" and (member := target.child_by_field_name("field")) is not None:
        return file.text(member)
    return re.sub(r"\W+", "_", file.text(target)).strip("_") or "unnamed"


def _target(node: Node) -> Node:
    """Return what a pointer, an index or brackets stand for."""
    while True:
        inner = None
        if node.type in ("pointer_expression", "subscript_expression", "cast_expression"):
            inner = node.child_by_field_name("value" if node.type == "cast_expression" else "argument")
        elif node.type == "parenthesized_expression" and node.named_children:
            inner = node.named_children[0]
        elif node.type == "call_expression" and (args := node.child_by_field_name("arguments")) is not None:
            inner = args.named_children[0] if args.named_children else None
        if inner is None:
            return node
        node = inner


def _uses(file: CFile, node: Node) -> Iterable[tuple[str, str]]:
    """Yield the members that a node uses as counts or flags."""
    match node.type:
        case "update_expression":
            argument = node.child_by_field_name("argument")
            if argument is not None and argument.type == "field_expression":
                yield name_of(file, argument), "Counter"
        case "assignment_expression":
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if left is not None and right is not None and left.type == "field_expression":
                if file.text(right) in _TRUTH:
                    yield name_of(file, left), "Flag"
                elif any(child.type in ("+=", "-=") for child in node.children):
                    yield name_of(file, left), "Counter"
        case "call_expression":
            called, args = node.child_by_field_name("function"), node.child_by_field_name("arguments")
            given = args.named_children if args is not None else []
            name = file.text(called) if called is not None else ""
            if given and ATOMIC.fullmatch(name):
                at = 1 if re.search(r"_(?:add|sub)(?:_return|_and_test)?(?:_\w+)?$", name) and len(given) > 1 else 0
                yield name_of(file, given[at]), "Atomic"
            elif name == "WRITE_ONCE" and len(given) == 2 and file.text(given[1]) in _TRUTH:
                yield name_of(file, given[0]), "Flag"
        case "field_expression":
            name = name_of(file, node)
            if _COUNTS.fullmatch(name) and name != "notifier_seq":
                yield name, "Counter"
