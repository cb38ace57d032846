# SPDX-License-Identifier: Apache-2.0
"""Lower each hook of a plan to a graph of single operations, with helpers inlined and calls of the mm marked."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from unpinned.ir.flow import Node
from unpinned.ir.program import LOCK_TYPES, Choose, Const, Expr, Local, Note, Set, Shared, Stmt, Var, Wait, reads
from unpinned.mm.system import parts
from unpinned.plan.lowering.builder import Component, field_var
from unpinned.plan.lowering.statements import Lowerer
from unpinned.plan.lowering.values import Dims, Val
from unpinned.plan.reading.classes import MethodDef, PlanClass
from unpinned.plan.vocabulary import ERA_OPERATIONS

#: One page is enough: what is looked for is the order of things in one hook, not which page they are done to.
_DIMS: Final = Dims(pages=1, frames=2, vcpus=1, cpus=2)

#: Where the names of a plan's fields begin.
_PLAN: Final = "plan."

_RANGE: Final = Val("range", (Const(0), Const(1)))
#: What the mm hands to each hook: the one page there is; a write or a read, which nothing says.
_ARGUMENTS: Final = {
    "page_fault": (Val("gfn", (Const(0),)), Val("bool", (Local("write"),))),
    "invalidate_range_start": (_RANGE,),
    "invalidate_range_end": (_RANGE,),
    "invalidate_page": (Val("gfn", (Const(0),)),),
    "invalidate": (_RANGE, Val("int", (Local("cur_seq"),))),
    "arch_invalidate_secondary_tlbs": (_RANGE,),
    "release": (),
    "ioproc_invalidate_range": (_RANGE,),
    "ioproc_invalidate_page": (Val("gfn", (Const(0),)),),
    "ioproc_update_page": (Val("gfn", (Const(0),)), Val("page", (Local("page"),)), Val("bool", (Local("write"),))),
}

#: The hooks that the OOM reaper calls with a range that may not block, and the operation that is it.
_REAPED: Final = ("invalidate_range_start", "invalidate_range_end", "invalidate")
_REAPER: Final = "oom_reap"

#: The calls about the sequence of an interval notifier, with the types of what they return. They are not lowered: the
#: sequence is a field, :data:`unpinned.lint.events.SEQUENCE`, which one reads, one compares and one stores to.
_SEQUENCE: Final = {
    "mmu_interval_read_begin": "int",
    "mmu_interval_read_retry": "bool",
    "mmu_interval_set_seq": "none",
}

#: The operations of the mm of 2008 that call a hook; in other eras all of them are taken to call all hooks.
_CALLERS: Final = {
    "page_fault": frozenset(ERA_OPERATIONS["2008"]),
    "invalidate_range_start": frozenset({"zap", "munmap", "mprotect", "mremap"}),
    "invalidate_range_end": frozenset({"zap", "munmap", "mprotect", "mremap"}),
    "invalidate_page": frozenset({"reclaim"}),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the mm or of the hardware by its name: it begins, or has come back.

    `page` is the page that it was given, or that it has returned. Where an interval notifier's sequence has been read,
    `seq` is what was returned, and `old` what it was compared with.
    """

    name: str
    begins: bool
    page: Expr | None
    seq: Local | None = None
    old: Expr | None = None


@dataclass(frozen=True)
class Hook:
    """A hook as a graph: `after[n]` has the nodes behind node n, true side first, where -1 is the end.

    Node 0 comes first. `live[n]` are the locals that may be read at node n or behind it before they are set. `locks`
    are the plan's locks, `queues` its wait queues, `truths` the locals and fields that are truth values. `tries`
    are the nodes that try to take a lock, with its name, and `answer` the local that is returned. `callers` are the
    operations that call it.
    """

    name: str
    callers: frozenset[str]
    nodes: tuple[Node, ...]
    after: tuple[tuple[int, ...], ...]
    live: tuple[frozenset[str], ...]
    calls: dict[int, Call]
    locks: frozenset[str]
    queues: frozenset[str]
    truths: frozenset[str]
    tries: dict[int, str]
    answer: str


def hooks(plan: PlanClass) -> tuple[Hook, ...]:
    """Return the hooks that the mm calls, as far as the plan has them and admits the operations.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    admitted = frozenset(plan.admitted)
    called = dict.fromkeys(_ARGUMENTS, admitted) if plan.era != "2008" else _CALLERS
    return tuple(
        _hook(plan, name, callers & admitted)
        for name, callers in called.items()
        if name in plan.methods and callers & admitted
    )


def reaped(plan: PlanClass) -> tuple[Hook, ...]:
    """Return the hooks as the OOM reaper calls them, with a range that may not block: none if it never does.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    if plan.era != "current" or _REAPER not in plan.admitted:
        return ()
    callers = frozenset({_REAPER})
    return tuple(_hook(plan, name, callers, blockable=False) for name in _REAPED if name in plan.methods)


def field(ref: Expr) -> str:
    """Return the name of the plan's field that an expression is, or ""."""
    return ref.name.removeprefix(_PLAN) if isinstance(ref, Shared) and ref.name.startswith(_PLAN) else ""


