# SPDX-License-Identifier: Apache-2.0
"""What a terminal sees, and what an interrupt leaves, in a terminal and without one."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import CliRunner, Result
from support.command import COMMAND, KVM2008, ROOT, begin, environment, heed_interrupts, unpinned

from unpinned import api, progress
from unpinned.check import ladder, reference
from unpinned.check.evidence import Sight
from unpinned.cli import main

#: Takes this engine many minutes.
LARGE = ("--vcpus", "3", "--pages", "2", "--time", "100")


def terminal(*args: str, columns: int = 100, **env: Any) -> pexpect.spawn:
    """Run `unpinned` in a terminal of so many columns."""
    return pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], *args], cwd=str(ROOT), env=environment(TERM="xterm-256color", **env),
        dimensions=(40, columns), encoding="utf-8", timeout=30, preexec_fn=heed_interrupts,
    )  # fmt: skip


def ended(child: pexpect.spawn) -> int:
    """Wait for the end and return the exit code."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus is None
    assert child.exitstatus is not None
    return int(child.exitstatus)


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after `text`: a small one, for what rich and the report print."""
    lines, row, col = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\r":
            col = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b"):
            count = int(re.sub(r"\D", "", part) or 1)
            if part.endswith("A"):
                row = max(0, row - count)
            elif part.endswith("K"):
                lines[row] = "" if "2" in part else lines[row][:col]
        else:
            line = lines[row].ljust(col)
            lines[row] = line[:col] + part + line[col + len(part) :]
            col += len(part)
    return [line.rstrip() for line in lines]


# ---- the progress line --------------------------------------------------------------------------------


def test_a_long_search_shows_a_line_that_is_gone_in_the_end() -> None:
    child = terminal("check", KVM2008, "--plan", "Kvm2008", *LARGE[:-1], "3")
    child.expect(r"Kvm2008: 3 vCPUs, 2 pages, zap: (\d+) states, (\d+)k/s, depth (\d+)")
    assert child.match is not None
    states, rate, depth = (int(child.match[i]) for i in (1, 2, 3))
    assert states > 1000
    assert rate > 0
    assert depth > 0
    seen = child.before + child.after
    code = ended(child)
    seen += child.before
    assert code == 3
    shown = screen(seen)
    assert not any("k/s" in line for line in shown)
    assert next(line for line in shown if line).startswith("UNDECIDED: unpinned: Kvm2008 is undecided")
    assert any("the time was up" in line for line in shown)
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize("columns", [80, 40])
def test_the_line_fits_the_terminal_and_says_when_the_reduced_search_begins(columns: int) -> None:
    child = terminal("check", KVM2008, "--plan", "Kvm2008", *LARGE, columns=columns)
    child.expect(r"reduced: \d+ states")
    seen = child.before + child.after
    child.sendintr()
    assert ended(child) == 3
    lines = re.findall(r"(Kvm2008: [^\r\n\x1b]*states[^\r\n\x1b]*)", seen + child.before)
    assert len(lines) >= 2
    assert all(len(line) <= columns - 2 for line in lines)
    assert not any("frontier 0" in line or "\u2026" in line for line in lines)


def sight(search: str = "", states: int = 1_234_567, expected: int | None = None) -> Sight:
    return Sight(states, 12, 345_678, expected, search)


@pytest.mark.parametrize(
    ("width", "search", "expected", "text"),
    [
        (98, "", None, "Kvm: 3 vCPUs, 2 pages, zap: 1234567 states, 800k/s, depth 12, frontier 345678"),
        (
            98,
            "",
            2_000_000,
            "Kvm: 3 vCPUs, 2 pages, zap: 1234567 states, 800k/s, depth 12, about 61 %, frontier 345678",
        ),
        (78, "", 2_000_000, "Kvm: 3 vCPUs, 2 pages, zap: 1234567 states, 800k/s, depth 12, about 61 %"),
        (98, "reduced", None, "Kvm: 3 vCPUs, 2 pages, zap: reduced: 1234567 states, 800k/s, depth 12, frontier 345678"),
        (78, "reduced", None, "Kvm: 3 vCPUs, 2 pages, zap: reduced: 1234567 states, 800k/s, depth 12"),
        (38, "", None, "Kvm: 1234567 states, 800k/s, depth 12"),
        (38, "reduced", None, "Kvm: reduced: 1234567 states, 800k/s"),
        (24, "reduced", None, "reduced: 1234567 states"),
        (16, "reduced", None, "1234567 states"),
    ],
)
def test_what_does_not_fit_is_left_out(width: int, search: str, expected: int | None, text: str) -> None:
    assert progress.line("Kvm", "3 vCPUs, 2 pages, zap", sight(search, expected=expected), 800_000, width) == text


def test_the_rate_is_that_of_the_search_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search begins at nothing, and a search that goes on does not count what it had."""
    now, rates = [100.0], list[int]()

    def line(*args: Any) -> str:
        rates.append(round(args[3]))
        return ""

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "line", line)
    with ExitStack() as stack:
        shown = progress._Line(stack)
        plan = api.plans(KVM2008, "Kvm2008")[0]
        shown.rung(plan, ladder.ladder(plan)[0])
        for at, one in [
            (100, sight(states=0)),
            (102, sight(states=8000)),
            (110, sight("reduced", states=100)),
            (111, sight("reduced", states=1100)),
            (120, sight(states=9000)),
            (122, sight(states=10_000)),
        ]:
            now[0] = float(at)
            shown.tick(one)
    assert rates == [4000, 0, 1000, 0, 500]


