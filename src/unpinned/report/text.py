# SPDX-License-Identifier: Apache-2.0
"""Write results as plain text that can be pasted into a mail: 75 columns, ASCII, one column for each CPU."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from typing import Final

from unpinned.check.verdict import PlanResult, RungResult, Verdict
from unpinned.ir.rules import RULES
from unpinned.mm.system import null_ops
from unpinned.plan.reading.classes import PlanClass, unjudged
from unpinned.plan.vocabulary import HOOKS
from unpinned.timeline import NOTHING, Row, Timeline

WIDTH: Final = 75
_NUMBER: Final = 3  # columns of a step's number
_LAST: Final = 28  # the last of three and more columns is no narrower
_EFFECT: Final = 33  # what became of a frame ends at this column of a cell

_SCENARIO: Final = 38  # columns of a scenario's name

#: What no verdict speaks of.
NOT_COVERED: Final = "weak memory; more vCPUs, pages or concurrent operations than above"


def plan_block(
    result: PlanResult,
    timelines: Sequence[Timeline],
    verbose: bool = False,
    replay: str = "replay:",
    lints: Sequence[str] = (),
) -> str:
    """Return the block of a plan; `timelines` tell its race, or the races on rules that it does not promise.

    :param replay: what stands before the command that replays a race.
    :param lints: the lines on its lints.
    """
    plan = result.plan
    lines: list[str] = []
    if result.verdict is Verdict.RACE:
        lines += race_lines(timelines[0], "BUG", verbose, replay)
        timelines = timelines[1:]
    else:
        lines += [f"{'OK' if result.verdict is Verdict.HOLDS else 'UNDECIDED'}: unpinned: {plan.name}"]
        lines[0] += " holds" if result.verdict is Verdict.HOLDS else " is undecided"
        lines += ["", *head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", "memory model SC")]
    lines += ["", *rung_lines(result.rungs)] if result.rungs else []
    lines.append("")
    for i, why in enumerate(result.why):
        lines += wrapped(" undecided because ", why) if i == 0 else wrapped(" and because       ", why)
    if result.why:
        lines += wrapped(" what to do        ", _advice(result))
    lines += _remarks(result, verbose)
    for timeline in timelines:
        reason = plan.waive.get(timeline.rule, "the plan does not promise it")
        lines += ["", *race_lines(timeline, "NOTE", verbose, replay), *wrapped(" no violation: ", reason)]
    if lints:
        lines += [*([""] if lines[-1] else []), *lints, ""]
    observation = observation_line(result)
    return "\n".join([*lines, *([observation] if observation else [])]) + "\n"


def observation_line(result: PlanResult) -> str:
    """Return herd7's last line, or nothing for a plan that is undecided."""
    match result.verdict:
        case Verdict.HOLDS:
            return f"Observation {result.plan.name} Never 0 {result.states}"
        case Verdict.RACE:
            assert result.race is not None
            return f"Observation {result.plan.name} Sometimes {result.race.violating} {result.race.states}"
    return ""


def summary_line(result: PlanResult) -> str:
    """Return one line on a plan, for a call with several."""
    race = result.race
    if race is not None:
        what = f"race       {race.rule}, {len(race.schedule)} steps"
    elif result.verdict is Verdict.HOLDS:
        what = f"holds      {result.states} states"
    else:
        what = f"undecided  {result.why[0].rpartition(': ')[2]}"
    line = f"{result.plan.name:<24} {what}"
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."


def replay_block(timeline: Timeline, verbose: bool = False) -> str:
    """Return the text of a race that was replayed from its token."""
    lines = race_lines(timeline, "BUG", verbose)
    return "\n".join([*lines, "", f"Replayed {timeline.plan.name}: {timeline.rule} is broken again"]) + "\n"


# ---- a race


def race_lines(timeline: Timeline, word: str, verbose: bool, replay: str = "replay:") -> list[str]:
    """Return the lines of a race; `word` is BUG, or NOTE where the plan does not promise the rule."""
    race, plan = timeline.race, timeline.plan
    where = " / ".join(f"{method}()" if method != "guest" else "guest" for method in timeline.where)
    first = f"{word}: unpinned: {timeline.rule}" + (f" in {where}" if where else "")
    lines = [*textwrap.wrap(first, WIDTH, subsequent_indent=" " * 5, break_on_hyphens=False), ""]
    lines += head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", f"memory model SC   {timeline.scenario}")
    lines += wrapped(" rule  ", timeline.sentence)
    if race.also:
        lines += wrapped(" also  ", ", ".join(race.also))
    lines += ["", *_table(timeline, verbose), ""]
    last = len(race.schedule)
    place = f"step {last}" if timeline.cycle in (None, last) else f"steps {timeline.cycle} to {last}"
    mark = f"{place}: {timeline.message}"
    if timeline.conflict is not None:
        mark += f"; conflicts with step {timeline.conflict}"
    lines += [*wrapped(" ==> ", mark), ""]
    steps, switches = len(race.schedule), race.switches
    shortest = "no shorter race exists" if race.shortest else "a shorter one may exist"
    counts = f" {counted(steps, 'step')}, {counted(switches, 'context switch', 'es')}"
    if race.states:
        lines.append(f"{counts}; {shortest}")
        lines.append(f" searched {race.states} states up to depth {race.depth}")
    else:
        lines.append(counts)
    lines += _command(replay, ["unpinned replay", timeline.token, shlex.quote(plan.source.path)])
    return lines


