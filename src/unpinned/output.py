# SPDX-License-Identifier: Apache-2.0
"""Print what a command has found, and write files: whole or not at all."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import tempfile
import traceback

import click

from unpinned.errors import UnpinnedError, UsageError

_WORDS = {
    "BUG:": "red",
    "OK:": "green",
    "UNDECIDED:": "yellow",
    "NOTE:": "cyan",
    "LINT:": "yellow",
    "WHY:": "green",
    "REPAIR:": "green",
}


def complain(error: UnpinnedError) -> None:
    """Print an error of the user; with --debug, its traceback."""
    if click.get_current_context().find_root().params.get("debug"):
        traceback.print_exception(error)
    click.echo(f"unpinned: {error}", err=True)


def note(text: str) -> None:
    """Print what the user should know at once, and what no report has."""
    click.echo(f"unpinned: {text}", err=True)


def rewrite(path: str, text: str) -> None:
    """Write the text of a plan file, with a byte order mark if there was one."""
    with open(path, "rb") as file:
        mark = "\ufeff" if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else ""
    write(path, mark + text)


def deliver(text: str, output: str | None) -> None:
    """Write a text to a file, or to stdout if none is named."""
    if output is None:
        say(text)
        return
    try:
        write(output, text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", hint="Name another file with -o.") from error


def write(path: str, text: str) -> None:
    """Write a file whole or not at all: beside it first, then in its place; a device is written as it is."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    handle, beside = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".unpinned-")
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        if os.path.exists(target):
            shutil.copymode(target, beside)
        else:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def show(text: str, color: str) -> None:
    """Print a report; colour marks the first word of a block and carries no meaning alone."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    coloured = color == "always" or (color == "auto" and sys.stdout.isatty() and not plain)
    if coloured:
        lines = text.split("\n")
        for i, line in enumerate(lines):
            word = line.split(" ", 1)[0]
            if word in _WORDS:
                lines[i] = click.style(word, fg=_WORDS[word], bold=True) + line[len(word) :]
        text = "\n".join(lines)
    say(text, coloured)


def say(text: str, coloured: bool = False) -> None:
    """Print on stdout; a reader that has gone away changes neither the search nor the exit status."""
    try:
        click.echo(text, nl=False, color=coloured)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
