# SPDX-License-Identifier: Apache-2.0
"""Tell a race as rows, one a step: the object that every report reads.

A row says what the step did in the words of its source: a model's note, a lock taken, values read and changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from unpinned.check.token import write_token
from unpinned.check.witness import Race, broken_by, replay
from unpinned.errors import Pos
from unpinned.ir.interp import Broke, Event, Outcome, Read, Said, Stored, outcomes
from unpinned.ir.layout import initial, layout
from unpinned.ir.program import LOCK_TYPES, Shared, Step, System, Thread, Var, Wait, leaves, reads
from unpinned.ir.rules import RULES
from unpinned.mm.cpus import RUNNING
from unpinned.mm.scenario import Scenario
from unpinned.plan.lowering.values import RESULTS
from unpinned.plan.reading.classes import PlanClass
from unpinned.plan.vocabulary import HOOKS

#: Kernel words for taking and leaving a lock: kind -> (took, left); {way} is read or write.
_LOCK_WORDS: Final = {
    "spinlock": ("spin_lock", "spin_unlock"),
    "mutex": ("mutex_lock", "mutex_unlock"),
    "rwlock": ("{way}_lock", "{way}_unlock"),
    "rwsem": ("down_{way}", "up_{way}"),
    "rcu": ("rcu_read_lock", "rcu_read_unlock"),
    "srcu": ("srcu_read_lock", "srcu_read_unlock"),
}

#: What a CPU waits for that is no lock, by the type of the variable that it looks at.
_WAITED: Final = {
    "waitqueue": "a wake_up() of {name}",
    "rcu": "RCU sections",
    "srcu": "sections of {name}",
    "work": "the work {name}",
}

#: What a step is called that has nothing to say.
NOTHING: Final = "go on"


@dataclass(frozen=True, slots=True)
class Row:
    """One step: its number from 1, the CPU, what it did, and what became of page frames.

    `method` is the plan's method that the step belongs to, or the mm's operation, or "guest". `own` tells whether
    the step is in the plan's source; `quiet` steps are locks of the mm, which only a full report shows.
    """

    number: int
    cpu: int
    text: str
    effect: str
    pos: Pos
    method: str
    own: bool
    quiet: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """A race, told.

    `cpus` has for each CPU its heading. `message` says what is broken after the last row, `conflict` is the number of
    the earlier step that it conflicts with (or None); `cycle` is the number of the first step of the cycle.
    """

    plan: PlanClass
    scenario: Scenario
    race: Race
    rule: str
    sentence: str
    where: tuple[str, ...]
    cpus: tuple[str, ...]
    rows: tuple[Row, ...]
    message: str
    conflict: int | None
    cycle: int | None
    token: str


def tell(plan: PlanClass, scenario: Scenario, race: Race) -> Timeline:
    """Replay a race and tell it.

    :raises InternalError: if it does not replay.
    """
    system = race.system
    run = replay(system, race.schedule)
    teller = _Teller(system, plan)
    rows = [teller.row(number, thread, run[number - 1]) for number, (thread, _) in enumerate(race.schedule, start=1)]
    message, conflict = _message(race, run, teller)
    return Timeline(
        plan=plan,
        scenario=scenario,
        race=race,
        rule=race.rule,
        sentence=RULES[race.rule],
        where=_where(rows, race),
        cpus=tuple(_heading(t, system, rows) for t in range(len(system.threads))),
        rows=tuple(rows),
        message=message,
        conflict=conflict,
        cycle=None if race.cycle is None else race.cycle + 1,
        token=write_token(plan, scenario, race),
    )


def frame_name(number: int) -> str:
    """Return the letter of a page frame: A is the first."""
    return ascii_uppercase[number - 1] if 0 < number <= 26 else "none" if number == 0 else f"frame {number}"


def show_value(type_: str, value: int) -> str:
    """Return a value in the words of its type."""
    match type_:
        case "page":
            return frame_name(value)
        case "bool":
            return "True" if value else "False"
        case "result":
            return next(name for name, number in RESULTS.items() if number == value)
    return str(value)


class _Teller:
    """Turn the events of steps into words."""

    def __init__(self, system: System, plan: PlanClass) -> None:
        self.system, self.plan = system, plan
        self.shared = {var.name: var for var in system.shared}
        self.sources = {method.source.path for method in plan.methods.values()}
        self.lay = layout(system)
        self.places = [0] * len(system.threads)

    def row(self, number: int, thread: int, outcome: Outcome) -> Row:
        step = self.system.threads[thread].steps[self.places[thread]]
        self.places[thread] = self.lay.place(outcome.state, thread)
        own = step.pos.file in self.sources
        parts = self.words(thread, outcome.events)
        return Row(
            number,
            thread,
            ", ".join(parts) or NOTHING,
            ", ".join(self.effects(outcome.events)),
            step.pos,
            _method(step, self.system.threads[thread]),
            own,
            quiet=not own and not any(isinstance(event, Said) and event.text for event in outcome.events),
        )

    def words(self, thread: int, events: Sequence[Event]) -> list[str]:
        """Return what a step did: its note if it has one, else its locks, reads and changes."""
        said = [event for event in events if isinstance(event, Said) and event.text]
        if said:
            values = {name: show_value(type_, value) for name, type_, value in said[-1].values}
            return [said[-1].text.format(**values)]
        locals_ = {var.name: var for var in self.system.threads[thread].locals}
        parts: list[str] = []
        read: Read | None = None
        for event in events:
            match event:
                case Read():
                    read = event
                    parts.append(f"{self.element(event.var, event.index)} is {self.value(event.var, event.value)}")
                case Stored(var, True) if var == RUNNING:
                    pass
                case Stored(var, True, index, old, new):
                    read = None
                    parts.append(self.change(self.shared[var], index, old, new))
                case Stored(var, False, _, _, new):
                    method, name = var.split(".", 1)
                    if name.startswith(("%", "return")) or method not in self.plan.methods:
                        continue
                    shown = f"{name.split('#')[0]} = {show_value(locals_[var].type, new)}"
                    if read is not None and (self.shared[read.var].type, read.value) == (locals_[var].type, new):
                        parts[-1] = shown
                    else:
                        parts.append(shown)
                    read = None
        return parts

    def change(self, var: Var, index: int, old: int, new: int) -> str:
        """Return the words for a changed field, or for a lock."""
        name = self.element(var.name, index)
        if var.type in _LOCK_WORDS:
            name = "" if var.type == "rcu" else name
            way = "write" if var.hi in (old, new) else "read"
            return f"{_LOCK_WORDS[var.type][0 if new > old else 1].format(way=way)}({name})"
        if old == new:
            return f"{name} = {show_value(var.type, new)}"
        return f"{name} {show_value(var.type, old)} -> {show_value(var.type, new)}"

    def element(self, var: str, index: int) -> str:
        name = var.split(".", 1)[1]
        field = self.plan.fields.get(name) if var.startswith("plan.") else None
        indexed = self.shared[var].size > 1 if field is None else field.of is not None
        return f"{name}[{index}]" if indexed else name

    def value(self, var: str, value: int) -> str:
        return show_value(self.shared[var].type, value)

    def effects(self, events: Sequence[Event]) -> list[str]:
        """Return what became of page frames: how many references each changed one has now."""
        refs: dict[int, int] = {}
        for event in events:
            if isinstance(event, Stored) and event.var == "mm.refs":
                refs[event.index] = event.new
        shown = []
        for frame, count in refs.items():
            count_words = "free" if count == 0 else f"{count} ref" if count == 1 else f"{count} refs"
            shown.append(f"{frame_name(frame)}: {count_words}")
        return shown


def _method(step: Step, thread: Thread) -> str:
    """Return the method that a report names a step by: the plan's innermost hook, else the operation, or "guest"."""
    hook = next((name for name in reversed(step.method.split("/")) if name in HOOKS), None)
    return hook or ("guest" if thread.kind == "vcpu" else thread.name)


