# SPDX-License-Identifier: Apache-2.0
"""Write the gallery as text: the list of entries, what a check gave, and the story of one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from unpinned import api
from unpinned.check.verdict import Verdict
from unpinned.gallery.entry import EVIDENCE, Entry
from unpinned.gallery.judge import Half, Judged, diff

_WIDTH: Final = 75
_TIME: Final = 9  # columns at the right
#: What stands before a sentence on a plan that came out otherwise, by whether it is undecided.
_MARK: Final = {False: "NOT AS EXPECTED", True: "UNDECIDED"}


def listing(found: Sequence[Entry]) -> str:
    """Return the list: name, year, rule, title and source of each entry."""
    lines: list[str] = []
    for entry in found:
        lines += [f"{entry.name} ({entry.year}) breaks {entry.rule}", *_wrapped("   ", entry.title)]
        lines += [*_wrapped("   from  ", _source(entry)), ""]
    lines.append("The plan, race and fix of one: unpinned gallery NAME")
    lines += _wrapped("", f"Bugs that the plan language cannot say yet: {found[0].folder.parent / 'README.md'}")
    return "\n".join(lines) + "\n"


def judged_block(judged: Judged) -> str:
    """Return what a check of an entry gave."""
    entry = judged.entry
    lines = [entry.name, *_half("broken", judged.broken)]
    if judged.fixed is not None:
        lines += _half("fixed", judged.fixed)
    for half in judged.halves:
        for words in half.amiss:
            lines += _wrapped(f"  {_MARK[half.undecided]}  ", words)
    return "\n".join(lines) + "\n"


def judged_end(judged: Sequence[Judged], wanted: int) -> str:
    """Return the last lines of a check of `wanted` entries."""
    undecided = [one.entry.name for one in judged if any(half.undecided for half in one.halves)]
    amiss = [one.entry.name for one in judged if any(half.amiss and not half.undecided for half in one.halves)]
    seconds = sum(half.seconds for one in judged for half in one.halves)
    lines = [""]
    if amiss:
        lines += _wrapped("", f"not as expected: {', '.join(amiss)}")
    if any(one.interrupted for one in judged):
        lines.append(f"interrupted: {len(judged)} of {_entries(wanted)} begun")
    elif undecided:
        lines += _wrapped("", f"undecided: {', '.join(undecided)}; give each plan more time with --time SECONDS")
    elif not amiss:
        lines.append(f"{_entries(wanted)}, as expected, in {seconds:.1f} s")
    return "\n".join(lines) + "\n"


def story(found: Sequence[Entry], judged: Judged, verbose: bool = False) -> str:
    """Return the story of an entry whose broken plan was checked: source, plan, race, and the fix as a diff.

    :param found: all entries, for the chain that it belongs to.
    """
    entry, broken = judged.entry, judged.broken
    lines = [f"{entry.name} ({entry.year}) breaks {entry.rule}", *_wrapped("   ", entry.title), ""]
    lines += _wrapped(" from      ", _source(entry))
    lines += _wrapped(" evidence  ", EVIDENCE[entry.evidence])
    if entry.chain:
        members = sorted((other for other in found if other.chain == entry.chain), key=lambda other: other.place)
        lines += _wrapped(" chain     ", f"{entry.chain}: " + ", then ".join(other.name for other in members))
    lines += ["", f"The plan, {entry.broken}:", "", *entry.broken.read_text(encoding="utf-8").splitlines()]
    lines += ["", "What a check of it says:", "", *api.report(broken.result, verbose).splitlines()]
    for words in broken.amiss:
        lines += ["", *_wrapped(f"{_MARK[broken.undecided]}  ", words)]
    lines += ["", *_wrapped("The fix: ", entry.fix), "", *diff(entry)]
    lines += ["", f"That the fixed plan holds: unpinned gallery --check {entry.name}"]
    return "\n".join(lines) + "\n"


def _source(entry: Entry) -> str:
    return entry.source + (" (a bug by our own reading, unconfirmed)" if entry.reading else "")


def _half(which: str, half: Half) -> list[str]:
    """Return the line of a plan: what was found, and the seconds at the right."""
    result = half.result
    race = result.race
    if race is not None:
        scenario = next(rung.rung.scenario for rung in result.rungs if rung.race is race)
        words = f"{race.rule}; {scenario}; {len(race.schedule)} steps; {race.states} states"
    elif result.verdict is Verdict.HOLDS:
        words = f"holds; {result.states} states"
    else:
        words = "undecided"
    margin = f"  {which:<8}"
    lines = textwrap.wrap(words, _WIDTH - _TIME, initial_indent=margin, subsequent_indent=" " * len(margin))
    lines[-1] = f"{lines[-1]:<{_WIDTH - _TIME}}{half.seconds:>{_TIME - 2}.2f} s"
    return lines


def _entries(number: int) -> str:
    return f"{number} entry" if number == 1 else f"{number} entries"


def _wrapped(first: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
