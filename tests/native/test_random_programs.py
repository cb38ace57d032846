# SPDX-License-Identifier: Apache-2.0
"""Programs made up by hypothesis do the same in every execution: result, memory and fault."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_natives import MEMORY, OFFSETS, POINTERS, programs
from support.natively import At, Ways

TOP = (1 << 64) - 1
VALUES = st.sampled_from([0, 1, 2, 7, 63, 64, 255, TOP]) | st.integers(0, TOP)
ARGS = [At(width, OFFSETS[name] - OFFSETS[name] % (width // 8)) for name, width in POINTERS.items()]
INPUTS = st.lists(st.tuples(VALUES, VALUES, st.binary(min_size=MEMORY, max_size=MEMORY)), min_size=1, max_size=4)

CONSIDERED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@CONSIDERED
@given(programs(safe=True), INPUTS)
def test_programs_that_stay_inside_their_memory_agree(source, inputs):
    ways = Ways(source, {"f": 6})
    for a, b, memory in inputs:
        ways.same("f", *ARGS, a, b, memory=memory)


@CONSIDERED
@given(programs(safe=False), INPUTS)
def test_programs_that_may_leave_their_memory_have_the_same_fault_at_the_same_place(source, inputs):
    ways = Ways(source, {"f": 6}, release=False)
    for a, b, memory in inputs:
        ways.same("f", *ARGS, a, b, memory=memory)
