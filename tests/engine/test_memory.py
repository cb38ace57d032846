# SPDX-License-Identifier: Apache-2.0
"""A search keeps to its bound of memory: measured from outside, and by its own count."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from support.kvm_seq import kvm_seq
from support.systems import fork, op, put, system, thread, to

from unpinned.engine import explorer, memory
from unpinned.engine.memory import Array
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.engine.store import Store
from unpinned.errors import UsageError
from unpinned.ir.program import Check, Local, Shared, Var
from unpinned.ir.rules import LIMIT

MIB = 1 << 20
#: What a process may take beside the bound: threads, and the pages and huge pages that are begun.
BESIDE = 40 * MIB

#: Searches, and prints how much more memory than before was resident at most (sampled), and how the search ended.
CHILD = """
import sys, time, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.kvm_seq import kvm_seq
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search

def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

program = Program(kvm_seq(2, 2, 1, 2, 4))
program.improve()
while program.level == 0:
    time.sleep(0.01)
Search(program, Limits(1 << 20, to_end=True)).close()
bound, cores, compact, at_once = map(int, sys.argv[2:6])
folder = Path(sys.argv[6]) if sys.argv[6] else None
limits = Limits(bound, cores=cores, to_end=True, compact=bool(compact), at_once=bool(at_once), checkpoint=folder,
                interval=0.1)
peak, before, done = 0, resident(), threading.Event()

def watch():
    global peak
    while not done.wait(0.0005):
        peak = max(peak, resident())

