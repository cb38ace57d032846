# SPDX-License-Identifier: Apache-2.0
"""Write what the expressions of C do in the plan language: locks, counters, waiting, translating, calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from unpinned.new.c.expressions import Expr, Expressions, Gaps, Kind, as_kind, shortened
from unpinned.new.c.fields import Fields, free_name, name_of
from unpinned.new.c.primitives import (
    ALLOCATES,
    ATOMIC,
    BARRIERS,
    FREES,
    GUARDS,
    INTERVAL,
    MM_LOCK,
    NO_REFERENCE,
    PURE,
    PUTS,
    REFERENCES,
    SILENT,
    SYNCHRONIZES,
    TRANSLATES,
    TRANSPARENT,
    WAIT,
    WAKE,
    WORK,
    lock_call,
)
from unpinned.new.c.shape import RCU, Block, Code, Gap, If, Lock, Stmt, Unlock
from unpinned.new.c.syntax import CFile, Function, walk

if TYPE_CHECKING:
    from tree_sitter import Node


class Helper(Protocol):
    """Another function of the file, as it can be called."""

    inline: Block | None

    def call(self, args: list[str]) -> str:
        """Return the call, with the arguments that it needs."""

    needed: list[tuple[int, Kind]]
    value: Kind | None


class Helpers(Protocol):
    """The other functions of the file."""

    def helper(self, name: str, in_fault: bool) -> Helper | None:
        """Return a function that does something of which a plan speaks; None if there is none, or it cannot be said."""

    def acts(self, name: str) -> bool:
        """Say whether a function does something of which a plan speaks, itself or by others."""

    def work(self, name: str) -> str:
        """Return the field of the work item that a member is; empty if nobody knows what it runs."""


class Effects(Expressions):
    """What the expressions of one function do; `returns` says what its method gives.

    It gives a result, num, bool, none, status (0 or the error of a start) or told (whether an invalidation was taken).
    `pending` is what the calls do that stand in a value which was not understood: it goes before the statement.
    `unsure` are locks that are taken or dropped in one. `depth` is the number of loops round a statement.
    """

    def __init__(
        self,
        file: CFile,
        fields: Fields,
        gaps: Gaps,
        helpers: Helpers,
        function: Function,
        returns: str,
        in_fault: bool,
        given: frozenset[str],
    ) -> None:
        super().__init__(file, fields, gaps, function.params, given)
        self.helpers = helpers
        self.function = function
        self.returns = returns
        self.in_fault = in_fault
        self.read = 0
        self.understood = 0
        self.unsure: set[str] = set()
        self.pending: list[Stmt] = []
        self.depth = 0
        self._doing: set[int] = set()
        self._names = 0
        self._translates = any(TRANSLATES.fullmatch(name) for name in file.calls(function.body))

    def _gap(self, node: Node, what: str = "") -> Block:
        """Return a statement that was not understood."""
        self.read += 1
        self.pending += self._inside(node)
        return (Gap(node.start_point[0] + 1, what or shortened(self.file.text(node).lstrip("*"))),)

    def unknown(self, node: Node, kind: Kind) -> tuple[str, str]:
        """Return what stands for a value; what the calls in it do comes before the statement."""
        self.pending += self._inside(node)
        return super().unknown(node, kind)

    def _inside(self, node: Node) -> Iterator[Stmt]:
        """Yield what is done by the calls in something that was not understood, and look for locks in it."""
        for call in list(walk(node)):
            called, args = call.child_by_field_name("function"), call.child_by_field_name("arguments")
            if call.type != "call_expression" or called is None or args is None:
                continue
            name = self.file.text(called)
            if (lock := lock_call(name)) is not None and (field := self._lock_field(lock.kind, args.named_children)):
                self.unsure.add(field)
            elif call.id not in self._doing and self._does(name):
                line = call.start_point[0] + 1
                if _may_be_left_out(call):
                    yield Gap(line, f"{name}() is called here whatever stands before it")
                yield from self._call_statement(call)

    def _does(self, name: str) -> bool:
        """Say whether a call does something of which a plan speaks."""
        atomic = ATOMIC.fullmatch(name)
        words = (WAIT, WAKE, TRANSLATES, PUTS)
        known = (atomic and atomic[1] != "read") or name == "mmu_interval_set_seq" or name in WORK or name in REFERENCES
        return bool(known) or any(word.fullmatch(name) for word in words) or self._is_followed(name)

    def _is_followed(self, name: str) -> bool:
        """Say whether a call is of another function of the file, which a plan can call."""
        return name in self.file.functions and self.helpers.helper(name, self.in_fault) is not None

    def _said(self, *stmts: Stmt) -> Block:
        """Return a statement that was understood; one with a note has a gap in it."""
        self.read += 1
        self.understood += not any(getattr(stmt, "note", "") for stmt in stmts)
        return stmts

    def _tested(self, cond: Node) -> tuple[Block, str, str]:
        """Return what is done to locks before a condition is known, the condition, and its gaps."""
        inner, turned = cond, False
        while True:
            argument = inner.child_by_field_name("argument")
            called, args = inner.child_by_field_name("function"), inner.child_by_field_name("arguments")
            if inner.type == "parenthesized_expression" and len(inner.named_children) == 1:
                inner = inner.named_children[0]
            elif inner.type == "unary_expression" and argument is not None and self._operator(inner) == "!":
                inner, turned = argument, not turned
            elif inner.type == "call_expression" and called is not None and args is not None:
                name = self.file.text(called)
                if name in TRANSPARENT and args.named_children:
                    inner = args.named_children[0]
                    continue
                call = lock_call(name)
                field = self._lock_field(call.kind, args.named_children) if call else ""
                if call is None or call.does == "drop" or not field:
                    break
                line = inner.start_point[0] + 1
                if call.does == "try":
                    got = self._got(line)
                    return (Lock(field, call.side, line, got),), f"not {got}" if turned else got, ""
                text, note = super().unknown(inner, "bool")
                return (Lock(field, call.side, line),), f"not {text}" if turned else text, note
            else:
                break
        text, note = self.condition(cond)
        return (), text, note

    def _lock_field(self, kind: str, args: list[Node]) -> str:
        """Return the field of a lock by the arguments of its call, and declare it; empty if they name none."""
        if kind == "rcu":
            return RCU
        return self.fields.object(self.file, args[0], kind, self.types) if args else ""

    def _got(self, line: int) -> str:
        """Return the name of a local that says whether a lock was got."""
        self._names += 1
        return f"got_{line}" if self._names == 1 else f"got_{line}_{self._names}"

    def _expression_statement(self, node: Node) -> Block:
        """Return what an expression does that stands alone."""
        match node.type:
            case "assignment_expression":
                return self._assignment(node, "left", "right")
            case "update_expression":
                argument = node.child_by_field_name("argument")
                field = self._counter(argument) if argument is not None else ""
                if field:
                    sign = "-" if "--" in self.file.text(node) else "+"
                    return self._said(Code(f"self.{field} {sign}= 1", node.start_point[0] + 1))
                is_local = argument is not None and argument.type == "identifier"
                return self._said() if is_local else self._gap(node)
            case "cast_expression" if (value := node.child_by_field_name("value")) is not None:
                return self._expression_statement(value)
            case "parenthesized_expression" if len(node.named_children) == 1:
                return self._expression_statement(node.named_children[0])
            case "comma_expression":
                return tuple(stmt for one in node.named_children for stmt in self._expression_statement(one))
            case "call_expression":
                return self._call_statement(node)
        return self._gap(node)

    def _counter(self, node: Node) -> str:
        """Return the field of a member that is counted up or down, if it is one."""
        name = name_of(self.file, node)
        counts = node.type == "field_expression" and self.fields.members.get(name) in ("Counter", "Atomic")
        return self.fields.member(name) if counts else ""

    def _assignment(self, node: Node, to: str, what: str) -> Block:
        """Return what an assignment or a declaration with a value stores."""
        left, right = node.child_by_field_name(to), node.child_by_field_name(what)
        if left is None or right is None:
            return self._gap(node)
        line = node.start_point[0] + 1
        sign = next((child.type for child in node.children if child.type.endswith("=")), "=")
        if right.type == "assignment_expression":
            inner = self._assignment(right, "left", "right")
            source = right.child_by_field_name("left")
            return (*inner, *self._store(node, left, source, line)) if source is not None else inner
        if sign in ("+=", "-="):
            value, field = self.expression(right), self._counter(left)
            if field and value is not None:
                return self._said(Code(f"self.{field} {sign} {value.text}", line))
            return self._said() if left.type == "identifier" and self._is_private(right) else self._gap(node)
        if right.type == "call_expression" and (called := right.child_by_field_name("function")) is not None:
            name = self.file.text(called)
            if name != "mmap_read_trylock" and (call := lock_call(name)) is not None and call.does != "drop":
                return self._taken(node, left, right, line)
            if self._acts(name):
                done = self._call_statement(right)
                return (*done, *self._store(node, left, None, line))
        return self._store(node, left, right, line)

    def _taken(self, node: Node, left: Node, call: Node, line: int) -> Block:
        """Return what stores whether a lock was taken."""
        before, text, _ = self._tested(call)
        if isinstance(before[0], Lock) and self.fields.declared.get(before[0].field) == "Srcu()":
            return self._said(*before)  # what it gives is for srcu_read_unlock() alone
        name = self._local(left)
        if not name:
            return self._said(*before, Gap(line, shortened(self.file.text(node))))
        tried = isinstance(before[0], Lock) and before[0].got
        value = as_kind(Expr(text, "bool"), self.kind(name) or "bool") if tried else "0"
        return self._said(*before, Code(f"{free_name(name)} = {value}", line))

    def _local(self, node: Node) -> str:
        """Return the local that a plan follows, if a place is one."""
        name = self.file.text(node)
        if node.type == "field_expression" and name_of(self.file, node) == "notifier_seq":
            name = "notifier_seq"
        return name if name in self.tracked else ""

    def _store(self, node: Node, left: Node, right: Node | None, line: int) -> Block:
        """Return what stores a value; None stands for what a call gave that has been written already."""
        name = self._local(left)
        expr = self.expression(right) if right is not None else None
        if name:
            kind = self.kind(name) or "num"
            if expr is not None:
                return self._said(Code(f"{free_name(name)} = {as_kind(expr, kind)}", line))
            text, note = self.unknown(node, kind) if right is not None else super().unknown(node, kind)
            return self._said(Code(f"{free_name(name)} = {text}", line, note))
        member = name_of(self.file, left) if left.type == "field_expression" else ""
        kind_of = self.fields.members.get(member)
        if kind_of and expr is not None and (kind_of == "Flag") == (expr.kind == "bool"):
            return self._said(Code(f"self.{self.fields.member(member)} = {expr.text}", line))
        if right is None:
            return ()
        return self._said() if left.type != "field_expression" and self._is_private(right) else self._gap(node)

    def _is_private(self, node: Node) -> bool:
        """Say whether an expression looks at nothing that other CPUs could change."""
        for inner in walk(node):
            if inner.type == "field_expression":
                parent = inner.parent
                if parent is None or not self.file.text(parent).startswith("&"):
                    return False
            if inner.type in ("subscript_expression", "assignment_expression", "update_expression"):
                return False
            if inner.type == "pointer_expression" and self.file.text(inner).startswith("*"):
                return False
        return all(PURE.fullmatch(name) for name in self.file.calls(node))

    def _acts(self, name: str) -> bool:
        """Say whether a call does something beside what it gives."""
        return bool(TRANSLATES.fullmatch(name)) or (self._is_followed(name) and self.called(name, []) is None)

    def _call_statement(self, node: Node) -> Block:
        """Return what a call does."""
        called, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if called is None or arguments is None:
            return self._gap(node)
        self._doing.add(node.id)
        line = node.start_point[0] + 1
        name = self.file.text(called)
        args = [one for one in arguments.named_children if one.type != "comment"]
        if called.type == "call_expression":
            return self._guard(node, called, args, line)
        if (call := lock_call(name)) is not None and (field := self._lock_field(call.kind, args)):
            if call.does == "drop":
                return self._said(Unlock(field, line))
            return self._said(Lock(field, call.side, line, self._got(line) if call.does == "try" else ""))
        if MM_LOCK.fullmatch(name):
            return self._gap(node, f"{name}(), the mm's own: get_user_page() takes it itself")
        if name in BARRIERS:
            return self._said(Code(f"{BARRIERS[name]}()", line))
        if TRANSLATES.fullmatch(name):
            if not self.in_fault:
                return self._gap(node)
            got = Code("page = self.get_user_page(gfn, write)", line)
            return self._said(got, *((Code("self.put_page(page)", line),) if NO_REFERENCE.fullmatch(name) else ()))
        if PUTS.fullmatch(name) and self._translates and self.in_fault:
            return self._said(Code("self.put_page(page)", line))
        if args and (WAIT.fullmatch(name) or WAKE.fullmatch(name)):
            return self._queue(name, args, line)
        if name == "mmu_interval_set_seq" and len(args) == 2:
            seq = self.expression(args[1])
            text, note = (seq.text, "") if seq and seq.kind == "num" else self.unknown(args[1], "num")
            return self._said(Code(f"self.mmu_interval_set_seq({text})", line, note))
        if name in INTERVAL and (value := self.called(name, args)) is not None:
            return self._said(Code(value.text, line))
        if work := self._work(name, args):
            return self._said(Code(work, line))
        if args and (name in REFERENCES or name in FREES):
            return self._reference(node, name, args, line)
        if match := SYNCHRONIZES.fullmatch(name):
            domain = self._lock_field("Srcu", args) if match[1] == "srcu" else ""
            return self._said(Code(f"self.{domain}.synchronize()" if domain else "synchronize_rcu()", line))
        done = self._changed(name, args, line)
        if done is not None:
            return done
        if SILENT.fullmatch(name) or PURE.fullmatch(name):
            return self._said()
        return self._helper_statement(node, name, args, line)

    def _reference(self, node: Node, name: str, args: list[Node], line: int) -> Block:
        """Return what is done with a reference of an object, or with the object when there is none any more."""
        counted = args[0] if name in REFERENCES else self.file.releases.get(self.function.name)
        if counted is None:
            return self._said() if self._is_own_memory(args[0]) else self._gap(node)
        field = self.fields.object(self.file, counted, "Object", self.types)
        if name in FREES:
            return self._said(Code(f"self.{field}.free()", line))
        if name != "kref_put" or len(args) < 2:
            return self._said(Code(f"self.{field}.{REFERENCES[name]}()", line))
        release = self._helper_statement(node, self.file.text(args[1]).lstrip("&"), [], line)
        return self._said(If(f"self.{field}.put()", line, release))

    def _is_own_memory(self, node: Node) -> bool:
        """Say whether a pointer is a variable of the function for memory that it has got here, and shown to nobody."""
        name = self.file.text(node)
        got = False
        for one in walk(self.function.body):
            left = one.child_by_field_name("left") or one.child_by_field_name("declarator")
            right = one.child_by_field_name("right") or one.child_by_field_name("value")
            if left is None or right is None or one.type not in ("assignment_expression", "init_declarator"):
                continue
            if self.file.text(right) == name:
                return False
            calls = [*self.file.calls(right)]
            got = got or (self.file.text(left).lstrip("* ") == name and bool(calls and ALLOCATES.fullmatch(calls[0])))
        return got and name not in self.params

    def _work(self, name: str, args: list[Node]) -> str:
        """Return what a call does with a work item; empty if it is none of a plan's."""
        place, method = WORK.get(name, (0, ""))
        field = self.helpers.work(name_of(self.file, args[place])) if method and len(args) > place else ""
        return f"self.{field}.{method}()" if field else ""

    def _guard(self, node: Node, called: Node, args: list[Node], line: int) -> Block:
        """Return a lock that is held to the end of the block: guard(KIND)(&lock)."""
        inner, kinds = called.child_by_field_name("function"), called.child_by_field_name("arguments")
        kind = self.file.text(kinds.named_children[0]) if kinds is not None and kinds.named_children else ""
        if inner is None or self.file.text(inner) != "guard" or kind not in GUARDS:
            return self._gap(node)
        field = self._lock_field(GUARDS[kind][0], args)
        if not field:
            return self._gap(node)
        return self._said(Lock(field, f"guard {GUARDS[kind][1]}", line))

    def _queue(self, name: str, args: list[Node], line: int) -> Block:
        """Return what waits or wakes."""
        queue = self.fields.object(self.file, args[0], "WaitQueue", self.types)
        if WAKE.fullmatch(name):
            return self._said(Code(f"self.{queue}.wake_up()", line))
        if len(args) < 2:
            return self._said(Gap(line, name))
        expr = self.expression(args[1])
        if expr is not None:
            return self._said(Code(f"self.{queue}.wait_event({expr.text})", line))
        text, note = self.unknown(args[1], "bool")
        return self._said(Code(f"self.{queue}.wait_event(not {text})", line, note))

    def _changed(self, name: str, args: list[Node], line: int) -> Block | None:
        """Return what changes a field by a function: atomics, WRITE_ONCE and smp_store_release."""
        if name in ("WRITE_ONCE", "smp_store_release") and len(args) == 2:
            member = name_of(self.file, args[0])
            value, kind = self.expression(args[1]), self.fields.members.get(member)
            if not kind or value is None or (kind == "Flag") != (value.kind == "bool"):
                return None
            return self._said(Code(f"{name}(self.{self.fields.member(member)}, {value.text})", line))
        match = ATOMIC.fullmatch(name)
        if match is None or not args:
            return None
        whole = self._atomic(match[1], args)
        if whole is not None:
            return self._said(Code(whole.text.removesuffix(" == 0"), line))
        at = 1 if match[1] in ("add", "sub") else 0
        if len(args) <= at or self.fields.members.get(name_of(self.file, args[at])) != "Atomic":
            return None
        field = f"self.{self.fields.member(name_of(self.file, args[at]))}"
        if match[1] in ("inc", "dec"):
            return self._said(Code(f"{field} {'+' if match[1] == 'inc' else '-'}= 1", line))
        other = self.expression(args[1 - at]) if len(args) > 1 else None
        if match[1] in ("add", "sub", "set") and other is not None and other.kind == "num":
            sign = {"add": "+=", "sub": "-=", "set": "="}[match[1]]
            return self._said(Code(f"{field} {sign} {other.text}", line))
        return None

    # ---- other functions -------------------------------------------------------------------------

    def called(self, name: str, args: list[Node]) -> Expr | None:
        """Return what a call of another function gives, where a plan can say it."""
        if name == "mmu_notifier_range_blockable" and not self.in_fault:
            return Expr("r.blockable", "bool")
        if name == "mmu_interval_read_begin" and self.in_fault:
            return Expr("self.mmu_interval_read_begin()", "num")
        if name in ("mmu_interval_read_retry", "mmu_interval_check_retry") and len(args) == 2:
            seq = self.expression(args[1])
            if seq is None or seq.kind != "num":
                return None
            return Expr(f"self.mmu_interval_read_retry({seq.text})", "bool")
        if name == "kref_get_unless_zero" and args:
            field = self.fields.object(self.file, args[0], "Object", self.types)
            return Expr(f"self.{field}.get_unless_zero()", "bool")
        if (work := self._work(name, args)) and not work.endswith(".flush()"):
            return Expr(work, "bool")
        found = self.helpers.helper(name, self.in_fault) if name in self.file.functions else None
        if found is None or found.value is None or found.inline is not None:
            return None
        return Expr(found.call(self._given(found, args)), found.value)

    def _given(self, found: Helper, args: list[Node]) -> list[str]:
        """Return the arguments that a helper needs; a gap stands for one that was not understood."""
        given = []
        for place, kind in found.needed:
            expr = self.expression(args[place]) if place < len(args) else None
            known = expr is not None and expr.kind == kind
            given.append(expr.text if known and expr else self.unknown(args[place], kind)[0] if args else "0")
        return given

    def _helper_statement(self, node: Node, name: str, args: list[Node], line: int) -> Block:
        """Return the call of another function of the file, or what it does, if that is to stand here."""
        found = self.helpers.helper(name, self.in_fault) if name in self.file.functions else None
        if found is None:
            acts = name in self.file.functions and self.helpers.acts(name)
            return self._gap(node, f"{name}(), which was not followed" if acts else "")
        if found.inline is not None:
            return self._said(*found.inline)
        return self._said(Code(found.call(self._given(found, args)), line))


def _may_be_left_out(call: Node) -> bool:
    """Say whether a call is made on a condition that stands in the same expression."""
    node = call
    while (parent := node.parent) is not None and not parent.type.endswith("statement"):
        sign, right = parent.child_by_field_name("operator"), parent.child_by_field_name("right")
        if parent.type == "conditional_expression":
            return True
        if sign is not None and sign.type in ("&&", "||") and right == node:
            return True
        node = parent
    return False
