# SPDX-License-Identifier: Apache-2.0
"""Write expressions of C in the plan language, as far as it has words for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from unpinned.new.c.fields import Fields, free_name, name_of
from unpinned.new.c.primitives import ATOMIC, TRANSPARENT, errno
from unpinned.new.c.syntax import CFile

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["num", "bool"]
_COMPARED: Final = frozenset(["==", "!=", "<", ">", "<=", ">="])
_MOST: Final = 63
_WIDEST = 50
_SCALAR: Final = re.compile(r"bool|int|long|unsigned\b.*|u?int\d+_t|[su]\d+|s?size_t|vm_fault_t|\w*_ret_t|long int")
#: Variables that hold addresses and sizes, of which a plan says nothing.
_PLACES: Final = re.compile(
    r"\w*(?:start|end|addr|address|pfn|pfns|size|len|offset|idx|index|order|shift|flags?|npages|i|j|n|timeout|mask|hva|gfn)"
)


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression of the plan language, and its type."""

    text: str
    kind: Kind

    @property
    def is_one(self) -> bool:
        """Say whether it needs no brackets as an operand."""
        return " " not in re.sub(r"\(.*\)$", "", self.text)

    @property
    def operand(self) -> str:
        """Return it as an operand."""
        return self.text if self.is_one else f"({self.text})"


