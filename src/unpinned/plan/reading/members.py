# SPDX-License-Identifier: Apache-2.0
"""Read the body of one class: its fields, its methods and what it says of itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from unpinned.errors import Pos
from unpinned.plan.reading.attributes import Value, read_attribute
from unpinned.plan.reading.refusals import call_words, model_words, node_words
from unpinned.plan.reading.source import Source
from unpinned.plan.reading.subset import check_method, check_params, is_docstring
from unpinned.plan.vocabulary import (
    ALONE,
    ARRAYS,
    ATTRIBUTES,
    DRIVER_FIELDS,
    DRIVER_WORDS,
    HOOKS,
    LATER_WORDS,
    MM_CALLS,
    MODEL_FIELDS,
    MODEL_WORDS,
    PARTS,
    a_or_an,
    counted,
    listed,
    nearest,
)

#: Counters and Atomics have 1 to this many bits.
MOST_BITS: Final = 6
#: What a declaration may name, by the kind of field.
_NAMED: Final = {"Atomic": ("bits", "init", "signed"), "Counter": ("bits", "init"), "Flag": ("init",)}
#: Arrays of arrays end here: `self.tlb[cpu, gfn]`.
MOST_INDICES: Final = 2


@dataclass(frozen=True)
class FieldDecl:
    """A field: `kind` is a word such as "Counter" or "PerPage"; an array holds an `of` for each of something.

    `method` is what a WorkItem runs.
    """

    kind: str
    pos: Pos
    bits: int = 4
    of: FieldDecl | None = None
    init: int = 0
    signed: bool = False
    method: str = ""


@dataclass(frozen=True)
class MethodDef:
    """A method as `owner` (a class) defines it in `source`; `params` are without self."""

    name: str
    node: ast.FunctionDef
    source: Source
    owner: str
    params: tuple[str, ...]


@dataclass(frozen=True)
class ClassDef:
    """One class as its body says, bases apart; `base` is None for one that derives from the root."""

    name: str
    source: Source
    node: ast.ClassDef
    base: ClassDef | None
    fields: dict[str, FieldDecl]
    methods: dict[str, MethodDef]
    attributes: dict[str, Value]


def read_class(
    source: Source, node: ast.ClassDef, base: ClassDef | None, words: Mapping[str, str], *, model: bool
) -> ClassDef:
    """Read the body of a class.

    :param words: what the file has imported of the language: the name in the file -> the word.
    :raises PlanError: at the first member that is not in the language.
    """
    plan = ClassDef(node.name, source, node, base, {}, {}, {})
    reader = _Members(source, words, model, plan)
    for number, stmt in enumerate(node.body):
        if isinstance(stmt, ast.FunctionDef):
            reader.method(stmt)
        elif isinstance(stmt, ast.Assign):
            reader.assign(stmt)
        elif not isinstance(stmt, ast.Pass) and not (number == 0 and is_docstring(stmt)):
            what = node_words(stmt)[0] if isinstance(stmt, ast.AnnAssign | ast.AsyncFunctionDef) else "not a member"
            hint = f"A class holds fields (`x = Counter()`), methods, and {listed(ATTRIBUTES)}."
            raise source.error(stmt, f"{what}: a class body is read, never run", hint)
    return plan


@dataclass(frozen=True)
class _Members:
    """The members of a class that have been read so far are in `plan`."""

    source: Source
    words: Mapping[str, str]
    model: bool
    plan: ClassDef

    def method(self, fn: ast.FunctionDef) -> None:
        """Read one method."""
        self._fresh(fn, fn.name)
        params = check_params(self.source, fn)
        if not self.model and fn.name in HOOKS and len(params) != len(HOOKS[fn.name]):
            given = ", ".join(("self", *HOOKS[fn.name]))
            passed = counted(len(HOOKS[fn.name]), "argument")
            what = f"the mm calls {fn.name}() with {passed}, and this takes {len(params)}"
            raise self.source.error(fn, what, f"Write `def {fn.name}({given}):`.")
        check_method(self.source, fn, model=self.model)
        self._imported(fn)
        self.plan.methods[fn.name] = MethodDef(fn.name, fn, self.source, self.plan.name, params)

    def assign(self, stmt: ast.Assign) -> None:
        """Read a field, or one of the attributes."""
        target = stmt.targets[0]
        if len(stmt.targets) > 1 or not isinstance(target, ast.Name):
            raise self.source.error(stmt, "one declaration makes one field", "Write one line for each field.")
        name = target.id
        if name in ATTRIBUTES and not self.model:
            if name in self.plan.attributes:
                raise self.source.error(stmt, f"`{name}` is given twice", "Leave one out.")
            self.plan.attributes[name] = read_attribute(self.source, name, stmt.value)
        else:
            self._fresh(target, name)
            self.plan.fields[name] = self._field(stmt.value, name, MOST_INDICES if self.model else 1)

    def _fresh(self, node: ast.AST, name: str) -> None:
        """Refuse names that are taken."""
        if name in self.plan.methods or name in self.plan.fields:
            hint = "Python would keep the last alone: rename one, or leave it out."
            raise self.source.error(node, f"`{name}` is defined twice in `{self.plan.name}`", hint)
        if name in ("__init__", "__new__"):
            hint = "Declare fields in the class body: `x = Counter(init=1)`."
            raise self.source.error(node, f"a plan has no {name}", hint)
        if name.startswith("__"):
            raise self.source.error(node, f"`{name}`: names with two underscores are Python's own", "Rename it.")
        if not self.model and name in MM_CALLS:
            hint = f"It is the mm's: give yours another name and call `self.{name}(...)` in it."
            raise self.source.error(node, f"a plan may not define `{name}`", hint)
        if (self.model and name in PARTS) or name in ATTRIBUTES or name == "self":
            raise self.source.error(node, f"`{name}` has a meaning of its own", "Give it another name.")

    def _field(self, value: ast.expr, name: str, indices: int) -> FieldDecl:
        """Read the declaration of a field; `indices` is how many arrays may still nest."""
        if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
            raise self._no_field(value, name)
        kind = self._kind(value.func)
        if kind in ARRAYS:
            return self._array(value, kind, name, indices)
        if kind == "WorkItem":
            return self._work(value)
        allowed = _NAMED.get(kind, ())
        if value.args:
            hint = f"Write `{kind}({allowed[0]}=...)`." if allowed else f"Write `{kind}()`."
            raise self.source.error(value.args[0], f"{kind} takes nothing without a name", hint)
        given: dict[str, ast.expr] = {}
        for keyword in value.keywords:
            if keyword.arg not in allowed or keyword.arg in given:
                shown = listed(f"{word}=..." for word in allowed) or "nothing"
                raise self.source.error(keyword, f"{kind} does not take this", f"It takes {shown}.")
            given[keyword.arg] = keyword.value
        bits, init, signed = 4, 0, False
        if "bits" in given:
            bits = self._integer(given["bits"], 1, MOST_BITS, f"{a_or_an(kind)} has 1 to {MOST_BITS} bits")
        if "signed" in given:
            signed = self._truth(given["signed"], "signed is True or False", "Write `Atomic(signed=True)`.")
        if "init" in given and kind == "Flag":
            init = int(self._truth(given["init"], "a Flag is True or False", "Write `Flag(init=True)`."))
        elif "init" in given:
            most = 2 ** (bits - signed) - 1
            init = self._integer(given["init"], 0, most, f"{bits} bits hold 0 to {most}" + " at first" * signed)
        return FieldDecl(kind, self.source.pos(value), bits=bits, init=init, signed=signed)

    def _array(self, value: ast.Call, kind: str, name: str, indices: int) -> FieldDecl:
        """Read the declaration of an array."""
        if len(value.args) != 1 or value.keywords or isinstance(value.args[0], ast.Starred):
            raise self.source.error(value, f"{kind} takes one field", f"Write `{name} = {kind}(Counter())`.")
        if not indices:
            hint = (
                "Two indices at most: `self.tlb[cpu, gfn]`." if self.model else f"Write `{name} = {kind}(Counter())`."
            )
            raise self.source.error(value, "arrays nest too deep", hint)
        of = self._field(value.args[0], name, indices - 1)
        if of.kind in ALONE:
            what, hint = f"{ALONE[of.kind]} stands alone", f"Write `{name} = {of.kind}({of.method!r})`."
            raise self.source.error(value.args[0], what, hint.replace("('')", "()"))
        return FieldDecl(kind, self.source.pos(value), of=of)

    def _work(self, value: ast.Call) -> FieldDecl:
        """Read the declaration of a work item; that there is such a method is looked at later."""
        match value:
            case ast.Call(args=[ast.Constant(value=str() as method)], keywords=[]) if method.isidentifier():
                return FieldDecl("WorkItem", self.source.pos(value), method=method)
        hint = "Write `work = WorkItem('drain')`, with a method `def drain(self):`."
        raise self.source.error(value, "WorkItem takes the name of the method that it runs", hint)

    def _kind(self, func: ast.Name) -> str:
        """Return the kind of field that a name stands for."""
        kinds = DRIVER_FIELDS | MODEL_FIELDS if self.model else DRIVER_FIELDS
        kind = self.words.get(func.id)
        if kind in kinds:
            return kind
        if func.id in kinds:
            raise self._missing(func)
        if func.id in MODEL_FIELDS:
            raise self.source.error(func, *model_words(func.id))
        if func.id in LATER_WORDS:
            raise self.source.error(func, *call_words(func.id))
        raise self.source.error(func, f"no such kind of field{nearest(func.id, kinds)}", f"There are: {listed(kinds)}.")

    def _no_field(self, value: ast.expr, name: str) -> Exception:
        """Return the error for a declaration that is no call."""
        hint = f"Write `{name} = Counter()`; kinds: {listed(DRIVER_FIELDS)}."
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            hint = f"Write `{name} = Flag(init={value.value})`."
        elif isinstance(value, ast.Name) and value.id in self.words:
            hint = f"Write `{value.id}()`."
        elif isinstance(value, ast.Constant) and isinstance(value.value, int):
            hint = f"Write `{name} = Counter()`; it starts at 0."
        return self.source.error(value, "this declares no field", hint)

    def _integer(self, node: ast.expr, low: int, high: int, what: str) -> int:
        """Return an integer constant within bounds."""
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.source.error(node, what, f"Write an integer from {low} to {high}.")
        return value

    def _truth(self, node: ast.expr, what: str, hint: str) -> bool:
        """Return a truth value that is written out."""
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(value, bool):
            raise self.source.error(node, what, hint)
        return value

    def _imported(self, fn: ast.FunctionDef) -> None:
        """Refuse words in the body of a method that the file has not imported."""
        for node in (node for stmt in fn.body for node in ast.walk(stmt)):
            if isinstance(node, ast.Name) and node.id in DRIVER_WORDS | MODEL_WORDS and node.id not in self.words:
                raise self._missing(node)

    def _missing(self, node: ast.Name) -> Exception:
        """Return the error for a word that is used and not imported."""
        module = "unpinned.plan.modelling" if node.id in MODEL_WORDS else "unpinned"
        hint = f"Write `from {module} import {node.id}` at the top of the file."
        return self.source.error(node, f"`{node.id}` is not imported", hint)
