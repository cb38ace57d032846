# SPDX-License-Identifier: Apache-2.0
"""Examine a system with the compiled engine: the same questions, and the same answers, as check/reference.py.

The engine gives states and files the ones before a violation. What is printed is found again with the reference
engine's own steps, on the few states that matter: the broken states themselves, those on shortest paths to them, and
what can be reached from a state in which a CPU waits for ever.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from unpinned.check.evidence import Evidence, Sight, Tick, covered, expected
from unpinned.check.graph import Lasso, endless_fault, goes_on, stuck
from unpinned.check.reduced import SafetyResult, odds_note, search_reduced
from unpinned.check.search import Bounds, Graph, explore, fewest_switches
from unpinned.check.successors import Successors, compile_system
from unpinned.check.witness import InternalError, Race, Seen, broken_by, race_of_path, race_of_schedule
from unpinned.engine import explorer
from unpinned.engine.analysis import Analysis
from unpinned.engine.checkpoint import is_written
from unpinned.engine.program import Program, UnfitError
from unpinned.engine.search import Limits, Search
from unpinned.errors import UsageError
from unpinned.ir.digest import digest
from unpinned.ir.interp import outcomes
from unpinned.ir.layout import BROKEN
from unpinned.ir.program import System
from unpinned.ir.rules import CODES, GRAPH_RULES, LIMIT, severity

#: Seconds between two checkpoints.
_INTERVAL = 10.0
#: Seconds for which the full system is searched before the reduced one.
_UNREDUCED = 1.0
#: The share of the memory that is left for the reduced one.
_KEPT = 1 / 4
#: More states than these on shortest paths are not compared for context switches; the first path found is taken.
_MOST_ON_PATHS = 200_000
#: What can be reached from a state in which a CPU waits for ever is looked at up to so many states.
_MOST_BEHIND = 400_000


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where searches are written down, one folder each, and whether to go on from what stands there."""

    folder: Path
    resume: bool = False

    def of(self, system: System) -> Path:
        """Return the folder of the search of a system."""
        return self.folder / digest(system)

    def going_on(self, system: System) -> bool:
        """Tell whether the search of a system goes on from a checkpoint; without one it begins anew."""
        return self.resume and is_written(self.of(system))


def examine(
    system: System,
    limits: Limits,
    tick: Tick | None = None,
    reductions: bool = True,
    checkpoints: Checkpoints | None = None,
) -> Evidence:
    """Search a system and return what is known of it; an interrupt ends the search and leaves what was found.

    The full system is searched first. If that turns out to be long, the reduced one is searched for broken rules, which
    is much smaller, and then the full one to the end: for the shortest race, for deadlock and for progress.
    """
    # Deadlock and progress are asked of the states themselves, so these may not be told apart by hashes alone.
    exact = bool(system.promised & GRAPH_RULES)
    limits = replace(limits, deadly="deadlock" in system.promised, compact=limits.compact and not exact)
    if checkpoints is not None:
        limits = replace(limits, checkpoint=checkpoints.of(system), interval=_INTERVAL)
    search = _begun(system, limits, checkpoints)
    try:
        evidence = _examined(search, limits, tick, reductions)
    finally:
        search.close()
    if limits.checkpoint is not None and not evidence.stopped:
        shutil.rmtree(limits.checkpoint, ignore_errors=True)
    return evidence


def _begun(system: System, limits: Limits, checkpoints: Checkpoints | None) -> Search:
    """Make a search, or take up one that was written down."""
    program = Program(system)
    if checkpoints is not None and checkpoints.resume and checkpoints.of(system).exists():
        return Search.resume(program, limits, checkpoints.of(system))
    return Search(program, limits)


def _examined(search: Search, limits: Limits, tick: Tick | None, reductions: bool) -> Evidence:
    """Run a search, and one under reductions if it turns out to be long; both together stay within the memory."""
    system = search.program.system
    if not reductions:
        search.run(_sights(tick))
        return _conclusion(search, limits, tick)
    first = time.monotonic() + _UNREDUCED
    if limits.deadline is not None:
        first = min(first, limits.deadline)
    kept = int(limits.memory * _KEPT)
    search.limits = replace(limits, deadline=first, compact=False, memory=limits.memory - kept)
    search.run(_sights(tick))
    search.limits = limits
    if search.stopped not in ("time", "memory"):
        return _conclusion(search, limits, tick)
    alone = replace(limits, deadly=False, compact=True, checkpoint=None)
    safety = _reduced(system, replace(alone, memory=limits.memory - search.memory), tick)
    if safety.complete and not system.promised & GRAPH_RULES:
        return _safe(system, safety)
    if safety.stopped == "interrupt":
        search.stopped = safety.stopped
    else:
        search.run(_sights(tick))
    evidence = _conclusion(search, limits, tick)
    if evidence.stopped == safety.stopped == "memory":
        # All that the full search knows is told by now, so the reduced one may have the memory.
        search.close()
        safety = _reduced(system, alone, tick)
        if safety.complete and not system.promised & GRAPH_RULES:
            return _safe(system, safety)
        evidence = replace(evidence, stopped=safety.stopped if safety.stopped == "interrupt" else "memory")
    return _with_safety(evidence, safety)


