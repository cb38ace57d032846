# SPDX-License-Identifier: Apache-2.0
"""Hold the reference engine against second opinions, on the shipped plans, on broken ones, and on made-up ones.

Compiled steps against the interpreter; the search against support/plain.py and SPIN; searches with and without the
resets of dead locals, and with and without the placing of invariants; deadlock and progress against algorithms that
are written from the definitions; schedules against every schedule; races against their replay and their token.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise, permutations
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import networkx as nx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import plain
from support import systems as hand
from support.campaigns import RUN, compare_many, in_parts
from support.made_plans import AT_MOST, SCENARIOS, made_plans, read_made
from support.searching import CLIENTS, judged, search
from support.spin import requires_spin, run_spin
from support.systems import systems

from unpinned.check.graph import endless_fault, stuck
from unpinned.check.ladder import climb
from unpinned.check.search import Bounds, Graph, explore, schedule_to
from unpinned.check.successors import compile_system
from unpinned.check.token import race_of, read_token, write_token
from unpinned.check.witness import Race, broken_by, replay
from unpinned.export.promela import promela
from unpinned.ir.interp import Passed, outcomes
from unpinned.ir.layout import BROKEN, Layout, initial, layout
from unpinned.ir.program import Check, Const, Shared, System, Thread, Var, Wait
from unpinned.ir.rules import CODES, LIMIT
from unpinned.mm import system as mm_system
from unpinned.mm.scenario import Scenario
from unpinned.plan.reading.classes import PlanClass, read_plans

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "src/unpinned/drivers/kvm2008.py", *sorted((ROOT / "examples").glob("*.py"))]
BAD = sorted((ROOT / "tests/plans").glob("*.py"))

#: A plan beside a scenario.
Case = tuple[PlanClass, Scenario]


def _cases(files: list[Path]) -> dict[str, Case]:
    cases = {}
    for plan in (plan for path in files for plan in read_plans(path)):
        for vcpus, pages, op in SCENARIOS:
            if op in plan.admitted:
                cases[f"{plan.name}-{op}"] = plan, Scenario(vcpus, pages, (op,))
    return cases


CASES = _cases(SHIPPED)
BAD_CASES = _cases(BAD)


@cache
def searched(name: str) -> Graph:
    plan, scenario = (CASES | BAD_CASES)[name]
    return explore(compile_system(mm_system.build(plan, scenario)), to_end=True)


shipped = pytest.mark.parametrize("name", list(CASES))
#: Each plan beside one operation; beside the others in the long form.
FIRST = {plan.name: name for name, (plan, _) in reversed(BAD_CASES.items())}
also_bad = pytest.mark.parametrize(
    "name",
    [
        *CASES,
        *FIRST.values(),
        *(pytest.param(name, marks=pytest.mark.long) for name in BAD_CASES if name not in FIRST.values()),
    ],
)
bad_if_long = pytest.mark.parametrize(
    "name", [*CASES, *(pytest.param(name, marks=pytest.mark.long) for name in BAD_CASES)]
)
NEVER = _cases([path for path in BAD if path.stem in ("deadlock", "progress")])
never_if_short = pytest.mark.parametrize(
    "name",
    [
        *(name for name in CASES if name.startswith("Kvm2008")),
        *NEVER,
        *(pytest.param(name, marks=pytest.mark.long) for name in BAD_CASES if name not in NEVER),
    ],
)


def rules_broken(graph: Graph) -> set[str]:
    """Return every rule that a search to the end found broken, and LIMIT if it met one."""
    rules = {graph.rule(i) for i in graph.broken} | ({LIMIT} if graph.limits else set())
    if graph.complete:
        rules |= {"deadlock"} if stuck(graph) else set()
        rules |= {"progress"} if endless_fault(graph) else set()
    return rules


# ---- a: compiled steps, the interpreter -----------------------------------------------------------------


def same_steps(graph: Graph) -> None:
    """Expand every state twice: states, their order, broken rules, events and source lines."""
    successors, system = graph.successors, graph.successors.system
    for state in graph.states:
        compiled = []
        for number, after in successors.expand(state):
            leaf = successors.leaves[number]
            compiled.append((leaf.thread, after, leaf.broken, leaf.passed))
            assert leaf.step == successors.lay.place(state, leaf.thread)
        meant = []
        for t in range(len(system.threads)):
            for outcome in outcomes(system, successors.lay, state, t):
                broke = broken_by(outcome)
                assert outcome.state[BROKEN] == (CODES[broke.check.rule] if broke else 0)
                passed = tuple(event.what for event in outcome.events if isinstance(event, Passed))
                meant.append((t, outcome.state, broke.check.rule if broke else None, passed))
        assert compiled == meant


@bad_if_long
def test_compiled_steps_do_what_the_interpreter_does(name: str) -> None:
    same_steps(searched(name))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(systems())
def test_compiled_steps_of_random_systems(made: System) -> None:
    same_steps(explore(compile_system(made), Bounds(states=2_000), to_end=True))


# ---- b: the search, a plain search, SPIN ------------------------------------------------------------------


def figures(graph: Graph) -> tuple[int, Counter[str]]:
    """Return the number of states, and of those that break each rule or reach a limit."""
    broken = Counter(graph.rule(i) for i in graph.broken)
    broken[LIMIT] += len(graph.limits)
    return len(graph.states), +broken


def same_as_plain(graph: Graph) -> None:
    found = plain.explore(graph.successors.system)
    counts = found.broken.copy()
    if "deadlock" in graph.successors.system.promised:
        counts["deadlock"] += found.deadlocks
    assert figures(graph) == (found.states, +counts)


def same_as_spin(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as workdir:
        judged = run_spin(promela(graph.successors.system), Path(workdir))
    states, broken = figures(graph)
    deadlocks = broken.pop("deadlock", 0)
    assert judged.states == states
    assert (judged.broken, judged.rules) == (broken.total(), frozenset(broken))
    if "deadlock" in graph.successors.system.promised:
        assert judged.deadlocks == deadlocks


@bad_if_long
def test_a_plain_search_finds_the_same(name: str) -> None:
    same_as_plain(searched(name))


@requires_spin
@bad_if_long
def test_spin_finds_the_same(name: str) -> None:
    same_as_spin(searched(name))


# ---- c: dead locals -----------------------------------------------------------------------------------------


def without_resets(case: Case) -> Graph:
    with mock.patch.object(mm_system, "reset_dead_locals", lambda thread: thread):
        return explore(compile_system(mm_system.build(*case)), Bounds(states=20 * AT_MOST), to_end=True)


def shared_part(lay: Layout, state: bytes) -> bytes:
    return state[: lay.pc[0]]


def projected(graph: Graph) -> dict[tuple[bytes, tuple[int, ...]], int]:
    """Return every state as shared variables (and what is broken) and places, and how many steps lead there."""
    lay = graph.successors.lay
    threads = range(len(lay.pc))
    depths: dict[tuple[bytes, tuple[int, ...]], int] = {}
    for i, state in enumerate(graph.states):
        depths.setdefault((shared_part(lay, state), tuple(lay.place(state, t) for t in threads)), graph.depth(i))
    return depths


def same_without_resets(case: Case, graph: Graph) -> bool:
    """Search again with dead locals kept; return whether that was small enough."""
    kept = without_resets(case)
    if not kept.complete:
        return False
    assert len(kept.states) >= len(graph.states)
    assert projected(kept) == projected(graph)
    assert rules_broken(kept) == rules_broken(graph)
    return True


@bad_if_long
def test_dead_locals_decide_nothing(name: str) -> None:
    assert same_without_resets((CASES | BAD_CASES)[name], searched(name))


# ---- c, again: the lowest free frame -------------------------------------------------------------------------


def up_to_frames(graph: Graph, frames: int) -> dict[bytes, int]:
    """Return every state under its smallest name by renaming page frames, and how many steps lead there."""
    lay = graph.successors.lay
    held: list[int] = []
    indexed: list[int] = []
    for slots in (lay.shared, *lay.locals):
        for slot in slots.values():
            if slot.var.type == "page":
                held += range(slot.at, slot.at + slot.var.size)
            elif slot.var.name in ("mm.refs", "mm.owner", "mm.held", "mm.taken"):
                indexed += range(slot.at, slot.at + slot.var.size, frames + 1)
    names = [(0, *order) for order in permutations(range(1, frames + 1))]

    def renamed(state: bytes, name: tuple[int, ...]) -> bytes:
        new = bytearray(state)
        for at in held:
            new[at] = name[state[at]]
        for at in indexed:
            for frame in range(frames + 1):
                new[at + name[frame]] = state[at + frame]
        return bytes(new)

    depths: dict[bytes, int] = {}
    for i, state in enumerate(graph.states):
        depths.setdefault(min(renamed(state, name) for name in names), graph.depth(i))
    return depths


def same_with_any_frame(case: Case, graph: Graph) -> bool:
    """Search again with any free frame for a new page, which changes nothing but names; tell whether it was small."""
    plan, scenario = case
    system = mm_system.build(plan, scenario, any_frame=True)
    full = explore(compile_system(system), Bounds(states=20 * AT_MOST), to_end=True)
    if not full.complete:
        return False
    assert len(full.states) >= len(graph.states)
    assert rules_broken(full) == rules_broken(graph)
    assert up_to_frames(full, scenario.frames) == up_to_frames(graph, scenario.frames)
    return True


@bad_if_long
def test_which_free_frame_is_taken_decides_nothing(name: str) -> None:
    assert same_with_any_frame((CASES | BAD_CASES)[name], searched(name))


@pytest.mark.long
@pytest.mark.parametrize("name", ["Kvm2008Posted", "SeqWithoutCount", "PageAlone"])
@pytest.mark.parametrize("ops", [("zap", "reclaim"), ("zap", "zap"), ("munmap", "reclaim")])
def test_nor_beside_two_operations(name: str, ops: tuple[str, ...]) -> None:
    plan = next(plan for path in SHIPPED for plan in read_plans(path) if plan.name == name)
    case = plan, Scenario(1, 1, ops)
    assert same_with_any_frame(case, explore(compile_system(mm_system.build(*case)), to_end=True))


# ---- d: deadlock and progress ---------------------------------------------------------------------------------


def _moves(graph: Graph, i: int) -> Iterator[tuple[int, int]]:
    """Yield (thread, target) for each step out of a state, as the interpreter takes them."""
    system, lay = graph.successors.system, graph.successors.lay
    for t in range(len(system.threads)):
        for outcome in outcomes(system, lay, graph.states[i], t):
            yield t, _numbers(graph)[outcome.state]


_NUMBERS: dict[int, tuple[Graph, dict[bytes, int]]] = {}


def _numbers(graph: Graph) -> dict[bytes, int]:
    held, numbers = _NUMBERS.get(0, (None, {}))
    if held is not graph:
        numbers = {state: i for i, state in enumerate(graph.states)}
        _NUMBERS[0] = graph, numbers
    return numbers


def stuck_by_reachability(graph: Graph, moves: list[set[tuple[int, int]]]) -> tuple[int, int] | None:
    """Return the first state, and CPU, that waits for ever or that goes round for ever as an mm operation.

    For each CPU: walk backward from all states in which it can move, is done, or about which nothing is known.
    """
    threads, lay = graph.successors.system.threads, graph.successors.lay
    web = nx.DiGraph()
    web.add_nodes_from(range(len(graph.states)))
    web.add_edges_from((i, j) for i, ways in enumerate(moves) for _, j in ways)
    back = web.reverse()
    found: list[tuple[int, int]] = []

    def never_reaching(goals: set[int]) -> set[int]:
        return set(web) - set(nx.multi_source_dijkstra_path_length(back, goals)) if goals else set(web)

    unknown = {i for i, state in enumerate(graph.states) if state[BROKEN]}
    for t, thread in enumerate(threads):
        end = 0 if thread.kind == "worker" else len(thread.steps)
        done = {i for i, state in enumerate(graph.states) if lay.place(state, t) == end}
        able = {i for i, ways in enumerate(moves) if any(cpu == t for cpu, _ in ways)}
        waiting = never_reaching(able | done | unknown)
        found += [(min(waiting), t)] if waiting else []
        if thread.kind == "worker" or thread.done is not None:
            hopeless = never_reaching(done | unknown)
            for ring in nx.strongly_connected_components(web.subgraph(hopeless)):
                if any(cpu == t and j in ring for i in ring for cpu, j in moves[i]):
                    found.append((min(ring), t))
    return min(found, default=None)


def faults_for_ever(graph: Graph, moves: list[set[tuple[int, int]]]) -> tuple[int | None, bool]:
    """Judge progress twice, from its definition in words.

    Return the first state on a fair cycle, by strongly connected components, and whether there is one at all, as a
    greatest fixpoint in the manner of Emerson and Lei.
    """
    system, lay = graph.successors.system, graph.successors.lay
    vcpus = [t for t, thread in enumerate(system.threads) if thread.kind == "vcpu"]
    going = [t for t, thread in enumerate(system.threads) if thread.kind != "op"]

    def faults(i: int, t: int) -> bool:
        expr = system.faulting[t]
        if system.threads[t].kind == "worker":
            return False
        assert isinstance(expr, Shared)
        assert isinstance(expr.index, Const)
        return graph.states[i][lay.shared[expr.name].at + expr.index.value] != 0

    def rests(i: int) -> bool:
        ops = [t for t, thread in enumerate(system.threads) if thread.kind == "op"]
        return all(lay.place(graph.states[i], t) in (0, len(system.threads[t].steps)) for t in ops)

    quiet = {i for i, s in enumerate(graph.states) if not s[BROKEN] and rests(i) and any(faults(i, t) for t in vcpus)}
    web = nx.MultiDiGraph()
    web.add_nodes_from(quiet)
    for i in quiet:
        for t, j in moves[i]:
            if t in going and j in quiet and not (faults(i, t) and not faults(j, t)):
                web.add_edge(i, j, cpu=t)
    waits = {t: {i for i in quiet if all(cpu != t for cpu, _ in moves[i])} for t in going}

    starts = []
    for ring in nx.strongly_connected_components(web):
        inside = web.subgraph(ring)
        if inside.number_of_edges():
            moved = {cpu for _, _, cpu in inside.edges(data="cpu")}
            if all(t in moved or waits[t] & ring for t in going):
                starts.append(min(ring))

    live = set(quiet)
    while True:
        before = len(live)
        for t in going:
            inside = web.subgraph(live)
            just = {i for i, _, cpu in inside.edges(data="cpu") if cpu == t}
            just |= {i for i in waits[t] & live if inside.out_degree(i)}
            live = set(nx.multi_source_dijkstra_path_length(inside.reverse(), just)) if just else set()
        if len(live) == before:
            return min(starts, default=None), bool(live)


def same_graph_rules(graph: Graph) -> tuple[bool, bool]:
    """Compare deadlock and progress with the above, and take the cycles that were found; return what there is."""
    moves = [set(_moves(graph, i)) for i in range(len(graph.states))]
    found, expected = stuck(graph), stuck_by_reachability(graph, moves)
    assert (found and (found[0].start, found[1])) == expected
    if found is not None and found[0].cycle:
        ring, cpu = found
        assert ring.cycle[-1][1] == ring.start
        spins = any(graph.successors.leaves[leaf].thread == cpu for leaf, _ in ring.cycle)
        assert spins or any(all(t != cpu for t, _ in moves[j]) for _, j in ring.cycle)
        _walk(graph, ring.start, ring.cycle)
    lasso = endless_fault(graph)
    first, any_ = faults_for_ever(graph, moves)
    assert (lasso is not None, lasso and lasso.start) == (any_, first)
    if lasso is not None:
        _walk(graph, lasso.start, lasso.cycle)
        assert lasso.cycle[-1][1] == lasso.start
        visited = {j for _, j in lasso.cycle}
        moved = {graph.successors.leaves[leaf].thread for leaf, _ in lasso.cycle}
        for t, thread in enumerate(graph.successors.system.threads):
            if thread.kind != "op":
                assert t in moved or any(all(cpu != t for cpu, _ in moves[i]) for i in visited)
            else:
                assert t not in moved
    return found is not None, lasso is not None


def _walk(graph: Graph, start: int, steps: tuple[tuple[int, int], ...]) -> None:
    here = start
    for leaf, j in steps:
        assert (leaf, j) in set(graph.out(here))
        here = j


@never_if_short
def test_deadlock_and_progress_are_as_defined(name: str) -> None:
    same_graph_rules(searched(name))


@pytest.mark.parametrize(("path", "plan", "beside"), judged(*CLIENTS, "tasks"), ids=lambda at: getattr(at, "stem", at))
def test_deadlock_and_progress_of_clients_are_as_defined(path: Path, plan: str, beside: str) -> None:
    graph = search(path, plan, beside)
    if len(graph.states) < 12_000:
        same_graph_rules(graph)


def test_some_plans_deadlock_and_some_never_progress() -> None:
    """So that the test above tests something."""
    found = [(stuck(searched(name)), endless_fault(searched(name))) for name in NEVER]
    assert sum(a is not None and not a[0].cycle for a, _ in found) > 3
    assert sum(b is not None for _, b in found) > 3


def test_an_operation_that_spins_takes_a_step_on_its_cycle() -> None:
    """One CPU turns x on and off; the other goes round for ever, whenever x is on."""
    x = Shared("plan.x")
    spin = hand.thread("CPU1", [hand.to(0, Wait(hand.op("==", x, 1)))])
    turn = hand.thread("CPU0", [hand.to(0, hand.put(x, hand.op("-", 1, x)))], ends=False)
    made = hand.system([Var("plan.x", "bool", 0, 1)], [turn, spin])
    graph = explore(compile_system(made), to_end=True)
    found = stuck(graph)
    assert found is not None
    ring, cpu = found
    assert cpu == 1
    assert any(graph.successors.leaves[leaf].thread == cpu for leaf, _ in ring.cycle)


@st.composite
def faulting_systems(draw: Callable[[st.SearchStrategy], Any]) -> System:
    """Draw a random system in which threads that never end are vCPUs, and some variable says that they fault."""
    made = draw(systems())
    flags = [var for var in made.shared if var.lo >= 0]
    assume(flags)
    threads: list[Thread] = []
    faulting: list[Shared | None] = []
    for thread in made.threads:
        if thread.done is not None and draw(st.integers(0, 2)) == 0:
            threads.append(thread)
            faulting.append(None)
        else:
            var = draw(st.sampled_from(flags))
            threads.append(replace(thread, kind="vcpu"))
            faulting.append(Shared(var.name, Const(draw(st.integers(0, var.size - 1)))))
    assume(any(faulting))
    return replace(made, threads=tuple(threads), faulting=tuple(faulting))


SEEN: Counter[str] = Counter()


def _same_deadlock_and_progress(made: System) -> None:
    graph = explore(compile_system(made), Bounds(states=1_500), to_end=True)
    assume(graph.complete)
    deadlocks, cycles = same_graph_rules(graph)
    SEEN.update(systems=1, deadlocks=deadlocks, cycles=cycles)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(faulting_systems())
def test_deadlock_and_progress_of_random_systems(made: System) -> None:
    _same_deadlock_and_progress(made)


@in_parts(6)
def test_deadlock_and_progress_of_many_random_systems(part: int) -> None:
    SEEN.clear()
    compare_many(_same_deadlock_and_progress, faulting_systems(), part=part, examples=500)
    assert min(SEEN["systems"], SEEN["deadlocks"], SEEN["cycles"]) > 0


# ---- e: shortest schedules ------------------------------------------------------------------------------------


def best_schedules(graph: Graph) -> dict[int, tuple[int, int]]:
    """Return (steps, switches) of the best schedule to each state, by Dijkstra's algorithm on (state, last CPU)."""
    best: dict[int, tuple[int, int]] = {}
    heap: list[tuple[int, int, int, int]] = [(0, 0, 0, -1)]
    settled: set[tuple[int, int]] = set()
    while heap:
        steps, switches, i, last = heapq.heappop(heap)
        if (i, last) not in settled:
            settled.add((i, last))
            best.setdefault(i, (steps, switches))
            for t, j in _moves(graph, i):
                heapq.heappush(heap, (steps + 1, switches + (last not in (-1, t)), j, t))
    return best


