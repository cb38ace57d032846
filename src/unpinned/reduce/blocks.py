# SPDX-License-Identifier: Apache-2.0
"""Merge steps that nobody can come between: Lipton's reduction, as a pass over systems.

A *block* is a run of steps of one CPU: steps that move right, at most one step that moves nowhere, and steps that move
left (reduce/movers.py says what moves). It becomes one atomic step: step k keeps its number, and its tree goes on
through the trees of the steps that follow, until the block ends. The steps in the middle stay in the list, mostly out
of reach. So a state of the reduced system is a state of the full one in which every CPU stands between two blocks; only
a broken state is different, in that its CPU stands where the block began. Three more conditions hold:

- Only the first step of a block can block: it alone may have a Wait, or a choice that might find no value.
- No step is twice in a block, so a block ends.
- Where a block goes on is decided when its last step is taken: if a step may join on some of its paths only (say it
  does nothing where a local is 0, and frees a frame where it is not), the tree tests the local conditions that lead
  there, and goes to the step's own number on the other sides.

**Why a broken check is found if and only if there is one.** A run of the reduced system is one of the full system, with
some steps put together. For the other way, take a run of the full system that ends in a broken state, cut each CPU's
steps into blocks, and let b be its last step. A CPU in the middle of a block has either taken steps that move right
only: these move right, past everything up to b and past b itself, and are dropped. Or it has only steps that move left
before it: take them just before b. None of them blocks, each leaves b as it is, and if one breaks a rule the run ends
there, broken too. Now each block is whole, and its steps move right and left to the one that does not move. That is a
run of the reduced system. So the reduced system reaches a broken state if the full one does, though it may be a state
that breaks another rule, or a limit, whose check came first.

The same argument shows that each state of the full system between blocks is a state of the reduced one, and that, from
such a state, one in which a CPU takes a step, is done, or breaks a rule is reached in both or in neither.

**Why waiting for ever is found if and only if there is some.** Let `stuck` be one of: from here on CPU t can never take
a step, or can never be done, and no state that is broken is reached. It stays true along every run. If it is true of a
state of the full system, let each CPU in the middle of a block go on to the block's end: nothing there can block, and
nothing is broken, or it would not be true. This ends between blocks, in a state that the reduced system reaches, and
there it is true in both systems, by the last paragraph. That is why a Wait must not be inside a block: in one, a CPU
would hold one lock and wait for the next in no state at all, and two CPUs that wait for each other would not be seen.
The states in which no CPU can take a step are the same ones in both systems.

**What is not preserved.** A cycle in which no fault completes (`progress`) has states within blocks, in which a fault
may be under way or not. Which CPUs ever waited is not preserved either. Both are to be asked of the full system.
Checks that are not promised are no accesses, so the rules to look for must be promised before steps are merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from unpinned.ir.program import (
    Body,
    Branch,
    Check,
    Choose,
    Cover,
    Goto,
    Mark,
    Note,
    Shared,
    Step,
    Stmt,
    System,
    Thread,
    Wait,
    reads,
)
from unpinned.ir.program import leaves as paths
from unpinned.reduce.movers import Movers, Path

#: How many paths a block may have: those that meet again are written twice, and what is written must be compiled.
MAX_PATHS = 256
#: How deep the tests, checks and choices of a block may nest: what is compiled to Python nests by as many indents.
MAX_DEPTH = 80
#: How many choices may stand one within the other: what is compiled to Python nests by as many loops.
MAX_CHOICES = 16
#: How many steps a block may have.
MAX_STEPS = 64


def merge_blocks(system: System) -> tuple[System, tuple[str, ...]]:
    """Return the system with its blocks merged, and notes on what was given up."""
    movers = Movers(system)
    notes = dict.fromkeys(movers.notes)
    threads = []
    for number, thread in enumerate(system.threads):
        merger = _Merger(movers, number, thread)
        threads.append(replace(thread, steps=merger.steps()))
        notes.update(dict.fromkeys(merger.notes.values()))
    return replace(system, threads=tuple(threads)), tuple(notes)


@dataclass(frozen=True, slots=True)
class _Run:
    """A block so far, on one path: its steps, whether one of them did not move right, and how deep it nests."""

    seen: frozenset[int]
    post: bool = False
    depth: int = 0
    choices: int = 0


@dataclass(slots=True)
class _Merger:
    """Merge the blocks of one thread; `room` is how many more paths the block under work may have.

    `notes` has for each reason to end a block early the first place where it did.
    """

    movers: Movers
    number: int
    thread: Thread
    room: int = 0
    notes: dict[str, str] = field(default_factory=dict)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps, each that can be reached with its block."""
        steps = list(self.thread.steps)
        begun, work = {0}, [0]
        while work:
            place = work.pop()
            body = self.thread.steps[place].body
            self.room = max(MAX_PATHS - _leaves(body), 0)
            steps[place] = replace(
                steps[place], body=self.grown(body, self.start(place), place, _Run(frozenset({place})))
            )
            for _, goto in paths(steps[place].body):
                if goto.target < len(steps) and goto.target not in begun:
                    begun.add(goto.target)
                    work.append(goto.target)
        return tuple(steps)

    def start(self, place: int) -> Path:
        return self.movers.start(self.number, place)

    # ---- what of a step may join

    def joined(
        self, body: Body, path: Path, place: int, post: bool, words: tuple[Stmt, ...] = (), whole: bool = False
    ) -> Body | None:
        """Return as much of the tree of step `place` as may join a block, or None if nothing may.

        A side that may not join goes to `place`, and then nothing of the step is done: `words` are notes and covers
        that stand before, for the sides that join. With `whole`, something is done before, and all sides must join.
        """
        stmts = words + body.stmts
        for stmt in body.stmts:
            path = self.movers.run(self.number, path, stmt)
        if isinstance(body.end, Goto):
            return None if path.blocks or (post and not path.left) else Body(stmts, body.end)
        silent = not whole and all(isinstance(stmt, Note | Cover | Mark) for stmt in body.stmts)
        silent = silent and not any(isinstance(ref, Shared) for ref in reads(body.end.cond))
        path = self.movers.look(self.number, path, body.end.cond)
        carried = stmts if silent else ()
        then = self.joined(body.end.then, path, place, post, carried, not silent)
        orelse = self.joined(body.end.orelse, path, place, post, carried, not silent)
        if (then is None and orelse is None) or (not silent and (then is None or orelse is None)):
            return None
        back = Body((), Goto(place))
        return Body(() if silent else stmts, Branch(body.end.cond, then or back, orelse or back))

    # ---- going on

    def grown(self, body: Body, path: Path, place: int, run: _Run) -> Body:
        """Return the tree of a step, with each of its paths going on as far as the block does."""
        for stmt in body.stmts:
            path = self.movers.run(self.number, path, stmt)
        depth, choices = _weight(body)
        run = replace(run, depth=run.depth + depth, choices=run.choices + choices)
        if isinstance(body.end, Goto):
            onward = self.onward(body.end.target, replace(run, post=run.post or not path.right))
            return Body(body.stmts + onward.stmts, onward.end)
        path = self.movers.look(self.number, path, body.end.cond)
        then = self.grown(body.end.then, path, place, run)
        return Body(body.stmts, Branch(body.end.cond, then, self.grown(body.end.orelse, path, place, run)))

    def onward(self, place: int, run: _Run) -> Body:
        """Return what a block does from `place` on: the step there, if it may join, or nothing."""
        stop = Body((), Goto(place))
        if place >= len(self.thread.steps) or place in run.seen:
            return stop
        step = self.thread.steps[place]
        body = self.joined(step.body, self.start(place), place, run.post)
        if body is None:
            return stop
        more = _leaves(body) - 1
        depth, choices = _height(body)
        if more > self.room or run.depth + depth > MAX_DEPTH or run.choices + choices > MAX_CHOICES:
            return self.given_up(stop, "it would have too many ways to go", step)
        if len(run.seen) >= MAX_STEPS:
            return self.given_up(stop, "it would have too many steps", step)
        self.room -= more
        return self.grown(body, self.start(place), place, replace(run, seen=run.seen | {place}))

    def given_up(self, stop: Body, why: str, step: Step) -> Body:
        note = f"a block of {self.thread.name} ends early: {why} ({step.pos.short})"
        self.notes.setdefault(why, note)
        return stop


def _leaves(body: Body) -> int:
    """Return how many paths a tree has."""
    return 1 if isinstance(body.end, Goto) else _leaves(body.end.then) + _leaves(body.end.orelse)


def _weight(body: Body) -> tuple[int, int]:
    """Return how many indents and how many loops the statements of a body, and its branch, are worth."""
    choices = sum(isinstance(stmt, Choose) for stmt in body.stmts)
    tests = sum(isinstance(stmt, Wait | Check) for stmt in body.stmts)
    return tests + 2 * choices + isinstance(body.end, Branch), choices


def _height(body: Body) -> tuple[int, int]:
    """Return the same of the heaviest path through a tree."""
    depth, choices = _weight(body)
    if isinstance(body.end, Goto):
        return depth, choices
    sides = (_height(body.end.then), _height(body.end.orelse))
    return depth + max(side[0] for side in sides), choices + max(side[1] for side in sides)
