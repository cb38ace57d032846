# SPDX-License-Identifier: Apache-2.0
"""Choose who searches: the compiled engine, or the reference engine alone.

Small systems are searched by the reference engine either way: it needs nothing compiled. Both engines answer alike,
and only the time differs.
"""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from unpinned.check import reference
from unpinned.check.evidence import Evidence, Tick
from unpinned.check.search import Bounds
from unpinned.engine.memory import default_memory
from unpinned.ir.program import System
from unpinned.native import machine

#: The compiled engine comes first: it is the one that is taken if none is named.
ENGINES: Final = ("native", "reference")

#: Columns of a message.
_WIDTH: Final = 75
#: Bytes that one state takes in the reference engine, edges included.
_BYTES_A_STATE: Final = 600


@dataclass(frozen=True, slots=True)
class Options:
    """How to search: the engine, cores, bytes of memory (None: half of what is free), and whether to reduce.

    The reference engine searches what has up to `small` states, for which nothing need be compiled. `seed` gives other
    hashes. In `checkpoint`, a folder, long searches are written down, and with `resume` they go on
    from what stands there; one of which nothing does begins anew. `warn` is told what the user should know at once.
    """

    engine: str = ENGINES[0]
    cores: int | None = None
    memory: int | None = None
    reductions: bool = True
    seed: int = 0
    checkpoint: Path | None = None
    resume: bool = False
    warn: Callable[[str], None] = warnings.warn
    small: int = 20_000

    @property
    def is_slow(self) -> bool:
        """Tell whether the compiled engine is wanted and cannot be had, as far as is known without loading it."""
        return self.engine == "native" and not machine.available()

    def warn_of_slowness(self) -> None:
        """Say that the reference engine answers in the place of the compiled one, why, and what to do."""
        fault = machine.fault()
        what = "cannot be loaded" if fault else "is not installed"
        install = "pip install --force-reinstall llvmlite" if fault else "pip install llvmlite"
        lines = [f"llvmlite {what}: the reference engine answers"]
        lines += _indented(
            f"It is many times slower. What went wrong: {fault}" if fault else "It is many times slower."
        )
        lines += _indented(f"Install llvmlite {'anew ' if fault else ''}with: {install}")
        self._warn(lines)

    def warn_of_size(self, system: System, why: str) -> None:
        """Say that the reference engine answers for a system that the compiled one has no room for."""
        lines = [f"{system.name} has {why}: the reference engine answers"]
        self._warn([*lines, *_indented("It is many times slower. A smaller scenario can be compiled.")])

    def _warn(self, lines: list[str]) -> None:
        if self.checkpoint is not None:
            lines += _indented("Nothing is written to the folder of --checkpoint, which is for the compiled engine.")
        self.warn("\n".join(lines))


def _indented(text: str) -> list[str]:
    """Return the lines of a hint."""
    margin = "  "
    return textwrap.wrap(text, _WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


#: The compiled engine, with what the machine has.
DEFAULT: Final = Options()


def examine(system: System, deadline: float | None, options: Options, tick: Tick | None = None) -> Evidence:
    """Search a system and return what is known of it.

    :param deadline: when to stop, as time.monotonic() tells it.
    """
    memory = options.memory or default_memory()
    most = max(1, memory // _BYTES_A_STATE)
    if options.engine == "reference" or options.is_slow:
        return reference.examine(system, Bounds(deadline, most), tick)
    evidence = reference.examine(system, Bounds(deadline, min(most, options.small)), tick)
    if evidence.stopped != "memory":
        return evidence
    from unpinned.check import compiled  # noqa: PLC0415 - small searches do not wait for LLVM
    from unpinned.engine.program import UnfitError  # noqa: PLC0415
    from unpinned.engine.search import Limits  # noqa: PLC0415

    cores = options.cores or len(os.sched_getaffinity(0))
    try:
        if machine.fault():
            options.warn_of_slowness()
            return reference.examine(system, Bounds(deadline, most), tick)
        limits = Limits(memory, deadline, cores=cores, seed=options.seed)
        kept = None if options.checkpoint is None else compiled.Checkpoints(options.checkpoint, options.resume)
        kept = None if kept is None else replace(kept, resume=kept.going_on(system))
        return compiled.examine(system, limits, tick, options.reductions, kept)
    except UnfitError as error:
        options.warn_of_size(system, str(error))
        return reference.examine(system, Bounds(deadline, most), tick)
    except KeyboardInterrupt:  # before the compiled search had begun
        return replace(evidence, stopped="interrupt")
