# SPDX-License-Identifier: Apache-2.0
"""Execute the documentation: README.md, ARCHITECTURE.md, CONTRIBUTING.md and every page of docs/.

The words behind a fence say what is done with a block:

    console            commands (`$ `, continued by `> `) with the output under each; a line `...` stands for any lines
    console spin       the same, left out where SPIN or a C compiler is missing
    python plan F.py   a plan file, written to the folder before the commands of the page are run
    python file F.py   another file, likewise
    python method      statements of a page_fault that the language has
    python class       members of a class that the language has
    python refused     constructs in paragraphs, each with what the reader says of it in comments (class: members)

Every other block is only read. `pytest tests/docs --write-docs` writes what was really said into the pages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from support import pages as page_tools
from support.pages import PAGES, ROOT, Block, blocks, commands, console, matches, refreshed, rows, sections, with_block

from unpinned.api import (
    as_data,
    check,
    lint,
    lints_as_data,
    one_plan,
    plans,
    repair,
    repair_as_data,
    why,
    why_as_data,
)
from unpinned.errors import PlanError
from unpinned.ir.rules import LINTS, RULES
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import whole
from unpinned.plan.reading.classes import read_plans
from unpinned.plan.vocabulary import ATTRIBUTES, DRIVER_WORDS, HOOKS, MM_CALLS, OPERATIONS

OTHER_PAGES = [
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "examples" / "README.md",
    ROOT / "gallery" / "README.md",
]
ALL_PAGES = [*PAGES, *(path for path in OTHER_PAGES if path.exists())]

#: What commands of the pages name by a path from the root of the repository.
COPIED = ("examples", "gallery", "src/unpinned/drivers")
KNOWN_WORDS = {
    (), ("text",), ("sh",), ("python",), ("promela",), ("json",), ("c",), ("console",), ("console", "spin"),
    ("python", "method"), ("python", "class"), ("python", "refused"), ("python", "refused", "class"),
    ("python", "refused", "file"),
}  # fmt: skip


def name_of(path: Path) -> str:
    """Return a path as the tests show it."""
    return path.relative_to(ROOT).as_posix()


def workshop(folder: Path, page: list[Block]) -> None:
    """Put into a folder what the commands of a page need."""
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    written = set()
    for block in page:
        if block.words[1:2] in (("plan",), ("file",)):
            name = block.words[2]
            assert name not in written, f"{name} is written twice"
            written.add(name)
            (folder / name).write_text(block.text, encoding="utf-8")


def run(command: str, folder: Path, status: int) -> tuple[list[str], int]:
    """Run a command in a folder as a shell would after one that ended with `status`; return its output and status."""
    env = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "LC_ALL": "C"}
    done = subprocess.run(
        ["bash", "-c", f"(exit {status})\n{command}"],
        cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return [
        line.rstrip() for line in done.stdout.rstrip("\n").split("\n")
    ] if done.stdout.strip() else [], done.returncode


# ---- commands


@pytest.mark.parametrize("path", ALL_PAGES, ids=name_of)
def test_commands_say_what_the_page_shows(path: Path, tmp_path: Path, write_docs: bool) -> None:
    text = path.read_text(encoding="utf-8")
    page = list(blocks(text))
    for block in page:
        assert block.words in KNOWN_WORDS or block.words[1:2] in (("plan",), ("file",)), f"what is ```{block.words}?"
    workshop(tmp_path, page)
    able = all(shutil.which(tool) for tool in ("spin", "gcc"))
    left_out, status = 0, 0
    new: list[tuple[Block, list[str]]] = []
    wrong: list[str] = []
    for block in page:
        if block.words[:1] != ("console",):
            continue
        if "spin" in block.words and not able:
            left_out += 1
            continue
        shown = commands(block)
        for command in shown:
            real, status = run(command.line, tmp_path, status)
            while real and command.shown and not command.shown[-1] and real[-1]:
                real.append("")  # a blank line before the next command belongs to the page
            if not matches(command.shown, real):
                wrong.append(_difference(path, block, command.line, command.shown, real))
            command.shown = refreshed(command.shown, real)
        new.append((block, console(shown)))
    if write_docs and wrong:
        for block, lines in reversed(new):
            text = with_block(text, block, lines)
        path.write_text(text, encoding="utf-8")
    else:
        assert not wrong, "\n\n".join([*wrong, "`pytest tests/docs --write-docs` writes what was said into the page."])
    if left_out:
        pytest.skip(f"spin or gcc is missing: {left_out} blocks of {name_of(path)} were left out, the rest is right")


def _difference(path: Path, block: Block, command: str, shown: list[str], real: list[str]) -> str:
    said = textwrap.indent("\n".join(real), "    ")
    should = textwrap.indent("\n".join(shown), "    ")
    return f"{name_of(path)}:{block.at + 1}: $ {command}\n  the page shows\n{should}\n  and it said\n{said}"


def test_shortened_output_is_compared_and_refreshed() -> None:
    assert matches(["a", "...", "d"], ["a", "b", "c", "d"])
    assert matches(["..."], [])
    assert not matches(["a", "...", "d"], ["a", "b", "c"])
    assert not matches(["a"], ["a", "b"])
    assert refreshed(["x 1", "...", "m 5", "...", "z 9"], ["x 2", "y", "m 6", "y", "y", "z 8"]) == [
        "x 2", "...", "m 6", "...", "z 8",
    ]  # fmt: skip


# ---- links


@pytest.mark.parametrize("path", ALL_PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wrong = []
    for target in page_tools.links(text):
        file, _, anchor = target.partition("#")
        goal = path.parent / file if file else path
        if not goal.exists() or (anchor and anchor not in page_tools.anchors(goal.read_text(encoding="utf-8"))):
            wrong.append(target)
    assert not wrong


# ---- the tutorial


def test_the_race_is_told_as_the_report_tells_it(tmp_path: Path, write_docs: bool) -> None:
    """Each row of the tutorial's table names a step of the race and quotes it."""
    page = ROOT / "docs" / "tutorial.md"
    text = page.read_text(encoding="utf-8")
    workshop(tmp_path, list(blocks(text)))
    (result,) = check(tmp_path / "posted.py", required_only=True)
    race = as_data([result])["plans"][0]["race"]
    steps = iter(race["steps"])
    quoted = rows(sections(text, 2)["The race, row by row"])
    assert len(quoted) > 10
    wrong = []
    for number, said, *_ in quoted:
        words = said.strip("`")
        step = next((s for s in steps if words in (s["text"], f"{s['text']}, {s['effect']}")), None)
        assert step is not None, f"no further step says: {words}"
        if step["step"] != int(number):
            wrong.append(f"it is step {step['step']} that says: {words}")
            text = text.replace(f"| {number} | {said} |", f"| {step['step']} | {said} |")
    assert next(steps, None) is None, "the table ends before the race"
    if write_docs and wrong:
        page.write_text(text, encoding="utf-8")
    else:
        assert not wrong


