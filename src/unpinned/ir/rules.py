# SPDX-License-Identifier: Apache-2.0
"""Name the rules that a plan can break, most severe first (the table of docs/model.md), and the lints."""

from __future__ import annotations

from typing import Final

#: rule -> the sentence that a report prints under "rule"; the order is that of severity.
RULES: Final[dict[str, str]] = {
    "stale-use": "no spte maps, and no guest access reaches, a frame that is not the page's",
    "flush-before-free": "no frame is freed while a secondary TLB entry still holds it",
    "coherence": "the secondary MMU never has more permission than the PTE, invalidations apart",
    "lifetime": "no object is used after it is freed, or freed twice",
    "balance": "no counter goes below zero, and no reference is put that was not taken",
    "sleep-in-atomic": "nothing that may sleep runs under a spinlock",
    "deadlock": "no CPU waits, and no mm operation spins, for ever",
    "leak": "a fault returns every page reference that it took",
    "progress": "with the mm at rest, every fault completes",
}

#: lint -> what it finds; no search is needed for it, and no verdict rests on it (lint/).
LINTS: Final[dict[str, str]] = {
    "snapshot-after-read": "a snapshot is read before the page that it vouches for is got",
    "snapshot-in-loop": "a snapshot is tested before it is read again",
    "snapshot-not-refreshed": "a loop that tests a snapshot reads it anew",
    "check-outside-lock": "a snapshot is tested, and the page mapped, under one lock that keeps invalidations out",
    "lock-across-gup": "no lock that an invalidation waits for is held round get_user_page() or wait_event()",
    "flush-after-unlock": "what was zapped under a lock is flushed before the lock is dropped",
    "unbalanced-count": "what start counts up, end counts down, on every path",
    "read-then-clear": "a flag that is found set is cleared in the same step, or under a lock",
    "sleep-not-blockable": "what may sleep is done only where r.blockable",
    "trylock-ignored": "an invalidation that does not get its lock refuses, or zaps without it",
    "set-seq-missing": "every invalidation that is taken in sets the notifier's sequence",
    "set-seq-late": "the notifier's sequence is set before the lock of the fault's test is dropped",
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
