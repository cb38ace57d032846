# SPDX-License-Identifier: Apache-2.0
"""Each construct of the language, compiled at each level and with checks, against the same text run by CPython."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.natively import At, compiled, program

TOP = (1 << 64) - 1
EDGES = [0, 1, 2, 3, 7, 63, 64, 65, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, TOP - 1, TOP]
NUMBERS = st.sampled_from(EDGES) | st.integers(0, TOP)

OPERATORS = ["+", "-", "*", "&", "|", "^", "<<", ">>", "//", "%"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


def words(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


OPERATED = program(
    "".join(f"def o{i}(a: u64, b: u64) -> u64:\n    return a {op} b\n" for i, op in enumerate(OPERATORS))
    + "".join(f"def c{i}(a: u64, b: u64) -> bool:\n    return a {op} b\n" for i, op in enumerate(COMPARISONS)),
    **{f"o{i}": 2 for i in range(len(OPERATORS))},
    **{f"c{i}": 2 for i in range(len(COMPARISONS))},
)


@pytest.mark.parametrize("place", range(len(OPERATORS)), ids=OPERATORS)
def test_every_operator_agrees_on_the_edges(place):
    for left in EDGES:
        for right in EDGES:
            OPERATED.same(f"o{place}", left, right)


@pytest.mark.parametrize("place", range(len(COMPARISONS)), ids=COMPARISONS)
def test_every_comparison_is_unsigned(place):
    for left in EDGES:
        for right in EDGES:
            OPERATED.same(f"c{place}", left, right)


@given(NUMBERS, NUMBERS)
def test_operators_and_comparisons_agree_on_any_numbers(left, right):
    for name in (*(f"o{i}" for i in range(len(OPERATORS))), *(f"c{i}" for i in range(len(COMPARISONS)))):
        OPERATED.same(name, left, right)


@pytest.mark.parametrize("right", [0, 1, 3, 63, 64, 65, TOP])
def test_operators_with_a_constant_agree(right):
    text = "".join(
        f"def o{i}(a: u64) -> u64:\n    return a {op} {right}\n"
        f"def r{i}(a: u64) -> u64:\n    return {right} {op} a\n"
        f"def k{i}() -> u64:\n    return 77 {op} {right}\n"
        for i, op in enumerate(OPERATORS)
    )
    names = {f"{kind}{i}": int(kind != "k") for kind in "ork" for i in range(len(OPERATORS))}
    ways = program(text, **names)
    for name, count in names.items():
        for left in EDGES if count else [0]:
            ways.same(name, *[left] * count)


def test_arithmetic_wraps():
    ways = program("def f(a: u64, b: u64) -> u64:\n    return a + b - 1 - b * b\n", f=2)
    assert ways.result("f", TOP, 2) == TOP - 3
    assert ways.result("f", 0, 0) == TOP


def test_shifts_by_64_and_divisions_by_zero_have_a_meaning_outside_of_debug_builds():
    text = """
def shl(a: u64, b: u64) -> u64:
    return a << b
def shr(a: u64, b: u64) -> u64:
    return a >> b
def div(a: u64, b: u64) -> u64:
    return a // b
def rem(a: u64, b: u64) -> u64:
    return a % b
"""
    ways = program(text, shl=2, shr=2, div=2, rem=2)
    assert [ways.result(name, 7, 64) for name in ("shl", "shr")] == [0, 0]
    assert [ways.result(name, 7, 0) for name in ("div", "rem")] == [0, 7]


def test_invert_and_constants():
    text = """
"A docstring."
LOW = (1 << 12) - 1
HIGH = ~LOW
YES = True
def f(a: u64) -> u64:
    "Another."
    return a & HIGH if YES and not False else a
"""
    assert program(text, f=1).result("f", 0x12345) == 0x12000


def test_bools_have_their_operators():
    text = """
def f(a: u64, b: u64) -> u64:
    x = a < b
    y = a == 3
    z = x ^ y
    z |= a > 100
    w: bool = z == (x and not y)
    z = z != w
    return (1 if x else 0) + (2 if y & x else 0) + (4 if z else 0) + (8 if w or x | y else 0)
"""
    ways = program(text, f=2)
    for a in (0, 3, 5, 101):
        for b in (0, 3, 4, 200):
            ways.same("f", a, b)


def test_bool_parameters_and_results_are_0_and_1_outside():
    ways = program("def f(a: bool, b: bool) -> bool:\n    return a and not b\n", f=2)
    assert [ways.result("f", a, b) for a in (0, 1) for b in (0, 1)] == [0, 0, 1, 0]


SHORT = """
def touch(p: u64p, i: u64) -> bool:
    p[i] += 1
    return p[i] > 2
