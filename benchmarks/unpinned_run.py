# SPDX-License-Identifier: Apache-2.0
"""Search a model with unpinned, in a process of its own, and print one line of JSON.

`python -m benchmarks.unpinned_run kvm-seq 2 2 1 2 4 --reduce all --cores 2 [--broken | --forever] [--compact]` prints
the engine, the verdict (holds, race, undecided), states, transitions, wall and CPU seconds of the search alone, and
bytes a state, as far as the engine knows them. Exit status: 0 holds, 1 race, 3 undecided.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.models.system import interval, kvm_seq
from unpinned.__main__ import UNTIL_COLLECTED
from unpinned.engine import explorer
from unpinned.engine.memory import available
from unpinned.engine.program import Program
from unpinned.engine.search import Limits, Search
from unpinned.ir.program import System
from unpinned.reduce.pipeline import reduce_system


@dataclass(frozen=True, slots=True)
class Options:
    """How to search: all reductions or none, with so many cores, hashes for states, at most so many states."""

    reduce: bool = True
    cores: int = 1
    compact: bool = False
    states: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and what it took; a figure that the engine does not know is None."""

    engine: str
    verdict: str
    states: int
    transitions: int | None
    seconds: float
    cpu: float
    bytes_a_state: float | None


def search(system: System, options: Options) -> Found:
    """Search a system with the compiled engine: broken rules, and states in which no CPU can go on."""
    program = _program(system, options.reduce)
    memory = int(available() * 0.8)
    limits = Limits(memory, cores=options.cores, at_once=options.compact, states=options.states)
    found = Search(program, limits)
    wall, cpu = time.perf_counter(), time.process_time()
    found.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    raced = bool(found.before or found.count(explorer.DEAD))
    limited = found.count(explorer.LIMITS)
    verdict = "race" if raced else "holds" if found.complete and not limited else "undecided"
    return Found("native", verdict, found.states, found.transitions, wall, cpu, found.memory / found.states)


def _program(system: System, reduce: bool) -> Program:
    if not reduce:
        return Program(system, coverage=False)
    reduced = reduce_system(system)
    return Program(reduced.system, coverage=False, symmetry=reduced.symmetry)


MODELS: Final[dict[str, Callable[..., System]]] = {"kvm-seq": kvm_seq, "interval": interval}
#: What the broken variant of a model is called there.
BROKEN: Final = {"kvm-seq": "literal", "interval": "forgetful"}
STATUS: Final = {"holds": 0, "race": 1, "undecided": 3}


def main() -> None:
    """Read the command line, search, print."""
    gc.set_threshold(UNTIL_COLLECTED)
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", choices=MODELS)
    for name in ("vcpus", "hosts", "times", "pages", "frames"):
        parser.add_argument(name, type=int)
    parser.add_argument("--reduce", choices=("all", "none"), default="all")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--states", type=int, help="stop, undecided, once there are more")
    parser.add_argument("--compact", action="store_true", help="keep hashes of states in place of states")
    variant = parser.add_mutually_exclusive_group()
    variant.add_argument("--broken", action="store_true", help="the variant that races")
    variant.add_argument("--forever", action="store_true", help="hosts never stop")
    parser.add_argument("--free", action="store_true", help="any free frame, pages in any order (kvm-seq)")
    given = parser.parse_args()
    chosen = {BROKEN[given.model]: given.broken, "forever": given.forever}
    if given.model == "kvm-seq":
        chosen["free"] = given.free
    elif given.free:
        parser.error("--free is for kvm-seq")
    bound = (given.vcpus, given.hosts, given.times, given.pages, given.frames)
    system = MODELS[given.model](*bound, **chosen)
    found = search(system, Options(given.reduce == "all", given.cores, given.compact, given.states))
    print(json.dumps(asdict(found)))
    sys.exit(STATUS[found.verdict])


if __name__ == "__main__":
    main()
