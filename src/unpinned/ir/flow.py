# SPDX-License-Identifier: Apache-2.0
"""Build a thread from single operations: a control-flow graph, fused into atomic steps.

The reader of plans emits one node after another. A node that `starts` begins a new atomic step (an access to shared
state, or a whole atomic block); the nodes after it that do not start one are local and run in the same step, branches
included. A loop of local nodes alone is cut by a step of its own, or refused if it is a `while` of the author's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from unpinned.errors import PlanError, Pos
from unpinned.ir.components import components
from unpinned.ir.program import Body, Branch, Expr, Goto, Mark, Note, Step, Stmt

#: A step with more paths than this is refused: its tree would be too large to search.
MAX_LEAVES = 4096


@dataclass(slots=True, eq=False)
class Node:
    """One operation: a statement, or a branch on `cond`; `next` (and `orelse`) are where it goes, None the end."""

    stmt: Stmt | None
    cond: Expr | None
    starts: bool
    pos: Pos
    method: str
    held: tuple[str, ...]
    next: Node | None = None
    orelse: Node | None = None
    loop: Pos | None = None
    sleeps: bool = False


#: An edge that has no target yet.
Edge = tuple[Node, Literal["next", "orelse"]]


@dataclass(slots=True)
class Flow:
    """A graph under construction: `pending` are the edges that the next node will catch."""

    entry: Node | None = None
    pending: list[Edge] = field(default_factory=list)

    @property
    def reachable(self) -> bool:
        """Tell whether a node emitted now could run."""
        return self.entry is None or bool(self.pending)

    def catch(self, node: Node) -> None:
        """Lead all pending edges to `node`."""
        if self.entry is None:
            self.entry = node
        for source, edge in self.pending:
            setattr(source, edge, node)
        self.pending = []

    def emit(self, node: Node) -> Node:
        """Add a node behind the pending edges; its own end is pending then. What nothing reaches is left out."""
        if self.reachable:
            self.catch(node)
            self.pending = [(node, "next")]
        return node

    def branch(self, node: Node) -> tuple[list[Edge], list[Edge]]:
        """Add a branch; return the edges of its two sides and leave none pending."""
        if not self.reachable:
            return [], []
        self.catch(node)
        self.pending = []
        return [(node, "next")], [(node, "orelse")]


def fuse(flow: Flow) -> tuple[tuple[Step, ...], int]:
    """Return the steps of a finished graph and the place that means its end.

    :raises PlanError: for a `while` loop that goes round without shared access, and for a step with too many paths.
    """
    entry = _first_step(flow.entry)
    nodes = list(_reachable(entry))
    starts = {node for node in nodes if node.starts} | {entry}
    starts |= _cut_local_loops(nodes, starts)
    places = {node: place for place, node in enumerate(node for node in nodes if node in starts)}
    done = len(places)
    steps = []
    for node in places:
        body = _Tree(places, done, node.pos).body(node)
        steps.append(Step(body, node.pos, node.method, node.held, node.sleeps))
    return tuple(steps), done


@dataclass(slots=True)
class _Tree:
    """Write out the tree of the step that begins at a node."""

    places: dict[Node, int]
    done: int
    pos: Pos
    paths: int = 0

    def body(self, first: Node | None) -> Body:
        """Follow the local nodes from `first` to the next step's start, or to a branch."""
        stmts: list[Stmt] = []
        node, at_start = first, True
        while node is not None and (at_start or node not in self.places):
            at_start = False
            if node.cond is not None:
                return Body(_tidy(stmts), Branch(node.cond, self.side(node.next), self.side(node.orelse)))
            assert node.stmt is not None
            stmts.append(node.stmt)
            node = node.next
        return Body(_tidy(stmts), self.goto(node))

    def goto(self, node: Node | None) -> Goto:
        self.paths += 1
        if self.paths > MAX_LEAVES:
            raise PlanError("one step has too many ways to go", self.pos, "Read shared state between branches.")
        return Goto(self.done if node is None else self.places[node])

    def side(self, node: Node | None) -> Body:
        """Follow one side of a branch: a body of its own, or straight on to the next step."""
        return Body((), self.goto(node)) if node is None or node in self.places else self.body(node)


def _first_step(entry: Node | None) -> Node:
    """Return the first node that does something: a thread needs no step to arrive there."""
    assert entry is not None, "a thread has at least one node"
    while not entry.starts and isinstance(entry.stmt, Note | Mark) and entry.next is not None:
        entry = entry.next
    return entry


def _reachable(entry: Node) -> Iterator[Node]:
    """Yield every node that can be reached, in the order of the source as far as the graph has it."""
    seen = {entry}
    stack = [entry]
    while stack:
        node = stack.pop()
        yield node
        for succ in (node.orelse, node.next):
            if succ is not None and succ not in seen:
                seen.add(succ)
                stack.append(succ)


def _cut_local_loops(nodes: list[Node], starts: set[Node]) -> set[Node]:
    """Return local nodes that must begin a step of their own, so that no loop runs within one step.

    :raises PlanError: if a `while` of the author's can go round without a step.
    """
    cut: set[Node] = set()
    order = {node: i for i, node in enumerate(nodes)}
    while True:
        begin = starts | cut
        local = {n: [m for m in (n.next, n.orelse) if m is not None and m not in begin] for n in nodes}
        rings = [ring for ring in components(local) if len(ring) > 1 or ring[0] in local[ring[0]]]
        rings = [ring for ring in rings if not any(node in begin for node in ring)]
        if not rings:
            return cut
        for ring in rings:
            for node in ring:
                if node.loop is not None:
                    raise PlanError(
                        "this loop goes round without looking at shared state",
                        node.loop,
                        "Every path round a while loop must read a field, sleep or call the mm.",
                    )
            cut.add(min(ring, key=order.__getitem__))


def _tidy(stmts: Iterable[Stmt]) -> tuple[Stmt, ...]:
    """Drop a mark that repeats an earlier one of the same line."""
    seen: set[tuple[str, int]] = set()
    kept: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, Mark):
            if (stmt.pos.file, stmt.pos.line) in seen:
                continue
            seen.add((stmt.pos.file, stmt.pos.line))
        kept.append(stmt)
    return tuple(kept)
