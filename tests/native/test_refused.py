# SPDX-License-Identifier: Apache-2.0
"""A text outside the language is refused, with the function, the line and what to write instead."""

from __future__ import annotations

import pytest

from unpinned.native.check import read_module
from unpinned.native.errors import CompileError
from unpinned.native.machine import compile_module
from unpinned.native.python import run

#: A statement in line 3 of f(p: u64p, q: u8p, n: u64, b: bool) -> u64, and what the message says of it.
STATEMENTS = {
    "x = n / 2": "write // for division",
    "x = n ** 2": "the operator Pow is not in the language",
    "x = -n": "write 0 - x",
    "x = +n": "write 0 - x",
    "x = -1": "write 0 - x",
    "x = 18446744073709551616": "does not fit in 64 bits",
    "x = 1.5": "there are numbers, True and False",
    "x = None": "there are numbers, True and False",
    "x = 'text'": "there are numbers, True and False",
    "x = n + b": "the operands are u64 and bool",
    "x = b + b": "write `1 if b else 0`",
    "x = b << b": "does not take bool",
    "x = ~b": "the operand of ~ is bool, not u64; write `1 if b else 0`",
    "x = p + p": "write ptr(p, i) for an address",
    "x = p + 1": "the operands are u64p and u64",
    "x = not n": "the operand of not is u64, not bool; write `x != 0`",
    "x = b and n": "an operand of and is u64, not bool",
    "x = n or b": "an operand of or is u64, not bool",
    "x = 0 < n < 5": "write `a < b and b < c`",
    "x = n in p": "the comparison In",
    "x = n is n": "the comparison Is",
    "x = n == b": "u64 is compared with bool",
    "x = b < b": "bool cannot be compared so",
    "x = p == p": "u64p cannot be compared so",
    "x = 1 if n else 2": "the condition is u64, not bool",
    "x = n if b else b": "the choice is between u64 and bool",
    "x = p if b else q": "the choice is between u64p and u8p",
    "x = n[0]": "u64 has no elements",
    "x = p[b]": "the index is bool, not u64",
    "x = p[1:2]": "index one element",
    "x = p[1, 2]": "use a statement for each value",
    "x = p.y": "keep what belongs together in memory",
    "x = [1]": "use memory behind a pointer",
    "x = (y := 2)": "assign in a statement of its own",
    "x = lambda: 1": "Lambda is not in the language",
    "x = f'{n}'": "JoinedStr is not in the language",
    "x = y": "y has no value here",
    "x = g": "the function g is not a value; call it",
    "x = cas": "the function cas is not a value",
    "x = h(1)": "there is no function h to call",
    "x = len(p)": "there is no function len to call",
    "x = range(3)": "it stands in `for i in range(n)` only",
    "x = g(1, 2)": "g takes 1 arguments, not 2",
    "x = g(b)": "argument 1 of g is bool, not u64",
    "x = g(a=1)": "give the arguments in their order",
    "x = g(*p)": "give the arguments in their order",
    "x = p.g(1)": "call a function by its name",
    "x = popcount(b)": "the argument of popcount is bool",
    "x = popcount()": "popcount takes 1 arguments, not 0",
    "x = cas(p, 0, 1)": "cas takes 4 arguments, not 3",
    "x = cas(n, 0, 1, 2)": "argument 1 of cas is u64, not a pointer",
    "x = fetch_add(p, 0, b)": "argument 3 of fetch_add is bool",
    "x = astore(p, 0, 1)": "the right side has no value",
    "x = prefetch(p, 0)": "the right side has no value",
    "x = 1 + astore(p, 0, 1)": "the operands are u64 and nothing",
    "n = b": "n is u64, and cannot become bool",
    "b = 1": "b is bool, and cannot become u64",
    "p = q": "p is u64p, and cannot become u8p",
    "n = p": "n is u64, and cannot become u64p",
    "K = 5": "K is a constant or a function",
    "K += 5": "K is a constant",
    "g = 5": "g is a constant or a function",
    "ptr = p": "ptr is a constant or a function",
    "x = y = 1": "write one statement for each",
    "x, y = 1, 2": "use a statement for each value",
    "(x, y) = n": "only names and elements can be assigned",
    "p.x = 1": "only names and elements can be assigned",
    "p.x += 1": "only names and elements can be assigned",
    "p[0] = b": "an element cannot be bool",
    "p[0] = p": "an element cannot be u64p",
    "p[0] += b": "the operands are u64 and bool",
    "x += 1": "x has no value here",
    "x: u64": "write `name: u64 = 0`",
    "x: int = 1": "there is no type int",
    "x: bool = 1": "the value is u64, not bool",
    "p[0]: u64 = 1": "a declaration has no value",
    "n": "only calls stand alone",
    "1": "only calls stand alone",
    "...": "only calls stand alone",
    "return": "write `return 0`",
    "return b": "the result is bool, not u64",
    "return p": "the result is u64p, not u64",
    "break": "break stands outside of a loop",
    "continue": "continue stands outside of a loop",
    "del n": "the statement Delete is not in the language",
    "assert b": "the statement Assert is not in the language",
    "raise n": "the statement Raise is not in the language",
    "global n": "the statement Global is not in the language",
    "import os": "the statement Import is not in the language",
    "def h(): pass": "define it at the top",
    "class h: pass": "the statement ClassDef is not in the language",
    "if n: pass": "the condition is u64, not bool",
    "while 1: pass": "the condition is u64, not bool",
    "for i in p: pass": "write `for i in range(a, b):`",
    "for i in range(1, 2, 3): pass": "write `for i in range(a, b):`",
    "for i in range(): pass": "write `for i in range(a, b):`",
    "for i in range(b): pass": "the bound of the range is bool",
    "for p[0] in range(3): pass": "write `for i in range(a, b):`",
    "for b in range(3): pass": "b is bool, and cannot become u64",
    "with n: pass": "the statement With is not in the language",
    "try: pass\n    finally: pass": "the statement Try is not in the language",
}

