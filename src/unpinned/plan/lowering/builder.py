# SPDX-License-Identifier: Apache-2.0
"""Hold what the lowering of a thread builds: its nodes, locals, open calls and held locks."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from unpinned.errors import PlanError, Pos
from unpinned.ir.flow import Edge, Flow, Node
from unpinned.ir.program import (
    FALSE,
    SHARED_LOCKS,
    SLEEPING_LOCKS,
    Check,
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
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT
from unpinned.plan.lowering.values import INT_HI, INT_LO, Dims, Val, local_vars, may_leave_int, of_locals
from unpinned.plan.reading.classes import FieldDecl, MethodDef, PlanClass

#: The type of value that a field of a kind holds; locks hold none.
VALUE_TYPES = {"Atomic": "int", "Counter": "int", "Flag": "bool", "Pfn": "page", "GfnField": "gfn"}
LOCK_KINDS = {"SpinLock": "spinlock", "Mutex": "mutex", "RwLock": "rwlock", "RwSem": "rwsem"}
#: An object with more references than this makes the plan undecided.
MOST_REFERENCES = 14
#: A CPU that would run more operations than this is refused: helpers that call helpers grow without bound.
MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class Component:
    """One side of the system: `client` (the plan), `hw` or `mm`; its class, and the names that it lends to others.

    `prefix` begins the names of its shared variables; a `model` may use atomic() and choose(); `builtins` are methods
    of another component that are called as its own: name -> (component, method). `given` are the words of which a model
    asks whether they are given().
    """

    name: str
    prefix: str
    cls: PlanClass
    model: bool
    builtins: dict[str, tuple[str, str]] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that is held at this point of the source: what releases it; if it was tried, whether it was got."""

    var: Var
    ref: Shared
    write: bool
    got: Local | None = None


@dataclass(slots=True)
class Loop:
    """An open loop: where `break` and `continue` go, and what is assigned at each break."""

    locks: int
    breaks: list[Edge] = field(default_factory=list)
    continues: list[Edge] = field(default_factory=list)
    assigned: list[frozenset[str] | None] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    """An open call: its locals, those that may not be set with the reason, its loops, and the edges that leave it."""

    component: Component
    method: MethodDef
    path: str
    locks: int
    vars: dict[str, Val] = field(default_factory=dict)
    assigned: frozenset[str] | None = frozenset()
    fixed: dict[str, str] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    exits: list[Edge] = field(default_factory=list)
    result: Val | None = None


