# SPDX-License-Identifier: Apache-2.0
"""A search that was killed, at any instant, goes on from its checkpoint and sees what an uninterrupted one sees."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from support.kvm_seq import kvm_seq

from unpinned.engine import checkpoint, explorer
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.errors import UsageError

EXACT = Limits(1 << 30, to_end=True, compact=False)
STATES = 81_112  # of kvm_seq(2, 2, 1, 1, 3)


@cache
def program(*bound: int, literal: bool = False) -> Program:
    made = Program(kvm_seq(*(bound or (2, 2, 1, 1, 3)), literal=literal))
    made.improve()
    return made


def counted(search: Search) -> dict[str, object]:
    """Return all that is counted."""
    return {
        "states": search.states,
        "transitions": search.transitions,
        "levels": search.levels,
        "files": [search.count(counter) for counter in (explorer.BROKEN, explorer.LIMITS, explorer.DEAD)],
        "ways": (search.complete, search.stopped, search.passed(), search.waited, search.before),
    }


def whole(limits: Limits, made: Program | None = None) -> dict[str, object]:
    """Search without an interruption."""
    search = Search(made or program(), replace(limits, checkpoint=None))
    search.run()
    found = counted(search)
    search.close()
    return found


def go_on(folder: Path, limits: Limits, made: Program | None = None) -> dict[str, object]:
    """Resume a search and run it to its end."""
    search = Search.resume(made or program(), limits, folder)
    search.run()
    found = counted(search)
    search.close()
    return found


def stopped(folder: Path, memory: int, limits: Limits = EXACT, made: Program | None = None) -> int:
    """Search, or go on, until memory runs out; return how many states there are then."""
    limits = replace(limits, memory=memory, checkpoint=folder)
    search = Search(made or program(), limits, resumed=(folder / "checkpoint.json").exists())
    search.run()
    assert search.stopped == "memory"
    assert not search.note
    states = search.states
    search.close()
    return states


# ---- killed

KINDS = {
    "exact": EXACT,
    "two cores": replace(EXACT, cores=2),
    "compacted": replace(EXACT, compact=True, at_once=True),
    "switch": replace(EXACT, compact=True, memory=66 << 20),
    "switch, two cores": replace(EXACT, compact=True, memory=66 << 20, cores=2),
}


def _run_in_child(limits: Limits, folder: Path, seconds: float, made: Program) -> int:
    """Run a search in a child that is killed after so many seconds; return its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            search = Search(made, limits, resumed=(folder / "checkpoint.json").exists())
            search.run()
            status = 0 if search.complete else 2
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _kill(kind: str, folder: Path, kills: int, seed: int) -> None:
    """Kill searches until so many kills have struck; each that ends, and the last one, is to count exactly."""
    chance = random.Random(seed)
    made = program(2, 2, 1, 2, 4)
    while made.level == 0:  # code without optimisation is not meant here
        time.sleep(0.01)
    limits = replace(KINDS[kind], checkpoint=folder, interval=0.01)
    expected = whole(replace(limits, memory=1 << 30), made)
    struck = 0
    while struck < kills:
        shutil.rmtree(folder, ignore_errors=True)
        ended = False
        for _ in range(8):
            status = _run_in_child(limits, folder, chance.uniform(0.0, 0.25), made)
            ended = os.WIFEXITED(status)
            assert not ended or os.WEXITSTATUS(status) == 0
            struck += not ended
            if ended or struck >= kills:
                break
        if (folder / "checkpoint.json").exists():
            assert go_on(folder, limits, made) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_is_killed_again_and_again_counts_exactly(kind, tmp_path):
    _kill(kind, tmp_path / "kept", 12, seed=len(kind))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_many_kills(kind, seed, tmp_path):
    _kill(kind, tmp_path / "kept", 40, seed)


# ---- cut at every point


