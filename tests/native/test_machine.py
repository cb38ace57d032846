# SPDX-License-Identifier: Apache-2.0
"""Object code: what it exports, how it is loaded and called, from several threads too."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.natively import LEVELS, compiled

from unpinned.native.machine import Loaded, available, compile_module, load

ADD = "def f(a: u64, b: u64) -> u64:\n    return a + b\n"


def test_llvmlite_is_imported_only_when_something_is_compiled_or_loaded():
    script = """
import sys
from unpinned.native import cache, check, debug, emit, errors, expressions, machine, python, tree
assert machine.available()
python.run("def f() -> u64:\\n    return 1\\n")
assert not [name for name in sys.modules if name.startswith("llvmlite")]
machine.compile_module("def f() -> u64:\\n    return 1\\n", {"f": 0}, level=0)
assert "llvmlite" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_loading_does_not_need_the_compiler():
    code = compile_module(ADD, {"f": 2}, level=2)
    script = """
import sys
from unpinned.native.machine import load
assert load(sys.stdin.buffer.read()).function("f")(2, 3) == 5
assert "unpinned.native.check" not in sys.modules and "unpinned.native.emit" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], input=code, check=True)


def test_llvmlite_is_there():
    assert available()


def test_only_exports_can_be_called():
    loaded = compiled(ADD + "def g() -> u64:\n    return f(1, 2)\n", g=0)
    assert loaded.function("g")() == 3
    with pytest.raises(KeyError, match="f is not exported; there are g"):
        loaded.function("f")


def test_too_few_arguments_are_refused():
    with pytest.raises(TypeError):
        compiled(ADD, f=2).function("f")(1)


@pytest.mark.parametrize("level", LEVELS)
def test_functions_may_have_the_names_of_c_functions(level):
    text = """
def memset(p: u64p, n: u64) -> u64:
    for i in range(n):
        p[i] = 0
    return n
def malloc(p: u64p, n: u64) -> u64:
    return memset(p, n) + 1
"""
    loaded = compiled(text, level, memset=2, malloc=2)
    cells = (ctypes.c_uint64 * 1000)(*range(1000))
    assert loaded.function("malloc")(ctypes.addressof(cells), 999) == 1000
    assert list(cells) == [0] * 999 + [999]


def test_locals_outside_of_ascii_compile():
    assert compiled("def f(ü: u64) -> u64:\n    ß = ü + 1\n    return ß\n", f=1).function("f")(4) == 5


def test_what_is_loaded_lives_as_long_as_a_callable():
    functions = []
    for number in range(20):
        functions.append(compiled(f"def f(a: u64) -> u64:\n    return a + {number}\n", level=0, f=1).function("f"))
        gc.collect()
    assert [function(100) for function in functions] == list(range(100, 120))


def test_the_same_object_code_can_be_loaded_twice():
    code = compile_module(ADD, {"f": 2}, level=2)
    assert [loaded.function("f")(1, 2) for loaded in (load(code), load(code), Loaded(code))] == [3, 3, 3]


def test_compiling_is_repeatable():
    assert compile_module(ADD, {"f": 2}, level=2) == compile_module(ADD, {"f": 2}, level=2)


def test_a_function_can_be_marked_for_inlining():
    text = "def big(a: u64) -> u64:\n" + "    a = a * 31 ^ a >> 7\n" * 400 + "    return a\n"
    text += "def f(a: u64) -> u64:\n    return big(a) + big(a + 1) + big(a + 2)\n"
    plain = compile_module(text, {"f": 1}, level=2)
    inlined = compile_module(text, {"f": 1}, level=2, inline={"big"})
    assert len(inlined) > 2 * len(plain)
    assert load(plain).function("f")(5) == load(inlined).function("f")(5)


COUNTERS = """
def add(p: u64p, n: u64) -> u64:
    for i in range(n):
        fetch_add(p, 0, 1)
    return 0
def swap(p: u64p, n: u64) -> u64:
    tries = 0
    for i in range(n):
        while True:
            tries += 1
            old = aload(p, 0)
            if cas(p, 0, old, old + 1) == old:
                break
    return tries
def locked(p: u8p, q: u64p, n: u64) -> u64:
    for i in range(n):
        while cas(p, 0, 0, 1) != 0:
            pass
        q[0] += 1
        q[1] = q[0] * 2
        astore(p, 0, 0)
    return 0
def meet(p: u32p, me: u64, n: u64) -> u64:
    for i in range(n):
        while aload(p, 0) & 1 != me:
            pass
        p[1] += me + 1
        fetch_add(p, 0, 1)
    return 0
"""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["add", "swap"])
def test_two_threads_lose_nothing(level, name):
    call = compiled(COUNTERS, level, add=2, swap=2).function(name)
    cell = (ctypes.c_uint64 * 1)()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: call(ctypes.addressof(cell), 200_000), range(2)))
    assert cell[0] == 400_000


@pytest.mark.parametrize("level", LEVELS)
def test_a_lock_made_of_cas_and_astore_excludes(level):
    call = compiled(COUNTERS, level, locked=3).function("locked")
    lock, cells = (ctypes.c_uint8 * 8)(), (ctypes.c_uint64 * 2)()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: call(ctypes.addressof(lock), ctypes.addressof(cells), 20_000), range(2)))
    assert list(cells) == [40_000, 80_000]


@pytest.mark.parametrize("level", LEVELS)
def test_acquire_and_release_hand_over_what_was_written_and_calls_run_side_by_side(level):
    """Each thread waits for the other in turn, so this ends only if the interpreter lock is released."""
    call = compiled(COUNTERS, level, meet=3).function("meet")
    cells = (ctypes.c_uint32 * 2)()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda me: call(ctypes.addressof(cells), me, 200), range(2)))
    assert list(cells) == [400, 600]


def test_threads_may_compile_and_load_at_once():
    results: list[int] = []

    def work(number: int) -> None:
        for turn in range(5):
            loaded = compiled(f"def f(a: u64) -> u64:\n    return a * {number} + {turn}\n", level=2, f=1)
            results.append(loaded.function("f")(10) - number * 10 - turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 20