class Gaps:
    """The fields that stand for values which were not understood: they are False, or 0, until somebody changes that."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._names: dict[tuple[int, int], str] = {}
        self._notes: dict[str, str] = {}

    def value(self, file: CFile, node: Node, kind: Kind) -> tuple[str, str]:
        """Return the expression for a value that was not understood, and what is to be said of it."""
        line = node.start_point[0] + 1
        key = (node.start_byte, node.end_byte)
        if key not in self._names:
            same = sum(name.split("_")[1] == str(line) for name in self._names.values())
            name = f"gap_{line}_{same + 1}" if same else f"gap_{line}"
            what = shortened(file.text(node))
            kind_of = "Flag()" if kind == "bool" else "Counter()"
            self._names[key] = self._fields.declare(name, kind_of, f"line {line}: {what}")
            self._notes[name] = what
        name = self._names[key]
        return f"self.{name}", f"GAP line {line}: {self._notes[name]}"


def shortened(text: str) -> str:
    """Return as much of a text as a comment has room for."""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 4].rstrip()} ..."


class Expressions:
    """The expressions of one function: `types` has those of its parameters and variables.

    `given` are the parameters that a plan can pass; what the mm or hardware passes is none of them.
    """

    def __init__(self, file: CFile, fields: Fields, gaps: Gaps, params: dict[str, str], given: frozenset[str]) -> None:
        self.file = file
        self.fields = fields
        self.gaps = gaps
        self.types = dict(params)
        self.params = params
        self.given = given
        self.needed: list[str] = []
        self.tracked: set[str] = set()

    def called(self, name: str, args: list[Node]) -> Expr | None:
        """Return what a call of another function gives; subclasses know more."""
        raise NotImplementedError

    def unknown(self, node: Node, kind: Kind) -> tuple[str, str]:
        """Return what stands for a value that was not understood, and what is to be said of it."""
        return self.gaps.value(self.file, node, kind)

    def kind(self, name: str) -> Kind | None:
        """Return the type of a variable of which a plan can say something, else None."""
        declared = self.types.get(name, "")
        if declared == "bool":
            return "bool"
        return "num" if _SCALAR.fullmatch(declared) and not _PLACES.fullmatch(name) else None

    def condition(self, node: Node) -> tuple[str, str]:
        """Return a condition, and what is to be said of the parts of it that were not understood."""
        notes: list[str] = []
        expr = self._partly(node, notes)
        return expr.text, "; ".join(notes)

    def _partly(self, node: Node, notes: list[str]) -> Expr:
        """Return a condition with gaps where it was not understood."""
        whole = self.expression(node)
        if whole is not None:
            return whole
        if node.type == "parenthesized_expression" and len(node.named_children) == 1:
            return self._partly(node.named_children[0], notes)
        if node.type == "call_expression" and (called := node.child_by_field_name("function")) is not None:
            args = node.child_by_field_name("arguments")
            if self.file.text(called) in TRANSPARENT and args is not None and args.named_children:
                return self._partly(args.named_children[0], notes)
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        word = {"&&": "and", "||": "or"}.get(self._operator(node))
        if node.type == "binary_expression" and word and left is not None and right is not None:
            return _joined(word, self._partly(left, notes), self._partly(right, notes))
        argument = node.child_by_field_name("argument")
        if node.type == "unary_expression" and self._operator(node) == "!" and argument is not None:
            return Expr(f"not {self._partly(argument, notes).operand}", "bool")
        text, note = self.unknown(node, "bool")
        notes.append(note)
        return Expr(text, "bool")

    def expression(self, node: Node) -> Expr | None:
        """Return an expression; None if it was not understood."""
        text = self.file.text(node)
        match node.type:
            case "parenthesized_expression" if len(node.named_children) == 1:
                return self.expression(node.named_children[0])
            case "true" | "false":
                return Expr(text.capitalize(), "bool")
            case "number_literal" if re.fullmatch(r"\d{1,2}", text) and int(text) <= _MOST:
                return Expr(text, "num")
            case "identifier":
                return self._variable(text)
            case "field_expression":
                return self._member(node)
            case "unary_expression":
                return self._unary(node)
            case "binary_expression":
                return self._binary(node)
            case "call_expression":
                called, args = node.child_by_field_name("function"), node.child_by_field_name("arguments")
                if called is not None and args is not None:
                    return self._call(
                        self.file.text(called), [one for one in args.named_children if one.type != "comment"]
                    )
        return None

    def _variable(self, name: str) -> Expr | None:
        """Return a local variable or a parameter."""
        kind = self.kind(name)
        if kind is None or (name in self.params and not re.search(r"seq|count", name) and kind != "bool"):
            return None
        if name in self.given and name not in self.needed:
            self.needed.append(name)
        return Expr(free_name(name), kind) if name in self.given or name in self.tracked else None

    def _member(self, node: Node) -> Expr | None:
        """Return a member that holds a count or a flag."""
        name = name_of(self.file, node)
        if name == "notifier_seq" and name in self.tracked:
            return Expr(name, "num")
        kind = self.fields.members.get(name)
        return Expr(f"self.{self.fields.member(name)}", "bool" if kind == "Flag" else "num") if kind else None

    def _unary(self, node: Node) -> Expr | None:
        """Return a negation, or the number of an error."""
        argument = node.child_by_field_name("argument")
        if argument is None:
            return None
        if self._operator(node) == "!":
            inner = self.expression(argument)
            return Expr(f"not {inner.operand}", "bool") if inner else None
        if self.file.text(node).replace(" ", "") == "-EAGAIN":
            return Expr("-EAGAIN", "num")
        number = errno(self.file.text(argument))
        return Expr(f"-{number}", "num") if self._operator(node) == "-" and number else None

    def _binary(self, node: Node) -> Expr | None:
        """Return a comparison, a junction or a sum."""
        left, right, sign = node.child_by_field_name("left"), node.child_by_field_name("right"), self._operator(node)
        if sign == "&" and right is not None and self.file.text(right) == "MMU_NOTIFIER_RANGE_BLOCKABLE":
            return self.called("mmu_notifier_range_blockable", [])
        one = self.expression(left) if left is not None else None
        two = self.expression(right) if right is not None else None
        if one is None or two is None:
            return None
        if word := {"&&": "and", "||": "or"}.get(sign):
            return _joined(word, one, two)
        if one.kind == two.kind == "num" and sign in _COMPARED:
            return Expr(f"{one.operand} {sign} {two.operand}", "bool")
        if one.kind == two.kind == "num" and sign in ("+", "-"):
            return Expr(f"{one.text} {sign} {two.operand}", "num")
        return None

    def _call(self, name: str, args: list[Node]) -> Expr | None:
        """Return what a call gives."""
        if name in TRANSPARENT and args:
            return self.expression(args[0])
        if name in ("READ_ONCE", "smp_load_acquire", "data_race") and len(args) == 1:
            pointed = args[0].child_by_field_name("argument") if args[0].type == "pointer_expression" else None
            inner = self.expression(pointed if pointed is not None else args[0])
            if inner is None or not re.fullmatch(r"self\.\w+", inner.text):
                return None
            return inner if name == "data_race" else Expr(f"{name}({inner.text})", inner.kind)
        if match := ATOMIC.fullmatch(name):
            return self._atomic(match[1], args)
        return self.called(name, args)

    def _atomic(self, does: str, args: list[Node]) -> Expr | None:
        """Return what an atomic operation gives."""
        changed = re.fullmatch(r"(inc|dec|add|sub)_(return|and_test)", does)
        by, at = "1", 0
        if changed and changed[1] in ("add", "sub"):
            amount = self.expression(args[0]) if len(args) == 2 else None
            if amount is None or not amount.text.isdigit():
                return None
            by, at = amount.text, 1
        if len(args) <= at or self.fields.members.get(name_of(self.file, args[at])) != "Atomic":
            return None
        name = f"self.{self.fields.member(name_of(self.file, args[at]))}"
        if changed:
            total = Expr(f"{name}.add_return({'-' if changed[1] in ('dec', 'sub') else ''}{by})", "num")
            return total if changed[2] == "return" else Expr(f"{total.text} == 0", "bool")
        return Expr(name, "num") if does == "read" else None

    def _operator(self, node: Node) -> str:
        """Return the sign of an operation."""
        sign = node.child_by_field_name("operator")
        return self.file.text(sign) if sign is not None else ""


def as_kind(expr: Expr, kind: Kind) -> str:
    """Return an expression as a number, or as a truth value."""
    if expr.kind == kind:
        return expr.text
    return f"1 if {expr.text} else 0" if kind == "num" else f"{expr.operand} != 0"


def _joined(word: str, one: Expr, two: Expr) -> Expr:
    """Return two conditions joined; `and` binds more than `or`, and the mixture is written with brackets."""
    both = (f"({part.text})" if re.search(r"\b(?:and|or|if)\b", part.text) and not _is_of(part, word) else part.text
            for part in (one, two))  # fmt: skip
    return Expr(f" {word} ".join(both), "bool")


def _is_of(part: Expr, word: str) -> bool:
    """Say whether a condition is joined by one word only."""
    return set(re.findall(r"\b(?:and|or|if)\b", part.text)) == {word}
