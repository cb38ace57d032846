# SPDX-License-Identifier: Apache-2.0
"""Write a search to disk now and then, so that it can go on after whatever ended it.

What a search finds it only appends: states, parents, hashes, the ends of levels, what was filed. So when the workers
stand still it is enough to note how far everything goes and to keep a copy of the counters; what is new is written
beside the search, while the workers run on behind those marks. Each checkpoint appends what is new to the logs, has it
written to the disk, and then puts a new small file in the place of the old one, `checkpoint.json`, which says how far
each log counts and has its checksums. A process that is killed at any instant leaves the old file or the new one,
and behind what either counts there are at most bytes that do not count; they are cut off when the search is resumed.
The table is not written: it is made again from the states.

A lock keeps two processes out of one folder; the system takes it from a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unpinned.engine.logs import Logs, Segment
from unpinned.engine.memory import Array
from unpinned.errors import UsageError

_FORMAT: Final = 1
_NAME: Final = "checkpoint.json"
_LOCK: Final = "lock"
#: What a key holds, in the words of a message.
_WORDS: Final = {
    "program": "another plan, scenario or version of unpinned",
    "cores": "another number of cores",
    "seed": "another seed",
    "compact": "another answer to whether states may be compacted",
    "to_end": "another answer to whether the search goes on past violations",
    "deadly": "another answer to whether a deadlock is a violation",
}

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be appended to a log: bytes of an array, which do not change any more, at a place."""

    name: str
    array: Array
    first: int
    end: int
    at: int


def is_written(folder: Path) -> bool:
    """Tell whether a folder holds a checkpoint: not so if a search was killed before it wrote its first one."""
    return (folder / _NAME).is_file()


def unusable(folder: Path, error: OSError) -> UsageError:
    """Return the error that says why a folder cannot hold checkpoints."""
    what = f"{folder} cannot be used for checkpoints: {error.strerror}"
    return UsageError(what, hint="Name another folder.")


class Keeper:
    """The checkpoint in a folder: `body` is what it says of the search, None when it is new."""

    def __init__(self, folder: Path, key: Mapping[str, object], *, fresh: bool) -> None:
        """Take a folder for a new search, or take up the checkpoint in it.

        :raises UsageError: if another process has it, it cannot be used, or holds what it should not.
        """
        self.folder = folder
        self.key = dict(key)
        self.error = ""
        self.body: Body | None = None
        self._writer: threading.Thread | None = None
        self._begun = time.monotonic()
        self._lock = _locked(folder, make=fresh)
        try:
            if fresh and (folder / _NAME).exists():
                hint = "Resume it, remove the folder, or name another one."
                raise UsageError(f"{folder} holds the checkpoint of a search", hint=hint)
            if not fresh:
                self.body = _read(folder, self.key)
        except BaseException:
            os.close(self._lock)
            raise

    def reopen(self, logs: Logs) -> None:
        """Open the logs as they were at the checkpoint.

        :raises UsageError: if one is missing, cut or changed.
        """
        assert self.body is not None
        for name, segments in self.body["logs"].items():
            try:
                whole = logs.reopen(name, [Segment(*numbers) for numbers in segments]).is_whole()
            except OSError as error:
                raise self.damaged(f"{name}: {error.strerror}") from error
            if not whole:
                raise self.damaged(f"{name} was cut or changed")

    def restore(self, logs: Logs, parts: Sequence[Part]) -> None:
        """Read parts back into their arrays.

        :raises UsageError: if a log does not hold what the counters say.
        """
        for part in parts:
            size, at = part.end - part.first, part.at
            held = any(segment.first <= at and at + size <= segment.end for segment in logs[part.name].segments)
            if size and not held:
                raise self.damaged(f"{part.name} does not hold what {_NAME} says")
            try:
                logs[part.name].read(at, part.array, part.first, size)
            except OSError as error:
                raise self.damaged(f"{part.name}: {error}") from error

    def damaged(self, what: str) -> UsageError:
        """Return the error that says what is wrong with the checkpoint."""
        return _refused(self.folder, what)

    def is_due(self, interval: float) -> bool:
        """Tell whether it is time for another checkpoint, and the last one is written."""
        return time.monotonic() - self._begun >= interval and not (self._writer and self._writer.is_alive())

    def begin(self, logs: Logs, body: Body, parts: Sequence[Part]) -> None:
        """Begin to write a checkpoint; the arrays may grow meanwhile, but the logs are its own until `wait`."""
        self.wait()
        self._begun = time.monotonic()
        self._writer = threading.Thread(target=self._write, args=(logs, body, parts))
        self._writer.start()

    def wait(self) -> None:
        """Wait until what was begun is written."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def _write(self, logs: Logs, body: Body, parts: Sequence[Part]) -> None:
        """Write a checkpoint; if that fails the one before stays, and `error` says why."""
        try:
            for part in parts:
                logs[part.name].append(part.array, part.first, part.end, part.at)
            logs.sync()
            held = {
                name: [[segment.first, segment.end, segment.crc] for segment in log.segments]
                for name, log in logs.by_name.items()
            }
            _replace(self.folder, _sealed(body | {"key": self.key, "logs": held}))
            self.error = ""
        except OSError as error:
            self.error = f"no checkpoint could be written to {self.folder}: {error.strerror}"

    def close(self) -> None:
        """Wait for what was begun, and let others have the folder."""
        self.wait()
        os.close(self._lock)


def _locked(folder: Path, *, make: bool) -> int:
    """Return an open file that keeps others out of a folder."""
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        elif not is_written(folder):
            raise UsageError(
                f"{folder} holds no checkpoint", hint="Name the folder that a search was told to write to."
            )
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        what = f"another process has the checkpoint in {folder}"
        raise UsageError(what, hint="Wait for it, end it, or name another folder.") from error
    return lock


def _sealed(body: Body) -> bytes:
    text = json.dumps(body | {"format": _FORMAT}, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode()


def _replace(folder: Path, data: bytes) -> None:
    """Put a new file in the place of the old one, and have that written to the disk, after the names of new logs."""
    _sync_folder(folder)
    name = folder / f"{_NAME}.new"
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        written = 0
        while written < len(data):
            written += os.write(file, data[written:])
        os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            name.unlink()
        raise
    finally:
        os.close(file)
    os.replace(name, folder / _NAME)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _read(folder: Path, key: Mapping[str, object]) -> Body:
    """Read what a checkpoint says, if it is whole and of the same search."""
    try:
        digest, _, text = (folder / _NAME).read_bytes().partition(b"\n")
    except OSError as error:
        raise _refused(folder, f"{_NAME}: {error.strerror}") from error
    if digest.decode("ascii", "replace") != hashlib.sha256(text).hexdigest():
        raise _refused(folder, f"{_NAME} was cut or changed")
    body: Body = json.loads(text)
    if body["format"] != _FORMAT:
        raise _refused(folder, "it was written by another version of unpinned, in another format")
    for name, what in _WORDS.items():
        if body["key"].get(name) != key[name]:
            shown = "" if name == "program" else f" ({body['key'].get(name)}, and now {key[name]})"
            hint = "Call it as it was called then, or name another folder."
            raise UsageError(f"the checkpoint in {folder} is of {what}{shown}", hint=hint)
    return body


def _refused(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"the checkpoint in {folder} cannot be used: {what}", hint="Restore the folder, or search from the beginning."
    )
