# SPDX-License-Identifier: Apache-2.0
"""Run SPIN on a model and read what it says, refusing a search that did not see every state."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from unpinned.export.promela import GCC_ARGS, PAN_ARGS, SPIN_ARGS
from unpinned.ir.rules import CODES

_MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
requires_spin = pytest.mark.skipif(
    bool(_MISSING), reason=f"{' and '.join(_MISSING)} not found: apt-get install spin gcc libc6-dev"
)

#: What pan prints when the counts below are those of a part of the state space.
_PARTIAL = (
    "max search depth too small",
    "Search not completed",
    "reached -DMEMLIM",
    "out of memory",
    "aborting",
)
#: pan -m, one after the other until the search fits.
DEPTHS = (10**5, 10**6, 10**7, 10**8)
#: pan prints eight digits of a count, no more.
_COUNTABLE = 10**8


class SpinError(Exception):
    """SPIN, the compiler or pan failed, or the search was not exhaustive: the text is what was printed."""


@dataclass(frozen=True, slots=True)
class SpinResult:
    """What SPIN found: states stored, how many of them break a rule, which rules, how many are deadlocks."""

    states: int
    broken: int
    rules: frozenset[str]
    deadlocks: int

    @property
    def assertion(self) -> bool:
        """Tell whether a promised rule breaks, or a limit is reached."""
        return self.broken > 0

    @property
    def invalid_end(self) -> bool:
        """Tell whether there is a deadlock."""
        return self.deadlocks > 0


def run_spin(text: str, workdir: Path, *, optimize: str = "-O0") -> SpinResult:
    """Judge a model of `unpinned.export.promela`; the files of the run stay in `workdir`.

    :param optimize: for gcc; -O0 compiles in a quarter of a second, -O2 in one and searches thrice as fast.
    :raises SpinError: if a tool fails, or if pan has not searched every state, each stored in full.
    """
    (workdir / "model.pml").write_text(text)
    _run(["spin", *SPIN_ARGS, "model.pml"], workdir)
    _run(["gcc", optimize, "-w", *GCC_ARGS, "-o", "pan", "pan.c"], workdir)
    checked, ended = _pan(workdir, "-E"), _pan(workdir, "-A")
    states, broken = _figure(r"(\S+) states, stored", checked), _figure(r"errors: (\S+)", checked)
    if _figure(r"(\S+) states, stored", ended) != states:
        raise SpinError(f"two runs, two counts\n{checked}\n{ended}")
    names = {code: rule for rule, code in CODES.items()}
    rules = {names[int(code)] for code in re.findall(r"assertion violated \(broken!=(\d+)\)", checked)}
    return SpinResult(states, broken, frozenset(rules), _figure(r"errors: (\S+)", ended))


def _pan(workdir: Path, what: str) -> str:
    """Search to the end, deeper and deeper until the depth suffices."""
    for depth in DEPTHS:
        out = _run(["./pan", *PAN_ARGS, "-w20", f"-m{depth}", what], workdir)
        if _PARTIAL[0] not in out:
            break
    if "Full statespace search" not in out or any(sign in out for sign in _PARTIAL):
        raise SpinError(f"not an exhaustive search:\n{out}")
    return out


def _run(command: list[str], workdir: Path) -> str:
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True, check=False)
    out = done.stdout + done.stderr
    if done.returncode != 0 or re.search(r"(?i)^spin: .*error", out, re.MULTILINE):
        raise SpinError(f"{' '.join(command)}: exit {done.returncode}\n{out}")
    return out


def _figure(pattern: str, out: str) -> int:
    found = re.search(pattern, out)
    if found is None:
        raise SpinError(f"no {pattern!r} in\n{out}")
    value = int(float(found[1]))
    if value >= _COUNTABLE:
        raise SpinError(f"{found[0]!r} is rounded")
    return value