# ---- the plan language

TEMPLATE = """\
from unpinned import *

class Kvm(SecondaryMMU):
    lock = SpinLock()
    mutex = Mutex()
    sem = RwSem()
    count = Counter()
    atomic = Atomic()
    queue = WaitQueue()
    mr = Object()
    srcu = Srcu()
    work = WorkItem("drain")
    flag = Flag()
    young = PerPage(Flag())
    locks = PerPage(SpinLock())
{members}
    def invalidate_range_start(self, r):
        with self.lock:
            self.zap(r)

    def drain(self):
        self.flag = False

    def page_fault(self, gfn, write):
        r = page_range(gfn)
        page = self.get_user_page(gfn, write)
{body}
        self.put_page(page)
        return MAPPED
"""
LANGUAGE = ROOT / "docs" / "plan-language.md"


def _plan(kind: str, code: str) -> str:
    """Return a plan with the code in it as members, as statements of its fault, or as the whole file."""
    if kind == "file":
        return code
    members = textwrap.indent(code, " " * 4) if kind == "class" else ""
    body = textwrap.indent(code if kind == "method" else "pass\n", " " * 8)
    return TEMPLATE.format(members=members, body=body)


def _read(folder: Path, text: str) -> None:
    """Read a plan to the end, as a check does."""
    file = folder / "kvm.py"
    file.write_text(text, encoding="utf-8")
    for plan in read_plans(file):
        whole(plan)


