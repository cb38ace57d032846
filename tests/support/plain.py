# SPDX-License-Identifier: Apache-2.0
"""Search systems with a second implementation of what programs mean, written apart from ir/interp.py.

States are nested tuples and a step is run on a dictionary; nothing is packed, and every range is checked.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unpinned.ir.program import (
    Body,
    Check,
    Choose,
    Const,
    Expr,
    Goto,
    Local,
    Op,
    Set,
    Shared,
    System,
    Var,
    Wait,
)

#: The values of every variable: shared ones by name, local ones by (thread, name).
Values = dict[object, tuple[int, ...]]
#: The rule that is broken, the place of each thread, and the values.
State = tuple[str | None, tuple[int, ...], tuple[tuple[int, ...], ...]]

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


class TooManyError(Exception):
    """There are more states than were allowed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is in a system: states, broken ones by rule, and deadlocks."""

    states: int
    broken: Counter[str]
    deadlocks: int


def explore(system: System, at_most: int = 1_000_000) -> Found:
    """Visit every state.

    :raises TooManyError: if there are more than `at_most`.
    """
    variables = _variables(system)
    start: State = (
        None,
        tuple(0 for _ in system.threads),
        tuple((var.init,) * var.size for var in variables.values()),
    )
    seen, todo, broken, deadlocks = {start}, [start], Counter[str](), 0
    while todo:
        state = todo.pop()
        if state[0] is not None:
            broken[state[0]] += 1
            continue
        after = list(_successors(system, variables, state))
        done = [place == thread.done for place, thread in zip(state[1], system.threads, strict=True)]
        if not after and not all(done):
            deadlocks += 1
        for new in after:
            if new not in seen:
                if len(seen) == at_most:
                    raise TooManyError
                seen.add(new)
                todo.append(new)
    return Found(len(seen), broken, deadlocks)


def _successors(system: System, variables: dict[object, Var], state: State) -> Iterator[State]:
    _, places, packed = state
    values = dict(zip(variables, packed, strict=True))
    for i, thread in enumerate(system.threads):
        if places[i] != thread.done:
            for out, end in _run(thread.steps[places[i]].body, values, i, system, variables):
                now = tuple(out.values())
                if isinstance(end, str):
                    yield end, places, now
                else:
                    yield None, (*places[:i], end, *places[i + 1 :]), now


def _variables(system: System) -> dict[object, Var]:
    variables: dict[object, Var] = {var.name: var for var in system.shared}
    for i, thread in enumerate(system.threads):
        variables |= {(i, var.name): var for var in thread.locals}
    return variables


def _run(
    body: Body, values: Values, me: int, system: System, variables: dict[object, Var]
) -> Iterator[tuple[Values, int | str]]:
    """Yield the values after each way of running a body, with the place it goes to or the rule it breaks."""
    if body.stmts:
        first, rest = body.stmts[0], Body(body.stmts[1:], body.end)
        match first:
            case Wait(cond) if not _eval(cond, values, me):
                return
            case Check(cond, rule, _) if rule in system.promised | {"limit"} and not _eval(cond, values, me):
                yield values, rule
                return
            case Set(target, value):
                values = _store(target, _eval(value, values, me), values, me, variables)
            case Choose(target, lo, hi, where):
                chosen = 0
                for number in range(_eval(lo, values, me), _eval(hi, values, me)):
                    after = _store(target, number, values, me, variables)
                    if _eval(where, after, me):
                        chosen += 1
                        yield from _run(rest, after, me, system, variables)
                assert chosen, "nothing to choose from"
                return
        yield from _run(rest, values, me, system, variables)
    elif isinstance(body.end, Goto):
        yield values, body.end.target
    else:
        way = body.end.then if _eval(body.end.cond, values, me) else body.end.orelse
        yield from _run(way, values, me, system, variables)


def _key(ref: Local | Shared, me: int) -> object:
    return ref.name if isinstance(ref, Shared) else (me, ref.name)


def _store(target: Local | Shared, value: int, values: Values, me: int, variables: dict[object, Var]) -> Values:
    key, at = _key(target, me), 0 if target.index is None else _eval(target.index, values, me)
    var, old = variables[key], values[key]
    assert 0 <= at < var.size, f"{target.name}[{at}]"
    assert var.lo <= value <= var.hi, f"{target.name} = {value}"
    return values | {key: (*old[:at], value, *old[at + 1 :])}


def _eval(expr: Expr, values: Values, me: int) -> int:
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Local | Shared):
        at = 0 if expr.index is None else _eval(expr.index, values, me)
        assert at >= 0
        return values[_key(expr, me)][at]
    assert isinstance(expr, Op)
    args = expr.args
    if expr.op == "?:":
        return _eval(args[1] if _eval(args[0], values, me) else args[2], values, me)
    if expr.op in ("and", "or"):
        every = all if expr.op == "and" else any
        return int(every(_eval(arg, values, me) for arg in args))
    if expr.op == "not":
        return int(not _eval(args[0], values, me))
    return int(_OPERATORS[expr.op](_eval(args[0], values, me), _eval(args[1], values, me)))
