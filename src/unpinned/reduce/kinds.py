# SPDX-License-Identifier: Apache-2.0
"""Say which variables hold pages, frames or nothing of the kind, and which dimensions of arrays count them.

This only proposes how a state is to be renamed: reduce/symmetry.py accepts the proposal if the renamed program is the
program itself, so a bad guess here costs a reduction and never a wrong verdict. A value is of one type:

- gfn: a page, 0 .. pages - 1; a higher value is no page and keeps its name
- offset gfn: a page plus one; 0 is no page
- page: a page frame, 1 .. frames; 0 is no frame (the name of the type in ir/program.py; pfn is the same)
- plain: anything else

Fields and locals that are declared as numbers or gfns are of the type of what is stored in them: a field in which
`gfn + 1` is stored is an offset gfn.

A dead local is reset to 0 (ir/liveness.py), and as a gfn 0 is a page. So a local whose initial value is a page is
renamed only at the places where it is live, or where a step may leave a page in it; elsewhere it keeps its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from unpinned.ir.bounds import Interval, Name, bounds, interval, statements
from unpinned.ir.layout import shape
from unpinned.ir.liveness import live_locals
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
    Stmt,
    System,
    Thread,
    Var,
    Wait,
    leaves,
    reads,
)

PLAIN, GFN, OFFSET, FRAME, CPU = "plain", "gfn", "offset gfn", "page", "cpu"

#: What a variable of a declared type holds; numbers hold what is stored in them.
_DECLARED = {"gfn": GFN, "page": FRAME, "pfn": FRAME}
#: The declared types of variables whose values may turn out to be of another type.
_OPEN = frozenset({"int", "gfn"})
#: A variable goes up this list when it is found to hold more than it was thought to.
_ORDER = (PLAIN, GFN, FRAME, OFFSET)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is renamed: `types` are its values, `dims` the dimensions that count it; there are `count`, from `first`."""

    name: str
    dims: Mapping[str, str]
    types: frozenset[str]
    first: int
    count: int

    def fixed(self, type_: str, value: int) -> bool:
        """Tell whether no renaming changes a value."""
        low = self.first + (type_ == OFFSET)
        return type_ not in self.types or not low <= value < low + self.count

    def span(self, type_: str) -> Interval:
        """Return the first and the last value of a type that a renaming changes."""
        low = self.first + (type_ == OFFSET)
        return low, low + self.count - 1


@dataclass(frozen=True, slots=True)
class Naming:
    """A permutation of a kind: `new` has the new name of each that gets one."""

    kind: Kind
    new: Mapping[int, int] = field(default_factory=dict)

    def value(self, type_: str, value: int) -> int:
        """Return the new name of a value."""
        if type_ not in self.kind.types:
            return value
        off = int(type_ == OFFSET)
        return self.new.get(value - off, value - off) + off


def pages(system: System) -> Kind:
    """Return the kind of the pages of a system."""
    return Kind("pages", {"page": GFN}, frozenset({GFN, OFFSET}), 0, dict(system.extents).get("page", 0))


def frames(system: System) -> Kind:
    """Return the kind of its page frames."""
    return Kind("frames", {"frame": FRAME}, frozenset({FRAME}), 1, dict(system.extents).get("frame", 0))


def threads(system: System) -> Kind:
    """Return the kind of its threads."""
    return Kind("threads", {"vcpu": CPU, "cpu": CPU}, frozenset({CPU}), 0, len(system.threads))


@dataclass(frozen=True, slots=True)
class Held:
    """What a variable holds: a type of value, and for a local the places where it is renamed (None: everywhere)."""

    var: Var
    type: str
    dims: tuple[tuple[str, int], ...]
    bounds: Interval
    at: frozenset[int] | None = None


@dataclass(slots=True)
class View:
    """A system as one kind sees it: what is shared, and what each thread holds."""

    system: System
    kind: Kind
    shared: dict[str, Held] = field(default_factory=dict)
    locals: tuple[dict[str, Held], ...] = ()

    def held(self, thread: int, ref: Local | Shared) -> Held:
        """Return what a variable holds that a thread refers to."""
        return self.shared[ref.name] if isinstance(ref, Shared) else self.locals[thread][ref.name]

    def interval(self, thread: int, expr: Expr) -> Interval:
        """Return an interval that holds an expression's value in each state, however it is renamed."""
        return interval(expr, lambda ref: self.held(thread, ref).bounds)

    def indices(self, thread: int, ref: Local | Shared) -> tuple[tuple[str, Expr], ...] | None:
        """Split an index into one expression for each dimension, with what it counts; None if that cannot be done.

        An array that has no dimension of the kind is taken as one of numbers: its index counts nothing.
        """
        held = self.held(thread, ref)
        index = Const(0) if ref.index is None else ref.index
        if not any(per in self.kind.dims for per, _ in held.dims):
            return (("", index),)
        if len(held.dims) == 1:
            return ((held.dims[0][0], index),)
        return _split(index, held.dims, lambda expr: self.interval(thread, expr))


