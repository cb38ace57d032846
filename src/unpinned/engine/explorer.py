# SPDX-License-Identifier: Apache-2.0
"""Search level by level, on one table that all cores share: restricted Python, compiled with the steps of a system.

States are numbered where they are stored: each worker appends to a region of its own of `states` (WORDS words a
state), so that a level is one range of numbers a worker, and chunks of BATCH states are handed out by one counter.
`table` is open addressing with linear probing, of any size: the upper half of a hash, as a fraction, times the size is
the slot where it begins, so that a table can grow where it stands (table.py). *Exact*: an entry is the upper half of
the hash and the state's number plus one; a state whose hash agrees is compared word by word. An entry is stored by one
compare-and-swap, after the state: whoever finds it can read the state, and each state is stored exactly once.
*Compacted*: an entry is the 64-bit hash alone, what agrees counts as seen, and `prints` keeps the hash of each state by
its number. The entry is stored first, since nobody reads the state before the level has ended.

Broken states are not stored: the states that lead to them are filed. A search that ends at the first violation ends
with the level in which the broken states would stand, one behind the level that is filed; so both engines see the same.

A chunk is worked on in rounds, so that memory is asked for before it is needed: expand all of its states, and leave out
what the worker found shortly before (`recent`, by the lower bits of the hash: whatever stands there is in the table,
or will be when the chunk is done); ask for the table where the other successors would stand; find the slot where each
one's hash, or nothing, stands, and ask for the state there; insert them from that slot on (an entry never moves, so
what stands before it cannot have changed into it, and if the slot was free and is not any more, probing goes on there).
A worker that stops, does so between chunks: all that the search is stands in the arrays, so the table can grow, or
everything be written to disk, whenever no worker runs.

`control` holds the counters (below); worker w's part begins at OWN + w * EACH.
"""

from __future__ import annotations

from typing import Final

#: What succ() returns (steps.py): two flags, and bits for so many threads.
RACE: Final = 1
LIMITED: Final = 2
MAX_THREADS: Final = 12

#: Words of `control`: the next chunk, states in all, states at which to stop for a larger table, whether to stop, the
#: level, whether a CPU had to wait, whether the search goes on past violations, and the lengths of the three files.
NEXT: Final = 0
TOTAL: Final = 1
ROOM: Final = 2
STOP: Final = 3
DEPTH: Final = 4
WAITED: Final = 5
TO_END: Final = 6
BROKEN: Final = 7
LIMITS: Final = 8
DEAD: Final = 9
WIDE: Final = 10  # a level of so many states is left to all workers
FILED: Final = 11  # how many states a file has room for; more are only counted
DEADLY: Final = 12  # whether a state in which no CPU can go on is a violation
BEFORE: Final = 13  # how many states of earlier levels lead to broken ones
DEEP: Final = 14  # a level at which to stop, for there is room for the ends of so many
#: A worker's part: the range of the level, where its next state goes, transitions taken.
OVER: Final = 15  # whether the search has ended at a violation
OWN: Final = 16
EACH: Final = 8
LOW: Final = 0
HIGH: Final = 1
TAIL: Final = 2
TAKEN: Final = 3

BATCH: Final = 64
#: How far ahead memory is asked for when a table is rebuilt.
AHEAD: Final = 24
#: The first slots, which are emptied first when a table grows, and how many entries can be put aside then.
FLOOR: Final = 1 << 12
STASH: Final = 2 * FLOOR
#: How many states a worker remembers of those that it found last; a power of two.
RECENT: Final = 1 << 13

#: Words of scratch memory that canon() has beside two states.
SCRATCH: Final = 16

#: Odd numbers without a pattern, and one that a seed is added to.
_C1: Final = 0x9E3779B97F4A7C15
_C2: Final = 0xD6E8FEB86659FD93
_C3: Final = 0xA0761D6478BD642F

_NAMES: Final = {
    name: value
    for name, value in globals().items()
    if name.isupper() and not name.startswith("_") and isinstance(value, int)
}

