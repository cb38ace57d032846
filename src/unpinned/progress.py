# SPDX-License-Identifier: Apache-2.0
"""Show on a terminal how a search goes: one line on stderr for anything that takes more than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from unpinned.check.evidence import Sight
from unpinned.check.ladder import Watch
from unpinned.check.verdict import Rung, RungResult
from unpinned.plan.reading.classes import PlanClass

if TYPE_CHECKING:
    from rich.status import Status

_AFTER: Final = 1.0  # seconds


@contextmanager
def following() -> Iterator[Watch]:
    """Give a watch that keeps a progress line while a search runs; on no terminal it shows nothing."""
    if not sys.stderr.isatty():
        yield Watch()
        return
    with ExitStack() as stack:
        yield _Line(stack)


class _Line(Watch):
    """The progress line of one rung at a time."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._what = ""
        self._began = self._first = 0.0
        self._status: Status | None = None

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        self._what, self._began = f"{plan.name}: {rung.scenario}", time.monotonic()
        self._first = self._first or self._began

    def tick(self, sight: Sight) -> None:
        spent = time.monotonic() - self._began
        if time.monotonic() - self._first < _AFTER:
            return
        rate = sight.states / max(spent, 0.001) / 1000
        text = f"{self._what}: {sight.states} states, {rate:.0f}k/s, depth {sight.depth}, frontier {sight.frontier}"
        if sight.expected is not None:
            text += f", about {min(99, 100 * sight.states // sight.expected)} %"
        from rich.console import Console  # noqa: PLC0415 - a short search does not wait for it
        from rich.text import Text  # noqa: PLC0415

        if self._status is None:
            self._status = self._stack.enter_context(Console(stderr=True).status("", refresh_per_second=5))
        self._status.update(Text(text, no_wrap=True, overflow="ellipsis"))

    def done(self, _result: RungResult) -> None:
        self._stack.close()
        self._status = None