def test_a_short_search_shows_nothing_but_its_report() -> None:
    child = terminal("check", KVM2008, "--plan", "Kvm2008", "--ops", "munmap", "--color", "never")
    assert ended(child) == 0
    assert "\x1b" not in child.before
    assert child.before.startswith("OK: unpinned: Kvm2008 holds\r\n")


def test_without_a_terminal_there_is_no_line() -> None:
    child = begin("check", KVM2008, "--plan", "Kvm2008", *LARGE[:-1], "2.5")
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (3, "")
    assert out.startswith("UNDECIDED: ")


@pytest.mark.parametrize(
    ("options", "env", "coloured"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
    ],
)
def test_colour_in_a_terminal(options: tuple[str, ...], env: dict[str, Any], coloured: bool) -> None:
    child = terminal("check", KVM2008, "--plan", "Kvm2008", "--ops", "munmap", *options, **env)
    assert ended(child) == 0
    assert ("\x1b[" in child.before) == coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", child.before).startswith("OK: unpinned: Kvm2008 holds\r\n")


# ---- interrupts, by signal ----------------------------------------------------------------------------


def covered(out: str) -> None:
    """Expect a report that tells what was covered until the interrupt."""
    out = " ".join(out.split())
    assert "UNDECIDED: unpinned: Kvm2008 is undecided" in out
    assert "it was interrupted" in out
    assert "Observation Kvm2008 " not in out
    assert re.search(r"3 vCPUs, 2 pages, zap [1-9]\d* [1-9]\d* undecided", out), "states and depth so far"


def test_ctrl_c_in_a_terminal_prints_what_was_covered() -> None:
    child = terminal("check", KVM2008, "--plan", "Kvm2008", *LARGE)
    child.expect("k/s")
    began = time.monotonic()
    child.sendintr()
    assert ended(child) == 3
    assert time.monotonic() - began < 10
    assert "Traceback" not in child.before
    assert "Aborted" not in child.before
    shown = screen(child.before)
    covered("\n".join(shown))
    assert not any("k/s" in line for line in shown)


