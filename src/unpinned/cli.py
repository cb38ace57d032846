# SPDX-License-Identifier: Apache-2.0
"""Run the command `unpinned`: the edge where options are read, results printed and errors caught."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unpinned import api
from unpinned.check.ladder import DEFAULT_TIME, ladder
from unpinned.check.verdict import EXIT_ERROR, EXIT_RACE, EXIT_UNDECIDED, PlanResult, exit_code
from unpinned.errors import UnpinnedError, UsageError
from unpinned.gallery import entry as gallery_entry
from unpinned.gallery import judge as gallery_judge
from unpinned.gallery import text as gallery_text
from unpinned.gallery.data import gallery_data
from unpinned.mm.scenario import Scenario
from unpinned.plan.reading.classes import PlanClass
from unpinned.plan.vocabulary import OPERATIONS
from unpinned.progress import following

#: A search with less would end before it has begun.
_LEAST_MEMORY = 64 << 20
#: The engine takes a seed as a word of 64 bits.
_MOST_SEED = (1 << 64) - 1
_SIZE = re.compile(r"(.*?)(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE | re.DOTALL)
_SIZES = "Write 500M, 4G, 1T, or a number of bytes; 4GB and 4GiB are 4G."

_WORDS = {"BUG:": "red", "OK:": "green", "UNDECIDED:": "yellow", "NOTE:": "cyan"}


def _complain(error: UnpinnedError) -> None:
    """Print an error of the user; with --debug, its traceback."""
    if click.get_current_context().find_root().params.get("debug"):
        traceback.print_exception(error)
    click.echo(f"unpinned: {error}", err=True)


class _Group(click.Group):
    """The command: errors of the user end it with one message and exit 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnpinnedError as error:
            _complain(error)
            sys.exit(EXIT_ERROR)
        except OSError as error:
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            click.echo(f"unpinned: {error.strerror or error}: the report could not be written", err=True)
            sys.exit(EXIT_ERROR)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end with exit 1, which means a race
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            click.echo(
                f"unpinned: internal error, no verdict: {type(error).__name__}: {error}\n"
                "  This is a bug of unpinned, not of the plan; `unpinned --debug ...` shows where.",
                err=True,
            )
            sys.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            click.echo("unpinned: interrupted", err=True)
            sys.exit(EXIT_UNDECIDED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unpinned")
@click.option("--debug", is_flag=True, help="Show a traceback where something goes wrong.")
def main(debug: bool) -> None:
    """Check locking plans for secondary MMUs against every interleaving."""


def _scenario_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that pick one scenario."""
    for option in (
        click.option(
            "--ops",
            metavar="OP,OP",
            help=f"The mm operations beside it: {', '.join(OPERATIONS)} (zap@0: on page 0 only); or none.",
        ),
        click.option("--pages", type=int, metavar="N", help="So many pages (default 1)."),
        click.option("--vcpus", type=int, metavar="N", help="So many vCPUs (default 1)."),
        click.option("--plan", metavar="NAME", help="One class of a file with several."),
    ):
        command = option(command)
    return command


_color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour the first word of a report; auto: on a terminal.",
)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The scenario that the options pick; what they leave out is that of the first rung of a plan's ladder."""

    vcpus: int | None
    pages: int | None
    ops: str | None

    def __post_init__(self) -> None:
        """Refuse at once what no plan could have."""
        if self.ops is not None and not self.ops.strip():
            raise UsageError("--ops names no operation", hint="Write --ops none for a scenario without one.")
        Scenario(self._or(self.vcpus, 1), self._or(self.pages, 1), self._ops())

    def of(self, plan: PlanClass) -> Scenario | None:
        """Return the scenario for a plan, or None for its ladder."""
        if (self.vcpus, self.pages, self.ops) == (None, None, None):
            return None
        first = ladder(plan)[0].scenario
        ops = first.ops if self.ops is None else self._ops()
        return Scenario(self._or(self.vcpus, first.vcpus), self._or(self.pages, first.pages), ops)

    def _ops(self) -> tuple[str, ...]:
        words = "" if self.ops in (None, "none") else str(self.ops)
        return tuple(word.strip() for word in words.replace("+", ",").split(",") if words)

    @staticmethod
    def _or(value: int | None, default: int) -> int:
        return default if value is None else value


@main.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@_scenario_options
@click.option("--time", "seconds", type=float, default=DEFAULT_TIME, show_default=True, help="Seconds for each plan.")
@click.option("--required", is_flag=True, help="Search only the required part of the ladder.")
@click.option(
    "--engine",
    type=click.Choice(api.ENGINES),
    default=api.ENGINES[0],
    show_default=True,
    help="native compiles what is large; reference is plain Python.",
)
@click.option("--cores", type=click.IntRange(1, 64), help="Search on so many cores (default: all).")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Take at most so much, as 500M or 4G, beside up to 250 MiB for Python and the compiler "
    "(default: half of what is free).",
)
@click.option(
    "--reduce",
    "reductions",
    type=click.Choice(["all", "none"]),
    default="all",
    show_default=True,
    help="Search what is long under reductions too; none: never.",
)
@click.option("--seed", type=click.IntRange(0, _MOST_SEED), default=0, help="Other hashes, for a second opinion.")
@click.option("--checkpoint", metavar="DIR", help="Write long searches down there, and go on with --resume.")
@click.option("--resume", is_flag=True, help="Go on from what --checkpoint DIR has; the rest begins anew.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text (docs/json.md).")
@click.option("-v", "--verbose", is_flag=True, help="Show every step of a race, with its source line.")
@_color_option
def check(
    files: tuple[str, ...],
    vcpus: int | None,
    pages: int | None,
    ops: str | None,
    plan: str | None,
    seconds: float,
    required: bool,
    engine: str,
    cores: int | None,
    memory: str | None,
    reductions: str,
    seed: int,
    checkpoint: str | None,
    resume: bool,
    as_json: bool,
    verbose: bool,
    color: str,
) -> None:
    """Look for races in the plans of FILE, from small scenarios to large ones.

    Exit status: 0 all hold, 1 a race, 2 a plan or usage error, 3 undecided.
    """
    _has_time(seconds)
    size, folder = _size(memory), _folder(checkpoint, resume, engine)
    options = api.Options(engine, cores, size, reductions == "all", seed, folder, resume, _note)
    if options.is_slow:
        options.warn_of_slowness()
    choice = _Choice(vcpus, pages, ops)
    results: list[PlanResult] = []
    errors: list[UnpinnedError] = []
    with following() as watch:
        for one in _plans(files, plan, errors):
            if results and results[-1].interrupted:
                results.append(api.not_begun(one))
            else:
                try:
                    scenario = choice.of(one)
                    if anew := api.begins_anew(one, options, scenario=scenario, required_only=required):
                        _note(anew)
                    results.append(
                        api.check_plan(
                            one,
                            seconds=seconds,
                            scenario=scenario,
                            required_only=required,
                            options=options,
                            watch=watch,
                        )
                    )
                except UnpinnedError as error:
                    _complain(error)
                    errors.append(error)
                    continue
            if not as_json:
                _show(("\n" if len(results) > 1 else "") + api.report(results[-1], verbose), color)
    if as_json:
        _say(json.dumps(api.as_data(results, errors, "reference" if options.is_slow else engine), indent=2) + "\n")
    elif len(results) > 1:
        _say("\n" + "".join(f"{api.summary_line(result)}\n" for result in results))
    sys.exit(exit_code(results, bool(errors)))


