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
- Whether there is a weakly fair cycle at rest on which no fault completes (check/graph.py says what that is). Of the
  states at rest with a fault under way, and the steps of vCPUs and workers between them that complete no fault, the
  strongly connected components are found (Tarjan's algorithm, without recursion; the steps out of a state are written
  down when it is first met, and struck out when it is left). Such a cycle exists exactly if in one of them each vCPU
  and each worker takes a step that stays inside, or has to wait in some state: marks of a state are a bit for each of
  these that waits there or takes such a step, and the highest bit for any such step.
"""

from __future__ import annotations

from typing import Final

SWEEPS: Final = """
def find_hashed(states: u64p, table: u64p, size: u64, p: u64p, at: u64, h: u64) -> u64:
    slot = slot_of(h, size)
    e = table[slot]
    while e != 0:
        if (e ^ h) >> 32 == 0 and same_state(states, ((e & 0xFFFFFFFF) - 1) * WORDS, p, at):
            return e & 0xFFFFFFFF
        slot = next_slot(slot, size)
        e = table[slot]
    return 0


def find_state(states: u64p, table: u64p, size: u64, p: u64p, at: u64, seed: u64) -> u64:
    return find_hashed(states, table, size, p, at, hash_state(p, at, seed))


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
            n = r & 65535
            for k in range(n):
                CANON
                h = hash_state(out, k * WORDS, seed)
                hashes[k] = h
                prefetch(table, slot_of(h, size))
            for k in range(n):
                now |= bits[find_hashed(states, table, size, out, k * WORDS, hashes[k]) - 1]
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


def visit(v: u64, top: u64, states: u64p, table: u64p, size: u64, seed: u64, kept: u8p, marks: u8p, edges: u32p,
          turns: u8p, seen: u8p, out: u64p, hashes: u64p) -> u64:
    faulting = at_rest(states, v * WORDS)
    found = 0
    for t in range(GOING):
        r = moves(t, states, v * WORDS, out, 0, seen)
        if (r >> 20) & 1 == 0:
            found |= 1 << t
        if (FOLLOWED >> t) & 1 != 0:
            for k in range(r & 65535):
                CANON
                j = find_state(states, table, size, out, k * WORDS, seed)
                if j != 0 and kept[j - 1] != 0:
                    resting = at_rest(out, k * WORDS)
                    if (faulting >> t) & 1 == 0 or (resting >> t) & 1 != 0:
                        edges[top] = j - 1
                        turns[top] = (1 << t) | 128
                        top += 1
    marks[v] = found
    return top


def fair_cycle(low: u64, high: u64, states: u64p, table: u64p, size: u64, seed: u64, kept: u8p, control: u64p,
               numbers: u32p, lows: u32p, marks: u8p, open_: u32p, path: u32p, begins: u32p, cursors: u32p, edges: u32p,
               turns: u8p, seen: u8p, out: u64p, hashes: u64p) -> u64:
    wanted = ((1 << GOING) - 1) | 128
    best = 0xFFFFFFFF
    count = 0
    waiting = 0
    for root in range(low, high):
        if kept[root] != 0 and numbers[root] == 0:
            depth = 1
            path[0] = root
            begins[0] = 0
            cursors[0] = 0
            count += 1
            numbers[root] = count
            lows[root] = count
            open_[waiting] = root
            waiting += 1
            top = visit(root, 0, states, table, size, seed, kept, marks, edges, turns, seen, out, hashes)
            while depth != 0:
                if aload(control, STOP) != 0:
                    return 0xFFFFFFFE
                v = path[depth - 1]
                e = cursors[depth - 1]
                if e < top:
                    w = edges[e]
                    if numbers[w] == 0:
                        path[depth] = w
                        begins[depth] = top
                        cursors[depth] = top
                        depth += 1
                        count += 1
                        numbers[w] = count
                        lows[w] = count
                        open_[waiting] = w
                        waiting += 1
                        top = visit(w, top, states, table, size, seed, kept, marks, edges, turns, seen, out, hashes)
                    else:
                        if lows[w] != 0xFFFFFFFF:
                            marks[v] |= turns[e]
                            if lows[w] < lows[v]:
                                lows[v] = lows[w]
                        cursors[depth - 1] = e + 1
                else:
                    top = begins[depth - 1]
                    depth -= 1
                    if lows[v] == numbers[v]:
                        least = v
                        together = 0
                        w = 0xFFFFFFFF
                        while w != v:
                            waiting -= 1
                            w = open_[waiting]
                            lows[w] = 0xFFFFFFFF
                            together |= marks[w]
                            if w < least:
                                least = w
                        if together == wanted and least < best:
                            best = least
    return best
"""
