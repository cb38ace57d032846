# SPDX-License-Identifier: Apache-2.0
"""Let the tasks of a system share fewer CPUs than there are tasks.

A task keeps its CPU from step to step, and gives it up where it may sleep, in the guest, before it begins and when it
is done; it may go on on any CPU. So where a task stands says whether it has a CPU, and all that is to be known beside
is how many have one. The kernel is taken not to be preempted, as with CONFIG_PREEMPT_VOLUNTARY: a task that spins, on a
lock or in a loop that never sleeps, keeps its CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from unpinned.ir.program import Body, Const, Goto, Op, Set, Shared, Step, Stmt, Thread, Var, Wait

#: How many CPUs have a task.
RUNNING: Final = "cpu.running"
_RUNNING: Final = Shared(RUNNING)


def share_cpus(threads: Sequence[Thread], cpus: int) -> tuple[list[Thread], Var]:
    """Return the threads as tasks that wait for one of so many CPUs, and the count of those that have a task."""
    return [_task(thread, cpus) for thread in threads], Var(RUNNING, "int", 0, cpus)


def _task(thread: Thread, cpus: int) -> Thread:
    without = [_has_none(thread, place) for place in range(len(thread.steps) + 1)]
    steps = tuple(replace(step, body=_step(step, without, place, cpus)) for place, step in enumerate(thread.steps))
    return replace(thread, steps=steps)


def _has_none(thread: Thread, place: int) -> bool:
    """Tell whether a task that stands there has no CPU."""
    if place in (0, len(thread.steps)):
        return True
    step = thread.steps[place]
    return step.sleeps or (thread.kind == "vcpu" and "page_fault" not in step.method.split("/"))


def _step(step: Step, without: Sequence[bool], place: int, cpus: int) -> Body:
    """Return the body of a step that takes a CPU where the task has none before it, and gives it up where it ends."""

    def ends(body: Body) -> Body:
        if not isinstance(body.end, Goto):
            end = replace(body.end, then=ends(body.end.then), orelse=ends(body.end.orelse))
            return Body(body.stmts, end)
        change = without[place] - without[body.end.target]
        if not change:
            return body
        value = Op("+" if change > 0 else "-", (_RUNNING, Const(1)))
        return Body((*body.stmts, Set(_RUNNING, value)), body.end)

    body = ends(step.body)
    first: tuple[Stmt, ...] = (Wait(Op("<", (_RUNNING, Const(cpus)))),) if without[place] else ()
    return Body((*first, *body.stmts), body.end)
