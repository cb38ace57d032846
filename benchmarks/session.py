# SPDX-License-Identifier: Apache-2.0
"""Measure contenders on problems, each pair once, and remember what came out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measure import Limits, Ran, Spread, run
from benchmarks.peers.drivers import LIMITS, PEERS
from benchmarks.peers.job import COUNTS, Contender, Job, Problem, Report

ROOT: Final = Path(__file__).parents[1]
#: A contender that takes longer than this is run once.
_LONG: Final = 40.0


def _unpinned(*options: str) -> Callable[[Problem, Path], Job]:
    def make(problem: Problem, _: Path) -> Job:
        given = [] if problem.variant == "right" else [f"--{problem.variant}"]
        module = (sys.executable, "-m", "benchmarks.unpinned_run")
        search = (*module, problem.model, *map(str, problem.bound), *given, *options)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return Job((), search, _read_unpinned, {"PYTHONPATH": path})

    return make


def _read_unpinned(text: str) -> Report:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        return Report("error")
    found = json.loads(lines[-1])
    more = {name: float(found[name]) for name in ("cpu", "bytes_a_state") if found[name] is not None}
    return Report(found["verdict"], found["states"], found["transitions"], found["seconds"], more)


_KVM: Final = frozenset({("kvm-seq", "right"), ("kvm-seq", "broken"), ("kvm-seq", "forever")})
_ALL: Final = _KVM | {("interval", "right"), ("interval", "broken")}
#: With reductions alone: its numbers have no end.
_ENDLESS: Final = ("interval", "forever")
#: unpinned in several settings. Where a fault takes any free frame, and a range visits its pages in any order, frames
#: and pages can be exchanged: rumur, TLC and limit.cc are given that variant too where they use it. It has every run
#: of the plain model, so that what holds there holds here.
OURS: Final = (
    Contender("unpinned", "unpinned, all reductions", _unpinned("--reduce", "all"), str, _ALL | {_ENDLESS}),
    Contender("unpinned-free", "unpinned, symmetric variant", _unpinned("--reduce", "all", "--free"), str, _KVM),
    Contender("unpinned-none", "unpinned, no reduction", _unpinned("--reduce", "none"), str, _ALL, exact=True),
)
TABLE: Final = (*OURS, *PEERS, *LIMITS)


@dataclass(frozen=True, slots=True)
class Row:
    """A contender on a problem: the result, counts, and what it took, compile steps included unless it says search.

    `result` is holds, race, undecided or error; `why` says more where it is neither of the first two.
    """

    contender: str
    problem: Problem
    result: str
    why: str = ""
    runs: int = 0
    states: int | None = None
    transitions: int | None = None
    build_wall: float = 0.0
    build_cpu: float = 0.0
    wall: Spread | None = None
    cpu: Spread | None = None
    search_cpu: float | None = None
    search_wall: float | None = None
    mib: float | None = None
    load: float = 0.0

    @property
    def decided(self) -> bool:
        """Tell whether the contender gave a verdict."""
        return self.result in ("holds", "race")

    @property
    def wrong(self) -> str:
        """Say what is wrong with the verdict or the count, or nothing."""
        if self.decided and self.result != self.problem.verdict:
            return f"{self.contender} says of {self.problem}: {self.result}"
        exact = next(one.exact for one in TABLE if one.name == self.contender)
        expected = COUNTS.get((self.problem.model, self.problem.bound))
        if exact and self.result == "holds" and self.problem.variant == "right" and expected not in (None, self.states):
            return f"{self.contender} counts {self.states} states of {self.problem}, not {expected}"
        return "" if self.result != "error" else f"{self.contender} failed on {self.problem}: {self.why}"


@dataclass(slots=True)
class Session:
    """Measurements so far; what a quick session leaves out is named and not run."""

    limits: Limits
    runs: int
    quick: bool
    rows: dict[tuple[str, Problem], Row] = field(default_factory=dict)

    def measure(self, name: str, problem: Problem) -> Row:
        """Return the row of a contender on a problem, measured now if it was not before."""
        key = (name, problem)
        if key not in self.rows:
            if sys.stderr.isatty():
                print(f"{problem}: {name} ...", file=sys.stderr)
            self.rows[key] = self._row(contender(name), problem)
        return self.rows[key]

    def build_only(self, name: str, problem: Problem) -> tuple[float, float] | str:
        """Return wall and CPU seconds (medians) of the compile steps alone, or why there are none."""
        one = contender(name)
        why = one.missing()
        if why:
            return why
        walls, cpus = [], []
        for _ in range(self.runs):
            with _Folder() as folder:
                built = self._build(one.make(problem, folder), folder)
            if isinstance(built, str):
                return built
            walls.append(built[0])
            cpus.append(built[1])
        return Spread.of(walls).median, Spread.of(cpus).median

    def run_ours(self, problem: Problem, *options: str) -> tuple[Ran, Report]:
        """Run unpinned once with options of its own."""
        job = _unpinned(*options)(problem, ROOT)
        ran = run(job.search, ROOT, self.limits, job.env)
        return ran, job.read(ran.output)

    def _row(self, one: Contender, problem: Problem) -> Row:
        why = self._not_run(one, problem)
        if why:
            return Row(one.name, problem, "not run", why)
        done: list[tuple[float, float, Ran, Report]] = []
        ours = one in OURS
        for _ in range(self.runs + ours):
            with _Folder() as folder:
                job = one.make(problem, folder)
                built = self._build(job, folder)
                if isinstance(built, str):
                    return Row(one.name, problem, "error", built)
                ran = run(job.search, folder, self.limits, job.env)
            report = job.read(ran.output)
            if ran.ended or report.result not in ("holds", "race"):
                return self._failed(one, problem, ran, report)
            done.append((*built, ran, report))
            if ran.wall > _LONG:
                break
        done = done[ours and len(done) > 1 :]  # the first run of ours fills the cache
        report = done[0][3]
        inner = [r.seconds for _, _, _, r in done if r.seconds is not None]
        return Row(
            one.name,
            problem,
            report.result,
            runs=len(done),
            states=report.states,
            transitions=report.transitions,
            build_wall=Spread.of([wall for wall, _, _, _ in done]).median,
            build_cpu=Spread.of([cpu for _, cpu, _, _ in done]).median,
            wall=Spread.of([wall + ran.wall for wall, _, ran, _ in done]),
            cpu=Spread.of([cpu + ran.cpu for _, cpu, ran, _ in done]),
            search_cpu=Spread.of([r.more.get("cpu", ran.cpu) for _, _, ran, r in done]).median,
            search_wall=Spread.of(inner).median if inner else None,
            mib=max(ran.mib for _, _, ran, _ in done),
            load=os.getloadavg()[0],
        )

    def _not_run(self, one: Contender, problem: Problem) -> str:
        if self.quick and one.slow:
            return "left out by --quick"
        for (name, smaller), row in self.rows.items():
            gave_up = name == one.name and row.result == "undecided" and smaller.model == problem.model
            if gave_up and all(a <= b for a, b in zip(smaller.bound, problem.bound, strict=True)):
                return f"undecided on {smaller} already: {row.why}"
        return one.missing()

    def _build(self, job: Job, folder: Path) -> tuple[float, float] | str:
        wall = cpu = 0.0
        for command in job.build:
            ran = run(command, folder, self.limits, job.env)
            if ran.status != 0:
                return f"`{' '.join(command)}` failed: {ran.output[-500:]}"
            wall, cpu = wall + ran.wall, cpu + ran.cpu
        return wall, cpu

    def _failed(self, one: Contender, problem: Problem, ran: Ran, report: Report) -> Row:
        """Return the row of a run that gave no verdict: at a limit it is undecided, else it failed."""
        last = (ran.output.strip().splitlines() or ["nothing printed"])[-1][:200]
        own = report.result == "undecided" and report.states is not None
        gave_up = ran.ended or ("gave up by itself" if own else "")
        result = "undecided" if gave_up else "error"
        why = gave_up or f"exit status {ran.status}: {last}"
        return Row(one.name, problem, result, why, 1, report.states, mib=ran.mib, load=os.getloadavg()[0])


class _Folder:
    """A folder for one run, gone afterwards; it is on disk, for TLC and SPIN write a lot."""

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="unpinned-bench-"))
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def contender(name: str) -> Contender:
    """Return a contender by its name."""
    return next(one for one in TABLE if one.name == name)
