# SPDX-License-Identifier: Apache-2.0
"""The cache returns what was made, once, and never fails or returns anything else, whatever happens to its folder."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unpinned.native import cache
from unpinned.native.cache import cached
from unpinned.native.machine import compile_module, load


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Name a folder for the cache, which does not exist yet."""
    folder = tmp_path / "some" / "cache"
    monkeypatch.setenv("UNPINNED_CACHE", str(folder))
    return folder


def entries(home: Path) -> list[Path]:
    return sorted(home.iterdir()) if home.is_dir() else []


class Maker:
    """Something to be cached that counts how often it is made."""

    def __init__(self, code: bytes = b"code") -> None:
        self.code = code
        self.made = 0

    def __call__(self) -> bytes:
        self.made += 1
        return self.code


def test_an_entry_is_made_once(home):
    make = Maker()
    assert [cached("key", make) for _ in range(3)] == [b"code"] * 3
    assert make.made == 1
    assert len(entries(home)) == 1


def test_an_entry_can_be_looked_for_without_making_it(home):
    assert cache.find("key") is None
    assert not home.exists()
    cached("key", Maker())
    assert cache.find("key") == b"code"
    assert cache.find("key", level=0) is None
    assert cache.find("key", debug=True) is None
    entries(home)[0].write_bytes(b"")
    assert cache.find("key") is None