HEAD = "def g(a: u64) -> u64: return a\ndef f(p: u64p, q: u8p, n: u64, b: bool) -> u64:\n"


def message(text: str) -> str:
    with pytest.raises(CompileError) as caught:
        read_module(text)
    return str(caught.value)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_outside_the_language_is_refused_with_its_place(statement):
    text = f"{HEAD}    {statement}\n    return 0\nK = 3\n"
    with pytest.raises(CompileError) as caught:
        read_module(text)
    assert str(caught.value).startswith("f, line 3: ")
    assert (caught.value.function, caught.value.line) == ("f", 3)
    assert STATEMENTS[statement] in str(caught.value)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("case K:", "write `case 3:`"),
        ("case -1:", "write `case 3:`"),
        ("case True:", "write `case 3:`"),
        ("case 1 as x:", "write `case 3:`"),
        ("case 1 | -2:", "write `case 3:`"),
        ("case 'a':", "write `case 3:`"),
        ("case [1]:", "write `case 3:`"),
        ("case 18446744073709551616:", "write `case 3:`"),
        ("case 1 if b:", "write an if in the case"),
        ("case 2 | 0:", "a number stands in two cases"),
        ("case 1 | 1:", "a number stands in two cases"),
    ],
)
def test_a_case_that_is_not_a_number_is_refused(case, said):
    text = f"{HEAD}    match n:\n        case 0:\n            pass\n        {case}\n            pass\n    return 0\n"
    assert message(text).startswith("f, line 6: ")
    assert said in message(text)


def test_a_bool_cannot_be_matched():
    assert "what is matched is bool" in message(
        f"{HEAD}    match b:\n        case 0:\n            pass\n    return 0\n"
    )


@pytest.mark.parametrize("head", ["while b:", "for i in range(n):"])
def test_an_else_of_a_loop_is_refused(head):
    assert "else after a loop" in message(f"{HEAD}    {head}\n        pass\n    else:\n        pass\n    return 0\n")


UNASSIGNED = {
    "one arm only": "if n > 1:\n        x = 1",
    "no arm for else": "if n > 1:\n        x = 1\n    elif n > 0:\n        x = 2",
    "a loop that may have no round": "for i in range(n):\n        x = 1",
    "a loop's own variable": "for x in range(n):\n        pass",
    "a while": "while n > 1:\n        x = 1\n        n -= 1",
    "a break before": "while True:\n        if n > 1:\n            break\n        x = 1",
    "a match without the rest": "match n:\n        case 1:\n            x = 1",
    "one case only": "match n:\n        case 1:\n            x = 1\n        case _:\n            pass",
    "the last round": "while n > 1:\n        if n == 3:\n            n = x\n        x = 2",
}


