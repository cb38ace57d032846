# SPDX-License-Identifier: Apache-2.0
"""Place the variables of a system in a state: a bytes object, one byte a value.

Byte 0 is `broken`: 0, or the code of the rule that the last step broke. Then come the shared variables, then for
each thread its place (two bytes, low first, only if a place passes 255) and its locals. A value is stored less the
variable's `lo` if that is negative, else as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unpinned.errors import PlanError
from unpinned.ir.program import System, Var

BROKEN = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a variable stands: its first byte and the variable itself."""

    at: int
    var: Var

    @property
    def bias(self) -> int:
        """Return what is added to a value before it is stored."""
        return -min(self.var.lo, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """The bytes of a state: `shared` and, for each thread, `locals` by name, `pc` by thread, `size` in all."""

    shared: dict[str, Slot]
    locals: tuple[dict[str, Slot], ...]
    pc: tuple[int, ...]
    wide: tuple[bool, ...]
    size: int

    def place(self, state: bytes, thread: int) -> int:
        """Return the step at which `thread` stands."""
        at = self.pc[thread]
        return state[at] | state[at + 1] << 8 if self.wide[thread] else state[at]


def layout(system: System) -> Layout:
    """Lay a system out.

    :raises PlanError: if a variable holds more than 256 values, which no field or local of the language does.
    """
    at = 1

    def place(variables: tuple[Var, ...]) -> dict[str, Slot]:
        nonlocal at
        slots = {}
        for var in variables:
            if var.hi - min(var.lo, 0) > 255:
                raise PlanError(f"{var.name} has more than 256 values", hint="Give it fewer bits.")
            slots[var.name] = Slot(at, var)
            at += var.size
        return slots

    shared = place(system.shared)
    pcs, wides, locals_ = [], [], []
    for thread in system.threads:
        wide = len(thread.steps) > 255
        pcs.append(at)
        wides.append(wide)
        at += 2 if wide else 1
        locals_.append(place(thread.locals))
    return Layout(shared, tuple(locals_), tuple(pcs), tuple(wides), at)


def initial(lay: Layout) -> bytes:
    """Return the state in which every thread stands at its first step and every variable has its initial value."""
    state = bytearray(lay.size)
    for slots in (lay.shared, *lay.locals):
        for slot in slots.values():
            for i in range(slot.var.size):
                state[slot.at + i] = slot.var.init + slot.bias
    return bytes(state)


def shape(var: Var, extents: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return what each dimension of an array counts and how long it is; () if that is not known.

    Where `per` and `size` do not agree it is not known, and the array is one of numbers, whatever `per` says.
    """
    dims = tuple((per, extents.get(per, 0) + (per == "frame")) for per in var.per)
    size = 1
    for _, extent in dims:
        size *= extent
    return dims if size == var.size else ()
