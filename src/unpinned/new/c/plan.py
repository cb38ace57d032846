# SPDX-License-Identifier: Apache-2.0
"""Read the notifiers and the fault of a kernel source file, and write them as a plan that the reader accepts."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from unpinned.errors import PlanError, UsageError
from unpinned.mm.system import whole
from unpinned.new.c.expressions import Gaps, Kind
from unpinned.new.c.fields import Fields, free_name, name_of
from unpinned.new.c.jumps import without_jumps
from unpinned.new.c.locks import balance, with_blocks, without
from unpinned.new.c.primitives import (
    ATOMIC,
    INTERVAL,
    REFERENCES,
    SYNCHRONIZES,
    TRANSLATES,
    WAIT,
    WAKE,
    WORK,
    lock_call,
)
from unpinned.new.c.shape import Block, Code, Gap, Leave, Loop, Stmt, everything
from unpinned.new.c.statements import Body
from unpinned.new.c.syntax import CFile, Client, Function, walk
from unpinned.new.c.writing import Line, Method, Refused, class_lines, imports
from unpinned.new.skeleton import class_name
from unpinned.plan.lowering.workers import MOST_WORKERS
from unpinned.plan.reading.classes import read_plans
from unpinned.plan.reading.source import parse_source
from unpinned.plan.vocabulary import HOOKS

#: How far helpers of helpers are followed.
_DEEPEST: Final = 4
_BEGINS: Final = "self.mmu_interval_read_begin()"
#: What the hooks return that the mm asks for something.
_RETURNS: Final = {"invalidate": "told", "invalidate_range_start": "status"}


@dataclass(frozen=True)
class Begun:
    """A plan that was begun from C: its text, how many statements were read and understood, and the functions found.

    `refusal` is what the plan reader says of the text, empty if it accepts it.
    """

    text: str
    read: int
    understood: int
    callbacks: tuple[str, ...]
    fault: str
    others: tuple[str, ...]
    refusal: str

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what the user should know at once."""
        said = [f"{self.understood} of {self.read} statements were understood"]
        others = f" (or is it {', '.join(self.others)}? Say --fault NAME)" if self.others else ""
        said.append(
            f"the fault is {self.fault}(){others}"
            if self.fault
            else "no fault function was found: name it with --fault"
        )
        said.append(f"the callbacks are {', '.join(self.callbacks)}" if self.callbacks else "no callbacks were found")
        return (*said, f"the plan reader refuses it: {self.refusal}") if self.refusal else tuple(said)


@dataclass
class _Helper:
    """A function that the plan calls as a method, or that stands where it was called."""

    name: str
    value: Kind | None
    needed: list[tuple[int, Kind]]
    in_fault: bool
    from_fault: bool = False
    inline: Block | None = None

    def call(self, args: list[str]) -> str:
        first = ["gfn", "write"] if self.in_fault else ["page_range(gfn)" if self.from_fault else "r"]
        return f"self.{self.name}({', '.join([*first, *args])})"


