# SPDX-License-Identifier: Apache-2.0
"""Measure the required part of the ladder, which is to be done in half of the default time.

`python -m benchmarks.ladder [--runs N] [--json FILE]` searches the required rungs of each shipped plan, N times in
turn, and prints the median and the spread of the wall time, the share of half the default time that it took (1.00 is
all of it), and the states that were searched in a CPU second. The machine's load stands above the table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import unpinned.drivers
from unpinned.api import check_plan, plans
from unpinned.check.ladder import DEFAULT_TIME


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shipped = [plan for file in sorted(Path(unpinned.drivers.__path__[0]).glob("[a-z]*.py")) for plan in plans(file)]
    walls: dict[str, list[float]] = {plan.name: [] for plan in shipped}
    rates: dict[str, list[float]] = {plan.name: [] for plan in shipped}
    states: dict[str, int] = {}
    for _ in range(options.runs):
        for plan in shipped:
            wall, cpu = time.perf_counter(), time.process_time()
            result = check_plan(plan, seconds=1000, required_only=True)
            walls[plan.name].append(time.perf_counter() - wall)
            rates[plan.name].append(result.states / (time.process_time() - cpu))
            states[plan.name] = result.states
    half = DEFAULT_TIME / 2
    rows: list[dict[str, Any]] = [
        {
            "plan": name,
            "states": states[name],
            "seconds": {"median": statistics.median(times), "min": min(times), "max": max(times)},
            "share_of_half_the_default_time": statistics.median(times) / half,
            "states_per_cpu_second": statistics.median(rates[name]),
        }
        for name, times in walls.items()
    ]
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} CPUs, {options.runs} runs, half the default time {half} s")
    print(f"{'plan':<20}{'states':>9}{'median s':>10}{'min':>7}{'max':>7}{'share':>7}{'states/CPU s':>14}")
    for row in rows:
        s = row["seconds"]
        print(
            f"{row['plan']:<20}{row['states']:>9}{s['median']:>10.2f}{s['min']:>7.2f}{s['max']:>7.2f}"
            f"{row['share_of_half_the_default_time']:>7.2f}{row['states_per_cpu_second']:>14.0f}"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
