# SPDX-License-Identifier: Apache-2.0
"""Check entries: the broken plan breaks the rule that it should, as it should, and the fixed one holds."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unpinned import api
from unpinned.check.ladder import Watch
from unpinned.check.verdict import EXIT_HOLDS, EXIT_RACE, EXIT_UNDECIDED, PlanResult, Verdict
from unpinned.gallery.entry import Entry

#: Seconds for each plan: far more than any needs.
DEFAULT_TIME: Final = 60.0


@dataclass(frozen=True, slots=True)
class Half:
    """What a check of one plan of an entry gave, after how many seconds, and in which words it is not as expected."""

    result: PlanResult
    seconds: float
    amiss: tuple[str, ...]

    @property
    def undecided(self) -> bool:
        """Tell whether a limit was hit before anything was known."""
        return self.result.verdict is Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Judged:
    """An entry with both its plans checked; `fixed` is None after an interrupt, and where it was not asked for."""

    entry: Entry
    broken: Half
    fixed: Half | None

    @property
    def halves(self) -> tuple[Half, ...]:
        """Return what was checked."""
        return (self.broken,) if self.fixed is None else (self.broken, self.fixed)

    @property
    def interrupted(self) -> bool:
        """Tell whether a Ctrl-C cut it short."""
        return any(half.result.interrupted for half in self.halves)

    @property
    def amiss(self) -> tuple[str, ...]:
        """Return what is not as expected, nothing if all is well."""
        return tuple(words for half in self.halves for words in half.amiss)


def judge(entry: Entry, seconds: float, options: api.Options, watch: Watch) -> Judged:
    """Check both plans of an entry, each within so many seconds.

    :raises PlanError: if one is not in the language.
    :raises UsageError: if one has no class of the name that entry.toml says.
    """
    broken = judge_broken(entry, seconds, options, watch)
    if broken.result.interrupted:
        return Judged(entry, broken, None)
    result, took = _check(entry.fixed, entry, seconds, options, watch)
    amiss = [*_undecided("fixed.py", result)]
    if result.race is not None:
        amiss.append(f"fixed.py races: it breaks {result.race.rule}")
    elif not amiss:
        amiss += _differences({"the number of states of fixed.py": (result.states, entry.fixed_states)})
    amiss += _differences({"the number of places that the fix changes": (len(hunks(entry)), entry.places)})
    return Judged(entry, broken, Half(result, took, tuple(amiss)))


def judge_broken(entry: Entry, seconds: float, options: api.Options, watch: Watch) -> Half:
    """Check the broken plan of an entry within so many seconds.

    :raises PlanError: if it is not in the language.
    :raises UsageError: if it has no class of the name that entry.toml says.
    """
    result, took = _check(entry.broken, entry, seconds, options, watch)
    amiss = [*_undecided("broken.py", result)]
    race = result.race
    if race is not None:
        scenario = next(rung.rung.scenario for rung in result.rungs if rung.race is race)
        amiss += _differences(
            {
                "the rule that broken.py breaks": (race.rule, entry.rule),
                "the scenario": (str(scenario), entry.scenario),
                "the number of steps": (len(race.schedule), entry.steps),
                "the number of states": (race.states, entry.states),
            }
        )
    elif not amiss:
        amiss.append(f"broken.py holds, and entry.toml says that it breaks {entry.rule}")
    return Half(result, took, tuple(amiss))


def hunks(entry: Entry) -> list[list[str]]:
    """Return the places where the two plans differ, each as the lines of a diff without those around it."""
    before, after = _lines(entry.broken), _lines(entry.fixed)
    found = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            found.append([f"-{line}" for line in before[a:b]] + [f"+{line}" for line in after[c:d]])
    return found


def diff(entry: Entry) -> list[str]:
    """Return the fix as lines of a unified diff."""
    before, after = _lines(entry.broken), _lines(entry.fixed)
    lines = difflib.unified_diff(before, after, str(entry.broken), str(entry.fixed), lineterm="")
    return [line.rstrip() for line in lines]


def exit_code(judged: Sequence[Judged], wanted: int) -> int:
    """Return the exit code of a call that was to check `wanted` entries: as expected, not so, or not decided."""
    halves = [half for one in judged for half in one.halves]
    if any(half.amiss and not half.undecided for half in halves):
        return EXIT_RACE
    undecided = any(half.undecided or half.result.interrupted for half in halves)
    return EXIT_UNDECIDED if undecided or len(judged) < wanted else EXIT_HOLDS


def _check(file: Path, entry: Entry, seconds: float, options: api.Options, watch: Watch) -> tuple[PlanResult, float]:
    """Climb the required part of a plan's ladder; return the result, and the seconds that it took."""
    (plan,) = api.plans(file, entry.plan)
    began = time.monotonic()
    result = api.check_plan(plan, seconds=seconds, required_only=True, options=options, watch=watch)
    return result, time.monotonic() - began


def _undecided(file: str, result: PlanResult) -> list[str]:
    if result.verdict is not Verdict.UNDECIDED:
        return []
    return [f"{file}: {why}" for why in result.why]


def _differences(pairs: dict[str, tuple[object, object]]) -> list[str]:
    """Return a sentence for each pair of what was found and what is expected that differ."""
    return [
        f"{what} is {found}, and entry.toml says {expected}"
        for what, (found, expected) in pairs.items()
        if found != expected
    ]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
