# SPDX-License-Identifier: Apache-2.0
"""Draw what was measured: time from the start of the process to the verdict, and peak memory, bound by bound."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from benchmarks.peers.job import COUNTS
from benchmarks.session import OURS, TABLE, Row


def draw(rows: list[Row], file: Path) -> str:
    """Draw the rows of kvm-seq that hold to a PNG file; return what to say about it."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return "no plot: matplotlib is missing; pip install -e .[bench]"
    matplotlib.use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    kept = [row for row in rows if row.problem.model == "kvm-seq" and row.problem.variant == "right" and row.wall]
    bounds = sorted({row.problem.bound for row in kept}, key=lambda bound: (_size(bound), bound))
    if not bounds:
        return "no plot: nothing to draw"
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    for place, one in enumerate(TABLE):
        own = {row.problem.bound: row for row in kept if row.contender == one.name}
        at = [i for i, bound in enumerate(bounds) if bound in own]
        if not at:
            continue
        found = [own[bounds[i]] for i in at]
        style: dict[str, Any] = {"marker": "osv^<>Dphx+*"[place], "color": f"C{place}"}
        if one in OURS:
            style |= {"color": "black", "linewidth": 2.5, "linestyle": ["-", ":", "--"][place]}
        times.plot(at, [row.wall.median for row in found if row.wall], label=one.says, **style)
        memory.plot(at, [row.mib or 0 for row in found], **style)
    for axes, what in ((times, "seconds, compiling included"), (memory, "MiB at the peak")):
        axes.set_yscale("log")
        axes.set_xticks(range(len(bounds)), [f"({','.join(map(str, bound))})" for bound in bounds], rotation=20)
        axes.set_title(what)
        axes.grid(alpha=0.3)
    figure.suptitle("kvm-seq: vCPUs, hosts, invalidations each, pages, frames")
    figure.legend(loc="outside right center")
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
    return f"plot: {file}"


def _size(bound: tuple[int, ...]) -> float:
    """Return how large a bound is, as near as is known: the states of the plain model."""
    return COUNTS.get(("kvm-seq", bound), math.inf)
