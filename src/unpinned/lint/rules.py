# SPDX-License-Identifier: Apache-2.0
"""Look at a plan with every rule, and say which findings it waives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from unpinned.ir.rules import LINTS
from unpinned.lint.blocking import sleep_not_blockable, trylock_ignored
from unpinned.lint.counts import unbalanced_count
from unpinned.lint.finding import Finding, Walked
from unpinned.lint.flags import read_then_clear
from unpinned.lint.flushes import flush_after_unlock
from unpinned.lint.graph import hooks, reaped
from unpinned.lint.locking import check_outside_lock, lock_across_gup
from unpinned.lint.sequences import set_seq_late, set_seq_missing
from unpinned.lint.snapshots import snapshot_after_read, snapshot_in_loop, snapshot_not_refreshed
from unpinned.lint.walk import paths
from unpinned.plan.reading.classes import PlanClass

#: The rule that each name of LINTS stands for.
BY_NAME: Final[Mapping[str, Callable[[Walked], Iterator[Finding]]]] = {
    "snapshot-after-read": snapshot_after_read,
    "snapshot-in-loop": snapshot_in_loop,
    "snapshot-not-refreshed": snapshot_not_refreshed,
    "check-outside-lock": check_outside_lock,
    "lock-across-gup": lock_across_gup,
    "flush-after-unlock": flush_after_unlock,
    "unbalanced-count": unbalanced_count,
    "read-then-clear": read_then_clear,
    "sleep-not-blockable": sleep_not_blockable,
    "trylock-ignored": trylock_ignored,
    "set-seq-missing": set_seq_missing,
    "set-seq-late": set_seq_late,
}


#: The rule of the checker that alone is broken by what a lint finds: whoever waives the one waives the other.
BREAKS: Final[Mapping[str, str]] = {"sleep-not-blockable": "sleep-in-atomic"}


@dataclass(frozen=True, slots=True)
class Linted:
    """What the rules say of a plan.

    `found` is what it does not waive and `waived` what it does. `idle` are the rules that it waives and that find
    nothing. `cut` are the hooks with too many paths to be walked to the end: if there are any, no rule was asked.
    """

    plan: PlanClass
    found: tuple[Finding, ...]
    waived: tuple[Finding, ...]
    idle: tuple[str, ...]
    cut: tuple[str, ...]

    def reason(self, finding: Finding) -> str:
        """Return why a finding is waived."""
        return self.plan.waive[_waiver(self.plan, finding)]


def _waiver(plan: PlanClass, finding: Finding) -> str:
    """Return the name by which a plan waives a finding; empty if it does not."""
    names = (finding.rule, BREAKS.get(finding.rule, ""))
    return next((name for name in names if name in plan.waive), "")


def look(plan: PlanClass) -> Linted:
    """Look at a plan with every rule; nothing is searched.

    :raises PlanError: for whatever the plan does that is not in the language.
    """
    walked = Walked(*({hook.name: paths(hook) for hook in each} for each in (hooks(plan), reaped(plan))))
    walks = (*walked.paths.items(), *walked.reaped.items())
    cut = tuple(dict.fromkeys(name for name, walk in walks if walk.cut))
    found = {finding for name in LINTS if not cut for finding in BY_NAME[name](walked)}
    every = sorted(found, key=lambda one: (one.pos.file, one.pos.line, one.pos.col, one.hook, one.rule, one.what))
    rules = {one.rule for one in every}
    return Linted(
        plan=plan,
        found=tuple(one for one in every if not _waiver(plan, one)),
        waived=tuple(one for one in every if _waiver(plan, one)),
        idle=tuple(name for name in plan.waive if name in LINTS and name not in rules and not cut),
        cut=cut,
    )


def lint_exit_code(linted: Sequence[Linted], errors: bool = False) -> int:
    """Return the exit code of a call: 1 if a lint was found that is not waived, else 2 after an error, else 0."""
    if any(one.found for one in linted):
        return 1
    return 2 if errors else 0