def _reduced(system: System, limits: Limits, tick: Tick | None) -> SafetyResult:
    """Search a system under reductions; if that cannot be done, nothing is known, and a note says why."""
    try:
        return search_reduced(system, limits, _sights(tick, "reduced"))
    except UnfitError as error:
        why = f"reductions were given up: the reduced system has {error}"
    except UsageError as error:
        why = f"reductions were given up: {error.what}"
    return SafetyResult(0, 0, False, "", None, "", "", frozenset(), frozenset(), notes=(why,), given_up=(why,))


def _conclusion(search: Search, limits: Limits, tick: Tick | None) -> Evidence:
    """Return what a search of the full system showed; the search may be closed then."""
    found = _Found(search, limits, tick)
    evidence = found.evidence()
    if not found.shows_deadlock or evidence.stopped:
        return evidence
    # Some CPUs may be stuck for ever long before none can go on; only the whole graph tells.
    search.close()
    whole = Search(search.program, replace(limits, to_end=True, checkpoint=None))
    try:
        whole.run(_sights(tick))
        return _Found(whole, limits, tick).evidence() if whole.complete else evidence
    finally:
        whole.close()


def _safe(system: System, safety: SafetyResult) -> Evidence:
    """Return what a complete search under reductions shows of a system whose rules all are of single states."""
    return Evidence(
        *(system, safety.states, safety.depth, True, "", "", None, safety.events, safety.reached),
        notes=(_said(safety), *safety.notes),
        details=safety.given_up,
    )


def _with_safety(evidence: Evidence, safety: SafetyResult) -> Evidence:
    """Add what the reduced search showed to what the full one did."""
    evidence = replace(evidence, details=(*evidence.details, *safety.given_up))
    if evidence.race is not None:
        return evidence
    if safety.unled and (evidence.limit or not evidence.complete):
        return replace(evidence, notes=(*evidence.notes, safety.unled))
    if safety.schedule is not None or safety.unled:
        if evidence.complete or safety.schedule is None:
            raise InternalError(f"a race of {evidence.system.name} was found under reductions and not without them")
        seen = Seen(evidence.states, 1, evidence.depth)
        race = race_of_schedule(evidence.system, safety.rule, safety.schedule, seen, shortest=False)
        return replace(evidence, race=race)
    if evidence.complete:
        return evidence
    said = (_said(safety),) if safety.complete else ()
    return replace(evidence, notes=(*evidence.notes, *said, *safety.notes))


def _said(safety: SafetyResult) -> str:
    """Say what a complete reduced search without a race means."""
    return f"with reductions all was searched, {safety.states} states: no rule of a single state is broken"


def _sights(tick: Tick | None, name: str = "") -> Callable[[Search], None] | None:
    def seen(search: Search) -> None:
        assert tick is not None
        widths = search.levels
        tick(Sight(search.states, search.depth, widths[-1] + search.frontier, expected(widths), name))

    return None if tick is None else seen


def _to_lower(system: System, name: str) -> str:
    """Return the option that makes a variable hold less (a local is "thread.local"), or "" if none is known to."""
    extents = dict(system.extents)
    ops = sum(thread.kind == "op" for thread in system.threads)
    more = {"--vcpus": extents.get("vcpu", 0) > 1, "--pages": extents.get("page", 0) > 1, "--ops": ops > 1}
    by_count = {"vcpu": ["--vcpus"], "cpu": ["--vcpus", "--ops"], "page": ["--pages"], "frame": ["--pages", "--ops"]}
    by_type = {"gfn": ["--pages"], "page": ["--pages", "--ops"], "pfn": ["--pages", "--ops"]}
    wanted: list[str] = []
    for var in system.shared:
        if var.name == name:
            wanted += [option for per in var.per for option in by_count.get(per, [])] + by_type.get(var.type, [])
    for thread in system.threads:
        if any(f"{thread.name}.{var.name}" == name for var in thread.locals):
            wanted.append("--vcpus" if thread.kind == "vcpu" else "--ops")
    return next((option for option in wanted if more[option]), "")


