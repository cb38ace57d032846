# SPDX-License-Identifier: Apache-2.0
"""Find identifiers for the names of a system that SPIN and the C compiler behind it accept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

#: Words that nothing in a model may be called: Promela's, C's, what gcc -E replaces, the model's own.
RESERVED: Final = frozenset(
    word
    for line in (
        "active arrow assert atomic bit bool break byte chan const c_code c_decl c_expr c_state c_track",
        "d_step D_proctype do else empty enabled end end_done eval false fi for full get_priority goto",
        "hidden if in init inline int len local ltl mtype nempty never nfull notrace np_ od of pc_value",
        "pid printf printm priority proctype provided return run select set_priority short show skip",
        "STDIN timeout trace true typedef unless unsigned xr xs auto case char continue default double",
        "enum extern float long register restrict signed sizeof static struct switch union void volatile",
        "while linux unix now broken stopped",
    )
    for word in line.split()
)

#: How a variable may not begin: as macros of pan.c and its headers do (capitals, struct stat, siginfo).
_RISKY: Final = re.compile(r"[^a-z]|(s[ait]|sigev)_")
#: A longer name is cut.
_LONGEST: Final = 60


def variables(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Give each name an identifier that is not in `taken`, and add it there: "plan.seq" is plan_seq."""
    return {name: _free(f"v_{base}" if _RISKY.match(base) else base, taken) for name, base in _bases(names)}


def proctypes(names: Iterable[str], taken: set[str]) -> list[str]:
    """Give each thread an identifier that is not in `taken`, and add it there; names may be the same."""
    return [_free(base if base[:1].isalpha() else f"cpu_{base}", taken) for _, base in _bases(names)]


def _bases(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pair each name with its letters, digits and underscores; temporaries ("fault.%2") are called tmp."""
    for name in names:
        yield name, re.sub(r"\W", "_", name.replace("%", "tmp"), flags=re.ASCII)[:_LONGEST]


def _free(base: str, taken: set[str]) -> str:
    word, n = base, 2
    while word in taken:
        word, n = f"{base}_{n}", n + 1
    taken.add(word)
    return word
