# SPDX-License-Identifier: Apache-2.0
"""Ask a complete search what no single state shows; restricted Python, compiled with the explorer.

No edge is stored: whoever needs the steps out of a state takes them again and looks their ends up in the table. All
three questions are answered by sweeps over the states, from the last to the first since most steps lead to states
that were found later, until a sweep changes nothing.

- Which states lie on a shortest path to some states of one level: level by level backwards, a state is marked if a step
  leads from it to a marked state of the next level.
- In which states a CPU can never go on, or an operation never end: for each state a bit for each CPU that it, or a
  state that it leads to, can take a step of (or in which it is done), and one for each CPU that is done there. A step
  that breaks a rule or reaches a limit of the model sets all bits: what comes behind it is not known.
- Whether there is a weakly fair cycle at rest on which no fault completes (check/graph.py says what that is): of the
  states at rest with a fault under way those are dropped, again and again, that have no step to a state that is kept,
  or from which, for some vCPU, no kept state can be reached in which it waits or takes a step that is kept. What is
  left is not empty exactly if there is such a cycle: from every state left one can go round and meet each vCPU's turn.
"""

from __future__ import annotations

from typing import Final

SWEEPS: Final = """
def find_state(states: u64p, table: u64p, size: u64, p: u64p, at: u64, seed: u64) -> u64:
    h = hash_state(p, at, seed)
    slot = slot_of(h, size)
    e = table[slot]
    while e != 0:
        if (e ^ h) >> 32 == 0 and same_state(states, ((e & 0xFFFFFFFF) - 1) * WORDS, p, at):
            return e & 0xFFFFFFFF
        slot = next_slot(slot, size)
        e = table[slot]
    return 0


def lookup(states: u64p, table: u64p, size: u64, seed: u64, p: u64p) -> u64:
    return find_state(states, table, size, p, 0, seed)


def mark_back(low: u64, high: u64, mark: u64, states: u64p, table: u64p, size: u64, seed: u64, marks: u8p, seen: u8p,
              out: u64p, hashes: u64p) -> u64:
    found = 0
    for i in range(low, high):
        n = succ(states, i * WORDS, out, 0, seen) & 65535
        for k in range(n):
            CANON
            j = find_state(states, table, size, out, k * WORDS, seed)
            if j != 0 and marks[j - 1] == mark:
                marks[i] = 3 - mark
                found += 1
                break
    return found


def sweep(low: u64, high: u64, states: u64p, table: u64p, size: u64, seed: u64, bits: u32p, seen: u8p, out: u64p,
          hashes: u64p) -> u64:
    changed = 0
    for back in range(high - low):
        i = high - 1 - back
        before = bits[i]
        if before & WANTED != WANTED:
            r = succ(states, i * WORDS, out, 0, seen)
            done = ((r >> 32) & 4095) ^ 4095
            now = before | ((r >> 20) & 4095) | done | (done << 12)
            if (r >> 16) & 3 != 0:
                now = 0xFFFFFF
            for k in range(r & 65535):
                CANON
                j = find_state(states, table, size, out, k * WORDS, seed)
                now |= bits[j - 1]
            if now != before:
                bits[i] = now
                changed += 1
    return changed


def enter_rest(low: u64, high: u64, states: u64p, kept: u8p) -> u64:
    found = 0
    for i in range(low, high):
        if at_rest(states, i * WORDS) != 0:
            kept[i] = 1
            found += 1
    return found


def fair(low: u64, high: u64, states: u64p, table: u64p, size: u64, seed: u64, kept: u8p, bits: u8p, seen: u8p,
         out: u64p, hashes: u64p) -> u64:
    changed = 0
    for back in range(high - low):
        i = high - 1 - back
        if kept[i] != 0:
            now = bits[i]
            faulting = at_rest(states, i * WORDS)
            for t in range(VCPUS):
                r = moves(t, states, i * WORDS, out, 0, seen)
                n = r & 65535
                if (r >> 20) & 1 == 0:
                    now |= 1 << t
                for k in range(n):
                    CANON
                    j = find_state(states, table, size, out, k * WORDS, seed)
                    if (FOLLOWED >> t) & 1 != 0 and j != 0 and kept[j - 1] != 0:
                        resting = at_rest(out, k * WORDS)
                        if (faulting >> t) & 1 == 0 or (resting >> t) & 1 != 0:
                            now |= bits[j - 1] | (1 << t) | 128
            if now != bits[i]:
                bits[i] = now
                changed += 1
    return changed


def drop(low: u64, high: u64, kept: u8p, bits: u8p) -> u64:
    dropped = 0
    wanted = ((1 << VCPUS) - 1) | 128
    for i in range(low, high):
        if kept[i] != 0 and bits[i] != wanted:
            kept[i] = 0
            dropped += 1
        bits[i] = 0
    return dropped
"""
