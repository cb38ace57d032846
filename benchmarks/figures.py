# SPDX-License-Identifier: Apache-2.0
"""Measure the figures that unpinned is to reach against its peers, and say of each whether it does.

A ratio of times is that of wall or of CPU time, whichever is worse for unpinned: a peer may use two cores. Times are
medians, from the start of the process to its verdict, with a peer's compile steps; unpinned's cache is warm, for the
first run of all is not counted.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import Spread, run
from benchmarks.peers.drivers import PEERS
from benchmarks.peers.install import tools_missing
from benchmarks.peers.job import Problem
from benchmarks.session import ROOT, Row, Session
from unpinned.export.promela import GCC_ARGS, SPIN_ARGS

Bound = tuple[int, int, int, int, int]
BOUNDS: Final[tuple[Bound, ...]] = (
    (2, 1, 2, 1, 2),
    (2, 2, 1, 1, 3),
    (2, 2, 2, 1, 3),
    (2, 2, 1, 2, 4),
    (3, 2, 1, 2, 4),
)
LARGE: Final[Bound] = (3, 2, 2, 2, 4)
FOUR: Final[Bound] = (4, 2, 2, 2, 4)
#: The setting of unpinned that is held against the peers where they may use what reductions they have.
SETTING: Final = "unpinned-free"
#: Pairs of runs on one core and on two.
PAIRS: Final = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out, in words, and whether the figure is reached: None if a peer that it needs gave no verdict."""

    figure: str
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure to reach: its name for --only, what is measured, what is wanted, and how to measure it."""

    name: str
    what: str
    wanted: str
    measure: Callable[[Session], Outcome]
    quick: bool = False


def kvm(bound: Bound, variant: str = "right") -> Problem:
    """Return kvm-seq at a bound."""
    return Problem("kvm-seq", bound, variant)


def _faster(ours: Row, theirs: Row) -> float:
    """Return how many times faster unpinned is, by the worse of wall and CPU time."""
    return min(other / own for own, other in zip(_times(ours), _times(theirs), strict=True))


def _times(row: Row) -> tuple[float, float]:
    """Return the medians of wall and CPU seconds of a row that was decided."""
    assert row.wall is not None
    assert row.cpu is not None
    return row.wall.median, row.cpu.median


def _undecided(*rows: Row) -> str:
    """Say which of the rows gave no verdict, or nothing."""
    return "; ".join(f"{row.contender}: {row.result}, {row.why}" for row in rows if not row.decided)


def _against_the_fastest(bound: Bound, wanted: float) -> Callable[[Session], Outcome]:
    def measure(session: Session) -> Outcome:
        ours = session.measure(SETTING, kvm(bound))
        rows = [session.measure(peer.name, kvm(bound)) for peer in PEERS]
        theirs = [row for row in rows if row.decided]
        if not ours.decided:
            return Outcome(_undecided(ours), False)
        if not theirs:
            return Outcome("no peer finishes")
        ratio = min(_faster(ours, row) for row in theirs)
        fastest = min(theirs, key=lambda row: _faster(ours, row))
        return Outcome(f"{ratio:.2f} times faster than {fastest.contender}", ratio >= wanted)

    return measure


def _against_compiling(session: Session) -> Outcome:
    worst, where = 0.0, ""
    for bound in BOUNDS:
        ours, theirs = session.measure(SETTING, kvm(bound)), session.build_only("spin", kvm(bound))
        if not ours.decided:
            return Outcome(_undecided(ours), False)
        if isinstance(theirs, str):
            return Outcome(theirs)
        share = max(own / other for own, other in zip(_times(ours), theirs, strict=True))
        worst, where = max((worst, where), (share, str(kvm(bound))))
    return Outcome(f"{worst:.2f} of SPIN's at worst, on {where}", worst < 0.5)


def _raw(theirs: str, wanted: float) -> Callable[[Session], Outcome]:
    def measure(session: Session) -> Outcome:
        rows = [session.measure(name, kvm(BOUNDS[-1])) for name in ("unpinned-none", theirs)]
        if _undecided(*rows):
            return Outcome(_undecided(*rows), None if rows[0].decided else False)
        ours, peers = (row.states / row.search_cpu for row in rows if row.states and row.search_cpu)
        return Outcome(f"{ours / 1e6:.2f}M states/CPU s, {ours / peers:.2f} times {theirs}", ours / peers >= wanted)

    return measure


def _against_the_limit(*problems: Problem) -> Callable[[Session], Outcome]:
    def measure(session: Session) -> Outcome:
        words, worst = [], 0.0
        for problem in problems:
            ours, theirs = session.measure(SETTING, problem), session.measure("limit", problem)
            if _undecided(ours, theirs):
                return Outcome(_undecided(ours, theirs), None if ours.decided else False)
            worst = max(worst, 1 / _faster(ours, theirs))
            words.append(f"{1 / _faster(ours, theirs):.2f} of limit.cc's time on {problem}")
        return Outcome("; ".join(words), worst <= 2)

    return measure


def _two_cores(session: Session) -> Outcome:
    """Run on one core and on two in turn; the best pair counts, for another load slows two cores more than one."""
    ratios = []
    for _ in range(PAIRS):
        pair = [session.run_ours(kvm(BOUNDS[-1]), "--reduce", "none", "--cores", cores) for cores in "12"]
        one, two = (report for _, report in pair)
        if one.result != "holds" or two.result != "holds" or one.states != two.states:
            return Outcome(f"one core: {one.result}, {one.states} states; two: {two.result}, {two.states}", False)
        if not (one.states and one.seconds and two.seconds) or one.states < 50_000_000:
            return Outcome(f"{one.states} states are too few to tell")
        ratios.append(one.seconds / two.seconds)
    median = statistics.median(ratios)
    return Outcome(f"{max(ratios):.2f} times (median {median:.2f}) in {PAIRS} pairs", max(ratios) >= 1.7)


def _bytes(session: Session) -> Outcome:
    """Divide the peak memory of the whole process by the states, once there are 100 million of them."""
    words, reached = [], True
    for name, most, extra in (("exact", 40, ()), ("compacted", 20, ("--compact",))):
        options = ("--reduce", "none", "--states", "100000000", *extra)
        ran, report = session.run_ours(kvm(LARGE), *options)
        if report.states is None or report.states < 100_000_000:
            return Outcome(f"{name}: {ran.ended or report.result} at {report.states} states")
        each = ran.mib * 2**20 / report.states
        words.append(f"{each:.1f} {name}")
        reached &= each <= most
    return Outcome(", ".join(words), reached)


def _mail(session: Session) -> Outcome:
    """Compare the check of the mail's plan with what SPIN takes to write and compile its model of it."""
    why = tools_missing("spin", "gcc")
    if why:
        return Outcome(why)
    plan = [
        "src/unpinned/drivers/kvm2008.py",
        "--plan",
        "Kvm2008Posted",
        "--vcpus",
        "1",
        "--pages",
        "1",
        "--ops",
        "zap",
    ]
    tool = [sys.executable, "-m", "unpinned"]
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([*tool, "export", "--promela", *plan, "-o", str(folder / "model.pml")], ROOT, session.limits)
        for _ in range(2 * session.runs + 1):
            ran = run([*tool, "check", *plan], ROOT, session.limits)
            if ran.status != 1:
                return Outcome(f"unpinned ends with {ran.status}: {ran.output[-200:]}", False)
            ours.append((ran.wall, ran.cpu))
            spin = run(["spin", *SPIN_ARGS, "model.pml"], folder, session.limits)
            gcc = run(["gcc", "-O2", "-w", *GCC_ARGS, "-o", "pan", "pan.c"], folder, session.limits)
            theirs.append((spin.wall + gcc.wall, spin.cpu + gcc.cpu))
    shares = list(_shares(ours[1:], theirs[1:]))
    return Outcome(f"{max(shares):.2f} of SPIN's (wall {shares[0]:.2f}, CPU {shares[1]:.2f})", max(shares) < 1 / 3)


