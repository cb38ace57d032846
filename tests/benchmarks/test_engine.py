# SPDX-License-Identifier: Apache-2.0
"""The benchmark command runs, and its verdicts and counts are right; its times are not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import FIGURES, SETTING, Outcome, _against_the_fastest, _raw, kvm
from benchmarks.measure import Limits, Spread, run
from benchmarks.peers.drivers import PEERS
from benchmarks.session import TABLE, Row, Session

ROOT = Path(__file__).parents[2]


def command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "benchmarks.engine", *arguments]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **env})


@pytest.mark.timeout(300)
def test_the_quick_run_has_the_right_verdicts_and_counts(tmp_path: Path) -> None:
    done = command("--quick", "--json", str(tmp_path / "engine.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every verdict, and every exact count, is as it should be" in done.stdout
    kept = json.loads((tmp_path / "engine.json").read_text())
    rows = {(row["contender"], row["problem"]["variant"]): row for row in kept["rows"] if row["wall"]}
    assert rows["unpinned-none", "right"]["result"] == "holds"
    assert rows["unpinned", "broken"]["result"] == "race"
    assert [figure["name"] for figure in kept["figures"]] == [figure.name for figure in FIGURES]
    for one in TABLE:
        assert one.says in done.stdout
    assert (tmp_path / "engine.png").exists() or "matplotlib is missing" in done.stdout


def test_what_is_missing_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    done = command("--quick", "--only", "mail", PATH=str(tmp_path))
    assert "not measured: rumur, scalarsets, 2 threads: no rumur and no gcc: apt-get install rumur gcc" in done.stdout
    assert "not measured: TLC, symmetry, 2 workers: left out by --quick" in done.stdout
    assert "no spin and no gcc: apt-get install spin gcc" in done.stdout


def row(name: str, wall: float, cpu: float) -> Row:
    return Row(name, kvm((2, 2, 1, 2, 4)), "holds", wall=Spread.of([wall]), cpu=Spread.of([cpu]))


def session(*rows: Row) -> Session:
    """Make a session in which the peers that are not given were undecided."""
    made = Session(Limits(1, 100), 1, quick=False)
    for one in PEERS:
        made.rows[one.name, kvm((2, 2, 1, 2, 4))] = Row(one.name, kvm((2, 2, 1, 2, 4)), "undecided", "too slow")
    made.rows |= {(one.contender, one.problem): one for one in rows}
    return made


def test_a_ratio_of_times_is_the_worse_of_wall_and_cpu_against_the_fastest_peer() -> None:
    measure = _against_the_fastest((2, 2, 1, 2, 4), 4)
    ours = row(SETTING, 1, 1)
    slow = row("spin", 9, 9)
    assert measure(session(ours, slow)) == Outcome("9.00 times faster than spin", True)
    assert measure(session(ours, slow, row("rumur", 3, 6))) == Outcome("3.00 times faster than rumur", False)
    assert measure(session(ours, slow, row("rumur", 6, 3))) == Outcome("3.00 times faster than rumur", False)
    assert measure(session(ours)) == Outcome("no peer finishes")
    undecided = Row(SETTING, ours.problem, "undecided", "gave up by itself")
    assert measure(session(undecided, slow)) == Outcome(f"{SETTING}: undecided, gave up by itself", False)


def test_speed_is_states_in_a_cpu_second_of_the_search_alone() -> None:
    problem = kvm((3, 2, 1, 2, 4))
    made = Session(Limits(1, 100), 1, quick=False)
    for name, seconds in (("unpinned-none", 2.0), ("spin-none", 20.0)):
        one = Row(
            name, problem, "holds", states=20_000_000, search_cpu=seconds, wall=Spread.of([1]), cpu=Spread.of([1])
        )
        made.rows[name, problem] = one
    assert _raw("spin-none", 8)(made) == Outcome("10.00M states/CPU s, 10.00 times spin-none", True)
    assert _raw("spin-none", 11)(made).reached is False


def test_a_contender_in_python_keeps_its_byte_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's Python does, and loads it the next time."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "loaded.py").write_text("VALUE = 1\n")
    ran = run([sys.executable, "-c", "import loaded"], tmp_path, Limits(60, 1000))
    assert ran.status == 0, ran.output
    assert list(tmp_path.glob("__pycache__/loaded.*.pyc"))
