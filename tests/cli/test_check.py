# SPDX-License-Identifier: Apache-2.0
"""`unpinned check`: exit codes, options, streams, errors and data, each as a user meets them."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command import COMMAND, KVM2008, ROOT, WIDTH, Ran, environment, printed_table, rows, unpinned

from unpinned.ir.rules import RULES

HEAD = """\
from unpinned import FAULT, MAPPED, REPLAY, Counter, Flag, SecondaryMMU, SpinLock
from unpinned.drivers.kvm2008 import Kvm2008, Kvm2008Both, Kvm2008Posted

"""
HOLDS = HEAD + "class Holds(Kvm2008):\n    pass\n"
RACES = HEAD + "class Races(Kvm2008Posted):\n    pass\n"
#: Each munmap bumps it twice, and one bit has no room for that.
OVERFLOWS = (
    HEAD
    + """\
class Overflows(Kvm2008):
    bumps = Counter(bits=1)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.bumps += 1
            self.bumps += 1
            self.range_count -= 1
"""
)
#: Refused when it is read.
UNREADABLE = HEAD + "class Bad(Kvm2008):\n    x = 3.5\n"
#: Read, and refused when its steps are made.
MIXES = (
    HEAD
    + """\
class Mixes(Kvm2008):
    def page_fault(self, gfn, write):
        with self.mmu_lock:
            self.seq += gfn
        return MAPPED
"""
)
#: Breaks progress alone: after a zap every fault is replayed.
ENDLESS = (
    HEAD
    + """\
class Endless(Kvm2008):
    {}

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
"""
)
FILES = {"holds": HOLDS, "races": RACES, "overflows": OVERFLOWS, "unreadable": UNREADABLE, "mixes": MIXES}
SMALL = ("--ops", "munmap")


def plan_file(folder: Path, text: str, name: str = "plan.py") -> Path:
    """Write a plan file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def blocks(run: Ran) -> list[str]:
    """Return the first lines of the blocks of a report."""
    return re.findall(r"^(?:BUG|OK|UNDECIDED): unpinned: .*$", run.out, re.MULTILINE)


def refused(run: Ran, *words: str) -> None:
    """Expect a message on stderr, nothing on stdout, exit 2 and no traceback."""
    assert run.code == 2
    assert not run.out
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err
    assert len(run.err.splitlines()) >= 2, "what is wrong, and what to do"


# ---- exit codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("holds", 0),
        ("races", 1),
        ("overflows", 3),
        ("unreadable", 2),
        ("mixes", 2),
        ("missing", 2),
        ("holds holds", 0),
        ("holds races", 1),
        ("races holds", 1),
        ("overflows holds", 3),
        ("races overflows", 1),
        ("overflows races", 1),
        ("holds unreadable", 2),
        ("unreadable holds", 2),
        ("holds mixes", 2),
        ("mixes holds", 2),
        ("holds missing", 2),
        ("missing holds", 2),
        ("unreadable overflows", 2),
        ("overflows mixes", 2),
        ("races unreadable", 1),
        ("missing races", 1),
        ("races mixes", 1),
        ("mixes races", 1),
        ("overflows unreadable races holds", 1),
    ],
)
def test_exit_codes_over_files(tmp_path: Path, names: str, code: int) -> None:
    """1 if any races, else 2, else 3, else 0; and a bad file takes nothing away from the others."""
    for name, text in FILES.items():
        plan_file(tmp_path, text, f"{name}.py")
    files = names.split()
    run = unpinned("check", *(f"{name}.py" for name in files), *SMALL, cwd=tmp_path)
    assert run.code == code, run.err
    good = {"holds": "OK: ", "races": "BUG: ", "overflows": "UNDECIDED: "}
    assert [line.split(" ")[0] + " " for line in blocks(run)] == [good[name] for name in files if name in good]
    bad = [name for name in files if name not in good]
    for name in bad:
        assert f"{name}.py" in run.err
    assert run.err.count("unpinned: ") == len(bad)
    assert "Traceback" not in run.err


def test_exit_codes_over_the_plans_of_a_file(tmp_path: Path) -> None:
    text = HEAD + "".join(part.removeprefix(HEAD) for part in (OVERFLOWS, MIXES, RACES, HOLDS))
    path = plan_file(tmp_path, text)
    run = unpinned("check", path, *SMALL)
    assert run.code == 1
    assert [line.split()[2] for line in blocks(run)] == ["Overflows", "stale-use", "Holds"]
    assert "a gfn stands where a number is wanted" in run.err


