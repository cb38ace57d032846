# SPDX-License-Identifier: Apache-2.0
"""Write canon(p, at, x, s): replace a packed state by one of its orbit, restricted Python.

Under a symmetry (reduce/symmetry.py) states that differ only in the names of frames, pages or threads behave alike, and
one of them is enough. Any choice of that one is sound, since it only has to be in the same orbit; how often the choice
is the same for a whole orbit decides how much is saved. Here:

- The values of a family (reduce/ranks.py) become ranks; no other renaming has a say in that, so it is done first.
- Frames are sorted by a signature that does not depend on the names of frames and exchangeable threads: a sum over
  everything that refers to the frame, each with a number of its own, and with the rest of the thread's slice where a
  thread refers to it. Frames with one signature can as a rule be exchanged, so that their order is immaterial; where
  they cannot (frames that refer to each other in rings, a collision of 64-bit sums), an orbit has several forms.
- Threads that may be exchanged are sorted by their slices, after that.
- For pages every permutation is tried, and the least state is taken.

x is scratch memory from s on: signatures, then two states. The steps of a thread are never looked at: what is renamed
is data, field by field, as `Kinds` says.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from unpinned.engine.explorer import SCRATCH
from unpinned.engine.packing import Field, Packing, Row
from unpinned.ir.layout import shape
from unpinned.ir.program import System, Var
from unpinned.reduce.alike import SHARED, Key

#: Frames and pages are renamed by tables of 4-bit numbers in one word.
_MOST: Final = 15
_MOST_PAGES: Final = 5  # every permutation of them is written out
_ALL: Final = (1 << 64) - 1


@dataclass(slots=True)
class Canon:
    """Write canon() for a packing: frames and pages are renamed if there is more than one, threads by their classes.

    `of` says what variables hold, as in `Kinds`; `families` are the names that it has for families.
    """

    pack: Packing
    classes: tuple[tuple[int, ...], ...]
    pages: int
    frames: int
    of: dict[Key, str]
    families: Sequence[str] = ()
    lines: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the functions.

        :raises ValueError: if there are too many frames or pages for a table, or an array of frames has no word of
            its own.
        """
        if self.frames > _MOST or self.pages > _MOST_PAGES:
            raise ValueError(f"more than {_MOST} frames or {_MOST_PAGES} pages")
        for number, family in enumerate(self.families):
            self._ranks(number, family)
        if self.frames > 1:
            self._frames()
        if self.classes:
            self._threads()
        if self.pages > 1:
            self._pages()
        self._canon()
        return "\n".join(self.lines) + "\n"

    # ---- the whole

    def _canon(self) -> None:
        w = self.pack.words
        self.line(0, "def normal(p: u64p, at: u64, x: u64p, s: u64) -> u64:")
        if self.frames > 1:
            self.line(1, "rename_frames(p, at, x, s)")
        if self.classes:
            self.line(1, "sort_threads(p, at)")
        self.line(1, "return 0")
        self.line(0, "def canon(p: u64p, at: u64, x: u64p, s: u64) -> u64:")
        for number in range(len(self.families)):
            self.line(1, f"rank_{number}(p, at)")
        if self.pages > 1:
            first, second = f"s + {SCRATCH}", f"s + {SCRATCH + w}"
            self.line(1, f"copy_state(x, {first}, p, at)")
        self.line(1, "normal(p, at, x, s)")
        if self.pages > 1:
            permutations = list(itertools.permutations(range(self.pages)))[1:]
            self.line(1, f"for k in range({len(permutations)}):")
            self.line(2, f"rename_pages(k, x, {first}, x, {second})")
            self.line(2, f"normal(x, {second}, x, s)")
            self.line(2, f"if less(x, {second}, p, at):")
            self.line(3, f"copy_state(p, at, x, {second})")
            self._less()
        self.line(1, "return 0")

    def _less(self) -> None:
        """Write less(): whether one state comes before another, the highest word first."""
        made = self.lines
        self.lines = []
        self.line(0, "def less(p: u64p, at: u64, q: u64p, b: u64) -> bool:")
        for k in reversed(range(self.pack.words)):
            self.line(1, f"if p[at + {k}] != q[b + {k}]:")
            self.line(2, f"return p[at + {k}] < q[b + {k}]")
        self.line(1, "return False")
        self.lines += made

    # ---- ranks

    def _ranks(self, number: int, family: str) -> None:
        """Write rank_<number>(): m has a bit for each value that is there, and a value's rank is how many are less."""
        fields = [at for _, at, _ in self._fields(family)]
        self.line(0, f"def rank_{number}(p: u64p, at: u64) -> u64:")
        self._load()
        self.line(1, "m = 1")
        for at in fields:
            self.line(1, f"m |= 1 << {_get(at)}")
        self.line(1, "if (m & (m + 1)) == 0:")
        self.line(2, "return 0")
        text = "popcount(m & ((1 << {}) - 1))"
        self._rename(1, [(at.word, at.mask << at.shift, _shift(text.format(_get(at)), at)) for at in fields])
        self._store("p", "at")

    # ---- frames

    def _frames(self) -> None:
        """Write rename_frames()."""
        fields = self._fields("frame")
        counted = self._counted()
        self.line(0, "def rename_frames(p: u64p, at: u64, x: u64p, s: u64) -> u64:")
        self._load()
        for f in range(self.frames + 1):
            self.line(1, f"x[s + {f}] = 0")
        classed = {t: number for number, group in enumerate(self.classes) for t in group}
        for t in sorted({t for t, _, _ in [*fields, *counted] if t != SHARED}):
            self._context(t, fields, counted)
        for number, (t, at, _) in enumerate(fields):
            place = number if t == SHARED else self._rank(t, at)
            added = str(_number(f"{classed.get(t, -1)} field {place}"))
            if t != SHARED:
                self.line(1, f"m = (c{t} + {added}) * {_number('mix')}")
                added = "(m ^ (m >> 29))"
            self.line(1, f"x[s + {_get(at)}] += {added}")
        for t, row, first in counted:
            name = f"{classed.get(t, -1)} {row.var.name} {first if t == SHARED else ''}"
            for f in range(1, self.frames + 1):
                at = row.field(first + f)
                added = f"({_get(at)} * {_number(name)})"
                if t != SHARED:
                    self.line(1, f"m = (c{t} + {added}) * {_number('mix')}")
                    added = "(m ^ (m >> 29))"
                self.line(1, f"x[s + {f}] += {added}")
        for f in range(1, self.frames + 1):
            self.line(1, f"k{f} = (x[s + {f}] & {_ALL ^ 15}) | {f}")
        for a, b in _network(self.frames):
            self._exchange(f"k{a + 1}", f"k{b + 1}")
        # A number above all frames is none of them, and keeps its name.
        rest = sum(f << 4 * f for f in range(self.frames + 1, _MOST + 1))
        new = " | ".join(f"({r} << ((k{r} & 15) * 4))" for r in range(1, self.frames + 1))
        self.line(1, f"to = {rest} | {new}")
        self.line(1, f"if to == {sum(f << 4 * f for f in range(_MOST + 1))}:")
        self.line(2, "return 0")
        moved = [(at.word, at.mask << at.shift, _shift(f"((to >> ({_get(at)} * 4)) & 15)", at)) for _, at, _ in fields]
        for _, row, first in counted:
            start = row.field(first)
            for f in range(1, self.frames + 1):
                at = row.field(first + f)
                new = f"(((to >> {4 * f}) & 15) * {row.bits} + {start.shift})"
                moved.append((at.word, at.mask << at.shift, f"({_get(at)} << {new})"))
        self._rename(1, moved)
        self._store("p", "at")

    def _context(
        self, t: int, fields: Sequence[tuple[int, Field, str]], counted: Sequence[tuple[int, Row, int]]
    ) -> None:
        """Write ct: the slice of a thread, all but what refers to frames, mixed into one number."""
        own = [at for thread, at, _ in fields if thread == t]
        own += [
            row.field(first + f) for thread, row, first in counted if thread == t for f in range(1, self.frames + 1)
        ]
        self.line(1, f"c{t} = {_number('context')}")
        for part in self.pack.slices[t].parts:
            mask = part.mask << part.shift
            for at in own:
                if at.word == part.word:
                    mask &= ~(at.mask << at.shift)
            self.line(1, f"c{t} = (c{t} ^ ((w{part.word} & {mask & _ALL}) >> {part.shift})) * {_number('slice')}")
            self.line(1, f"c{t} ^= c{t} >> 31")

    def _rank(self, t: int, at: Field) -> int:
        """Return where a field stands within its thread's slice: the same for threads that may be exchanged."""
        offset = 0
        for part in self.pack.slices[t].parts:
            if part.word == at.word and part.shift <= at.shift < part.shift + part.bits:
                return offset + at.shift - part.shift
            offset += 64
        raise ValueError(f"a field of thread {t} stands outside its slice")

    # ---- threads

    def _threads(self) -> None:
        """Write sort_threads(): a sorting network for each class, on whole slices."""
        self.line(0, "def sort_threads(p: u64p, at: u64) -> u64:")
        self._load()
        for group in self.classes:
            count = len(self.pack.slices[group[0]].parts)
            for i, t in enumerate(group):
                for k, part in enumerate(self.pack.slices[t].parts):
                    self.line(1, f"a{i}_{k} = {_get(part)}")
            for a, b in _network(len(group)):
                self.line(1, f"if {self._above(a, b, count)}:")
                for k in range(count):
                    self.line(2, f"y = a{a}_{k}")
                    self.line(2, f"a{a}_{k} = a{b}_{k}")
                    self.line(2, f"a{b}_{k} = y")
            self._rename(
                1,
                [
                    (part.word, part.mask << part.shift, _shift(f"a{i}_{k}", part))
                    for i, t in enumerate(group)
                    for k, part in enumerate(self.pack.slices[t].parts)
                ],
            )
        self._store("p", "at")

    @staticmethod
    def _above(a: int, b: int, count: int) -> str:
        """Write whether slice a comes after slice b."""
        text = f"a{a}_{count - 1} > a{b}_{count - 1}"
        for k in reversed(range(count - 1)):
            text = f"a{a}_{k} > a{b}_{k} or (a{a}_{k} == a{b}_{k} and ({text}))"
        return text

    # ---- pages

    def _pages(self) -> None:
        """Write rename_pages(): permutation k of the pages of a state, to another place."""
        values = {at: kind for kind in ("page", "page+1") for _, at, _ in self._fields(kind)}
        self.line(0, "def rename_pages(k: u64, p: u64p, at: u64, q: u64p, b: u64) -> u64:")
        self._load()
        self.line(1, "match k:")
        permutations = list(itertools.permutations(range(self.pages)))[1:]
        for k, permutation in enumerate(permutations):
            self.line(2, f"case {k if k < len(permutations) - 1 else '_'}:")
            table = {i: i for i in range(_MOST + 1)} | {old + 1: new + 1 for old, new in enumerate(permutation)}
            self.line(3, f"to = {sum(new << 4 * old for old, new in table.items())}")
            source = {at: at for at in values} | dict(self._moved(permutation))
            moved = []
            for at, old in source.items():
                text = _get(old)
                if kind := values.get(old):
                    off = int(kind == "page" and old.bias == 0)
                    text = f"(((to >> (({text} + {off}) * 4)) & 15) - {off})"
                moved.append((at.word, at.mask << at.shift, _shift(text, at)))
            self._rename(3, moved)
        self._store("q", "b")

    def _moved(self, permutation: tuple[int, ...]) -> Iterator[tuple[Field, Field]]:
        """Yield where each element of an array that counts pages goes, and where it comes from."""
        for row in self.pack.rows.values():
            for old, new in _elements(row.var, self.pack.system, "page", permutation):
                yield row.field(new), row.field(old)
        for t, part in enumerate(self.pack.slices):
            register = {cell: r for cells in part.held.values() for cell, r in cells.items()}
            for var in self.pack.system.threads[t].locals:
                for old, new in _elements(var, self.pack.system, "page", permutation):
                    if (var.name, old) in register:
                        yield part.registers[register[var.name, new]], part.registers[register[var.name, old]]

    # ---- what is renamed

    def _fields(self, kind: str) -> list[tuple[int, Field, str]]:
        """Return (thread or SHARED, field, name) for each field whose values are of a kind."""
        found = []
        for name, row in self.pack.rows.items():
            if self.of.get((SHARED, name)) == kind:
                found += [(self._owner(row.field(i)), row.field(i), name) for i in range(row.var.size)]
        for t, part in enumerate(self.pack.slices):
            registers = {r: cell for cells in part.held.values() for cell, r in cells.items()}
            for r, (name, _) in sorted(registers.items()):
                if self.of.get((t, name)) == kind:
                    found.append((t if self._classed(t) else SHARED, part.registers[r], f"register {t} {r}"))
        if any(at.bias > (kind == "page") for _, at, _ in found):
            raise ValueError(f"a field of {kind}s has negative values")
        if kind not in self.families and any(at.mask + (kind == "page" and at.bias == 0) > _MOST for _, at, _ in found):
            raise ValueError(f"a field of {kind}s holds more than {_MOST}")
        return found

    def _classed(self, t: int) -> bool:
        return any(t in group for group in self.classes)

    def _owner(self, at: Field) -> int:
        """Return the exchangeable thread in whose slice a field stands, or SHARED."""
        for group in self.classes:
            for t in group:
                if any(p.word == at.word and p.shift <= at.shift < p.shift + p.bits for p in self.pack.slices[t].parts):
                    return t
        return SHARED

    def _counted(self) -> list[tuple[int, Row, int]]:
        """Return (thread or SHARED, row, element 0) for each row that has an element for each frame."""
        found = []
        for row in self.pack.rows.values():
            per = [each for each, _ in shape(row.var, dict(self.pack.system.extents))]
            if "frame" not in per:
                continue
            if per[-1] != "frame" or per.count("frame") > 1:
                raise ValueError(f"{row.var.name} does not count frames last")
            for first in range(0, row.var.size, self.frames + 1):
                if row.field(first).word != row.field(first + self.frames).word:
                    raise ValueError(f"{row.var.name} has no word to itself")
                found.append((self._owner(row.field(first)), row, first))
        return found

    # ---- lines

    def _load(self) -> None:
        for k in range(self.pack.words):
            self.line(1, f"w{k} = p[at + {k}]")

    def _store(self, p: str, at: str) -> None:
        for k in range(self.pack.words):
            self.line(1, f"{p}[{at} + {k}] = w{k}")
        self.line(1, "return 0")

    def _rename(self, depth: int, moved: list[tuple[int, int, str]]) -> None:
        """Write that fields, as (word, mask, bits in place), get new values, all from the old ones."""
        words = sorted({word for word, _, _ in moved})
        for word in words:
            mask = 0
            for other, bits, _ in moved:
                mask |= bits if other == word else 0
            terms = [f"(w{word} & {_ALL & ~mask})", *(text for other, _, text in moved if other == word)]
            self.line(depth, f"n{word} = {' | '.join(terms)}")
        for word in words:
            self.line(depth, f"w{word} = n{word}")

    def _exchange(self, a: str, b: str) -> None:
        self.line(1, f"if {a} > {b}:")
        self.line(2, f"y = {a}")
        self.line(2, f"{a} = {b}")
        self.line(2, f"{b} = y")

    def line(self, depth: int, text: str) -> None:
        """Add a line."""
        self.lines.append("    " * depth + text)


def _elements(var: Var, system: System, kind: str, permutation: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield (old, new) for each element of an array whose dimensions of a kind are permuted; nothing for others."""
    dims = shape(var, dict(system.extents))
    if all(per != kind for per, _ in dims):
        return
    for old in range(var.size):
        rest, new, stride = old, 0, 1
        for per, extent in reversed(dims):
            at = rest % extent
            new += stride * (permutation[at] if per == kind else at)
            rest, stride = rest // extent, stride * extent
        yield old, new


def _get(at: Field) -> str:
    return f"((w{at.word} >> {at.shift}) & {at.mask})"


def _shift(text: str, at: Field) -> str:
    return f"({text} << {at.shift})"


def _number(text: str) -> int:
    """Return an odd 64-bit number that looks random, the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") | 1


def _network(count: int) -> list[tuple[int, int]]:
    """Return the exchanges (a, b), a < b, of a network that sorts so many."""
    best = {3: [(0, 1), (1, 2), (0, 1)], 4: [(0, 1), (2, 3), (0, 2), (1, 3), (1, 2)]}
    return best.get(count, [(i, i + 1) for last in range(count - 1, 0, -1) for i in range(last)])
