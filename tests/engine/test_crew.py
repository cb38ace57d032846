# SPDX-License-Identifier: Apache-2.0
"""Threads of a crew stand still when its block ends, whenever an interrupt comes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from unpinned.engine.crew import Crew


class Job:
    """A job that says when it runs and when it is done, as it goes."""

    def __init__(self, seconds: float = 0.2) -> None:
        self.seconds, self.said = seconds, list[str]()

    def __call__(self) -> int:
        self.said.append("begun")
        time.sleep(self.seconds)
        self.said.append("done")
        return 7


def interrupted_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an interrupt come when a thread has been started and nobody has noted that yet."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", started)


@pytest.mark.parametrize("pool", [Crew, ThreadPoolExecutor])
def test_a_thread_that_nobody_noted_is_waited_for(pool: type[ThreadPoolExecutor], monkeypatch) -> None:
    """With the executor of the standard library it is not: that is why there is a crew."""
    job = Job()
    interrupted_start(monkeypatch)
    with pytest.raises(KeyboardInterrupt), pool(1) as crew:
        crew.submit(job)
    said = list(job.said)
    if pool is Crew:
        time.sleep(2 * job.seconds)
        assert job.said == said
        assert said in ([], ["begun", "done"])
    else:
        assert "done" not in said


def begun(job: Job) -> None:
    while not job.said:
        time.sleep(0.001)


def test_what_has_not_begun_does_not_begin() -> None:
    first, second = Job(), Job()

    def work() -> None:
        with Crew(1) as crew:
            crew.submit(first)
            crew.submit(second)
            begun(first)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert first.said == ["begun", "done"]
    assert second.said == []


def test_an_interrupt_at_the_end_is_raised_once_all_stand_still(monkeypatch) -> None:
    job, calls = Job(), list[int]()
    shutdown = ThreadPoolExecutor.shutdown

    def interrupted(crew: Crew) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise KeyboardInterrupt
        shutdown(crew)

    def work() -> None:
        with Crew(1) as crew:
            crew.submit(job)
            begun(job)
            monkeypatch.setattr(Crew, "shutdown", interrupted)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert job.said == ["begun", "done"]
    assert len(calls) == 3


def test_results_and_errors_come_through() -> None:
    def wrong() -> None:
        raise ValueError

    with Crew(2) as crew:
        found: list[Future[int]] = [crew.submit(Job(0.01)) for _ in range(3)]
        assert list(crew.map(abs, [-1, 2])) == [1, 2]
        error = crew.submit(wrong)
    assert [future.result() for future in found] == [7, 7, 7]
    assert isinstance(error.exception(), ValueError)