def same_schedules(graph: Graph, every_nth: int = 97) -> None:
    """Compare the schedules to some states, and to the first race of each rule."""
    best = best_schedules(graph)
    goals = [[i] for i in range(0, len(graph.states), every_nth)]
    by_rule = defaultdict(list)
    for i in graph.broken:
        by_rule[graph.rule(i), graph.depth(i)].append(i)
    for targets in [*goals, *by_rule.values()]:
        schedule, switches = schedule_to(graph, targets)
        assert (len(schedule), switches) == min(best[i] for i in targets)
        cpus = [graph.successors.leaves[leaf].thread for leaf, _ in schedule]
        assert switches == sum(a != b for a, b in pairwise(cpus))
        _walk(graph, 0, tuple(schedule))
        assert (schedule[-1][1] if schedule else 0) in targets
        assert len(schedule) == graph.depth(targets[0])


@shipped
def test_schedules_are_shortest_and_switch_least(name: str) -> None:
    same_schedules(searched(name))


def brute_force(system: System, graph: Graph, goals: set[bytes], most: int = 8_000) -> tuple[int, int] | None:
    """Try every schedule, longer and longer ones, until some reach a goal; return their length and least switches."""
    lay = graph.successors.lay
    paths: list[tuple[bytes, int, int]] = [(initial(lay), -1, 0)]
    for length in range(100):
        reached = [switches for state, _, switches in paths if state in goals]
        if reached:
            return length, min(reached)
        if len(paths) > most:
            return None
        paths = [
            (outcome.state, t, switches + (last not in (-1, t)))
            for state, last, switches in paths
            for t in range(len(system.threads))
            for outcome in outcomes(system, lay, state, t)
        ]
    return None


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(systems(), st.randoms(use_true_random=False))
def test_no_schedule_at_all_is_better(made: System, random: Random) -> None:
    """Random systems, whose every schedule can be tried: no state is visited once only, none is left out."""
    graph = explore(compile_system(made), Bounds(states=2_000), to_end=True)
    assume(graph.complete)
    at = random.randrange(len(graph.states))
    level = [i for i in range(len(graph.states)) if graph.depth(i) == graph.depth(at)]
    for targets in ([at], level[:2]):
        tried = brute_force(made, graph, {graph.states[i] for i in targets})
        if tried is not None:
            schedule, switches = schedule_to(graph, targets)
            assert (len(schedule), switches) == tried