def test_data_of_good_plans_survives_a_bad_one(tmp_path: Path) -> None:
    paths = [plan_file(tmp_path, text, f"{name}.py") for name, text in FILES.items()]
    run = unpinned("check", *paths, "--json", *SMALL)
    assert run.code == 1
    assert {plan["plan"]: plan["verdict"] for plan in run.data["plans"]} == {
        "Holds": "holds",
        "Races": "race",
        "Overflows": "undecided",
    }
    assert [Path(error["file"]).name for error in run.data["errors"]] == ["unreadable.py", "mixes.py"]
    assert all(error["message"] and error["hint"] and error["line"] for error in run.data["errors"])
    assert run.data["exit_code"] == 1


# ---- which plans, which scenario, for how long -------------------------------------------------------


def test_one_plan_of_several() -> None:
    run = unpinned("check", KVM2008, "--plan", "Kvm2008Posted")
    assert run.code == 1
    assert len(blocks(run)) == 1
    assert "Kvm2008Both" not in run.out


def test_a_plan_that_is_not_there() -> None:
    refused(unpinned("check", KVM2008, "--plan", "Kvm2009"), "'Kvm2009'", "Kvm2008Posted, Kvm2008Both, Kvm2008")


def test_one_block_and_one_summary_line_a_plan(tmp_path: Path) -> None:
    path = plan_file(tmp_path, HEAD + "".join(part.removeprefix(HEAD) for part in (RACES, HOLDS, OVERFLOWS)))
    run = unpinned("check", path.name, *SMALL, cwd=tmp_path)  # a longer path may make a line longer
    assert blocks(run) == [
        "BUG: unpinned: stale-use in page_fault() / invalidate_range_end()",
        "OK: unpinned: Holds holds",
        "UNDECIDED: unpinned: Overflows is undecided",
    ]
    observations = re.findall(r"^Observation .*$", run.out, re.MULTILINE)
    assert len(observations) == 2
    assert re.fullmatch(r"Observation Races Sometimes \d+ \d+", observations[0])
    assert re.fullmatch(r"Observation Holds Never 0 \d+", observations[1])
    summary = run.out.splitlines()[-3:]
    assert [line.split()[:2] for line in summary] == [["Races", "race"], ["Holds", "holds"], ["Overflows", "undecided"]]
    assert "stale-use" in summary[0]
    assert observations[1].split()[-1] in summary[1]
    assert all(len(line) <= WIDTH for line in run.out.splitlines() if ":" not in line)
    assert "\n\n\n" not in run.out


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--ops", "munmap"), "1 vCPU, 1 page, munmap"),
        (("--ops", "none"), "1 vCPU, 1 page, no mm operation"),
        (("--ops", "reclaim,munmap"), "1 vCPU, 1 page, reclaim + munmap"),
        (("--ops", "reclaim+munmap"), "1 vCPU, 1 page, reclaim + munmap"),
        (("--ops", " reclaim, munmap "), "1 vCPU, 1 page, reclaim + munmap"),
        (("--pages", "2", "--ops", "none"), "1 vCPU, 2 pages, no mm operation"),
        (("--vcpus", "2", "--ops", "none"), "2 vCPUs, 1 page, no mm operation"),
        (("--vcpus", "1"), "1 vCPU, 1 page, zap"),
        (("--pages", "1"), "1 vCPU, 1 page, zap"),
    ],
)
def test_one_scenario(options: tuple[str, ...], shown: str) -> None:
    run = unpinned("check", KVM2008, "--plan", "Kvm2008", *options, "--time", "60")
    table = re.findall(r"^  (\d vCPUs?, .*?) +\d+ +\d+  (\w+)$", run.out, re.MULTILINE)
    wanted = {shown, " + ".join(shown.replace("page, ", "page, \n").split(" + "))}
    assert [(name in wanted or sorted(name.split()) == sorted(shown.split())) for name, _ in table] == [True]
    assert run.code in (0, 3)
    assert run.quiet