@dataclass
class _Reader:
    """One plan: a client of the file with its fault."""

    file: CFile
    fields: Fields = field(default_factory=Fields)
    methods: list[Method] = field(default_factory=list)
    read: int = 0
    understood: int = 0
    own: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _works: dict[str, str] = field(default_factory=dict)
    _helpers: dict[str, _Helper | None] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gaps = Gaps(self.fields)

    def work(self, name: str) -> str:
        """Return the field of the work item that a member is; empty if nobody knows what it runs, or there are many."""
        runs = self.file.works.get(name)
        if runs is None or (name not in self._works and len(self._works) == MOST_WORKERS):
            return ""
        if name not in self._works:
            self._works[name] = self.method_name(f"run_{runs}")
        return self.fields.declare(name, f"WorkItem({self._works[name]!r})".replace("'", '"'))

    def finish_works(self) -> None:
        """Write what the work items run; what is read for one may queue another."""
        done: set[str] = set()
        while todo := self._works.keys() - done:
            name = min(todo)
            done.add(name)
            self.alone(self._works[name], self.file.functions[self.file.works[name]], "the work")

    def alone(self, made: str, function: Function, what: str) -> None:
        """Write a function as a method that is handed nothing, and does to all pages what it does to some."""
        helper = self.helper(function.name, in_fault=True)
        block: Block = (Gap(0, f"{function.name}(), which was not followed"),)
        if helper is not None and helper.inline is None:
            args = [{"num": "0", "bool": "False"}[kind] for _, kind in helper.needed]
            if helper.in_fault:
                call = Code(f"self.{helper.name}({', '.join(['gfn', 'True', *args])})", 0)
                block = (Loop("for gfn in all_pages()", 0, (call,)),)
            else:
                block = (Code(f"self.{helper.name}({', '.join(['all_pages()', *args])})", 0),)
        self.methods.append(Method(f"{made}(self)", f"Run {what} {function.name}(), line {function.line}.", block))

    def helper(self, name: str, in_fault: bool) -> _Helper | None:
        """Return a function that does something of which a plan speaks; None if it cannot be called here."""
        if name not in self._helpers:
            self._helpers[name] = None  # while it is read, so that a function that calls itself is a gap
            if len(self._open) < _DEEPEST and self.acts(name):
                self._open.append(name)
                self._helpers[name] = self._read_helper(self.file.functions[name])
                self._open.pop()
        found = self._helpers[name]
        if found is None or (found.in_fault and not in_fault):
            return None
        return _Helper(found.name, found.value, found.needed, found.in_fault, in_fault, found.inline)

    def method_name(self, name: str) -> str:
        """Return the name of the method that a function becomes; no two become one."""
        free = free_name(name)
        while free in self._taken:
            free += "_"
        self._taken.add(free)
        return free

    def body(self, function: Function, returns: str, in_fault: bool, *, helper: bool = False) -> tuple[Block, Body]:
        """Return the body of a function without jumps, its locks still as calls, and how it was read."""
        given = frozenset(function.params if helper else list(function.params)[2:])
        body = Body(self.file, self.fields, self._gaps, self, function, returns, in_fault, given)
        block = body.block()
        block = without_jumps(without(block, body.unsure), body.otherwise)
        self.read += body.read
        self.understood += body.understood
        return block, body

    def acts(self, name: str) -> bool:
        """Say whether a function does something of which a plan speaks, itself or by others."""
        return self._acts(name, set())

    def _acts(self, name: str, seen: set[str]) -> bool:
        """Say whether a function does something of which a plan speaks, itself or by others."""
        if name not in self.file.functions or name in seen:
            return False
        seen.add(name)
        body = self.file.functions[name].body
        called = set(self.file.calls(body))
        if (
            name in self.file.releases
            or any(_is_primitive(one) for one in called)
            or any(self._acts(one, seen) for one in called)
        ):
            return True
        members = (node for node in walk(body) if node.type == "field_expression")
        return any(name_of(self.file, node) in self.fields.members for node in members)

    def _translates(self, name: str, seen: set[str]) -> bool:
        """Say whether a function gets a page, itself or by others."""
        if name not in self.file.functions or name in seen:
            return False
        seen.add(name)
        called = set(self.file.calls(self.file.functions[name].body))
        direct = any(TRANSLATES.fullmatch(one) or one == "mmu_interval_read_begin" for one in called)
        return direct or any(self._translates(one, seen) for one in called)

    def _read_helper(self, function: Function) -> _Helper | None:
        """Read a function as a method; if it leaves locks otherwise than it found them, as what it does."""
        in_fault = self._translates(function.name, set())
        returns = {"void": "none", "bool": "bool"}.get(function.returns, "num")
        value: Kind | None = "bool" if returns == "bool" else "num" if returns == "num" else None
        if function.returns.endswith("*") or function.returns.startswith("struct "):
            returns, value = "none", None
        before = self.read, self.understood
        block, body = self.body(function, returns, in_fault, helper=True)
        places = list(function.params)
        needed: list[tuple[int, Kind]] = [(places.index(name), body.kind(name) or "num") for name in body.needed]
        if balance(block):
            params = ["gfn", "write"] if in_fault else ["r"]
            made = self.method_name(function.name)
            head = f"{made}(self, {', '.join([*params, *body.needed])})"
            doc = f"{function.name}(), line {function.line}."
            self.methods.append(Method(head, doc, with_blocks(block), body.otherwise))
            return _Helper(made, value, needed, in_fault)
        last = block[-1]
        straight = isinstance(last, Leave) and not any(isinstance(one, Leave) for one in everything(block[:-1]))
        if straight and not needed:
            return _Helper(function.name, None, [], in_fault, inline=_marked(block[:-1]))
        self.read, self.understood = before
        return None


