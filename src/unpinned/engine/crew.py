# SPDX-License-Identifier: Apache-2.0
"""Run compiled code in threads that surely stand still when the block of the crew ends.

Compiled code writes to memory that is given back soon after. An executor of the standard library waits at the end of
its block for the threads that it knows of; but an interrupt may come just when a thread has begun and is not yet in its
list, and then it runs on in memory that is gone. So who runs is counted by the threads themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Crew(ThreadPoolExecutor):
    """An executor whose block ends when nothing of it runs and nothing will, whatever interrupts it."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._still = threading.Condition()
        self._running = 0
        self._over = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called; once the block has ended, it is not called any more."""

        def run() -> T:
            with self._still:
                if self._over:
                    raise CancelledError
                self._running += 1
            try:
                return fn(*args, **kwargs)
            finally:
                with self._still:
                    self._running -= 1
                    self._still.notify_all()

        return super().submit(run)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all is done, or, after an error, until nothing runs; an interrupt is raised after that."""
        late: KeyboardInterrupt | None = None
        try:
            if error is None:
                self.shutdown()
                return
        except KeyboardInterrupt as interrupt:
            late = interrupt
        while True:
            try:
                with self._still:
                    self._over = True
                    self._still.wait_for(lambda: self._running == 0)
                self.shutdown()
                break
            except KeyboardInterrupt as interrupt:
                late = interrupt
        if late is not None and error is None:
            raise late