def _refusal(folder: Path, text: str) -> PlanError | None:
    """Return the error that a plan gives, if it gives one."""
    try:
        _read(folder, text)
    except PlanError as error:
        return error
    return None


def _accepted() -> list[Any]:
    found = blocks(LANGUAGE.read_text(encoding="utf-8")) if LANGUAGE.exists() else ()
    wanted = (("python", "method"), ("python", "class"))
    return [pytest.param(block, id=f"line {block.at + 1}") for block in found if block.words in wanted]


@pytest.mark.parametrize("block", _accepted())
def test_what_the_page_says_the_language_has_is_read(block: Block, tmp_path: Path) -> None:
    _read(tmp_path, _plan(block.words[1], block.text))


def test_what_the_page_says_is_refused_is_refused(tmp_path: Path, write_docs: bool) -> None:
    text = LANGUAGE.read_text(encoding="utf-8")
    new: list[tuple[Block, list[str]]] = []
    wrong: list[str] = []
    count = 0
    for block in blocks(text):
        if block.words[:2] != ("python", "refused"):
            continue
        kind = block.words[2] if len(block.words) > 2 else "method"
        lines: list[str] = []
        for paragraph in block.text.strip("\n").split("\n\n"):
            code = [line for line in paragraph.split("\n") if not line.startswith("# ")]
            shown = [line for line in paragraph.split("\n") if line.startswith("# ")]
            count += 1
            error = _refusal(tmp_path, _plan(kind, "\n".join(code) + "\n"))
            where = f"{name_of(LANGUAGE)}:{block.at + 1}"
            assert error is not None, f"{where}: this is not refused:\n" + "\n".join(code)
            assert error.hint, f"{where}: nothing says what to write instead of\n" + "\n".join(code)
            said = [f"# {line}" for line in (error.what, error.hint)]
            said = [line.replace(str(tmp_path) + os.sep, "") for line in said]
            if said != shown:
                wrong.append("\n".join([*code, *said]))
            lines += [*code, *said, ""]
        new.append((block, lines[:-1]))
    assert count > 60
    if write_docs and wrong:
        for block, lines in reversed(new):
            text = with_block(text, block, lines)
        LANGUAGE.write_text(text, encoding="utf-8")
    else:
        assert not wrong, "\n\n".join(["The reader says:", *wrong])


def test_every_word_of_the_language_is_on_the_page() -> None:
    text = LANGUAGE.read_text(encoding="utf-8")
    words = DRIVER_WORDS | ATTRIBUTES | set(HOOKS) | MM_CALLS | set(OPERATIONS)
    assert not {word for word in words if not re.search(rf"\b{word}\b", text)}


# ---- the model


def test_every_rule_has_a_section_and_its_sentence() -> None:
    found = sections((ROOT / "docs" / "model.md").read_text(encoding="utf-8"), 3)
    for rule, sentence in RULES.items():
        assert f"`{rule}`" in found, rule
        assert sentence in " ".join(found[f"`{rule}`"].split()), f"{rule}: its sentence is: {sentence}"
    named = {heading.strip("`") for heading in found if heading.startswith("`")}
    assert named == set(RULES)


def test_the_model_page_names_code_that_is_there() -> None:
    """Every file that the page names is a file of the package, and every method a method of the file it is said of."""
    text = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`((?:mm|check|ir|plan)/[\w/]+\.py)`", text)):
        assert (ROOT / "src" / "unpinned" / name).is_file(), name
    for name, methods in re.findall(r"`((?:mm|check|ir|plan)/[\w/]+\.py)` \(((?:`\w+\(\)`(?:, )?)+)\)", text):
        source = (ROOT / "src" / "unpinned" / name).read_text(encoding="utf-8")
        for method in re.findall(r"`(\w+)\(\)`", methods):
            assert f"def {method}(" in source, f"{name} has no {method}()"


# ---- the data