def test_a_scenario_changes_the_search() -> None:
    """Beside reclaim alone the plan of 07:20 holds: only invalidate_page is called, which was right."""
    run = unpinned("check", KVM2008, "--plan", "Kvm2008Posted", "--ops", "reclaim")
    assert run.code == 0
    assert re.search(r"^Observation Kvm2008Posted Never 0 \d+$", run.out, re.MULTILINE)
    assert unpinned("check", KVM2008, "--plan", "Kvm2008Posted", *SMALL).code == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--vcpus", "0"), "0 vCPUs"),
        (("--vcpus", "-1"), "-1 vCPUs"),
        (("--vcpus", "5"), "5 vCPUs"),
        (("--vcpus", "99999999999999999999"), "99999999999999999999"),
        (("--vcpus", "two"), "two"),
        (("--pages", "0"), "0 pages"),
        (("--pages", "-3"), "-3 pages"),
        (("--pages", "5"), "5 pages"),
        (("--ops", "mumap"), "'mumap'"),
        (("--ops", "zap,,munmap"), "''"),
        (("--ops", "zap,none"), "'none'"),
        (("--ops", "zap,zap,zap,zap,zap"), "5 mm operations"),
        (("--time", "0"), "--time"),
        (("--time", "-1"), "--time"),
        (("--time", "nan"), "--time"),
        (("--time", "soon"), "--time"),
        (("--engine", "fast"), "reference"),
        (("--color", "maybe"), "--color"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_an_option_that_makes_no_sense(options: tuple[str, ...], word: str) -> None:
    refused(unpinned("check", KVM2008, *options), word)


def test_no_file_at_all() -> None:
    refused(unpinned("check"), "FILE")


def test_a_command_that_is_not_there() -> None:
    refused(unpinned("chek", KVM2008), "chek")


def test_an_operation_that_the_plan_does_not_admit() -> None:
    refused(
        unpinned("check", "examples/page_alone.py", "--ops", "zap"), "PageAlone", "zap", "reclaim", "page_alone.py:"
    )


@pytest.mark.parametrize("seconds", ["1e-9", "0.001", "0.3"])
def test_too_little_time_is_undecided(seconds: str) -> None:
    run = unpinned("check", KVM2008, "--plan", "Kvm2008", "--time", seconds, "--vcpus", "2", "--pages", "2")
    assert run.code == 3
    assert blocks(run) == ["UNDECIDED: unpinned: Kvm2008 is undecided"]
    assert "Observation" not in run.out
    assert " undecided because " in run.out
    assert " what to do        give it more time (--time SECONDS)" in run.out
    assert run.quiet


def test_too_little_time_for_the_ladder_says_which_rungs_were_not_begun() -> None:
    run = unpinned("check", KVM2008, "--plan", "Kvm2008", "--time", "0.05")
    assert run.code == 3
    assert re.search(r"1 page, \S+.* was not begun, nor were \d more required rungs", " ".join(run.out.split()))


def test_endless_time_is_a_time() -> None:
    assert unpinned("check", KVM2008, "--plan", "Kvm2008", "--time", "inf", *SMALL).code == 0


def test_later_rungs_run_while_time_is_left() -> None:
    """Without --required there is more than the required part, and it changes no verdict where it is not finished."""
    plan = ("--plan", "PageAlone", "--time", "8")
    run = unpinned("check", "examples/page_alone.py", *plan)
    assert run.code == 0
    later = re.findall(r"^ \+\d vCPUs?, .* (\w+)$", run.out, re.MULTILINE)
    assert later
    assert set(later) <= {"holds", "finished"}
    assert " + beyond the required part of the ladder\n" in run.out


def test_the_engine_can_be_named() -> None:
    with_it = unpinned("check", KVM2008, "--plan", "Kvm2008Posted", "--engine", "reference")
    assert with_it == unpinned("check", KVM2008, "--plan", "Kvm2008Posted")


# ---- the verbose report ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "plan"),
    [
        (KVM2008, "Kvm2008Posted"),
        ("tests/plans/deadlock.py", "AbBa"),
        ("tests/plans/progress.py", "EndNotCounted"),
        ("tests/plans/sleep_in_atomic.py", "GupUnderSpinLock"),
    ],
)
def test_every_step_has_its_source_line(file: str, plan: str) -> None:
    run = unpinned("check", file, "-v", "--vcpus", "1", "--plan", plan)
    assert run.code == 1
    lines = printed_table(run.out)
    steps = [i for i, line in enumerate(lines) if re.match(r"^ *\d+ ", line[:4]) and len(line) > 4]
    places = [
        (found[1], int(found[2]), found[3])
        for line in lines
        if (found := re.match(r"^      ([a-z0-9_]+\.py):(\d+): (.*)$", line))
    ]
    assert [int(lines[i][:3]) for i in steps] == list(range(1, len(steps) + 1))
    assert len(places) == len(steps) == int(re.findall(r"^ (\d+) steps?, ", run.out, re.MULTILINE)[0])
    sources = {path.name: path.read_text().splitlines() for path in (ROOT / "src").rglob("*.py")}
    sources[Path(file).name] = (ROOT / file).read_text().splitlines()
    for name, number, text in places:
        assert text
        assert sources[name][number - 1].strip().startswith(text)
    assert any(name == Path(file).name or name == "kvm2008.py" for name, _, _ in places)
    assert all(len(line) <= WIDTH for line in lines)


