# SPDX-License-Identifier: Apache-2.0
"""Long campaigns: comparisons of very many made-up examples, in parts that end in minutes.

Each part has its number for a seed. What one part found can be run again alone: `pytest -m long -k "many_plans and 7"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy, tuples

#: An example that fails is printed as it is: to shrink it would take minutes.
RUN = (Phase.explicit, Phase.reuse, Phase.generate)

_Test = TypeVar("_Test", bound=Callable[..., None])


def in_parts(count: int) -> Callable[[_Test], _Test]:
    """Mark a test as long, and run it once for each `part` from 0 to count - 1."""

    def mark(test: _Test) -> _Test:
        return pytest.mark.long(pytest.mark.timeout(3600)(pytest.mark.parametrize("part", range(count))(test)))

    return mark


def compare_many(compare: Callable[..., object], *made: SearchStrategy[Any], part: int, examples: int) -> None:
    """Call `compare` with so many examples of each strategy, drawn from the seed `part`."""

    @seed(part)
    @settings(max_examples=examples, deadline=None, database=None, phases=RUN, suppress_health_check=list(HealthCheck))
    @given(tuples(*made))
    def some(example: tuple[Any, ...]) -> None:
        compare(*example)

    some()


def seeds(part: int, count: int) -> range:
    """Return the seeds of a part, `count` of them; none is below 1,000, where those of the short forms are."""
    return range(1_000 + part * count, 1_000 + (part + 1) * count)