#: Objects of the data that have a section of their own under another name: path -> the path of the section.
SAME = {
    "plans[].not_promised[]": "plans[].race",
    "plans[].not_promised[].bounds": "plans[].rungs[].bounds",
    "plans[].not_promised[].steps[]": "plans[].race.steps[]",
    "plans[].race.bounds": "plans[].rungs[].bounds",
}
#: An object whose keys are no fixed words.
FREE = {"plans[].waived"}
TYPES = {"string": str, "integer": int, "boolean": bool, "null": type(None), "array": list, "object": dict}

FULL = """\
from unpinned import *
from unpinned.drivers.kvm2008 import Kvm2008Posted

class Waives(Kvm2008Posted):
    waive = {"stale-use": "an example"}
    operations = ("zap",)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.range_count -= 1
            if self.range_count > 9:
                self.seq += 1

class Narrow(Kvm2008Posted):
    seq = Counter(bits=1)
    operations = ("reclaim",)
"""

#: Has an element without which it is no plan.
ODD = """\
from unpinned import *

class Odd(SecondaryMMU):
    promises = ("leak",)
    operations = ("munmap",)
    on = Flag()

    def page_fault(self, gfn, write):
        while self.on and not write:
            pass
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
"""


def _objects(value: Any, path: str, found: dict[str, dict[str, set[type]]]) -> None:
    """Collect for every object of the data its keys, and the types that each was seen to have."""
    if isinstance(value, list):
        for item in value:
            _objects(item, f"{path}[]", found)
    elif isinstance(value, dict) and path not in FREE:
        keys = found.setdefault(SAME.get(path, path), {})
        for key, inner in value.items():
            keys.setdefault(key, set()).add(type(inner))
            _objects(inner, f"{path}.{key}".lstrip("."), found)


def _documented(page: str, level: int) -> dict[str, dict[str, set[type]]]:
    """Return for every object that a page describes its keys, with the types of each."""
    found: dict[str, dict[str, set[type]]] = {}
    for heading, body in sections((ROOT / "docs" / page).read_text(encoding="utf-8"), level).items():
        if match := re.match(r"The whole$|.*`([\w.\[\]]+)`$", heading):
            found[match[1] or ""] = {
                key.strip("`"): {TYPES[word] for word in types.split(" or ")} for key, types, *_ in rows(body)
            }
    return found


def _errors(folder: Path) -> list[PlanError]:
    """Return one error with a place and one without."""
    (folder / "bad.py").write_text("import os\n", encoding="utf-8")
    errors = []
    for name in ("bad.py", "none.py"):
        with pytest.raises(PlanError) as caught:
            read_plans(folder / name)
        errors.append(caught.value)
    return errors


def test_every_key_of_the_data_is_documented_and_every_documented_key_is_there(tmp_path: Path) -> None:
    documented = _documented("json.md", 2)
    (tmp_path / "full.py").write_text(FULL, encoding="utf-8")
    drivers = ROOT / "src" / "unpinned" / "drivers" / "kvm2008.py"
    seen: dict[str, dict[str, set[type]]] = {}
    calls = [
        (drivers, "Kvm2008Posted", {"required_only": True}),
        (drivers, "Kvm2008", {"scenario": Scenario(1, 1, ("zap",), 1)}),
        (tmp_path / "full.py", "Waives", {"scenario": Scenario(1, 1, ("zap",))}),
        (tmp_path / "full.py", "Narrow", {"scenario": Scenario(1, 1, ("reclaim", "reclaim"))}),
        (ROOT / "tests" / "plans" / "progress.py", "NeverMaps", {"scenario": Scenario(1, 1, ())}),
        (ROOT / "examples" / "seq_after_gup.py", "SeqAfterGup", {"scenario": Scenario(1, 1, ("zap",))}),
    ]
    for file, plan, options in calls:
        data = as_data(check(file, plan, **options), _errors(tmp_path))  # type: ignore[arg-type]
        _objects(json.loads(json.dumps(data)), "", seen)
    assert {path: set(keys) for path, keys in seen.items()} == {path: set(keys) for path, keys in documented.items()}
    for path, keys in seen.items():
        for key, types in keys.items():
            assert types == documented[path][key], f"{path}.{key}"