watcher = threading.Thread(target=watch)
watcher.start()
search = Search(program, limits)
search.run()
done.set()
watcher.join()
print(peak - before, search.states, search.stopped or "complete", search.memory)
"""


def _child(bound: int, cores: int, compact: bool, at_once: bool = False, folder: Path | str = "") -> list[str]:
    arguments = [
        str(Path(__file__).parents[1]),
        str(bound),
        str(cores),
        str(int(compact)),
        str(int(at_once)),
        str(folder),
    ]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True)
    return child.stdout.split()


BOUNDS = [
    (16 * MIB, False, False, "memory"),
    (50 * MIB, False, False, "memory"),
    (120 * MIB, False, False, "complete"),
    (20 * MIB, True, False, "memory"),
    (48 * MIB, True, False, "complete"),
    (48 * MIB, True, True, "complete"),
]


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(("bound", "compact", "at_once", "ends"), BOUNDS)
def test_what_is_resident_stays_within_the_bound(bound, compact, at_once, ends, cores):
    peak, states, ended, told = _child(bound, cores, compact, at_once)
    assert ended == ends
    assert int(peak) <= bound + BESIDE
    assert int(told) <= bound
    if ends == "memory":
        assert int(states) > bound / (32 if compact else 46)  # the bound is made use of


def test_checkpoints_take_no_more(tmp_path):
    peak, _, ended, _ = _child(48 * MIB, 1, compact=True, folder=tmp_path / "kept")
    assert ended == "complete"
    assert int(peak) <= 48 * MIB + BESIDE


@cache
def program() -> Program:
    return Program(kvm_seq(2, 2, 1, 1, 3))


@pytest.mark.parametrize("cores", [1, 2])
def test_a_search_never_counts_more_than_its_bound(cores):
    """At every stop of the workers, just before the table grows, and after."""
    for bound in range(1_000_000, 3_500_000, 250_000):
        search = Search(program(), Limits(bound, to_end=True, cores=cores))
        seen = [0]
        turn, rebuild = search._turn, search._rebuild

        def watched(*arguments, turn=turn, search=search, seen=seen):
            ended = turn(*arguments)
            seen.append(search.memory)
            return ended

        def rebuilt(*arguments, rebuild=rebuild, search=search, seen=seen):
            seen.append(search.memory)
            rebuild(*arguments)

        search._turn, search._rebuild = watched, rebuilt  # type: ignore[method-assign]
        search.run()
        assert max(seen) <= bound
        assert search.complete or search.stopped == "memory"
        search.close()


def test_a_bound_that_holds_nothing_ends_the_search_undecided():
    for bound in (0, 1, 100_000):
        search = Search(program(), Limits(bound, to_end=True))
        search.run()
        assert search.stopped == "memory"
        assert not search.complete
        search.close()


def test_a_search_that_ran_out_goes_on_when_it_is_allowed_more():
    search = Search(program(), Limits(1_500_000, to_end=True, compact=False))
    search.run()
    assert search.stopped == "memory"
    search.limits = replace(search.limits, memory=1 << 30)
    search.run()
    assert search.complete
    assert search.states == 81_112
    search.close()


def test_forgotten_pages_read_as_zero_and_others_stay():
    array = Array(5 * 4096)
    array.write(0, b"x" * 5 * 4096)
    array.forget(4096 + 7, 3 * 4096 + 9)  # the page of the first byte goes, that of the last stays
    assert array.read(0, 4096) == b"x" * 4096
    assert array.read(4096, 2 * 4096) == bytes(2 * 4096)
    assert array.read(3 * 4096, 2 * 4096) == b"x" * 2 * 4096
    array.close()


def test_a_view_is_the_memory_itself():
    array = Array(100)
    with array.view(10, 20) as view:
        view[:] = b"0123456789"
    assert array.read(9, 12) == b"\x000123456789\x00"
    array.close()


def test_half_of_what_is_available_is_taken_by_default(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10 * MIB)
    assert memory.default_memory() == 5 * MIB


def test_what_a_control_group_allows_is_the_most(monkeypatch):
    monkeypatch.setattr(memory, "_of_control_group", lambda: 3 * MIB)
    assert memory.available() == 3 * MIB


def test_regions_are_smaller_where_address_space_is_short(monkeypatch):
    granted = 1 << 32

    class Short(Array):
        def __init__(self, size: int) -> None:
            if size > granted:
                raise OSError(12, "Cannot allocate memory")
            super().__init__(size)

    monkeypatch.setattr("unpinned.engine.store.Array", Short)
    search = Search(program(), Limits(1 << 30, cores=2, to_end=True))
    assert search._store.region * 2 * search.words * 8 <= granted
    search.run()
    assert search.states == 81_112
    search.close()
    granted = 1 << 20
    with pytest.raises(UsageError, match="address space") as raised:
        Store.make(2, 2)
    assert "ulimit" in raised.value.hint


def test_a_full_region_ends_the_search_and_never_runs_over(monkeypatch):
    """One worker of several may find nearly all states, and has only its own region."""
    monkeypatch.setattr(Store, "make", classmethod(_small(Store.make.__func__)))  # type: ignore[attr-defined]
    search = Search(program(), Limits(1 << 30, cores=2, to_end=True, compact=False))
    search.run()
    assert search.stopped == "memory"
    assert all(high - low <= 8 * 4096 for low, high in search.ranges())
    assert len({search.state(number) for number in search.numbers()}) == search.states
    search.close()


def _small(make):
    return lambda cls, words, workers, region=0: make(cls, words, workers, region or 8 * 4096)


def test_of_what_there_is_no_room_to_file_the_rest_is_only_counted():
    """Every state leads to a limit."""
    name = Local("own.i")
    count = [fork(op("<", name, 40), to(0, put(name, op("+", name, 1))), to(1))]
    limit = [to(1, Check(op("==", Shared("mm.n"), 1), LIMIT, "the bound"))]
    counting = [thread(f"t{cpu}", count, Var("own.i", "int", 0, 40)) for cpu in range(2)]
    made = system([Var("mm.n", "int", 0, 1)], [*counting, thread("end", limit)])
    search = Search(Program(made), Limits(1 << 24, to_end=True))
    search.control[explorer.FILED] = 50
    search.run()
    assert search.complete
    assert search.count(explorer.LIMITS) == search.states == 42 * 42
    filed = search.filed(explorer.LIMITS)
    assert len(filed) == len(set(filed)) == 50
    search.close()