def test_whatever_was_written_behind_the_old_checkpoint_does_not_count(tmp_path):
    """Killed within a save: the old meta file, and any part of what was appended for the new one."""
    old, new = tmp_path / "old", tmp_path / "new"
    first = stopped(old, 900_000)
    shutil.copytree(old, new)
    second = stopped(new, 1_800_000)
    assert first < second < STATES
    expected = whole(EXACT)
    grown = [name.name for name in new.iterdir() if name.stat().st_size > (old / name.name).stat().st_size]
    assert {"states.0", "parents.0", "levels"} <= set(grown)
    chance = random.Random(1)
    for count in range(12):
        torn = tmp_path / f"torn{count}"
        shutil.copytree(old, torn)
        for name in grown:
            if name != "checkpoint.json":
                data, begin = (new / name).read_bytes(), (old / name).stat().st_size
                (torn / name).write_bytes(data[: chance.randrange(begin, len(data) + 1)])
        if count % 2:
            data = (new / "checkpoint.json").read_bytes()
            (torn / "checkpoint.json.new").write_bytes(data[: chance.randrange(len(data))])
        search = Search.resume(program(), EXACT, torn)
        assert search.states == first
        search.run()
        assert counted(search) == expected
        search.close()
    assert go_on(new, EXACT) == expected


