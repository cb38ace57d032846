# SPDX-License-Identifier: Apache-2.0
"""In models, choose(), lowest() and exists() go over the values of a set that meet a condition."""

from __future__ import annotations

import textwrap

import pytest

from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.errors import PlanError
from unpinned.export.promela import promela
from unpinned.ir.liveness import reset_dead_locals
from unpinned.ir.program import System
from unpinned.plan.lowering.builder import Component, field_var
from unpinned.plan.lowering.statements import lower_thread
from unpinned.plan.lowering.values import Dims, Val
from unpinned.plan.reading.classes import read_model

HEAD = """\
from unpinned import *
from unpinned.plan.modelling import *


class M(Model):
    taken = PerFrame(Flag())
    marked = PerPage(Flag())
    got = PerVcpu(Pfn())
    done = Flag()
    lock = SpinLock()

"""


def lowered(tmp_path, methods: str, frames: int = 2, vcpus: int = 1, pages: int = 2, args: tuple[Val, ...] = ()):
    file = tmp_path / "m.py"
    file.write_text(HEAD + textwrap.indent(textwrap.dedent(methods), "    "))
    component = Component("mm", "mm", read_model(file, "M"), model=True)
    dims = Dims(pages, frames, vcpus, vcpus)
    threads = tuple(
        reset_dead_locals(lower_thread({"mm": component}, dims, cpu, f"vCPU{cpu}", "op", ("mm", "act"), args))
        for cpu in range(vcpus)
    )
    shared = tuple(field_var(component, name, dims)[0] for name in component.cls.fields)
    return System("M", shared, threads, (None,) * vcpus, frozenset({"stale-use", "deadlock"}))


def ends(system: System, *names: str) -> set[tuple[int, ...]]:
    """Return the values of shared variables in the states where every thread is done."""
    graph = explore(compile_system(system), to_end=True)
    assert graph.complete
    lay = graph.successors.lay
    slots = [lay.shared[name] for name in names]
    done = [
        state
        for state in graph.states
        if all(lay.place(state, t) == thread.done for t, thread in enumerate(system.threads))
    ]
    return {tuple(state[slot.at + i] - slot.bias for slot in slots for i in range(slot.var.size)) for state in done}


def rules(system: System) -> set[str]:
    graph = explore(compile_system(system), to_end=True)
    return {graph.rule(i) for i in graph.broken}


def test_choose_tries_each_value_that_meets_the_condition_and_lowest_the_least(tmp_path):
    body = """
        def act(self):
            with atomic():
                self.taken[2] = True
            with atomic():
                page = {}(f for f in FRAMES if not self.taken[f])
                self.got[this_cpu()] = page
        """
    assert ends(lowered(tmp_path, body.format("choose"), frames=4), "mm.got") == {(1,), (3,), (4,)}
    assert ends(lowered(tmp_path, body.format("lowest"), frames=4), "mm.got") == {(1,)}


def test_lowest_skips_what_does_not_meet_the_condition(tmp_path):
    body = """
        def act(self):
            with atomic():
                self.taken[1] = True
                self.taken[2] = True
            with atomic():
                self.got[0] = lowest(f for f in FRAMES if not self.taken[f])
        """
    assert ends(lowered(tmp_path, body, frames=3), "mm.got") == {(3,)}


@pytest.mark.parametrize("word", ["choose", "lowest"])
def test_a_step_waits_until_some_value_meets_the_condition(tmp_path, word):
    """Two CPUs share one frame: the second takes it once the first has put it, and not before."""
    body = f"""
        def act(self):
            with atomic():
                page = {word}(f for f in FRAMES if not self.taken[f])
                check("stale-use", not self.taken[page], "taken twice")
                self.taken[page] = True
            with atomic():
                self.taken[page] = False
        """
    assert rules(lowered(tmp_path, body, frames=1, vcpus=2)) == set()
    for_ever = body.replace("self.taken[page] = False", "pass")
    assert rules(lowered(tmp_path, for_ever, frames=1, vcpus=2)) == {"deadlock"}


def test_exists_says_whether_a_value_meets_the_condition(tmp_path):
    body = """
        def act(self):
            todo = per_page(True)
            while True:
                with atomic():
                    gfn = choose(g for g in PAGES if todo[g])
                    todo[gfn] = False
                    self.marked[gfn] = True
                    if not exists(g for g in PAGES if todo[g]):
                        break
            with atomic():
                self.done = exists(f for f in FRAMES if self.taken[f]) or exists(c for c in VCPUS if c == 0)
        """
    system = lowered(tmp_path, body, pages=3)
    assert ends(system, "mm.marked", "mm.done") == {(1, 1, 1, 1)}
    assert len(explore(compile_system(system)).states) == 2**3 + 1


def test_a_condition_may_name_locals_and_the_pages_of_the_scenario(tmp_path):
    body = """
        def act(self):
            with atomic():
                gfn = choose(0, PAGES)
            with atomic():
                other = choose(g for g in PAGES if g != gfn)
                self.marked[other] = True
        """
    assert ends(lowered(tmp_path, body, pages=3), "mm.marked") == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_the_wait_of_a_choice_guards_the_whole_step_of_an_exported_model(tmp_path):
    body = """
        def act(self):
            with atomic():
                self.got[0] = choose(f for f in FRAMES if not self.taken[f])
        """
    assert "broken == 0 && (!mm_taken[1] || !mm_taken[2]) ->" in promela(lowered(tmp_path, body))


@pytest.mark.parametrize("word", ["choose", "lowest", "exists"])
def test_values_are_chosen_in_atomic_blocks_only(tmp_path, word):
    with pytest.raises(PlanError, match="outside an atomic block") as caught:
        lowered(tmp_path, f"def act(self):\n    x = {word}(f for f in FRAMES if self.taken[f])\n")
    assert "m.py:13:13" in str(caught.value.pos)
    assert "with atomic():" in caught.value.hint


@pytest.mark.parametrize("late", ["x = choose(f for f in FRAMES if not self.taken[f])", "wait(self.done)"])
def test_a_step_does_not_wait_behind_what_it_has_done(tmp_path, late):
    body = f"def act(self):\n    with atomic():\n        self.done = True\n        {late}\n"
    with pytest.raises(PlanError, match="may have to wait when it has stored or chosen something") as caught:
        lowered(tmp_path, body)
    assert "m.py:14:" in str(caught.value.pos)
    assert "first in the atomic block" in caught.value.hint


def test_the_name_of_the_values_is_not_taken_already(tmp_path):
    with pytest.raises(PlanError, match="f is set already") as caught:
        lowered(tmp_path, "def act(self):\n    f = 1\n    with atomic():\n        x = choose(f for f in PAGES if f)\n")
    assert "m.py:15:30" in str(caught.value.pos)


def test_the_name_of_the_values_ends_with_them(tmp_path):
    body = "def act(self):\n    with atomic():\n        x = choose(f for f in FRAMES if f)\n        x = f\n"
    with pytest.raises(PlanError, match="f is not known here"):
        lowered(tmp_path, body)


def test_a_thread_needs_no_step_to_give_a_local_its_initial_value(tmp_path):
    body = """
        def act(self):
            n = {}
            while True:
                with atomic():
                    self.done = not self.done
                n += 1
                if n == 2:
                    return
        """
    first, later = lowered(tmp_path, body.format(0)), lowered(tmp_path, body.format(1))
    assert [len(system.threads[0].steps) for system in (first, later)] == [1, 2]
    assert ends(first, "mm.done") == {(0,)}
    assert ends(later, "mm.done") == {(1,)}
