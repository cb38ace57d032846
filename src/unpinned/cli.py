# SPDX-License-Identifier: Apache-2.0
"""Run the command `unpinned`: the edge where options are read, results printed and errors caught."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import click

from unpinned import api
from unpinned.check.verdict import EXIT_ERROR, EXIT_RACE, EXIT_UNDECIDED, PlanResult, exit_code
from unpinned.errors import UnpinnedError, UsageError
from unpinned.gallery import entry as gallery_entry
from unpinned.gallery import judge as gallery_judge
from unpinned.gallery import text as gallery_text
from unpinned.gallery.data import gallery_data
from unpinned.lint.rules import Linted
from unpinned.options import (
    Choice,
    color_option,
    json_option,
    limits,
    plan_option,
    read_folder,
    read_size,
    scenario_options,
    some_time,
    time_option,
)
from unpinned.output import complain, deliver, note, rewrite, say, show
from unpinned.plan.reading.classes import PlanClass
from unpinned.progress import following

#: The engine takes a seed as a word of 64 bits.
_MOST_SEED = (1 << 64) - 1


class _Group(click.Group):
    """The command: errors of the user end it with one message and exit 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnpinnedError as error:
            complain(error)
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


@main.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@scenario_options
@time_option(api.DEFAULT_TIME, "each plan")
@click.option("--required", is_flag=True, help="Search only the required part of the ladder.")
@click.option(
    "--engine",
    type=click.Choice(api.ENGINES),
    default=api.ENGINES[0],
    show_default=True,
    help="native compiles what is large; reference is plain Python.",
)
@limits
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
@json_option("json.md")
@click.option("-v", "--verbose", is_flag=True, help="Show every step of a race, with its source line.")
@color_option
def check(
    files: tuple[str, ...],
    vcpus: int | None,
    pages: int | None,
    ops: str | None,
    cpus: int | None,
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
    some_time(seconds)
    size, folder = read_size(memory), read_folder(checkpoint, resume, engine)
    options = api.Options(engine, cores, size, reductions == "all", seed, folder, resume, note)
    if options.is_slow:
        options.warn_of_slowness()
    choice = Choice(vcpus, pages, ops, cpus)
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
                        note(anew)
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
                    complain(error)
                    errors.append(error)
                    continue
            if not as_json:
                show(("\n" if len(results) > 1 else "") + api.report(results[-1], verbose), color)
    if as_json:
        say(json.dumps(api.as_data(results, errors, _engine(options)), indent=2) + "\n")
    elif len(results) > 1:
        say("\n" + "".join(f"{api.summary_line(result)}\n" for result in results))
    sys.exit(exit_code(results, bool(errors)))


def _searching(cores: int | None, memory: str | None) -> api.Options:
    """Return how to search, with what a search may take; say if it will be slow."""
    options = api.Options(cores=cores, memory=read_size(memory), warn=note)
    if options.is_slow:
        options.warn_of_slowness()
    return options


def _engine(options: api.Options) -> str:
    """Return the name of the engine that answers."""
    return "reference" if options.is_slow else options.engine


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
            complain(error)
            errors.append(error)
            continue
        found = True
        yield from chosen
    if not found:
        for missing in without:
            complain(missing)
            errors.append(missing)


@main.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@plan_option
@json_option("lints.md")
@color_option
def lint(files: tuple[str, ...], plan: str | None, as_json: bool, color: str) -> None:
    """Say what in the plans of FILE looks like a known mistake; nothing is searched.

    Exit status: 0 no lints, 1 some that are not waived, 2 a plan or usage error.
    """
    linted: list[Linted] = []
    errors: list[UnpinnedError] = []
    for one in _plans(files, plan, errors):
        try:
            linted.append(api.lint(one))
        except UnpinnedError as error:
            complain(error)
            errors.append(error)
            continue
        if not as_json:
            show(("\n" if len(linted) > 1 else "") + api.lint_report(linted[-1]), color)
    if as_json:
        say(json.dumps(api.lints_as_data(linted, errors), indent=2) + "\n")
    sys.exit(api.lint_exit_code(linted, bool(errors)))


@main.command()
@click.argument("file")
@plan_option
@time_option(api.WHY_TIME, "all of it")
@limits
@click.option("--show", "number", type=int, metavar="NUMBER", help="Show the plan without this element, and its race.")
@json_option("why.md")
@click.option("-v", "--verbose", is_flag=True, help="With --show: every step of the race, with its source line.")
@color_option
def why(
    file: str,
    plan: str | None,
    seconds: float,
    cores: int | None,
    memory: str | None,
    number: int | None,
    as_json: bool,
    verbose: bool,
    color: str,
) -> None:
    """Say which lines the plan of FILE needs, and which not.

    Each lock, counter bump, check and flush is left out or put another way, one at a time, and the plan is checked
    without it.

    Exit status: 0 if each was judged, 1 if the plan races, 2 for a plan or usage error, 3 undecided.
    """
    some_time(seconds)
    options = _searching(cores, memory)
    chosen = api.one_plan(file, plan)
    if number is not None:
        if as_json:
            raise UsageError("--show gives no data", hint="Leave out one of the two: --json has every race.")
        with following() as watch:
            judged = api.without(chosen, number, seconds=seconds, options=options, watch=watch)
        show(api.without_report(judged, verbose), color)
        sys.exit(exit_code([judged.way.result]) if judged.way else EXIT_UNDECIDED)
    with following() as watch:
        result = api.why(chosen, seconds=seconds, options=options, watch=watch)
    if as_json:
        say(json.dumps(api.why_as_data(result, _engine(options)), indent=2) + "\n")
    else:
        show(api.why_report(result), color)
    sys.exit(result.exit_code)


@main.command()
@click.argument("file")
@plan_option
@time_option(api.REPAIR_TIME, "all of it")
@limits
@click.option("--write", is_flag=True, help="Write the first repair into FILE, if that is still what was read.")
@json_option("why.md")
@color_option
def repair(
    file: str,
    plan: str | None,
    seconds: float,
    cores: int | None,
    memory: str | None,
    write: bool,
    as_json: bool,
    color: str,
) -> None:
    """Look for the smallest edits that mend the plan of FILE.

    Bumps, checks, locks and flushes are added or moved, at most two edits in all, and shown as diffs. Nothing is
    written without --write.

    Exit status: 0 if it holds or a repair was found, 1 if there is none, 2 for a plan or usage error, 3 undecided.
    """
    some_time(seconds)
    options = _searching(cores, memory)
    chosen = api.one_plan(file, plan)
    with following() as watch:
        result = api.repair(chosen, seconds=seconds, options=options, watch=watch)
    if as_json:
        say(json.dumps(api.repair_as_data(result, _engine(options)), indent=2) + "\n")
    else:
        show(api.repair_report(result), color)
    if write and result.repairs and not result.interrupted:
        text = api.repaired_text(result)
        try:
            rewrite(file, text)
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}", hint="See to its permissions.") from error
        note(f"{file}: written, with the first repair")
    sys.exit(result.exit_code)


