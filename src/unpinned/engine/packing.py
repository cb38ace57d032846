# SPDX-License-Identifier: Apache-2.0
"""Pack a state into a few 64-bit words: bit fields of the width that their values need.

Every variable that can be read or written through an index that is not constant stands as a *row*: elements of one
width, side by side, in as few words as they need. A thread's place and its locals stand together: the *slice* of the
thread, so that symmetric threads can be exchanged word by word. A local has bits only where it is dirty (dirty.py):
locals that are never dirty together share them, and places that nothing leads to have no number. What a state packs
to is unique, and it unpacks to the same state again, so that states can be counted packed.

Broken states are never packed: the search files the state before (explorer.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from unpinned.engine.dirty import dirty_locals
from unpinned.ir.bounds import Interval, Name, bounds
from unpinned.ir.layout import Layout, layout, shape
from unpinned.ir.liveness import Cell
from unpinned.ir.program import System, Var
from unpinned.reduce.alike import Key

WORD: Final = 64


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of a word: a value v is stored as v + bias."""

    word: int
    shift: int
    bits: int
    bias: int

    @property
    def mask(self) -> int:
        """Return the mask of the value, before it is shifted."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Elements `first` to `first + count - 1` of a row, side by side in one word from `shift` up."""

    first: int
    count: int
    word: int
    shift: int


@dataclass(frozen=True, slots=True)
class Row:
    """A shared variable: its elements, each of `bits`, in chunks in the order of the elements."""

    var: Var
    bits: int
    bias: int
    chunks: tuple[Chunk, ...]

    def field(self, index: int) -> Field:
        """Return where an element stands."""
        chunk = next(c for c in self.chunks if c.first <= index < c.first + c.count)
        return Field(chunk.word, chunk.shift + (index - chunk.first) * self.bits, self.bits, self.bias)


@dataclass(frozen=True, slots=True)
class Slice:
    """A thread's own part of a state.

    `places` numbers the places that are reached; `registers` are the fields of locals, and `held` says for each
    place which cell stands in which register there. All of it, and what arrays hold for the thread where it may be
    exchanged, stands side by side in `parts`.
    """

    pc: Field
    places: dict[int, int]
    registers: tuple[Field, ...]
    held: dict[int, dict[Cell, int]]
    parts: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """Where everything stands: `rows` by the name of the shared variable, one slice a thread, `words` in all."""

    system: System
    lay: Layout
    rows: dict[str, Row]
    slices: tuple[Slice, ...]
    words: int

    def pack(self, state: bytes) -> tuple[int, ...]:
        """Pack a state of ir/layout.py in which no rule is broken."""
        out = [0] * self.words

        def put(at: Field, value: int) -> None:
            out[at.word] |= (value + at.bias) << at.shift

        for name, row in self.rows.items():
            slot = self.lay.shared[name]
            for i in range(row.var.size):
                put(row.field(i), state[slot.at + i] - slot.bias)
        for t, part in enumerate(self.slices):
            place = self.lay.place(state, t)
            put(part.pc, part.places[place])
            for (name, i), register in part.held[place].items():
                slot = self.lay.locals[t][name]
                put(part.registers[register], state[slot.at + i] - slot.bias)
        return tuple(out)

    def unpack(self, words: Iterable[int]) -> bytes:
        """Return the state of ir/layout.py that packs to these words."""
        packed = tuple(words)
        state = bytearray(self.lay.size)

        def get(at: Field) -> int:
            return (packed[at.word] >> at.shift & at.mask) - at.bias

        for name, row in self.rows.items():
            slot = self.lay.shared[name]
            for i in range(row.var.size):
                state[slot.at + i] = get(row.field(i)) + slot.bias
        for t, part in enumerate(self.slices):
            for slot in self.lay.locals[t].values():
                for i in range(slot.var.size):
                    state[slot.at + i] = slot.var.init + slot.bias
            code = get(part.pc)
            place = next(place for place, number in part.places.items() if number == code)
            at = self.lay.pc[t]
            state[at] = place & 255
            if self.lay.wide[t]:
                state[at + 1] = place >> 8
            for (name, i), register in part.held[place].items():
                slot = self.lay.locals[t][name]
                state[slot.at + i] = get(part.registers[register]) + slot.bias
        return bytes(state)


def width(low: int, high: int) -> tuple[int, int]:
    """Return the bits that values low..high need, and their bias."""
    bias = max(0, -low)
    return max(1, (high + bias).bit_length()), bias


@dataclass(slots=True)
class _Words:
    """Words that are being filled: each unit goes into the first word that has room."""

    used: list[int] = field(default_factory=list)

    def place(self, bits: int) -> tuple[int, int]:
        """Find room for `bits` side by side; return the word and the lowest bit."""
        for word, used in enumerate(self.used):
            if used + bits <= WORD:
                self.used[word] += bits
                return word, used
        self.used.append(bits)
        return len(self.used) - 1, 0


@dataclass(frozen=True, slots=True)
class Kinds:
    """What a packing must keep apart, so that states can be renamed (canonical.py).

    `classes` are threads that may be exchanged: what arrays hold for each CPU then stands with its thread. `of` says
    what the values of a variable are: "frame", "page" (locals keep 0 for "none"), "page+1", "plain", or the name of a
    family (reduce/ranks.py).
    """

    classes: tuple[tuple[int, ...], ...] = ()
    of: Mapping[Key, str] = field(default_factory=dict)
    renamed: bool = False  # whether pages or frames are


