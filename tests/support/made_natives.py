# SPDX-License-Identifier: Apache-2.0
"""Make up programs in restricted Python that end, with memory, loops, calls, atomics and short circuits.

Every function has four pointers into one memory of 128 bytes, so that elements of different widths overlap, and two
numbers. A `while` and its rounds are paid for from `fuel`, a `for` has three rounds at most.
"""

from __future__ import annotations

from hypothesis import strategies as st

MEMORY = 128
POINTERS = {"p8": 8, "p16": 16, "p32": 32, "p64": 64}
OFFSETS = {"p8": 3, "p16": 6, "p32": 8, "p64": 0}
HEAD = "p8: u8p, p16: u16p, p32: u32p, p64: u64p, a: u64, b: u64"
ARGS = "p8, p16, p32, p64"

NUMBERS = [0, 1, 2, 3, 5, 7, 8, 15, 31, 63, 64, 100, 255, 256, 65535, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1]
LOCALS = ["a", "b", "c", "d", "i"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]
OPERATORS = ["+", "-", "*", "&", "|", "^", "<<", ">>", "//", "%"]


class Writer:
    """Writer of one function; `safe` keeps every access inside of the memory."""

    def __init__(self, draw, callees: list[str], safe: bool) -> None:
        self.draw = draw
        self.callees = callees
        self.safe = safe
        self.lines: list[str] = []
        self.loops = 0

    def pick(self, options):
        """Return one of some things."""
        return self.draw(st.sampled_from(options))

    def number(self, depth: int) -> str:
        """Return an expression of type u64, in brackets unless it is a single thing."""
        kinds = ["local", "constant", "load"]
        if depth:
            kinds += ["binary", "binary", "binary", "choice", "invert", "atomic", "popcount", "behind"]
            kinds += ["call"] * bool(self.callees)
        match self.pick(kinds):
            case "local":
                return self.pick(LOCALS)
            case "constant":
                return str(self.pick(NUMBERS))
            case "load":
                return self.element(depth)
            case "binary":
                return f"({self.number(depth - 1)} {self.pick(OPERATORS)} {self.number(depth - 1)})"
            case "choice":
                return f"({self.number(depth - 1)} if {self.cond(depth - 1)} else {self.number(depth - 1)})"
            case "invert":
                return f"(~{self.number(depth - 1)})"
            case "popcount":
                return f"popcount({self.number(depth - 1)})"
            case "behind":
                return f"ptr(p64, 2)[0 - {self.pick([1, 2])}]"
            case "call":
                return f"{self.pick(self.callees)}({ARGS}, {self.number(depth - 1)}, {self.number(depth - 1)})"
        return self.atomic(depth)

    def element(self, depth: int) -> str:
        """Return an element of memory."""
        return "{}[{}]".format(*self.place(depth))

    def place(self, depth: int) -> tuple[str, str]:
        """Return a pointer and an index."""
        pointer = self.pick(list(POINTERS))
        index = self.number(depth - 1) if depth else self.pick(["a", "i", "3", "0"])
        if self.safe or self.draw(st.booleans()):
            return pointer, f"{index} & {7 if pointer == 'p64' else 15}"
        return pointer, index

    def atomic(self, depth: int) -> str:
        """Return a call of an atomic that has a value."""
        where = ", ".join(self.place(depth - 1))
        match self.pick(["cas", "fetch_add", "aload"]):
            case "cas":
                return f"cas({where}, {self.number(depth - 1)}, {self.number(depth - 1)})"
            case "fetch_add":
                return f"fetch_add({where}, {self.number(depth - 1)})"
        return f"aload({where})"

    def cond(self, depth: int) -> str:
        """Return an expression of type bool, in brackets unless it is a single thing."""
        if not depth:
            return self.pick(["t", "u", "True", "False", "(a < b)"])
        match self.pick(["local", "compare", "compare", "and", "or", "not", "choice", "bits"]):
            case "local":
                return self.pick(["t", "u"])
            case "compare":
                return f"({self.number(depth - 1)} {self.pick(COMPARISONS)} {self.number(depth - 1)})"
            case "and":
                return self.row("and", depth)
            case "or":
                return self.row("or", depth)
            case "not":
                return f"(not {self.cond(depth - 1)})"
            case "bits":
                return f"({self.cond(depth - 1)} {self.pick(['&', '|', '^', '==', '!='])} {self.cond(depth - 1)})"
        return f"({self.cond(depth - 1)} if {self.cond(depth - 1)} else {self.cond(depth - 1)})"

    def row(self, word: str, depth: int) -> str:
        """Return two to four bools joined by `and` or `or`."""
        count = self.draw(st.integers(2, 4))
        return "(" + f" {word} ".join(self.cond(depth - 1) for _ in range(count)) + ")"

    def line(self, indent: int, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * indent + text)

    def block(self, indent: int, depth: int) -> None:
        """Write some statements."""
        for _ in range(self.draw(st.integers(1, 3))):
            self.statement(indent, depth)

    def statement(self, indent: int, depth: int) -> None:
        """Write a statement."""
        kinds = ["assign", "assign", "flag", "store", "update", "augment", "astore", "prefetch"]
        if depth:
            kinds += ["if", "if", "for", "while", "forever", "match"]
        kinds += ["jump"] * bool(self.loops) + ["return"] * (indent > 1)
        match self.pick(kinds):
            case "assign":
                self.line(indent, f"{self.pick(LOCALS)} = {self.number(3)}")
            case "flag":
                self.line(indent, f"{self.pick(['t', 'u'])} = {self.cond(2)}")
            case "store":
                self.line(indent, f"{self.element(2)} = {self.number(2)}")
            case "update":
                self.line(indent, f"{self.element(2)} {self.pick(OPERATORS)}= {self.number(2)}")
            case "augment":
                self.line(indent, f"{self.pick(LOCALS)} {self.pick(OPERATORS)}= {self.number(2)}")
            case "astore":
                self.line(indent, f"astore({', '.join(self.place(1))}, {self.number(1)})")
            case "prefetch":
                self.line(indent, f"prefetch(p64, {self.number(1)})")
            case "jump":
                self.line(indent, f"if {self.cond(1)}:")
                self.line(indent + 1, self.pick(["break", "continue"]))
            case "return":
                self.line(indent, f"return {self.number(1)}")
            case kind:
                getattr(self, f"write_{kind}")(indent, depth - 1)

    def write_if(self, indent: int, depth: int) -> None:
        """Write an `if`."""
        self.line(indent, f"if {self.cond(2)}:")
        self.block(indent + 1, depth)
        for _ in range(self.draw(st.integers(0, 2))):
            self.line(indent, f"elif {self.cond(2)}:")
            self.block(indent + 1, depth)
        if self.draw(st.booleans()):
            self.line(indent, "else:")
            self.block(indent + 1, depth)

    def write_match(self, indent: int, depth: int) -> None:
        """Write a `match`."""
        self.line(indent, f"match {self.number(2)}{' & 3' * self.draw(st.booleans())}:")
        for case in self.pick([["0", "1"], ["0 | 1", "2", "_"], ["3", "255 | 64 | 0", "_"]]):
            self.line(indent + 1, f"case {case}:")
            self.block(indent + 2, depth)

    def inside_loop(self, indent: int, depth: int) -> None:
        """Write a loop's body."""
        self.loops += 1
        self.block(indent, depth)
        self.loops -= 1

    def write_for(self, indent: int, depth: int) -> None:
        """Write a `for`."""
        bounds = self.pick(["{} & 3", "c & 1, {} & 3", "1 << 62, (1 << 62) + ({} & 3)"]).format(self.number(1))
        self.line(indent, f"for {self.pick(['i', 'd'])} in range({bounds}):")
        self.inside_loop(indent + 1, depth)

    def write_while(self, indent: int, depth: int) -> None:
        """Write a `while`."""
        self.line(indent, f"while fuel > 0 and {self.cond(2)}:")
        self.line(indent + 1, "fuel -= 1")
        self.inside_loop(indent + 1, depth)

    def write_forever(self, indent: int, depth: int) -> None:
        """Write a `while True`."""
        self.line(indent, "while True:")
        self.line(indent + 1, "if fuel == 0:")
        self.line(indent + 2, "break")
        self.line(indent + 1, "fuel -= 1")
        self.inside_loop(indent + 1, depth)

    def text(self, name: str) -> str:
        """Return the whole function."""
        self.line(0, f"def {name}({HEAD}) -> u64:")
        for start in ("c = a + 1", "d = b", "i = 3", "t = a < b", "u = False", "fuel = 5"):
            self.line(1, start)
        for _ in range(self.draw(st.integers(2, 5))):
            self.statement(1, 2)
        self.line(1, "return a + b * 3 + c * 5 + d * 7 + i * 11 + (1 if t else 0) + (2 if u else 0)")
        return "\n".join(self.lines) + "\n"


@st.composite
def programs(draw, safe: bool = True) -> str:
    """Make up a program whose last function is `f`."""
    names = ["f", "g", "h"][: draw(st.integers(1, 3))][::-1]
    return "\n".join(Writer(draw, names[:place], safe).text(name) for place, name in enumerate(names))
