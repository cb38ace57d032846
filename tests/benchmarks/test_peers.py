# SPDX-License-Identifier: Apache-2.0
"""The peers' texts have the same states as the models, and what peers print is read rightly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure import Limits, Spread, run
from benchmarks.peers import drivers
from benchmarks.peers.drivers import LIMITS, PEERS
from benchmarks.peers.job import COUNTS, Contender, Problem, Report
from benchmarks.session import OURS, Row, Session

_LIMITS = Limits(100, 2000)
#: Those that need no network to be had.
_OF_DEBIAN = [one for one in (*PEERS, *LIMITS) if not one.slow]
_SMALL = [
    Problem("kvm-seq", (2, 1, 2, 1, 2)),
    Problem("kvm-seq", (2, 1, 2, 1, 2), "broken"),
    Problem("kvm-seq", (2, 1, 1, 2, 3), "forever"),
    Problem("interval", (2, 1, 2, 1, 2)),
    Problem("interval", (2, 1, 2, 1, 2), "broken"),
    Problem("interval", (2, 1, 2, 1, 2), "forever"),
]
_CASES = [(one, problem) for one in _OF_DEBIAN for problem in _SMALL if (problem.model, problem.variant) in one.takes]


@pytest.mark.parametrize(("one", "problem"), _CASES, ids=[f"{one.name} {problem}" for one, problem in _CASES])
def test_peers_give_the_right_verdict_and_count(one: Contender, problem: Problem) -> None:
    if one.missing():
        pytest.skip(one.missing())
    row = Session(_LIMITS, 1, quick=True).measure(one.name, problem)
    assert row.wrong == ""
    assert row.result == problem.verdict
    if one.exact and problem.variant == "right":
        assert row.states == COUNTS[problem.model, problem.bound]


_OWN = [(one, problem) for one in OURS for problem in _SMALL if (problem.model, problem.variant) in one.takes]
_OWN = [(one, problem) for one, problem in _OWN if problem.variant != "forever" or one.name != "unpinned-none"]


@pytest.mark.parametrize(("one", "problem"), _OWN, ids=[f"{one.name} {problem}" for one, problem in _OWN])
def test_unpinned_gives_the_right_verdict_in_a_process_of_its_own(one: Contender, problem: Problem) -> None:
    row = Session(_LIMITS, 1, quick=True).measure(one.name, problem)
    assert (row.wrong, row.result, row.runs) == ("", problem.verdict, 1)


@pytest.mark.parametrize(
    ("read", "text", "report"),
    [
        (
            drivers._read_spin,
            "pan:1: assertion violated (...)\ndepth reached 51, errors: 1\n 550 states, stored\n 1345 transitions\n",
            Report("race", 550, 1345),
        ),
        (
            drivers._read_spin,
            "\tassertion violations\t+\nerrors: 0\n2.5581e+08 states, stored\n12 transitions\nelapsed time 1.66\n",
            Report("holds", 255_810_000, 12, 1.66),
        ),
        (
            drivers._read_spin,
            "error: max search depth too small\nState-vector 40 byte, errors: 0\n 10 states, stored\n",
            Report("undecided", 10),
        ),
        (
            drivers._read_tlc,
            "Model checking completed. No error\n1,234 states generated, 567 distinct states found, 0 left\n",
            Report("holds", 567, 1234),
        ),
        (drivers._read_tlc, "Error: Invariant NoStaleAccess is violated.\n", Report("race")),
        (drivers._read_tlc, "java.lang.OutOfMemoryError\n", Report("undecided")),
        (
            drivers._read_harmony,
            "Phase 5: done\n* 632601 states (time 0.41s, mem=1)\n",
            Report("holds", 632_601, None, 0.41),
        ),
        (drivers._read_harmony, "Safety Violation\n", Report("race")),
        (drivers._read_rumur, "\t7 states, 9 rules fired in 1s.\n", Report("undecided", 7, 9)),
    ],
)
def test_what_peers_print_is_read(read: Callable[[str], Report], text: str, report: Report) -> None:
    assert read(text) == report


def test_a_wrong_verdict_and_a_wrong_count_are_told() -> None:
    problem = Problem("kvm-seq", (2, 1, 2, 1, 2))
    spread = Spread.of([1.0])
    right = Row("spin-none", problem, "holds", states=11_031, wall=spread, cpu=spread)
    assert right.wrong == ""
    assert "spin-none counts 11030" in Row("spin-none", problem, "holds", states=11_030).wrong
    assert Row("spin", problem, "holds", states=9367).wrong == ""
    assert Row("spin", problem, "race").wrong == "spin says of kvm-seq (2,1,2,1,2): race"
    assert Row("rumur", problem, "undecided", "more than 5 MiB").wrong == ""
    assert "failed" in Row("rumur", problem, "error", "exit status 1").wrong


def test_a_contender_that_was_undecided_is_not_tried_on_more_of_the_same() -> None:
    session = Session(_LIMITS, 1, quick=False)
    small, large = Problem("kvm-seq", (2, 2, 1, 2, 4)), Problem("kvm-seq", (3, 2, 1, 2, 4))
    session.rows["spin", small] = Row("spin", small, "undecided", "more than 5 MiB")
    row = session.measure("spin", large)
    assert (row.result, row.why) == ("not run", "undecided on kvm-seq (2,2,1,2,4) already: more than 5 MiB")


def test_a_run_is_measured_with_its_children(tmp_path: Path) -> None:
    child = "import time\nx = bytearray(80 << 20)\nwhile time.process_time() < 0.4: pass\n"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\nprint('done')"
    ran = run([sys.executable, "-c", parent], tmp_path, _LIMITS)
    assert (ran.output, ran.status, ran.ended) == ("done\n", 0, "")
    assert ran.cpu >= 0.3
    assert ran.wall >= 0.3
    assert ran.mib >= 80


def test_a_run_that_takes_too_long_or_too_much_is_ended(tmp_path: Path) -> None:
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert run(slow, tmp_path, Limits(0.2, 2000)).ended == "not done in 0 s"
    large = [sys.executable, "-c", "x = bytearray(200 << 20); import time; time.sleep(60)"]
    assert run(large, tmp_path, Limits(50, 100)).ended == "more than 100 MiB"