def test_the_folder_is_that_of_the_user_without_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("UNPINNED_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder().parts[-2:] == ("unpinned", "native")
    if sys.platform == "linux":
        assert tmp_path in cache.folder().parents


def test_compiled_code_survives_the_cache(home):
    def make() -> bytes:
        return compile_module("def f(a: u64) -> u64:\n    return a + 1\n", {"f": 1}, level=0)

    assert [load(cached("f", make)).function("f")(4) for _ in range(2)] == [5, 5]


def test_keys_levels_builds_machines_and_versions_do_not_share_entries(home, monkeypatch):
    seen = [
        cached(key, lambda: b"a", level=level, debug=debug)
        for key in "xy"
        for level in (0, 2)
        for debug in (False, True)
    ]
    assert len(entries(home)) == len(seen) == 8
    monkeypatch.setattr(cache, "identity", lambda: "another machine")
    assert cached("x", lambda: b"b") == b"b"
    monkeypatch.setattr(cache, "_program", lambda: "another version")
    assert cached("x", lambda: b"c") == b"c"


@pytest.mark.parametrize("size", [0, 1, 10, 17, 18, 30, 49, 50, 52])
def test_a_truncated_entry_is_made_anew(home, size):
    make = Maker()
    cached("key", make)
    (entry,) = entries(home)
    whole = entry.read_bytes()
    entry.write_bytes(whole[:size])
    assert cached("key", make) == b"code"
    assert make.made == 2
    assert entry.read_bytes() == whole
    assert cached("key", make) == b"code"
    assert make.made == 2


@pytest.mark.parametrize("place", [0, 17, 18, 49, 50, 53])
def test_a_changed_entry_is_made_anew(home, place):
    make = Maker()
    cached("key", make)
    (entry,) = entries(home)
    data = bytearray(entry.read_bytes())
    data[place] ^= 1
    entry.write_bytes(data)
    assert cached("key", make) == b"code"
    assert make.made == 2


def test_an_entry_with_something_behind_it_is_made_anew(home):
    make = Maker()
    cached("key", make)
    (entry,) = entries(home)
    entry.write_bytes(entry.read_bytes() + b"x")
    assert cached("key", make) == b"code"
    assert make.made == 2


def test_an_entry_that_is_a_folder_does_no_harm(home):
    make = Maker()
    cached("key", make)
    (entry,) = entries(home)
    entry.unlink()
    entry.mkdir()
    assert cached("key", make) == b"code"
    assert entries(home) == [entry]


def test_a_folder_that_is_a_file_does_no_harm(home):
    home.parent.mkdir()
    home.write_text("not a folder")
    said: list[str] = []
    make = Maker()
    assert [cached("key", make, tell=said.append) for _ in range(2)] == [b"code"] * 2
    assert make.made == 2
    assert len(said) == 2
    assert "not kept" in said[0]
    assert home.read_text() == "not a folder"


def test_a_folder_that_cannot_be_made_does_no_harm(monkeypatch):
    monkeypatch.setenv("UNPINNED_CACHE", "/dev/null/cache")
    said: list[str] = []
    assert cached("key", Maker(), tell=said.append) == b"code"
    assert said


def failing(code: int):
    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["open", "replace"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_written_does_no_harm(home, monkeypatch, call, code):
    home.mkdir(parents=True, mode=0o700)
    make = Maker()
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(code))
        assert cached("key", make, tell=said.append) == b"code"
    assert os.strerror(code) in said[0]
    assert entries(home) == []
    assert cached("key", make) == b"code"
    assert len(entries(home)) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_does_no_harm(home, monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_args: os.dup(full.fileno()))
        assert cached("key", Maker()) == b"code"
    assert entries(home) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_does_no_harm(home):
    home.mkdir(parents=True)
    home.chmod(0o500)
    assert cached("key", Maker()) == b"code"
    assert entries(home) == []


def test_nothing_is_said_unless_asked(home, capfd):
    home.parent.mkdir()
    home.write_text("")
    cached("key", Maker())
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")
def test_a_folder_that_others_may_write_to_is_not_used(home):
    home.mkdir(parents=True)
    home.chmod(0o777)
    said: list[str] = []
    assert cached("key", Maker(), tell=said.append) == b"code"
    assert "can be written by others" in said[0]
    assert entries(home) == []


def test_the_folder_is_made_for_its_owner_only(home):
    cached("key", Maker())
    assert home.stat().st_mode & 0o077 == 0


def test_what_is_made_may_fail_and_is_not_called_again(home):
    calls = []

    def make() -> bytes:
        calls.append(1)
        raise OSError("no compiler")

    with pytest.raises(OSError, match="no compiler"):
        cached("key", make)
    assert len(calls) == 1


def test_the_least_recently_used_entries_go_first(home, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 4 * 1060)
    now = time.time()
    for number in range(4):
        cached(f"key {number}", Maker(bytes(1000)))
        newest = max(entries(home), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (now - 100 + number, now - 100 + number))
    cached("key 0", Maker())
    cached("key 4", Maker(bytes(1000)))
    kept = Maker(b"again")
    assert cached("key 0", kept) == bytes(1000)
    assert cached("key 1", kept) == b"again"
    assert kept.made == 1


def test_what_an_interrupted_writer_left_is_removed_in_time_and_other_files_are_not(home, monkeypatch):
    home.mkdir(parents=True, mode=0o700)
    (home / "left.tmp").write_bytes(bytes(5000))
    (home / "notes.txt").write_bytes(bytes(5000))
    os.utime(home / "left.tmp", (1, 1))
    monkeypatch.setattr(cache, "LIMIT", 1000)
    cached("key", Maker())
    assert [path.suffix for path in entries(home)] == [".o", ".txt"]


def test_an_entry_larger_than_the_limit_is_kept_until_the_next(home, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 100)
    cached("one", Maker(bytes(1000)))
    assert len(entries(home)) == 1
    cached("two", Maker(bytes(2000)))
    assert len(entries(home)) == 1


def test_files_that_vanish_while_tidying_do_no_harm(home, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 1)
    cached("one", Maker())
    replace = os.replace

    def racing(source, target):
        replace(source, target)
        for path in entries(home):
            if path != Path(target):
                path.unlink()
        (home / "gone.o").symlink_to(home / "nowhere")

    monkeypatch.setattr(os, "replace", racing)
    assert cached("two", Maker()) == b"code"


WRITER = """
import sys, time
from pathlib import Path
from unpinned.native.cache import cached
def make():
    time.sleep(0.002)
    return bytes([int(sys.argv[1])]) * 200_000
Path(sys.argv[2]).touch()
while not Path(sys.argv[3]).exists():
    pass
for turn in range(60):
    code = cached(f"key {turn}", make)
    assert len(code) == 200_000 and len(set(code)) == 1, "a mixture"
"""


def test_two_processes_may_write_the_same_entries_at_once(home, tmp_path):
    ready = [tmp_path / "ready 1", tmp_path / "ready 2"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(number), ready[number - 1], ready[2 - number]])
        for number in (1, 2)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(entries(home)) == 60
    assert all(path.suffix == ".o" for path in entries(home))


def test_a_cache_that_is_removed_meanwhile_is_made_again(home):
    make = Maker()
    cached("key", make)
    shutil.rmtree(home)
    assert cached("key", make) == b"code"
    assert make.made == 2
    assert len(entries(home)) == 1