_TEXT: Final = """
def slot_of(h: u64, size: u64) -> u64:
    return ((h >> 32) * size) >> 32


def next_slot(slot: u64, size: u64) -> u64:
    return 0 if slot + 1 == size else slot + 1


def file_state(file: u32p, control: u64p, counter: u64, state: u64) -> u64:
    n = fetch_add(control, counter, 1)
    if n < control[FILED]:
        file[n] = state
    return n


def expand(states: u64p, low: u64, high: u64, out: u64p, hashes: u64p, sources: u64p, seed: u64, table: u64p,
           size: u64, control: u64p, own: u64, broken: u32p, limits: u32p, dead: u32p, seen: u8p,
           recent: u64p) -> u64:
    m = 0
    taken = 0
    for head in range(low, high):
        r = succ(states, head * WORDS, out, m * WORDS, seen)
        n = r & 65535
        able = popcount((r >> 20) & 4095)
        unfinished = popcount((r >> 32) & 4095)
        if (r >> 16) & RACE != 0:
            file_state(broken, control, BROKEN, head)
        if (r >> 16) & LIMITED != 0:
            file_state(limits, control, LIMITS, head)
        if able < unfinished:
            if able == 0:
                file_state(dead, control, DEAD, head)
            elif aload(control, WAITED) == 0:
                astore(control, WAITED, 1)
        taken += n
        for i in range(m, m + n):
            CANON
            h = hash_state(out, i * WORDS, seed)
            last = (h & (RECENT - 1)) * WORDS
            if not same_state(recent, last, out, i * WORDS):
                copy_state(recent, last, out, i * WORDS)
                copy_state(out, m * WORDS, out, i * WORDS)
                hashes[m] = h
                sources[m] = head
                m += 1
    for i in range(m):
        prefetch(table, slot_of(hashes[i], size))
    control[own + TAKEN] += taken
    return m


def insert_exact(states: u64p, parents: u32p, table: u64p, size: u64, tail: u64, out: u64p, hashes: u64p,
                 sources: u64p, m: u64) -> u64:
    for i in range(m):
        h = hashes[i]
        slot = slot_of(h, size)
        e = table[slot]
        while e != 0 and (e ^ h) >> 32 != 0:
            slot = next_slot(slot, size)
            e = table[slot]
        if e != 0:
            prefetch(states, ((e & 0xFFFFFFFF) - 1) * WORDS)
        hashes[i] = ((h >> 32) << 32) | slot
    for i in range(m):
        tag = (hashes[i] >> 32) << 32
        slot = hashes[i] & 0xFFFFFFFF
        e = aload(table, slot)
        while True:
            if e == 0:
                copy_state(states, tail * WORDS, out, i * WORDS)
                parents[tail] = sources[i]
                e = cas(table, slot, 0, tag | (tail + 1))
                if e == 0:
                    tail += 1
                    break
            elif (e ^ tag) >> 32 == 0 and same_state(states, ((e & 0xFFFFFFFF) - 1) * WORDS, out, i * WORDS):
                break
            else:
                slot = next_slot(slot, size)
                e = aload(table, slot)
    return tail


def insert_compact(states: u64p, parents: u32p, prints: u64p, table: u64p, size: u64, tail: u64, out: u64p,
                   hashes: u64p, sources: u64p, m: u64) -> u64:
    for i in range(m):
        h = hashes[i]
        if h == 0:
            h = 1
        slot = slot_of(h, size)
        e = aload(table, slot)
        while e != h:
            if e == 0:
                e = cas(table, slot, 0, h)
                if e == 0:
                    copy_state(states, tail * WORDS, out, i * WORDS)
                    parents[tail] = sources[i]
                    prints[tail] = h
                    tail += 1
                    break
            else:
                slot = next_slot(slot, size)
                e = aload(table, slot)
    return tail


def level(worker: u64, workers: u64, compact: u64, seed: u64, states: u64p, parents: u32p, prints: u64p, table: u64p,
          size: u64, control: u64p, broken: u32p, limits: u32p, dead: u32p, seen: u8p, out: u64p, hashes: u64p,
          sources: u64p, recent: u64p) -> u64:
    own = OWN + EACH * worker
    tail = control[own + TAIL]
    ended = 0
    while ended == 0 and aload(control, TOTAL) < control[ROOM] and aload(control, STOP) == 0:
        chunk = fetch_add(control, NEXT, 1) * BATCH
        ended = 1
        for w in range(workers):
            low = control[OWN + EACH * w + LOW]
            high = control[OWN + EACH * w + HIGH]
            span = ((high - low + BATCH - 1) // BATCH) * BATCH
            if chunk < span:
                low += chunk
                if low + BATCH < high:
                    high = low + BATCH
                m = expand(states, low, high, out, hashes, sources, seed, table, size, control, own, broken, limits,
                           dead, seen, recent)
                before = tail
                if compact == 0:
                    tail = insert_exact(states, parents, table, size, tail, out, hashes, sources, m)
                else:
                    tail = insert_compact(states, parents, prints, table, size, tail, out, hashes, sources, m)
                fetch_add(control, TOTAL, tail - before)
                ended = 0
                break
            chunk -= span
    control[own + TAIL] = tail
    return ended


def advance(workers: u64, control: u64p, levels: u64p) -> u64:
    if control[TO_END] == 0 and (control[BEFORE] != 0 or (control[DEADLY] != 0 and control[DEAD] != 0)):
        control[OVER] = 1
        return 0
    control[BEFORE] = control[BROKEN]
    width = 0
    for w in range(workers):
        own = OWN + EACH * w
        control[own + LOW] = control[own + HIGH]
        control[own + HIGH] = control[own + TAIL]
        width += control[own + HIGH] - control[own + LOW]
    control[NEXT] = 0
    if width != 0:
        control[DEPTH] += 1
        for w in range(workers):
            levels[control[DEPTH] * workers + w] = control[OWN + EACH * w + HIGH]
    return width


def serial(workers: u64, compact: u64, seed: u64, states: u64p, parents: u32p, prints: u64p, table: u64p, size: u64,
           control: u64p, levels: u64p, broken: u32p, limits: u32p, dead: u32p, seen: u8p, out: u64p, hashes: u64p,
           sources: u64p, recent: u64p) -> u64:
    while True:
        if level(0, workers, compact, seed, states, parents, prints, table, size, control, broken, limits, dead, seen,
                 out, hashes, sources, recent) == 0:
            return 0
        width = advance(workers, control, levels)
        if width == 0 or width >= control[WIDE] or control[DEPTH] >= control[DEEP]:
            return 1


def entry_of(i: u64, compact: u64, seed: u64, states: u64p, prints: u64p) -> u64:
    return prints[i] if compact != 0 else hash_state(states, i * WORDS, seed)


def rebuild(low: u64, high: u64, compact: u64, seed: u64, states: u64p, prints: u64p, table: u64p, size: u64) -> u64:
    for i in range(low, high):
        if i + AHEAD < high:
            prefetch(table, slot_of(entry_of(i + AHEAD, compact, seed, states, prints), size))
        h = entry_of(i, compact, seed, states, prints)
        e = h
        if compact == 0:
            e = ((h >> 32) << 32) | (i + 1)
        slot = slot_of(h, size)
        while cas(table, slot, 0, e) != 0:
            slot = next_slot(slot, size)
    return 0


def spread(low: u64, high: u64, end: u64, size: u64, table: u64p, stash: u64p) -> u64:
    n = stash[0]
    for i in range(low, high):
        e = table[i]
        if e != 0:
            table[i] = 0
            slot = slot_of(e, size)
            if slot < end:
                if n == STASH:
                    return 0
                n += 1
                stash[n] = e
            else:
                while cas(table, slot, 0, e) != 0:
                    slot = next_slot(slot, size)
                    if slot == FLOOR:
                        return 0
    stash[0] = n
    return 1


def unstash(size: u64, table: u64p, stash: u64p) -> u64:
    for i in range(stash[0]):
        slot = slot_of(stash[i + 1], size)
        while cas(table, slot, 0, stash[i + 1]) != 0:
            slot = next_slot(slot, size)
    return 0


def fingerprint(low: u64, high: u64, seed: u64, states: u64p, prints: u64p) -> u64:
    for i in range(low, high):
        h = hash_state(states, i * WORDS, seed)
        if h == 0:
            h = 1
        prints[i] = h
    return 0


def representative(p: u64p, x: u64p) -> u64:
    ALONE
    return 0
"""