def f(p: u64p, n: u64) -> u64:
    r = 0
    if n > 0 and touch(p, 0) or n > 1 and not touch(p, 1):
        r = 1
    b = touch(p, 2) and touch(p, 3) or touch(p, 4)
    if b:
        r += 2
    while touch(p, 5) and n < 50:
        n += 10
    return r + (touched(p, 6) if n & 1 == 0 else touched(p, 7)) + n
def touched(p: u64p, i: u64) -> u64:
    p[i] += 1
    return p[i]
"""


def test_an_operand_that_python_skips_is_skipped():
    ways = program(SHORT, f=2)
    for n in range(4):
        for old in range(4):
            ways.same("f", At(64), n, memory=words(*[old] * 8))


def test_a_guarded_load_is_not_made():
    """A right operand or an arm that is not chosen may have an address that does not exist."""
    text = """
def f(p: u64p, i: u64) -> u64:
    ok = i < 2 and p[i] == 5
    bad = i >= 2 or p[i] == 6
    return (1 if ok else 0) + (2 if bad else 0) + (p[i] if i < 2 else 0) + (0 if i > 1 else p[i])
"""
    ways = program(text, f=2)
    for i in (0, 1, 2, 1 << 50):
        ways.same("f", At(64), i, memory=words(5, 6))


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_elements_are_widened_and_cut(width):
    text = f"""
def f(p: u{width}p, v: u64) -> u64:
    p[1] = v
    p[2] += v
    p[3] -= v
    p[4] <<= v & 7
    p[5] //= 3
    return p[0] + p[1]
"""
    ways = program(text, f=2)
    for value in EDGES:
        ways.same("f", At(width), value, memory=bytes(range(250, 256)) * 10)


def test_an_index_may_wrap_around_to_the_left():
    text = "def f(p: u16p) -> u64:\n    q = ptr(p, 3)\n    return q[0 - 2] + ptr(q, 0 - 1)[0]\n"
    assert program(text, f=1).result("f", At(16), memory=struct.pack("=4H", 1, 20, 300, 4000)) == 320


def test_pointers_can_be_kept_chosen_passed_and_returned():
    text = """
def at(p: u32p, i: u64) -> u32p:
    return ptr(p, i)
def put(p: u32p, v: u64) -> u64:
    p[0] = v
    return v
def f(p: u32p, n: u64) -> u64:
    q = at(p, n)
    r: u32p = q if n > 1 else p
    s = p
    if n == 0:
        s = q
    put(r, 7)
    at(s, 1)[0] = 9
    return q[0] + r[0] + s[1]
"""
    ways = program(text, f=2)
    for n in range(4):
        ways.same("f", At(32, 4), n, memory=words(*range(4)))


def test_a_store_evaluates_the_value_first_and_an_update_the_place():
    text = """
def next_(p: u64p) -> u64:
    p[0] += 1
    return p[0]
def f(p: u64p) -> u64:
    p[next_(p)] = next_(p) * 10
    p[next_(p)] += next_(p) * 10
    p[next_(p) + 1] -= p[0]
    return next_(p) - next_(p) * next_(p)
"""
    ways = program(text, f=1)
    assert ways.same("f", At(64), memory=words(*[0] * 10))[1] == words(8, 0, 10, 40, 0, 0, TOP - 4, 0, 0, 0)


def test_a_local_can_be_changed_between_two_uses_in_one_expression_by_nobody():
    text = "def f(a: u64) -> u64:\n    b = a\n    a += a * a - b\n    a ^= b << a % 60\n    return a\n"
    ways = program(text, f=1)
    for a in EDGES:
        ways.same("f", a)


LOOPS = """
def ranges(a: u64, b: u64) -> u64:
    s = 0
    for i in range(a, b):
        s = s * 3 + i
        i = 1000
        b = 0
        a = a + 5
    for i in range(a):
        if i == 3:
            continue
        if i > 6:
            break
        s += i << 4
        for j in range(i, 4):
            if j == 2:
                break
            s ^= j + i
    return s
def last(n: u64) -> u64:
    i = 99
    for i in range(n):
        pass
    return i
