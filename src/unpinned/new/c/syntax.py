# SPDX-License-Identifier: Apache-2.0
"""Parse a kernel source file with tree-sitter: its functions, the callbacks of its notifiers, its fault function."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unpinned.errors import PlanError, UsageError
from unpinned.new.c.normal import normalise
from unpinned.new.c.primitives import INIT_WORK, TRANSLATES, lock_call
from unpinned.plan.vocabulary import nearest

if TYPE_CHECKING:
    from tree_sitter import Node

#: A source file larger than this is something else.
_MOST_BYTES: Final = 5_000_000
_TABLES: Final = frozenset(["mmu_notifier_ops", "mmu_interval_notifier_ops"])
#: How callbacks are called that another file hands to the notifiers.
_BY_NAME: Final = {
    "invalidate_range_start": re.compile(r"\w*invalidate(?:_range)?_start"),
    "invalidate_range_end": re.compile(r"\w*invalidate(?:_range)?_end"),
}


@dataclass(frozen=True)
class Function:
    """A function of the file: its name, its parameters by name with their types, and its body."""

    name: str
    line: int
    returns: str
    params: dict[str, str]
    body: Node


@dataclass(frozen=True)
class Client:
    """What the mm calls: callbacks by the name of their op.

    `table` is the name of the ops table, empty if there is none, and the callbacks were taken by their names.
    """

    table: str
    callbacks: dict[str, str]

    @property
    def era(self) -> str:
        """Return the era of the mm that calls them."""
        return "2008" if "invalidate_page" in self.callbacks else "current"


class CFile:
    """A source file, parsed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read and parse a file.

        :raises UsageError: if tree-sitter is not installed.
        :raises PlanError: if the file cannot be read.
        """
        self.path = os.fspath(path)
        self._data = normalise(_read(self.path)).encode()
        self.root = _parsed(self._data)

    def text(self, node: Node) -> str:
        """Return the text of a node, blanks and comments folded."""
        raw = self._data[node.start_byte : node.end_byte].decode()
        return " ".join(re.sub(r"/\*.*?\*/|//[^\n]*", " ", raw, flags=re.DOTALL).split())

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Return the functions by name; of several of one name, which #if tells apart, the first."""
        found: dict[str, Function] = {}
        for node in walk(self.root):
            if node.type == "function_definition":
                function = self._function(node)
                if function is not None:
                    found.setdefault(function.name, function)
        return found

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """Return the ops tables that the file fills in; if there are none, callbacks by the names of functions."""
        found = []
        for node in walk(self.root):
            if node.type != "declaration" or (kind := node.child_by_field_name("type")) is None:
                continue
            struct = self.text(kind).removeprefix("struct ")
            if struct not in _TABLES:
                continue
            for pair in walk(node):
                if pair.type == "init_declarator":
                    name, value = pair.child_by_field_name("declarator"), pair.child_by_field_name("value")
                    if name is not None and value is not None and value.type == "initializer_list":
                        found.append(Client(self.text(name), self._callbacks(value)))
        if not found:
            named = {
                op: name for op, like in _BY_NAME.items() for name in self.functions if like.fullmatch(name)
            }  # fmt: skip
            found = [Client("", named)] if named else []
        return tuple(found)

    def fault(self, name: str | None) -> tuple[Function | None, tuple[str, ...]]:
        """Return the fault function, the named one or the likeliest, and the names of the others that may be it.

        :raises UsageError: if there is none of that name.
        """
        likely = self._likely_faults()
        if name is None:
            return (self.functions[likely[0]] if likely else None), tuple(likely[1:])
        return self.function(name, f"It may be: {', '.join(likely)}." if likely else ""), ()

    def function(self, name: str, hint: str = "") -> Function:
        """Return a function that the user has named.

        :raises UsageError: if there is none of that name.
        """
        if name not in self.functions:
            hint = hint or "Name a function that is defined there."
            raise UsageError(f"{self.path} defines no function {name!r}{nearest(name, self.functions)}", hint=hint)
        return self.functions[name]

    @cached_property
    def works(self) -> dict[str, str]:
        """Return the functions that work items run, by the names of the members that the items are."""
        found = {}
        for node in walk(self.root):
            called, args = node.child_by_field_name("function"), node.child_by_field_name("arguments")
            if node.type == "call_expression" and called is not None and args is not None:
                given = [self.text(one) for one in args.named_children]
                if INIT_WORK.fullmatch(self.text(called)) and len(given) > 1 and given[1] in self.functions:
                    found[re.sub(r".*\W", "", given[0])] = given[1]
        return found

    @cached_property
    def releases(self) -> dict[str, Node]:
        """Return what kref_put() was given by the functions that it calls for the last reference."""
        found = {}
        for node in walk(self.root):
            called, args = node.child_by_field_name("function"), node.child_by_field_name("arguments")
            if node.type == "call_expression" and called is not None and args is not None:
                given = args.named_children
                if self.text(called) == "kref_put" and len(given) == 2:
                    found[self.text(given[1]).lstrip("&")] = given[0]
        return found

    def calls(self, node: Node) -> Iterator[str]:
        """Yield the names of the functions and macros that are called in a node."""
        for inner in walk(node):
            if inner.type == "call_expression" and (called := inner.child_by_field_name("function")) is not None:
                yield self.text(called)

    def _likely_faults(self) -> list[str]:
        """Return the functions that translate addresses or begin to read a notifier, the likeliest first."""
        scores: dict[str, int] = {}
        callbacks = {name for client in self.clients for name in client.callbacks.values()}
        for name, function in self.functions.items():
            called = set(self.calls(function.body))
            translates = any(TRANSLATES.fullmatch(one) for one in called)
            begins = "mmu_interval_read_begin" in called
            if (translates or begins) and name not in callbacks:
                locks = any(lock_call(one) for one in called)
                retries = "mmu_interval_read_retry" in called or any("retry" in one for one in [*called, name])
                scores[name] = 4 * translates + 3 * begins + 2 * retries + locks + ("fault" in name)
                scores[name] -= 3 * bool(TRANSLATES.fullmatch(name))  # a step on the way, and no fault
        return sorted(scores, key=lambda name: -scores[name])

    def _callbacks(self, table: Node) -> dict[str, str]:
        """Return the functions of an initialiser by op."""
        found = {}
        for pair in walk(table):
            if pair.type == "initializer_pair":
                op, value = pair.child_by_field_name("designator"), pair.child_by_field_name("value")
                if op is not None and value is not None:
                    found[self.text(op).lstrip(".")] = self.text(value).lstrip("&")
        return found

    def _function(self, node: Node) -> Function | None:
        """Return a definition, or nothing if the parser did not see a whole one."""
        body, declarator = node.child_by_field_name("body"), node.child_by_field_name("declarator")
        stars = ""
        while declarator is not None and declarator.type == "pointer_declarator":
            declarator, stars = declarator.child_by_field_name("declarator"), "*"
        if body is None or declarator is None or declarator.type != "function_declarator":
            return None
        name, params = declarator.child_by_field_name("declarator"), declarator.child_by_field_name("parameters")
        kind = node.child_by_field_name("type")
        if name is None or params is None or kind is None:
            return None
        found = dict(declared(self, param) for param in params.named_children if param.type == "parameter_declaration")
        return Function(self.text(name), node.start_point[0] + 1, self.text(kind) + stars, found, body)


