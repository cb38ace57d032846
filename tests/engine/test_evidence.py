# SPDX-License-Identifier: Apache-2.0
"""Both engines give the same evidence: verdict, counts, the very steps of a race, events and lines."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.searching import CLIENTS, DRIVERS, every_plan, judged, scenario
from support.systems import acquire, fork, op, put, thread, to
from support.systems import system as made_of

from benchmarks.models.system import kvm_seq
from unpinned import api
from unpinned.check import compiled, reference
from unpinned.check.engines import DEFAULT, examine
from unpinned.check.reduced import SafetyResult, search_reduced
from unpinned.check.search import Bounds
from unpinned.engine.analysis import Analysis
from unpinned.engine.search import Limits, Search
from unpinned.ir.program import Check, Choose, Const, Local, Shared, System, Var
from unpinned.ir.rules import LIMIT
from unpinned.mm.system import build

_LIMITS = Limits(512 << 20)


def same_evidence(system: System, most: int = 40_000) -> bool:
    """Assert that both engines give the same evidence on a system; tell whether it was small enough to compare."""
    expected = reference.examine(system, Bounds(states=most))
    if expected.stopped:
        return False
    for cores in (1, 2):
        found = compiled.examine(system, replace(_LIMITS, cores=cores))
        assert replace(found, race=None) == replace(expected, race=None)
        if found.race is None or expected.race is None or expected.race.stuck is None is expected.race.cycle:
            assert found.race == expected.race
        else:  # there may be several such cycles, and which is met first depends on the order of the search
            assert (found.race.rule, found.race.states) == (expected.race.rule, expected.race.states)
            assert (found.race.stuck is None) == (expected.race.stuck is None)
    return True


#: CI takes every plan beside one operation; the other is for the long form.
@pytest.mark.parametrize("op", ["zap", pytest.param("reclaim", marks=pytest.mark.long)])
@pytest.mark.parametrize("plan", every_plan())
def test_the_engines_agree_on_every_plan_of_the_repository(plan, op):
    if plan.operations is not None and op not in plan.operations:
        op = plan.operations[0]
    assert same_evidence(build(plan, scenario(f"1:1:{op}")))


@pytest.mark.parametrize(
    ("path", "name", "beside"),
    judged(*CLIENTS, "protect", "tasks", "ioproc"),
    ids=lambda value: getattr(value, "stem", value),
)
def test_the_engines_agree_on_clients(path, name, beside):
    (plan,) = api.plans(path, name)
    assert same_evidence(build(plan, scenario(beside)), most=70_000)


# ---- what must not be lost ----------------------------------------------------------------------------


def _crossed() -> System:
    """Make two CPUs that take two locks in opposite order."""
    first, second = Shared("plan.l"), Shared("plan.m")

    def both(one: Shared, other: Shared) -> list[Any]:
        return [to(1, *acquire(one)), to(2, *acquire(other)), to(3, put(other, 0)), to(0, put(one, 0))]

    locks = [Var("plan.l", "spinlock", 0, 1), Var("plan.m", "mutex", 0, 1)]
    threads = [thread("a", both(first, second), ends=False), thread("b", both(second, first), ends=False)]
    return made_of(locks, threads, "deadlock")


def _late(steps: int = 30) -> System:
    """Make two CPUs that flip a bit now and then, and a third that breaks a rule in the end: many paths lead there."""

    def count(last: int, end: list[Any]) -> list[Any]:
        i, flip = Local("own.i"), put(Shared("mm.z"), op("-", 1, Shared("mm.z")))
        return [fork(op("<", i, last), to(0, put(i, op("+", i, 1)), flip), to(1)), *end]

    threads = [thread(name, count(steps, []), Var("own.i", "int", 0, steps)) for name in "ab"]
    end = to(2, Check(op("==", Shared("mm.z"), 2), "leak", "late"))
    threads.append(thread("c", count(2 * steps, [end]), Var("own.i", "int", 0, 2 * steps)))
    return made_of([Var("mm.z", "int", 0, 1)], threads, "leak")


def test_a_deadlock_is_found_with_a_checkpoint_too(tmp_path: Path) -> None:
    found = compiled.examine(_crossed(), _LIMITS, checkpoints=compiled.Checkpoints(tmp_path))
    assert found.race is not None
    assert found == compiled.examine(_crossed(), _LIMITS)
    assert not list(tmp_path.iterdir())


def test_one_search_of_the_full_system_has_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadlock is looked at in the whole graph: by a second search, after the first."""
    open_: list[int] = []

    class Counted(Search):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            open_.append(id(self))
            assert open_ == [id(self)]

        def close(self) -> None:
            super().close()
            open_[:] = [one for one in open_ if one != id(self)]

    monkeypatch.setattr(compiled, "Search", Counted)
    found = compiled.examine(_crossed(), _LIMITS)
    assert found.race is not None
    assert found.race.rule == "deadlock"
    assert not open_


