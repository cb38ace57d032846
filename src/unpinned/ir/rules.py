# SPDX-License-Identifier: Apache-2.0
"""Name the rules that a plan can break, most severe first (the table of docs/model.md)."""

from __future__ import annotations

from typing import Final

#: rule -> the sentence that a report prints under "rule"; the order is that of severity.
RULES: Final[dict[str, str]] = {
    "stale-use": "no spte maps, and no guest access reaches, a frame that is not the page's",
    "flush-before-free": "no frame is freed while a secondary TLB entry still holds it",
    "coherence": "the secondary MMU never has more permission than the PTE, invalidations apart",
    "balance": "no counter goes below zero, and no reference is put that was not taken",
    "sleep-in-atomic": "nothing that may sleep runs under a spinlock",
    "deadlock": "no CPU waits, and no mm operation spins, for ever",
    "leak": "a fault returns every page reference that it took",
    "progress": "with the mm at rest, every fault completes",
}

#: The rules that no single state shows: they are asked of the whole graph (check/graph.py).
GRAPH_RULES: Final = frozenset({"deadlock", "progress"})

#: The pseudo-rule of a bound of the model: it makes a plan undecided, never wrong.
LIMIT: Final = "limit"

#: The value of the `broken` slot for each rule: 0 is "none", and LIMIT comes last.
CODES: Final[dict[str, int]] = {rule: code for code, rule in enumerate([*RULES, LIMIT], start=1)}


def severity(rule: str) -> int:
    """Return the place of `rule` in the table: 0 is the most severe."""
    return CODES[rule] - 1
