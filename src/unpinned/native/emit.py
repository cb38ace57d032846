# SPDX-License-Identifier: Apache-2.0
"""Write a function of the typed tree as LLVM IR, as text: one pass, one line for each instruction.

Locals are stack slots in the entry block, which LLVM turns into registers. Values are numbered as they are written,
so an instruction must be written at once when its number is taken. Operands are evaluated left to right, as in Python.

Nothing that is written has undefined behaviour, whatever the numbers are: shifts and divisions are guarded (see
`check`), arithmetic wraps, addresses are computed without `inbounds`, loops may run for ever (no `mustprogress`). The
exceptions are those of every such program: addresses that do not exist, are not aligned, or are written by one thread
and read or written by another without the intrinsics. `select` is used for a choice or for and/or only if the operand
that Python would not evaluate is a few pure instructions; otherwise there are branches.
"""

from __future__ import annotations

from collections.abc import Iterable

from unpinned.native.tree import (
    WIDTHS,
    Assign,
    Binary,
    Break,
    Call,
    Choice,
    Compare,
    Const,
    Continue,
    Do,
    Expr,
    For,
    Function,
    If,
    Intrinsic,
    Load,
    Local,
    Logic,
    Not,
    Return,
    Stmt,
    Store,
    Switch,
    Type,
    Update,
    While,
)

#: How LLVM spells each type.
LLVM = {Type.U64: "i64", Type.BOOL: "i1"} | dict.fromkeys(WIDTHS, "ptr")
_ZERO = {Type.U64: "0", Type.BOOL: "false"} | dict.fromkeys(WIDTHS, "null")

#: At most so many nodes are evaluated that Python would not evaluate.
_SPECULATED = 8


