# SPDX-License-Identifier: Apache-2.0
"""Keep object code, and what takes long to work out, on disk in the user's cache folder: once a machine is enough.

The name of an entry is a digest of the key text and of everything else that decides what is compiled or whether it can
run here: the CPU and its features, llvmlite, LLVM, and unpinned's whole text, which says more than its version. So a
wrong entry is never found by name. An entry begins with a magic word and a digest of the rest, so one that was cut or
changed is seen, and made anew. Entries are written under another name in the same folder and then renamed, so that
nobody reads half of one, and two processes that write the same one do not meet.

The cache is a convenience: whatever goes wrong with the folder, the code is made and returned. Anyone who can write
to the folder can change what is run, as with every program in a home folder; it is made for its owner only, and a
folder that belongs to somebody else is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from unpinned.native.machine import identity

T = TypeVar("T")

#: The environment variable that names another folder.
FOLDER = "UNPINNED_CACHE"

#: Bytes that all entries together may have.
LIMIT = 256 << 20

_MAGIC = b"unpinned native 1\n"
_SUFFIX = ".o"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size


def folder() -> Path:
    """Return the folder of the entries, which need not exist."""
    chosen = os.environ.get(FOLDER)
    if chosen:
        return Path(chosen)
    directory: str = importlib.import_module("platformdirs").user_cache_dir("unpinned")
    return Path(directory, "native")


def find(key_text: str, *, level: int = 2, debug: bool = False) -> bytes | None:
    """Return the entry of a key, or None if there is none or the cache cannot be used; see `cached`."""
    try:
        return _read(_path(key_text, level, debug))
    except (OSError, RuntimeError, ImportError):
        return None


def cached(
    key_text: str,
    make: Callable[[], bytes],
    *,
    level: int = 2,
    debug: bool = False,
    tell: Callable[[str], None] | None = None,
) -> bytes:
    """Return the entry of a key, or what `make` returns, which is then kept.

    The key text must determine what `make` returns on this machine: the program, or what it is generated from by
    unpinned. `tell` is called with a sentence if the cache could not be used; without it nothing is said.
    """
    found = find(key_text, level=level, debug=debug)
    if found is not None:
        return found
    code = make()
    try:
        path = _path(key_text, level, debug)
        _write(path, code)
        _tidy(path)
    except (OSError, RuntimeError, ImportError) as error:
        if tell is not None:
            tell(f"the compiled program is not kept: {error}")
    return code


def remembered(what: str, key: object, make: Callable[[], T]) -> T:
    """Return what `make` returns, or what it returned for the same key in an earlier process.

    Key and result are pickled: the key must pickle to the same bytes each time (so it may hold no sets), and with
    `what` it must determine the result. Entries are trusted as compiled code is: they are read back as objects.
    """
    text = f"{what} {hashlib.sha256(pickle.dumps(key)).hexdigest()}"
    found: T = pickle.loads(cached(text, lambda: pickle.dumps(make()), level=0))  # noqa: S301
    return found


def _path(key_text: str, level: int, debug: bool) -> Path:
    parts = (key_text, level, debug, identity(), _program())
    return folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}{_SUFFIX}"


@cache
def _program() -> str:
    """Return a digest of unpinned's whole text: what compiles, what writes programs, and the version, in one."""
    digest = hashlib.sha256()
    for home, folders, names in os.walk(Path(__file__).parent.parent):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                with open(os.path.join(home, name), "rb") as source:
                    digest.update(hashlib.sha256(source.read()).digest())
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    """Return what an entry holds, or None if there is none that is whole; note that it was used."""
    _refuse_foreign(path.parent)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    code = data[_HEAD:]
    if data[:_HEAD] != _MAGIC + hashlib.sha256(code).digest():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return code


def _refuse_foreign(home: Path) -> None:
    """Raise an OSError for a folder that belongs to somebody else, or that others may write to."""
    with contextlib.suppress(FileNotFoundError):
        status = home.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise PermissionError(f"{home} can be written by others")


def _write(path: Path, code: bytes) -> None:
    """Write an entry as a whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(path.parent)
    name = path.with_name(f"{os.urandom(16).hex()}.tmp")
    try:
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_MAGIC + hashlib.sha256(code).digest() + code)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _tidy(kept: Path) -> None:
    """Remove the entries that were not used for longest, until the rest fits; files may vanish meanwhile.

    What an interrupted writer left behind counts, and goes, like an entry. The one just written stays.
    """
    files = []
    total = 0
    for path in kept.parent.iterdir():
        if path.suffix in {_SUFFIX, ".tmp"}:
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
                total += status.st_size
    for _, size, path in sorted(files):
        if total <= LIMIT:
            return
        if path != kept:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
