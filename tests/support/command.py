# SPDX-License-Identifier: Apache-2.0
"""Run the command `unpinned` as a user does, and read what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KVM2008 = "src/unpinned/drivers/kvm2008.py"
COMMAND = (sys.executable, "-W", "error", "-m", "unpinned")
WIDTH = 75

#: Of the user's settings, those that change what is printed.
_SETTINGS = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "COLUMNS",
    "LINES",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "TTY_COMPATIBLE",
)


@dataclass(frozen=True)
class Ran:
    """What a run gave: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Return stdout as JSON, which it must be to the last byte."""
        return json.loads(self.out)

    @property
    def quiet(self) -> bool:
        """Say whether nothing stands on stderr."""
        return not self.err


def environment(**more: str) -> dict[str, str]:
    """Return the environment without what changes the output, and with `more`."""
    return {name: value for name, value in os.environ.items() if name not in _SETTINGS} | more


def unpinned(
    *args: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    preexec: Callable[[], Any] | None = None,
) -> Ran:
    """Run `unpinned` to its end, with nothing on stdin and no terminal."""
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        preexec_fn=preexec,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def begin(*args: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `unpinned` so that SIGINT reaches it, though the tests may run where it is ignored."""
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - the tests have one thread
    )


def heed_interrupts() -> None:
    """Undo what `nohup` or a `&` may have done to the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class PrintedRow:
    """A row of a race as it is printed: number of the step, CPU, and the words with the effect."""

    number: int
    cpu: int
    text: str


def rows(report: str) -> list[PrintedRow]:
    """Read the rows of the first race of a report by its columns, with lines that go on joined."""
    ruler, *lines = printed_table(report)
    columns = [match.start() for match in re.finditer("-+", ruler)]
    found: list[PrintedRow] = []
    for line in lines:
        number, rest = line[: columns[0]], line[columns[0] :]
        text = " ".join(rest.split())
        cpu = max(i for i, column in enumerate(columns) if columns[0] + len(rest) - len(rest.lstrip()) >= column)
        if number.strip():
            found.append(PrintedRow(int(number), cpu, text))
        elif found and "from here" not in line:
            found[-1] = PrintedRow(found[-1].number, found[-1].cpu, f"{found[-1].text} {text}")
    return found


def printed_table(report: str) -> list[str]:
    """Return the lines of the first race's table, from the ruler to the blank line after it."""
    lines = report.splitlines()
    ruler = next(i for i, line in enumerate(lines) if re.fullmatch(r" {4}-+(  -+)*", line))
    return lines[ruler : lines.index("", ruler)]


def token(report: str) -> str:
    """Return the token of the first race of a report."""
    found = re.search(r"replay: unpinned replay (?:\\\n +)?(\S+:\S+)", report)
    assert found, report
    return found[1]
