# SPDX-License-Identifier: Apache-2.0
"""Read the top level of plan files: imports and classes, resolved from source alone."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unpinned.errors import PlanError
from unpinned.plan.reading.members import ClassDef, read_class
from unpinned.plan.reading.refusals import call_words, model_words
from unpinned.plan.reading.source import Source, read_source
from unpinned.plan.reading.subset import is_docstring
from unpinned.plan.vocabulary import (
    DRIVER_FIELDS,
    DRIVER_ROOT,
    DRIVER_WORDS,
    LATER_WORDS,
    MODEL_FIELDS,
    MODEL_ROOT,
    MODEL_WORDS,
    nearest,
)

#: Files that import each other in a row.
MOST_FILES: Final = 20

_PACKAGE: Final = Path(__file__).parents[2]
_WORDS: Final = DRIVER_WORDS | MODEL_WORDS
#: Words that may be renamed in an import: those that methods do not use.
_RENAMED: Final = DRIVER_FIELDS | MODEL_FIELDS | {DRIVER_ROOT, MODEL_ROOT, "Gfn", "GfnRange", "Page"}
_ALLOWED = "Import from unpinned only, or a plan from a file of this folder: `from kvm import Kvm2008`."
_TOP = "a plan file is read, never run: only imports and plan classes may stand at its top level"


@dataclass
class Module:
    """A plan file: the words and the classes that its names stand for, and the classes that it defines."""

    source: Source
    words: dict[str, str] = field(default_factory=dict)
    classes: dict[str, ClassDef] = field(default_factory=dict)
    defined: list[ClassDef] = field(default_factory=list)


def _shown(path: str | os.PathLike[str]) -> str:
    """Return how a report names a file of unpinned's own: by its place in the package."""
    try:
        return Path(path).relative_to(_PACKAGE.parent).as_posix()
    except ValueError:
        return os.fsdecode(path)


