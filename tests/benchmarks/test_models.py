# SPDX-License-Identifier: Apache-2.0
"""The models of the benchmarks have the states that other checkers count, and race where they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models.system import interval, kvm_seq
from benchmarks.peers.job import COUNTS
from unpinned.check.search import Graph, explore
from unpinned.check.successors import compile_system
from unpinned.export.promela import promela
from unpinned.ir.program import System

Bound = tuple[int, int, int, int, int]
PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
#: Too large for the reference engine within a test: the native engine's tests count it.
_TOO_LARGE = {(3, 2, 1, 2, 4)}


def search(system: System) -> Graph:
    return explore(compile_system(system))


def counts(model: str) -> list[Any]:
    """Return the bounds of a model with the counts to expect; those that take many seconds are long."""
    found = [(bound, states) for (name, bound), states in COUNTS.items() if name == model and bound not in _TOO_LARGE]
    return [pytest.param(*case, marks=[pytest.mark.long] if case[1] > 10**6 else []) for case in found]


@pytest.mark.parametrize(("bound", "states"), counts("kvm-seq"))
def test_kvm_seq_has_the_states_that_other_checkers_count(bound: Bound, states: int) -> None:
    graph = search(kvm_seq(*bound))
    assert graph.complete
    assert (graph.broken, graph.limits) == ([], [])
    assert len(graph.states) == states


@pytest.mark.parametrize(("bound", "states"), counts("interval"))
def test_the_interval_notifier_has_the_states_that_other_checkers_count(bound: Bound, states: int) -> None:
    graph = search(interval(*bound))
    assert graph.complete
    assert (graph.broken, graph.limits) == ([], [])
    assert len(graph.states) == states


def test_kvm_seq_has_as_many_steps_as_lines() -> None:
    right, literal = kvm_seq(1, 1, 1, 1, 2), kvm_seq(1, 1, 1, 1, 2, literal=True)
    assert [len(thread.steps) for thread in right.threads] == [8, 17]
    assert [len(thread.steps) for thread in literal.threads] == [8, 16]
    transitions = sum(len(edges) // 2 for edges in search(kvm_seq(2, 1, 2, 1, 2)).edges)
    assert transitions == 27_756


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("bound", [(1, 1, 1, 1, 2), (2, 1, 2, 1, 2), (2, 1, 1, 2, 3)])
def test_the_plan_as_posted_races_and_as_agreed_holds(bound: Bound, free: bool) -> None:
    graph = search(kvm_seq(*bound, literal=True, free=free))
    assert {graph.rule(i) for i in graph.broken} == {"stale-use"}
    right = search(kvm_seq(*bound, free=free))
    assert right.complete
    assert not right.broken


def test_the_shortest_race_of_kvm_seq_has_as_many_steps_as_peers_find() -> None:
    """So do those that rumur and SPIN's breadth-first search find."""
    graph = search(kvm_seq(2, 2, 1, 2, 4, literal=True))
    assert graph.depth(graph.broken[0]) == 21


def test_a_callback_that_forgets_the_number_races() -> None:
    for bound in ((1, 1, 1, 1, 2), (2, 1, 1, 2, 3)):
        graph = search(interval(*bound, forgetful=True))
        assert {graph.rule(i) for i in graph.broken} == {"stale-use"}


def test_hosts_that_never_stop_take_the_counter_to_its_bound() -> None:
    """The counter has 4 bits: without its abstraction an unbounded search is undecided, and never wrong."""
    graph = search(kvm_seq(1, 1, 1, 1, 2, forever=True))
    assert graph.complete
    assert not graph.broken
    assert graph.limits
    assert all(thread.done is not None for thread in kvm_seq(1, 1, 1, 1, 2).threads if thread.kind == "op")


def test_the_threads_say_what_they_are() -> None:
    for system in (kvm_seq(2, 1, 1, 1, 2), interval(2, 1, 1, 1, 2)):
        assert [thread.kind for thread in system.threads] == ["vcpu", "vcpu", "op"]
        assert system.promised == {"stale-use"}
        assert dict(system.extents) == {"page": 1, "frame": 2, "vcpu": 2, "cpu": 3}


def test_the_models_can_be_exported() -> None:
    for system in (kvm_seq(1, 1, 1, 1, 2), kvm_seq(1, 1, 1, 2, 2, free=True), interval(1, 1, 1, 1, 2)):
        assert promela(system).count("active proctype") == len(system.threads) + 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not found: apt-get install g++")
@pytest.mark.parametrize(
    ("bound", "free", "states"),
    [
        ((2, 1, 2, 1, 2), False, 11_031),
        ((2, 1, 2, 1, 2), True, 14_193),
        ((2, 2, 1, 1, 2), True, 91_562),
        ((2, 1, 1, 2, 3), True, 119_614),
    ],
)
def test_a_search_written_by_hand_counts_the_same(tmp_path: Path, bound: Bound, free: bool, states: int) -> None:
    defines = [f"-D{name}={value}" for name, value in zip("VHKPF", bound, strict=True)]
    program = str(tmp_path / "limit")
    source = str(PEERS / "limit.cc")
    subprocess.run(
        ["g++", "-O1", "-std=c++17", "-w", *defines, f"-DFREE={int(free)}", source, "-o", program], check=True
    )
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT ok states (\d+) transitions (\d+) deadlocks 0", said)
    assert found, said
    graph = search(kvm_seq(*bound, free=free))
    assert (len(graph.states), sum(len(edges) // 2 for edges in graph.edges)) == (int(found[1]), int(found[2]))
    assert len(graph.states) == states