def _marked(block: Block) -> Block:
    """Return what a helper does without the locals that it sets to nothing."""
    return tuple(stmt for stmt in block if not (isinstance(stmt, Code) and stmt.line == 0))


def _is_primitive(name: str) -> bool:
    """Say whether a call is one of which a plan speaks."""
    patterns = (ATOMIC, WAIT, WAKE, TRANSLATES, SYNCHRONIZES)
    known = name in INTERVAL or name in WORK or name in REFERENCES or name in ("guard", "scoped_guard")
    return known or lock_call(name) is not None or any(pattern.fullmatch(name) for pattern in patterns)


def begin(name: str, path: str | os.PathLike[str], fault: str | None = None, own: Sequence[str] = ()) -> Begun:
    """Read a kernel source file and write a plan for each client in it.

    :param fault: the fault function, if it is not to be guessed.
    :param own: the functions that are operations of the client's own.
    :raises UsageError: if there is nothing to read, no function of that name, or tree-sitter is missing.
    :raises PlanError: if the file cannot be read.
    """
    made = class_name(name)
    try:
        return _begun(made, name, CFile(path), fault, own)
    except RecursionError as error:
        what = f"{os.fspath(path)}: nested too deep to be read"
        raise PlanError(what, None, "Copy the functions that matter into a file of their own.") from error


def _begun(made: str, name: str, file: CFile, fault: str | None, own: Sequence[str]) -> Begun:
    """Write the plans of a file, again without what the reader refuses until it accepts the rest."""
    found, others = file.fault(fault)
    operations = [file.function(one) for one in own]
    clients = file.clients or ((Client("", {}),) if found else ())
    if not clients:
        what = f"{file.path}: no mmu_notifier_ops, no mmu_interval_notifier_ops and no fault function"
        raise UsageError(what, hint="Give the file that fills in such a table, or name a function with --fault.")
    readers = [_client(file, client, found, operations) for client in clients]
    names = [made if not i else f"{made}{i + 1}" for i in range(len(clients))]
    refused: Refused = {}
    while True:
        lines = _text(names, list(zip(clients, readers, strict=True)), file, others, refused)
        error = _refusal(lines, f"{name}.py")
        stmt = lines[error.pos.line - 1].stmt if error and error.pos and error.pos.line <= len(lines) else None
        if error is None or stmt is None or id(stmt) in refused:
            break
        refused[id(stmt)] = f"not in the language: {error.what}"
    return Begun(
        text="".join(f"{line.text}\n" for line in lines),
        read=sum(reader.read for reader in readers),
        understood=sum(reader.understood for reader in readers),
        callbacks=tuple(one for client in clients for one in client.callbacks.values()),
        fault=found.name if found else "",
        others=others,
        refusal=str(error) if error else "",
    )


def _refusal(lines: list[Line], path: str) -> PlanError | None:
    """Return what the plan reader says against a text, if it does."""
    text = "".join(f"{line.text}\n" for line in lines)
    try:
        for plan in read_plans(path, {os.path.realpath(path): parse_source(text, path)}):
            whole(plan)
    except PlanError as error:
        return error
    return None