def scratch_words(words: int) -> int:
    """Return how many words canon() may write from x[s] on."""
    return SCRATCH + 2 * words


def explorer_source(words: int, most: int, canon: bool, more: str) -> str:
    """Return the explorer for states of so many words and at most `most` successors.

    With `canon`, canon(p, at, x, s) is called on every successor; its scratch memory stands behind the hashes. `more`
    is text that calls the same functions.
    """
    names = {**_NAMES, "RACE": RACE, "LIMITED": LIMITED, "WORDS": words, "SPARE": BATCH * most}
    constants = "\n".join(f"{name} = {value}" for name, value in names.items())
    at = [(f"p[at + {k}]", f"q[b + {k}]") for k in range(words)]
    mixing = "".join(
        f"    h ^= {word}\n    h ^= h >> 32\n    h *= {_C1}\n    h ^= h >> 29\n    h *= {_C2}\n    h ^= h >> 32\n"
        for word, _ in at
    )
    copying = "".join(f"    {word} = {other}\n" for word, other in at)
    differing = " | ".join(f"({word} ^ {other})" for word, other in at)
    helpers = f"""
def hash_state(p: u64p, at: u64, seed: u64) -> u64:
    h = (seed + {_C3}) * {_C1}
    h ^= h >> 32
    h *= {_C2}
    h ^= h >> 29
{mixing}    return h


def copy_state(p: u64p, at: u64, q: u64p, b: u64) -> u64:
{copying}    return 0


def same_state(p: u64p, at: u64, q: u64p, b: u64) -> bool:
    return ({differing}) == 0
"""
    call = "canon(out, {} * WORDS, hashes, SPARE)" if canon else "pass"
    alone = "canon(p, 0, x, 0)" if canon else "pass"
    text = _TEXT.replace("CANON", call.format("i")).replace("ALONE", alone)
    return constants + "\n" + helpers + text + more.replace("CANON", call.format("k"))
