# SPDX-License-Identifier: Apache-2.0
"""Write the statements of a C function in the plan language, in order, with jumps and locks still as they are."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from unpinned.new.c.effects import Effects
from unpinned.new.c.expressions import Expr, Kind, as_kind, shortened
from unpinned.new.c.fields import free_name, name_of
from unpinned.new.c.primitives import GUARDS, lock_call, result_of
from unpinned.new.c.shape import (
    Block,
    Code,
    Gap,
    Goto,
    If,
    Label,
    Leave,
    Lock,
    Loop,
    Stmt,
    Unlock,
    everything,
    falls_through,
    own,
    rewritten,
)
from unpinned.new.c.syntax import declared, walk

if TYPE_CHECKING:
    from tree_sitter import Node

_FORWARD: Final = frozenset(["preproc_ifdef", "preproc_if"])
_JUNK: Final = frozenset([";", "{", "}", "comment", "preproc_call", "preproc_def", "#endif"])
#: What a hook returns to the mm: its type, and what it is where all is well.
_TOLD: Final[dict[str, tuple[Kind, str]]] = {"status": ("num", "0"), "told": ("bool", "True")}
_ERROR: Final = re.compile(r"-\s*(E[A-Z0-9]+)")


class Body(Effects):
    """The body of one function; `returns` says what its method gives: result, status, told, num, bool or none."""

    def block(self) -> Block:
        """Return the complete body, with its locals set before anything else."""
        for node in walk(self.function.body):
            if node.type == "declaration":
                for one in node.children_by_field_name("declarator"):
                    self._declare(node, one)
        seqs = [node for node in walk(self.function.body) if node.type == "field_expression"]
        if any(name_of(self.file, node) == "notifier_seq" for node in seqs):
            self.types["notifier_seq"] = "long"
        moved = {
            self.file.text(node.children[0]) for node in walk(self.function.body) if node.type == "update_expression"
        }
        self.tracked = {
            name for name in self.types if self.kind(name) and name not in self.params and name not in moved
        }
        body = self._statements(self.function.body.named_children)
        used = {name for name in self.tracked if self._is_used(free_name(name), body)}
        self.tracked = used
        body = rewritten(body, self._unless_unused)
        head = [
            Code(f"{free_name(name)} = {'False' if self.kind(name) == 'bool' else '0'}", 0) for name in sorted(used)
        ]
        return (*head, *body, Leave("return", 0, self.otherwise))

    @property
    def otherwise(self) -> str:
        """Return what the method gives where nothing is said."""
        return self._result(None)[0]

    # ---- locals ----------------------------------------------------------------------------------

    def _declare(self, node: Node, declarator: Node) -> None:
        """Note the type of a variable."""
        name, _ = declared(self.file, declarator)
        kind = node.child_by_field_name("type")
        inner: Node | None = declarator
        if declarator.type == "init_declarator":
            inner = declarator.child_by_field_name("declarator")
        stars = "*" if inner is not None and inner.type != "identifier" else ""
        name = re.sub(r"\W", "", self.file.text(inner).partition("[")[0]) if inner is not None else name
        if kind is not None:
            self.types[name] = self.file.text(kind) + stars

    def _is_used(self, name: str, body: Block) -> bool:
        """Say whether a local is looked at anywhere."""
        word = re.compile(rf"(?<![\w.]){name}\b")
        for stmt in everything(body):
            match stmt:
                case Code(text=text) if word.search(re.sub(rf"^{name} = ", "", text)):
                    return True
                case If(cond=cond) if word.search(cond):
                    return True
                case Leave(value=value) if word.search(value):
                    return True
        return False

    def _unless_unused(self, stmt: Stmt) -> Block | None:
        """Leave out what is stored in a local that nobody looks at."""
        if isinstance(stmt, Code) and (match := re.match(r"([a-z_]\w*) = (.*)$", stmt.text)):
            known = {free_name(name) for name in self.types if self.kind(name)}
            if match[1] in known and match[1] not in {free_name(name) for name in self.tracked}:
                is_call = "(" in match[2]
                return (replace(stmt, text=match[2]),) if is_call else _as_gap(stmt)
        return None

    # ---- statements ------------------------------------------------------------------------------

    def _statements(self, nodes: list[Node]) -> Block:
        """Return statements in order; a guard holds its lock to the end of the block."""
        out: list[Stmt] = []
        for node in nodes:
            out += self._statement(node)
        guards = [stmt for stmt in out if isinstance(stmt, Lock) and stmt.side.startswith("guard")]
        out = [replace(stmt, side=stmt.side[6:]) if stmt in guards and isinstance(stmt, Lock) else stmt for stmt in out]
        return (*out, *(Unlock(guard.field, guard.line) for guard in reversed(guards)))

    def _statement(self, node: Node) -> Block:
        """Return what a statement does, after what calls do in values of it that were not understood."""
        outer, self.pending = self.pending, []
        done = self._itself(node)
        before, self.pending = tuple(self.pending), outer
        return (*before, *done)

    def _itself(self, node: Node) -> Block:
        """Return what a statement does."""
        line = node.start_point[0] + 1
        match node.type:
            case "compound_statement":
                return self._statements(node.named_children)
            case "expression_statement":
                return self._expression_statement(node.named_children[0]) if node.named_children else ()
            case "declaration":
                inits = [one for one in node.children_by_field_name("declarator") if one.type == "init_declarator"]
                return tuple(stmt for one in inits for stmt in self._assignment(one, "declarator", "value"))
            case "if_statement":
                return self._if(node, line)
            case "while_statement" | "do_statement" | "for_statement":
                return self._loop(node, line)
            case "switch_statement":
                return self._switch(node, line)
            case "return_statement":
                return self._return(node, line)
            case "break_statement" if self.depth:
                return (Leave("break", line),)
            case "continue_statement" if self.depth:
                return (Leave("continue", line),)
            case "goto_statement":
                return (Goto(self.file.text(node.named_children[0]), line),)
            case "labeled_statement":
                return (Label(self.file.text(node.named_children[0]), line), *self._statements(node.named_children[1:]))
            case "else_clause":
                return self._statements(node.named_children)
            case kind if kind in _FORWARD:
                skipped = [node.child_by_field_name("name"), node.child_by_field_name("condition")]
                skipped.append(node.child_by_field_name("alternative"))
                return self._statements([one for one in node.named_children if one not in skipped])
            case kind if kind in _JUNK or not node.is_named:
                return ()
        return self._lost(node, shortened(self.file.text(node)))

    def _within(self, *nodes: Node) -> Block:
        """Return the statements of a loop or of a case, which `break` may leave."""
        self.depth += 1
        inside = self._statements(list(nodes))
        self.depth -= 1
        return inside

    def _if(self, node: Node, line: int) -> Block:
        """Return a choice, after what its condition does to locks."""
        cond, then = node.child_by_field_name("condition"), node.child_by_field_name("consequence")
        other = node.child_by_field_name("alternative")
        if cond is None or then is None:
            return self._gap(node)
        before, text, note = self._tested(cond)
        behind = self._statement(other) if other is not None else ()
        (choice,) = self._said(If(text, line, self._statement(then), behind, note))
        return (*before, choice)

    def _loop(self, node: Node, line: int) -> Block:
        """Return a loop: round what is shared as in C; over objects, over the pages of the range."""
        cond, body = node.child_by_field_name("condition"), node.child_by_field_name("body")
        if body is None:
            return self._gap(node)
        if node.type == "for_statement" and cond is not None and cond.type == "call_expression":
            return self._over(cond, body, line)
        inside = self._within(body)
        if cond is None:
            (loop,) = self._said(Loop("while True", line, (*inside, Leave("continue", line))))
            return (loop,)
        if node.type == "for_statement":
            whole = self.expression(cond)
            if whole is None:
                what = f"GAP line {line}: {shortened(self.file.text(cond))}"
                return self._said(
                    Loop(f"for _{line} in {self._range()}", line, (*inside, Leave("continue", line)), what)
                )
        outer, self.pending = self.pending, []
        text, note = self.condition(cond)
        before, self.pending = tuple(self.pending), outer
        if text in ("True", "1"):
            return self._said(Loop("while True", line, (*inside, Leave("continue", line))))
        leave = If(f"not {Expr(text, 'bool').operand}", line, (Leave("break", line),), (), note)
        if node.type == "do_statement":
            again = rewritten(inside, lambda stmt: self._again(stmt, (*before, leave)), into_loops=False)
            return self._said(Loop("while True", line, (*again, *before, leave, Leave("continue", line))))
        return self._said(Loop("while True", line, (*before, leave, *inside, Leave("continue", line))))

    @staticmethod
    def _again(stmt: Stmt, leave: Block) -> Block | None:
        """Return what `continue` does in a loop that looks at its condition last."""
        return (*leave, stmt) if isinstance(stmt, Leave) and stmt.kind == "continue" else None

    def _over(self, head: Node, body: Node, line: int) -> Block:
        """Return a loop over objects, or a block under a lock, of a macro that stood for a head."""
        called, args = head.child_by_field_name("function"), head.child_by_field_name("arguments")
        name = self.file.text(called) if called is not None else ""
        given = args.named_children if args is not None else []
        inside = self._within(body)
        kind, side = GUARDS.get(self.file.text(given[0]), ("", "")) if given else ("", "")
        if name == "scoped_guard" and kind and (field := self._lock_field(kind, given[1:])):
            return self._said(Lock(field, side, line), *inside, Unlock(field, line))
        what = f"GAP line {line}: for each of {shortened(self.file.text(head))}"
        return self._said(Loop(f"for _{line} in {self._range()}", line, (*inside, Leave("continue", line)), what))

    def _range(self) -> str:
        """Return the range that a loop over objects goes over."""
        return "page_range(gfn)" if self.in_fault else "r"

    def _switch(self, node: Node, line: int) -> Block:
        """Return the cases as choices, if each ends with `break` or a way out."""
        body = node.child_by_field_name("body")
        cases = [one for one in body.named_children if one.type == "case_statement"] if body is not None else []
        chain: Block = ()
        choices: list[If] = []
        labels: list[Node | None] = []
        for case in cases:
            value = case.child_by_field_name("value")
            labels.append(value)
            inside = self._within(*(one for one in case.named_children if one != value))
            if not inside and case != cases[-1]:
                continue
            ended = inside[-1] if inside else None
            if isinstance(ended, Leave) and ended.kind == "break":
                inside = inside[:-1]
            elif falls_through(inside) and case != cases[-1]:
                return self._lost(node, "switch: a case goes on into the next")
            if any(isinstance(stmt, Leave) and stmt.kind == "break" for stmt in own(inside)):
                return self._lost(node, "switch: a break within a case")
            if None in labels:
                chain = inside
            else:
                said = [self.unknown(label, "bool") for label in labels if label is not None]
                text, note = " or ".join(text for text, _ in said), "; ".join(note for _, note in said)
                choices.append(If(text, line, inside, (), note))
            labels = []
        for choice in reversed(choices):
            chain = self._said(replace(choice, other=chain))
        return chain

    def _lost(self, node: Node, what: str) -> Block:
        """Return a gap for statements; a lock that is taken or dropped in them is in doubt everywhere."""
        for call in walk(node):
            called, args = call.child_by_field_name("function"), call.child_by_field_name("arguments")
            if call.type == "call_expression" and called is not None and args is not None:
                lock = lock_call(self.file.text(called))
                if lock is not None and (field := self._lock_field(lock.kind, args.named_children)):
                    self.unsure.add(field)
        self.read += 1
        return (Gap(node.start_point[0] + 1, what),)

    def _return(self, node: Node, line: int) -> Block:
        """Return a way out."""
        value = node.named_children[0] if node.named_children else None
        text, note = self._result(value)
        return self._said(Leave("return", line, text, note))

    def _result(self, value: Node | None) -> tuple[str, str]:
        """Return what the method of the plan gives for what the function gives, and what is to be said of it."""
        line = value.start_point[0] + 1 if value is not None else 0
        text = self.file.text(value) if value is not None else ""
        error = _ERROR.fullmatch(text)
        if self.returns == "result":
            if error:
                return result_of(error[1]), ""
            if "RETRY" in text:
                return "REPLAY", ""
            expr = self.expression(value) if value is not None else None
            if expr is not None and expr.kind == "num" and not expr.text.isdigit():
                return f"FAULT if {expr.operand} < 0 else MAPPED", ""
            understood = value is None or (expr is not None and expr.text.isdigit()) or "FIXED" in text
            return "MAPPED", "" if understood else f"GAP line {line}: returns {shortened(text)}"
        if self.returns == "none":
            fails = text == "false" or error is not None
            return "", f"GAP line {line}: it fails, and nobody asks" if fails else ""
        if self.returns in _TOLD:
            wanted, well = _TOLD[self.returns]
            expr = self.expression(value) if value is not None else None
            if expr is not None:
                return as_kind(expr, wanted), ""
            return well, f"GAP line {line}: returns {shortened(text)}" if value is not None else ""
        kind: Kind = "num" if self.returns == "num" else "bool"
        expr = self.expression(value) if value is not None else None
        if expr is not None:
            return as_kind(expr, kind), ""
        if value is None:
            return "0" if kind == "num" else "False", ""
        return self.unknown(value, kind)


def _as_gap(stmt: Code) -> Block:
    """Return what is left of a store that nobody looks at: nothing, or what was not understood of it."""
    return (Gap(stmt.line, re.sub(r"^GAP line \d+: ", "", stmt.note)),) if stmt.note else ()