class _Marking(Lowerer):
    """Lower as for a search, and mark where the plan calls the mm or the hardware."""

    def __init__(self, components: dict[str, Component], dims: Dims, cpu: int) -> None:
        super().__init__(components, dims, cpu)
        self.marked: dict[Node, Call] = {}
        self.tried: dict[Node, str] = {}
        self.answer = ""
        self._trying: tuple[Local, str] | None = None

    def inline(self, component: Component, method: MethodDef, args: Sequence[Val], node: ast.AST | None) -> Val:
        """Mark a call from the plan to a model before and behind it."""
        if node is None or self.model or not component.model:
            result = super().inline(component, method, args, node)
            if node is None and result.type != "none":
                self.answer = result.expr.name if isinstance(result.expr, Local) else ""
            return result
        self._marked(node, method, True, args)
        if (type_ := _SEQUENCE.get(method.name)) is not None:
            return self._sequence(node, method.name, type_, args)
        result = super().inline(component, method, args, node)
        self._marked(node, method, False, (result,))
        return result

    def _sequence(self, node: ast.AST, name: str, type_: str, args: Sequence[Val]) -> Val:
        """Mark what a call about an interval notifier's sequence gives."""
        result = Val("none") if type_ == "none" else self.fresh(type_)
        seq = result.exprs[0] if result.exprs else None
        assert seq is None or isinstance(seq, Local)
        old = args[0].expr if name == "mmu_interval_read_retry" else None
        self.marked[self.flow.emit(self._node(Note(""), None, False, node))] = Call(name, False, None, seq, old)
        return result

    def try_acquire(self, var: Var, index: Expr | None, write: bool, got: Local, node: ast.AST) -> None:
        """Mark what tries to take a lock."""
        self._trying = got, var.name.removeprefix(_PLAN)
        super().try_acquire(var, index, write, got, node)

    def _node(self, stmt: Stmt | None, cond: Expr | None, fused: bool, node: ast.AST) -> Node:
        made = super()._node(stmt, cond, fused, node)
        if self._trying is not None and isinstance(stmt, Set) and stmt.target is self._trying[0]:
            self.tried[made] = self._trying[1]
        return made

    def _marked(self, node: ast.AST, method: MethodDef, begins: bool, values: Sequence[Val]) -> None:
        page = next((value.expr for value in values if value.type == "page"), None)
        self.marked[self.flow.emit(self._node(Note(""), None, False, node))] = Call(method.name, begins, page)


def _hook(plan: PlanClass, name: str, callers: frozenset[str], *, blockable: bool = True) -> Hook:
    """Lower one hook, for a range that may block or may not."""
    components = parts(plan)
    lowerer = _Marking(components, _DIMS, 0)
    lowerer.may_block = blockable
    arguments = tuple(replace(value, blockable=blockable) for value in _ARGUMENTS[name])
    lowerer.enter(components["client"], name, arguments)
    nodes = _reachable(lowerer.flow.entry)
    numbers: dict[Node | None, int] = {node: number for number, node in enumerate(nodes)}
    numbers[None] = -1
    calls = {numbers[node]: call for node, call in lowerer.marked.items() if node in numbers}
    after = tuple(
        (numbers[node.next],) if node.cond is None else (numbers[node.next], numbers[node.orelse]) for node in nodes
    )
    fields = {each: field_var(components["client"], each, _DIMS)[0] for each in plan.fields}
    truths = {each for each, var in fields.items() if var.type == "bool"}
    truths |= {each for each, var in lowerer.locals.items() if var.type == "bool"}
    return Hook(
        name=name,
        callers=callers,
        nodes=nodes,
        after=after,
        live=_live(nodes, after, calls),
        calls=calls,
        locks=frozenset(each for each, var in fields.items() if var.type in LOCK_TYPES),
        queues=frozenset(each for each, var in fields.items() if var.type == "waitqueue"),
        truths=frozenset(truths),
        tries={numbers[node]: lock for node, lock in lowerer.tried.items() if node in numbers},
        answer=lowerer.answer,
    )


def _reachable(entry: Node | None) -> tuple[Node, ...]:
    """Return every node that can be reached, the first one first."""
    found: dict[Node, None] = {}
    stack = [entry]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found[node] = None
            stack += [node.orelse, node.next]
    return tuple(found)


def _live(
    nodes: Sequence[Node], after: Sequence[Sequence[int]], calls: Mapping[int, Call]
) -> tuple[frozenset[str], ...]:
    """Return the locals that are live before each node."""
    used = []
    for number, node in enumerate(nodes):
        call = calls.get(number)
        exprs = _uses(node) if call is None else tuple(expr for expr in (call.page, call.old) if expr is not None)
        used.append(frozenset(ref.name for expr in exprs for ref in reads(expr) if isinstance(ref, Local)))
    live: list[frozenset[str]] = list(used)
    changed = True
    while changed:
        changed = False
        for number in reversed(range(len(nodes))):
            behind = frozenset[str]().union(*(live[each] for each in after[number] if each >= 0))
            now = used[number] | (behind - _set(nodes[number].stmt))
            changed |= now != live[number]
            live[number] = now
    return tuple(live)


def _set(stmt: Stmt | None) -> frozenset[str]:
    """Return the local that a statement sets as a whole."""
    match stmt:
        case Set(Local(name, None)) | Choose(Local(name, None)):
            return frozenset({name})
    return frozenset()


def _uses(node: Node) -> tuple[Expr, ...]:
    """Return the expressions that a node evaluates."""
    if node.cond is not None:
        return (node.cond,)
    match node.stmt:
        case Set(target, value):
            return (value,) if target.index is None else (value, target.index)
        case Choose(_, lo, hi, where):
            return lo, hi, where
        case Wait(cond):
            return (cond,)
    return ()
