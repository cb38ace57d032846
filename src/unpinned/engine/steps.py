# SPDX-License-Identifier: Apache-2.0
"""Write the steps of a system as restricted Python: from a packed state to its packed successors.

Each thread becomes one function, which looks at the thread's place and runs through the tree of its step. A path keeps
what it has changed in variables of its own: words of the state under their newest names, locals as plain values; at
its end it writes the words of the successor. Paths are numbered as in check/successors.py, so that both engines tell of
the same lines and events.

    threadN(s, at, out, o, seen)    successors of state s[at:] by one thread, to out[o:]; returns as succ() does
    succ(s, at, out, o, seen)       those of all threads, in order
    moves(v, s, at, out, o, seen)   those of vCPU v
    at_rest(s, at)                  a bit for each vCPU with a fault under way, 0 if an operation is under way

The result is n | flags << 16 | able << 20 | unfinished << 32: how many successors there are, whether a step broke a
rule (RACE) or reached a limit of the model (LIMITED), and for each thread whether it can take a step (one that breaks
counts) and whether it is not done. A step that breaks gives no successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from unpinned.engine.explorer import LIMITED, MAX_THREADS, RACE
from unpinned.engine.packing import Chunk, Field, Packing, Row
from unpinned.ir.bounds import Interval, Name, interval, name_of
from unpinned.ir.liveness import Cell
from unpinned.ir.program import (
    TRUE,
    Body,
    Check,
    Choose,
    Const,
    Cover,
    Expr,
    Goto,
    Leaf,
    Local,
    Mark,
    Op,
    Set,
    Shared,
    Stmt,
    System,
    Wait,
)
from unpinned.ir.rules import LIMIT

_ALL: Final = (1 << 64) - 1
#: What is added to both sides of a comparison in which a side may be negative: values are unsigned here.
_OFFSET: Final = 1 << 32


@dataclass(slots=True)
class _Path:
    """What a path has done: the names of the words, the values of locals, and which locals it has stored in."""

    words: list[str]
    values: dict[Cell, str]
    stored: set[Cell]
    depth: int
    passed: tuple[Cover | Mark, ...] = ()

    def fork(self, deeper: int = 0) -> _Path:
        return _Path(list(self.words), dict(self.values), set(self.stored), self.depth + deeper, self.passed)


@dataclass(slots=True)
class Writer:
    """Write the functions of a system.

    `lines` is the text, `leaves` the paths by number, and no state has more than `most` successors.
    """

    pack: Packing
    bounds: Mapping[Name, Interval]
    coverage: bool
    lines: list[str] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    most: int = 0
    thread: int = 0
    place: int = 0
    names: int = 0
    ways: int = 0

    @property
    def system(self) -> System:
        return self.pack.system

    def write(self) -> None:
        """Write every thread, and succ()."""
        for t in range(len(self.system.threads)):
            self._thread(t)
        self.line(0, "def succ(s: u64p, at: u64, out: u64p, o: u64, seen: u8p) -> u64:")
        self.line(1, "total = 0")
        for t in range(len(self.system.threads)):
            self.line(1, f"r = thread{t}(s, at, out, o, seen)")
            self.line(1, f"o += (r & 65535) * {self.pack.words}")
            self.line(1, f"total = (total + (r & 65535)) | (r & {3 << 16})")
            self.line(1, f"total |= ((r >> 20) & 1) << {20 + t} | ((r >> 32) & 1) << {32 + t}")
        self.line(1, "return total")
        self._rest()

    @property
    def wanted(self) -> int:
        """Return the bits that all states should have (sweeps.py): CPUs can go on, and those that end can end."""
        threads = self.system.threads
        ending = sum(1 << t for t, thread in enumerate(threads) if thread.end is not None)
        return (1 << len(threads)) - 1 | ending << MAX_THREADS

    def _rest(self) -> None:
        """Write moves() and at_rest(), and the numbers that the sweeps need."""
        threads = self.system.threads
        going = [t for t, thread in enumerate(threads) if thread.kind != "op"]
        flags = [(v, self.system.faulting[t]) for v, t in enumerate(going)]
        workers = [v for v, t in enumerate(going) if threads[t].kind == "worker"]
        followed = [(v, flag) for v, flag in flags if isinstance(flag, Shared)]
        self.line(0, f"WANTED = {self.wanted}")
        self.line(0, f"GOING = {len(going)}")
        self.line(0, f"FOLLOWED = {sum(1 << v for v in (*workers, *(v for v, _ in followed)))}")
        self.line(0, "def moves(v: u64, s: u64p, at: u64, out: u64p, o: u64, seen: u8p) -> u64:")
        self.line(1, "match v:")
        for v, t in enumerate(going):
            self.line(2, f"case {v}:")
            self.line(3, f"return thread{t}(s, at, out, o, seen)")
        self.line(2, "case _:")
        self.line(3, "return 0")
        self.line(0, "def at_rest(s: u64p, at: u64) -> u64:")
        for k in range(self.pack.words):
            self.line(1, f"w{k} = s[at + {k}]")
        for t, thread in enumerate(threads):
            if thread.kind == "op":
                part = self.pack.slices[t]
                resting = [part.places[place] for place in (0, len(thread.steps)) if place in part.places]
                away = " and ".join(f"{_extract(part.pc, f'w{part.pc.word}')} != {code}" for code in resting)
                self.line(1, f"if {away}:")
                self.line(2, "return 0")
        for ref in self.system.opened:
            at = self.pack.rows[ref.name].field(ref.index.value if isinstance(ref.index, Const) else 0)
            self.line(1, f"if {_extract(at, f'w{at.word}')} != {at.bias}:")
            self.line(2, "return 0")
        terms = []
        for v, flag in followed:
            at = self.pack.rows[flag.name].field(flag.index.value if isinstance(flag.index, Const) else 0)
            terms.append(f"({_extract(at, f'w{at.word}')} << {v})")
        self.line(1, f"return {' | '.join(terms) or '0'}")

    def _thread(self, t: int) -> None:
        self.thread = t
        part = self.pack.slices[t]
        steps = self.system.threads[t].steps
        self.line(0, f"def thread{t}(s: u64p, at: u64, out: u64p, o: u64, seen: u8p) -> u64:")
        for k in range(self.pack.words):
            self.line(1, f"w{k} = s[at + {k}]")
        self.line(1, "n = 0")
        self.line(1, "able = 0")
        self.line(1, "broken = 0")
        self.line(1, f"unfinished = {1 << 32}")
        self.line(1, f"match {_extract(part.pc, f'w{part.pc.word}')}:")
        most = 0
        for place in range(len(steps)):
            if place not in part.places:
                self._number_leaves(steps[place].body, place, ())
                continue
            self.line(2, f"case {part.places[place]}:")
            if place == self.system.threads[t].end:
                self.line(3, "unfinished = 0")
            self.place, self.ways = place, 0
            words = [f"w{k}" for k in range(self.pack.words)]
            self._body(steps[place].body, _Path(words, {}, set(), 3), 1)
            most = max(most, self.ways)
        self.line(2, "case _:")
        self.line(3, "unfinished = 0")
        self.line(1, "return n | broken << 16 | able << 20 | unfinished")
        self.most += most

    def _number_leaves(self, body: Body, place: int, passed: tuple[Cover | Mark, ...]) -> None:
        """Give numbers to the paths of a step that is never reached."""
        for stmt in body.stmts:
            if isinstance(stmt, Cover | Mark):
                passed += (stmt,)
            elif isinstance(stmt, Check) and self._counts(stmt):
                self.leaves.append(Leaf(self.thread, place, stmt.rule, passed))
        if isinstance(body.end, Goto):
            self.leaves.append(Leaf(self.thread, place, None, passed))
        else:
            self._number_leaves(body.end.then, place, passed)
            self._number_leaves(body.end.orelse, place, passed)

    def _counts(self, check: Check) -> bool:
        return check.rule in self.system.promised or check.rule == LIMIT

    # ---- statements

    def _body(self, body: Body, path: _Path, ways: int) -> None:
        for stmt in body.stmts:
            ways *= self._statement(stmt, path)
        if isinstance(body.end, Goto):
            self.ways += ways
            self._successor(path, body.end.target)
            return
        self.line(path.depth, f"if {self.cond(body.end.cond, path)}:")
        self._body(body.end.then, path.fork(1), ways)
        self.line(path.depth, "else:")
        self._body(body.end.orelse, path.fork(1), ways)

    def _statement(self, stmt: Stmt, path: _Path) -> int:
        """Write one statement; return in how many ways the path goes on at most."""
        match stmt:
            case Cover() | Mark():
                path.passed += (stmt,)
            case Wait(cond):
                self.line(path.depth, f"if {self.cond(cond, path)}:")
                path.depth += 1
            case Set(target, value):
                self._store(target, self.value(value, path), path)
            case Choose(target, lo, hi, where):
                return self._choose(target, lo, hi, where, path)
            case Check() if self._counts(stmt):
                self.line(path.depth, f"if not {self.cond(stmt.cond, path)}:")
                self.line(path.depth + 1, "able = 1")
                self.line(path.depth + 1, f"broken |= {LIMITED if stmt.rule == LIMIT else RACE}")
                self._passed(path, path.depth + 1, stmt.rule)
                self.line(path.depth, "else:")
                path.depth += 1
        return 1

    def _choose(self, target: Local, lo: Expr, hi: Expr, where: Expr, path: _Path) -> int:
        low, high = self.range(lo)[0], self.range(hi)[1]
        name = self.fresh("c")
        bias = max(0, -low, -self.range(hi)[0])  # range() counts from 0 up: values are unsigned here
        first, end = (self._plus(bias, self.value(bound, path)) for bound in (lo, hi))
        self.line(path.depth, f"for {name} in range({first}, {end}):")
        path.depth += 1
        self._store(target, self._plus(-bias, name), path)
        if where != TRUE:
            self.line(path.depth, f"if {self.cond(where, path)}:")
            path.depth += 1
        return max(1, high - low)

    def _store(self, target: Local | Shared, value: str, path: _Path) -> None:
        if isinstance(target, Shared):
            row = self.pack.rows[target.name]
            first, rest = _affine(target.index)
            if rest is None:
                self._store_field(row.field(first), value, path)
            else:
                self._store_element(row, first, rest, value, path)
            return
        name = self.fresh("v")
        self.line(path.depth, f"{name} = {value}")
        first, rest = _affine(target.index)
        if rest is None:
            self._keep((target.name, first), name, path)
            return
        index = self.fresh("i")
        self.line(path.depth, f"{index} = {self._plus(first, self.value(rest, path))}")
        for i in range(self.pack.lay.locals[self.thread][target.name].var.size):
            element = self.fresh("v")
            old = self._local((target.name, i), path)
            self.line(path.depth, f"{element} = {name} if {index} == {i} else {old}")
            self._keep((target.name, i), element, path)

    @staticmethod
    def _keep(cell: Cell, name: str, path: _Path) -> None:
        path.values[cell] = name
        path.stored.add(cell)

    def _store_field(self, at: Field, value: str, path: _Path) -> None:
        name = self.fresh("x")
        cleared = f"({path.words[at.word]} & {_ALL & ~(at.mask << at.shift)})"
        self.line(path.depth, f"{name} = {cleared} | {_shifted(self._plus(at.bias, value), at.shift)}")
        path.words[at.word] = name

    def _store_element(self, row: Row, first: int, rest: Expr, value: str, path: _Path) -> None:
        """Store through an index that is not constant, in whichever word the element stands."""
        index, stored = self.fresh("i"), self.fresh("v")
        self.line(path.depth, f"{stored} = {self._plus(row.bias, value)}")
        self.line(path.depth, f"{index} = {self._plus(first, self.value(rest, path))}")
        chunks = self._chunks(row, first, rest)
        mask = (1 << row.bits) - 1
        for chunk in chunks:
            word, depth = path.words[chunk.word], path.depth
            name, shift = self.fresh("x"), self.fresh("i")
            if len(chunks) > 1:
                self.line(depth, f"{name} = {word}")
                self.line(depth, f"if {index} >= {chunk.first} and {index} < {chunk.first + chunk.count}:")
                depth += 1
            self.line(depth, f"{shift} = {_bit(row, chunk.first, chunk.shift, index)}")
            self.line(depth, f"{name} = ({word} & ~({mask} << {shift})) | ({stored} << {shift})")
            path.words[chunk.word] = name

    def _successor(self, path: _Path, target: int) -> None:
        """Write the end of a path: the words of the successor."""
        part = self.pack.slices[self.thread]
        before, after = part.held[self.place], part.held[target]
        masks = dict.fromkeys(range(self.pack.words), 0)
        added: dict[int, list[str]] = {k: [] for k in masks}

        def put(at: Field, value: str) -> None:
            masks[at.word] |= at.mask << at.shift
            if value != "0":
                added[at.word].append(_shifted(value, at.shift))

        if part.places[target] != part.places[self.place]:
            put(part.pc, str(part.places[target]))
        cells_before = {register: cell for cell, register in before.items()}
        cells_after = {register: cell for cell, register in after.items()}
        for register, at in enumerate(part.registers):
            cell, old = cells_after.get(register), cells_before.get(register)
            if cell is None and old is not None:
                put(at, "0")
            elif cell is not None and (cell != old or cell in path.stored):
                put(at, self._plus(at.bias, self._local(cell, path)))
        depth = path.depth
        for k, mask in masks.items():
            word = path.words[k]
            if mask:
                word = " | ".join([f"({word} & {_ALL & ~mask})", *added[k]])
            self.line(depth, f"out[o + {k}] = {word}")
        self.line(depth, f"o += {self.pack.words}")
        self.line(depth, "n += 1")
        self.line(depth, "able = 1")
        self._passed(path, depth, None)

    def _passed(self, path: _Path, depth: int, broken: str | None) -> None:
        """Give the path its number, and write that it was taken."""
        if self.coverage:
            self.line(depth, f"seen[{len(self.leaves)}] = 1")
        self.leaves.append(Leaf(self.thread, self.place, broken, path.passed))

    # ---- expressions

    def value(self, expr: Expr, path: _Path) -> str:
        """Write an expression as a number, modulo 2**64."""
        match expr:
            case Const(value):
                return str(value & _ALL)
            case Local(name, index):
                return self._read_local(name, index, path)
            case Shared(name, index):
                return self._read_shared(self.pack.rows[name], index, path)
            case Op("+" | "-" | "*" as op, (left, right)):
                return f"({self.value(left, path)} {op} {self.value(right, path)})"
            case Op("?:", (cond, then, orelse)):
                return f"({self.value(then, path)} if {self.cond(cond, path)} else {self.value(orelse, path)})"
        return f"(1 if {self.cond(expr, path)} else 0)"

    def cond(self, expr: Expr, path: _Path) -> str:
        """Write an expression as a truth value."""
        match expr:
            case Const(value):
                return "True" if value else "False"
            case Op("not", (arg,)):
                return f"(not {self.cond(arg, path)})"
            case Op("and" | "or" as op, (left, right)):
                return f"({self.cond(left, path)} {op} {self.cond(right, path)})"
            case Op("==" | "!=" as op, (left, right)):
                return f"({self.value(left, path)} {op} {self.value(right, path)})"
            case Op("<" | "<=" | ">" | ">=" as op, (left, right)):
                least = min(self.range(left)[0], self.range(right)[0])
                offset = _OFFSET if least < 0 else 0
                one, other = (self._plus(offset, self.value(side, path)) for side in (left, right))
                return f"({one} {op} {other})"
        return f"({self.value(expr, path)} != 0)"

    def range(self, expr: Expr) -> Interval:
        """Return bounds of an expression's value."""
        return interval(expr, lambda ref: self.bounds[name_of(ref)])

    def _read_local(self, name: str, index: Expr | None, path: _Path) -> str:
        first, rest = _affine(index)
        if rest is None:
            return self._local((name, first), path)
        at = self._plus(first, self.value(rest, path))
        text = self._local((name, 0), path)
        for i in range(1, self.pack.lay.locals[self.thread][name].var.size):
            text = f"({self._local((name, i), path)} if {at} == {i} else {text})"
        return text

    def _local(self, cell: Cell, path: _Path) -> str:
        """Return the value of a cell: what the path has stored, what the state holds, or the initial value."""
        if cell in path.values:
            return path.values[cell]
        part = self.pack.slices[self.thread]
        register = part.held[self.place].get(cell)
        if register is None:
            return str(self.pack.lay.locals[self.thread][cell[0]].var.init & _ALL)
        at = part.registers[register]
        return self._plus(-at.bias, _extract(at, f"w{at.word}"))

    def _read_shared(self, row: Row, index: Expr | None, path: _Path) -> str:
        first, rest = _affine(index)
        if rest is None:
            at = row.field(first)
            return self._plus(-row.bias, _extract(at, path.words[at.word]))
        element = self._plus(first, self.value(rest, path))
        mask = (1 << row.bits) - 1
        text = ""
        for chunk in self._chunks(row, first, rest):
            read = f"(({path.words[chunk.word]} >> {_bit(row, chunk.first, chunk.shift, element)}) & {mask})"
            text = read if not text else f"({text} if {element} < {chunk.first} else {read})"
        return self._plus(-row.bias, text)

    def _chunks(self, row: Row, first: int, rest: Expr) -> list[Chunk]:
        """Return the chunks of a row that an index may lead to."""
        low, high = (first + bound for bound in self.range(rest))
        return [c for c in row.chunks if c.first <= high and low < c.first + c.count] or [row.chunks[0]]

    @staticmethod
    def _plus(number: int, text: str) -> str:
        """Write a sum with a constant."""
        return text if number == 0 else f"({text} + {number & _ALL})"

    # ---- lines

    def fresh(self, kind: str) -> str:
        """Return a name that the thread's function does not have yet."""
        self.names += 1
        return f"{kind}{self.names}"

    def line(self, depth: int, text: str) -> None:
        """Add a line."""
        self.lines.append("    " * depth + text)


def _extract(at: Field, word: str) -> str:
    return f"(({word} >> {at.shift}) & {at.mask})"


def _shifted(value: str, shift: int) -> str:
    return f"({value} << {shift})" if shift else f"({value})"


def _bit(row: Row, first: int, shift: int, index: str) -> str:
    """Write the lowest bit of the element at `index`, given that element `first` stands at `shift`."""
    return f"(({index} * {row.bits} + {(shift - first * row.bits) & _ALL}) & 63)"


def _affine(index: Expr | None) -> tuple[int, Expr | None]:
    """Split an index into a constant and the rest, None if it is constant."""
    match index:
        case None:
            return 0, None
        case Const(value):
            return value, None
        case Op("+", (left, right)):
            (a, x), (b, y) = _affine(left), _affine(right)
            rest = x if y is None else y if x is None else Op("+", (x, y))
            return a + b, rest
        case Op("*", (left, right)):
            (a, x), (b, y) = _affine(left), _affine(right)
            if x is None and y is None:
                return a * b, None
    return 0, index
