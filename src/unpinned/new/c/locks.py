# SPDX-License-Identifier: Apache-2.0
"""Turn calls that take and drop locks into blocks that hold them, and change no order on the way.

Every path does what it did: where the paths of a choice drop a lock at different places, what follows is copied into
both; a loop that is entered with a lock held, drops it and takes it again is turned, so that it begins where the lock
is dropped. What has no such form is left out, and told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unpinned.new.c.shape import (
    Block,
    Code,
    Gap,
    If,
    Leave,
    Lock,
    Loop,
    Stmt,
    Unlock,
    With,
    everything,
    falls_through,
    own,
    rewritten,
)

_MOST_STATEMENTS = 4000
#: How often each lock is held where control leaves a block on a path; a lock that is dropped too often is below 0.
_Held = dict[str, int]
#: What is done behind a `with` by those who have set a flag in it.
_Exits = list[tuple[str, Block]]


class _FormlessError(Exception):
    """A lock that no blocks can hold as the code does; None for all of them, where a function grows too large."""

    def __init__(self, field: str | None) -> None:
        super().__init__(field)
        self.field = field


def with_blocks(body: Block) -> Block:
    """Return the complete body of a function with its locks as blocks; those that have no such form become gaps."""
    for field in sorted(_dropped_first(body)):
        body = (Lock(field, _side(body, field), 0), *body)
    while True:
        try:
            return _Blocks().block(body)
        except _FormlessError as error:
            body = rewritten(body, _left_out(error.field))


def without(body: Block, fields: set[str]) -> Block:
    """Return a body in which some locks are gaps."""
    for field in sorted(fields):
        body = rewritten(body, _left_out(field))
    return body


def balance(body: Block) -> bool:
    """Say whether every lock of a complete body is taken before it is dropped, and dropped on every way out."""
    ends: list[_Held] = []
    _follow(body, {}, ends, [], [])
    return not _dropped_first(body) and all(not held for held in ends)


def _left_out(field: str | None) -> Callable[[Stmt], Block | None]:
    """Return the change that makes gaps of what is done with a lock, or with all of them."""

    def change(stmt: Stmt) -> Block | None:
        match stmt:
            case Lock(field=name, line=line, got=got) if field in (name, None):
                what = f"takes {name}, and that cannot be said by `with`"
                return (Gap(line, what), *((Code(f"{got} = True", line),) if got else ())) if line else ()
            case Unlock(field=name, line=line) if field in (name, None):
                return (Gap(line, f"drops {name}"),)
            case _:
                return None

    return change


def _side(body: Block, field: str) -> str:
    """Return the side of a lock that a function takes elsewhere."""
    return next((stmt.side for stmt in everything(body) if isinstance(stmt, Lock) and stmt.field == field), "")


def _dropped_first(body: Block) -> set[str]:
    """Return the locks that some path drops before it has taken them."""
    low: list[str] = []
    _follow(body, {}, [], [], low)
    return set(low)


def _follow(
    body: Block, held: _Held, ends: list[_Held], leaves: list[tuple[str, _Held]], low: list[str]
) -> _Held | None:
    """Return what is held at the end of a block, or None if that is not reached.

    `ends` is given what is held at each `return`, `leaves` at each `break` and `continue` of this loop, and `low` the
    locks that are dropped below what was held. Where paths differ, the one that goes on with more is followed.
    """
    held = dict(held)
    for stmt in body:
        match stmt:
            case Lock(field=field):
                held[field] = held.get(field, 0) + 1
            case Unlock(field=field):
                held[field] = held.get(field, 0) - 1
                low += [field] if held[field] < 0 else []
            case Leave(kind="return"):
                ends.append(_some(held))
                return None
            case Leave(kind=kind):
                leaves.append((kind, _some(held)))
                return None
            case If():
                both = [_follow(branch, held, ends, leaves, low) for branch in (stmt.then, stmt.other)]
                on = [one for one in both if one is not None]
                if not on:
                    return None
                held = _most(on)
            case Loop():
                inner: list[tuple[str, _Held]] = []
                _follow(stmt.body, held, ends, inner, low)
                going: list[_Held] = [one for kind, one in inner if kind == "break"]
                going += [held] if stmt.head != "while True" else []
                if not going:
                    return None
                held = _most(going)
            case _:
                pass
    return _some(held)


def _most(going: list[_Held]) -> _Held:
    """Return what the path holds that holds most."""
    totals = [sum(held.values()) for held in going]
    return dict(going[totals.index(max(totals))])


def _some(held: _Held) -> _Held:
    """Return the locks that are held."""
    return {field: count for field, count in held.items() if count}


def _is_uneven(stmt: Stmt) -> bool:
    """Say whether a choice or a loop ends with other locks held than it began with, on some path that goes on."""
    match stmt:
        case If():
            both = [_follow(branch, {}, [], [], []) for branch in (stmt.then, stmt.other)]
            return any(one for one in both if one is not None)
        case Loop():
            leaves: list[tuple[str, _Held]] = []
            _follow(stmt.body, {}, [], leaves, [])
            return any(held for _, held in leaves)
        case _:
            return False


def _drops(stmt: Stmt, field: str) -> bool:
    """Say whether a choice or a loop drops a lock that it has not taken."""
    return field in _dropped_first((stmt,))


class _Blocks:
    """One function, while its locks become blocks."""

    def __init__(self) -> None:
        self._size = 0
        self._flags = 0

    def block(self, stmts: Block) -> Block:
        """Return statements with blocks; what stands at the end of a list is complete wherever a lock needs that."""
        out: list[Stmt] = []
        rest = list(stmts)
        while rest:
            stmt = rest.pop(0)
            self._count()
            match stmt:
                case Lock():
                    before, held, after = self._held(stmt, tuple(rest))
                    out += [*before, held]
                    rest = list(after)
                case Unlock(field=field):
                    raise _FormlessError(field)
                case If() if _is_uneven(stmt):
                    stmt = _spread(stmt, tuple(rest))
                    out.append(replace(stmt, then=self.block(stmt.then), other=self.block(stmt.other)))
                    rest = []
                case If():
                    out.append(replace(stmt, then=self.block(stmt.then), other=self.block(stmt.other)))
                case Loop() if _is_uneven(stmt):
                    rest = [_evened(stmt, tuple(rest))]
                case Loop():
                    out.append(replace(stmt, body=self.block(stmt.body)))
                case _:
                    out.append(stmt)
        return tuple(out)

    def _held(self, lock: Lock, rest: Block) -> tuple[list[Stmt], With, Block]:
        """Return what stands before a `with`, the `with`, and what is still to be done behind it."""
        inside, exits, after = self._region(rest, lock)
        flags: list[Stmt] = [Code(f"{flag} = False", 0) for flag, _ in exits]
        behind = after or ()
        for flag, done in reversed(exits):
            behind = (If(flag, 0, done, behind),) if falls_through(done) else (If(flag, 0, done), *behind)
        return flags, With(lock, inside), behind

    def _region(self, stmts: Block, lock: Lock) -> tuple[Block, _Exits, Block | None]:
        """Return what is done while a lock is held, what is done after it by those who set a flag, and by all others.

        Both of the latter have the other locks still as calls. The last is None if there are no others.
        """
        out: list[Stmt] = []
        rest = list(stmts)
        while rest:
            stmt = rest.pop(0)
            self._count()
            match stmt:
                case Unlock(field=field) if field == lock.field:
                    return tuple(out), [], tuple(rest)
                case Unlock(field=field):
                    raise _FormlessError(field)
                case Lock():
                    before, held, after = self._held(stmt, tuple(rest))
                    out += [*before, held]
                    rest = list(after)
                case Leave(kind="return", note="") if lock.line and not lock.got:
                    note = f"GAP line {stmt.line}: returns with {lock.field} held"
                    return (*out, replace(stmt, note=note)), [], None
                case Leave():
                    return (*out, stmt), [], None
                case If() if _is_uneven(stmt) or _drops(stmt, lock.field):
                    choice, exits, behind = self._choice(_spread(stmt, tuple(rest)), lock)
                    return (*out, choice), exits, behind
                case If():
                    out.append(replace(stmt, then=self.block(stmt.then), other=self.block(stmt.other)))
                case Loop() if _is_uneven(stmt):
                    rest = [_evened(stmt, tuple(rest))]
                case Loop() if _drops(stmt, lock.field):
                    if turned := _turned(_ended(stmt, tuple(rest)), lock):
                        first, loop = turned
                        return (*out, *self.block(first)), [], (loop,)
                    inside, exits, behind = self._region(stmt.body, lock)
                    if exits or behind is not None:
                        raise _FormlessError(lock.field)
                    out.append(replace(stmt, body=inside))
                case Loop():
                    out.append(replace(stmt, body=self.block(stmt.body)))
                case _:
                    out.append(stmt)
        return tuple(out), [], None

    def _choice(self, stmt: If, lock: Lock) -> tuple[If, _Exits, Block | None]:
        """Return a choice whose branches end the region of a lock: what is done while it is held, and the rest."""
        if lock.got and stmt.cond in (lock.got, f"not {lock.got}"):
            without_it = stmt.other if stmt.cond == lock.got else stmt.then
            if lock.field in _dropped_first(without_it):
                raise _FormlessError(lock.field)
        then, then_exits, then_after = self._branch(stmt.then, lock)
        other, other_exits, other_after = self._branch(stmt.other, lock)
        exits = [*then_exits, *other_exits]
        if then_after is None or other_after is None or then_after == other_after:
            after = other_after if then_after is None else then_after
            return replace(stmt, then=then, other=other), exits, after
        flag = self._flag(stmt.line)
        then = (*then, Code(f"{flag} = True", 0))
        return replace(stmt, then=then, other=other), [*exits, (flag, then_after)], other_after

    def _branch(self, stmts: Block, lock: Lock) -> tuple[Block, _Exits, Block | None]:
        """Return a branch as a region; where nothing but a plain way out is left, it is taken into the block."""
        inside, exits, after = self._region(stmts, lock)
        if not exits and after is not None and len(after) == 1 and isinstance(after[0], Leave) and after[0].is_plain:
            return (*inside, after[0]), [], None
        return inside, exits, after

    def _flag(self, line: int) -> str:
        """Return the name of a new local."""
        self._flags += 1
        return f"out_{line}" if self._flags == 1 else f"out_{line}_{self._flags}"

    def _count(self) -> None:
        self._size += 1
        if self._size > _MOST_STATEMENTS:
            raise _FormlessError(None)


def _spread(stmt: If, rest: Block) -> If:
    """Return a choice with what follows copied into its branches, where these go on."""
    then = stmt.then + (rest if falls_through(stmt.then) else ())
    return replace(stmt, then=then, other=stmt.other + (rest if falls_through(stmt.other) else ()))


def _evened(loop: Loop, rest: Block) -> Loop:
    """Return a loop that goes round with the locks that it was entered with, each `break` followed up.

    :raises _FormlessError: if it does not.
    """
    loop = _ended(loop, rest)
    if _is_uneven(loop):
        raise _FormlessError(_fields(loop)[0])
    return loop


def _ended(loop: Loop, rest: Block) -> Loop:
    """Return a loop with each `break` replaced by what follows the loop.

    :raises _FormlessError: if that does not end with `return`: in a loop round this one `continue` would be of another.
    """
    breaks = any(isinstance(one, Leave) and one.kind == "break" for one in own(loop.body))
    if loop.head == "while True" and not breaks:
        return loop
    around = any(isinstance(stmt, Leave) and stmt.kind != "return" for stmt in own(rest))
    if loop.head != "while True" or around or falls_through(rest):
        raise _FormlessError(_fields(loop)[0])

    def change(stmt: Stmt) -> Block | None:
        return rest if isinstance(stmt, Leave) and stmt.kind == "break" else None

    return replace(loop, body=rewritten(loop.body, change, into_loops=False))


def _fields(loop: Loop) -> list[str]:
    """Return the locks that are taken or dropped in a loop."""
    return [stmt.field for stmt in everything(loop.body) if isinstance(stmt, Lock | Unlock)]


def _turned(loop: Loop, lock: Lock) -> tuple[Block, Loop] | None:
    """Return what a loop does before it drops a lock, and the loop from there on, with that part at its end.

    None if the lock is not dropped at the top level of the loop.

    :raises _FormlessError: if another lock is held where that one is dropped.
    """
    for place, stmt in enumerate(loop.body):
        if isinstance(stmt, Unlock) and stmt.field == lock.field:
            first = loop.body[:place]
            if not falls_through(first) or any(isinstance(one, Leave) for one in own(first)):
                return None
            if held := _follow(first, {}, [], [], []):  # by that part alone, and dropped behind it
                raise _FormlessError(next(iter(held)))
            again = (*first, stmt)

            def change(inner: Stmt, again: Block = again) -> Block | None:
                return (*again, inner) if isinstance(inner, Leave) and inner.kind == "continue" else None

            return first, replace(loop, body=rewritten(loop.body[place + 1 :], change, into_loops=False))
        if _drops(stmt, lock.field):
            return None
    return None