@main.command()
@click.argument("token")
@click.argument("file")
@click.option("-v", "--verbose", is_flag=True, help="Show every step, with its source line.")
@color_option
def replay(token: str, file: str, verbose: bool, color: str) -> None:
    """Take the steps of a printed race again: TOKEN on the plan of FILE.

    Exit status: 1 if the rule is broken again, 2 if the token does not fit the plan.
    """
    show(api.replay_block(api.replay(token, file), verbose), color)
    sys.exit(EXIT_RACE)


@main.command()
@click.argument("file")
@click.option("--promela", "promela", is_flag=True, required=True, help="Write a model for SPIN.")
@scenario_options
@click.option("-o", "output", type=click.Path(dir_okay=False), help="Write to this file, not to stdout.")
def export(
    file: str,
    promela: bool,
    vcpus: int | None,
    pages: int | None,
    ops: str | None,
    cpus: int | None,
    plan: str | None,
    output: str | None,
) -> None:
    """Write the plan of FILE beside a scenario as a model for another checker.

    Exit status: 0, or 2 for a plan or usage error.
    """
    del promela  # there is one format; the option names it
    choice = Choice(vcpus, pages, ops, cpus)
    text = api.export_promela(file, plan, choice.of(api.one_plan(file, plan)))
    deliver(text, output)