def _client(file: CFile, client: Client, fault: Function | None, own: list[Function]) -> _Reader:
    """Read the callbacks of one client, the fault, and what the client does of its own."""
    reader = _Reader(file)
    reader.fields.survey(file, file.functions.values())
    for op, name in client.callbacks.items():
        function = file.functions.get(name)
        hook = op in HOOKS
        doc = f"{name}(), the op `{op}`" + (f", line {function.line}." if function else ", which another file defines.")
        before: tuple[str, ...] = ()
        if not hook:
            before = (f"GAP: the language does not call the op `{op}`: nobody calls this method.",)
        else:
            what = "all_pages()" if op == "release" else "r"
            before = (f"GAP: say where the entries of the device are cleared: `self.zap({what})`.",)
        block: tuple[Stmt, ...] = (Gap(0, "its body is not in this file"), *_told(op))
        if function is not None:
            returns = _RETURNS.get(op, "none") if client.era == "current" else "none"
            block = with_blocks(reader.body(function, returns, in_fault=False)[0])
        made = op if hook else reader.method_name(name)
        reader.methods.append(
            Method(f"{made}({', '.join(['self', *_params(op, function)])})", doc, block, before=before)
        )
    if fault is not None:
        block = with_blocks(reader.body(fault, "result", in_fault=True)[0])
        before = ("GAP: say which line sets the entry of the device: `self.map(gfn, page, write)`.",)
        reader.methods.append(
            Method("page_fault(self, gfn, write)", f"{fault.name}(), line {fault.line}.", block, "MAPPED", before)
        )
        if not client.callbacks and any(isinstance(one, Code) and _BEGINS in one.text for one in everything(block)):
            before = ("GAP: another file has the callback of the notifier that the fault reads.",)
            body = (Gap(0, "self.mmu_interval_set_seq(cur_seq), under the lock of the retry"), *_told("invalidate"))
            reader.methods.append(Method("invalidate(self, r, cur_seq)", "Take all in.", body, before=before))
    else:
        before = ("GAP: no function of this file gets pages: write what the fault does, or name it with --fault.",)
        body = (
            Code("page = self.get_user_page(gfn, write)", 0),
            Code("self.put_page(page)", 0),
            Leave("return", 0, "REPLAY"),
        )
        reader.methods.append(
            Method("page_fault(self, gfn, write)", "Get the page, and do nothing with it.", body, before=before)
        )
    for one in own:
        reader.own.append(reader.method_name(one.name))
        reader.alone(reader.own[-1], one, "the operation")
    reader.finish_works()
    return reader


def _told(op: str) -> Block:
    """Return what ends a callback of which nothing is known."""
    return (Leave("return", 0, "True"),) if op == "invalidate" else ()


def _params(op: str, function: Function | None) -> list[str]:
    """Return the parameters of a callback: what stands for a range, and for more what it is called in C."""
    params = list(HOOKS.get(op, ("r",)))
    named = list(function.params)[2:] if function is not None else []
    return [*params[:1], *(free_name(name) for name in named[: len(params) - 1] or params[1:])]


def _text(
    names: list[str],
    clients: list[tuple[Client, _Reader]],
    file: CFile,
    others: tuple[str, ...],
    refused: Refused,
) -> list[Line]:
    """Return the lines of a plan file."""
    lines: list[Line] = []
    for name, (client, reader) in zip(names, clients, strict=True):
        doc = f"The callbacks of {client.table}." if client.table else "Callbacks that were taken by their names."
        doc = doc if client.callbacks else "GAP: this file has no callbacks, so the mm calls nothing here."
        attributes = [f'era = "{client.era}"']
        attributes += [f"own = ({''.join(f'{chr(34)}{one}{chr(34)}, ' for one in reader.own).rstrip()})"] * bool(
            reader.own
        )
        lines += [Line(""), Line("")]
        lines += class_lines(name, doc, attributes, reader.fields, reader.methods, refused)
    read = sum(reader.read for _, reader in clients)
    understood = sum(reader.understood for _, reader in clients)
    words = (
        f"{understood} of {read} statements were understood; GAP marks the rest. The number behind a line is the "
        "line of the C file. A field gap_N stands for a condition or a value that was not understood: it is False, or "
        "0, so that one branch is never taken. Give it `init=True`, put what is meant in its place, or take the branch "
        "out. Nothing here maps or clears an entry of the device until you say where."
    )
    if others:
        words += f" Other functions that may be the fault: {', '.join(others)} (--fault)."
    shown = re.sub(r"[^\w.+-]", "_", os.path.basename(file.path))
    head = [f'"""{names[0]}: begun with `unpinned new` from {shown}.', ""]
    head += [*textwrap.wrap(words, 110), '"""', "", *imports(lines).splitlines()]
    return [*(Line(text) for text in head), *lines]