def _command(label: str, words: Sequence[str]) -> list[str]:
    """Return the command that replays a race, in one line or, for a shell, in several."""
    line = f" {label} " + " ".join(words)
    if len(line) <= WIDTH:
        return [line]
    return [f" {label} {words[0]} \\", *(f"   {word} \\" for word in words[1:-1]), f"   {words[-1]}"]


def _table(timeline: Timeline, verbose: bool) -> list[str]:
    rows = list(timeline.rows) if verbose else _merged(timeline.rows, timeline.cycle)
    lines, columns = _headings(timeline.cpus)
    margin = " " * (_NUMBER + 1)
    for row in rows:
        if row.number == timeline.cycle:
            lines.append(f"{margin}from here the steps repeat for ever:")
        text = ("  " if row.method in HOOKS else "") + row.text
        if row.number == len(timeline.rows):
            text += "  <--"
        left, width = columns[row.cpu]
        for i, part in enumerate(_cell(text, row.effect, width)):
            number = f"{row.number:>{_NUMBER}}" if i == 0 else " " * _NUMBER
            lines.append(f"{number} {' ' * left}{part}".rstrip())
        if verbose:
            place = f"{row.pos.file.rsplit('/', 1)[-1]}:{row.pos.line}"
            lines.append(f"      {place}: {row.pos.text.strip()}"[:WIDTH])
    return lines


def _headings(cpus: Sequence[str]) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the heading of the table, and for each CPU where its column begins and how wide its rows may be.

    Two CPUs share the width. With more, columns begin at equal distances and a row may run on to the right, where
    its line is empty, so that the last column has _LAST at least.
    """
    whole = WIDTH - _NUMBER - 1
    margin = " " * (_NUMBER + 1)
    if len(cpus) <= 2:
        width = whole // len(cpus) - 2 * (len(cpus) - 1)
        columns = [(cpu * (width + 2), width) for cpu in range(len(cpus))]
        title = "  ".join(f"{name:<{width}}"[:width] for name in cpus).rstrip()
        return [margin + title, margin + "  ".join("-" * width for _ in cpus)], columns
    apart = (whole - _LAST) // (len(cpus) - 1)
    columns = [(cpu * apart, whole - cpu * apart) for cpu in range(len(cpus))]
    names, legend = list(cpus), []
    if max(map(len, cpus)) > apart - 2:
        names, legend = [cpu.split(" - ")[0] for cpu in cpus], [margin + name for name in cpus] + [""]
    title = "".join(f"{name:<{apart}}" for name in names).rstrip()
    rule = "".join(f"{'-' * (apart - 2):<{apart}}" for _ in cpus[:-1]) + "-" * _LAST
    return [*legend, margin + title, margin + rule], columns


def _cell(text: str, effect: str, width: int) -> list[str]:
    """Return the lines of a cell: the text, wrapped, and the effect at the right."""
    indent = len(text) - len(text.lstrip())
    lines = textwrap.wrap(text.strip(), width - indent, subsequent_indent="  ", break_long_words=True) or [""]
    lines = [" " * indent + line for line in lines]
    if effect:
        column = min(width, _EFFECT)
        if len(lines[-1]) + 2 + len(effect) > width:
            lines.append("")
        lines[-1] += "  " + effect.rjust(column - len(lines[-1]) - 2)
    return lines


def _merged(rows: Sequence[Row], cycle: int | None) -> list[Row]:
    """Leave out the mm's own locks, and put steps of one statement into one row."""
    merged: list[Row] = []
    for row in rows:
        if row.quiet and row is not rows[-1] and row.number != cycle:
            continue
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.own
            and row.own
            and (last.cpu, last.pos.line, last.method) == (row.cpu, row.pos.line, row.method)
            and "lock(" not in last.text + row.text
            and row.number != cycle
        ):
            merged[-1] = _joined(last, row)
        else:
            merged.append(row)
    return merged


def _joined(first: Row, second: Row) -> Row:
    """Join two steps of one statement; a read that is followed by the change of the same field is left out."""
    name = second.text.split(" ", 1)[0]
    kept = [part for part in first.text.split(", ") if not ("->" in second.text and part.startswith(f"{name} is "))]
    text = ", ".join([*kept, second.text] if second.text != NOTHING else kept)
    effect = ", ".join(filter(None, (first.effect, second.effect)))
    return Row(second.number, second.cpu, text, effect, second.pos, second.method, True, False)


