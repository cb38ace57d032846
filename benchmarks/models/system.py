# SPDX-License-Identifier: Apache-2.0
"""Lower the models of this folder to systems, at any bound."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import Const, System, Thread
from unpinned.plan.lowering.builder import Component, field_var
from unpinned.plan.lowering.statements import lower_thread
from unpinned.plan.lowering.values import Dims, Val
from unpinned.plan.reading.classes import PlanClass, read_model


def kvm_seq(
    vcpus: int,
    hosts: int,
    times: int,
    pages: int,
    frames: int,
    *,
    literal: bool = False,
    free: bool = False,
    forever: bool = False,
) -> System:
    """Make kvm-seq: `hosts` CPUs invalidate `times` times each beside `vcpus` that fault for ever.

    :param literal: the plan as posted, which races.
    :param free: take any free frame, and visit the pages of a range in any order.
    :param forever: hosts invalidate without end, and `times` says nothing.
    """
    name = f"KvmSeq{'Free' if free else ''}{'Literal' if literal else ''}"
    host = ("host_for_ever", ()) if forever else ("host", (times,))
    return _system("kvm_seq", name, Dims(pages, frames, vcpus, vcpus + hosts), ("vcpu", ()), host)


def interval(
    devices: int, ops: int, times: int, pages: int, frames: int, *, forgetful: bool = False, forever: bool = False
) -> System:
    """Make the interval notifier: `ops` CPUs invalidate `times` times each beside `devices` that fault for ever.

    :param forgetful: the callback does not store the number of the invalidation, which races.
    :param forever: they invalidate without end, and `times` says nothing.
    """
    name = f"Interval{'Forgetful' if forgetful else ''}"
    dims = Dims(pages, frames, devices, devices + ops)
    op = ("invalidate_for_ever", ()) if forever else ("invalidate", (times,))
    return _system("interval", name, dims, ("device", ()), op)


Entry = tuple[str, Sequence[int]]


def _system(module: str, name: str, dims: Dims, vcpu: Entry, op: Entry) -> System:
    """Lower a model of one class: each vCPU runs the method `vcpu`, each other CPU the method `op`."""
    component = Component("model", "model", _model(module, name), model=True)
    threads: list[Thread] = []
    for cpu in range(dims.cpus):
        kind, (method, args) = ("vcpu", vcpu) if cpu < dims.vcpus else ("op", op)
        values = [Val("int", (Const(arg),)) for arg in args]
        thread = lower_thread({"model": component}, dims, cpu, f"{method}{cpu}", kind, ("model", method), values)
        threads.append(reset_dead_locals(thread))
    shared = tuple(field_var(component, name, dims)[0] for name in component.cls.fields)
    extents = ("page", dims.pages), ("frame", dims.frames), ("vcpu", dims.vcpus), ("cpu", dims.cpus)
    return System(name, shared, tuple(threads), (None,) * dims.cpus, frozenset({"stale-use"}), extents)


@cache
def _model(module: str, name: str) -> PlanClass:
    return read_model(Path(__file__).with_name(f"{module}.py"), name)
