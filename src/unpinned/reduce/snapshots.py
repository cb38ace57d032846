# SPDX-License-Identifier: Apache-2.0
"""Take a counter out of a system that only asks whether it has moved: counter abstraction, as a pass over systems.

A sequence counter is added to, copied into snapshots, and compared with them. What it counts to does not matter, only
which snapshots still are what the counter is. So the counter goes, and each snapshot becomes an element of a shared
variable `stale.<local's name>`, one for each CPU: 0 none, 1 fresh, 2 stale.

    s = counter       the element becomes 1
    s = other         it becomes the other's element
    counter += k      every element that is 1 becomes 2, those of the same CPU too
    s == counter      element == 1
    the last use      the element becomes 0, so that no state is stored twice

A snapshot that is never anything but fresh between two steps (a temporary, or one that is held under the lock under
which the counter is changed) needs no element.

**Why it is exact.** Call a state of the full system and one of the reduced system alike if they agree in all that both
have, and each element is 0 if no step of its CPU reads the snapshot again, 1 if the snapshot equals the counter, and 2
if it does not. The initial states are alike, and alike states take the same steps to alike states: a snapshot is a
value that the counter had, so never more than it, and a positive number added to the counter makes every snapshot
less. So the two systems have the same behaviour step for step; the reduced one has the image of the full one's states.
It is also what the full one would be if the counter had no bound: **any number of bumps**. Two things are assumed: that
the real counter does not wrap round to the value of a snapshot that is still to be compared; and the checks that keep
the counter within the model's bound are dropped, so where the full system ends at a limit the reduced one goes on.

**Conditions.** Each is checked, and where one fails the counter stays and a note says where:

- The counter is one shared variable, and only ever set to itself plus a positive constant: directly, or by way of a
  snapshot that is surely fresh there (reduce/versions.py), so that no bump is lost.
- A snapshot is set from the counter, from another snapshot, or back to its initial value; and on every path that leads
  to a use it is set from the counter first.
- The counter and its snapshots are used in `==` and `!=` only, of the counter and a snapshot, or of two snapshots of
  which one is surely fresh or surely stale and the answer thereby known. Not with a constant, for order or parity, in
  sums, as an index, or stored in shared variables.
- Checks on them are bounds: of a limit, which are dropped, or such as the counter's growing from its initial value
  makes true.

If blocks are merged too (reduce/blocks.py), merge them first: in the full system to take a snapshot or to forget it
is a matter of its CPU alone, and here it is an access to what others write. The result is right in either order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from unpinned.ir.bounds import statements
from unpinned.ir.program import (
    FALSE,
    TRUE,
    Body,
    Branch,
    Check,
    Choose,
    Const,
    Expr,
    Local,
    Op,
    Set,
    Shared,
    Step,
    Stmt,
    System,
    Var,
    Wait,
)
from unpinned.ir.rules import LIMIT
from unpinned.reduce.versions import (
    FRESH,
    NONE,
    SOME,
    STALE,
    GiveUpError,
    Status,
    Versions,
    bump_of,
    only_grows,
)

#: What the elements hold.
_NOTHING, _FRESH, _STALE = Const(0), Const(1), Const(2)


def abstract_counters(system: System) -> tuple[System, dict[str, str]]:
    """Return the system without the counters that it only compares with their snapshots, and why others stay.

    Only what is added to somewhere is a counter.
    """
    staying = {}
    for var in system.shared:
        if _is_bumped(system, var):
            try:
                only_grows(system, var.name)
                system = _Rewriter(Versions(system, var.name), var).system()
            except GiveUpError as error:
                staying[var.name] = str(error)
    return system, staying


def _is_bumped(system: System, var: Var) -> bool:
    """Tell whether a shared variable is one integer that some step adds to."""
    if var.size > 1 or var.type != "int":
        return False
    return any(
        isinstance(stmt, Set) and stmt.target == Shared(var.name) and bump_of(stmt.value) is not None
        for thread in system.threads
        for step in thread.steps
        for stmt in statements(step.body)
    )


@dataclass(slots=True)
class _Rewriter:
    """Write the system without the counter. `kept` are the snapshots that need an element."""

    versions: Versions
    var: Var
    kept: dict[str, None] = field(default_factory=dict)
    thread: int = 0
    step: Step | None = None

    def system(self) -> System:
        """Return the reduced system.

        :raises GiveUpError: if a condition fails.
        """
        old = self.versions.system
        if any(expr is not None and self.versions.names_in(t, expr) for t, expr in enumerate(old.faulting)):
            raise GiveUpError("it says whether a fault is under way")
        self._find_kept()
        shared = [var for var in old.shared if var.name != self.var.name]
        for name in self.kept:
            if any(var.name == _element_name(name) for var in shared):
                raise GiveUpError(f"there is a {_element_name(name)} already")
            shared.append(Var(_element_name(name), "int", 0, 2, size=len(old.threads), per=("cpu",)))
        threads = []
        for self.thread, thread in enumerate(old.threads):
            steps = []
            for place, self.step in enumerate(thread.steps):
                status = self.versions.status[self.thread][place]
                body = self.step.body if status is None else self.body(self.step.body, status)
                steps.append(replace(self.step, body=body))
            own = tuple(var for var in thread.locals if var.name not in self.versions.names[self.thread])
            threads.append(replace(thread, locals=own, steps=tuple(steps)))
        extents = {"cpu": len(old.threads), **dict(old.extents)}
        return replace(old, shared=tuple(shared), threads=tuple(threads), extents=tuple(extents.items()))

    def _find_kept(self) -> None:
        """Keep the snapshots that are somewhere fresh or not, and those that are copied from one of them."""
        versions = self.versions
        for t, thread in enumerate(versions.system.threads):
            for place, step in enumerate(thread.steps):
                status = versions.status[t][place]
                if status is not None:
                    self.kept.update((name, None) for name, known in sorted(status.items()) if known == SOME)
                    self._copies(t, step.body, status)

    def _copies(self, t: int, body: Body, status: Status) -> None:
        for stmt in body.stmts:
            status = self.versions.after(t, stmt, status)
            if isinstance(stmt, Set) and isinstance(stmt.target, Local) and status.get(stmt.target.name) == SOME:
                self.kept[stmt.target.name] = None
        if isinstance(body.end, Branch):
            self._copies(t, body.end.then, status)
            self._copies(t, body.end.orelse, status)

    # ---- statements

    def body(self, body: Body, status: Status) -> Body:
        """Return a tree without the counter; `status` is what is known of the thread's snapshots before it."""
        stmts: list[Stmt] = []
        for stmt in body.stmts:
            stmts += self.stmt(stmt, status)
            status = self.versions.after(self.thread, stmt, status)
        if isinstance(body.end, Branch):
            then, orelse = self.body(body.end.then, status), self.body(body.end.orelse, status)
            return Body(tuple(stmts), Branch(self.expr(body.end.cond, status), then, orelse))
        live = self.versions.live[self.thread][body.end.target]
        for name in self.kept:
            if status.get(name, NONE) != NONE and name not in live:
                stmts.append(Set(self.element(name), _NOTHING, reset=True))
        return Body(tuple(stmts), body.end)

    def stmt(self, stmt: Stmt, status: Status) -> list[Stmt]:
        """Return what stands in the place of a statement."""
        match stmt:
            case Set(Shared(name) as target, value) if name == self.var.name:
                return self.bump(target, value, status)
            case Set(Local(name) as target, value, reset) if self.versions.is_version(self.thread, target):
                state = self.state(value, status)
                return [Set(self.element(name), state, reset)] if name in self.kept else []
            case Set(target, value, reset):
                return [Set(self.ref(target, status), self.expr(value, status), reset)]
            case Choose(target, lo, hi, where):
                self.ref(target, status)
                return [Choose(target, self.expr(lo, status), self.expr(hi, status), self.expr(where, status))]
            case Wait(cond):
                return [Wait(self.expr(cond, status))]
            case Check(cond, rule) if self.versions.names_in(self.thread, cond):
                if self.versions.is_bound(
                    self.thread, cond, lambda version: self.least(version, status), rule == LIMIT
                ):
                    return []
                return [replace(stmt, cond=self.expr(cond, status))]
        return [stmt]

    def bump(self, target: Shared, value: Expr, status: Status) -> list[Stmt]:
        """Return the stores that make every snapshot stale."""
        version = bump_of(value)
        if target.index is not None or version is None or not self.versions.is_version(self.thread, version[0]):
            raise GiveUpError("it is set otherwise than by adding to it", self.step)
        if self.known(version[0], status) != FRESH:
            raise GiveUpError("two CPUs may add to it at once, and one bump be lost", self.step)
        stores: list[Stmt] = []
        for name in self.kept:
            for t, names in enumerate(self.versions.names):
                element = Shared(_element_name(name), Const(t))
                if t == self.thread and name in names:
                    stores += [Set(element, _STALE)] if status.get(name, NONE) != NONE else []
                elif name in names:
                    stores.append(Set(element, Op("?:", (Op("==", (element, _FRESH)), _STALE, element))))
        return stores

    # ---- expressions

    def element(self, name: str) -> Shared:
        """Return what a snapshot of this thread has become."""
        return Shared(_element_name(name), Const(self.thread))

    def known(self, version: Expr, status: Status) -> int:
        """Return the status of the counter or of a snapshot, which is about to be used.

        :raises GiveUpError: if the snapshot might not be set.
        """
        if isinstance(version, Shared):
            if version.index is not None:
                raise GiveUpError("it has an index", self.step)
            return FRESH
        assert isinstance(version, Local)
        if status.get(version.name, NONE) == NONE:
            raise GiveUpError(f"its snapshot {version.name} is used where it might not be set", self.step)
        return status[version.name]

    def state(self, value: Expr, status: Status) -> Expr:
        """Return the element's new value when a snapshot is set."""
        if isinstance(value, Const):
            return _NOTHING
        known = self.known(value, status)
        if isinstance(value, Local) and known == SOME:
            return self.element(value.name)
        return _FRESH if known == FRESH else _STALE

    def expr(self, expr: Expr, status: Status) -> Expr:
        """Return an expression without the counter and its snapshots."""
        if self.versions.is_version(self.thread, expr):
            raise GiveUpError("it is used otherwise than in == or != with a snapshot of it", self.step)
        if isinstance(expr, Local | Shared):
            return self.ref(expr, status)
        if isinstance(expr, Op):
            if expr.op in ("==", "!=") and all(self.versions.is_version(self.thread, arg) for arg in expr.args):
                return self.compared(expr, status)
            return Op(expr.op, tuple(self.expr(arg, status) for arg in expr.args))
        return expr

    def ref(self, ref: Local | Shared, status: Status) -> Local | Shared:
        return ref if ref.index is None else replace(ref, index=self.expr(ref.index, status))

    def compared(self, expr: Op, status: Status) -> Expr:
        """Return a comparison of two versions of the counter."""
        left, right = expr.args
        known = self.known(left, status), self.known(right, status)
        if left == right or known == (FRESH, FRESH):
            return TRUE if expr.op == "==" else FALSE
        if known in ((FRESH, STALE), (STALE, FRESH)):
            return FALSE if expr.op == "==" else TRUE
        some = left if known[0] == SOME else right
        if FRESH in known and isinstance(some, Local):
            return Op(expr.op, (self.element(some.name), _FRESH))
        raise GiveUpError("two snapshots of it are compared", self.step)

    def least(self, version: Expr, status: Status) -> int:
        """Return the least value that the counter or a snapshot can have, which is surely set here."""
        self.known(version, status)
        return self.var.init


def _element_name(name: str) -> str:
    """Return the name of the shared variable that a snapshot has become."""
    return f"stale.{name}"