def _size(text: str | None) -> int | None:
    """Read a size: 500M, 4GB, 1TiB, or a number of bytes; a unit is a power of 1024 either way.

    :raises UsageError: if it is none, or less than a search needs.
    """
    if text is None:
        return None
    units = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    try:
        parts = _SIZE.fullmatch(text)
        assert parts is not None, "anything may stand before the unit"
        size = int(float(parts[1]) * units[parts[2] and parts[2].upper()])
    except (ValueError, OverflowError):
        raise UsageError(f"--memory {text} is no size", hint=_SIZES) from None
    if size > 1 << 62:
        raise UsageError(f"--memory {text} is more than any machine has", hint=_SIZES)
    if size < _LEAST_MEMORY:
        raise UsageError(f"--memory {text} is too little", hint=f"Give at least {_LEAST_MEMORY >> 20}M.")
    return size


def _folder(text: str | None, resume: bool, engine: str) -> Path | None:
    """Return the folder for checkpoints, which is made at once: a search may be killed before it writes there.

    :raises UsageError: if it cannot be used, or holds nothing that could be resumed.
    """
    if text is None:
        if resume:
            raise UsageError("--resume does not say from where", hint="Write --checkpoint DIR --resume.")
        return None
    if not text:
        raise UsageError("--checkpoint '' names no folder", hint="Write --checkpoint DIR.")
    if engine == "reference":
        raise UsageError(
            "--engine reference takes no --checkpoint",
            hint="Only the compiled engine writes searches down: leave out one of the two.",
        )
    folder = Path(text)
    try:
        if folder.exists() and not folder.is_dir():
            hint = "Name a folder, or one that is to be made."
            raise UsageError(f"--checkpoint {text} is no folder", hint=hint)
        if resume and not folder.exists():
            hint = "Name the folder that a search was told to write to, or leave out --resume."
            raise UsageError(f"--checkpoint {text} does not exist: there is nothing to resume", hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--checkpoint {text} cannot be used: {error.strerror}", hint="Name another folder."
        ) from error
    return folder