#: Objects of what `why` and `repair` say that are those of a check.
OF_A_CHECK = {
    "repair.race": "plans[].race",
    "repair.rungs[]": "plans[].rungs[]",
    "repair.repairs[].rungs[]": "plans[].rungs[]",
    "why.rungs[]": "plans[].rungs[]",
    "why.elements[].rungs[]": "plans[].rungs[]",
    "why.elements[].race": "plans[].race",
}


def test_every_key_of_what_why_and_repair_say_is_documented(tmp_path: Path) -> None:
    documented, of_a_check = _documented("why.md", 3), _documented("json.md", 2)
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
    seen: dict[str, dict[str, set[type]]] = {}
    for file, name in (
        (ROOT / "examples" / "page_alone.py", "PageAlone"),
        (ROOT / "src" / "unpinned" / "drivers" / "kvm2008.py", "Kvm2008Posted"),
        (tmp_path / "odd.py", "Odd"),
    ):
        data = why_as_data(why(one_plan(file, name), seconds=60))
        _objects(json.loads(json.dumps({"why": data})), "", seen)
    for example in ("page_alone.py", "seq_after_gup.py"):
        data = repair_as_data(repair(one_plan(ROOT / "examples" / example), seconds=60))
        _objects(json.loads(json.dumps({"repair": data})), "", seen)
    for path, other in OF_A_CHECK.items():
        assert set(seen[path]) == set(of_a_check[other]), path
    assert {path: keys for path, keys in seen.items() if path in documented} == documented


def test_every_key_of_what_lint_says_is_documented(tmp_path: Path) -> None:
    documented, of_a_check = _documented("lints.md", 3), _documented("json.md", 2)
    late = ROOT / "examples" / "seq_after_gup.py"
    text = late.read_text(encoding="utf-8").replace(
        "    def ", "    waive = {'snapshot-after-read': 'x'}\n\n    def ", 1
    )
    (tmp_path / "waived.py").write_text(text, encoding="utf-8")
    linted = [lint(one) for path in (late, tmp_path / "waived.py") for one in plans(path)]
    seen: dict[str, dict[str, set[type]]] = {}
    _objects(json.loads(json.dumps({"lint": lints_as_data(linted, _errors(tmp_path))})), "", seen)
    assert {path: keys for path, keys in seen.items() if path in documented} == documented
    for path, other in {
        "lint.errors[]": "errors[]",
        "lint.plans[].lints[]": "plans[].lints[]",
        "lint.plans[].waived[]": "plans[].lints[]",
    }.items():
        assert seen[path] == of_a_check[other]


def test_every_lint_has_a_section_with_its_sentence() -> None:
    found = sections((ROOT / "docs" / "lints.md").read_text(encoding="utf-8"), 2)
    assert {heading.strip("`") for heading in found if heading.startswith("`")} == set(LINTS)
    for name, sentence in LINTS.items():
        assert f'"{sentence}"' in " ".join(found[f"`{name}`"].split())


# ---- the manifest


def manifest() -> dict[str, str]:
    """Return what ARCHITECTURE.md says of each file and folder, by its path from the root."""
    found = {}
    for heading, body in sections((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), 3).items():
        if not (match := re.match(r"`([\w./]+/)`", heading)):
            continue
        folder = "" if match[1] == "./" else match[1]
        found[folder or "./"] = heading
        for name, what in re.findall(r"^- `([\w./-]+)`: (.+)", body, flags=re.MULTILINE):
            found[folder + name] = what
    return found


def test_the_manifest_names_what_is_there() -> None:
    named = manifest()
    assert len(named) > 50
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_every_module_and_page_is_in_the_manifest() -> None:
    named = set(manifest())
    source = ROOT / "src" / "unpinned"
    modules = [path for path in source.rglob("*.py") if path.name != "__init__.py"] + [source / "__init__.py"]
    folders = {f"{name_of(path.parent)}/" for path in modules}
    wanted = {name_of(path) for path in [*modules, *(ROOT / "docs").glob("*.md")]} | folders
    assert not sorted(wanted - named)
