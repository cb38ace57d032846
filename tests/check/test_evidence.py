# SPDX-License-Identifier: Apache-2.0
"""What the progress line expects."""

from __future__ import annotations

import pytest

from unpinned.check.evidence import expected


@pytest.mark.parametrize("widths", [[], [1, 5], [1, 2, 4, 8, 16], [10, 20, 10, 5], [8, 4, 4, 2], [8, 4, 2, 0]])
def test_nothing_is_expected_while_levels_grow(widths):
    assert expected(widths) is None


def test_levels_that_shrink_evenly_are_summed_to_the_end():
    assert expected([100, 800, 400, 200, 100]) == 1700