@pytest.mark.parametrize("body", UNASSIGNED.values(), ids=UNASSIGNED)
def test_a_local_that_some_path_does_not_assign_cannot_be_read(body):
    assert "no value here" in message(f"{HEAD}    {body}\n    return x\n")


OPEN_ENDS = ["n = 1", "if b:\n        return 1", "while b:\n        return 1", "while True:\n        break", "pass"]


@pytest.mark.parametrize("body", OPEN_ENDS)
def test_a_function_whose_end_can_be_reached_is_refused(body):
    assert message(f"{HEAD}    {body}\n").startswith("f, line 2: the end can be reached without a return")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(a) -> u64:\n    return a\n", "f, line 1: the parameter a has no type; write `a: u64`"),
        ("def f(a: int) -> u64:\n    return a\n", "the parameter a has the type int"),
        ("def f(a: u64):\n    return a\n", "the result has no type; write `-> u64`"),
        ("def f() -> None:\n    return 0\n", "the result has the type None"),
        ("def f(a: u64 = 1) -> u64:\n    return a\n", "only plain parameters"),
        ("def f(*a: u64) -> u64:\n    return 1\n", "only plain parameters"),
        ("def f(*, a: u64) -> u64:\n    return a\n", "only plain parameters"),
        ("@cache\ndef f() -> u64:\n    return 1\n", "decorators"),
        ("def f() -> u64:\n    return 1\n" * 2, "f, line 3: the name f is taken"),
        ("def cas() -> u64:\n    return 1\n", "the name cas is taken"),
        ("def größe() -> u64:\n    return 1\n", "line 1: the name of a function is not ASCII"),
        ("f = 1\ndef f() -> u64:\n    return 1\n", "the name f is taken"),
        ("A = 1\nA = 2\n", "line 2: the name A is taken"),
        ("A = B\nB = 1\n", "line 1: B has no value here"),
        ("A = 1 << 64\n", "line 1: the value is not known when compiling"),
        ("A = 1 // 0\n", "line 1: the value is not known when compiling"),
        ("def f(A: u64) -> u64:\n    return A\nA = 1\n", "the name A is taken"),
        ("import os\n", "line 1: Import is not in the language here"),
        ("x: u64 = 1\n", "a module has functions and constants"),
        ("class A: pass\n", "a module has functions and constants"),
        ("async def f() -> u64:\n    return 1\n", "a module has functions and constants"),
        ("def f(:\n", "line 1: not Python"),
        ("\n\ndef f() -> u64:\nreturn 1\n", "line 4: not Python"),
        ("def f() -> u64:\n    return f()\n", "f, line 2: f calls itself"),
        (
            "def f() -> u64:\n    return g()\ndef g() -> u64:\n    return h()\ndef h() -> u64:\n    return f()\n",
            "h, line 6: f calls itself, by way of h; write a loop",
        ),
    ],
)
def test_a_module_outside_the_language_is_refused(text, said):
    assert said in message(text)


def test_the_same_callee_twice_is_no_recursion():
    read_module(
        "def f() -> u64:\n    return g() + h() + g()\ndef g() -> u64:\n    return h()\ndef h() -> u64:\n    return 1\n"
    )


def test_an_expression_that_is_nested_too_deeply_is_refused_and_not_a_crash():
    deep = "def f(a: u64) -> u64:\n    return " + " if a > 3 else ".join(["a"] * 1500) + "\n"
    with pytest.raises(CompileError, match="nested too deeply"):
        compile_module(deep, {"f": 1}, level=0)
    with pytest.raises(CompileError, match="nested too deeply"):
        run(deep)


@pytest.mark.parametrize("exports", [{"g": 1}, {"f": 2}])
def test_an_export_that_does_not_exist_or_has_other_parameters_is_refused(exports):
    with pytest.raises(CompileError, match="exported"):
        compile_module("def f(a: u64) -> u64:\n    return a\n", exports, level=0)


def test_the_oracle_refuses_what_the_compiler_refuses():
    with pytest.raises(CompileError):
        run("def f(a: u64) -> u64:\n    return -a\n")