# ---- f: replay and token ----------------------------------------------------------------------------------------


def race_replays(case: Case) -> str | None:
    """Check a plan; replay each race, write its token and read it again; return the rule of the first."""
    plan, scenario = case
    result = climb(plan, seconds=100, scenario=scenario)
    for race in [result.race, *(race for _, race in result.unpromised)]:
        if race is not None:
            one_replays(plan, scenario, race)
    return result.race.rule if result.race is not None else None


def one_replays(plan: PlanClass, scenario: Scenario, race: Race) -> None:
    run = replay(race.system, race.schedule)
    assert len(run) == len(race.schedule)
    lay = layout(race.system)
    states = [initial(lay), *(outcome.state for outcome in run)]
    if race.rule not in ("deadlock", "progress"):
        broke = broken_by(run[-1])
        assert broke is not None
        assert broke.check.rule == race.rule
        assert states[-1][BROKEN] == CODES[race.rule]
        assert race.rule not in race.also
    assert all(not state[BROKEN] for state in states[:-1])
    assert (race.stuck is not None) == (race.rule == "deadlock")
    if race.stuck is not None and race.cycle is None:
        assert not outcomes(race.system, lay, states[-1], race.stuck)
    if race.cycle is not None:
        assert states[race.cycle] == states[-1]
    text = write_token(plan, scenario, race)
    token = read_token(text)
    again = race_of(token, plan)
    assert (token.plan, token.scenario, token.rule) == (plan.name, scenario, race.rule)
    assert (again.rule, again.schedule, again.cycle, again.stuck) == (race.rule, race.schedule, race.cycle, race.stuck)
    assert write_token(plan, scenario, again) == text
    assert again.switches == race.switches