def test_the_short_report_has_fewer_rows_of_the_same_race() -> None:
    short = unpinned("check", KVM2008, "--plan", "Kvm2008Posted")
    long = unpinned("check", KVM2008, "--plan", "Kvm2008Posted", "-v")
    numbers = [row.number for row in rows(short.out)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < long.out.count(".py:")
    assert short.out.split("==>")[1] == long.out.split("==>")[1]


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "tests" / "plans").glob("*.py"))])
def test_every_report_is_75_columns_of_ascii(name: str) -> None:
    """Deadlocks, cycles, leaks and three CPUs at once, whatever the plan."""
    run = unpinned("check", f"tests/plans/{name}.py", "--vcpus", "2", "--ops", "munmap", "--time", "0.5", "-v")
    assert blocks(run)
    assert run.out.isascii()
    wide = [line for line in run.out.splitlines() if len(line) > WIDTH]
    assert not [line for line in wide if not re.fullmatch(r"   \w+:\d\.\d\.\S+ \\", line)]


def test_a_crowd_of_cpus_still_fits() -> None:
    """Columns begin close together, the CPUs are named above them, and a long scenario has a line of its own."""
    options = ("--plan", "GupUnderSpinLock", "--vcpus", "4", "--ops", "munmap,zap,reclaim", "--time", "60")
    run = unpinned("check", "tests/plans/sleep_in_atomic.py", *options)
    assert run.code == 1
    assert re.search(r"^    CPU6 - reclaim\(\)$|CPU6 - reclaim\(\)", run.out, re.MULTILINE)
    assert re.search(r"^    CPU0 +CPU1 +CPU2 +CPU3 +CPU4 +CPU5 +CPU6$", run.out, re.MULTILINE)
    assert "4 vCPUs, 1 page, " in run.out
    wide = [line for line in run.out.splitlines() if len(line) > WIDTH]
    assert not [line for line in wide if not re.fullmatch(r"   \w+:\d\.\d\.\S+ \\", line)]


# ---- data ---------------------------------------------------------------------------------------------

TOP = {"format", "version", "engine", "memory_model", "exit_code", "plans", "errors"}
PLAN = {
    "plan", "file", "line", "verdict", "property", "why_undecided", "states", "rungs", "race", "not_promised",
    "waived", "not_looked_for", "flavour", "null_ops", "not_judged", "not_exercised", "never_reached",
    "lints",
}  # fmt: skip
RUNG = {"bounds", "required", "verdict", "property", "states", "depth", "why_undecided", "notes"}
BOUNDS = {"vcpus", "pages", "frames", "ops", "cpus"}
RACE = {
    "property", "also", "sentence", "message", "in", "bounds", "cpus", "steps", "conflict", "cycle",
    "context_switches", "shortest", "violating_states", "states", "token",
}  # fmt: skip
STEP = {"step", "cpu", "method", "text", "effect", "file", "line", "source"}
ERROR = {"message", "hint", "file", "line", "column"}


