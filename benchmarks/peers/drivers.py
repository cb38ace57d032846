# SPDX-License-Identifier: Apache-2.0
"""Say how each peer is built and run on a problem, and read what it prints.

SPIN and rumur are compiled for each bound, TLC, Harmony and minicheck are not. limit.cc is no checker: it is a search
written by hand for kvm-seq alone, and shows how fast one can be. A checker that gave up (memory, depth, time) is
undecided, whatever else it printed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import memory_of_machine
from benchmarks.peers.install import python_missing, python_of_peers, tlc_jar, tlc_missing, tools_missing
from benchmarks.peers.job import Contender, Job, Problem, Report

TEXTS: Final = Path(__file__).parent
_KVM: Final = frozenset({("kvm-seq", "right"), ("kvm-seq", "broken")})
_BOTH: Final = _KVM | {("interval", "right"), ("interval", "broken")}
_FILES: Final = {"kvm-seq": "kvm_seq", "interval": "interval"}
_BROKEN: Final = {"kvm-seq": "LITERAL", "interval": "FORGETFUL"}
_CC: Final = ("-march=native", "-w")


def _figure(pattern: str, text: str) -> float | None:
    """Return the last number that matches, or None."""
    found = re.findall(pattern, text)
    return float(found[-1].replace(",", "")) if found else None


def _count(pattern: str, text: str) -> int | None:
    value = _figure(pattern, text)
    return None if value is None else int(value)


def _result(race: bool, complete: bool) -> str:
    return "race" if race else "holds" if complete else "undecided"


def _constants(problem: Problem) -> dict[str, int]:
    return dict(zip("VHKPF", problem.bound, strict=True))


def _is_broken(problem: Problem) -> bool:
    return problem.variant == "broken"


# ---- SPIN


def _spin(*options: str) -> Callable[[Problem, Path], Job]:
    def make(problem: Problem, _: Path) -> Job:
        defines = [f"-D{name}={value}" for name, value in _constants(problem).items()]
        defines += [f"-D{_BROKEN[problem.model]}"] * _is_broken(problem)
        memory = f"-DMEMLIM={memory_of_machine():.0f}"
        return Job(
            (
                ("spin", *defines, "-a", str(TEXTS / f"{_FILES[problem.model]}.pml")),
                ("gcc", "-O2", *_CC, "-DSAFETY", memory, *options, "pan.c", "-o", "pan"),
            ),
            ("./pan", "-m1000000"),
            _read_spin,
        )

    return make


def _read_spin(text: str) -> Report:
    gave_up = ("max search depth too small", "Search not completed", "reached -DMEMLIM", "out of memory", "aborting")
    race = re.search(r"errors: [1-9]", text) is not None
    complete = "errors: 0" in text and not any(words in text for words in gave_up)
    return Report(
        _result(race, complete),
        _count(r"(\d[\d.e+]*) states, stored", text),
        _count(r"(\d[\d.e+]*) transitions", text),
        _figure(r"elapsed time ([\d.e+]+)", text),
    )


# ---- rumur


def _rumur(symmetric: bool, threads: int) -> Callable[[Problem, Path], Job]:
    def make(problem: Problem, folder: Path) -> Job:
        constants = "; ".join(f"{name}: {value}" for name, value in _constants(problem).items())
        broken = str(_is_broken(problem)).lower()
        text = (TEXTS / f"{_FILES[problem.model]}{'_sym' if symmetric else ''}.m").read_text(encoding="utf-8")
        head = f"const {constants}; {_BROKEN[problem.model]}: {broken};\n"
        (folder / "model.m").write_text(head + text, encoding="utf-8")
        how = "heuristic" if symmetric else "off"
        return Job(
            (
                ("rumur", "--symmetry-reduction", how, "--threads", str(threads), "--output", "model.c", "model.m"),
                ("gcc", "-O3", "-std=c11", *_CC, "model.c", "-o", "model", "-pthread", "-latomic"),
            ),
            ("./model",),
            _read_rumur,
        )

    return make


def _read_rumur(text: str) -> Report:
    race = "access to a frame" in text or "deadlock" in text
    return Report(
        _result(race, "State Space Explored" in text),
        _count(r"(\d+) states, \d+ rules", text),
        _count(r"(\d+) rules fired in", text),
    )


# ---- TLC


def _tlc(problem: Problem, folder: Path) -> Job:
    """Take all four sets as symmetric, with two workers; metadata goes to the folder."""
    v, h, k, p, f = problem.bound
    sets = {"VCPU": ("v", v), "HOST": ("h", h), "PAGE": ("g", p), "FRAME": ("f", f)}
    values = {name: f"{{{', '.join(f'{of}{i}' for i in range(n))}}}" for name, (of, n) in sets.items()}
    values |= {"K": str(k), "None": "None", "Literal": str(_is_broken(problem)).upper(), "Sym": "TRUE"}
    constants = "".join(f" {name} = {value}\n" for name, value in values.items())
    head = "SPECIFICATION Spec\nINVARIANT NoStaleAccess\nSYMMETRY Perms\nCONSTANTS\n"
    shutil.copy(TEXTS / "KvmSeq.tla", folder)
    (folder / "KvmSeq.cfg").write_text(head + constants, encoding="ascii")
    java = ("java", "-XX:+UseParallelGC", f"-Xmx{memory_of_machine() / 2:.0f}m", "-cp", str(tlc_jar()), "tlc2.TLC")
    options = ("-workers", "2", "-metadir", "states", "-config", "KvmSeq.cfg", "KvmSeq.tla")
    return Job((), (*java, *options), _read_tlc)


def _read_tlc(text: str) -> Report:
    race = "is violated" in text or "Deadlock reached" in text
    return Report(
        _result(race, "Model checking completed. No error" in text),
        _count(r"([\d,]+) distinct states found", text),
        _count(r"([\d,]+) states generated", text),
    )


# ---- Harmony and minicheck


def _harmony(problem: Problem, folder: Path) -> Job:
    shutil.copy(TEXTS / "kvm_seq.hny", folder)
    constants = {**_constants(problem), "LITERAL": _is_broken(problem)}
    given = [part for name, value in constants.items() for part in ("-c", f"{name}={value}")]
    quick = [] if _is_broken(problem) else ["--quick"]
    harmony = str(python_of_peers().with_name("harmony"))
    return Job((), (harmony, "--noweb", "-W", "-R", *quick, "-w", "1", *given, "kvm_seq.hny"), _read_harmony)


def _read_harmony(text: str) -> Report:
    race = "Safety Violation" in text or "Non-terminating state" in text
    return Report(
        _result(race, "Phase 5" in text),
        _count(r"(\d+) states \(time", text),
        _count(r"/(\d+) computations/edges", text),
        _figure(r"states \(time ([\d.]+)s", text),
    )


def _minicheck(problem: Problem, _: Path) -> Job:
    script = str(TEXTS / "minicheck_run.py")
    literal = ["literal"] * _is_broken(problem)
    return Job((), (str(python_of_peers()), "-B", script, *map(str, problem.bound), *literal), _read_result)


def _read_result(text: str) -> Report:
    """Read the line that limit.cc and minicheck_run.py print."""
    return Report(
        _result("RESULT FAIL" in text, "RESULT ok" in text),
        _count(r"states (\d+)", text),
        _count(r"transitions (\d+)", text),
        _figure(r"search_s ([\d.]+)", text),
    )


# ---- limit.cc


def _limit(*options: str) -> Callable[[Problem, Path], Job]:
    def make(problem: Problem, _: Path) -> Job:
        defines = [f"-D{name}={value}" for name, value in _constants(problem).items()]
        defines += [f"-DLITERAL={int(_is_broken(problem))}", f"-DLOOP={int(problem.variant == 'forever')}"]
        build = ("g++", "-O3", "-std=c++17", *_CC, *defines, *options, str(TEXTS / "limit.cc"), "-o", "limit")
        return Job((build,), ("./limit",), _read_result)

    return make


def _needs(*tools: str) -> Callable[[], str]:
    return lambda: tools_missing(*tools)


_EVERYTHING: Final = ("-DSYM=1", "-DSEQBIT=1", "-DLIPTON=1", "-DEAGER=1")
_SPIN, _GCC = _needs("spin", "gcc"), _needs("g++")
_RUMUR = _needs("rumur", "gcc")

PEERS: Final[tuple[Contender, ...]] = (
    Contender("spin", "SPIN, partial-order reduction", _spin(), _SPIN, _BOTH),
    Contender("spin-none", "SPIN, no reduction", _spin("-DNOREDUCE"), _SPIN, _BOTH, exact=True),
    Contender("rumur", "rumur, scalarsets, 2 threads", _rumur(True, 2), _RUMUR, _KVM),
    Contender("rumur-none", "rumur, no reduction", _rumur(False, 1), _RUMUR, _BOTH, exact=True),
    Contender("tlc", "TLC, symmetry, 2 workers", _tlc, tlc_missing, _KVM, slow=True),
    Contender("harmony", "Harmony, 1 worker", _harmony, lambda: python_missing("harmony"), _KVM, slow=True),
    Contender("minicheck", "minicheck", _minicheck, lambda: python_missing("minicheck"), _KVM, exact=True, slow=True),
)
#: limit.cc is measured beside the peers, and is none.
LIMITS: Final[tuple[Contender, ...]] = (
    Contender("limit-none", "limit.cc, no reduction", _limit(), _GCC, _KVM, exact=True),
    Contender("limit", "limit.cc, all reductions", _limit(*_EVERYTHING), _GCC, _KVM | {("kvm-seq", "forever")}),
)