@also_bad
def test_races_replay_and_their_tokens_are_read_again(name: str) -> None:
    rule = race_replays((CASES | BAD_CASES)[name])
    assert (rule is not None) == bool(rules_broken(searched(name)) - {LIMIT})


# ---- g: invariants ------------------------------------------------------------------------------------------------


def same_invariants(case: Case, graph: Graph) -> None:
    """Search without the invariants in the steps, test all of them in every state, and find the same."""
    held: list[Check] = []

    def keep(thread: Thread, invariants: tuple[Check, ...]) -> Thread:
        held[:] = invariants
        return thread

    with mock.patch.object(mm_system, "add_invariants", keep):
        bare = compile_system(mm_system.build(*case))
    lay, promised = bare.lay, bare.system.promised
    checks = [check for check in held if check.rule in promised]
    assert held

    def first_broken(state: bytes) -> str | None:
        values: plain.Values = {
            name: tuple(byte - slot.bias for byte in state[slot.at : slot.at + slot.var.size])
            for name, slot in lay.shared.items()
        }
        return next((check.rule for check in checks if not plain._eval(check.cond, values, 0)), None)

    assert first_broken(bare.initial) is None
    seen, todo, wrong = {bare.initial}, [bare.initial], set()
    for state in todo:
        for _, after in bare.expand(state):
            if after[BROKEN]:
                wrong.add(shared_part(lay, after))
            elif after not in seen:
                rule = first_broken(after)
                if rule is None:
                    seen.add(after)
                    todo.append(after)
                else:
                    wrong.add(bytes([CODES[rule]]) + shared_part(lay, after)[1:])
    assert seen == {state for state in graph.states if not state[BROKEN]}
    assert wrong == {shared_part(lay, state) for state in graph.states if state[BROKEN]}


