# SPDX-License-Identifier: Apache-2.0
"""Write what only grows to files: at the end, never over what is there, with checksums of what was written.

Files are written and read, not mapped: when the disk is full, a write fails with an OSError, where storing to a mapped
file would kill the process. A write that fails leaves the log as it was, so it can be tried again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unpinned.engine.memory import Array

_CHUNK: Final = 4 << 20


@dataclass(slots=True)
class Segment:
    """Bytes of a log from `first` to before `end`, and their CRC-32."""

    first: int
    end: int
    crc: int


@dataclass(slots=True)
class Log:
    """A file that only grows. What is appended at its end joins the last segment; what leaves a gap begins another."""

    file: int
    segments: list[Segment] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Return how far it goes."""
        return self.segments[-1].end if self.segments else 0

    def append(self, array: Array, first: int, end: int, at: int) -> None:
        """Write the bytes of an array from `first` to before `end`, to byte `at`, which is not before the end.

        :raises OSError: if the disk is full, or fails; then nothing has changed.
        """
        assert at >= self.end, "a log only grows"
        if first >= end:
            return
        grown = self.segments[-1] if self.segments and self.segments[-1].end == at else None
        crc, to = grown.crc if grown else 0, at
        while first < end:
            with array.view(first, min(end, first + _CHUNK)) as data:
                crc = zlib.crc32(data, crc)
                written = 0
                while written < len(data):
                    written += os.pwrite(self.file, data[written:], to + written)
                first, to = first + written, to + written
        if grown:
            grown.end, grown.crc = to, crc
        else:
            self.segments.append(Segment(at, to, crc))

    def read(self, at: int, array: Array, first: int, size: int) -> None:
        """Read bytes from byte `at` on into an array.

        :raises OSError: if they are not there, or the disk fails.
        """
        done = 0
        while done < size:
            with array.view(first + done, first + min(size, done + _CHUNK)) as data:
                got = os.preadv(self.file, [data], at + done)
            if not got:
                raise OSError(f"a file ends at byte {at + done}")
            done += got

    def number(self, at: int, size: int) -> int:
        """Return the number of `size` bytes that stands at byte `at`."""
        return int.from_bytes(os.pread(self.file, size, at), "little")

    def is_whole(self) -> bool:
        """Read everything, and tell whether it is what was written."""
        for segment in self.segments:
            crc, at = 0, segment.first
            while at < segment.end:
                data = os.pread(self.file, min(_CHUNK, segment.end - at), at)
                if not data:
                    return False
                crc, at = zlib.crc32(data, crc), at + len(data)
            if crc != segment.crc:
                return False
        return True


class Logs:
    """Logs by name, each made when it is first asked for.

    In a folder they have names; without one they lie, nameless, under `spare`, and are gone when the process is.
    """

    def __init__(self, folder: Path | None, spare: Path) -> None:
        self.folder = folder
        self.spare = spare
        self.by_name: dict[str, Log] = {}

    @property
    def where(self) -> Path:
        """Return the folder that may be full."""
        return self.folder or self.spare

    def __getitem__(self, name: str) -> Log:
        """Return a log.

        :raises OSError: if it cannot be made.
        """
        if name not in self.by_name:
            self.by_name[name] = Log(self._file(name))
        return self.by_name[name]

    def _file(self, name: str) -> int:
        if self.folder is not None:
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.spare.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.spare, buffering=0) as file:
            return os.dup(file.fileno())

    def reopen(self, name: str, segments: list[Segment]) -> Log:
        """Open a log that is there, as it was when it had these segments: what stands behind them is cut off.

        :raises OSError: if there is none.
        """
        assert self.folder is not None
        log = self.by_name[name] = Log(os.open(self.folder / name, os.O_RDWR), segments)
        if os.fstat(log.file).st_size > log.end:
            os.ftruncate(log.file, log.end)
        return log

    def sync(self) -> None:
        """Have everything written to the disk.

        :raises OSError: if the disk fails.
        """
        for log in list(self.by_name.values()):
            os.fdatasync(log.file)

    def close(self) -> None:
        """Close all files."""
        for log in self.by_name.values():
            with contextlib.suppress(OSError):
                os.close(log.file)
        self.by_name.clear()