_ANY: Final = Kinds()


def packing(system: System, kinds: Kinds = _ANY, limits: Mapping[Name, Interval] | None = None) -> Packing:
    """Find a place for everything; `limits` bound what variables hold, by default what they hold unrenamed.

    :raises PlanError: as ir/layout.py does.
    """
    found = bounds(system) if limits is None else limits
    owned: dict[int, list[tuple[Var, int, int]]] = {t: [] for t in range(len(system.threads))}
    free: list[tuple[int, str, int, int]] = []
    classed = {t for group in kinds.classes for t in group}
    extents = dict(system.extents)
    for var in system.shared:
        bits, _ = width(*found[True, var.name])
        for row, first, count in _pieces(system, var, WORD // bits, bool(kinds.classes) or kinds.renamed):
            if row in classed and any(per in ("vcpu", "cpu") for per, _ in shape(var, extents)[:1]):
                owned[row].append((var, first, count))
            else:
                free.append((-bits * count, var.name, first, count))
    words = _Words()
    chunks: dict[str, list[Chunk]] = {var.name: [] for var in system.shared}
    slices: list[Slice] = []
    for t in range(len(system.threads)):
        draft = _draft(system, t, found, kinds)
        widths = [draft.pc, *(bits for bits, _ in draft.registers)]
        widths += [width(*found[True, var.name])[0] * count for var, _, count in owned[t]]
        places, parts = _side_by_side(widths, words)
        (word, shift), *rest = places
        registers = [Field(*at, *bits) for at, bits in zip(rest, draft.registers, strict=False)]
        slices.append(Slice(Field(word, shift, draft.pc, 0), draft.places, tuple(registers), draft.held, parts))
        for (var, first, count), at in zip(owned[t], rest[len(registers) :], strict=True):
            chunks[var.name].append(Chunk(first, count, *at))
    for size, name, first, count in sorted(free):
        chunks[name].append(Chunk(first, count, *words.place(-size)))
    rows = {}
    for var in system.shared:
        bits, bias = width(*found[True, var.name])
        rows[var.name] = Row(var, bits, bias, tuple(sorted(chunks[var.name], key=lambda chunk: chunk.first)))
    return Packing(system, layout(system), rows, tuple(slices), len(words.used))


def _pieces(system: System, var: Var, most: int, by_row: bool) -> Iterator[tuple[int, int, int]]:
    """Cut a variable into pieces of at most `most` elements: yield the outermost index, first element and count."""
    length = var.size
    outer = var.size
    dims = shape(var, dict(system.extents))
    if by_row and dims:
        if dims[0][0] in ("vcpu", "cpu"):
            outer = var.size // dims[0][1]
        length = min(outer, dims[-1][1])
    for row in range(0, var.size, length):
        for first in range(row, row + length, most):
            yield row // outer, first, min(most, row + length - first)


def _side_by_side(widths: list[int], words: _Words) -> tuple[list[tuple[int, int]], tuple[Field, ...]]:
    """Place fields side by side, in one word or as few parts as they fill; return their places, and the parts."""
    parts: list[list[int]] = [[]]
    for bits in widths:
        if sum(parts[-1]) + bits > WORD:
            parts.append([])
        parts[-1].append(bits)
    places, fields = [], []
    for part in parts:
        word, shift = words.place(sum(part))
        fields.append(Field(word, shift, sum(part), 0))
        for bits in part:
            places.append((word, shift))
            shift += bits
    return places, tuple(fields)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A slice whose bits have no place yet: the width of the pc, and (bits, bias) of each register."""

    places: dict[int, int]
    pc: int
    registers: tuple[tuple[int, int], ...]
    held: dict[int, dict[Cell, int]]


def _draft(system: System, t: int, found: Mapping[Name, Interval], kinds: Kinds) -> _Draft:
    thread = system.threads[t]
    sizes = {var.name: var.size for var in thread.locals}
    dirty = {place: cells for place, cells in enumerate(dirty_locals(thread)) if cells is not None}
    places = {place: code for code, place in enumerate(dirty)}
    together: dict[Cell, set[Cell]] = {cell: set() for cells in dirty.values() for cell in cells}
    for cells in dirty.values():
        for cell in cells:
            together[cell] |= cells
    widths: dict[Cell, tuple[int, int]] = {}
    kind: dict[Cell, object] = {}
    for cell in together:
        low, high = found[False, cell[0]]
        of = kinds.of.get((t, cell[0]), "plain")
        widths[cell] = width(min(low, -1), high) if of == "page" else width(low, high)
        # Cells that share a register are renamed alike; the elements of an array change places, and share none.
        kind[cell] = (widths[cell][1], of, cell if kinds.renamed and sizes[cell[0]] > 1 else None)
    registers: list[list[Cell]] = []
    for cell in sorted(widths, key=lambda cell: (-widths[cell][0], cell)):
        for register in registers:
            if not together[cell] & set(register) and kind[register[0]] == kind[cell]:
                register.append(cell)
                break
        else:
            registers.append([cell])
    number = {cell: i for i, register in enumerate(registers) for cell in register}
    held = {place: {cell: number[cell] for cell in sorted(cells)} for place, cells in dirty.items()}
    return _Draft(places, (len(places) - 1).bit_length(), tuple(widths[r[0]] for r in registers), held)
