# SPDX-License-Identifier: Apache-2.0
"""Write what the lints say of a plan as text."""

from __future__ import annotations

from unpinned.ir.rules import LINTS
from unpinned.lint.finding import Finding
from unpinned.lint.rules import Linted
from unpinned.report.text import counted, head_lines, wrapped

_INDENT = "    "


def lint_block(linted: Linted) -> str:
    """Return the block of a plan: its lints, those that it waives, and how many there are."""
    plan = linted.plan
    lines = [f"LINT: unpinned: {plan.name} has {counted(len(linted.found), 'lint')}", ""]
    lines += head_lines(f"{plan.pos.file}:{plan.pos.line} {plan.name}", "nothing was searched")
    for finding in linted.found:
        lines += ["", *_finding(finding)]
    if remarks := _remarks(linted):
        lines += ["", *remarks]
    lines += ["", f"Lints {plan.name} {len(linted.found)} found, {len(linted.waived)} waived"]
    return "\n".join(lines) + "\n"


def lint_lines(linted: Linted) -> list[str]:
    """Return the lines that the report of a check has of the lints: none, if there is nothing to say."""
    lines: list[str] = []
    for finding in linted.found:
        lines += ["", *_finding(finding)]
    if remarks := _remarks(linted):
        lines += ["", *remarks]
    if not lines:
        return []
    return [
        f"LINT: unpinned: {linted.plan.name} has {counted(len(linted.found), 'lint')}; no verdict rests on them",
        *lines,
    ]


def _finding(finding: Finding) -> list[str]:
    """Return the lines of one finding: where it is, the line, what the rule wants, what is wrong, what to do."""
    return [
        f" {finding.rule}: {_place(finding)}",
        f"{_INDENT}{finding.pos.text.strip()}"[:75],
        *wrapped("   rule   ", LINTS[finding.rule]),
        *wrapped("   here   ", finding.what),
        *wrapped("   to do  ", finding.advice),
    ]


def _remarks(linted: Linted) -> list[str]:
    """Return the lines on waivers, and on what was not looked at."""
    lines: list[str] = []
    for finding in linted.waived:
        lines += wrapped(" waived         ", f"{finding.rule}, {_place(finding)}: {linted.reason(finding)}")
    for rule in linted.idle:
        lines += wrapped(" waived in vain ", f"{rule} finds nothing: leave its waiver out")
    for hook in linted.cut:
        lines += wrapped(" not looked at  ", f"{hook}() has more paths than lints follow")
    return lines


def _place(finding: Finding) -> str:
    return f"{finding.pos.short}, {finding.hook}()"
