# SPDX-License-Identifier: Apache-2.0
"""Define the options that several commands share, and read what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unpinned.check.ladder import ladder
from unpinned.errors import UsageError
from unpinned.mm.scenario import Scenario
from unpinned.plan.reading.classes import PlanClass
from unpinned.plan.vocabulary import OPERATIONS

#: A search with less would end before it has begun.
_LEAST_MEMORY = 64 << 20
_SIZE = re.compile(r"(.*?)(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE | re.DOTALL)
_SIZES = "Write 500M, 4G, 1T, or a number of bytes; 4GB and 4GiB are 4G."

plan_option = click.option("--plan", metavar="NAME", help="One class of a file with several.")


def time_option(default: float, of: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that says how long something may take, in seconds."""
    return click.option("--time", "seconds", type=float, default=default, show_default=True, help=f"Seconds for {of}.")


def json_option(page: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that asks for data, which a page of the documentation describes."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print data instead of text (docs/{page}).")


def limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a search may take."""
    for option in (
        click.option(
            "--memory",
            metavar="SIZE",
            help="Take at most so much, as 500M or 4G, beside up to 250 MiB for Python and the compiler "
            "(default: half of what is free).",
        ),
        click.option("--cores", type=click.IntRange(1, 64), help="Search on so many cores (default: all)."),
    ):
        command = option(command)
    return command


def scenario_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that pick one scenario."""
    for option in (
        click.option(
            "--ops",
            metavar="OP,OP",
            help=f"The mm operations beside it: {', '.join(OPERATIONS)} (zap@0: on page 0 only), "
            "or the plan's own; or none.",
        ),
        click.option("--cpus", type=int, metavar="N", help="Let all tasks share N CPUs (default: each has its own)."),
        click.option("--pages", type=int, metavar="N", help="So many pages (default 1)."),
        click.option("--vcpus", type=int, metavar="N", help="So many vCPUs (default 1)."),
        plan_option,
    ):
        command = option(command)
    return command


color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour the first word of a report; auto: on a terminal.",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The scenario that the options pick; what they leave out is that of the first rung of a plan's ladder."""

    vcpus: int | None
    pages: int | None
    ops: str | None
    cpus: int | None = None

    def __post_init__(self) -> None:
        """Refuse at once what no plan could have."""
        if self.ops is not None and not self.ops.strip():
            raise UsageError("--ops names no operation", hint="Write --ops none for a scenario without one.")
        Scenario(self._or(self.vcpus, 1), self._or(self.pages, 1), self._ops(), self.cpus)

    def of(self, plan: PlanClass) -> Scenario | None:
        """Return the scenario for a plan, or None for its ladder."""
        if (self.vcpus, self.pages, self.ops, self.cpus) == (None, None, None, None):
            return None
        first = ladder(plan)[0].scenario
        ops = first.ops if self.ops is None else self._ops()
        return Scenario(self._or(self.vcpus, first.vcpus), self._or(self.pages, first.pages), ops, self.cpus)

    def _ops(self) -> tuple[str, ...]:
        words = "" if self.ops in (None, "none") else str(self.ops)
        return tuple(word.strip() for word in words.replace("+", ",").split(",") if words)

    @staticmethod
    def _or(value: int | None, default: int) -> int:
        return default if value is None else value


def some_time(seconds: float) -> None:
    """Refuse a time in which nothing could be done.

    :raises UsageError: for that.
    """
    if not seconds > 0:
        raise UsageError(f"--time {seconds:g} leaves no time", hint="Give a number of seconds above 0.")


def read_size(text: str | None) -> int | None:
    """Read a size: 500M, 4GB, 1TiB, or a number of bytes; a unit is a power of 1024 either way.

    :raises UsageError: if it is none, or less than a search needs.
    """
    if text is None:
        return None
    units = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    try:
        parts = _SIZE.fullmatch(text)
        assert parts is not None, "anything may stand before the unit"
        size = int(float(parts[1]) * units[parts[2] and parts[2].upper()])
    except (ValueError, OverflowError):
        raise UsageError(f"--memory {text} is no size", hint=_SIZES) from None
    if size > 1 << 62:
        raise UsageError(f"--memory {text} is more than any machine has", hint=_SIZES)
    if size < _LEAST_MEMORY:
        raise UsageError(f"--memory {text} is too little", hint=f"Give at least {_LEAST_MEMORY >> 20}M.")
    return size


def read_folder(text: str | None, resume: bool, engine: str) -> Path | None:
    """Return the folder for checkpoints, which is made at once: a search may be killed before it writes there.

    :raises UsageError: if it cannot be used, or holds nothing that could be resumed.
    """
    if text is None:
        if resume:
            raise UsageError("--resume does not say from where", hint="Write --checkpoint DIR --resume.")
        return None
    if not text:
        raise UsageError("--checkpoint '' names no folder", hint="Write --checkpoint DIR.")
    if engine == "reference":
        raise UsageError(
            "--engine reference takes no --checkpoint",
            hint="Only the compiled engine writes searches down: leave out one of the two.",
        )
    folder = Path(text)
    try:
        if folder.exists() and not folder.is_dir():
            hint = "Name a folder, or one that is to be made."
            raise UsageError(f"--checkpoint {text} is no folder", hint=hint)
        if resume and not folder.exists():
            hint = "Name the folder that a search was told to write to, or leave out --resume."
            raise UsageError(f"--checkpoint {text} does not exist: there is nothing to resume", hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--checkpoint {text} cannot be used: {error.strerror}", hint="Name another folder."
        ) from error
    return folder
