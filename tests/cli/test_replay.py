# SPDX-License-Identifier: Apache-2.0
"""`unpinned replay`: a printed token is enough, wherever the plan lies; a token that does not fit is refused."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from support.command import COMMAND, KVM2008, ROOT, environment, printed_table, rows, token, unpinned

from unpinned.api import check, plans, replay
from unpinned.check.verdict import PlanResult
from unpinned.errors import UnpinnedError
from unpinned.mm.scenario import Scenario
from unpinned.timeline import Timeline, tell

GOLDEN = ROOT / "tests" / "report" / "golden"
RACES = {path.stem: text for path in sorted(GOLDEN.glob("*.txt")) if (text := path.read_text()).startswith("BUG: ")}
SHIPPED = [KVM2008, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").glob("*.py")))]
FILES = {plan.name: file for file in SHIPPED for plan in plans(ROOT / file)}

#: A race of each kind: broken in a step, a CPU that waits, a cycle.
KINDS = [
    (ROOT / KVM2008, "Kvm2008Posted"),
    (ROOT / "tests/plans/deadlock.py", "AbBa"),
    (ROOT / "tests/plans/deadlock.py", "WriteTwice"),
    (ROOT / "tests/plans/deadlock.py", "TakenTwice"),
    (ROOT / "tests/plans/progress.py", "EndNotCounted"),
    (ROOT / "tests/plans/leak.py", None),
    (ROOT / "tests/plans/sleep_in_atomic.py", "GupUnderSpinLock"),
]


@cache
def raced(path: Path, name: str | None) -> Timeline:
    """Return a race of a plan, by default of the first one of the file that has one."""
    for plan in plans(path, name):
        result: PlanResult
        (result,) = check(path, plan.name, scenario=Scenario(1, 1, ("zap",)), seconds=60)
        if result.race is not None:
            return tell(plan, result.rungs[-1].rung.scenario, result.race)
    raise AssertionError(f"{path} has no race")


def table(report: str) -> str:
    """Return what a report tells of the race, from the first row to what is broken."""
    return report[report.index("    CPU0") : report.index("\n\n", report.index(" ==> "))]


def test_there_is_a_golden_race_for_each_that_was_found() -> None:
    assert len(RACES) == 6


@pytest.mark.parametrize("name", RACES)
def test_a_golden_token_replays_with_the_same_rows(name: str) -> None:
    run = unpinned("replay", token(RACES[name]), FILES[name])
    assert run.code == 1
    assert run.quiet
    assert run.out.splitlines()[0] == RACES[name].splitlines()[0]
    assert table(run.out) == table(RACES[name])
    assert token(run.out) == token(RACES[name])
    assert f"Replayed {name}: {run.out.split()[2]} is broken again\n" in run.out


@pytest.mark.parametrize(("path", "name"), KINDS)
def test_every_kind_of_race_replays(path: Path, name: str | None) -> None:
    found = raced(path, name)
    again = replay(found.token, path)
    assert again.rows == found.rows
    assert (again.rule, again.message, again.conflict, again.cycle) == (
        found.rule, found.message, found.conflict, found.cycle,
    )  # fmt: skip
    assert again.where == found.where
    assert again.race.also == found.race.also
    assert again.race.switches == found.race.switches
    assert again.token == found.token


def test_a_race_on_a_rule_that_is_not_promised_replays(tmp_path: Path) -> None:
    path = tmp_path / "plan.py"
    text = (ROOT / "tests/plans/progress.py").read_text()
    doc = '    """end leaves the count as it is: every later fault is replayed."""\n'
    assert doc in text
    path.write_text(text.replace(doc, '    waive = {"progress": "a test"}\n'))
    run = unpinned("check", path, "--plan", "EndNotCounted", "--ops", "zap")
    assert run.code == 0
    again = unpinned("replay", token(run.out), path)
    assert again.code == 1
    assert rows(again.out) == rows(run.out)


def test_verbose_has_every_step() -> None:
    name = "Kvm2008Posted"
    run = unpinned("replay", token(RACES[name]), KVM2008, "-v")
    assert run.code == 1
    last = rows(RACES[name])[-1].number
    numbers = [int(line[:3]) for line in printed_table(run.out) if line[:3].strip().isdigit()]
    assert numbers == list(range(1, last + 1))
    assert sum(bool(re.match(r"      \w+\.py:\d+: ", line)) for line in printed_table(run.out)) == last


# ---- the plan elsewhere, and otherwise ---------------------------------------------------------------


def test_in_another_folder_with_comments_and_blank_lines(tmp_path: Path) -> None:
    text = (ROOT / KVM2008).read_text()
    text = text.replace(
        "        seq = self.seq\n", "\n        # first the snapshot\n\n        seq = self.seq  # here\n"
    )
    folder = tmp_path / "else where"
    folder.mkdir()
    (folder / "copy.py").write_text("# a copy\n\n\n" + text)
    run = unpinned("replay", token(RACES["Kvm2008Posted"]), "else where/copy.py", cwd=tmp_path)
    assert run.code == 1
    assert rows(run.out) == rows(RACES["Kvm2008Posted"])


def test_the_printed_command_works_in_a_shell(tmp_path: Path) -> None:
    """Whatever the file is called, what the report says to type can be typed."""
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    (folder / "my plan.py").write_text((ROOT / KVM2008).read_text())
    path = "it's a $folder/my plan.py"
    for more in ([], ["--vcpus", "2"]):
        run = unpinned("check", path, "--plan", "Kvm2008Posted", *more, "--time", "60", cwd=tmp_path)
        command = re.search(r"^ replay: (unpinned (?:.*\\\n)*.*)$", run.out, re.MULTILINE)
        assert command
        shell = command[1].replace("unpinned", " ".join(COMMAND), 1)
        done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, "")
        assert "is broken again" in done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("            self.range_count += 1\n", "            self.range_count += 1\n            self.seq += 1\n"),
        ("        with self.mmu_lock:\n            self.range_count -= 1", "        self.range_count -= 1"),
        ("self.seq != seq or self.range_count", "self.seq != seq"),
        ("    range_count = Counter()", "    range_count = Counter(bits=3)"),
        ("        self.put_page(page)  # nothing stays pinned\n", ""),
    ],
)
def test_a_plan_whose_steps_changed_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = (ROOT / KVM2008).read_text()
    assert old in text
    (tmp_path / "plan.py").write_text(text.replace(old, new))
    run = unpinned("replay", token(RACES["Kvm2008Posted"]), tmp_path / "plan.py")
    assert (run.code, run.out) == (2, "")
    assert "is not the plan that this token was made of" in run.err
    assert "plan.py:11:1: " in run.err
    assert "unpinned check" in run.err


def refused(run_token: str, file: str | Path = KVM2008) -> str:
    """Expect that a token is refused with a reason and what to do, and return the message."""
    run = unpinned("replay", "--", run_token, file)
    assert (run.code, run.out) == (2, ""), run_token
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) >= 2
    assert all(len(line) < 300 for line in run.err.splitlines())
    return run.err


GOOD = token(RACES["Kvm2008Posted"])


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        ":",
        "::::",
        "garbage",
        "ünï:cöde",
        "-1",
        "\x1b[31m",
        "A" * 100_000,
        GOOD + GOOD,
        GOOD + "-",
        GOOD + "-0x1",
        GOOD + "-~",
        GOOD.replace("0x", "0x-"),
        GOOD.replace(":1.1.", ":1."),
        GOOD.replace(":1.1.", ":9.9."),
        GOOD.replace(":1.1.", f":{10**30}.1."),
        GOOD.replace(":1.1.zap", ":1.1"),
        GOOD.replace(":1.1.zap", ":1.1.munmap"),
        GOOD.replace("stale-use", "no-such-rule"),
        GOOD.replace("stale-use", "coherence"),
        GOOD.replace("stale-use", "deadlock"),
        GOOD.replace("stale-use", "progress"),
        GOOD.rsplit(":", 1)[0] + ":" + "0x" + "9" * 30,
        GOOD.rsplit(":", 1)[0] + ":" + "0x" + "9" * 5000,
        GOOD.rsplit(":", 1)[0] + ":" + "-".join(["0x100000"] * 1000),
        GOOD.rsplit(":", 1)[0] + ":0c" + "9" * 30,
        GOOD.rsplit(":", 1)[0] + ":" + "9" * 30 + "x1",
        GOOD.rsplit(":", 1)[0] + ":7x1",
        GOOD.rsplit(":", 1)[0] + ":",
    ],
)
def test_a_token_that_is_none(bad: str) -> None:
    refused(bad)


def test_a_token_of_another_plan() -> None:
    assert "Kvm2008Posted" in refused(GOOD, "examples/seq_after_gup.py")
    assert "is not the plan that this token was made of" in refused(GOOD.replace("Kvm2008Posted", "Kvm2008"))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "no such file" in refused(GOOD, tmp_path / "nowhere.py")
    (tmp_path / "bad.py").write_text("class (:\n")
    assert "bad.py:1:" in refused(GOOD, tmp_path / "bad.py")


def outcome(text: str, path: Path) -> Timeline | None:
    """Replay a token; None if it is refused; anything but an error of ours passes through."""
    try:
        return replay(text, path)
    except UnpinnedError:
        return None


def truly_broken(told: Timeline, path: Path, name: str | None) -> bool:
    """Say whether a race is told as the search would: its last row breaks the rule, or the CPUs wait for ever."""
    found = raced(path, name)
    if told.cycle is not None and found.cycle is not None:
        # A cycle may be told from any of its steps on.
        turn = [(row.cpu, row.text) for row in found.rows[found.cycle - 1 :]]
        again = [(row.cpu, row.text) for row in told.rows[told.cycle - 1 :]]
        return told.message == found.message and again in [turn[i:] + turn[:i] for i in range(len(turn))]
    if told.rule == "deadlock":
        return (told.rows, told.cycle, told.message) == (found.rows, found.cycle, found.message)
    return told.rule == found.rule and told.message == found.message


@pytest.mark.parametrize(("path", "name"), KINDS)
def test_a_token_that_is_cut_never_replays(path: Path, name: str | None) -> None:
    good = raced(path, name).token
    for end in range(len(good)):
        assert outcome(good[:end], path) is None, good[:end]
        assert end == 0 or outcome(good[end:], path) is None, good[end:]


@pytest.mark.parametrize(("path", "name"), KINDS)
def test_a_token_that_is_changed_in_one_character_says_nothing_false(path: Path, name: str | None) -> None:
    good = raced(path, name).token
    for place, old in enumerate(good):
        for new in {"x", "~", "-", chr(ord(old) + 1), chr(ord(old) - 1)}:
            told = outcome(good[:place] + new + good[place + 1 :], path) if new != old else None
            assert told is None or truly_broken(told, path, name), good[:place] + new + good[place + 1 :]


@pytest.mark.parametrize(("path", "name"), KINDS)
def test_a_schedule_that_stops_early_says_nothing_false(path: Path, name: str | None) -> None:
    """A CPU that waits for a lock, whose holder goes on, is not deadlocked; nor is any closed round a cycle."""
    good = raced(path, name).token
    head, steps = good.rsplit(":", 1)
    for cut in range(1, 12):
        shorter, parts = cut, steps.split("-")
        while parts and shorter:
            if "x" in parts[-1]:
                cpu, count = parts[-1].split("x")
                left = max(0, int(count) - shorter)
                shorter -= int(count) - left
                parts = [*parts[:-1], *([f"{cpu}x{left}"] if left else [])]
            else:
                shorter, parts = shorter - ("c" in parts[-1]), parts[:-1]
        told = outcome(f"{head}:{'-'.join(parts)}", path)
        assert told is None, f"{head}:{'-'.join(parts)}"


def test_a_cpu_that_waits_for_its_turn_is_not_deadlocked() -> None:
    """While start holds mmu_lock the fault waits for it, and start goes on."""
    path = ROOT / "tests/plans/deadlock.py"
    head = raced(path, "AbBa").token.rsplit(":", 1)[0]
    for before in range(1, 9):
        for fault in range(1, 14):
            assert outcome(f"{head}:1x{before}-0x{fault}", path) is None, (before, fault)


def test_a_round_in_which_faults_complete_is_no_cycle() -> None:
    """The steps of a guest that reads through its TLB over and over close a cycle, and break nothing."""
    path = ROOT / "tests/plans/progress.py"
    good = raced(path, "EndNotCounted").token
    head = good.rsplit(":", 1)[0]
    for before in range(14, 24):
        for round_ in range(1, 8):
            assert outcome(f"{head}:0x{before}-~-0x{round_}", path) is None, (before, round_)


def test_a_change_of_a_method_that_the_race_does_not_call_is_refused(tmp_path: Path) -> None:
    """The race of 07:20 beside a zap never calls invalidate_page; it is another plan all the same."""
    path = tmp_path / "plan.py"
    text = (ROOT / KVM2008).read_text()
    assert text.count("            self.seq += 1\n            self.zap(gfn)\n") == 1
    path.write_text(
        text.replace("self.seq += 1\n            self.zap(gfn)", "self.seq += 2\n            self.zap(gfn)")
    )
    run = unpinned("replay", GOOD, str(path))
    assert run.code == 2
    assert "is not the plan that this token was made of" in run.err
