# SPDX-License-Identifier: Apache-2.0
"""Hold the repository to its own rules: licence lines, dependencies, layers, docstrings, file lengths."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "unpinned"
SPDX = "# SPDX-License-Identifier: Apache-2.0"
MAX_LINES = 500

#: The layers of src/unpinned, top first. A module imports from its own layer and from lower ones only.
LAYERS = [
    {"cli", "__main__"},
    {"options", "output"},
    {"progress"},
    {"gallery"},
    {"api"},
    {"report"},
    {"timeline"},
    {"check", "export", "lint", "new"},
    {"engine"},
    {"reduce"},
    {"mm", "drivers"},
    {"vary"},
    {"plan"},
    {"ir", "native"},
    {"errors"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: Plan-language sources import what the author of a plan imports, from the top of the package.
PLAN_SOURCES = [("drivers",), ("mm",), ("new", "families")]

#: Made by tools; everything else whose name starts with a dot is skipped too, but for .ci.
MADE = {"__pycache__", "build", "dist", "htmlcov"}


def repo_files() -> Iterator[Path]:
    """Yield every file of the repository that people wrote, without asking git, which may be absent."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name for name in folders if name == ".ci" or (name not in MADE and not name.startswith("."))
        )
        yield from (Path(folder, name) for name in sorted(names))


def is_source(path: Path) -> bool:
    """Say whether `path` is a Python or shell source, by its name or by its first two bytes."""
    if path.suffix:
        return path.suffix in {".py", ".pyi", ".sh"}
    return path.read_bytes()[:2] == b"#!"