@dataclass(frozen=True, slots=True)
class Views:
    """A system as each kind sees it."""

    pages: View
    frames: View
    threads: View


def views(system: System) -> Views:
    """Look at a system as each kind: guess what its variables hold.

    The bounds of a variable that holds values of a kind take in all of them, in every view: what is concluded from a
    bound holds in a state in which several kinds are renamed.
    """
    limits = bounds(system)
    made = Views(*(_view(system, kind, limits) for kind in (pages(system), frames(system), threads(system))))
    for seen in (made.pages, made.frames, made.threads):
        _widen(seen.shared, made.pages.kind, made.pages.shared)
        _widen(seen.shared, made.frames.kind, made.frames.shared)
        for t, mine in enumerate(seen.locals):
            _widen(mine, made.pages.kind, made.pages.locals[t])
            _widen(mine, made.frames.kind, made.frames.locals[t])
    return made


def view(system: System, kind: Kind) -> View:
    """Look at a system as one kind."""
    made = views(system)
    return {seen.kind.name: seen for seen in (made.pages, made.frames, made.threads)}[kind.name]


def _widen(mine: dict[str, Held], kind: Kind, typed: Mapping[str, Held]) -> None:
    for name, held in mine.items():
        if typed[name].type in kind.types:
            mine[name] = replace(held, bounds=_hull(held.bounds, kind.span(typed[name].type)))


def renamed_bounds(system: System, renamed: Iterable[View]) -> Mapping[Name, Interval]:
    """Return the interval that each variable never leaves in states in which the kinds of these views are renamed."""
    found = dict(bounds(system))
    for seen in renamed:
        for shared, mine in ((True, seen.shared), *((False, own) for own in seen.locals)):
            for name, held in mine.items():
                if held.type in seen.kind.types:
                    found[shared, name] = _hull(found[shared, name], seen.kind.span(held.type))
    return found


def _hull(one: Interval, other: Interval) -> Interval:
    return min(one[0], other[0]), max(one[1], other[1])


def _view(system: System, kind: Kind, limits: Mapping[Name, Interval]) -> View:
    made = View(system, kind)
    extents = dict(system.extents)

    def held(shared: bool, var: Var) -> Held:
        type_ = _DECLARED.get(var.type, PLAIN)
        type_ = type_ if type_ in kind.types else PLAIN
        return Held(var, type_, shape(var, extents), limits[shared, var.name])

    made.shared = {var.name: held(True, var) for var in system.shared}
    made.locals = tuple({var.name: held(False, var) for var in thread.locals} for thread in system.threads)
    if kind.types & set(_ORDER):
        _infer(made)
        for t, thread in enumerate(system.threads):
            _place(made, t, thread)
    return made


# ---- what numbers hold -------------------------------------------------------------------------------------------


def _infer(made: View) -> None:
    """Find the types of numbers by what is stored in them, compared with them and indexed by them."""
    changed = True
    while changed:
        changed = False
        for t, thread in enumerate(made.system.threads):
            for step in thread.steps:
                for ref, type_ in _uses(made, t, step.body):
                    changed |= _raise(made, t, ref, type_)


def _raise(made: View, thread: int, ref: Local | Shared, type_: str) -> bool:
    """Note that a variable holds values of a type; tell whether that is new."""
    held = made.held(thread, ref)
    if held.var.type not in _OPEN or _ORDER.index(type_) <= _ORDER.index(held.type):
        return False
    where = made.shared if isinstance(ref, Shared) else made.locals[thread]
    where[ref.name] = replace(held, type=type_)
    return True


def _uses(made: View, thread: int, body: Body) -> Iterator[tuple[Local | Shared, str]]:
    """Yield each variable that a tree uses as a type of the kind."""
    exprs: list[Expr] = []
    for stmt in statements(body):
        exprs += expressions(stmt)
        if isinstance(stmt, Set):
            type_ = rough_type(made, thread, stmt.value)
            if type_ != PLAIN:
                yield stmt.target, type_
    exprs += conditions(body)
    for expr in exprs:
        for ref in reads(expr):
            yield from _indexed(made, thread, ref)
        yield from _compared(made, thread, expr)


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """Return the expressions of a statement, its target first."""
    match stmt:
        case Set(target, value):
            return target, value
        case Choose(target, lo, hi, where):
            return target, lo, hi, where
        case Wait(cond) | Check(cond, _, _):
            return (cond,)
    return ()


