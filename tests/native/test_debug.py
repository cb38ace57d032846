# SPDX-License-Identifier: Apache-2.0
"""A debug build stops at each fault with its place, touches nothing after it, and otherwise does the same."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.natively import LEVELS, At, Ways, compiled

from unpinned.native.errors import NativeError

TOP = (1 << 64) - 1

FAULTS = """
def load(p: u64p, i: u64) -> u64:
    return p[i]
def store(p: u64p, i: u64) -> u64:
    p[i] = 5
    return 0
def update(p: u64p, i: u64) -> u64:
    p[i] += 5
    return 0
def atomic_cas(p: u64p, i: u64) -> u64:
    return cas(p, i, 0, 1)
def atomic_add(p: u64p, i: u64) -> u64:
    return fetch_add(p, i, 1)
def atomic_load(p: u64p, i: u64) -> u64:
    return aload(p, i)
def atomic_store(p: u64p, i: u64) -> u64:
    astore(p, i, 9)
    return 0
"""
KINDS = {
    "load": "load",
    "store": "store",
    "update": "load",
    "atomic_cas": "atomic",
    "atomic_add": "atomic",
    "atomic_load": "atomic",
    "atomic_store": "atomic",
}
WAYS = Ways(FAULTS, dict.fromkeys(KINDS, 2), release=False)


@pytest.mark.parametrize("name", KINDS)
def test_every_access_outside_of_the_region_is_a_fault(name):
    memory = bytes(range(32))
    for index in (4, 5, 1 << 32, 1 << 60, TOP):
        fault, after = WAYS.same(name, At(64), index, memory=memory)
        assert fault[0] == name
        assert fault[2] == KINDS[name]
        assert after == memory
    for index in range(4):
        assert isinstance(WAYS.result(name, At(64), index, memory=memory), int)


@pytest.mark.parametrize("name", KINDS)
def test_every_access_that_is_not_aligned_is_a_fault(name):
    assert WAYS.result(name, At(64, 4), 0, memory=bytes(32))[2] == KINDS[name]


def test_an_element_must_lie_inside_with_all_its_bytes():
    ways = Ways("def f(p: u32p, i: u64) -> u64:\n    return p[i]\n", {"f": 2}, release=False)
    assert ways.result("f", At(32), 0, memory=bytes(6)) == 0
    assert ways.result("f", At(32), 1, memory=bytes(6))[1:3] == (2, "load")


@pytest.mark.parametrize(
    ("operator", "kind", "value"),
    [("<<", "shift", 64), (">>", "shift", 64), ("//", "division", 0), ("%", "division", 0)],
)
def test_shifts_and_divisions_are_checked(operator, kind, value):
    text = f"""
def f(a: u64, b: u64) -> u64:
    c = 1
    c {operator}= b
    return c
def g(a: u64) -> u64:
    return a {operator} {value}
def h(a: u64, b: u64, p: u64p) -> u64:
    return (1 if b < 64 and b != 0 and a {operator} b > 3 else
        2)
"""
    ways = Ways(text, {"f": 2, "g": 1, "h": 3}, release=False)
    assert ways.result("f", 9, value) == ("f", 4, kind, value)
    assert ways.result("g", 9) == ("g", 7, kind, value)
    assert isinstance(ways.result("h", 9, value, At(64)), int)
    assert isinstance(ways.result("f", 9, 1), int)


def test_a_fault_ends_all_callers_at_once():
    text = """
def deep(p: u64p, i: u64) -> bool:
    return p[i] == 1
def middle(p: u64p, i: u64) -> u64p:
    p[0] += 1
    if deep(p, i) or p[0] > 100:
        p[1] = 77
    return ptr(p, 1)
def f(p: u64p, i: u64) -> u64:
    while True:
        q = middle(p, i)
        q[0] += 1
        i += 1
"""
    ways = Ways(text, {"f": 2}, release=False)
    fault, after = ways.same("f", At(64), 2, memory=bytes(32))
    assert fault[:3] == ("deep", 3, "load")
    assert after[:8] == (3).to_bytes(8, "little")


def test_ptr_and_prefetch_may_name_any_address():
    text = """
def f(p: u64p) -> u64:
    prefetch(p, 1 << 40)
    q = ptr(p, 1 << 40)
    return ptr(q, 0 - (1 << 40))[0]
"""
    assert Ways(text, {"f": 1}).result("f", At(64), memory=bytes(8)) == 0


@pytest.mark.parametrize("level", LEVELS)
def test_the_message_names_function_line_and_what_was_wrong(level):
    loaded = compiled(FAULTS + "def div(a: u64) -> u64:\n    return 1 // a\n", level, debug=True, load=2, div=1)
    with pytest.raises(
        NativeError, match=r"load, line 3: load outside of every region, or not aligned \(address 0x50\)"
    ):
        loaded.function("load")(64, 2)
    with pytest.raises(NativeError, match="div, line 20: division by zero"):
        loaded.function("div")(0)


def test_regions_come_and_go():
    loaded = compiled(FAULTS, debug=True, load=2)
    load = loaded.function("load")
    cells = [(ctypes.c_uint64 * 4)(1, 2, 3, 4) for _ in range(20)]
    for row in cells:
        loaded.region(ctypes.addressof(row), 32)
    assert [load(ctypes.addressof(row), 3) for row in cells] == [4] * 20
    loaded.forget(ctypes.addressof(cells[7]))
    with pytest.raises(NativeError):
        load(ctypes.addressof(cells[7]), 0)
    loaded.region(ctypes.addressof(cells[7]), 8)
    assert load(ctypes.addressof(cells[7]), 0) == 1


def test_a_region_of_no_bytes_and_one_at_the_end_of_the_address_space_admit_nothing_wrong():
    loaded = compiled(FAULTS, debug=True, load=2)
    loaded.region(64, 0)
    loaded.region(TOP - 15, 15)
    for address in (64, TOP - 7):
        with pytest.raises(NativeError):
            loaded.function("load")(address, 0)


def test_a_fault_in_one_thread_does_not_end_a_call_in_another():
    text = """
def f(p: u64p, n: u64, bad: u64) -> u64:
    s = 0
    for i in range(n):
        s += p[i & 3]
    return s + p[bad]
"""
    loaded = compiled(text, debug=True, f=3)
    cells = (ctypes.c_uint64 * 4)(1, 1, 1, 1)
    loaded.region(ctypes.addressof(cells), 32)
    call = loaded.function("f")

    def good(_):
        return call(ctypes.addressof(cells), 100_000, 0)

    def bad(_):
        with pytest.raises(NativeError):
            call(ctypes.addressof(cells), 1000, 9)
        return 0

    with ThreadPoolExecutor(2) as pool:
        fine, broken = pool.map(lambda work: [work(i) for i in range(50)], (good, bad))
    assert fine == [100_001] * 50
    assert broken == [0] * 50
