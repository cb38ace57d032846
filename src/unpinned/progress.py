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
_SPINNER: Final = 2  # columns before the line


@contextmanager
def following() -> Iterator[Watch]:
    """Give a watch that keeps a progress line while a search runs; on no terminal it shows nothing."""
    if not sys.stderr.isatty():
        yield Watch()
        return
    with ExitStack() as stack:
        yield _Line(stack)


def line(plan: str, scenario: str, sight: Sight, rate: float, width: int) -> str:
    """Return a line of at most so many columns: what does not fit is left out from the right, and the scenario then.

    :param rate: states a second.
    """
    parts = [f"{sight.states} states", f"{rate / 1000:.0f}k/s", f"depth {sight.depth}"]
    if sight.expected is not None:
        parts.append(f"about {min(99, 100 * sight.states // sight.expected)} %")
    parts.append(f"frontier {sight.frontier}")
    search = [sight.search] if sight.search else []
    heads = ": ".join([plan, scenario, *search]), ": ".join([plan, *search]), ": ".join(search or [plan])
    for head in heads:
        for count in range(len(parts), 0, -1):
            text = f"{head}: {', '.join(parts[:count])}"
            if len(text) <= width:
                return text
    return parts[0][:width]


class _Line(Watch):
    """The progress line of one rung at a time, and of one search after the other."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._plan = self._scenario = ""
        self._first = 0.0
        #: The search that is followed: when it was first seen, how far it was then, and what was seen last.
        self._began = 0.0
        self._from = 0
        self._last: Sight | None = None
        self._status: Status | None = None

    def rung(self, plan: PlanClass, rung: Rung) -> None:
        self._plan, self._scenario, self._last = plan.name, str(rung.scenario), None
        self._first = self._first or time.monotonic()

    def tick(self, sight: Sight) -> None:
        now = time.monotonic()
        last, self._last = self._last, sight
        if last is None or last.search != sight.search or sight.states < last.states:
            self._began, self._from = now, sight.states
        if now - self._first < _AFTER:
            return
        from rich.console import Console  # noqa: PLC0415 - a short search does not wait for it
        from rich.text import Text  # noqa: PLC0415

        if self._status is None:
            self._status = self._stack.enter_context(Console(stderr=True).status("", refresh_per_second=5))
        rate = (sight.states - self._from) / max(now - self._began, 0.001)
        text = line(self._plan, self._scenario, sight, rate, self._status.console.width - _SPINNER)
        self._status.update(Text(text, no_wrap=True, overflow="ellipsis"))

    def done(self, _result: RungResult) -> None:
        self._stack.close()
        self._status = None
