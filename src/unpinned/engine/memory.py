# SPDX-License-Identifier: Apache-2.0
"""Ask the kernel for arrays that take memory only where they are written, and know how much there is."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Final

_PAGE: Final = mmap.PAGESIZE
_HUGE: Final = 2 << 20
_NORESERVE: Final = 0x4000  # MAP_NORESERVE of linux/mman.h; Python 3.11's mmap module does not name it
_DONTNEED: Final = mmap.MADV_DONTNEED


class Array:
    """Zeroed memory of so many bytes, which counts only where it was written; `address` is where it begins."""

    def __init__(self, size: int) -> None:
        self.size = max(_PAGE, -(-size // _PAGE) * _PAGE)
        self._map = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        if self.size >= _HUGE:
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._view: ctypes.c_char | None = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._view)

    def read(self, first: int, size: int) -> bytes:
        """Return `size` bytes from byte `first` on."""
        return self._map[first : first + size]

    def write(self, first: int, data: bytes) -> None:
        """Store bytes from byte `first` on."""
        self._map[first : first + len(data)] = data

    def view(self, first: int, end: int) -> memoryview:
        """Return the bytes between two places themselves, no copy; release it before the array is closed."""
        with memoryview(self._map) as whole:
            return whole[first:end]

    def forget(self, first: int, end: int) -> None:
        """Give back whole pages from the one of byte `first` up to byte `end`; they read as zero again.

        What stands before `first` on its page goes with it: it was given back before.
        """
        first, end = first // _PAGE * _PAGE, end // _PAGE * _PAGE
        if end > first:
            self._map.madvise(_DONTNEED, first, end - first)

    def close(self) -> None:
        """Give all memory back."""
        self._view = None
        self._map.close()


def default_memory() -> int:
    """Return the bytes that a search may take if nobody says: half of what is there.

    The other half is for the system's page cache, through which files are written, for the questions that are asked of
    a search when it has ended (up to 5 bytes a state), and for whatever else runs.
    """
    return available() // 2


def available() -> int:
    """Return the bytes of memory that may be taken now: what is free, or what the control group still allows."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(free, _of_control_group())


def _of_control_group() -> int:
    """Return what the control group of this process still allows (version 2 or 1 of the interface)."""
    left = 1 << 62
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most = Path(limit).read_text(encoding="ascii").strip()
            if most != "max":
                left = min(left, max(0, int(most) - int(Path(used).read_text(encoding="ascii"))))
        except (OSError, ValueError):
            continue
    return left