def _shares(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> Iterator[float]:
    """Yield the quotient of the medians of wall times, then of CPU times."""
    for which in (0, 1):
        yield Spread.of([x[which] for x in ours]).median / Spread.of([x[which] for x in theirs]).median


FIGURES: Final = (
    Figure(
        "peers",
        "kvm-seq (2,2,1,2,4) holds, end to end, against the fastest peer's",
        "at least 4 times faster",
        _against_the_fastest((2, 2, 1, 2, 4), 4),
    ),
    Figure(
        "compile",
        "every bound up to (3,2,1,2,4), end to end, against SPIN's generate and compile",
        "less than half",
        _against_compiling,
    ),
    Figure(
        "large",
        "kvm-seq (3,2,2,2,4) holds, end to end, against the fastest peer that finishes",
        "100 times faster",
        _against_the_fastest(LARGE, 100),
    ),
    Figure("raw", "(3,2,1,2,4) without reductions, against SPIN -DNOREDUCE", "8 times", _raw("spin-none", 8)),
    Figure("limit", "the same, against limit.cc without reductions", "1.5 times", _raw("limit-none", 1.5)),
    Figure(
        "four",
        "(4,2,2,2,4), end to end, against limit.cc with all its reductions",
        "at most twice its time",
        _against_the_limit(kvm(FOUR)),
    ),
    Figure("cores", "two cores against one, on at least 50M states", "1.7 times, the best of 20 pairs", _two_cores),
    Figure("bytes", "bytes a state at 100M states, exact and compacted", "at most 40 and 20", _bytes),
    Figure(
        "mail",
        "the mail's plan, start of the process to the race, against SPIN's generate and compile",
        "less than a third",
        _mail,
        quick=True,
    ),
    Figure(
        "forever",
        "unbounded invalidations, 3 and 4 vCPUs, 2 hosts, 2 pages, 4 frames, against limit.cc -DLOOP",
        "decided, in at most twice its time",
        _against_the_limit(kvm((3, 2, 1, 2, 4), "forever"), kvm((4, 2, 1, 2, 4), "forever")),
    ),
)