def _note(text: str) -> None:
    """Print what the user should know at once, and what no report has."""
    click.echo(f"unpinned: {text}", err=True)


def _plans(files: Sequence[str], name: str | None, errors: list[UnpinnedError]) -> Iterator[PlanClass]:
    """Yield the plans of all files; a file that cannot be read is complained of, and the next one follows.

    With a name, the files that have no plan of that name are passed over, unless none has one.
    """
    without: list[UsageError] = []
    found = False
    for file in files:
        try:
            chosen = api.plans(file, name)
        except UsageError as error:
            without.append(error)
            continue
        except UnpinnedError as error:
            _complain(error)
            errors.append(error)
            continue
        found = True
        yield from chosen
    if not found:
        for missing in without:
            _complain(missing)
            errors.append(missing)


@main.command()
@click.argument("token")
@click.argument("file")
@click.option("-v", "--verbose", is_flag=True, help="Show every step, with its source line.")
@_color_option
def replay(token: str, file: str, verbose: bool, color: str) -> None:
    """Take the steps of a printed race again: TOKEN on the plan of FILE.

    Exit status: 1 if the rule is broken again, 2 if the token does not fit the plan.
    """
    _show(api.replay_block(api.replay(token, file), verbose), color)
    sys.exit(EXIT_RACE)


@main.command()
@click.argument("file")
@click.option("--promela", "promela", is_flag=True, required=True, help="Write a model for SPIN.")
@_scenario_options
@click.option("-o", "output", type=click.Path(dir_okay=False), help="Write to this file, not to stdout.")
def export(
    file: str,
    promela: bool,
    vcpus: int | None,
    pages: int | None,
    ops: str | None,
    plan: str | None,
    output: str | None,
) -> None:
    """Write the plan of FILE beside a scenario as a model for another checker.

    Exit status: 0, or 2 for a plan or usage error.
    """
    del promela  # there is one format; the option names it
    choice = _Choice(vcpus, pages, ops)
    text = api.export_promela(file, plan, choice.of(api.one_plan(file, plan)))
    if output is None:
        _say(text)
        return
    try:
        _write(output, text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", hint="Name another file with -o.") from error


@main.command()
@click.argument("name", required=False)
@click.option("--check", "checking", is_flag=True, help="Check both plans of each entry, or of NAME.")
@click.option(
    "--time",
    "seconds",
    type=float,
    default=gallery_judge.DEFAULT_TIME,
    show_default=True,
    help="Seconds for each plan.",
)
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text (docs/gallery.md).")
@click.option("-v", "--verbose", is_flag=True, help="Show every step of the race, with its source line.")
@_color_option
def gallery(name: str | None, checking: bool, seconds: float, as_json: bool, verbose: bool, color: str) -> None:
    """List real bugs, or show one: the plan, its race, and the fix.

    Exit status: 0, or, if something was checked: 0 all as expected, 1 not so, 3 undecided; 2 a usage error.
    """
    _has_time(seconds)
    found = gallery_entry.entries()
    wanted = found if name is None else (gallery_entry.named(name, found),)
    if name is None and not checking:
        _say(json.dumps(gallery_data(found), indent=2) + "\n" if as_json else gallery_text.listing(found))
        return
    options = api.Options(warn=_note)
    if options.is_slow:
        options.warn_of_slowness()
    judged: list[gallery_judge.Judged] = []
    with following() as watch:
        for one in wanted:
            if checking:
                judged.append(gallery_judge.judge(one, seconds, options, watch))
            else:
                half = gallery_judge.judge_broken(one, seconds, options, watch)
                judged.append(gallery_judge.Judged(one, half, None))
            if checking and not as_json:
                _say(gallery_text.judged_block(judged[-1]))
            if judged[-1].interrupted:
                break
    if as_json:
        _say(json.dumps(gallery_data(wanted, judged), indent=2) + "\n")
    elif checking:
        _say(gallery_text.judged_end(judged, len(wanted)))
    else:
        _show(gallery_text.story(found, judged[0], verbose), color)
    sys.exit(gallery_judge.exit_code(judged, len(wanted)))


def _has_time(seconds: float) -> None:
    """Refuse a time in which nothing can be searched.

    :raises UsageError: for that.
    """
    if not seconds > 0:
        raise UsageError(f"--time {seconds:g} leaves no time", hint="Give a number of seconds above 0.")


def _write(path: str, text: str) -> None:
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


def _show(text: str, color: str) -> None:
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
    _say(text, coloured)


def _say(text: str, coloured: bool = False) -> None:
    """Print on stdout; a reader that has gone away changes neither the search nor the exit status."""
    try:
        click.echo(text, nl=False, color=coloured)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