def _heading(thread: int, system: System, rows: Sequence[Row]) -> str:
    """Return the heading of a CPU's column: what it runs."""
    if system.threads[thread].kind != "vcpu":
        return f"{_called(thread, system)} - {system.threads[thread].name}()"
    methods = [row.method for row in rows if row.cpu == thread]
    return f"{_called(thread, system)} - {'page_fault()' if 'page_fault' in methods else 'guest'}"


def _called(thread: int, system: System) -> str:
    """Return what a thread is called: by its CPU, or a task, if tasks share CPUs."""
    return f"{'task' if any(var.name == RUNNING for var in system.shared) else 'CPU'}{thread}"


def _where(rows: Sequence[Row], race: Race) -> tuple[str, ...]:
    """Return the methods of the first line: the one that breaks the rule, and the last one of another CPU."""
    if not rows:
        return ()
    last = rows[-1]
    breaking = next((row.method for row in reversed(rows) if row.cpu == last.cpu and row.method in HOOKS), last.method)
    others = [row for row in rows if row.cpu != last.cpu]
    hooks = [row.method for row in others if row.method in HOOKS]
    other = (hooks or [row.method for row in others] or [""])[-1]
    return (breaking, other) if other and race.cycle is None else (breaking,)


def _message(race: Race, run: Sequence[Outcome], teller: _Teller) -> tuple[str, int | None]:
    """Return what is broken in the end, and the number of the step that it conflicts with."""
    broke = broken_by(run[-1]) if run else None
    if broke is not None:
        return broke.check.text, _conflict(broke, run)
    if race.cycle is not None and race.stuck is not None:
        name = race.system.threads[race.stuck].name
        return f"{_called(race.stuck, race.system)} goes round for ever, and {name}() can never end", None
    if race.cycle is not None:
        return "no fault completes in this cycle, and the mm is at rest", None
    return _waiting(race, run, teller), None