def valid(data: Any) -> None:
    """Hold data against what docs/json.md says."""
    assert set(data) == TOP
    assert (data["format"], data["version"]) == ("unpinned-check", 1)
    assert (data["engine"], data["memory_model"]) == ("native", "SC")
    for plan in data["plans"]:
        assert set(plan) == PLAN
        assert plan["verdict"] in {"holds", "race", "undecided"}
        assert (plan["race"] is not None) == (plan["verdict"] == "race") == (plan["property"] is not None)
        assert bool(plan["why_undecided"]) == (plan["verdict"] == "undecided")
        assert plan["states"] == sum(rung["states"] for rung in plan["rungs"] if not rung["why_undecided"])
        for rung in plan["rungs"]:
            assert set(rung) == RUNG
            assert set(rung["bounds"]) == BOUNDS
            assert rung["verdict"] in {"holds", "race", "undecided"}
            assert (rung["property"] is not None) == (rung["verdict"] == "race")
            assert (rung["why_undecided"] is not None) == (rung["verdict"] == "undecided")
        for race in [*([plan["race"]] if plan["race"] else []), *plan["not_promised"]]:
            assert set(race) == RACE
            assert race["property"] in RULES
            assert race["sentence"] == RULES[race["property"]]
            assert set(race["bounds"]) == BOUNDS
            assert [step["step"] for step in race["steps"]] == list(range(1, len(race["steps"]) + 1))
            for step in race["steps"]:
                assert set(step) == STEP
                assert 0 <= step["cpu"] < len(race["cpus"])
                assert step["text"]
                own = step["file"].startswith("unpinned/")  # a file of the model, named by its place in the package
                line = (ROOT / ("src" if own else "") / step["file"]).read_text().splitlines()[step["line"] - 1]
                assert step["source"] == line.strip()
            cpus = [step["cpu"] for step in race["steps"]]
            assert race["context_switches"] == sum(a != b for a, b in itertools.pairwise(cpus))
            assert race["violating_states"] >= 1
    for error in data["errors"]:
        assert set(error) == ERROR


def test_data_of_a_race() -> None:
    run = unpinned("check", KVM2008, "--plan", "Kvm2008Posted", "--json")
    valid(run.data)
    (plan,) = run.data["plans"]
    assert (run.code, run.data["exit_code"]) == (1, 1)
    text = unpinned("check", KVM2008, "--plan", "Kvm2008Posted").out
    race = plan["race"]
    assert (plan["verdict"], plan["property"], plan["file"]) == ("race", "stale-use", KVM2008)
    assert text.endswith(f"\nObservation Kvm2008Posted Sometimes {race['violating_states']} {race['states']}\n")
    assert f" {len(race['steps'])} steps, {race['context_switches']} context switches; no shorter race exists\n" in text
    assert f" ==> step {len(race['steps'])}: " in text
    assert f"conflicts with step {race['conflict']}\n" in text
    assert race["shortest"] is True
    assert race["bounds"] == {"vcpus": 1, "pages": 1, "frames": 2, "ops": ["zap"], "cpus": None}
    assert race["token"] in text
    assert [step["text"] for step in race["steps"] if step["step"] in {row.number for row in rows(text)}]


def test_data_of_a_pass() -> None:
    run = unpinned("check", "examples/page_alone.py", "--json", "--ops", "reclaim")
    valid(run.data)
    (plan,) = run.data["plans"]
    assert (run.code, plan["verdict"], plan["race"]) == (0, "holds", None)
    assert plan["null_ops"] == ["invalidate_range_start", "invalidate_range_end"]
    assert plan["not_exercised"] == ["balance"]


def test_data_of_undecided_plans(tmp_path: Path) -> None:
    run = unpinned("check", plan_file(tmp_path, OVERFLOWS), "--json", *SMALL)
    valid(run.data)
    assert (run.code, run.data["exit_code"]) == (3, 3)
    assert "bumps" in run.data["plans"][0]["why_undecided"][0]
    run = unpinned("check", KVM2008, "--json", "--time", "0.001")
    valid(run.data)
    assert run.code == 3
    assert {plan["verdict"] for plan in run.data["plans"]} == {"undecided"}


def test_data_of_rules_that_are_not_promised(tmp_path: Path) -> None:
    waived = ENDLESS.format('waive = {"progress": "we reset the VM"}')
    run = unpinned("check", plan_file(tmp_path, waived), "--json", "--ops", "zap")
    valid(run.data)
    (plan,) = run.data["plans"]
    assert (run.code, plan["verdict"], plan["race"]) == (0, "holds", None)
    assert plan["waived"] == {"progress": "we reset the VM"}
    assert [race["property"] for race in plan["not_promised"]] == ["progress"]
    assert plan["not_promised"][0]["cycle"] is not None


def test_data_of_errors_alone(tmp_path: Path) -> None:
    run = unpinned("check", plan_file(tmp_path, UNREADABLE), "nowhere.py", "--json")
    assert run.code == 2
    if run.out:
        valid(run.data)
        assert run.data["plans"] == []
        assert len(run.data["errors"]) == 2
    assert "unreadable" in run.err or "plan.py:5:9" in run.err


