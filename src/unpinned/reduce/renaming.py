# SPDX-License-Identifier: Apache-2.0
"""Write the paths of a step under other names, in a form that is the same for paths that do the same.

A path is what a step does from its beginning to a goto: its statements, and each branch as an assumption that its
condition is true or false. Two trees with the same paths, up to the order of neighbours that commute, do the same: in
a state in which a path of one can be gone, all its assumptions hold; they hold on its like in the other tree too,
since neighbours that commute see the same values in either order; and a tree has one path at a time. Neighbours
commute if neither writes what the other reads or writes, and, where one is a check,

- it meets an assumption, which has no effect; or
- the other is a check of the same rule, so that the broken state is the same whichever fails first.

What a broken state holds is what was stored before the check, so checks stand still beside stores and choices. Notes
are no part of what a path does, nor are checks of rules that are not promised. Operands of and, or, ==, !=, + and *
are sorted.

Each expression is checked to be one that a renaming goes through: values of a kind are stored, compared for equality
with each other and used as indices of their own dimensions, and nothing else is done with them, unless it comes out
the same for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Local,
    Mark,
    Note,
    Op,
    Set,
    Shared,
    Stmt,
    Wait,
)
from unpinned.ir.rules import LIMIT
from unpinned.reduce.kinds import CPU, GFN, OFFSET, PLAIN, Naming, View

#: A step with more paths than this is not compared: it counts as one that is not symmetric.
MAX_PATHS = 1024


class AsymmetryError(Exception):
    """The program does with values of a kind what a renaming does not go through: `what`."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Assume:
    """The path goes the way of a branch on which `cond` is true, or false."""

    cond: Expr
    holds: bool


