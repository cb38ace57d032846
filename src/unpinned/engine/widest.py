# SPDX-License-Identifier: Apache-2.0
"""Say which variable takes the most values, when a search was too large: what to lower first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from unpinned.engine.packing import Packing

#: More states than these are not looked at; they are taken at equal distances.
_SAMPLE: Final = 20_000


def widest(
    pack: Packing, ranges: Sequence[tuple[int, int]], packed: Callable[[int], tuple[int, ...]]
) -> tuple[str, int]:
    """Return the name of the variable with the most values among some states, and how many; a local as "thread.local".

    An array is one variable, and its value that of all elements. `ranges` are the numbers of the states.
    """
    total = sum(high - low for low, high in ranges)
    stride = max(1, -(-total // _SAMPLE))
    states = [pack.unpack(packed(number)) for low, high in ranges for number in range(low, high, stride)]
    slots = list(pack.lay.shared.items())
    for thread, locals_ in zip(pack.system.threads, pack.lay.locals, strict=True):  # two threads may have one name
        slots += [(f"{thread.name}.{name}", slot) for name, slot in locals_.items()]
    counts = [(name, len({state[slot.at : slot.at + slot.var.size] for state in states})) for name, slot in slots]
    return max(counts, key=lambda item: item[1]) if states and counts else ("", 0)