@dataclass(slots=True)
class _Found:
    """A search that has ended, and what follows from it; `interrupted` while a race was told."""

    search: Search
    limits: Limits
    tick: Tick | None
    interrupted: bool = False

    @property
    def system(self) -> System:
        return self.search.program.system

    @property
    def shows_deadlock(self) -> bool:
        """Tell whether the first violation is that no CPU can go on."""
        return not self.search.limits.to_end and not self.search.before and self.limits.deadly and bool(self._dead())

    def evidence(self) -> Evidence:
        search, stopped, complete = self.search, self.search.stopped, self.search.complete
        race, limit = None, ""
        successors = compile_system(self.system)
        filed = {counter: search.filed(counter) for counter in (explorer.BROKEN, explorer.LIMITS)}
        broken, limited = (self._broken(successors, before) for before in filed.values())
        states = search.states + len(broken) + len(limited)
        depth = self._depth()
        try:
            race = self._race(successors, states, depth)
        except KeyboardInterrupt:
            stopped, complete = "interrupt", False
        except TimeoutError:
            stopped, complete = "time", False
        if self.interrupted:
            stopped = "interrupt"
        if race is None and limited:
            limit = self._limit()
        leaves = search.program.leaves
        events, reached = covered((what for leaf in search.passed() for what in leaves[leaf].passed), search.waited)
        notes: tuple[str, ...] = (odds_note(search.odds),) if search.compact else ()
        if search.note:
            notes += (search.note,)
        for counter, before in filed.items():
            if search.count(counter) > len(before):
                what = "broken states" if counter == explorer.BROKEN else "states at a limit"
                notes += (
                    f"of {what} only those are counted that follow on the first {len(before)} states before them",
                )
        if search.complete and not complete:
            asked = sorted(self.system.promised & GRAPH_RULES)
            open_ = f"{' and '.join(asked)} {'was' if len(asked) == 1 else 'were'}"
            notes += (f"all states were seen and none breaks a rule by itself; {open_} not worked out to the end",)
        lower = ""
        if stopped == "memory":
            name, values = search.widest()
            lower = _to_lower(self.system, name)
            notes += (f"{name} takes the most values, {values} at least" + (f": lower {lower}" if lower else ""),)
        return Evidence(
            *(self.system, states, depth, complete, stopped, limit, race, events, reached),
            notes=notes,
            lower=lower,
        )

    def _depth(self) -> int:
        """Return the last level that was searched: broken states make a level of their own if need be."""
        search = self.search
        if not search.complete:
            before = search.filed(explorer.BROKEN, search.before)
            return search.depth_of(before[0]) + 1 if before and not search.limits.to_end else search.depth
        leading = (i for counter in (explorer.BROKEN, explorer.LIMITS) for i in search.filed(counter))
        return max((search.depth, *(search.depth_of(i) + 1 for i in leading)))

    def _dead(self) -> list[int]:
        return self.search.filed(explorer.DEAD)

    @staticmethod
    def _ways(successors: Successors, state: bytes) -> list[tuple[int, bytes]]:
        """Return the steps out of a state to broken ones."""
        return [(leaf, after) for leaf, after in successors.expand(state) if after[BROKEN]]

    def _broken(self, successors: Successors, before: Iterable[int]) -> set[bytes]:
        """Return the broken states that follow on some states."""
        return {after for i in before for _, after in self._ways(successors, self.search.state(i))}

    # ---- races

    def _race(self, successors: Successors, states: int, depth: int) -> Race | None:
        search = self.search
        if not search.limits.to_end and (search.before or (self.limits.deadly and self._dead())):
            return self._first_race(successors, states, depth)
        if not search.complete:
            return None
        promised = self.system.promised
        if "deadlock" in promised:
            race = self._stuck(successors, states, depth)
            if race is not None:
                return race
        if "progress" in promised:
            return self._endless(successors, states, depth)
        return None

    def _first_race(self, successors: Successors, states: int, depth: int) -> Race:
        """Return the race on the most severe rule of the first level that shows any."""
        search = self.search
        before = {search.state(i): i for i in search.filed(explorer.BROKEN, search.before)}
        rules = {code: rule for rule, code in CODES.items() if rule != LIMIT}
        ways = {
            state: [(leaf, after) for leaf, after in self._ways(successors, state) if after[BROKEN] in rules]
            for state in before
        }
        broken = {after for steps in ways.values() for _, after in steps}
        dead = self._dead() if self.limits.deadly else []
        if before:
            level = search.depth_of(next(iter(before.values())))
            dead = [i for i in dead if search.depth_of(i) == level + 1]
        kinds = {rules[after[BROKEN]] for after in broken} | ({"deadlock"} if dead else set())
        rule = min(kinds, key=severity)
        seen = Seen(states, len(broken) + len(dead), depth)
        limited = bool(search.count(explorer.LIMITS))
        if rule == "deadlock":
            path = self._path(successors, dead, None)
            return race_of_path(successors, rule, path, seen, shortest=False)
        chosen = {
            state: [(leaf, after) for leaf, after in steps if after[BROKEN] == CODES[rule]]
            for state, steps in ways.items()
        }
        targets = [i for state, i in before.items() if chosen[state]]
        path = self._path(successors, targets, chosen)
        return race_of_path(successors, rule, path, seen, shortest=not limited)

    def _path(
        self,
        successors: Successors,
        targets: Sequence[int],
        last: dict[bytes, list[tuple[int, bytes]]] | None,
    ) -> list[tuple[int, bytes]]:
        """Return a shortest path to a state of some level, with the fewest context switches, and then a last step."""
        search = self.search
        numbers = None
        if not search.compact:
            # A race that was found is told, if need be along the first path to it: as short, with more switches.
            try:
                numbers = Analysis(search).layers(targets, search.depth_of(targets[0]), _MOST_ON_PATHS)
            except TimeoutError:
                pass
            except KeyboardInterrupt:
                self.interrupted = True
        if numbers is None:
            numbers = [[i] for i in search.path(targets[0])]
        layers = [{search.state(i): list[tuple[int, bytes]]() for i in layer} for layer in numbers]
        for layer, following in pairwise(layers):
            for state in layer:
                layer[state] = [step for step in successors.expand(state) if step[1] in following]
        if last is None:
            del layers[-1]
        else:
            layers[-1] = {state: last[state] for state in layers[-1]}
        return fewest_switches(successors, successors.initial, layers)[0]

    def _stuck(self, successors: Successors, states: int, depth: int) -> Race | None:
        """Return the race that ends where a CPU waits, or an operation spins, for ever."""
        waiting, endless = Analysis(self.search).hopeless()
        if not waiting and not endless:
            return None
        start = min([*waiting.values(), *endless.values()], key=lambda i: (self.search.depth_of(i), i))
        try:
            behind = self._behind(successors, start)
        except TimeoutError:
            if not waiting:
                raise
            # That it waits is certain; only whether another CPU would be the better example is not known.
            thread, start = min(waiting.items(), key=lambda item: (self.search.depth_of(item[1]), item))
            seen = Seen(states, max(1, len(self._dead())), depth)
            path = self._path(successors, [start], None)
            return race_of_path(successors, "deadlock", path, seen, shortest=False, stuck=thread)
        found = stuck(behind)
        assert found is not None, "the sweep and the graph disagree"
        return self._with_cycle(successors, "deadlock", behind, found[0], states, depth, found[1])

    def _endless(self, successors: Successors, states: int, depth: int) -> Race | None:
        """Return the race that ends in a cycle on which no fault completes."""
        start = Analysis(self.search).endless_fault()
        if start is None:
            return None
        alone = replace(successors, threads=tuple(successors.threads[t] for t in goes_on(self.system)))
        behind = self._behind(alone, start)
        lasso = endless_fault(behind)
        assert lasso is not None, "the sweep and the graph disagree"
        return self._with_cycle(successors, "progress", behind, lasso, states, depth, None)

    def _behind(self, successors: Successors, start: int) -> Graph:
        """Return the graph of what can be reached from a state.

        :raises TimeoutError: if it is not finished in the time that is left, or too large.
        """
        successors = replace(successors, initial=self.search.state(start))
        graph = explore(successors, Bounds(self.limits.deadline, _MOST_BEHIND), to_end=True)
        if graph.stopped == "interrupt":
            raise KeyboardInterrupt
        if not graph.complete:
            raise TimeoutError
        return graph

    def _with_cycle(
        self,
        successors: Successors,
        rule: str,
        behind: Graph,
        lasso: Lasso,
        states: int,
        depth: int,
        thread: int | None,
    ) -> Race:
        """Return the race along a shortest path to a state of the graph behind, and round a cycle there."""
        start = Analysis(self.search).number(behind.states[lasso.start])
        assert start is not None, "what is behind a state was reached"
        path = self._path(successors, [start], None)
        begin = len(path) if lasso.cycle else None
        path = path + [(leaf, behind.states[i]) for leaf, i in lasso.cycle]
        shortest = begin is None and not self.search.count(explorer.LIMITS)
        seen = Seen(states, max(1, len(self._dead())), depth)
        return race_of_path(successors, rule, path, seen, shortest, begin, thread)

    def _limit(self) -> str:
        """Return in words the bound of the model that the search ran into first."""
        lay = self.search.program.pack.lay
        first = min(self.search.filed(explorer.LIMITS), key=lambda i: (self.search.depth_of(i), i))
        state = self.search.state(first)
        for t in range(len(self.system.threads)):
            for way in outcomes(self.system, lay, state, t):
                broke = broken_by(way)
                if broke is not None and broke.check.rule == LIMIT:
                    return broke.check.text
        raise AssertionError("a state that was filed under limits reaches none")