def conditions(body: Body) -> Iterator[Expr]:
    """Yield the conditions of a tree's branches."""
    if not isinstance(body.end, Goto):
        yield body.end.cond
        yield from conditions(body.end.then)
        yield from conditions(body.end.orelse)


def _indexed(made: View, thread: int, ref: Local | Shared) -> Iterator[tuple[Local | Shared, str]]:
    for per, part in made.indices(thread, ref) or ():
        if per in made.kind.dims and isinstance(part, Local | Shared):
            yield part, made.kind.dims[per]


def _compared(made: View, thread: int, expr: Expr) -> Iterator[tuple[Local | Shared, str]]:
    if not isinstance(expr, Op):
        return
    if expr.op in ("==", "!="):
        for one, other in (expr.args, expr.args[::-1]):
            type_ = rough_type(made, thread, other)
            if isinstance(one, Local | Shared) and type_ != PLAIN:
                yield one, type_
    for arg in expr.args:
        yield from _compared(made, thread, arg)


def rough_type(made: View, thread: int, expr: Expr) -> str:
    """Return what an expression seems to hold; a constant is plain."""
    match expr:
        case Local() | Shared():
            return made.held(thread, expr).type
        case Op("+", (one, Const(1))) | Op("+", (Const(1), one)):
            return OFFSET if rough_type(made, thread, one) == GFN else PLAIN
        case Op("?:", (_, then, orelse)):
            return max(rough_type(made, thread, then), rough_type(made, thread, orelse), key=_ORDER.index)
    return PLAIN


# ---- where a local is renamed ------------------------------------------------------------------------------------


def _place(made: View, t: int, thread: Thread) -> None:
    """Find the places at which locals are renamed whose initial value is one of the kind."""
    mine = made.locals[t]
    live = live_locals(thread)
    ways = [(place, way) for place in reachable(thread) for way in leaves(thread.steps[place].body)]
    for name, held in mine.items():
        if held.type not in made.kind.types or held.var.size > 1 or made.kind.fixed(held.type, held.var.init):
            continue
        at = {place for place, names in enumerate(live) if name in names}
        before = -1
        while len(at) != before:
            before = len(at)
            at |= {goto.target for place, (path, goto) in ways if _left(path, name, place in at)}
        mine[name] = replace(held, at=frozenset(at))


def reachable(thread: Thread) -> list[int]:
    """Return the places of steps at which a thread can ever stand, as far as its gotos tell."""
    found, seen = [0], {0}
    for place in found:
        for _, goto in leaves(thread.steps[place].body):
            if goto.target not in seen and goto.target < len(thread.steps):
                seen.add(goto.target)
                found.append(goto.target)
    return sorted(found)


def _left(path: tuple[Stmt, ...], name: str, before: bool) -> bool:
    """Tell whether a path may leave one of the kind in a local, which it found so or not `before`."""
    for stmt in reversed(path):
        if isinstance(stmt, Set | Choose) and isinstance(stmt.target, Local) and stmt.target.name == name:
            return not (isinstance(stmt, Set) and isinstance(stmt.value, Const))
    return before


# ---- indices -----------------------------------------------------------------------------------------------------


def _split(
    index: Expr, dims: tuple[tuple[str, int], ...], within: Callable[[Expr], Interval]
) -> tuple[tuple[str, Expr], ...] | None:
    """Split the index of an array of several dimensions, if each part surely stays in its dimension.

    Such a split is the only one: the parts are the digits of the index.
    """
    terms = _terms(index, 1)
    constant = sum(by for by, term in terms if term is None)
    left = [(by, term) for by, term in terms if term is not None]
    parts: list[tuple[str, Expr]] = []
    stride = 1
    for per, extent in reversed(dims):
        part: Expr = Const(constant // stride % extent)
        for by, term in list(left):
            if by == stride and _fits(within(term), extent):
                part = term if part == Const(0) else Op("+", (term, part))
                left.remove((by, term))
        if not _fits(within(part), extent):
            return None
        parts.append((per, part))
        stride *= extent
    return tuple(reversed(parts)) if not left and 0 <= constant < stride else None


def _fits(values: Interval, extent: int) -> bool:
    return values[0] >= 0 and values[1] < extent


def _terms(expr: Expr, by: int) -> list[tuple[int, Expr | None]]:
    """Return a sum as its terms, each with its factor; a constant is the term None with its value for a factor."""
    match expr:
        case Const(value):
            return [(by * value, None)]
        case Op("+", (left, right)):
            return _terms(left, by) + _terms(right, by)
        case Op("*", (inner, Const(factor))) | Op("*", (Const(factor), inner)):
            return _terms(inner, by * factor)
    return [(by, expr)]