def test_the_documentation_names_every_key() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    for key in TOP | PLAN | RUNG | BOUNDS | RACE | STEP | ERROR:
        assert f"`{key}`" in text, key


# ---- streams ------------------------------------------------------------------------------------------


def test_nothing_on_stderr_and_no_colour_in_a_pipe() -> None:
    run = unpinned("check", KVM2008, "--vcpus", "1", "--pages", "2", "--ops", "munmap", "--plan", "Kvm2008")
    assert run.code == 0
    assert run.quiet
    assert "\x1b" not in run.out


@pytest.mark.parametrize(
    ("option", "env", "coloured"),
    [
        ("always", {}, True),
        ("always", {"NO_COLOR": "1"}, True),
        ("auto", {}, False),
        ("auto", {"FORCE_COLOR": "1"}, False),
        ("never", {}, False),
    ],
)
def test_colour_in_a_pipe(option: str, env: dict[str, str], coloured: bool) -> None:
    args = ("check", KVM2008, "--plan", "Kvm2008Posted", "--color", option)
    plain = unpinned("check", KVM2008, "--plan", "Kvm2008Posted").out
    run = unpinned(*args, env=env)
    assert ("\x1b" in run.out) == coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", run.out) == plain


@pytest.mark.parametrize("plan", ["Kvm2008Posted", "Kvm2008"])
def test_a_reader_that_has_gone(plan: str) -> None:
    """`unpinned check | head -1` ends without a traceback, and a plan that holds is not said to race."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, "check", KVM2008, "--plan", plan, *SMALL],
            cwd=ROOT, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert not done.stderr
    assert done.returncode != 1 or plan == "Kvm2008Posted"


def test_head() -> None:
    command = " ".join(COMMAND) + f" check {KVM2008} --plan Kvm2008Posted {' '.join(SMALL)} | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout.startswith("BUG: unpinned: stale-use in ")
    assert done.stdout.count("\n") == 1
    assert not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_is_told_and_is_no_race(more: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "check", KVM2008, "--plan", "Kvm2008", *SMALL, *more],
            cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_terminal_that_speaks_ascii_only(tmp_path: Path) -> None:
    path = plan_file(tmp_path, MIXES.replace("gfn\n", "gfn  # größer\n"), "größe.py")
    run = unpinned("check", path, env={"PYTHONIOENCODING": "ascii"})
    assert run.code == 2
    assert "Traceback" not in run.err
    path = plan_file(tmp_path, RACES, "größe.py")
    run = unpinned("check", path, *SMALL, env={"PYTHONIOENCODING": "ascii"})
    assert "Traceback" not in run.err
    assert run.code == 1
    assert "Observation Races Sometimes" in run.out


# ---- ways to start ------------------------------------------------------------------------------------


def test_the_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("unpinned")
    args = ["check", KVM2008, "--plan", "Kvm2008Posted"]
    done = subprocess.run([script, *args], cwd=ROOT, env=environment(), capture_output=True, text=True)
    run = unpinned(*args)
    assert (done.returncode, done.stdout, done.stderr) == (run.code, run.out, run.err)


def test_version() -> None:
    from importlib.metadata import version

    run = unpinned("--version")
    assert (run.code, run.err) == (0, "")
    assert run.out.strip() == f"unpinned, version {version('unpinned')}"


@pytest.mark.parametrize("command", [(), ("check",), ("replay",), ("export",)])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_fits_and_names_the_exit_status(command: tuple[str, ...], flag: str) -> None:
    run = unpinned(*command, flag)
    assert (run.code, run.err) == (0, "")
    assert all(len(line) <= 80 for line in run.out.splitlines())
    assert run.out.isascii()
    if command:
        assert "Exit status: " in " ".join(run.out.split())
    else:
        assert {"check", "replay", "export"} <= set(run.out.split())


# ---- promises, waivers, NULL ops ----------------------------------------------------------------------


def test_a_promised_rule_that_breaks(tmp_path: Path) -> None:
    run = unpinned("check", plan_file(tmp_path, ENDLESS.format("pass")), "--ops", "zap")
    assert run.code == 1
    assert run.out.startswith("BUG: unpinned: progress in page_fault()\n")
    assert "from here the steps repeat for ever:" in run.out


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ('promises = ("stale-use", "coherence")', "the plan does not promise it"),
        ('waive = {"progress": "we reset the VM"}', "we reset the VM"),
    ],
)
def test_a_rule_that_is_not_promised_is_printed_and_is_no_violation(
    tmp_path: Path, attribute: str, reason: str
) -> None:
    run = unpinned("check", plan_file(tmp_path, ENDLESS.format(attribute)), "--ops", "zap")
    assert run.code == 0
    assert run.out.startswith("OK: unpinned: Endless holds\n")
    assert "\nNOTE: unpinned: progress in page_fault()\n" in run.out
    assert f"\n no violation: {reason}\n" in run.out
    assert "BUG:" not in run.out
    assert run.out.splitlines()[-1].startswith("Observation Endless Never 0 ")
    assert (" waived         progress: we reset the VM\n" in run.out) == ("waive" in attribute)


def test_a_waiver_does_not_hide_another_race(tmp_path: Path) -> None:
    text = RACES.replace("pass", 'waive = {"progress": "we reset the VM"}')
    run = unpinned("check", plan_file(tmp_path, text), *SMALL)
    assert run.code == 1
    assert run.out.startswith("BUG: unpinned: stale-use")
    assert " waived         progress: we reset the VM\n" in run.out


def test_a_method_that_is_lacking_is_a_null_op(tmp_path: Path) -> None:
    text = HEAD + (ROOT / KVM2008).read_text().split("SpinLock\n\n\n")[1].split("class Kvm2008Both")[0]
    text = text.replace("Kvm2008Posted(", "NoPage(")
    start = text.index("    def invalidate_page")
    end = text.index("    def page_fault")
    run = unpinned("check", plan_file(tmp_path, text[:start] + text[end:]), "--ops", "reclaim")
    assert run.code == 1
    assert re.search(r"^ NULL ops       invalidate_page$", run.out, re.MULTILINE)


# ---- a pass that tested nothing -----------------------------------------------------------------------


def test_a_counter_that_overflows_is_named(tmp_path: Path) -> None:
    run = unpinned("check", plan_file(tmp_path, OVERFLOWS), *SMALL)
    text = " ".join(run.out.split())
    assert run.code == 3
    assert run.out.startswith("UNDECIDED: unpinned: Overflows is undecided\n")
    assert re.search(r"undecided because .*bumps passed its width", text)
    assert "what to do widen the counter" in text
    assert "Observation" not in run.out
    wider = OVERFLOWS.replace("bits=1", "bits=2")
    assert unpinned("check", plan_file(tmp_path, wider), *SMALL).code == 0


def vacuous(tmp_path: Path, body: str) -> str:
    """Check a plan whose fault has that body, on a small scenario, and return why it is undecided."""
    text = HEAD + 'class Vacuous(Kvm2008):\n    waive = {"progress": "a test"}\n    never = Flag()\n\n'
    text += "    def page_fault(self, gfn, write):\n" + "".join(f"        {line}\n" for line in body.splitlines())
    run = unpinned("check", plan_file(tmp_path, text), *SMALL)
    assert run.code == 3
    assert run.out.startswith("UNDECIDED: unpinned: Vacuous is undecided\n")
    assert "Observation" not in run.out
    assert "what to do" in run.out
    return " ".join(run.out.split())


def test_a_plan_that_always_replays(tmp_path: Path) -> None:
    why = vacuous(tmp_path, "return REPLAY")
    assert "no fault was ever mapped" in why
    assert "no guest access ever hit the TLB" in why
    assert "no zap ever removed a live spte" in why


def test_a_plan_that_never_maps(tmp_path: Path) -> None:
    why = vacuous(tmp_path, "page = self.get_user_page(gfn, write)\nself.put_page(page)\nreturn MAPPED")
    assert "no fault was ever mapped" in why


def test_a_plan_that_never_replays(tmp_path: Path) -> None:
    body = """\