# ---- the rest of a block


def head_lines(what: str, right: str) -> list[str]:
    """Return the line that names a plan, with what is said at its right."""
    line = f" plan  {what}"
    if len(line) + 3 + len(right) <= WIDTH:
        return [f"{line}   {right}"]
    return [line, f"       {right}"]


def rung_lines(rungs: Sequence[RungResult]) -> list[str]:
    """Return the table of the rungs that were searched."""
    lines = [f" {'scenario':<{_SCENARIO + 1}}{'states':>12}{'depth':>8}  verdict"]
    for result in rungs:
        name = str(result.rung.scenario)
        verdict = str(result.verdict)
        if result.verdict is Verdict.UNDECIDED and not result.rung.required:
            verdict = "not finished"
        star = " " if result.rung.required else "+"
        if len(name) > _SCENARIO:
            lines.append(f" {star}{name}")
            star, name = " ", ""
        lines.append(f" {star}{name:<{_SCENARIO}}{result.states:>12}{result.depth:>8}  {verdict}")
    if any(not result.rung.required for result in rungs):
        lines.append(" + beyond the required part of the ladder")
    return lines


def ordering_lines(plan: PlanClass) -> list[str]:
    """Return the line that names the words of a plan that order memory, if it has any."""
    words = ", ".join(unjudged(plan))
    return wrapped(" not judged     ", f"{words}: memory is taken to be sequentially consistent") if words else []


def _remarks(result: PlanResult, verbose: bool) -> list[str]:
    lines: list[str] = []
    if result.plan.flavour == "sleeping":
        lines += wrapped(" flavour        ", "sleeping: the mm's locks of the reverse map are no spinlocks")
    if missing := null_ops(result.plan):
        lines += wrapped(" NULL ops       ", ", ".join(missing))
    for rule, reason in result.plan.waive.items():
        if rule in RULES:
            lines += wrapped(" waived         ", f"{rule}: {reason}")
    lines += ordering_lines(result.plan)
    for rung in result.rungs:
        for note in dict.fromkeys((*rung.notes, *(rung.details if verbose else ()))):
            lines += wrapped(" note           ", f"{rung.rung.scenario}: {note}")
    if result.interrupted and result.verdict is Verdict.HOLDS:
        lines += wrapped(" interrupted    ", "after the required part, which holds; the rest was not searched")
    for why in dict.fromkeys(result.unsearched.values()):
        rules = ", ".join(rule for rule, reason in result.unsearched.items() if reason == why)
        lines += wrapped(" not looked for ", f"{rules} (not promised; {why.removesuffix(' (--time)')})")
    if result.verdict is Verdict.RACE:
        return lines
    # What a search that was cut short has not seen says nothing of the plan.
    if all(not rung.why for rung in result.rungs if rung.rung.required) and result.rungs:
        if result.unexercised:
            lines += wrapped(" not exercised  ", ", ".join(result.unexercised))
        if result.unreached:
            places = ", ".join(f"{file.rsplit('/', 1)[-1]}:{line}" for file, line in result.unreached)
            lines += wrapped(" never reached  ", places)
    lines += wrapped(" not covered    ", NOT_COVERED)
    return lines


def _advice(result: PlanResult) -> str:
    """Say what to do about a plan that is undecided: a remedy, or a smaller scenario."""
    lower = next((rung.lower for rung in result.rungs if rung.lower), "")
    smaller = f"pick a smaller scenario ({f'{lower} first' if lower else '--vcpus --pages --ops'})"
    first = remedy(result)
    if result.interrupted or "vacuous" in " ".join(result.why):
        return first
    between = "; or " if result.checkpoint and "for --time" in first else ", or "
    return f"{first}{between}{smaller}" if first else smaller


def remedy(result: PlanResult) -> str:
    """Say what a search needs that did not decide, in any scenario; nothing, if that is not known."""
    why = " ".join(result.why)
    again = "run it again with --resume: it goes on from there" if result.checkpoint else "run it again"
    if result.interrupted:
        return again
    if "the time was up" in why or "not begun" in why:
        return f"{again}, for --time SECONDS more" if result.checkpoint else "give it more time (--time SECONDS)"
    if "memory" in why:
        return f"allow more memory (--memory SIZE{' --resume' if result.checkpoint else ''})"
    if "passed its width" in why:
        return "widen the counter (up to Counter(bits=6))"
    if "vacuous" in why:
        return "a plan must map, and replay if it can: look at the lines that were never reached"
    return ""


def wrapped(first: str, text: str) -> list[str]:
    """Return a text within the columns, behind the words that it begins with."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def counted(n: int, what: str, plural: str = "s") -> str:
    """Return a number with its noun: 1 step, 2 steps."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{plural}"
