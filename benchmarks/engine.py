# SPDX-License-Identifier: Apache-2.0
"""Measure unpinned beside its peers on one machine, and the figures that it is to reach.

`python -m benchmarks.engine [--quick] [--json FILE] [--only FIGURE]` needs SPIN, rumur, a JRE, gcc and g++ of Debian;
Harmony, minicheck and TLC are fetched from PyPI into the user's cache folder. What is missing is named, with how to
get it. Peers that make use of symmetry are given a variant of kvm-seq that is symmetric in pages and frames too, and
so is one setting of unpinned; whoever counts exactly counts the plain model.

All of it takes hours, for slow peers run to their limits; --quick takes less than a minute: small bounds, and only
peers that are fast there. `--json FILE` keeps everything, and draws FILE with the ending .png (needs
`pip install -e .[bench]`). The exit status is 1 if some verdict or exact state count is wrong; it says nothing of
times. Ctrl-C ends the measuring, and what there is until then is printed and kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import BOUNDS, FIGURES, FOUR, LARGE, Outcome, kvm
from benchmarks.measure import Limits, memory_of_machine
from benchmarks.peers.job import Problem
from benchmarks.plot import draw
from benchmarks.session import TABLE, Row, Session


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    memory = memory_of_machine()
    runs = options.runs or (1 if options.quick else 3)
    most = options.memory * 1024 if options.memory else 0.75 * memory
    session = Session(Limits(options.seconds, most), runs, options.quick)
    machine = f"{os.cpu_count()} CPUs, {memory / 1024:.0f} GiB, {_cpu()}"
    print(f"load {_load()}, {machine}")
    _name_the_missing(options.quick)
    outcomes: dict[str, Outcome] = {}
    interrupted = False
    try:
        _measure(session, options.only or [], outcomes)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: this is what was measured until then")
    _print_table(list(session.rows.values()))
    _print_figures(outcomes)
    if options.json is not None:
        _write(options.json, machine, list(session.rows.values()), outcomes)
    print(f"\nload {_load()}")
    wrong = [row.wrong for row in session.rows.values() if row.wrong]
    print("\n".join(wrong or ["every verdict, and every exact count, is as it should be"]))
    sys.exit(130 if interrupted else 1 if wrong else 0)


def _measure(session: Session, only: list[str], outcomes: dict[str, Outcome]) -> None:
    """Measure the table, unless only some figures are wanted, and then the figures."""
    for problem in () if only else _problems(session.quick):
        for one in TABLE:
            if (problem.model, problem.variant) in one.takes:
                session.measure(one.name, problem)
    for figure in FIGURES:
        if not only or figure.name in only:
            measured = figure.quick or not session.quick
            outcomes[figure.name] = figure.measure(session) if measured else Outcome("not measured by --quick")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small bounds, once each, without the slow peers")
    parser.add_argument("--only", action="append", choices=[figure.name for figure in FIGURES], metavar="FIGURE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured, and a plot beside it")
    parser.add_argument("--runs", type=int, help="of each contender that takes less than 40 s (3; 1 with --quick)")
    parser.add_argument("--seconds", type=float, default=900, help="of wall time for one run (%(default)s)")
    parser.add_argument("--memory", type=float, help="GiB for one run (three quarters of the machine's)")
    return parser


def _problems(quick: bool) -> list[Problem]:
    """Return the problems of the table, small ones first."""
    problems = [Problem("interval", (2, 2, 1, 1, 3)), kvm((2, 2, 1, 1, 3)), kvm((2, 2, 1, 1, 3), "broken")]
    problems += [Problem("interval", (2, 2, 1, 1, 3), "forever")]
    if not quick:
        problems += [Problem("interval", (2, 2, 1, 1, 3), "broken"), Problem("interval", (3, 2, 1, 2, 4), "forever")]
        problems += [Problem("interval", (2, 1, 2, 1, 2)), Problem("interval", (2, 1, 1, 2, 3))]
        problems += [kvm(bound) for bound in BOUNDS]
        problems += [kvm((2, 2, 1, 2, 4), "broken"), kvm(LARGE), kvm(FOUR)]
    return problems


def _name_the_missing(quick: bool) -> None:
    for one in TABLE:
        why = "left out by --quick" if quick and one.slow else one.missing()
        if why:
            print(f"not measured: {one.says}: {why}")


def _cpu() -> str:
    """Return what the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _load() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _print_table(rows: list[Row]) -> None:
    """Print every row: seconds end to end as median (least to most), of compiling, of the search's CPU; MiB."""
    head = f"{'':<34}{'verdict':<10}{'states':>10} {'wall s':>22} {'CPU s':>22} {'build':>6} {'search':>8} {'MiB':>6}"
    for problem in dict.fromkeys(row.problem for row in rows):
        print(f"\n{problem}\n{head}")
        for row in (row for row in rows if row.problem == problem):
            says = next(one.says for one in TABLE if one.name == row.contender)
            if row.wall is None or row.cpu is None:
                print(f"  {says:<32}{row.result:<10}{row.why}")
                continue
            spans = [f"{x.median:.2f} ({x.least:.2f} to {x.most:.2f})" for x in (row.wall, row.cpu)]
            print(
                f"  {says:<32}{row.result:<10}{row.states or '':>10} {spans[0]:>22} {spans[1]:>22}"
                f" {row.build_cpu:>6.2f} {row.search_cpu or 0:>8.3f} {row.mib:>6.0f}"
            )


def _print_figures(outcomes: dict[str, Outcome]) -> None:
    """Print the figures to reach, and whether each is reached."""
    words = {True: "reached", False: "NOT REACHED", None: "not measured"}
    print("\nfigures to reach")
    for figure in FIGURES:
        if figure.name in outcomes:
            outcome = outcomes[figure.name]
            print(f"  {figure.name:<8} {words[outcome.reached]:<13} {figure.what}: {figure.wanted}")
            print(f"  {'':<22} {outcome.figure}")


def _write(file: Path, machine: str, rows: list[Row], outcomes: dict[str, Outcome]) -> None:
    """Write the JSON file, and the plot beside it."""
    kept = {
        "machine": machine,
        "load": os.getloadavg(),
        "rows": [asdict(row) for row in rows],
        "figures": [
            {"name": figure.name, "what": figure.what, "wanted": figure.wanted, **asdict(outcomes[figure.name])}
            for figure in FIGURES
            if figure.name in outcomes
        ],
    }
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(draw(rows, file.with_suffix(".png")))


if __name__ == "__main__":
    main()