if self.never:
    return REPLAY
while True:
    seq = self.seq
    page = self.get_user_page(gfn, write)
    with self.mmu_lock:
        stale = self.seq != seq or self.range_count
        if not stale:
            self.map(gfn, page, write)
    self.put_page(page)
    if not stale:
        return MAPPED"""
    why = vacuous(tmp_path, body)
    assert "no fault was ever replayed" in why
    assert "no fault was ever mapped" not in why
    assert re.search(r"never reached (\S+:\d+, )*plan\.py:10\b", why)


def test_a_plan_without_replay_is_not_asked_for_one(tmp_path: Path) -> None:
    run = unpinned("check", "tests/plans/progress.py", "--plan", "LoopFreshSnapshot", *SMALL)
    assert run.code == 0


def test_lines_that_were_never_reached_are_named(tmp_path: Path) -> None:
    text = HOLDS.replace(
        "    pass\n",
        """\
    never = Flag()

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)
            if self.never:
                self.seq += 1
                self.range_count += 1
""",
    )
    run = unpinned("check", plan_file(tmp_path, text), "--ops", "reclaim")
    assert run.code == 0
    start = text[: text.index("if self.never")].count("\n") + 1
    named = re.findall(r"([a-z0-9]+\.py:\d+)", run.out.split("never reached")[1].split("not covered")[0])
    assert [name for name in named if name.startswith("plan.py")] == [f"plan.py:{start + 1}", f"plan.py:{start + 2}"]


# ---- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "line", "column", "source"), [
    (UNREADABLE, 5, 9, "x = 3.5"),
    (MIXES, 7, 25, "self.seq += gfn"),
    (HEAD + "class Broken(Kvm2008:\n    pass\n", 4, None, "class Broken(Kvm2008:"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["check", "export"])
def test_a_plan_error_has_three_parts(
    tmp_path: Path, text: str, line: int, column: int | None, source: str, command: str
) -> None:
    plan_file(tmp_path, text)
    options = ("--promela",) if command == "export" else ()
    run = unpinned(command, "plan.py", *options, cwd=tmp_path)
    refused(run)
    what, shown, caret, *hint = run.err.splitlines()
    place = re.fullmatch(r"unpinned: plan\.py:(\d+):(\d+): (.+)", what)
    assert place
    assert int(place[1]) == line
    assert column in (None, int(place[2]))
    assert shown.strip() == source
    assert re.fullmatch(r" +\^+", caret)
    assert caret.index("^") == 4 + int(place[2]) - 1
    assert hint
    assert all(part.strip() for part in hint)


def test_a_method_that_the_scenario_does_not_call_is_read_as_well(tmp_path: Path) -> None:
    """Beside munmap alone invalidate_page is never called, and what is wrong in it is wrong all the same."""
    text = HOLDS.replace("    pass\n", "    def invalidate_page(self, gfn):\n        self.seq += gfn\n")
    refused(
        unpinned("check", plan_file(tmp_path, text), *SMALL), "plan.py:6:21", "a gfn stands where a number is wanted"
    )


def test_debug_shows_a_traceback(tmp_path: Path) -> None:
    path = plan_file(tmp_path, UNREADABLE)
    run = unpinned("--debug", "check", path)
    assert run.code == 2
    assert "Traceback (most recent call last)" in run.err
    assert "PlanError" in run.err
    run = unpinned("--debug", "replay", "nonsense", path)
    assert run.code == 2
    assert "Traceback (most recent call last)" in run.err


def test_paths_with_spaces_and_other_letters(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with späce's"
    folder.mkdir()
    plan_file(folder, RACES, "ein plan é.py")
    path = "a folder with späce's/ein plan é.py"
    run = unpinned("check", path, *SMALL, cwd=tmp_path)
    assert run.code == 1
    assert f"{path}:4 Races" in run.out
    assert unpinned("check", path, "--json", *SMALL, cwd=tmp_path).data["plans"][0]["file"] == path


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/plan\xff.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(RACES)
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*COMMAND, "check", path, *SMALL, *more], cwd=ROOT, env=environment(), capture_output=True, timeout=60
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == 1


def test_a_bug_of_ours_is_never_taken_for_a_race() -> None:
    """Exit 1 means a race: an exception that nobody foresaw must end with another code."""
    code = (
        "import sys; from unpinned import cli, api\n"
        "def boom(*args, **more): raise ZeroDivisionError('a bug')\n"
        "api.check_plan = boom\n"
        f"sys.argv = ['unpinned', 'check', {KVM2008!r}]\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "bug" in done.stderr


def test_no_operation_has_to_be_asked_for_by_name() -> None:
    """An unset variable in a script must not turn into a scenario in which nothing happens."""
    run = unpinned("check", KVM2008, "--plan", "Kvm2008", "--ops", "")
    assert run.code == 2
    assert "--ops none" in run.err
