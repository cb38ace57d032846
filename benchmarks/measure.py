# SPDX-License-Identifier: Apache-2.0
"""Run commands, and measure the wall time, the CPU time and the peak memory of everything that they start."""

from __future__ import annotations

import os
import re
import resource
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: what it printed, wall and CPU seconds, peak MiB, its exit status, and why it was ended, if it was."""

    output: str
    wall: float
    cpu: float
    mib: float
    status: int
    ended: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measurements, the least and the greatest."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Take it of at least one value."""
        return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run is ended: after so many seconds of wall time, and at so many MiB."""

    seconds: float
    mib: float


def memory_of_machine() -> float:
    """Return the MiB of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def run(command: Sequence[str], folder: Path, limits: Limits, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command to its end or to a limit; CPU time counts its children too, as far as they are waited for.

    A contender in Python keeps its byte code, as it does where it is installed, whatever the environment says.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the commands are those of this folder
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=inherited | dict(env or {}),
        )
        watch = _Watch(process.pid, limits)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            wall = time.perf_counter() - start
            watch.over.set()
            watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read().decode(errors="replace")
    # Until it becomes another program a new process is as large as this one: less than that says nothing.
    greatest, own = usage.ru_maxrss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = max(watch.peak, greatest / 1024) if greatest > own or not watch.peak else watch.peak
    return Ran(output, wall, usage.ru_utime + usage.ru_stime, peak, process.returncode, watch.ended)


class _Watch(threading.Thread):
    """Look at the memory of a process and its children now and then, and end them at a limit."""

    def __init__(self, pid: int, limits: Limits) -> None:
        super().__init__(daemon=True)
        self.pid, self.limits = pid, limits
        self.over = threading.Event()
        self.peak, self.ended = 0.0, ""

    def run(self) -> None:
        deadline, nap = time.monotonic() + self.limits.seconds, 0.01
        while not self.over.wait(nap):
            nap = min(nap * 1.5, 0.5)
            self.peak = max(self.peak, _memory(self.pid))
            if time.monotonic() > deadline:
                self.ended = f"not done in {self.limits.seconds:.0f} s"
            elif self.peak > self.limits.mib:
                self.ended = f"more than {self.limits.mib:.0f} MiB"
            if self.ended:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    return


def _memory(pid: int) -> float:
    """Return the MiB of a process and its descendants; what several of them share counts once."""
    pids = list(_descendants(pid))
    total = 0.0
    for one in pids:
        try:
            if len(pids) == 1:
                pages = int(Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()[1])
                total += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            else:
                found = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii"))
                total += int(found[1]) / 1024 if found else 0
        except OSError:  # it has ended
            continue
    return total


def _descendants(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo += map(int, task.read_text(encoding="ascii").split())
            except OSError:
                continue
    return found