Action = Stmt | Assume
#: An element of a variable: whether it is shared, its name, and its index in each dimension (None: any).
Element = tuple[bool, str, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class Item:
    """An action as text: what it reads and writes, and the rule of a check; `pure` ones only let the path go on."""

    text: str
    reads: frozenset[Element]
    writes: frozenset[Element]
    rule: str = ""
    pure: bool = False


#: The paths of a step, each with the place where it goes.
Paths = list[tuple[tuple[Item, ...], int]]


def paths(body: Body, before: tuple[Action, ...] = ()) -> Iterator[tuple[tuple[Action, ...], int]]:
    """Yield every path through a tree, and the place where it goes."""
    before += body.stmts
    if isinstance(body.end, Branch):
        yield from paths(body.end.then, (*before, Assume(body.end.cond, True)))
        yield from paths(body.end.orelse, (*before, Assume(body.end.cond, False)))
    else:
        yield before, body.end.target


def written(view: View, naming: Naming, thread: int, place: int) -> Paths:
    """Write the paths of a step of a thread under new names.

    :raises AsymmetryError: if a renaming does not go through them.
    """
    found = []
    for path, target in paths(view.system.threads[thread].steps[place].body):
        found.append((tuple(_Path(view, naming, thread).items(path, place, target)), target))
        if len(found) > MAX_PATHS:
            raise AsymmetryError("has too many paths to be compared")
    return found


def truth_text(view: View, naming: Naming, thread: int, expr: Expr | None) -> str:
    """Write the truth of an expression of a thread under new names; nothing for None.

    :raises AsymmetryError: if a renaming does not go through it.
    """
    return "" if expr is None else _Path(view, naming, thread).truth(expr)


def same(one: Paths, other: Paths) -> bool:
    """Tell whether two steps have the same paths, up to the order of what commutes."""
    if _texts(one) == _texts(other):
        return True
    return len(one) == len(other) and _form(one) == _form(other)


def _texts(step: Paths) -> list[tuple[list[str], int]]:
    return [([item.text for item in items], target) for items, target in step]


def _form(step: Paths) -> Counter[tuple[tuple[tuple[str, ...], ...], int]]:
    return Counter((_layers(items), target) for items, target in step)


def _layers(items: tuple[Item, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the items in layers, each item in the first one behind all that it does not commute with.

    This is the normal form of Foata: two sequences have the same layers if and only if one becomes the other by
    exchanging neighbours that commute.
    """
    levels: list[int] = []
    layers: list[list[str]] = []
    for i, item in enumerate(items):
        level = 0
        for j in range(i):
            if levels[j] >= level and not _commute(items[j], item):
                level = levels[j] + 1
        levels.append(level)
        if level == len(layers):
            layers.append([])
        layers[level].append(item.text)
    return tuple(tuple(sorted(layer)) for layer in layers)


def _commute(one: Item, other: Item) -> bool:
    if one.rule or other.rule:
        if one.rule and other.rule:
            return one.rule == other.rule
        if not (one.pure or other.pure):
            return False
    return not (_touch(one.writes, other.reads) or _touch(one.writes, other.writes) or _touch(one.reads, other.writes))


def _touch(some: frozenset[Element], others: frozenset[Element]) -> bool:
    """Tell whether two sets of elements may have one in common."""
    return any(
        shared == also_shared
        and name == other
        and all(i is None or j is None or i == j for i, j in zip(index, at, strict=True))
        for shared, name, index in some
        for also_shared, other, at in others
    )


@dataclass(slots=True)
class _Path:
    """Write one path; `renamed` says of each local that is renamed only at some places whether it is so now."""

    view: View
    naming: Naming
    thread: int
    renamed: dict[str, bool] = field(default_factory=dict)
    read: set[Element] = field(default_factory=set)

    def items(self, path: tuple[Action, ...], place: int, target: int) -> Iterator[Item]:
        mine = self.view.locals[self.thread]
        partly = {name: held.at for name, held in mine.items() if held.at is not None}
        self.renamed = {name: place in at for name, at in partly.items()}
        for i, action in enumerate(path):
            after = None
            if isinstance(action, Set | Choose) and isinstance(action.target, Local) and action.target.name in partly:
                name = action.target.name
                after = name, self.becomes(path[i + 1 :], name, action, target in partly[name])
            yield from self.item(action, after)
        for name, at in partly.items():
            if self.renamed[name] != (target in at):
                raise AsymmetryError(f"may leave {_own(name)} set or not")

    def becomes(self, rest: tuple[Action, ...], name: str, action: Set | Choose, at_end: bool) -> bool:
        """Tell whether what is stored in a local is one of the kind; a constant is if it is one at the path's end."""
        if isinstance(action, Choose) or not isinstance(action.value, Const):
            return True
        writes = [later.target for later in rest if isinstance(later, Set | Choose)]
        return at_end and not any(isinstance(target, Local) and target.name == name for target in writes)

    def item(self, action: Action, after: tuple[str, bool] | None) -> Iterator[Item]:
        self.read = set()
        match action:
            case Note():
                return
            case Cover(event):
                yield self.done(f"cover {event}")
            case Mark(pos):
                yield self.done(f"mark {pos.file}:{pos.line}")
            case Assume(cond, holds):
                yield self.done(f"{'if' if holds else 'unless'} {self.truth(cond)}", pure=True)
            case Wait(cond):
                yield self.done(f"wait {self.truth(cond)}")
            case Check(cond, rule, _):
                if rule in self.view.system.promised or rule == LIMIT:
                    yield self.done(f"check {rule} {self.truth(cond)}", rule=rule)
            case Set(target, value):
                # The value is read before the target takes its new type.
                type_ = self.type(target) if after is None else self.stored(target, after)
                text = self.text(value, type_)
                yield self.store(target, text, after)
            case Choose(target, lo, hi, where):
                yield self.choice(target, lo, hi, where, after)

    def done(self, text: str, rule: str = "", pure: bool = False) -> Item:
        """Make an item that stores nothing."""
        return Item(text, frozenset(self.read), frozenset(), rule, pure)

    def stored(self, target: Local | Shared, after: tuple[str, bool]) -> str:
        return self.view.held(self.thread, target).type if after[1] else PLAIN

    def store(self, target: Local | Shared, value: str, after: tuple[str, bool] | None) -> Item:
        name, element = self.element(target)
        if after is not None:
            self.renamed[after[0]] = after[1]
        return Item(f"{name} = {value}", frozenset(self.read), frozenset({element}))

    def choice(self, target: Local, lo: Expr, hi: Expr, where: Expr, after: tuple[str, bool] | None) -> Item:
        held = self.view.held(self.thread, target)
        kind = self.view.kind
        if held.type in kind.types:
            first, last = kind.span(held.type)
            if not (isinstance(lo, Const) and lo.value <= first and isinstance(hi, Const) and hi.value > last):
                raise AsymmetryError("chooses among some of them only")
        bounds = f"{self.text(lo, PLAIN)}..{self.text(hi, PLAIN)}"
        name, element = self.element(target)
        if after is not None:
            self.renamed[after[0]] = after[1]
        return Item(f"choose {name} in {bounds} where {self.truth(where)}", frozenset(self.read), frozenset({element}))

    # ---- expressions

    def type(self, expr: Expr) -> str | None:
        """Return the type of an expression's value; None for a constant, which may be of any."""
        match expr:
            case Const():
                return None
            case Local() | Shared():
                held = self.view.held(self.thread, expr)
                renamed = isinstance(expr, Shared) or self.renamed.get(expr.name, True)
                return held.type if renamed else PLAIN
            case Op("?:", (_, then, orelse)):
                return self.join(then, orelse)
            case Op("+" | "-" | "*" as sign, args):
                types = {type_ for arg in args if (type_ := self.type(arg)) not in (PLAIN, None)}
                if not types:
                    return PLAIN
                if sign == "+" and types == {GFN} and Const(1) in args:
                    return OFFSET
                raise AsymmetryError("computes with their numbers")
        return PLAIN

    def join(self, *exprs: Expr) -> str | None:
        """Return the one type that all of these expressions have."""
        types = {type_ for expr in exprs if (type_ := self.type(expr)) is not None}
        if len(types) > 1:
            raise AsymmetryError("takes one of them for a number")
        return next(iter(types), None)

    def truth(self, expr: Expr) -> str:
        """Write an expression of which only the truth matters."""
        type_ = self.type(expr)
        if type_ is not None and not self.view.kind.fixed(type_, 0):
            raise AsymmetryError("takes one of them for a truth value")
        return self.text(expr, type_)

    def text(self, expr: Expr, type_: str | None) -> str:
        """Write an expression whose value is of a type, under the new names."""
        match expr:
            case Const(value):
                return str(self.naming.value(type_ or PLAIN, value))
            case Local() | Shared():
                self.expect(expr, type_)
                name, element = self.element(expr)
                self.read.add(element)
                return name
            case Op("?:", (cond, then, orelse)):
                return f"(?: {self.truth(cond)} {self.text(then, type_)} {self.text(orelse, type_)})"
            case Op("+" | "-" | "*" as sign, args):
                self.expect(expr, type_)
                inner = GFN if type_ == OFFSET else PLAIN
                # The 1 of `gfn + 1` is a number.
                texts = [self.text(arg, PLAIN if isinstance(arg, Const) else inner) for arg in args]
                return f"({sign} {' '.join(texts if sign == '-' else sorted(texts))})"
            case Op("not", (arg,)):
                self.expect(expr, type_)
                return f"(not {self.truth(arg)})"
            case Op("and" | "or" as sign, _):
                self.expect(expr, type_)
                return f"({sign} {' '.join(sorted({self.truth(arg) for arg in _operands(expr, sign)}))})"
            case Op("==" | "!=" as sign, args):
                self.expect(expr, type_)
                joined = self.join(*args)
                return f"({sign} {' '.join(sorted(self.text(arg, joined) for arg in args))})"
            case Op(sign, (left, right)):
                self.expect(expr, type_)
                return self.order(sign, left, right)
        raise ValueError(f"unknown expression {expr}")

    def expect(self, expr: Expr, type_: str | None) -> None:
        if type_ is not None and self.type(expr) != type_:
            what = "computes the number of a CPU" if type_ == CPU else "takes one of them for a number"
            raise AsymmetryError(what)

    def order(self, sign: str, left: Expr, right: Expr) -> str:
        """Write a comparison by order: of numbers, or one that comes out the same for all of the kind."""
        if {self.type(left), self.type(right)} <= {PLAIN, None}:
            return f"({sign} {self.text(left, PLAIN)} {self.text(right, PLAIN)})"
        (a, b), (c, d) = self.view.interval(self.thread, left), self.view.interval(self.thread, right)
        always = {"<": b < c, "<=": b <= c, ">": a > d, ">=": a >= d}[sign]
        never = {"<": a >= d, "<=": a > d, ">": b <= c, ">=": b < c}[sign]
        if always or never:
            return str(int(always))
        raise AsymmetryError("compares them by order")

    def element(self, ref: Local | Shared) -> tuple[str, Element]:
        """Write a variable with its index, and say which element that is."""
        parts = self.view.indices(self.thread, ref)
        if parts is None:
            raise AsymmetryError(f"reaches {_own(ref.name)} by an index that cannot be split")
        texts: list[str] = []
        index: list[int | None] = []
        for per, part in parts:
            type_ = self.view.kind.dims.get(per, PLAIN)
            texts.append(self.text(part, type_))
            index.append(self.naming.value(type_, part.value) if isinstance(part, Const) else None)
        name = f"{'shared' if isinstance(ref, Shared) else 'own'} {ref.name}[{', '.join(texts)}]"
        return name, (isinstance(ref, Shared), ref.name, tuple(index))


def _operands(expr: Expr, sign: str) -> Iterator[Expr]:
    """Yield the operands of nested ands, or of nested ors."""
    if isinstance(expr, Op) and expr.op == sign:
        for arg in expr.args:
            yield from _operands(arg, sign)
    else:
        yield expr


def _own(name: str) -> str:
    return name.split(".", 1)[-1]