def _conflict(broke: Broke, run: Sequence[Outcome]) -> int | None:
    """Return the latest earlier step that wrote something the check looked at and the last step did not write."""
    last = {(e.var, e.index) for e in run[-1].events if isinstance(e, Stored) and e.shared}
    looked_at = set(broke.looked_at) - last
    for number in range(len(run) - 1, 0, -1):
        written = {(e.var, e.index) for e in run[number - 1].events if isinstance(e, Stored) and e.shared}
        if looked_at & written:
            return number
    return None


def _waiting(race: Race, run: Sequence[Outcome], teller: _Teller) -> str:
    """Return in words who waits for what at the end of a deadlock, who holds it, and what that one waits for."""
    system = race.system
    end = run[-1].state if run else initial(teller.lay)
    locks = {var.name for var in system.shared if var.type in LOCK_TYPES or var.type in _WAITED or var.name == RUNNING}
    waiting = {
        t: _waited_for(thread.steps[teller.places[t]], locks)
        for t, thread in enumerate(system.threads)
        if teller.places[t] < len(thread.steps) and not outcomes(system, teller.lay, end, t)
    }
    parts = []
    ahead = list(waiting) if race.stuck is None else [race.stuck]
    for t in ahead:
        held_by = [
            o
            for o, other in enumerate(system.threads)
            if teller.places[o] < len(other.steps) and set(waiting[t]) & set(other.steps[teller.places[o]].held)
        ]
        shown = " and ".join(_waited(teller.shared[name]) for name in waiting[t]) or "something that never comes"
        by = " and ".join("itself" if o == t else _called(o, system) for o in held_by)
        parts.append(f"{_called(t, system)} waits for {shown}" + (f", held by {by}" if by else ""))
        ahead += [o for o in held_by if o in waiting and o not in ahead]
    return "; ".join(parts)


def _waited(var: Var) -> str:
    """Return the words for a lock or a wait queue that a CPU waits for."""
    if var.name == RUNNING:
        return "a CPU"
    name = var.name.split(".", 1)[1]
    return _WAITED.get(var.type, "{name}").format(name=name)


def _waited_for(step: Step, locks: set[str]) -> list[str]:
    """Return the locks, or the wait queue, that a step waits for."""
    found: list[str] = []
    for path, _ in leaves(step.body):
        for stmt in path:
            if isinstance(stmt, Wait):
                found += [ref.name for ref in reads(stmt.cond) if isinstance(ref, Shared) and ref.name in locks]
    return list(dict.fromkeys(found))
