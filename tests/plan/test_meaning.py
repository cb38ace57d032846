# SPDX-License-Identifier: Apache-2.0
"""A plan means what Python means: cases in which a reader once read something else."""

from __future__ import annotations

import re
import textwrap

import pytest

from unpinned.check.search import explore
from unpinned.check.successors import compile_system
from unpinned.errors import PlanError
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build, whole
from unpinned.plan.reading.classes import PlanClass, read_plans

HEAD = "from unpinned import *\nfrom unpinned.drivers.kvm2008 import Kvm2008\n\n\nclass Plan(Kvm2008):\n"


def plan(tmp_path, methods: str) -> PlanClass:
    file = tmp_path / "plan.py"
    file.write_text(HEAD + textwrap.indent(textwrap.dedent(methods), "    "))
    return read_plans(file)[0]


def rules(made: PlanClass, *ops: str, pages: int = 1) -> set[str]:
    graph = explore(compile_system(build(made, Scenario(1, pages, ops))), to_end=True)
    assert graph.complete
    return {graph.rule(i) for i in graph.broken}


def test_a_range_that_is_walked_is_looked_at_once(tmp_path):
    """The inner loop walks one page, whatever `q` is set to on the way: the second page is never zapped."""
    made = plan(
        tmp_path,
        """
        def invalidate_range_start(self, r):
            with self.mmu_lock:
                self.range_count += 1
                for g in r:
                    q = page_range(g)
                    for x in q:
                        q = r
                        self.zap(x)
                    break
        """,
    )
    assert "stale-use" in rules(made, "zap", pages=2)


def test_a_range_whose_name_is_set_anew_is_walked_to_its_end(tmp_path):
    made = plan(
        tmp_path,
        """
        def invalidate_range_start(self, r):
            with self.mmu_lock:
                self.range_count += 1
                for gfn in r:
                    r = page_range(gfn)
                    self.zap(gfn)
        """,
    )
    assert rules(made, "zap", pages=2) == set()


def test_a_range_is_computed_whole_before_it_is_set(tmp_path):
    """`q` becomes page 1 alone where page 0 lies in it; computed end after start it would be pages 1 and 2."""
    made = plan(
        tmp_path,
        """
        def invalidate_range_start(self, r):
            with self.mmu_lock:
                self.range_count += 1
                for g in r:
                    q = r
                    one = page_range(g)
                    q = one if g in q else q
                    self.zap(q)
        """,
    )
    assert rules(made, "zap", pages=2) == set()


@pytest.mark.parametrize(
    ("helper", "line"),
    [("if keep:\n        return\n    return True", 9), ("if keep:\n        return True\n    return", 10)],
)
def test_a_method_returns_a_value_on_every_path_or_on_none(tmp_path, helper, line):
    made = plan(
        tmp_path,
        f"""
def h(self, keep):
    {helper}
def invalidate_range_start(self, r):
    if self.h(False):
        pass
""",
    )
    with pytest.raises(PlanError, match="h returns nothing here, and a value elsewhere") as caught:
        whole(made)
    assert f"plan.py:{line}:" in str(caught.value.pos)


def test_loops_of_local_steps_in_each_other_are_read(tmp_path):
    made = plan(
        tmp_path,
        """
        def invalidate_range_start(self, r):
            n = 0
            with self.mmu_lock:
                self.range_count += 1
                x = self.seq
                for a in r:
                    if x == 1:
                        for b in r:
                            n += 1
                self.zap(r)
        """,
    )
    assert rules(made, "zap") == set()


def test_a_while_round_a_local_for_is_refused(tmp_path):
    made = plan(
        tmp_path,
        """
        def invalidate_range_start(self, r):
            n = 0
            while n < 3:
                for b in r:
                    n += 0
        """,
    )
    with pytest.raises(PlanError, match="goes round without looking at shared state") as caught:
        whole(made)
    assert "plan.py:9:" in str(caught.value.pos)


def test_a_method_that_no_scenario_calls_is_read_all_the_same(tmp_path):
    with pytest.raises(PlanError, match="has no field `unknown`"):
        plan(tmp_path, "def helper(self):\n    self.unknown = 1\n")
    made = plan(tmp_path, "def invalidate_page(self, gfn):\n    self.seq = gfn\n")
    with pytest.raises(PlanError, match="a gfn stands where a number is wanted"):
        whole(made)


def test_what_and_or_gave_is_not_compared(tmp_path):
    """In Python `stale` may be a number, and then it equals neither True nor False."""
    made = plan(
        tmp_path,
        """
        def invalidate_page(self, gfn):
            stale = self.seq == 1 or self.range_count
            if stale == True:
                self.zap(gfn)
        """,
    )
    with pytest.raises(PlanError, match="a truth value is not compared"):
        whole(made)


def test_fault_of_an_address_that_is_there_breaks_progress(tmp_path):
    made = plan(
        tmp_path,
        """
        def page_fault(self, gfn, write):
            result = super().page_fault(gfn, write)
            return FAULT if result == REPLAY else result
        """,
    )
    assert rules(made, "zap") == {"progress"}


def test_helpers_that_grow_without_bound_when_inlined_are_refused(tmp_path):
    doubling = "".join(f"def h{i}(self):\n    self.h{i - 1}()\n    self.h{i - 1}()\n" for i in range(1, 31))
    made = plan(
        tmp_path,
        f"def h0(self):\n    self.seq += 0\n{doubling}"
        "def page_fault(self, gfn, write):\n    self.h30()\n    return super().page_fault(gfn, write)\n",
    )
    with pytest.raises(PlanError, match="too long to be searched") as caught:
        whole(made)
    assert re.search(r"plan\.py:(7|9):", str(caught.value.pos))  # one of the helpers, whichever went too far
