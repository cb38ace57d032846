# SPDX-License-Identifier: Apache-2.0
"""Define programs: threads of atomic steps over small integers, as frozen dataclasses.

A system is a tuple of shared variables and a tuple of threads. A thread is a list of steps; where it stands is the
number of the step that it takes next. A step is one atomic action, a tree: statements, then either a branch into two
bodies or a goto. Every path through the tree is one *leaf*. What one step does, no other CPU sees half done; between
two steps any other CPU may run. Memory is sequentially consistent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from unpinned.errors import Pos

# ---- variables -------------------------------------------------------------------------------------------------

#: The kinds of locks: 0 is free; taken alone they hold `hi`, taken with others how many have taken them.
LOCK_TYPES: Final = frozenset({"spinlock", "mutex", "rwlock", "rwsem"})
#: Of these, those that readers share, and those that sleep.
SHARED_LOCKS: Final = frozenset({"rwlock", "rwsem"})
SLEEPING_LOCKS: Final = frozenset({"mutex", "rwsem"})


@dataclass(frozen=True, slots=True)
class Var:
    """A variable: `size` integers, each from `lo` to `hi` and at first `init`.

    `type` is what the values mean: int, bool, gfn, pfn (0 is none, frames count from 1), range, result, waitqueue (of
    each CPU: 0 gone, 1 queued, 2 woken), object (0 freed, else one more than it has references), rcu and srcu (of each
    CPU: whether it is in a section), work (whether it is queued, or 2 while it is cancelled; whether it runs), or the
    kind of a lock (LOCK_TYPES). `shared` names are "component.field";
    local ones "method.name". `per` says what each dimension of an array counts, the outermost first: page, frame
    (element 0 is unused), vcpu, cpu.
    """

    name: str
    type: str
    lo: int
    hi: int
    size: int = 1
    init: int = 0
    per: tuple[str, ...] = ()


# ---- expressions: no side effects, no calls ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Const:
    """An integer; booleans are 0 and 1."""

    value: int


@dataclass(frozen=True, slots=True)
class Local:
    """A local variable of the thread, or one element of a local array."""

    name: str
    index: Expr | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared variable, or one element of a shared array."""

    name: str
    index: Expr | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """An operator: not, and, or, ==, !=, <, <=, >, >=, +, -, *, or `?:` (condition, then, else).

    Comparisons and the logical ones give 0 or 1; any value but 0 is true.
    """

    op: str
    args: tuple[Expr, ...]


Expr = Const | Local | Shared | Op

TRUE = Const(1)
FALSE = Const(0)

# ---- statements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Set:
    """Store `value` in `target`; the value always fits (a Check stands before it where it might not).

    A `reset` gives a dead local its initial value again; no report tells of it.
    """

    target: Local | Shared
    value: Expr
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Choose:
    """Let `target` be any value of lo..hi-1 that makes `where` true (`where` may name the target)."""

    target: Local
    lo: Expr
    hi: Expr
    where: Expr = TRUE


@dataclass(frozen=True, slots=True)
class Wait:
    """The step cannot be taken unless `cond`; stands before every Set and Choose of its path."""

    cond: Expr


@dataclass(frozen=True, slots=True)
class Check:
    """Unless `cond`, the step breaks `rule` (or reaches a limit of the model) and ends there.

    The broken state has the step's effects up to here, the code of the rule in `broken`, and no successor.
    """

    cond: Expr
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Cover:
    """Note that `event` has happened in the search; no part of the state."""

    event: str


@dataclass(frozen=True, slots=True)
class Note:
    """Words for the report, with {name} for the values of `args` (name, type, expression); no part of the state."""

    text: str
    args: tuple[tuple[str, str, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A source line that this path runs through; no part of the state."""

    pos: Pos


Stmt = Set | Choose | Wait | Check | Cover | Note | Mark

# ---- steps and threads ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on at step `target` of the thread."""

    target: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Go on in `then` if `cond` is true, else in `orelse`; still the same atomic step."""

    cond: Expr
    then: Body
    orelse: Body


@dataclass(frozen=True, slots=True)
class Body:
    """Statements in order, then the end of the path or a branch."""

    stmts: tuple[Stmt, ...]
    end: Goto | Branch


@dataclass(frozen=True, slots=True)
class Leaf:
    """A path through a step, as engines number them: the rule that it breaks (or none), and what it ran through."""

    thread: int
    step: int
    broken: str | None
    passed: tuple[Cover | Mark, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One atomic step: its tree, where it stands in the source, in which method, and the locks held before it.

    `method` is a call path such as "zap/invalidate_range_start"; `held` are names of shared lock variables. Before a
    step that `sleeps` another task may be given the CPU.
    """

    body: Body
    pos: Pos
    method: str
    held: tuple[str, ...] = ()
    sleeps: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """A CPU: a vCPU (`kind` "vcpu"), an operation ("op"), which ends at step `done`, or a "worker"; begins at step 0.

    `done` is no index of `steps`: a thread that stands there takes no more steps. A thread for which it is None
    never ends. A worker comes back to step 0 when it has done what there was to do, and waits there.
    """

    name: str
    kind: str
    locals: tuple[Var, ...]
    steps: tuple[Step, ...]
    done: int | None = None

    @property
    def end(self) -> int | None:
        """Return where it may stand for ever, with nothing left to do: None for a CPU that never ends."""
        return 0 if self.kind == "worker" else self.done


@dataclass(frozen=True, slots=True)
class System:
    """A plan beside a scenario: what every engine searches.

    `faulting` has one expression for each thread: whether a guest fault of it is under way (None for mm operations).
    `promised` are the rules whose violation ends a path. `extents` says how many there are of what arrays count:
    ("page", 2), ("frame", 3), ("vcpu", 1), ("cpu", 2); CPU n is thread n, and the vCPUs are the first of them.
    `opened` are counts of what a fault of a vCPU may open in the mm: while one is not 0, the mm is not at rest.
    """

    name: str
    shared: tuple[Var, ...]
    threads: tuple[Thread, ...]
    faulting: tuple[Expr | None, ...]
    promised: frozenset[str]
    extents: tuple[tuple[str, int], ...] = ()
    opened: tuple[Shared, ...] = ()


# ---- walking -----------------------------------------------------------------------------------------------------


def leaves(body: Body, path: tuple[Stmt, ...] = ()) -> Iterator[tuple[tuple[Stmt, ...], Goto]]:
    """Yield every path through a tree: its statements in order (branch conditions left out) and its goto."""
    path += body.stmts
    if isinstance(body.end, Goto):
        yield path, body.end
    else:
        yield from leaves(body.end.then, path)
        yield from leaves(body.end.orelse, path)


def reads(expr: Expr) -> Iterator[Local | Shared]:
    """Yield every variable that an expression reads, indices included."""
    if isinstance(expr, Local | Shared):
        yield expr
        if expr.index is not None:
            yield from reads(expr.index)
    elif isinstance(expr, Op):
        for arg in expr.args:
            yield from reads(arg)