SOURCES = [path for path in repo_files() if is_source(path)]
MODULES = sorted(SRC.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return `path` as the tests show it: relative to the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> tuple[str, ...]:
    """Return the dotted name of a module of src/ as a tuple: ("unpinned", "ir", "program")."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def tree_of(path: Path) -> ast.Module:
    """Parse a module of src/."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


# ---- licence -----------------------------------------------------------------------------------------------


def test_the_sources_are_found():
    names = {name_of(path) for path in SOURCES}
    assert {"tests/test_project.py", "tools/venv.sh", "look", "test", ".ci/run"} <= names
    assert MODULES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_source_names_its_licence(path):
    head = path.read_text(encoding="utf-8", errors="replace").splitlines()[:2]
    assert SPDX in head, f"{name_of(path)}: the first line, or the one after #!, must be\n    {SPDX}"


def test_the_licence_is_the_one_that_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


# ---- dependencies ------------------------------------------------------------------------------------------


def normal(name: str) -> str:
    """Return the name of a distribution as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_dependencies() -> set[str]:
    """Return every distribution that pyproject.toml names, but for the project itself."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
    for extra in data["project"]["optional-dependencies"].values():
        wanted += extra
    matches = [re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in wanted]
    return {normal(match[0]) for match in matches if match} - {"unpinned"}


def documented_dependencies() -> dict[str, str]:
    """Return the lines of docs/dependencies.md that stand for a Python package: name -> the rest of the line.

    Packages of Debian and those that are not yet used stand in sections of their own.
    """
    found, section = {}, ""
    for line in (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif section.startswith("Python packages") and (match := re.match(r"- \*\*(\S+)\*\*: (.+)", line)):
            found[normal(match[1])] = match[2]
    return found


def test_every_dependency_has_a_reason_and_every_reason_a_dependency():
    documented = documented_dependencies()
    assert documented.keys() == declared_dependencies()


# ---- layers ------------------------------------------------------------------------------------------------


def imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield what a module of `package` imports: the line, and the dotted name as a tuple.

    Imports inside functions and under TYPE_CHECKING count. `from unpinned import x` yields ("unpinned", "x").
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield node.lineno, (*base, alias.name)


def wrong_imports(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield a complaint for each import of the module at `path` that runs upwards."""
    here = module_of(path)
    layer = here[1]
    for line, name in imported(tree, here if path.name == "__init__.py" else here[:-1]):
        if name[0] != "unpinned":
            continue
        where, what = f"{name_of(path)}:{line}", ".".join(name)
        if len(name) > 1 and name[1] in RANK:
            if RANK[name[1]] < RANK[layer]:
                yield f"{where}: {layer} stands below {name[1]}, and imports {what}"
        elif layer not in LAYERS[0] and not any(here[1 : 1 + len(folder)] == folder for folder in PLAN_SOURCES):
            yield f"{where}: {what} comes through unpinned/__init__.py"


def test_every_module_has_a_layer():
    unknown = {name_of(path) for path in MODULES if (name := module_of(path)[1:2]) and name[0] not in RANK}
    assert not unknown, "give each a place in LAYERS"


def test_imports_run_one_way():
    layered = [path for path in MODULES if module_of(path)[1:2] and module_of(path)[1] in RANK]
    wrong = [complaint for path in layered for complaint in wrong_imports(path, tree_of(path))]
    assert not wrong, "\n".join([*wrong, "Import a name from the module that defines it."])


def test_an_import_that_runs_upwards_is_seen():
    text = """
def late():
    from ..check import search

from unpinned import errors, Counter
import unpinned.plan.reader, os
from .program import Step
"""
    complaints = wrong_imports(SRC / "ir" / "made_up.py", ast.parse(text))
    assert sorted(complaints) == [
        "src/unpinned/ir/made_up.py:3: ir stands below check, and imports unpinned.check.search",
        "src/unpinned/ir/made_up.py:5: unpinned.Counter comes through unpinned/__init__.py",
        "src/unpinned/ir/made_up.py:6: ir stands below plan, and imports unpinned.plan.reader",
    ]


# ---- docstrings and lengths --------------------------------------------------------------------------------


def is_public(path: Path) -> bool:
    """Say whether a module is public: no part of its name is private."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return all(part == "__init__" or not part.startswith("_") for part in parts)


def wrong_docstrings(path: Path) -> Iterator[str]:
    """Yield a complaint for each public thing of a module whose docstring's first line is not a sentence.

    Public things are the module itself and the classes and functions at its top; methods are ruff's affair.
    """
    tree = tree_of(path)
    things: list[tuple[str, int, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]
    things = [(path.name, 1, tree)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            things += [(node.name, node.lineno, node)] if not node.name.startswith("_") else []
    for name, line, thing in things:
        first = (ast.get_docstring(thing) or "").partition("\n")[0]
        if not first.endswith("."):
            fault = f'"{first}" has no full stop' if first else "no docstring"
            yield f"{name_of(path)}:{line}: {name}: {fault}"


def test_public_things_have_docstrings():
    wrong = [complaint for path in MODULES if is_public(path) for complaint in wrong_docstrings(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_source_is_long(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines: split it by purpose"


def test_what_is_read_from_disk_lies_on_disk():
    """The sources of mm/, drivers/ and the families and the py.typed marker must be files of the installed package."""
    import unpinned

    home = Path(unpinned.__file__).parent
    assert (home / "py.typed").is_file()
    assert (home / "drivers").is_dir()
    assert (home / "mm").is_dir()
    assert (home / "new" / "families").is_dir()


def test_what_the_tests_need_is_in_the_source_distribution():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    needed = {
        "/src",
        "/tests",
        "/docs",
        "/examples",
        "/gallery",
        "/benchmarks",
        "/tools",
        "/.ci",
        "/look",
        "/test",
        "/*.md",
    }
    assert needed <= set(build["targets"]["sdist"]["include"])
    imported_by_tests = {
        name[0]
        for path in (ROOT / "tests").rglob("*.py")
        if "plans" not in path.parts
        for _, name in imported(tree_of(path), ())
        if name and (ROOT / name[0]).is_dir()
    }
    assert {f"/{name}" for name in imported_by_tests} <= needed


def test_the_gallery_is_in_the_wheel():
    """It stands beside src/; the package looks for it in gallery/entries/."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"gallery": "unpinned/gallery/entries"}
    assert not (SRC / "gallery" / "entries").exists()