@pytest.mark.parametrize(("cut", "stopped"), [(TimeoutError, ""), (KeyboardInterrupt, "interrupt")])
def test_a_race_that_was_found_is_told_whatever_cuts_the_comparison_of_paths_short(
    monkeypatch: pytest.MonkeyPatch, cut: type[BaseException], stopped: str
) -> None:
    whole = compiled.examine(_late(), _LIMITS, reductions=False)

    def layers(*_args: Any) -> None:
        raise cut

    monkeypatch.setattr(Analysis, "layers", layers)
    found = compiled.examine(_late(), _LIMITS, reductions=False)
    assert found.stopped == stopped
    assert found.race is not None
    assert whole.race is not None
    assert (found.race.rule, len(found.race.schedule)) == (whole.race.rule, len(whole.race.schedule))
    assert found.race.shortest
    assert found.race.switches >= whole.race.switches


def test_a_deadlock_that_was_found_is_told_if_what_is_behind_it_cannot_be_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = compiled.examine(_crossed(), _LIMITS)

    def behind(*_args: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(compiled._Found, "_behind", behind)
    found = compiled.examine(_crossed(), _LIMITS)
    assert found.race is not None
    assert whole.race is not None
    assert found.race.rule == whole.race.rule == "deadlock"
    assert len(found.race.schedule) == len(whole.race.schedule)
    assert found.race.stuck is not None


def _of_choices() -> System:
    """Make a CPU that chooses twice in a row: one step of more ways than a step may have, once they are merged."""
    chosen = [Local("own.a"), Local("own.b")]
    flip = put(Shared("mm.n"), op("-", 1, Shared("mm.n")))
    steps = [to(i + 1, Choose(one, Const(0), Const(256))) for i, one in enumerate(chosen)]
    steps.append(to(0, *(put(one, 0) for one in chosen), flip))
    own = [Var(one.name, "int", 0, 255) for one in chosen]
    threads = [thread("t", steps, *own, ends=False), thread("u", [to(0, flip)], ends=False)]
    return made_of([Var("mm.n", "bool", 0, 1)], threads, "leak")


def _cut_short(monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    """Let the first so many runs of a search end at once, since the time is up."""
    real = Search.run
    left = [True] * runs

    def run(self: Search, tick: Any = None) -> None:
        if left:
            left.pop()
            self.stopped = "time"
        else:
            real(self, tick)

    monkeypatch.setattr(Search, "run", run)


def test_a_reduced_system_that_cannot_be_compiled_costs_nothing_but_the_reductions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _cut_short(monkeypatch, 1)
    found = compiled.examine(_of_choices(), _LIMITS)
    assert (found.states, found.complete) == (2 * (1 + 256 + 256 * 256), True)
    assert found.details == ("reductions were given up: the reduced system has more than 65535 steps out of a state",)
    assert found.notes == ()


def test_what_a_reduced_search_can_be_trusted_with_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The odds beside what they are the odds of; what was given up in any case."""
    plan = api.plans(DRIVERS / "kvm2008.py", "Kvm2008")[0]
    safety = SafetyResult(9, 1, True, "", None, "", "", frozenset(), frozenset(), ("odds",), ("given up",))
    monkeypatch.setattr(compiled, "search_reduced", lambda *_args: safety)
    system = build(plan, scenario("1:1:zap"))
    _cut_short(monkeypatch, 1)
    whole = compiled.examine(system, _LIMITS)
    assert (whole.complete, whole.notes, whole.details) == (True, (), ("given up",))
    _cut_short(monkeypatch, 2)
    cut = compiled.examine(system, _LIMITS)
    assert cut.notes[0].startswith("with reductions all was searched, 9 states")
    assert (cut.notes[1:], cut.details) == (("odds",), ("given up",))


def test_what_was_not_worked_out_to_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeless(_self: Analysis) -> None:
        raise TimeoutError

    monkeypatch.setattr(Analysis, "hopeless", hopeless)
    plan = api.plans(DRIVERS / "kvm2008.py", "Kvm2008")[0]
    found = compiled.examine(build(plan, scenario("1:1:zap")), _LIMITS)
    assert (found.complete, found.stopped, found.race) == (False, "time", None)
    why = "all states were seen and none breaks a rule by itself; deadlock and progress were not worked out to the end"
    assert found.notes == (why,)


# ---- the bound on memory ------------------------------------------------------------------------------


@pytest.mark.parametrize(("memory", "turns"), [(12 << 20, 1), (4 << 20, 2)])
def test_the_reduced_search_has_its_turn_when_the_memory_is_full_within_the_first_second(
    monkeypatch: pytest.MonkeyPatch, memory: int, turns: int
) -> None:
    """Both searches together stay within the bound; and if need be the reduced one has all of it, alone."""
    system = kvm_seq(3, 2, 2, 1, 2, free=True)
    taken: list[int] = []
    searches: list[Search] = []

    class Kept(Search):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            searches.append(self)

        def close(self) -> None:
            super().close()
            searches.clear()

    def reduced(full: System, limits: Limits, tick: Any) -> SafetyResult:
        taken.append(limits.memory + sum(search.memory for search in searches))
        return search_reduced(full, limits, tick)

    monkeypatch.setattr(compiled, "Search", Kept)
    monkeypatch.setattr(compiled, "search_reduced", reduced)
    found = compiled.examine(system, replace(_LIMITS, memory=memory))
    assert (found.complete, found.states, found.stopped) == (True, 44369, "")
    assert len(taken) == turns
    assert max(taken) <= memory


@pytest.mark.parametrize(
    ("beside", "name", "option"),
    [
        ("2:2:zap", "hw.tlb", "--vcpus"),
        ("1:2:zap", "hw.tlb", "--pages"),
        ("1:1:zap", "hw.tlb", ""),
        ("2:1:zap", "vCPU0.vcpu.gfn", "--vcpus"),
        ("1:1:zap+zap", "zap.zap.start", "--ops"),
        ("1:1:zap", "nothing", ""),
    ],
)
def test_the_option_that_makes_the_widest_variable_hold_less(beside: str, name: str, option: str) -> None:
    system = build(api.plans(DRIVERS / "kvm2008.py", "Kvm2008")[0], scenario(beside))
    assert compiled._to_lower(system, name) == option


def test_at_the_bound_the_widest_variable_is_named() -> None:
    system = build(api.plans(DRIVERS / "kvm2008.py", "Kvm2008")[0], scenario("2:2:zap"))
    found = compiled.examine(system, replace(_LIMITS, memory=8 << 20))
    assert found.stopped == "memory"
    assert found.lower in ("--vcpus", "--pages")
    assert any(" takes the most values, " in note and note.endswith(f": lower {found.lower}") for note in found.notes)


# ---- where there is no room


def counting(threads: int, most: int, *more: Any) -> System:
    """Count in some threads, each alone."""
    name = Local("own.i")
    steps = [fork(op("<", name, most), to(0, put(name, op("+", name, 1))), to(1))]
    counters = [thread(f"t{cpu}", steps, Var("own.i", "int", 0, most)) for cpu in range(threads)]
    return made_of([Var("mm.n", "int", 0, 1)], [*counters, *more], "leak")


def test_more_states_before_a_limit_than_are_filed_are_told_of():
    limit = thread("end", [to(1, Check(op("==", Shared("mm.n"), 1), LIMIT, "the bound"))])
    found = compiled.examine(counting(3, 30, limit), Limits(4_000_000), reductions=False)
    assert found.complete
    assert "the bound" in found.limit
    assert any("of states at a limit only those are counted" in note for note in found.notes)
    roomy = compiled.examine(counting(3, 30, limit), _LIMITS, reductions=False)
    assert roomy.limit == found.limit
    assert not any("are counted" in note for note in roomy.notes)


def test_a_system_that_is_too_large_to_be_compiled_is_said_to_be(tmp_path):
    said: list[str] = []
    options = replace(DEFAULT, warn=said.append, checkpoint=tmp_path)
    found = examine(counting(13, 1), time.monotonic() + 2, options)
    assert found.stopped == "time"
    [text] = said
    assert text.startswith("by hand has more than 12 threads: the reference engine answers\n")
    assert "Nothing is written" in text