@bad_if_long
def test_invariants_are_checked_wherever_they_can_break(name: str) -> None:
    same_invariants((CASES | BAD_CASES)[name], searched(name))


# ---- made plans -----------------------------------------------------------------------------------------------------

MADE: dict[tuple[str, tuple[int, int, str]], frozenset[str]] = {}
TOO_LARGE = frozenset({"too large"})


def compare(text: str, at: tuple[int, int, str], *, spin: bool) -> None:
    """Make every comparison on a plan that was made up, once."""
    if (text, at) in MADE:
        return
    plan, scenario = read_made(text), Scenario(at[0], at[1], (at[2],))
    case = plan, scenario
    graph = explore(compile_system(mm_system.build(plan, scenario)), Bounds(states=AT_MOST), to_end=True)
    if not graph.complete:
        MADE[text, at] = TOO_LARGE
        return
    if spin:
        same_as_spin(graph)
    same_steps(graph)
    same_as_plain(graph)
    small = same_without_resets(case, graph) and same_with_any_frame(case, graph)
    same_graph_rules(graph)
    same_schedules(graph, every_nth=499)
    rule = race_replays(case)
    same_invariants(case, graph)
    rules = rules_broken(graph)
    assert (rule is not None) == bool((rules - {LIMIT}) & graph.successors.system.promised)
    MADE[text, at] = frozenset(rules | (set() if small else {"large without reductions"}))