def whiles(n: u64) -> u64:
    s = 1
    while n > 3:
        n -= 1
        if n % 5 == 0:
            continue
        s = s * 7 + n
        while True:
            s += 3
            if s % 4 == 0:
                break
            if s % 9 == 0:
                return s
    while True:
        if s > 100:
            return s - 100
        s += s + 1
def edge() -> u64:
    s = 0
    for i in range(18446744073709551613, 18446744073709551615):
        s += i
    return s
"""


def test_loops_run_as_in_python():
    ways = program(LOOPS, ranges=2, last=1, whiles=1, edge=0)
    for a in range(8):
        for b in range(9):
            ways.same("ranges", a, b)
        ways.same("last", a)
    for n in range(40):
        ways.same("whiles", n)
    ways.same("ranges", 5, 3)
    assert ways.result("edge") == (2 * TOP - 3) & TOP


def test_branches_and_matches_run_as_in_python():
    text = """
def f(x: u64, y: u64) -> u64:
    r = 0
    if x == 0:
        return 5
    elif x == 1:
        r = 1
    elif x < 4 and y > 2:
        r = 2
        if y == 3:
            pass
        else:
            r = 20
    else:
        r = 3
    match x + y:
        case 3:
            r += 100
        case 4 | 18446744073709551615 | 9:
            for i in range(3):
                match i:
                    case 1:
                        continue
                    case 2 if_placeholder
                r += 10
        case 7:
            return r
        case _:
            r *= 2
    match y:
        case 2:
            r += 1
    return r
""".replace("case 2 if_placeholder", "case 2:\n                        break")
    ways = program(text, f=2)
    for x in range(6):
        for y in range(8):
            ways.same("f", x, y)
    ways.same("f", TOP, 0)


def test_a_match_may_return_from_every_case():
    text = """
def f(x: u64) -> u64:
    match x:
        case 0:
            return 10
        case _:
            return x + 1
"""
    assert [program(text, f=1).result("f", x) for x in (0, 5)] == [10, 6]


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_atomics_do_what_they_do_in_python(width):
    text = f"""
def f(p: u{width}p, i: u64, v: u64) -> u64:
    a = fetch_add(p, i, v)
    b = cas(p, i, a + v, v * 3)
    c = cas(p, i, 1, 2)
    astore(p, i + 1, aload(p, i) + popcount(v))
    prefetch(p, v)
    cas(p, i + 1, p[i + 1], 9)
    return a + b * 3 + c * 5
"""
    ways = program(text, f=3)
    for value in EDGES:
        ways.same("f", At(width), 1, value, memory=words(1, TOP, 3, 5))


@given(NUMBERS)
def test_popcount_counts_bits(number):
    assert POPCOUNT.result("f", number) == number.bit_count()


POPCOUNT = program("def f(a: u64) -> u64:\n    return popcount(a)\n", f=1)


def test_pointers_of_different_widths_may_name_the_same_bytes():
    text = """
def f(a: u64p, b: u8p) -> u64:
    x = a[0]
    b[0] = 255
    y = a[0]
    a[0] = 0
    return x * 1000 + y * 10 + b[0]
"""
    assert program(text, f=2).result("f", At(64), At(8), memory=words(1)) == 1000 + 2550


def test_a_local_set_on_every_path_may_be_read():
    text = """
def f(n: u64) -> u64:
    while True:
        x = n
        if n > 3:
            y = 1
            break
        if n == 2:
            y = 2
            break
        n += 1
    if n == 2:
        z = 5
    elif n > 100:
        return 7
    else:
        z = y
    return x + y + z
"""
    ways = program(text, f=1)
    for n in (0, 1, 2, 3, 4, 200):
        ways.same("f", n)


def test_what_stands_after_a_return_is_not_run():
    text = """
def f(n: u64) -> u64:
    for i in range(n):
        if i == 2:
            return i
            n = 5
        else:
            continue
            i = 9
    return n
    while True:
        n += 1
"""
    ways = program(text, f=1)
    for n in range(5):
        ways.same("f", n)


def test_a_long_row_of_operators_and_a_long_row_of_branches_compile():
    text = "def f(a: u64) -> u64:\n    b = " + " + ".join(["a"] * 1500) + "\n"
    for i in range(1500):
        text += f"    {'if' if i == 0 else 'elif'} b == {1500 * i}:\n        b += {i * i}\n"
    f = compiled(text + "    return b\n", level=0, f=1).function("f")
    assert [f(a) for a in (0, 1, 1499, 1500)] == [0, 1501, 1499 * 1500 + 1499 * 1499, 1500 * 1500]
