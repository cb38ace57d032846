# SPDX-License-Identifier: Apache-2.0
"""Every bad plan file gives one PlanError that says what is wrong, where, and what to do; and nothing of it is run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from unpinned.errors import PlanError
from unpinned.plan.reading.classes import read_model, read_plans
from unpinned.plan.reading.source import parse_source, read_source

PLAN = """\
from unpinned import *

class Kvm(SecondaryMMU):
    lock = SpinLock()
    mutex = Mutex()
    seq = Counter()
    flag = Flag()
    f = PerPage(Counter())
    locks = PerPage(SpinLock())

    def invalidate_range_start(self, r):
        pass

    def helper(self, gfn, x):
        return x

    def page_fault(self, gfn, write):
{body}
        return MAPPED
"""

MODEL = """\
from unpinned import Counter, PerPage, RwSem, SpinLock
from unpinned.plan.modelling import *

class M(Model):
    lock = SpinLock()
    sem = RwSem()
    seq = Counter()
    f = PerPage(Counter())

    def act(self, gfn):
{body}
"""


def refused(path: Path, model: str = "") -> PlanError:
    """Read a file, and return the error that it gives."""
    with pytest.raises(PlanError) as caught:
        read_model(path, model) if model else read_plans(path)
    return caught.value


def check(path: Path, marked: str, what: str, hint: str, model: str = "") -> None:
    """Expect the error at the § of a text, with these words in its parts."""
    before, _, after = marked.partition("§")
    path.write_text(before + after, encoding="utf-8")
    error = refused(path, model)
    assert what in error.what, error
    assert hint in error.hint, error
    line, col = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert error.pos is not None
    assert (error.pos.line, error.pos.col + 1) == (line, col), error
    assert str(error).startswith(f"{path}:{line}:{col}: ")
    assert "^" in str(error)


def in_method(body: str, template: str = PLAN) -> str:
    """Return a plan whose method has that body."""
    return template.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8))


# ---- files


def test_a_missing_file(tmp_path):
    error = refused(tmp_path / "none.py")
    assert "none.py: no such file" in error.what
    assert "SecondaryMMU" in error.hint


def test_a_directory(tmp_path):
    assert "a directory" in refused(tmp_path).what


def test_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo.py")
    assert "not a regular file" in refused(tmp_path / "fifo.py").what


def test_a_device():
    assert "not a regular file" in refused(Path("/dev/zero")).what


def test_a_file_that_may_not_be_read():
    script = (
        "import os, sys, unpinned.errors, unpinned.plan.reading.source as source\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: source.read_source(sys.argv[1])\n"
        "except unpinned.errors.PlanError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret.py"
        path.write_text(in_method("pass"))
        path.chmod(0)
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", script, str(path)]
        env = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert "secret.py: you may not read it" in done.stdout, done.stderr
    assert "chmod u+r" in done.stdout


def test_a_text_in_another_encoding(tmp_path):
    path = tmp_path / "latin.py"
    path.write_bytes(b"from unpinned import *\n# \xe9t\xe9\n")
    error = refused(path)
    assert "byte 0xe9 is not UTF-8" in error.what
    assert error.pos is not None
    assert error.pos.line == 2


def test_null_bytes(tmp_path):
    path = tmp_path / "null.py"
    path.write_bytes(b"x = 1\n\0\n")
    error = refused(path)
    assert "null byte" in error.what
    assert error.pos is not None
    assert error.pos.line == 2


@pytest.mark.parametrize(("size", "shown"), [(10_000_000, "10 MB"), (1_000_001, "over 1 MB")])
def test_a_file_too_large_to_be_a_plan(tmp_path, size, shown):
    path = tmp_path / "large.py"
    path.write_bytes(b"#" * size)
    assert f"this file has {shown}" in refused(path).what


def test_a_file_that_says_it_is_empty_and_is_not():
    path = Path("/proc/kallsyms")
    if not path.exists():
        pytest.skip("no /proc/kallsyms here")
    assert path.stat().st_size == 0
    refused(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_an_empty_file(tmp_path, text):
    (tmp_path / "empty.py").write_text(text)
    assert "empty" in refused(tmp_path / "empty.py").what


@pytest.mark.parametrize("text", ["'''Words.'''\n", "from unpinned import *\n", "__all__ = ['Kvm']\n"])
def test_a_file_without_a_plan(tmp_path, text):
    (tmp_path / "none.py").write_text(text)
    assert "defines no plan" in refused(tmp_path / "none.py").what


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_path_that_is_none(name):
    with pytest.raises(PlanError):
        read_source(name)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 100_000 + "1",
        "(" * 300 + ")" * 300,
        "1" + "+1" * 100_000,
        "not " * 50_000 + "x",
        "[" * 5000,
        "x\ud800 = 1",
    ],
)
def test_what_the_parser_itself_cannot_read(text):
    with pytest.raises(PlanError):
        parse_source(text, "deep.py")


def test_a_warning_of_the_parser_is_not_shown(tmp_path, recwarn):
    path = tmp_path / "kvm.py"
    path.write_text(in_method(r'x = "\d"'))
    refused(path)
    assert not recwarn.list


def test_a_line_that_would_play_with_the_terminal(tmp_path):
    path = tmp_path / "kvm.py"
    path.write_text(in_method("x = 'red \x1b[31m'"))
    assert "\x1b" not in str(refused(path))


def test_a_long_line_is_not_shown(tmp_path):
    path = tmp_path / "kvm.py"
    path.write_text(in_method(f"x = '{'long ' * 1000}'"))
    assert "long long" not in str(refused(path))


def test_a_byte_order_mark(tmp_path):
    (tmp_path / "kvm.py").write_text("\ufeff" + in_method("pass"), encoding="utf-8")
    assert [plan.name for plan in read_plans(tmp_path / "kvm.py")] == ["Kvm"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\f\n", " # \u2028 \x1c\n"])
def test_lines_are_counted_as_python_counts_them(tmp_path, end):
    path = tmp_path / "kvm.py"
    path.write_bytes(in_method("# é\nx = None").replace("\n", end).encode())
    error = refused(path)
    assert error.pos is not None
    assert (error.pos.line, error.pos.col) == (19, 12)
    assert error.pos.text.startswith("        x = None")


# ---- the top level

TOP = [
    ("§def f():\n    pass\n", "read, never run", "method of the plan"),
    ("§x = 1\n", "read, never run", "a value a field"),
    ("§print('x')\n", "read, never run", ""),
    ("§if TYPE_CHECKING:\n    pass\n", "read, never run", ""),
    ("'''Doc.'''\n§'''More.'''\n", "read, never run", ""),
    ("§x: int = 1\n", "read, never run", ""),
    ("§for x in y: pass\n", "read, never run", ""),
    ("§__name__ = ['x']\n", "read, never run", ""),
    ("__all__ = ['x', §f()]\n", "list of strings", "__all__"),
    ("def f(§:\n", "not Python: ", "Mend the syntax"),
    ("§import os\n", "`import os`", "Import from unpinned only"),
    ("§import unpinned\n", "`import unpinned`", "from unpinned import ..."),
    ("§import unpinned.plan as p\n", "`import unpinned.plan`", "from unpinned import ..."),
    ("§from os import path\n", "no file", "Import from unpinned only"),
    ("§from os.path import join\n", "import from `os.path`", "Import from unpinned only"),
    ("§from . import kvm\n", "import from `.`", "from kvm import"),
    ("§from ..x import Y\n", "import from `..x`", "from kvm import"),
    ("§from .missing import Kvm\n", "no file", "Import from unpinned only"),
    ("§from unpinned.check import x\n", "import from `unpinned.check`", "unpinned.drivers.FILE"),
    ("§from unpinned.drivers import Kvm2008\n", "import from `unpinned.drivers`", "unpinned.drivers.FILE"),
    ("§from unpinned.drivers.none import Kvm2008\n", "no file", ""),
    ("from unpinned.drivers.kvm2008 import §Kvm2007\n", "did you mean `Kvm2008`?", "one by one"),
    ("from unpinned.drivers.kvm2008 import §*\n", "no plan `*`", "one by one"),
    ("from __future__ import §division\n", "no meaning", "Leave it out"),
    ("from unpinned import §SpinLok\n", "did you mean `SpinLock`?", "There are:"),
    ("from unpinned import §SeqCount\n", "not in the language yet", "locks, counters and flags"),
    ("from unpinned import §atomic\n", "hardware gives no such step", "as the driver would have to"),
    ("§from unpinned.plan.modelling import atomic\n", "hardware gives no such step", ""),
    ("from unpinned import §REPLAY as AGAIN\n", "may not be renamed", "without as"),
    ("from unpinned import §page_range as one\n", "may not be renamed", "without as"),
    ("from unpinned import §SpinLock as Mutex\n", "may not be renamed", "without as"),
    ("from unpinned import SpinLock as A, §Mutex as A\n", "two meanings", "Rename one"),
    ("from unpinned import *\n§class A:\n    pass\n", "`A` is no plan", "class A(SecondaryMMU):"),
    (
        (
            "from unpinned.drivers.quadrics import Ioproc\n"
            "class A(Ioproc):\n    §def invalidate_range_end(self, r):\n        pass\n"
        ),
        "is of later eras",
        "era = '2008'",
    ),
    (
        "from unpinned.drivers.quadrics import Ioproc\n§class A(Ioproc):\n    flavour = 'sleeping'\n",
        "are spinlocks in that of 2005",
        "Leave it out",
    ),
    ("from unpinned import *\nclass A(SecondaryMMU, §SecondaryMMU):\n    pass\n", "2 bases", ""),
    ("from unpinned import *\nclass A(§object):\n    pass\n", "no class `object`", "derive it from a plan"),
    ("from unpinned import *\nclass A(§unpinned.X):\n    pass\n", "name of a class", ""),
    ("class A(§SecondaryMMU):\n    pass\n", "not imported", "from unpinned import SecondaryMMU"),
    ("from unpinned import *\nclass A(§SpinLock):\n    pass\n", "nothing derives", ""),
    ("from unpinned import *\nclass A(§A):\n    pass\n", "derives from itself", ""),
    ("from unpinned import *\nclass A(§B):\n    pass\nclass B(A):\n    pass\n", "below", "from each other"),
    ("from unpinned import *\nclass A(SecondaryMMU, §metaclass=M):\n    pass\n", "metaclass", "class A(BASE):"),
    ("from unpinned import *\n@§final\nclass A(SecondaryMMU):\n    pass\n", "decorators", ""),
    ("from unpinned import *\n§class Flag(SecondaryMMU):\n    pass\n", "already has a meaning", ""),
    ("from unpinned import *\n§class A(SecondaryMMU):\n    pass\n", "no page_fault", "page_fault(self, gfn, write)"),
]


@pytest.mark.parametrize(("text", "what", "hint"), TOP, ids=[text[0].partition("\n")[0] for text in TOP])
def test_the_top_level(tmp_path, text, what, hint):
    check(tmp_path / "plan.py", text, what, hint)


def test_two_classes_of_one_name(tmp_path):
    text = in_method("pass") + "§class Kvm(SecondaryMMU):\n    pass\n"
    check(tmp_path / "kvm.py", text, "already has a meaning", "another name")


# ---- class bodies

CLASS = [
    ("x = §1", "declares no field", "x = Counter()"),
    ("x = §False", "declares no field", "Flag(init=False)"),
    ("x = §SpinLock", "declares no field", "SpinLock()"),
    ("x = §[1]", "declares no field", "kinds:"),
    ("x = §open('f')", "no such kind", "There are:"),
    ("x = §Spinlock()", "did you mean `SpinLock`?", "There are:"),
    ("x = §SeqCount()", "not in the language yet", ""),
    ("x = §Pfn()", "only models", ""),
    ("x = Atomic(bits=§9)", "an Atomic has 1 to 6 bits", ""),
    ("x = Atomic(signed=§1)", "True or False", "Atomic(signed=True)"),
    ("x = Atomic(bits=3, signed=True, init=§4)", "3 bits hold 0 to 3 at first", ""),
    ("x = Counter(§signed=True)", "does not take this", "`bits=...`, `init=...`"),
    ("x = PerPage(§WaitQueue())", "stands alone", "x = WaitQueue()"),
    ("x = PerPage(§Object())", "an object stands alone", "x = Object()"),
    ("x = PerPage(§WorkItem('m'))", "a work item stands alone", "x = WorkItem('m')"),
    ("x = §WorkItem()", "the name of the method", "WorkItem('drain')"),
    ("x = §WorkItem(drain)", "the name of the method", ""),
    ("x = Object(§1)", "without a name", "Object()"),
    ("x = WaitQueue(§3)", "without a name", "WaitQueue()"),
    ("x = Counter(§4)", "without a name", "Counter(bits=...)"),
    ("x = Counter(bits=§7)", "1 to 6 bits", "from 1 to 6"),
    ("x = Counter(bits=§0)", "1 to 6 bits", "from 1 to 6"),
    ("x = Counter(bits=§True)", "1 to 6 bits", ""),
    ("x = Counter(bits=§2+2)", "1 to 6 bits", ""),
    ("x = Counter(bits=2, init=§4)", "2 bits hold 0 to 3", "from 0 to 3"),
    ("x = Counter(§size=4)", "does not take", "`bits=...`, `init=...`"),
    ("x = Counter(§**k)", "does not take", ""),
    ("x = Flag(init=§1)", "True or False", "Flag(init=True)"),
    ("x = SpinLock(§1)", "takes nothing", "SpinLock()"),
    ("x = SpinLock(§init=1)", "does not take", "nothing"),
    ("x = §PerPage()", "takes one field", "x = PerPage(Counter())"),
    ("x = PerPage(§Counter)", "declares no field", "Counter()"),
    ("x = PerPage(§PerPage(Flag()))", "nest too deep", "`x = PerPage(Counter())`"),
    ("§x = y = Flag()", "one declaration", ""),
    ("§a, b = Flag()", "one declaration", ""),
    ("§x: Flag = Flag()", "no annotation", "A class holds"),
    ("§print('x')", "never run", "A class holds"),
    ("§if x:\n    y = Flag()", "never run", ""),
    ("§class Inner:\n    pass", "never run", ""),
    ("§'''Words.'''", "never run", ""),
    ("§async def m(self):\n    pass", "async", ""),
    ("§seq = Flag()", "defined twice", "rename one"),
    ("§def seq(self):\n    pass", "defined twice", ""),
    ("§def helper(self):\n    pass", "defined twice", "Python would keep the last"),
    ("§helper = Flag()", "defined twice", ""),
    ("§zap = Flag()", "may not define `zap`", "the mm's"),
    ("§def map(self, gfn):\n    pass", "may not define `map`", "self.map("),
    ("§def __init__(self):\n    pass", "no __init__", "Counter(init=1)"),
    ("§def __x(self):\n    pass", "two underscores", "Rename"),
    ("§__x = Flag()", "two underscores", "Rename"),
    ("@§staticmethod\ndef m(self):\n    pass", "decorators", ""),
    ("§def m():\n    pass", "no self", "def m(self, ...):"),
    ("§def m(this):\n    pass", "no self", ""),
    ("def m(self, *§args):\n    pass", "plain parameters", ""),
    ("def m(self, **§kw):\n    pass", "plain parameters", ""),
    ("def m(self, *, §x):\n    pass", "plain parameters", ""),
    ("def m(§self, /):\n    pass", "plain parameters", ""),
    ("def m(self, x=§1):\n    pass", "no defaults", "every argument"),
    ("def m(self, x, §x):\n    pass", "two parameters", "Rename one"),
    ("def m(self, §MAPPED):\n    pass", "word of the language", ""),
    ("era = §'2009'", "no such era", "'2008'"),
    ("§def ioproc_invalidate_page(self, gfn):\n    pass", "is of era '2005'", "era = '2005'"),
    ("era = §2008", "no such era", "'2008'"),
    ("era = §'2019'", "no such era", "'current'"),
    ("era = §f()", "no such era", ""),
    ("flavour = §'sleepin'", "did you mean `sleeping`?", "flavour = 'sleeping'"),
    ("flavour = §True", "a string must stand", ""),
    ("operations = (§'munmpa',)", "did you mean `munmap`?", "zap, munmap, reclaim"),
    ("operations = (§1,)", "a string must stand", ""),
    ("operations = (§*x,)", "a string must stand", ""),
    ("operations = (§'munmap')", "tuple of strings", "('zap',)"),
    ("operations = §()", "is empty", "zap, munmap, reclaim"),
    ("operations = ('zap', §'zap')", "twice", ""),
    ("own = §'page_fault'", "tuple of the names of methods", "def deregister(self):"),
    ("own = §()", "tuple of the names of methods", ""),
    ("own = (§1,)", "name of a method", ""),
    ("own = (§'a b',)", "name of a method", ""),
    ("own = (§'munmap',)", "is the mm's", ""),
    ("own = (§'page_fault',)", "is the mm's", ""),
    ("own = (§'release',)", "is the mm's", ""),
    ("own = ('x', §'x')", "twice", ""),
    ("promises = (§'stale_use',)", "did you mean `stale-use`?", "flush-before-free"),
    ("promises = §()", "is empty", ""),
    ("waive = §('leak',)", "dict from rules", "why the plan may break it"),
    ("waive = {§'leek': 'x'}", "did you mean `leak`?", ""),
    ("waive = {'leak': §''}", "no reason", ""),
    ("waive = {'leak': §1}", "no reason", ""),
    ("waive = {'leak': 'x', §'leak': 'y'}", "twice", ""),
    ("waive = {**§x}", "`**`", ""),
    ("era = '2008'\n§era = '2008'", "given twice", ""),
    ("§def era(self):\n    pass", "a meaning of its own", ""),
    ("§def invalidate_range_begin(self, r):\n    pass", "did you mean `invalidate_range_start`?", "The mm calls"),
    ("§def invalidate_pages(self, r):\n    pass", "did you mean `invalidate_page`?", "helper"),
    ("§def pagefault(self, r):\n    pass", "did you mean `page_fault`?", "helper"),
    ("§def clear_young(self, r):\n    pass", "not modelled yet", "helper"),
    ("core = §'2012'", "no such core", "3ad3d901bbcf"),
    ("§def release(self, mm):\n    pass", "release() with 0 arguments", "def release(self):"),
    ("§def clear_flush_young(self, gfn):\n    pass", "not modelled yet", ""),
    (
        "§def invalidate_range_end(self):\n    pass",
        "with 1 argument, and this takes 0",
        "invalidate_range_end(self, r)",
    ),
    ("§def invalidate_page(self, a, b):\n    pass", "this takes 2", "invalidate_page(self, gfn)"),
]


@pytest.mark.parametrize(("text", "what", "hint"), CLASS, ids=[text[0] for text in CLASS])
def test_class_bodies(tmp_path, text, what, hint):
    check(tmp_path / "kvm.py", in_method("pass") + textwrap.indent(text, "    ") + "\n", what, hint)


# ---- methods

BOTH = [
    ("§x: int = 1", "annotation", "x = value"),
    ("§x = y = 1", "one value", "two assignments"),
    ("§x, y = 1, 2", "one value", "each name"),
    ("x = §(1, 2)", "tuples", ""),
    ("x = §[1]", "lists", ""),
    ("x = §{}", "dicts", ""),
    ("x = §{1}", "sets", ""),
    ("x = §[g for g in gfn]", "comprehensions", "for gfn in r:"),
    ("x = §(g for g in gfn)", "comprehensions", ""),
    ("x = §lambda: 1", "lambda", "def f(self, x):"),
    ("x = §'s'", "strings", ""),
    ("x = §b's'", "strings", ""),
    ("x = §f'{gfn}'", "strings", ""),
    ("x = §1.5", "only integers", "small integer"),
    ("x = §1j", "only integers", ""),
    ("x = §...", "`...`", "pass"),
    ("§...", "`...`", "pass"),
    ("x = §None", "None", "REPLAY, MAPPED or FAULT"),
    ("x = §64", "out of range", "-64 to 63"),
    ("x = §-65", "out of range", "-64 to 63"),
    ("x = §0x" + "f" * 100, "out of range", ""),
    ("x = §-gfn", "integers only", "0 - x"),
    ("x = §-True", "integers only", ""),
    ("x = §+1", "unary +", ""),
    ("x = §~1", "bit operators", ""),
    ("x = §gfn | 1", "bit operators", "Flag"),
    ("x = §gfn << 1", "bit operators", ""),
    ("x = §gfn / 2", "arithmetic", "+ and -"),
    ("x = §gfn % 2", "arithmetic", ""),
    ("x = §gfn ** 2", "arithmetic", ""),
    ("x = §gfn is None", "`is`", "=="),
    ("x = §gfn is not None", "`is not`", "!="),
    ("x = §0 < gfn < 2", "not chained", "joined by and"),
    ("x = (§y := 1)", "`:=`", "line of its own"),
    ("x = §yield", "yield", ""),
    ("§yield 1", "yield", ""),
    ("x = §await y", "await", ""),
    ("§del gfn", "del", ""),
    ("§global x", "global", "x = Counter()"),
    ("§nonlocal x", "global", ""),
    ("§assert gfn", "assert", "every step"),
    ("§import os", "may not import", "top of the file"),
    ("§from os import path", "may not import", ""),
    ("§try:\n    pass\nexcept E:\n    pass", "no exceptions", "FAULT"),
    ("§try:\n    pass\nfinally:\n    pass", "no exceptions", ""),
    ("§match gfn:\n    case 1:\n        pass", "match", "elif"),
    ("§def g():\n    pass", "functions", "def f(self, x):"),
    ("§class C:\n    pass", "functions or classes", ""),
    ("§async def g():\n    pass", "async", ""),
    ("§async for x in gfn:\n    pass", "async", ""),
    ("§async with self.lock:\n    pass", "async", ""),
    ("§gfn", "does nothing", "leave the line out"),
    ("§self.seq", "does nothing", ""),
    ("§gfn + 1", "does nothing", ""),
    ("pass\n§'words'", "strings", ""),
    ("§self = 1", "`self` cannot be assigned", "self.f = value"),
    ("§MAPPED = 1", "word of the language", "another name"),
    ("§super = 1", "word of the language", ""),
    ("§__x = 1", "two underscores", "Rename"),
    ("x = §self", "`self` is no value", "self.f"),
    ("x = §y", "`y` is not defined", "self.y"),
    ("x = §SpinLock", "no value", ""),
    ("x = §page_range", "", ""),
    ("x = §self.__class__", "two underscores", ""),
    ("x = §self.seq.value", "`self.seq` has no parts", "`self.value`"),
    ("x = §gfn.bit", "`gfn` has no parts", ""),
    ("x = §os.path", "only `self`", "self.path"),
    ("x = §super().seq", "only gives methods", "self.seq"),
    ("x = §super()", "stands alone", "super().method(...)"),
    ("§super(Kvm, self).helper(gfn, 1)", "takes nothing", "super().helper(...)"),
    ("x = self.f[§gfn:]", "slices", "self.f[gfn]"),
    ("x = §self.f[gfn][gfn]", "no elements", ""),
    ("x = §f()[gfn]", "only fields", ""),
    ("§print(gfn)", "`print()`", "leave it out"),
    ("for x in §range(3):\n    pass", "`range()`", "for gfn in r"),
    ("x = §len(gfn)", "`len()`", ""),
    ("x = §open('f')", "`open()`", "page_range"),
    ("x = §eval('f')", "`eval()`", ""),
    ("x = §__import__('os')", "`__import__()`", ""),
    ("x = §helper(gfn)", "no function `helper`", "self.m(...)"),
    ("x = §pagerange(gfn)", "did you mean `page_range`?", ""),
    ("x = READ_ONCE(§gfn)", "takes a field", "READ_ONCE(self.f)"),
    ("x = §READ_ONCE()", "takes 1 argument, not 0", "READ_ONCE(self.f)"),
    ("§WRITE_ONCE(self.seq)", "takes 2 arguments, not 1", "WRITE_ONCE(self.f, value)"),
    ("§smp_mb(gfn)", "takes 0 arguments, not 1", "smp_mb()"),
    ("§rcu_read_lock()", "is a block", "with rcu_read_lock():"),
    ("§rcu_read_unlock()", "`rcu_read_unlock()`", "with rcu_read_lock():"),
    ("§cond_resched(1)", "takes 0 arguments, not 1", ""),
    ("§synchronize_rcu(1)", "takes 0 arguments, not 1", ""),
    ("§synchronize_srcu(x)", "`synchronize_srcu()`", "self.srcu.synchronize()"),
    ("§wait_event(gfn)", "`wait_event()`", "self.queue.wait_event(COND)"),
    ("§self.seq.xchg()", "takes 1 argument, not 0", ""),
    ("§self.seq.cmpxchg(1)", "takes 2 arguments, not 1", ""),
    ("self.f[§gfn:].xchg(1)", "slices", ""),
    ("self.seq.xchg(§value=1)", "no names", ""),
    ("x = §Counter()", "makes a field", "class body"),
    ("x = §gfn(1)", "a local, not a function", ""),
    ("x = §self.f[0]()", "only methods", ""),
    ("x = self.helper(gfn, §x=1)", "no names", "by position"),
    ("x = self.helper(§*gfn)", "starred", "each argument"),
    ("x = self.helper(§**gfn)", "no names", ""),
    ("x = page_range(§*gfn)", "", ""),
    ("§self.lock.acquire()", "by a block", "with self.lock:"),
    ("§self.locks[gfn].release()", "by a block", "with self.locks[gfn]:"),
    ("x = §self.lock.acquire()", "by a block", "with self.lock:"),
    ("§self.seq.append(gfn)", "no parts", ""),
    ("§os.system('x')", "only `self`", ""),
    ("§gfn *= 2", "arithmetic", ""),
    ("§gfn |= 2", "bit operators", ""),
    ("for §x, y in gfn:\n    pass", "one name", "for gfn in r:"),
    ("for §self.seq in gfn:\n    pass", "one name", ""),
    ("for x in gfn:\n    pass\nelse:\n    §pass", "no else", "before `break`"),
    ("while gfn:\n    pass\nelse:\n    §pass", "no else", ""),
    ("§break", "in no loop", ""),
    ("if gfn:\n    §continue", "in no loop", ""),
    ("with self.lock as §x:\n    pass", "no value", "without as"),
    ("with §gfn:\n    pass", "takes a lock", "with self.lock:"),
    ("with §self.lock():\n    pass", "takes a lock", "with self.lock:"),
    ("with §open('f'):\n    pass", "`open()`", ""),
    ("with §self.lock.acquire():\n    pass", "by a block", "with self.lock:"),
    ("with §self.lock.x:\n    pass", "no parts", ""),
    ("with §self.lock.trylock():\n    pass", "may fail", "with self.lock.trylock() as got:"),
    ("with self.lock.trylock() as §self.seq:\n    pass", "one name", "as got:"),
    ("with self.lock.trylock() as §atomic:\n    pass", "word of the language", ""),
    ("with §self.lock.trylock(1) as got:\n    pass", "takes nothing", "self.lock.trylock()"),
    ("with self.lock.read() as §x:\n    pass", "no value", "without as"),
    ("x = §self.zap", "is a method", "self.zap(...)"),
]
DRIVER = [
    ("with §atomic():\n    pass", "hardware gives no such step", ""),
    ("x = §choose(0, 2)", "hardware gives no such step", ""),
    ("x = §lowest(f for f in r if f)", "hardware gives no such step", ""),
    ("x = §NONE", "hardware gives no such step", ""),
    ("x = §self.mm.pte", "cannot see inside the mm", ""),
    ("x = §self.f[gfn, gfn]", "one index", "self.f[gfn]"),
    ("x = §gfn[gfn]", "only fields", "PerPage"),
    ("x = §gfn * 2", "arithmetic", ""),
    ("§raise FAULT", "no exceptions", "return FAULT"),
    ("x = §page_range()", "takes 1 argument, not 0", ""),
    ("return §super().invalidate_page(gfn)", "no class above", "there are: none"),
    ("§super().zap(gfn)", "no class above", "self.zap("),
    ("with §rcu_read_lock(1):\n    pass", "takes nothing", "with rcu_read_lock():"),
    ("with rcu_read_lock() as §x:\n    pass", "gives no value", ""),
]
ONLY_MODELS = [
    ("§raise Bad", "nothing but FAULT", "raise FAULT"),
    ("§raise", "nothing but FAULT", ""),
    ("§atomic()", "is a block", "with atomic():"),
    ("with §atomic(1):\n    pass", "takes nothing", ""),
    ("with §self.sem.read(1):\n    pass", "takes nothing", ""),
    ("x = §self.mm", "no value", "self.mm.f"),
    ("x = §self.mm.pte.x", "no parts", ""),
    ("x = §self.f[gfn, gfn, gfn]", "one index", ""),
    ("x = §choose(0)", "takes 2 arguments, not 1", "modelling"),
    ("x = choose§(f for g in FRAMES if self.seq)", "values of a set", "choose(f for f in FRAMES if"),
    ("x = choose§(f for f in FRAMES)", "values of a set", ""),
    ("x = choose§(f for f in FRAMES if f if f)", "values of a set", ""),
    ("x = choose§(f for f in self.f if f)", "values of a set", "`FRAMES`, `PAGES`, `VCPUS`"),
    ("x = choose§(f for f in FRAMES for g in PAGES if f)", "values of a set", ""),
    ("x = choose§(self for self in FRAMES if seq)", "word of the language", "another name"),
    ("x = choose§(PAGES for PAGES in FRAMES if PAGES)", "word of the language", ""),
    ("x = choose(f for f in FRAMES if §exists(g for g in PAGES if g))", "calls nothing", ""),
    ("x = choose(f for f in FRAMES if §{f})", "lists, tuples, sets", ""),
    ("x = lowest(§FRAMES)", "values of a set", "lowest(f for f in FRAMES if"),
    ("x = §exists()", "takes 1 argument, not 0", ""),
    ("x = §exists", "is a function", "exists(...)"),
    ("check(§gfn, True, 'x')", "string constant", ""),
    ("check(§'leek', True, 'x')", "did you mean `leak`?", "stale-use"),
    ("note(§1)", "string constant", ""),
    ("note(§f'{gfn}')", "string constant", ""),
    ("return §MAPPED", "not imported", "from unpinned import MAPPED"),
]


def _skip(case: tuple[str, str, str], model: bool) -> bool:
    """Say whether a case for both dialects means something else in one."""
    return model and case[0].replace("§", "") in ("x = page_range", "x = self.zap", "x = SpinLock")


CASES = [
    *[(case, "") for case in [*BOTH, *DRIVER]],
    *[(case, "M") for case in [*BOTH, *ONLY_MODELS] if not _skip(case, True)],
]


@pytest.mark.parametrize(("case", "model"), CASES, ids=[f"{case[0][:60]}{model and '-model'}" for case, model in CASES])
def test_methods(tmp_path, case, model):
    text, what, hint = case
    check(tmp_path / "kvm.py", in_method(text, MODEL if model else PLAN), what, hint, model)


def test_an_integer_too_long_to_be_written_out(tmp_path):
    (tmp_path / "kvm.py").write_text(in_method(f"x = 0x{'f' * 5000}"))
    assert "out of range" in refused(tmp_path / "kvm.py").what


def test_a_word_that_is_not_imported(tmp_path):
    text = in_method("pass").replace("import *", "import SecondaryMMU, SpinLock, Mutex, Counter, Flag, PerPage")
    check(tmp_path / "kvm.py", text.replace("MAPPED", "§MAPPED"), "`MAPPED` is not imported", "import MAPPED")
    text = text.replace(" SpinLock,", "").replace("= SpinLock()", "= §SpinLock()", 1)
    check(tmp_path / "kvm.py", text, "`SpinLock` is not imported", "import SpinLock")


@pytest.mark.parametrize(
    "line",
    [
        "x = " + " + ".join(["1"] * 500),
        "x = " + "not " * 300 + "True",
        "x = " + "(" * 150 + "1" + ")" * 150 + " + 1" * 70,
        "x = " + "self.helper(gfn, " * 80 + "1" + ")" * 80,
        "\n".join("    " * depth + "if gfn:" for depth in range(70)) + "\n" + "    " * 70 + "pass",
    ],
)
def test_deep_nesting(tmp_path, line):
    path = tmp_path / "kvm.py"
    path.write_text(in_method(line))
    error = refused(path)
    assert "too deep" in error.what
    assert "self.m(...)" in error.hint


# ---- nothing is executed


def test_a_module_body_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    path = tmp_path / "kvm.py"
    path.write_text(f"open({str(ran)!r}, 'w')\n" + in_method("pass"))
    assert "never run" in refused(path).what
    assert not ran.exists()


def test_a_base_in_another_file_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "base.py").write_text(in_method("pass") + f"open({str(ran)!r}, 'w')\n")
    (tmp_path / "kvm.py").write_text("from base import Kvm\nclass Mine(Kvm):\n    pass\n")
    error = refused(tmp_path / "kvm.py")
    assert "never run" in error.what
    assert error.pos is not None
    assert error.pos.file == str(tmp_path / "base.py")
    assert not ran.exists()


@pytest.mark.parametrize(
    "line",
    [
        "    x = open({ran!r}, 'w')",
        "    x = Counter(bits=open({ran!r}, 'w'))",
        "    def m(self, x=open({ran!r}, 'w')): pass",
        "    @open({ran!r}, 'w')\n    def m(self): pass",
        "    waive = {{open({ran!r}, 'w'): ''}}",
    ],
)
def test_a_class_body_is_not_run(tmp_path, line):
    ran = tmp_path / "ran"
    (tmp_path / "kvm.py").write_text(in_method("pass") + line.format(ran=str(ran)) + "\n")
    refused(tmp_path / "kvm.py")
    assert not ran.exists()


def test_annotations_are_not_run(tmp_path):
    ran = tmp_path / "ran"
    text = in_method("pass").replace(
        "def helper(self, gfn, x):", f"def helper(self, gfn: Gfn, x: open({str(ran)!r}, 'w')) -> int:"
    )
    (tmp_path / "kvm.py").write_text(text)
    assert read_plans(tmp_path / "kvm.py")
    assert not ran.exists()


def test_the_reader_knows_no_way_to_run_code():
    """No module of the reader names exec, eval, compile or an import machinery."""
    folder = Path(read_source.__code__.co_filename).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"exec", "eval", "compile", "__import__"}, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not any(alias.name.startswith(("importlib", "runpy")) for alias in node.names), path


def test_a_helper_that_calls_itself_is_refused_even_if_nobody_calls_it(tmp_path):
    plan = tmp_path / "plan.py"
    plan.write_text(
        "from unpinned.drivers.kvm2008 import Kvm2008\n\n\nclass Plan(Kvm2008):\n"
        "    def helper(self):\n        self.other()\n\n    def other(self):\n        self.helper()\n"
    )
    with pytest.raises(PlanError) as caught:
        read_plans(plan)
    assert str(caught.value.pos).endswith("plan.py:9:9")
    assert "`helper` calls itself, by way of `other`" in caught.value.what