@settings(max_examples=20, deadline=None, derandomize=True, phases=RUN, suppress_health_check=list(HealthCheck))
@given(made_plans(), st.sampled_from(SCENARIOS))
def test_made_plans(text: str, at: tuple[int, int, str]) -> None:
    compare(text, at, spin=False)


@requires_spin
@settings(max_examples=15, deadline=None, derandomize=True, phases=RUN, suppress_health_check=list(HealthCheck))
@given(made_plans(), st.sampled_from(SCENARIOS))
def test_spin_on_made_plans(text: str, at: tuple[int, int, str]) -> None:
    plan, scenario = read_made(text), Scenario(at[0], at[1], (at[2],))
    graph = explore(compile_system(mm_system.build(plan, scenario)), Bounds(states=AT_MOST), to_end=True)
    assume(graph.complete)
    same_as_spin(graph)


def _compare_with_spin(text: str, at: tuple[int, int, str]) -> None:
    compare(text, at, spin=True)


@requires_spin
@in_parts(10)
def test_many_made_plans(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Make a hundred different plans, and say what they were."""
    MADE.clear()
    compare_many(_compare_with_spin, made_plans(), st.sampled_from(SCENARIOS), part=part, examples=100)
    assert sum(rules != TOO_LARGE for rules in MADE.values()) > 20
    count = Counter("holds" if not rules else "+".join(sorted(rules)) for rules in MADE.values())
    with capsys.disabled():
        print(f"\n{len(MADE)} made plans: {dict(count.most_common())}")  # noqa: T201