class Reader:
    """Read plan files and what they import, each file once, and run none of them."""

    def __init__(self, *, model: bool, instead: Mapping[str, Source] | None = None) -> None:
        """Read plans, or models; `instead` has by real path the files that are not read from disk."""
        self.model = model
        self._instead = instead or {}
        self._done: dict[str, Module] = {}
        self._open: list[str] = []

    def module(self, path: str | os.PathLike[str]) -> Module:
        """Return what a file holds.

        :raises PlanError: if it or a file that it imports is no plan file.
        """
        key = os.path.realpath(path)
        if key not in self._done:
            source = self._instead.get(key) or read_source(path, _shown(path) if self.model else None)
            module = Module(source)
            self._open.append(key)
            for number, stmt in enumerate(module.source.tree.body):
                self._statement(module, stmt, number == 0)
            self._open.pop()
            self._done[key] = module
        return self._done[key]

    def classes(self) -> Iterator[ClassDef]:
        """Yield every class of every file that was read."""
        for module in self._done.values():
            yield from module.defined

    def _statement(self, module: Module, stmt: ast.stmt, first: bool) -> None:
        """Read one statement of the top level."""
        match stmt:
            case ast.ImportFrom():
                self._import(module, stmt)
            case ast.Import(names=[ast.alias(name=name), *_]):
                hint = "Write `from unpinned import ...`." if name.split(".")[0] == "unpinned" else _ALLOWED
                raise module.source.error(stmt, f"a plan file may not `import {name}`", hint)
            case ast.ClassDef():
                self._class(module, stmt)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names) | ast.Tuple(elts=names)):
                for name_node in names:
                    if not isinstance(name_node, ast.Constant) or not isinstance(name_node.value, str):
                        raise module.source.error(
                            name_node, "`__all__` is a list of strings", 'Write `__all__ = ["Kvm"]`.'
                        )
            case _ if not (first and is_docstring(stmt)):
                hint = "Make a function a method of the plan and a value a field, and leave the rest out."
                raise module.source.error(stmt, _TOP, hint)

    # ---- imports ---------------------------------------------------------------------------------

    def _import(self, module: Module, stmt: ast.ImportFrom) -> None:
        """Read one `from ... import ...`."""
        source, name = module.source, stmt.module or ""
        parts = name.split(".")
        if stmt.level == 0 and name == "__future__":
            for alias in stmt.names:
                if alias.name != "annotations":
                    raise source.error(alias, f"`{alias.name}` has no meaning in a plan", "Leave it out.")
        elif stmt.level == 0 and name in ("unpinned", "unpinned.plan.language"):
            self._import_words(module, stmt, DRIVER_WORDS)
        elif stmt.level == 0 and name == "unpinned.plan.modelling":
            if not self.model:
                raise source.error(stmt, *model_words("unpinned.plan.modelling"))
            self._import_words(module, stmt, MODEL_WORDS)
        elif stmt.level == 0 and parts[0] == "unpinned":
            folder = "mm" if self.model else "drivers"
            if len(parts) != 3 or parts[1] != folder:
                hint = f"Write `from unpinned import ...`, or `from unpinned.{folder}.FILE import CLASS`."
                raise source.error(stmt, f"a plan file may not import from `{name}`", hint)
            self._import_classes(module, stmt, _PACKAGE / folder / f"{parts[2]}.py")
        elif stmt.level > 1 or len(parts) != 1 or not name:
            raise source.error(stmt, f"a plan file may not import from `{'.' * stmt.level}{name}`", _ALLOWED)
        else:
            self._import_classes(module, stmt, Path(source.path).with_name(f"{name}.py"))

    def _import_words(self, module: Module, stmt: ast.ImportFrom, words: frozenset[str]) -> None:
        """Take words of the language into a file."""
        for alias in stmt.names:
            if alias.name == "*":
                for word in words:
                    self._bind(module, alias, word)
                    module.words[word] = word
            elif alias.name not in words:
                raise self._no_word(module, alias, words)
            else:
                name = alias.asname or alias.name
                if name != alias.name and (alias.name not in _RENAMED or name in _WORDS):
                    what = f"`{alias.name}` may not be renamed to `{name}`"
                    raise module.source.error(alias, what, f"Write `import {alias.name}`, without as.")
                self._bind(module, alias, name, alias.name)
                module.words[name] = alias.name

    def _no_word(self, module: Module, alias: ast.alias, words: frozenset[str]) -> PlanError:
        """Return the error for a word that cannot be imported from where it is sought."""
        name = alias.name
        if name in LATER_WORDS:
            return module.source.error(alias, *call_words(name))
        if name in MODEL_WORDS and not self.model:
            return module.source.error(alias, *model_words(name))
        if name in _WORDS:
            where = "unpinned.plan.modelling" if name in MODEL_WORDS else "unpinned"
            return module.source.error(alias, f"`{name}` is not there", f"Write `from {where} import {name}`.")
        hint = f"There are: {', '.join(sorted(words))}."
        return module.source.error(alias, f"unpinned has no `{name}` for plans{nearest(name, words)}", hint)

    def _import_classes(self, module: Module, stmt: ast.ImportFrom, path: Path) -> None:
        """Take plans of another file into a file."""
        name = stmt.module or ""
        if not path.exists():
            raise module.source.error(stmt, f"`{name}`: there is no file {path}", _ALLOWED)
        trail = [Path(key).name for key in self._open]
        if os.path.realpath(path) in self._open:
            what = f"imports go round: {' -> '.join([*trail, path.name])}"
            raise module.source.error(stmt, what, "Move what both need to a third file.")
        if len(self._open) >= MOST_FILES:
            raise module.source.error(stmt, f"more than {MOST_FILES} files import each other", "Join some of them.")
        other = self.module(path)
        for alias in stmt.names:
            if alias.name not in other.classes:
                close = "" if alias.name == "*" else nearest(alias.name, other.classes)
                shown = ", ".join(other.classes) or "none"
                what = f"{path} has no plan `{alias.name}`{close}"
                raise module.source.error(alias, what, f"Name its plans one by one; there are: {shown}.")
            local = alias.asname or alias.name
            self._bind(module, alias, local, other.classes[alias.name])
            module.classes[local] = other.classes[alias.name]

    def _bind(self, module: Module, node: ast.AST, name: str, value: str | ClassDef | None = None) -> None:
        """Refuse a name that the file has already given to something else."""
        taken = module.words.get(name) or module.classes.get(name)
        if taken is not None and taken is not value and taken != (value or name):
            raise module.source.error(node, f"`{name}` has two meanings in this file", "Rename one: `import X as Y`.")
        if isinstance(value, ClassDef) and name in _WORDS:
            raise module.source.error(node, f"`{name}` is a word of the language", "Give the plan another name.")

    # ---- classes ---------------------------------------------------------------------------------

    def _class(self, module: Module, node: ast.ClassDef) -> None:
        """Read one class of the top level."""
        source = module.source
        if node.decorator_list:
            hint = "Leave it out: a plan says what it is by class attributes."
            raise source.error(node.decorator_list[0], "decorators are not in the plan language", hint)
        if node.keywords or getattr(node, "type_params", None):
            what = "a plan has neither metaclass nor parameters"
            raise source.error(node.keywords[0] if node.keywords else node, what, f"Write `class {node.name}(BASE):`.")
        if node.name in _WORDS or node.name in module.words or node.name in module.classes:
            hint = "Give this one another name."
            raise source.error(node, f"`{node.name}` already has a meaning in this file", hint)
        base = self._base(module, node)
        plan = read_class(source, node, base, module.words, model=self.model)
        module.classes[node.name] = plan
        module.defined.append(plan)

    def _base(self, module: Module, node: ast.ClassDef) -> ClassDef | None:
        """Return the class that a class derives from; None for the root of the language."""
        source, root = module.source, MODEL_ROOT if self.model else DRIVER_ROOT
        hint = f"Write `class {node.name}({root}):`, or derive it from a plan."
        if len(node.bases) != 1:
            what = f"`{node.name}` has {len(node.bases)} bases" if node.bases else f"`{node.name}` is no plan"
            raise source.error(node.bases[1] if node.bases else node, what, hint)
        base = node.bases[0]
        if not isinstance(base, ast.Name):
            raise source.error(base, "a base is the name of a class", hint)
        if module.words.get(base.id) == root:
            return None
        if base.id in module.classes:
            return module.classes[base.id]
        if base.id == node.name:
            raise source.error(base, f"`{node.name}` derives from itself", hint)
        if any(isinstance(other, ast.ClassDef) and other.name == base.id for other in source.tree.body):
            what = f"`{base.id}` is defined below `{node.name}`"
            raise source.error(base, what, "Define it above; two classes cannot derive from each other.")
        if base.id in module.words:
            raise source.error(base, f"nothing derives from `{base.id}`", hint)
        if base.id == root:
            where = "unpinned.plan.modelling" if self.model else "unpinned"
            raise source.error(base, f"`{root}` is not imported", f"Write `from {where} import {root}`.")
        close = nearest(base.id, [*module.classes, root])
        raise source.error(base, f"no class `{base.id}` in this file or its imports{close}", hint)
