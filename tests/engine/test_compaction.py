# SPDX-License-Identifier: Apache-2.0
"""A search that tells states apart by hashes, from the start or from some point on, sees what the exact one sees."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from support.kvm_seq import kvm_seq
from support.systems import fork, op, put, system, thread, to

from unpinned import api
from unpinned.check.successors import compile_system
from unpinned.engine import explorer
from unpinned.engine.compaction import Walker, odds
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.program import Local, Var
from unpinned.mm.scenario import Scenario
from unpinned.mm.system import build

AMPLE = Limits(1 << 30, to_end=True)
#: Bytes that each worker takes however small the search is, with two words a state.
EACH_WORKER = 16 * explorer.RECENT + 8 * explorer.STASH


@cache
def program(*bound: int, literal: bool = False) -> Program:
    return Program(kvm_seq(*bound, literal=literal))


def found(made: Program, limits: Limits) -> dict[str, object]:
    """Search, and return all that is counted, and whether states were compacted."""
    search = Search(made, limits)
    search.run()
    counted = {
        "states": search.states,
        "transitions": search.transitions,
        "levels": search.levels,
        "files": [search.count(counter) for counter in (explorer.BROKEN, explorer.LIMITS, explorer.DEAD)],
        "ways": (search.complete, search.stopped, search.passed(), search.waited, search.before),
        "compact": search.compact,
    }
    search.close()
    return counted


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(("bound", "states"), [((2, 1, 2, 1, 2), 11_031), ((2, 2, 1, 1, 3), 81_112)])
def test_hashes_alone_give_the_exact_counts(bound, states, cores):
    exact = found(program(*bound), AMPLE)
    assert exact["states"] == states
    compacted = found(program(*bound), replace(AMPLE, at_once=True, cores=cores))
    assert compacted == exact | {"compact": True}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("memory", range(1_300_000, 2_500_000, 100_000))
def test_the_switch_may_come_anywhere(memory, cores):
    """Bounds from half to nearly all of what the exact search takes: the switch falls into many levels."""
    made = program(2, 2, 1, 1, 3)
    exact = found(made, AMPLE)
    compacted = found(made, replace(AMPLE, memory=memory + cores * EACH_WORKER, cores=cores))
    assert compacted == exact | {"compact": True}


def test_a_switch_within_a_level():
    """The states of the level that are expanded already are given back, the others are not."""
    search = Search(program(2, 2, 1, 1, 3), replace(AMPLE, memory=1_600_000))
    switched: list[tuple[int, int, int]] = []
    give_back = search._give_back

    def watched() -> None:
        give_back()
        c = search.control
        switched.append((c[explorer.OWN + explorer.LOW], search.kept()[0][0], c[explorer.OWN + explorer.HIGH]))

    search._give_back = watched  # type: ignore[method-assign]
    search.run()
    low, given, high = switched[0]
    assert search.compact
    assert low < given < high
    search.close()


@pytest.mark.parametrize("plan", api.plans("src/unpinned/drivers/kvm2008.py"), ids=lambda plan: plan.name)
def test_shipped_plans(plan):
    made = Program(build(plan, Scenario(1, 1, ("zap",))))
    for to_end in (True, False):
        exact = found(made, replace(AMPLE, to_end=to_end))
        for limits in (replace(AMPLE, at_once=True), replace(AMPLE, at_once=True, seed=7, cores=2)):
            assert found(made, replace(limits, to_end=to_end)) == exact | {"compact": True}


@pytest.mark.parametrize("cores", [1, 2])
def test_the_path_to_a_race_that_was_found_after_the_switch_can_be_replayed(cores):
    made = program(2, 2, 1, 1, 3, literal=True)
    successors = compile_system(made.system)
    exact = found(made, replace(AMPLE, to_end=False))
    search = Search(made, replace(AMPLE, memory=760_000 + cores * EACH_WORKER, to_end=False, cores=cores))
    search.run()
    assert not search.stopped
    assert search.compact
    assert search.before
    assert search.states == exact["states"]
    for number in search.filed(explorer.BROKEN, search.before)[:50]:
        path = search.path(number)
        states = [search.state(step) for step in path]
        assert len(path) - 1 == search.depth_of(number)
        assert made.canonical(states[0]) == made.first
        for before, after in pairwise(states):
            assert made.canonical(after) in {made.canonical(state) for _, state in successors.expand(before)}
        assert any(after[0] for _, after in successors.expand(states[-1]))
    search.close()


def test_every_state_can_be_made_again():
    made = program(2, 1, 2, 1, 2)
    exact, compacted = Search(made, AMPLE), Search(made, replace(AMPLE, at_once=True))
    exact.run()
    compacted.run()
    assert compacted.kept() == [(11_031, 11_031)]
    for number in range(0, 11_031, 97):
        assert compacted.state(number) == exact.state(number)
        assert compacted.path(number) == exact.path(number)
        assert compacted.depth_of(number) == exact.depth_of(number) == len(exact.path(number)) - 1
    exact.close()
    compacted.close()


def test_the_walker_takes_the_steps_of_the_reference_engine():
    made = program(2, 1, 2, 1, 2)
    successors = compile_system(made.system)
    search = Search(made, AMPLE)
    search.run()
    walker = Walker(made, 3)
    for number in range(0, search.states, 101):
        state = search.state(number)
        after = {made.canonical(state) for _, state in successors.expand(state) if not state[0]}
        assert set(walker.steps(made.canonical(state)).values()) == after - {made.canonical(state)}
    search.close()


def test_another_seed_gives_other_hashes_and_the_same_counts():
    made = program(2, 1, 2, 1, 2)
    hashes = [set(Walker(made, seed).steps(made.first)) for seed in range(20)]
    assert len(set.union(*hashes)) == sum(len(some) for some in hashes)
    exact = found(made, AMPLE)
    for seed in (1, 2, 1 << 63):
        assert found(made, replace(AMPLE, seed=seed)) == exact
        assert found(made, replace(AMPLE, seed=seed, at_once=True)) == exact | {"compact": True}


def test_the_odds_are_those_of_birthdays():
    assert odds(1 << 32) == pytest.approx(0.5)
    assert odds(100_000_000) == pytest.approx(2.7e-4, rel=0.01)
    search = Search(program(2, 1, 2, 1, 2), AMPLE)
    search.run()
    assert search.odds == 0
    search.close()


def test_without_leave_states_are_not_compacted():
    search = Search(program(2, 2, 1, 1, 3), replace(AMPLE, memory=1_500_000, compact=False))
    search.run()
    assert (search.stopped, search.compact, search.complete) == ("memory", False, False)
    assert 20_000 < search.states < 81_112
    search.close()


def test_a_full_disk_ends_the_search_undecided_and_loses_nothing(monkeypatch):
    made = program(2, 2, 1, 1, 3)
    write, left = os.pwrite, [0]

    def full(file, data, at):
        if left[0] < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= len(data)
        return write(file, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    stopped = []
    for room in (0, 100_000, 400_000, 700_000, 900_000):
        left[0] = room
        search = Search(made, replace(AMPLE, memory=1_600_000))
        search.run()
        assert search.stopped == "memory"
        assert "No space left on device" in search.note
        assert str(search._logs.where) in search.note
        number = search.level(search.depth)[0][0]
        assert len(search.path(number)) - 1 == search.depth_of(number) == search.depth
        assert search.state(number)
        stopped.append(search.compact)
        search.close()
    assert set(stopped) == {False, True}  # at the switch, and later


def test_no_files_are_left(tmp_path, monkeypatch):
    monkeypatch.setenv("UNPINNED_CACHE", str(tmp_path / "cache"))
    search = Search(program(2, 1, 2, 1, 2), replace(AMPLE, at_once=True))
    search.run()
    assert search.complete
    assert not list((tmp_path / "cache").iterdir())
    search.close()


def test_a_cache_folder_that_cannot_be_used_ends_the_search_undecided(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("UNPINNED_CACHE", str(tmp_path / "file" / "cache"))
    search = Search(program(2, 1, 2, 1, 2), replace(AMPLE, at_once=True))
    search.run()
    assert search.stopped == "memory"
    assert str(tmp_path / "file") in search.note
    search.close()


def test_the_variable_with_the_most_values_is_named():
    search = Search(program(2, 2, 1, 1, 3), replace(AMPLE, memory=1_500_000, compact=False))
    search.run()
    states = [search.state(number) for low, high in search.kept() for number in range(low, high)]
    lay = search.program.pack.lay
    slots = dict(lay.shared) | {
        f"{thread.name}.{name}": slot
        for thread, locals_ in zip(search.program.system.threads, lay.locals, strict=True)
        for name, slot in locals_.items()
    }
    values = {name: {state[slot.at : slot.at + slot.var.size] for state in states} for name, slot in slots.items()}
    name, count = search.widest()
    assert count <= len(values[name])
    assert len(values[name]) == max(len(some) for some in values.values())
    search.close()


def test_of_two_threads_of_one_name_the_wider_variable_is_named():
    name = Local("own.i")
    bodies = [[fork(op("<", name, most), to(0, put(name, op("+", name, 1))), to(1))] for most in (9, 2)]
    threads = [thread("zap", body, Var("own.i", "int", 0, 9)) for body in bodies]
    search = Search(Program(system([], threads)), AMPLE)
    search.run()
    assert search.widest() == ("zap.own.i", 10)
    search.close()