class Builder:
    """Emit nodes for one thread of a system."""

    def __init__(self, components: dict[str, Component], dims: Dims, cpu: int) -> None:
        self.components = components
        self.dims = dims
        self.cpu = cpu
        self.flow = Flow()
        self.locals: dict[str, Var] = {}
        self.frames: list[Frame] = []
        self.locks: list[HeldLock] = []
        self.atomic = False
        self.may_block = True
        self.count = 0

    # ---- where we are

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def model(self) -> bool:
        return self.frame.component.model

    def pos(self, node: ast.AST) -> Pos:
        return self.frame.method.source.pos(node)

    def error(self, node: ast.AST, what: str, hint: str = "") -> PlanError:
        return self.frame.method.source.error(node, what, hint)

    # ---- nodes

    def _node(self, stmt: Stmt | None, cond: Expr | None, starts: bool, node: ast.AST) -> Node:
        self.count += 1
        if self.count > MAX_NODES:
            what = f"with all its calls inlined, what {self.frames[0].method.name}() runs is too long to be searched"
            raise self.error(node, what, "Calls are inlined one by one: call fewer helpers, or make them shorter.")
        held = tuple(lock.var.name for lock in self.locks if lock.got is None)
        return Node(stmt, cond, starts, self.pos(node), self.frame.path, held)

    def local(self, stmt: Stmt, node: ast.AST) -> None:
        """Emit a statement that runs on in the step before it."""
        self.flow.emit(self._node(stmt, None, False, node))

    def shared(self, stmts: list[Stmt], node: ast.AST, sleeps: bool = False) -> None:
        """Emit one atomic step, which may sleep; inside an atomic block the statements join the block's step."""
        for i, stmt in enumerate(stmts):
            made = self._node(stmt, None, i == 0 and not self.atomic, node)
            made.sleeps = sleeps
            self.flow.emit(made)
        self.mark(node)

    def mark(self, node: ast.AST) -> None:
        """Note that the source line of `node` was reached, if it is the author's."""
        if not self.model:
            self.local(Mark(self.pos(node)), node)

    def branch(self, cond: Expr, node: ast.AST) -> tuple[list[Edge], list[Edge]]:
        """Emit a branch; return the edges of its true and its false side."""
        return self.flow.branch(self._node(None, cond, False, node))

    def merge(self, *edges: list[Edge]) -> None:
        """Go on from all of these edges."""
        self.flow.pending = [edge for group in edges for edge in group]

    # ---- locals

    def fresh(self, type_: str, name: str = "%") -> Val:
        """Make a local of the open call; a name that is taken in the thread gets a number."""
        base = f"{self.frame.method.name}.{name}"
        unique, n = base, 1
        while unique in self.locals or f"{unique}.start" in self.locals:
            n += 1
            unique = f"{base}{n}" if name == "%" else f"{base}#{n}"
        made = local_vars(unique, type_, self.dims)
        self.locals.update((var.name, var) for var in made)
        return of_locals(type_, made)

    def fresh_array(self, type_: str, name: str, size: int, init: int) -> Local:
        """Make a local array with an element for each page, a model's own."""
        (ref,) = self.fresh(type_, name).exprs
        assert isinstance(ref, Local)
        var = self.locals[ref.name]
        self.locals[ref.name] = Var(var.name, var.type, var.lo, var.hi, size, init, ("page",))
        return ref

    def assign(self, target: Val, value: Val, node: ast.AST) -> None:
        """Set a local to a value of its type; all of the value is computed before any of it is set."""
        if len(value.exprs) > 1 and any(isinstance(expr, Op) for expr in value.exprs):
            value = Val(value.type, tuple(self.kept_copy(Val("gfn", (expr,)), node).expr for expr in value.exprs))
        for ref, expr in zip(target.exprs, value.exprs, strict=True):
            assert isinstance(ref, Local)
            if target.type == "int" and may_leave_int(expr):
                self.in_int(expr, ref.name, node)
            self.local(Set(ref, expr), node)

    def in_int(self, expr: Expr, name: str, node: ast.AST) -> None:
        """Make the plan undecided if a number leaves the integers of the model."""
        inside = Op("and", (Op("<=", (Const(INT_LO), expr)), Op("<=", (expr, Const(INT_HI)))))
        shown = name.split(".", 1)[1]
        self.local(Check(inside, LIMIT, f"the number {shown} left the model's {INT_LO}..{INT_HI}"), node)

    def kept_copy(self, value: Val, node: ast.AST) -> Val:
        """Return a value of one expression that no later assignment can touch."""
        if isinstance(value.expr, Const):
            return value
        kept = self.fresh(value.type)
        self.local(Set(_local(kept), value.expr), node)
        return kept

    def keep(self, value: Val, node: ast.AST) -> Val:
        """Return a value that later changes of shared state cannot touch."""
        if value.pure:
            return value
        kept = self.fresh(value.type)
        self.assign(kept, value, node)
        return kept

    # ---- fields

    def field_var(self, component: Component, name: str) -> tuple[Var, FieldDecl, tuple[int, ...]]:
        """Return the variable of a field, what one element is, and the dimensions of its indices."""
        return field_var(component, name, self.dims)

    # ---- locks

    def may_sleep(self, what: str) -> list[Stmt]:
        """Return the statements that check that sleeping is allowed here."""
        spinning = [lock for lock in self.locks if lock.var.type not in SLEEPING_LOCKS | {"srcu"}]
        cover: Stmt = Cover("rule:sleep-in-atomic")
        if not spinning and self.may_block:
            return [cover]
        broken: list[Stmt] = []
        if not self.may_block:
            broken.append(Check(FALSE, "sleep-in-atomic", f"{what} may sleep, in a call that may not block"))
        for lock in reversed(spinning):
            shown = f"under the {lock.var.type} {lock.var.name.split('.', 1)[1]}"
            if lock.var.type == "rcu":
                shown = "in an RCU section"
            awake = FALSE if lock.got is None else Op("not", (lock.got,))
            broken.append(Check(awake, "sleep-in-atomic", f"{what} may sleep, {shown}"))
            if lock.got is None:
                break
        return [cover, Note(f"{what} may sleep"), *broken]

    def acquire(self, var: Var, index: Expr | None, write: bool, node: ast.AST) -> None:
        """Take a lock: the CPU waits until it is free."""
        ref = Shared(var.name, index)
        stmts: list[Stmt] = []
        if var.type in SLEEPING_LOCKS:
            stmts += self.may_sleep(f"taking the {var.type} {var.name.split('.', 1)[1]}")
        free, taken = _taking(var, ref, write)
        self.shared([*stmts, Wait(free), taken], node, sleeps=var.type in SLEEPING_LOCKS)
        self.locks.append(HeldLock(var, ref, write))

    def try_acquire(self, var: Var, index: Expr | None, write: bool, got: Local, node: ast.AST) -> None:
        """Take a lock if it is free, in one step that does not wait, and set `got`."""
        ref = Shared(var.name, index)
        free, taken = _taking(var, ref, write)
        self.flow.emit(self._node(Set(got, free), None, not self.atomic, node))
        yes, no = self.branch(got, node)
        self.merge(yes)
        self.local(taken, node)
        self.merge(self.flow.pending, no)
        self.mark(node)
        self.locks.append(HeldLock(var, ref, write, got))

    def release_to(self, depth: int, node: ast.AST) -> None:
        """Emit the release of every lock above `depth` of the stack, innermost first; the stack stays as it is."""
        held = list(self.locks)
        while len(self.locks) > depth:
            lock = self.locks[-1]
            without: list[Edge] = []
            if lock.got is not None:
                yes, without = self.branch(lock.got, node)
                self.merge(yes)
            shared = lock.var.type in SHARED_LOCKS and not lock.write
            self.shared([Set(lock.ref, Op("-", (lock.ref, Const(1))) if shared else Const(0))], node)
            self.merge(self.flow.pending, without)
            self.locks.pop()
        self.locks = held


