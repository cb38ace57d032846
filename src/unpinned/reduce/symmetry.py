# SPDX-License-Identifier: Apache-2.0
"""Find out which threads, pages and frames a system treats alike.

Swap two of them everywhere: exchange the two threads, rename the constants and the values that variables hold, and
move the elements of arrays that count them. If the result is the system itself, step by step (reduce/renaming.py says
when two steps are the same), then swapping is an automorphism of the state graph: where s goes to t, swapped s goes
to swapped t, with the same rule broken or none, and the same CPU, swapped, takes the step. So a search that keeps one
state of each orbit (engine/canonical.py) finds a broken rule exactly if there is one. That the initial state keeps its
place is not needed: what is reached from it is reached, swapped, from the swapped one. What two automorphisms do one
after the other is one too, so it is enough to compare under permutations that generate all others: of pages and of
frames, a swap of two and a turn of all.

What a search of orbits does not keep is who is who along a path: where a property follows one CPU through a cycle
("this CPU never moves again"), the permutation of each step must be followed too.

Anything that the comparison does not see through is given up, with a note that says what and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from unpinned.ir.program import System
from unpinned.reduce.alike import Symmetry
from unpinned.reduce.kinds import Naming, View, reachable, views
from unpinned.reduce.renaming import AsymmetryError, Paths, same, truth_text, written


def find_symmetry(system: System) -> Symmetry:
    """Compare a system with itself under swaps of its threads, its pages and its frames."""
    notes: list[str] = []
    seen_by = views(system)
    values = {seen.kind.name: _values(seen, notes) for seen in (seen_by.pages, seen_by.frames)}
    if None not in values.values():
        for name in _of_both_kinds(*(seen for seen in values.values() if seen is not None)):
            notes.append(f"pages and frames: {name} holds either")
            values = dict.fromkeys(values)
            break
    kept = [seen for seen in values.values() if seen is not None]
    classes = _classes(seen_by.threads, kept, notes)
    alike = {name: seen is not None and _matters(seen) for name, seen in values.items()}
    return Symmetry(classes, alike["pages"], alike["frames"], tuple(notes))


# ---- pages and frames --------------------------------------------------------------------------------------------


def _values(seen: View, notes: list[str]) -> View | None:
    """Return the system as a kind sees it if all of the kind are alike; else None, and why to `notes`."""
    why = next(_differences(seen), None) if seen.kind.count > 1 else None
    if why is None:
        return seen
    notes.append(f"{seen.kind.name}: {why}")
    return None


def _matters(seen: View) -> bool:
    """Tell whether there are two of a kind, and a variable that holds or counts them."""
    kind = seen.kind
    every = [held for mine in (seen.shared, *seen.locals) for held in mine.values()]
    counted = any(per in kind.dims for held in every for per, _ in held.dims)
    return kind.count > 1 and (counted or any(held.type in kind.types for held in every))


def _differences(seen: View) -> Iterator[str]:
    """Yield what a kind's values meet that does not treat them alike."""
    yield from _too_narrow(seen)
    kind = seen.kind
    comparison = _Comparison(seen)
    every = range(kind.first, kind.first + kind.count)
    swap = {kind.first: kind.first + 1, kind.first + 1: kind.first}
    cycle = dict(zip(every, (*every[1:], kind.first), strict=True))
    for names in (swap, cycle)[: kind.count - 1]:
        yield from comparison.differences(Naming(kind, names), range(len(seen.system.threads)))


def _too_narrow(seen: View) -> Iterator[str]:
    """Yield the variables that hold some of a kind and not others: a swap would leave their range."""
    for held in (held for mine in (seen.shared, *seen.locals) for held in mine.values()):
        if held.type in seen.kind.types:
            first, last = seen.kind.span(held.type)
            if not held.var.lo <= first <= last <= held.var.hi:
                yield f"{held.var.name} has no room for all of them"


def _of_both_kinds(one: View, other: View) -> Iterator[str]:
    """Yield the variables that are renamed as values of two kinds."""
    for here, there in ((one.shared, other.shared), *zip(one.locals, other.locals, strict=True)):
        for name in here:
            if here[name].type in one.kind.types and there[name].type in other.kind.types:
                yield name


# ---- threads -----------------------------------------------------------------------------------------------------


def _classes(seen: View, kept: list[View], notes: list[str]) -> tuple[tuple[int, ...], ...]:
    """Return the classes of threads that may be exchanged; say in `notes` why others that look alike may not."""
    system, comparison = seen.system, _Comparison(seen)
    class_of = list(range(len(system.threads)))
    told = False
    for i, j in combinations(range(len(system.threads)), 2):
        if class_of[i] == class_of[j] or not _look_alike(system, kept, i, j):
            continue
        new = list(range(len(system.threads)))
        new[i], new[j] = j, i
        why = next(comparison.differences(Naming(seen.kind, {i: j, j: i}), new), None)
        if why is None:
            class_of[j] = class_of[i]
        elif not told:
            notes.append(f"threads {system.threads[i].name} and {system.threads[j].name}: {why}")
            told = True
    found = (tuple(t for t, c in enumerate(class_of) if c == first) for first in sorted(set(class_of)))
    return tuple(members for members in found if len(members) > 1)


def _look_alike(system: System, kept: list[View], i: int, j: int) -> bool:
    """Tell whether two threads could be alike: kind, locals, what is renamed of them, and places with their locks."""
    one, other = system.threads[i], system.threads[j]
    if (one.kind, one.done, one.locals) != (other.kind, other.done, other.locals):
        return False
    if [step.held for step in one.steps] != [step.held for step in other.steps]:
        return False
    if any((i < extent) != (j < extent) for per, extent in system.extents if per in ("cpu", "vcpu")):
        return False
    return all(seen.locals[i] == seen.locals[j] for seen in kept)


# ---- swapping and comparing --------------------------------------------------------------------------------------


class _Comparison:
    """A system as a kind sees it, held against itself under other names."""

    def __init__(self, seen: View) -> None:
        self.seen = seen
        self.same = Naming(seen.kind)
        self.steps: dict[tuple[int, int], Paths] = {}

    def step(self, thread: int, place: int) -> Paths:
        """Return the paths of a step as they are."""
        if (thread, place) not in self.steps:
            self.steps[thread, place] = written(self.seen, self.same, thread, place)
        return self.steps[thread, place]

    def differences(self, naming: Naming, new: Sequence[int]) -> Iterator[str]:
        """Yield each place that is not the same under the new names, where thread t becomes thread new[t]."""
        for t, thread in enumerate(self.seen.system.threads):
            for place in reachable(thread):
                step = thread.steps[place]
                where = f"{step.method} ({step.pos.short})"
                try:
                    if not same(written(self.seen, naming, t, place), self.step(new[t], place)):
                        yield f"{where} does not treat {_some(naming)} alike"
                except AsymmetryError as found:
                    yield f"{where} {found.what}"
            try:
                if self.flag(naming, t) != self.flag(self.same, new[t]):
                    yield f"what says that {thread.name} faults does not treat {_some(naming)} alike"
            except AsymmetryError as found:
                yield f"what says that {thread.name} faults {found.what}"

    def flag(self, naming: Naming, thread: int) -> str:
        """Write what says whether a fault of a thread is under way."""
        return truth_text(self.seen, naming, thread, self.seen.system.faulting[thread])


def _some(naming: Naming) -> str:
    one, *_, other = sorted(naming.new)
    return f"{one} and {other}" if len(naming.new) == 2 else f"{one} to {other}"