class Emitter:
    """Writer of one function; `block` is the label of the block that is being written, "" after its end."""

    #: Parameters and arguments that every function has before its own.
    hidden = ""
    #: Operations that are not worth their time, or not harmless, where Python would not evaluate them.
    guarded = frozenset({"udiv", "urem"})

    def __init__(self, function: Function, prefix: str = "py.", attributes: str = "") -> None:
        self.function = function
        self.prefix = prefix
        self.attributes = attributes
        self.lines: list[str] = []
        self.result = LLVM[function.result]
        self.values = 0
        self.labels = 0
        self.block = "entry"
        self.loops: list[tuple[str, str]] = []

    def text(self) -> list[str]:
        """Return the lines of the function's definition."""
        names = list(self.function.types)
        types = self.function.types
        params = names[: len(self.function.params)]
        listed = [self.hidden, *(f'{LLVM[types[name]]} %"a.{name}"' for name in params)]
        head = f'define internal {self.result} @"{self.prefix}{self.function.name}"({joined(listed)})'
        self.lines += [f"{head} nounwind {self.attributes} {{", "entry:"]
        self.lines += [f'%"v.{name}" = alloca {LLVM[types[name]]}' for name in names]
        self.lines += [f'store {LLVM[types[name]]} %"a.{name}", ptr %"v.{name}"' for name in params]
        self.body(self.function.body)
        if self.block:
            self.lines += ["call void @llvm.trap()", "unreachable"]
        self.lines.append("}")
        return self.lines

    # ---- blocks

    def make(self, instruction: str) -> str:
        """Write an instruction that has a value, and return the value."""
        name = f"%{self.values}"
        self.values += 1
        self.lines.append(f"{name} = {instruction}")
        return name

    def label(self, what: str) -> str:
        """Return a new label."""
        self.labels += 1
        return f"{what}{self.labels}"

    def place(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def go(self, label: str) -> None:
        """End the block, if it has not ended, by a jump."""
        if self.block:
            self.lines.append(f"br label %{label}")
            self.block = ""

    def branch(self, cond: Expr, yes: str, no: str) -> None:
        """End the block by jumps to `yes` or `no`; `and`, `or` and `not` become jumps of their own."""
        match cond:
            case Logic(every=every, values=values):
                for value in values[:-1]:
                    more = self.label("more")
                    self.branch(value, more if every else yes, no if every else more)
                    self.place(more)
                self.branch(values[-1], yes, no)
            case Not(value=value):
                self.branch(value, no, yes)
            case _:
                self.lines.append(f"br i1 {self.value(cond)}, label %{yes}, label %{no}")
                self.block = ""

    # ---- statements

    def body(self, stmts: list[Stmt]) -> None:
        """Write statements until one ends the block: nothing after it is reached."""
        for stmt in stmts:
            if not self.block:
                return
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        """Write one statement."""
        match stmt:
            case Assign(name=name, value=value):
                made = self.value(value)
                self.lines.append(f'store {LLVM[value.type]} {made}, ptr %"v.{name}"')
            case Store(pointer=pointer, index=index, value=value, line=line):
                made = self.value(value)
                address = self.address(pointer, index, line, "store")
                self.store(pointer, address, made)
            case Update(pointer=pointer, index=index, op=op, value=value, line=line):
                address = self.address(pointer, index, line, "load")
                old = self.load(pointer, address)
                self.store(pointer, address, self.operate("i64", op, old, value, line))
            case If():
                self.choose(stmt)
            case While():
                self.loop(stmt)
            case For():
                self.count(stmt)
            case Switch():
                self.switch(stmt)
            case Break():
                self.go(self.loops[-1][1])
            case Continue():
                self.go(self.loops[-1][0])
            case Return(value=value):
                made = self.value(value)
                self.lines.append(f"ret {LLVM[value.type]} {made}")
                self.block = ""
            case Do(call=call):
                self.value(call)

    def choose(self, stmt: If) -> None:
        """Write an `if`."""
        end = self.label("end")
        for cond, body in stmt.arms:
            yes, no = self.label("then"), self.label("else")
            self.branch(cond, yes, no)
            self.place(yes)
            self.body(body)
            self.go(end)
            self.place(no)
        self.body(stmt.orelse)
        self.go(end)
        self.place(end)

    def loop(self, stmt: While) -> None:
        """Write a `while`."""
        head, inside, end = self.label("loop"), self.label("body"), self.label("end")
        self.go(head)
        self.place(head)
        if stmt.cond is None:
            self.go(inside)
        else:
            self.branch(stmt.cond, inside, end)
        self.place(inside)
        self.round(stmt.body, head, end)
        self.place(end)

    def round(self, body: list[Stmt], again: str, end: str) -> None:
        """Write a loop's body, which `break` leaves for `end`, and `continue` and its end for `again`."""
        self.loops.append((again, end))
        self.body(body)
        self.loops.pop()
        self.go(again)

    def count(self, stmt: For) -> None:
        """Write a `for`: the counter is a value of its own, so the body may assign the local."""
        start, stop = self.value(stmt.start), self.value(stmt.stop)
        head, inside, step, end = self.label("for"), self.label("body"), self.label("step"), self.label("end")
        before = self.block
        self.go(head)
        self.place(head)
        counter = self.make(f"phi i64 [ {start}, %{before} ], [ %n.{step}, %{step} ]")
        more = self.make(f"icmp ult i64 {counter}, {stop}")
        self.lines.append(f"br i1 {more}, label %{inside}, label %{end}")
        self.place(inside)
        self.lines.append(f'store i64 {counter}, ptr %"v.{stmt.name}"')
        self.round(stmt.body, step, end)
        self.place(step)
        self.lines.append(f"%n.{step} = add nuw i64 {counter}, 1")
        self.go(head)
        self.place(end)

    def switch(self, stmt: Switch) -> None:
        """Write a `match`."""
        subject = self.value(stmt.subject)
        end, default = self.label("end"), self.label("default")
        labels = [self.label("case") for _ in stmt.cases]
        targets = [
            f"i64 {_signed(number)}, label %{label}"
            for label, (numbers, _) in zip(labels, stmt.cases, strict=True)
            for number in numbers
        ]
        self.lines.append(f"switch i64 {subject}, label %{default} [ {' '.join(targets)} ]")
        for label, (_, body) in zip(labels, stmt.cases, strict=True):
            self.place(label)
            self.body(body)
            self.go(end)
        self.place(default)
        self.body(stmt.default)
        self.go(end)
        self.place(end)

    # ---- expressions

    def value(self, expr: Expr) -> str:
        """Write what computes an expression, and return its value."""
        match expr:
            case Const(type=Type.BOOL, value=number):
                return "true" if number else "false"
            case Const(value=number):
                return _signed(number)
            case Local(type=type_, name=name):
                return self.make(f'load {LLVM[type_]}, ptr %"v.{name}"')
            case Binary():
                return self.binary(expr)
            case Compare(op=op, left=left, right=right):
                first, second = self.value(left), self.value(right)
                return self.make(f"icmp {op} {LLVM[left.type]} {first}, {second}")
            case Load(pointer=pointer, index=index, line=line):
                return self.load(pointer, self.address(pointer, index, line, "load"))
            case Not(value=value):
                return self.make(f"xor i1 {self.value(value)}, true")
            case Logic():
                return self.logic(expr)
            case Choice():
                return self.choice(expr)
            case Call():
                return self.call(expr)
        assert isinstance(expr, Intrinsic)
        return self.intrinsic(expr)

    def binary(self, expr: Binary) -> str:
        """Write operators; a long row of them, as in `a | b | c | ...`, without recursion."""
        chain = [expr]
        while isinstance(chain[-1].left, Binary):
            chain.append(chain[-1].left)
        value = self.value(chain[-1].left)
        for link in reversed(chain):
            value = self.operate(LLVM[link.type], link.op, value, link.right, link.line)
        return value

    def operate(self, type_: str, op: str, left: str, right: Expr, line: int) -> str:
        """Write one operator: the left operand is there, the right one is written now."""
        if op in {"shl", "lshr"}:
            return self.shift(op, left, right, line)
        if op in {"udiv", "urem"}:
            return self.divide(op, left, right, line)
        return self.make(f"{op} {type_} {left}, {self.value(right)}")

    def shift(self, op: str, left: str, right: Expr, line: int) -> str:
        """Write a shift, which gives 0 if the amount is 64 or more."""
        amount = self.value(right)
        if _below_64(right):
            return self.make(f"{op} i64 {left}, {amount}")
        fits = self.make(f"icmp ult i64 {amount}, 64")
        self.require(fits, line, "shift", amount)
        shifted = self.make(f"{op} i64 {left}, {amount}")
        return self.make(f"select i1 {fits}, i64 {shifted}, i64 0")

    def divide(self, op: str, left: str, right: Expr, line: int) -> str:
        """Write a division, which by zero gives 0, or the remainder, which is then the left operand."""
        divisor = self.value(right)
        if isinstance(right, Const) and right.value:
            return self.make(f"{op} i64 {left}, {divisor}")
        some = self.make(f"icmp ne i64 {divisor}, 0")
        self.require(some, line, "division", "0")
        safe = self.make(f"select i1 {some}, i64 {divisor}, i64 1")
        result = self.make(f"{op} i64 {left}, {safe}")
        return self.make(f"select i1 {some}, i64 {result}, i64 {'0' if op == 'udiv' else left}")

    def logic(self, expr: Logic) -> str:
        """Write `and` or `or` as a value."""
        stop = "false" if expr.every else "true"
        if _left(expr.values[1:], self.guarded, _SPECULATED) >= 0:
            value = self.value(expr.values[0])
            for operand in expr.values[1:]:
                other = self.value(operand)
                two = f"i1 {other}, i1 false" if expr.every else f"i1 true, i1 {other}"
                value = self.make(f"select i1 {value}, {two}")
            return value
        end = self.label("end")
        ways = []
        for operand in expr.values[:-1]:
            more = self.label("more")
            value = self.value(operand)
            ways.append(f"[ {stop}, %{self.block} ]")
            yes, no = (more, end) if expr.every else (end, more)
            self.lines.append(f"br i1 {value}, label %{yes}, label %{no}")
            self.place(more)
        ways.append(f"[ {self.value(expr.values[-1])}, %{self.block} ]")
        self.go(end)
        self.place(end)
        return self.make(f"phi i1 {', '.join(ways)}")

    def choice(self, expr: Choice) -> str:
        """Write `a if c else b`."""
        type_ = LLVM[expr.type]
        if _left([expr.then, expr.orelse], self.guarded, _SPECULATED) >= 0:
            cond, then, orelse = self.value(expr.cond), self.value(expr.then), self.value(expr.orelse)
            return self.make(f"select i1 {cond}, {type_} {then}, {type_} {orelse}")
        yes, no, end = self.label("then"), self.label("else"), self.label("end")
        self.branch(expr.cond, yes, no)
        ways = []
        for label, arm in ((yes, expr.then), (no, expr.orelse)):
            self.place(label)
            ways.append(f"[ {self.value(arm)}, %{self.block} ]")
            self.go(end)
        self.place(end)
        return self.make(f"phi {type_} {', '.join(ways)}")

    def call(self, expr: Call) -> str:
        """Write a call of a function of the module."""
        args = [f"{LLVM[arg.type]} {self.value(arg)}" for arg in expr.args]
        return self.make(f'call {LLVM[expr.type]} @"{self.prefix}{expr.name}"({joined([self.hidden, *args])})')

    # ---- memory

    def require(self, cond: str, line: int, kind: str, value: str) -> None:
        """Be told what must hold from here on; the debug build writes a check."""

    def touch(self, address: str, width: int, line: int, kind: str) -> None:
        """Be told of an address before it is used; the debug build writes a check."""

    def address(self, pointer: Expr, index: Expr, line: int, kind: str) -> str:
        """Write the address of an element that is about to be loaded or stored."""
        width = WIDTHS[pointer.type]
        base = self.value(pointer)
        made = self.make(f"getelementptr i{width}, ptr {base}, i64 {self.value(index)}")
        self.touch(made, width, line, kind)
        return made

    def load(self, pointer: Expr, address: str) -> str:
        """Write a load."""
        width = WIDTHS[pointer.type]
        return self.widen(width, self.make(f"load i{width}, ptr {address}"))

    def store(self, pointer: Expr, address: str, value: str) -> None:
        """Write a store."""
        width = WIDTHS[pointer.type]
        cut = self.cut(width, value)
        self.lines.append(f"store i{width} {cut}, ptr {address}")

    def widen(self, width: int, value: str) -> str:
        """Make an element a u64."""
        return value if width == 64 else self.make(f"zext i{width} {value} to i64")

    def cut(self, width: int, value: str) -> str:
        """Make a u64 an element."""
        return value if width == 64 else self.make(f"trunc i64 {value} to i{width}")

    def intrinsic(self, expr: Intrinsic) -> str:
        """Write an intrinsic."""
        if expr.name == "popcount":
            return self.make(f"call i64 @llvm.ctpop.i64(i64 {self.value(expr.args[0])})")
        pointer, index = expr.args[:2]
        width = WIDTHS[pointer.type]
        base = self.value(pointer)
        place = self.value(index)
        values = [self.cut(width, self.value(arg)) for arg in expr.args[2:]]
        address = self.make(f"getelementptr i{width}, ptr {base}, i64 {place}")
        if expr.name not in {"ptr", "prefetch"}:
            self.touch(address, width, expr.line, "atomic")
        match expr.name:
            case "ptr":
                return address
            case "prefetch":
                self.lines.append(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")
                return ""
            case "aload":
                made = self.make(f"load atomic i{width}, ptr {address} acquire, align {width // 8}")
            case "astore":
                self.lines.append(f"store atomic i{width} {values[0]}, ptr {address} release, align {width // 8}")
                return ""
            case "fetch_add":
                made = self.make(f"atomicrmw add ptr {address}, i{width} {values[0]} acq_rel")
            case _:
                operands = f"i{width} {values[0]}, i{width} {values[1]}"
                pair = self.make(f"cmpxchg ptr {address}, {operands} acq_rel acquire")
                made = self.make(f"extractvalue {{ i{width}, i1 }} {pair}, 0")
        return self.widen(width, made)


def zero(type_: Type) -> str:
    """Return the value 0 of a type."""
    return _ZERO[type_]


def joined(parts: list[str]) -> str:
    """Return a list of parameters or arguments, without the parts that are empty."""
    return ", ".join(part for part in parts if part)


def _signed(number: int) -> str:
    """Return a constant as LLVM reads every one: signed."""
    return str(number - (1 << 64) if number >> 63 else number)


def _below_64(expr: Expr) -> bool:
    """Say whether a number is below 64 at first sight: a constant, or masked by one."""
    match expr:
        case Const(value=value):
            return value < 64
        case Binary(op="and", left=left, right=right):
            return _below_64(left) or _below_64(right)
    return False


def _left(exprs: Iterable[Expr], guarded: frozenset[str], budget: int) -> int:
    """Return what is left of a budget of nodes after pure and quick expressions, below 0 if it does not suffice."""
    for expr in exprs:
        budget -= 1
        if budget < 0:
            return -1
        match expr:
            case Const() | Local():
                continue
            case Binary(op=op, left=left, right=right) if op not in guarded:
                budget = _left((left, right), guarded, budget)
            case Compare(left=left, right=right):
                budget = _left((left, right), guarded, budget)
            case Not(value=value):
                budget = _left((value,), guarded, budget)
            case Logic(values=values):
                budget = _left(values, guarded, budget)
            case Choice(cond=cond, then=then, orelse=orelse):
                budget = _left((cond, then, orelse), guarded, budget)
            case _:
                return -1
    return budget