def _taking(var: Var, ref: Shared, write: bool) -> tuple[Expr, Stmt]:
    """Return when a lock can be taken, and the statement that takes it."""
    if var.type in SHARED_LOCKS and not write:
        return Op("<", (ref, Const(var.hi))), Set(ref, Op("+", (ref, Const(1))))
    return Op("==", (ref, Const(0))), Set(ref, Const(var.hi))


def _local(value: Val) -> Local:
    assert isinstance(value.expr, Local)
    return value.expr


def field_var(component: Component, name: str, dims: Dims) -> tuple[Var, FieldDecl, tuple[int, ...]]:
    """Return the variable of a component's field, what one element is, and the dimensions of its indices."""
    decl = component.cls.fields[name]
    sizes = {"PerPage": dims.pages, "PerFrame": dims.frames + 1, "PerVcpu": dims.vcpus, "PerCpu": dims.cpus}
    shape: list[int] = []
    per: list[str] = []
    while decl.of is not None:
        shape.append(sizes[decl.kind])
        per.append(decl.kind.removeprefix("Per").lower())
        decl = decl.of
    size = 1
    for extent in shape:
        size *= extent
    full = f"{component.prefix}.{name}"
    match decl.kind:
        case "WaitQueue":
            return Var(full, "waitqueue", 0, 2, dims.cpus, 0, ("cpu",)), decl, ()
        case "Srcu":
            return Var(full, "srcu", 0, 1, dims.cpus, 0, ("cpu",)), decl, ()
        case "Object":
            return Var(full, "object", 0, MOST_REFERENCES + 1, 1, 2), decl, ()
        case "WorkItem":
            return Var(full, "work", 0, 2, 2), decl, ()
    type_ = VALUE_TYPES.get(decl.kind) or LOCK_KINDS[decl.kind]
    his = {
        "int": 2 ** (decl.bits - decl.signed) - 1,
        "bool": 1,
        "gfn": dims.pages,
        "page": dims.frames,
        "rwlock": dims.cpus + 1,
        "rwsem": dims.cpus + 1,
        "spinlock": 1,
        "mutex": 1,
    }
    # A counter may go below zero where the plan does not promise `balance`, and what follows is to be seen.
    lo = -(2 ** (decl.bits - 1)) if decl.kind in ("Atomic", "Counter") else 0
    var = Var(full, type_, lo, his[type_], size, decl.init, tuple(per))
    return var, decl, tuple(shape)
