# SPDX-License-Identifier: Apache-2.0
"""Lower what outlives a call: objects that are freed, RCU and SRCU sections and grace periods, work items.

A section is a flag of its CPU. A grace period notes which flags are up, and waits until each of these has been seen
down; it may see that at any time after, so that it lasts no longer than it must, or longer.
"""

from __future__ import annotations

import ast
from typing import Final

from unpinned.ir.flow import Node
from unpinned.ir.program import Check, Const, Cover, Expr, Local, Note, Op, Set, Shared, Stmt, Var, Wait
from unpinned.ir.rules import LIMIT
from unpinned.plan.lowering.builder import MOST_REFERENCES, HeldLock
from unpinned.plan.lowering.fields import Fields
from unpinned.plan.lowering.values import Val, any_of

_NO, _YES = Const(0), Const(1)
#: What an object holds that is freed, and one that is not and has no references.
_FREED, _UNREFERENCED = Const(0), Const(1)
#: The elements of a work item: whether it is queued (or, 2, cancelled just now), and whether it runs.
QUEUED, RUNS = Const(0), Const(1)
_CANCELLED: Final = Const(2)
#: The flags of RCU sections.
RCU: Final = "rcu.readers"


class Lifetimes(Fields):
    """Lower the methods of Object, Srcu and WorkItem, and sections."""

    def lifetime_call(self, method: str, var: Var, node: ast.Call) -> Val:
        match var.type, method:
            case "srcu", _:
                return self.grace_period(var, f"synchronize_srcu({_shown(var)})", node)
            case "work", "queue":
                return self.queue_work(var, node)
            case "work", "flush":
                return self.flush_work(var, node)
            case "work", _:
                return self.cancel_work(var, node)
            case _, "kfree_rcu":
                return self.free_later(var, self.rcu, node)
            case _, "call_srcu":
                domain, _ = self.field(node.args[0])
                if domain.type != "srcu":
                    what = f"{ast.unparse(node.args[0])} is no SRCU domain"
                    raise self.error(node.args[0], what, "Declare it: NAME = Srcu().")
                return self.free_later(var, domain, node)
            case _, "free":
                self.shared([_note("free", var), *self._live(var, "freed twice"), Set(Shared(var.name), _FREED)], node)
            case _, "use":
                self.shared([_note("use", var), *self._live(var)], node)
            case _, "put":
                return self.put(var, node)
            case _:
                return self.get(var, method, node)
        return Val("none")

    # ---- objects

    def _live(self, var: Var, what: str = "used after it is freed") -> list[Stmt]:
        """Return the statements that check that an object is not freed."""
        live = Op("!=", (Shared(var.name), _FREED))
        return [Cover("rule:lifetime"), Check(live, "lifetime", f"{_shown(var)} is {what}")]

    def get(self, var: Var, method: str, node: ast.Call) -> Val:
        """Lower get() and get_unless_zero(): an object without references gets none."""
        ref = Shared(var.name)
        got = self.fresh("bool")
        assert isinstance(got.expr, Local)
        some = Op(">", (ref, _UNREFERENCED))
        said = Note(f"{_shown(var)}.{method}()")
        stmts = [said, *self._live(var)]
        if method == "get":
            stmts.append(Check(some, "lifetime", f"{_shown(var)} has no reference left, and one is taken"))
        room = Op("<", (ref, Const(var.hi)))
        stmts.append(Check(room, LIMIT, f"{_shown(var)} passed its {MOST_REFERENCES} references"))
        more = Op("?:", (got.expr, Op("+", (ref, Const(1))), ref))
        if method == "get_unless_zero":
            said = Note(f"{_shown(var)}.{method}() = {{got}}", (("got", "bool", got.expr),))
        self.shared([*stmts, Set(got.expr, some), Set(ref, more), said], node)
        return Val("none") if method == "get" else got

    def put(self, var: Var, node: ast.Call) -> Val:
        """Lower put(): it says whether the reference was the last."""
        ref = Shared(var.name)
        last = self.fresh("bool")
        assert isinstance(last.expr, Local)
        some = Op(">", (ref, _UNREFERENCED))
        stmts = [Note(f"{_shown(var)}.put()"), *self._live(var), Cover("rule:balance")]
        stmts.append(Check(some, "balance", f"{_shown(var)} has no reference left, and one is put"))
        stmts.append(Set(last.expr, Op("==", (ref, Const(2)))))
        stmts.append(Set(ref, Op("?:", (some, Op("-", (ref, Const(1))), ref))))
        said = Note(f"{_shown(var)}.put() = {{last}}", (("last", "bool", last.expr),))
        self.shared([*stmts, said], node)
        return last

    # ---- sections and grace periods

    @property
    def rcu(self) -> Var:
        """Return the flags of the CPUs that are in an RCU section."""
        return rcu_readers(self.dims.cpus)

    def enter_section(self, readers: Var, node: ast.AST) -> None:
        """Lower the begin of a section; within another of the same domain it is nothing."""
        if any(lock.var.name == readers.name for lock in self.locks):
            return
        mine = Shared(readers.name, Const(self.cpu))
        self.shared([Set(mine, _YES)], node)
        self.locks.append(HeldLock(readers, mine, write=True))

    def grace_period(self, readers: Var, what: str, node: ast.AST, ready: Expr | None = None) -> Val:
        """Lower a wait for all sections of now; a worker begins it when it is `ready`, others may sleep."""
        if self.atomic:
            raise self.error(node, "a CPU may not sleep in an atomic block", "Write `wait(COND)`.")
        first: list[Stmt] = [Wait(ready)] if ready is not None else self.may_sleep(what)
        (waits,) = self.fresh("bool").exprs
        assert isinstance(waits, Local)
        self.locals[waits.name] = Var(waits.name, "bool", 0, 1, self.dims.cpus, 0, ("cpu",))
        pairs = [(Local(waits.name, Const(i)), Shared(readers.name, Const(i))) for i in range(self.dims.cpus)]
        begun: list[Stmt] = [Set(mine, flag) for mine, flag in pairs]
        self.shared([*first, *begun, Note(f"{what} begins")], node, sleeps=True)
        yes, no = self.branch(any_of([mine for mine, _ in pairs]), node)
        self.merge(yes)
        head = self.idle(node)
        over = any_of([Op("and", (mine, Op("not", (flag,)))) for mine, flag in pairs])
        left: list[Stmt] = [Set(mine, Op("and", (mine, flag))) for mine, flag in pairs]
        self.shared([Wait(over), *left, Note(f"{what}: a section has ended")], node, sleeps=True)
        yes, over_now = self.branch(any_of([mine for mine, _ in pairs]), node)
        self.merge(yes)
        self.flow.catch(head)
        self.merge(no, over_now)
        return Val("none")

    def free_later(self, var: Var, domain: Var, node: ast.Call) -> Val:
        """Lower kfree_rcu() and call_srcu(): a worker frees the object after a grace period."""
        mark = Shared(deferred(var, domain).name)
        once = Check(Op("not", (mark,)), "lifetime", f"{_shown(var)} is freed twice")
        said = _note("kfree_rcu" if domain.type == "rcu" else "call_srcu", var)
        self.shared([said, *self._live(var, "freed twice"), once, Set(mark, _YES)], node)
        return Val("none")

    def freeing_worker(self, var: Var, domain: Var, node: ast.AST) -> None:
        """Lower the worker that frees an object, again and again."""
        mark = Shared(deferred(var, domain).name)
        head = self.idle(node)
        self.grace_period(domain, f"the grace period of {_shown(var)}", node, ready=mark)
        freed = Note(f"free {_shown(var)}, after a grace period")
        gone = [Set(Shared(var.name), _FREED), Set(mark, _NO)]
        self.shared([freed, *self._live(var, "freed twice"), *gone], node)
        self.flow.catch(head)

    def idle(self, node: ast.AST) -> Node:
        """Emit a node that does nothing, for a worker to come back to."""
        return self.flow.emit(self._node(Note(""), None, False, node))

    # ---- work items

    def queue_work(self, var: Var, node: ast.Call) -> Val:
        """Lower queue(): nothing if it is queued already, or is being cancelled."""
        queued = Shared(var.name, QUEUED)
        new = self.fresh("bool")
        assert isinstance(new.expr, Local)
        stmts: list[Stmt] = [Set(new.expr, Op("==", (queued, _NO))), Set(queued, Op("?:", (new.expr, _YES, queued)))]
        said = Note(f"queue_work({_shown(var)}) = {{new}}", (("new", "bool", new.expr),))
        self.shared([*stmts, said], node)
        return new

    def flush_work(self, var: Var, node: ast.Call) -> Val:
        """Lower flush(): what is queued has begun, and then what runs has ended."""
        what = f"flush_work({_shown(var)})"
        begun = Wait(Op("!=", (Shared(var.name, QUEUED), _YES)))
        self.shared([*self.may_sleep(what), begun, Note(f"{what}: it is not queued")], node, sleeps=True)
        idle = Wait(Op("not", (Shared(var.name, RUNS),)))
        self.shared([idle, Note(f"{what}: it does not run")], node, sleeps=True)
        return Val("none")

    def cancel_work(self, var: Var, node: ast.Call) -> Val:
        """Lower cancel_sync(): it is taken off the queue and kept off it until it does not run."""
        what, queued = f"cancel_work_sync({_shown(var)})", Shared(var.name, QUEUED)
        was = self.fresh("bool")
        assert isinstance(was.expr, Local)
        first: list[Stmt] = [*self.may_sleep(what), Wait(Op("!=", (queued, _CANCELLED)))]
        stmts: list[Stmt] = [Set(was.expr, Op("==", (queued, _YES))), Set(queued, _CANCELLED)]
        self.shared([*first, *stmts, Note(f"{what} = {{was}}", (("was", "bool", was.expr),))], node, sleeps=True)
        idle = Wait(Op("not", (Shared(var.name, RUNS),)))
        self.shared([idle, Set(queued, _NO), Note(f"{what}: it does not run")], node, sleeps=True)
        return was


def rcu_readers(cpus: int) -> Var:
    """Return the flags of the CPUs that are in an RCU section."""
    return Var(RCU, "rcu", 0, 1, cpus, 0, ("cpu",))


def deferred(var: Var, domain: Var) -> Var:
    """Return the mark that an object is to be freed after a grace period of a domain."""
    name = f"kfree_rcu.{_shown(var)}" if domain.type == "rcu" else f"call_srcu.{_shown(var)}.{_shown(domain)}"
    return Var(name, "bool", 0, 1)


def _shown(var: Var) -> str:
    return var.name.split(".", 1)[1]


def _note(what: str, var: Var) -> Note:
    return Note(f"{what}({_shown(var)})")