def test_sigint_without_a_terminal_prints_what_was_covered() -> None:
    child = begin("check", KVM2008, "--plan", "Kvm2008", *LARGE)
    time.sleep(2.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 3
    assert "Traceback" not in err + out
    covered(out)


def test_after_an_interrupt_the_plans_that_are_left_are_not_begun() -> None:
    """Over plans of one file and over files; a race that was found before counts."""
    child = begin("check", KVM2008, "examples/page_alone.py", "--time", "100")
    assert child.stdout is not None
    first = child.stdout.readline()
    assert first.startswith("BUG: unpinned: stale-use")
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1
    assert not err
    assert "UNDECIDED: unpinned: Kvm2008 is undecided" in out
    assert "UNDECIDED: unpinned: PageAlone is undecided" in out
    assert " ".join(out.split()).count("not begun") >= 2
    assert out.splitlines()[-4].startswith("Kvm2008Posted            race")
    assert out.splitlines()[-1].startswith("PageAlone                undecided")


@pytest.mark.parametrize("after", [0.3, 0.9, 1.6, 2.4])
def test_sigint_at_any_moment(after: float) -> None:
    """Of a search that takes minutes; whatever it does just then, it ends with 3 and no traceback.

    Before unpinned is loaded an interrupt is Python's, so as long as that takes here is waited first.
    """
    big = ("--vcpus", "3", "--pages", "2", "--ops", "zap")
    began = time.monotonic()
    unpinned("--version")
    after += time.monotonic() - began
    child = begin("check", KVM2008, "--plan", "Kvm2008", "--time", "100", *big)
    time.sleep(after)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "Traceback" not in err
    assert "interrupted" in out + err


# ---- interrupts, at a chosen moment -------------------------------------------------------------------


def interrupting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int, *args: str) -> Result:
    """Run the command in this process, with an interrupt in the given call of a function."""
    real: Callable[..., Any] = getattr(module, name)
    calls = 0

    def interrupted(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, interrupted)
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, list(args))
    assert calls >= call, f"{name} was called {calls} times"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Aborted" not in result.output
    return result


ONE = ("check", KVM2008, "--plan", "Kvm2008", "--required", "--time", "60")


@pytest.mark.parametrize(
    ("module", "name"), [(api, "read_plans"), (ladder, "build"), (reference, "compile_system"), (ladder, "judge")]
)
def test_an_interrupt_while_reading_making_steps_and_judging(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    result = interrupting(monkeypatch, module, name, 1, *ONE)
    assert result.exit_code == 3
    assert "interrupted" in result.output


def test_an_interrupt_while_judging_keeps_what_was_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The states of the rung are known, and so are the rungs before it."""
    result = interrupting(monkeypatch, ladder, "judge", 2, *ONE)
    assert result.exit_code == 3
    rungs = re.findall(r"^  1 vCPU, 1 page, \w+ +(\d+) +(\d+)  (\w+)$", result.stdout, re.MULTILINE)
    assert [verdict for _, _, verdict in rungs] == ["holds", "undecided"]
    assert all(int(states) > 100 for states, _, _ in rungs)


def test_an_interrupt_while_a_waived_rule_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was found of the promised rules is printed, and the interrupt too."""
    path = tmp_path / "plan.py"
    path.write_text(
        "from unpinned.drivers.kvm2008 import Kvm2008\n\n\n"
        'class Waiving(Kvm2008):\n    waive = {"leak": "a test", "progress": "a test"}\n'
    )
    result = interrupting(monkeypatch, reference, "explore", 2, "check", str(path), "--ops", "munmap")
    assert result.exit_code in (0, 3)
    assert "unpinned: Waiving " in result.stdout
    assert re.search(r"1 vCPU, 1 page, munmap +\d+ +\d+  holds", result.stdout)
    assert "interrupted" in result.output


def test_an_interrupt_after_a_race_keeps_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    result = interrupting(monkeypatch, ladder, "build", 2, "check", KVM2008, "--required")
    assert result.exit_code == 1
    assert result.stdout.startswith("BUG: unpinned: stale-use")
    assert result.stdout.count("is undecided") == 2
    assert "not begun" in result.stdout


def test_an_interrupt_leaves_valid_data(monkeypatch: pytest.MonkeyPatch) -> None:
    result = interrupting(monkeypatch, ladder, "build", 2, "check", KVM2008, "--required", "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [plan["verdict"] for plan in data["plans"]] == ["race", "undecided", "undecided"]


@pytest.mark.parametrize(
    "args", [("replay", "Kvm2008:1.1.zap:leak:0:0x1", KVM2008), ("export", "--promela", KVM2008, "--plan", "Kvm2008")]
)
def test_an_interrupt_of_the_other_commands(monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    result = interrupting(monkeypatch, api, "read_plans", 1, *args)
    assert result.exit_code == 3
    assert not result.stdout