def test_a_log_that_was_cut_or_changed_is_refused(tmp_path):
    kept = tmp_path / "kept"
    states = stopped(kept, 900_000)
    assert states > 1
    for name in sorted(kept.iterdir()):
        size = name.stat().st_size
        for place in sorted({0, size // 2, size - 1}) if size else ():
            for cut in (False, True):
                spoilt = tmp_path / "spoilt"
                shutil.copytree(kept, spoilt)
                data = bytearray((kept / name.name).read_bytes())
                data[place] ^= 1
                (spoilt / name.name).write_bytes(data[:place] if cut else data)
                with pytest.raises(UsageError, match="cut or changed") as raised:
                    Search.resume(program(), EXACT, spoilt)
                assert str(spoilt) in raised.value.what
                assert raised.value.hint
                shutil.rmtree(spoilt)


def test_a_log_that_is_missing_is_refused(tmp_path):
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    (kept / "parents.0").unlink()
    with pytest.raises(UsageError, match=r"parents\.0: No such file"):
        Search.resume(program(), EXACT, kept)


def test_a_meta_file_that_was_cut_anywhere_is_refused(tmp_path):
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    name = kept / "checkpoint.json"
    data = name.read_bytes()
    for end in range(0, len(data) - 1, 7):
        name.write_bytes(data[:end])
        with pytest.raises(UsageError, match="cut or changed"):
            Search.resume(program(), EXACT, kept)
    name.write_bytes(data)
    assert go_on(kept, EXACT) == whole(EXACT)


def test_a_checkpoint_of_another_format_is_refused(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    monkeypatch.setattr(checkpoint, "_FORMAT", 2)
    with pytest.raises(UsageError, match="in another format"):
        Search.resume(program(), EXACT, kept)


# ---- of another search


OTHERS = [
    ({"seed": 1}, "of another seed"),
    ({"cores": 2}, "of another number of cores"),
    ({"compact": True}, "may be compacted"),
    ({"to_end": False}, "goes on past violations"),
    ({"deadly": False}, "a deadlock is a violation"),
]


@pytest.mark.parametrize(("change", "says"), OTHERS)
def test_the_checkpoint_of_another_search_is_refused(change, says, tmp_path):
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    with pytest.raises(UsageError, match=says):
        Search.resume(program(), replace(EXACT, **change), kept)
    with pytest.raises(UsageError, match="of another plan, scenario or version"):
        Search.resume(program(2, 1, 2, 1, 2), EXACT, kept)


def test_the_checkpoint_of_another_initial_state_is_refused(tmp_path):
    """The text of the steps is the same; what is reached is not."""
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    first, *others = program().system.shared
    begun = Program(replace(program().system, shared=(replace(first, init=first.init + 1), *others)))
    assert begun.source == program().source
    with pytest.raises(UsageError, match="of another plan, scenario or version"):
        Search.resume(begun, EXACT, kept)


def test_more_memory_may_be_allowed_and_less_is_refused(tmp_path):
    kept = tmp_path / "kept"
    first = stopped(kept, 900_000)
    assert stopped(kept, 1_800_000) > first
    with pytest.raises(UsageError, match="MiB of memory") as raised:
        Search.resume(program(), replace(EXACT, memory=700_000), kept)
    assert raised.value.hint
    assert go_on(kept, EXACT) == whole(EXACT)


# ---- the folder


def test_a_new_search_does_not_write_over_a_checkpoint(tmp_path):
    kept = tmp_path / "kept"
    stopped(kept, 900_000)
    with pytest.raises(UsageError, match="holds the checkpoint of a search"):
        Search(program(), replace(EXACT, checkpoint=kept))
    assert go_on(kept, EXACT) == whole(EXACT)


def test_a_folder_is_for_one_process(tmp_path):
    search = Search(program(), replace(EXACT, checkpoint=tmp_path / "kept"))
    with pytest.raises(UsageError, match="another process"):
        Search(program(), replace(EXACT, checkpoint=tmp_path / "kept"))
    search.run()
    search.close()
    assert go_on(tmp_path / "kept", EXACT) == whole(EXACT)


def test_a_folder_without_a_checkpoint_cannot_be_resumed(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="holds no checkpoint"):
            Search.resume(program(), EXACT, folder)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be used for checkpoints"):
        Search(program(), replace(EXACT, checkpoint=tmp_path / "file" / "kept"))


def test_a_full_disk_costs_the_checkpoint_and_not_the_search(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    first = stopped(kept, 900_000)
    write = os.pwrite

    def full(file, data, at):
        if at > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:1000], at)

    monkeypatch.setattr(os, "pwrite", full)
    search = Search.resume(program(), EXACT, kept)
    search.run()
    assert search.complete
    assert "No space left on device" in search.note
    assert str(kept) in search.note
    search.close()
    monkeypatch.undo()
    search = Search.resume(program(), EXACT, kept)
    assert search.states == first
    search.run()
    assert counted(search) == whole(EXACT)
    assert not search.note
    search.close()


# ---- the same search


@pytest.mark.parametrize("to_end", [True, False])
def test_what_was_filed_is_kept_and_numbers_are_the_same(to_end, tmp_path):
    made = program(2, 2, 1, 1, 3, literal=True)
    limits = replace(EXACT, to_end=to_end)
    straight = Search(made, limits)
    straight.run()
    kept = tmp_path / "kept"
    for memory in (300_000, 450_000) if not to_end else (1_000_000, 2_000_000):
        stopped(kept, memory, limits, made)
    search = Search.resume(made, limits, kept)
    search.run()
    assert counted(search) == counted(straight)
    files = (explorer.BROKEN, explorer.LIMITS, explorer.DEAD)
    assert [search.filed(counter) for counter in files] == [straight.filed(counter) for counter in files]
    for number in search.filed(explorer.BROKEN)[:20]:
        assert search.path(number) == straight.path(number)
        assert search.state(number) == straight.state(number)
    straight.close()
    search.close()


def test_a_search_that_has_ended_can_be_taken_up(tmp_path):
    kept = tmp_path / "kept"
    for _ in range(3):
        search = Search(program(), replace(EXACT, checkpoint=kept), resumed=kept.exists())
        search.run()
        assert counted(search) == whole(EXACT)
        search.close()


def test_an_interrupt_leaves_a_checkpoint(tmp_path):
    def interrupt(search: Search) -> None:
        if search.states > 1000:
            raise KeyboardInterrupt

    made = program(2, 2, 1, 2, 4)
    search = Search(made, replace(EXACT, checkpoint=tmp_path / "kept"))
    search.run(interrupt)
    states = search.states
    search.close()
    search = Search.resume(made, EXACT, tmp_path / "kept")
    assert search.states == states
    search.run()
    assert counted(search) == whole(EXACT, made)
    search.close()


def test_what_is_new_is_appended(tmp_path):
    """Logs grow by what is new, and hold nothing twice."""
    kept = tmp_path / "kept"
    states = stopped(kept, 900_000)
    head = (kept / "states.0").read_bytes()
    words = program().pack.words
    assert len(head) == states * words * 8
    states = stopped(kept, 1_800_000)
    data = (kept / "states.0").read_bytes()
    assert data.startswith(head)
    assert len(data) == states * words * 8
    assert (kept / "parents.0").stat().st_size == states * 4
    body = json.loads((kept / "checkpoint.json").read_text(encoding="ascii").split("\n")[1])
    assert len(body["logs"]["states.0"]) == 1