@main.command()
@click.argument("name", required=False)
@click.option("--family", metavar="LETTER", help=f"Begin from this family (default: {api.DEFAULT_FAMILY}).")
@click.option("--list", "listing", is_flag=True, help="Show the families, A to F.")
@click.option("--from", "source", metavar="FILE.c", help="Begin from the callbacks and the fault of a kernel file.")
@click.option("--fault", metavar="FUNCTION", help="With --from: the fault function, where the guess is wrong.")
@click.option("--own", metavar="FUNCTION", multiple=True, help="With --from: an operation of the client's own.")
@click.option("-o", "output", type=click.Path(dir_okay=False), help="Write to this file, not to NAME.py; - is stdout.")
def new(
    name: str | None,
    family: str | None,
    listing: bool,
    source: str | None,
    fault: str | None,
    own: tuple[str, ...],
    output: str | None,
) -> None:
    """Write a plan to begin from to NAME.py, with comments. What is there already is never overwritten.

    It is the plan of a family, or, with --from, what was understood of a file of C, with GAP at all else.

    Exit status: 0, or 2 for a usage error.
    """
    if listing:
        say(api.families())
        return
    if name is None:
        raise UsageError("the plan has no name", hint="Write `unpinned new NAME`; `--list` shows the families.")
    if source is None and (own or fault is not None):
        raise UsageError(
            f"{'--own' if own else '--fault'} names a function of no file", hint="Name the file with --from FILE.c."
        )
    if source is not None and family is not None:
        raise UsageError("--from and --family both say what to begin from", hint="Leave out one of the two.")
    begun = None if source is None else api.new_plan_from(name, source, fault, own)
    text = begun.text if begun else api.new_plan(name, family or api.DEFAULT_FAMILY)
    path = f"{name}.py" if output is None else output
    if path != "-" and os.path.isfile(path):
        raise UsageError(f"{path} is there already: nothing was written", hint="Name another file with -o.")
    deliver(text, None if path == "-" else path)
    for remark in begun.remarks if begun else ():
        note(remark)
    if path != "-":
        note(f"{path}: written; `unpinned check {path}` checks it")


@main.command()
@click.argument("name", required=False)
@click.option("--check", "checking", is_flag=True, help="Check both plans of each entry, or of NAME.")
@time_option(gallery_judge.DEFAULT_TIME, "each plan")
@json_option("gallery.md")
@click.option("-v", "--verbose", is_flag=True, help="Show every step of the race, with its source line.")
@color_option
def gallery(name: str | None, checking: bool, seconds: float, as_json: bool, verbose: bool, color: str) -> None:
    """List real bugs, or show one: the plan, its race, and the fix.

    Exit status: 0, or, if something was checked: 0 all as expected, 1 not so, 3 undecided; 2 a usage error.
    """
    some_time(seconds)
    found = gallery_entry.entries()
    wanted = found if name is None else (gallery_entry.named(name, found),)
    if name is None and not checking:
        say(json.dumps(gallery_data(found), indent=2) + "\n" if as_json else gallery_text.listing(found))
        return
    options = api.Options(warn=note)
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
                say(gallery_text.judged_block(judged[-1]))
            if judged[-1].interrupted:
                break
    if as_json:
        say(json.dumps(gallery_data(wanted, judged), indent=2) + "\n")
    elif checking:
        say(gallery_text.judged_end(judged, len(wanted)))
    else:
        show(gallery_text.story(found, judged[0], verbose), color)
    sys.exit(gallery_judge.exit_code(judged, len(wanted)))