def declared(file: CFile, node: Node) -> tuple[str, str]:
    """Return the name that a parameter or a declarator declares, and its type; a pointer's ends with a star."""
    kind, declarator = node.child_by_field_name("type"), node.child_by_field_name("declarator")
    stars = ""
    while declarator is not None and declarator.type != "identifier":
        stars += "*" if declarator.type in ("pointer_declarator", "array_declarator", "function_declarator") else ""
        declarator = declarator.child_by_field_name("declarator")
    return (file.text(declarator) if declarator else ""), (file.text(kind) if kind else "") + stars


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all in it, in the order of the text."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack += reversed(top.children)


def _parsed(data: bytes) -> Node:
    """Parse C.

    :raises UsageError: if tree-sitter is not installed.
    """
    try:
        import tree_sitter  # noqa: PLC0415 - an extra
        import tree_sitter_c  # noqa: PLC0415
    except ImportError as error:
        what = f"C is read with tree-sitter, and that is not installed ({error})"
        raise UsageError(what, hint="Type: pip install 'unpinned[c]'") from error
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language())).parse(data).root_node


def _read(path: str) -> str:
    """Return the text of a file.

    :raises PlanError: if it cannot be read, or is none of C.
    """
    hint = "Give the path of a C file of the kernel."
    try:
        file = Path(path)
        if file.is_dir():
            raise PlanError(f"{path}: a directory, not a C file", None, hint)
        if file.stat().st_size > _MOST_BYTES:
            raise PlanError(f"{path}: larger than {_MOST_BYTES} bytes", None, hint)
        text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        raise PlanError(f"{path}: {getattr(error, 'strerror', None) or error}", None, hint) from error
    if "\0" in text:
        raise PlanError(f"{path}: there is a null byte in it, so it is no text", None, hint)
    return text
