# SPDX-License-Identifier: Apache-2.0
"""Search kvm-seq with minicheck: `python minicheck_run.py V H K P F [literal]`, where minicheck is installed.

The model is a function from a state to its successors, one for each numbered line of benchmarks/models/kvm_seq.py:

    state = (spte, pte, owner, seq, count, lock, vcpus, hosts)
    vcpu  = (pc, page, s, p)         host = (pc, k, page, old)

owner[0] is a dummy, and dead locals are cleared. It needs nothing of unpinned.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

State = tuple[Any, ...]
FIELDS = ("spte", "pte", "owner", "seq", "count", "lock", "vcpus", "hosts")
H0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, P1, P2, P3, P4, P5, P6 = range(17)


def put(values: tuple[Any, ...], i: int, value: object) -> tuple[Any, ...]:
    """Return the tuple with one element replaced."""
    return values[:i] + (value,) + values[i + 1 :]  # noqa: RUF005 - faster than unpacking


def initial(vcpus: int, hosts: int, pages: int, frames: int) -> State:
    """Return the state in which nothing is mapped."""
    none = (0,) * pages
    return none, none, (0,) * (frames + 1), 0, 0, 0, ((0, 0, 0, 0),) * vcpus, ((H0, 0, 0, 0),) * hosts


def vcpu_steps(state: State, i: int) -> Iterator[State]:
    """Yield what vCPU `i` can do."""
    spte, pte, owner, seq, count, lock, vs, hs = state
    pc, g, s, p = vs[i]
    if pc == 0:
        for page in range(len(pte)):
            yield spte, pte, owner, seq, count, lock, put(vs, i, (1, page, 0, 0)), hs
    elif pc == 1:
        own = (0, 0, 0, 0) if spte[g] else (2, g, 0, 0)
        yield spte, pte, owner, seq, count, lock, put(vs, i, own), hs
    elif pc == 2:
        yield spte, pte, owner, seq, count, lock, put(vs, i, (3, g, seq, 0)), hs
    elif pc == 3:
        if pte[g]:
            yield spte, pte, owner, seq, count, lock, put(vs, i, (4, g, s, pte[g])), hs
        elif 0 in owner[1:]:
            f = owner.index(0, 1)
            yield spte, put(pte, g, f), put(owner, f, g + 1), seq, count, lock, put(vs, i, (4, g, s, f)), hs
    elif pc == 4:
        if not lock:
            yield spte, pte, owner, seq, count, 1, put(vs, i, (5, g, s, p)), hs
    elif pc == 5:
        own = (7, g, 0, 0) if seq != s or count else (6, g, 0, p)
        yield spte, pte, owner, seq, count, lock, put(vs, i, own), hs
    elif pc == 6:
        yield put(spte, g, p), pte, owner, seq, count, lock, put(vs, i, (7, g, 0, 0)), hs
    else:
        yield spte, pte, owner, seq, count, 0, put(vs, i, (1, g, 0, 0)), hs


def host_steps(state: State, i: int, times: int, literal: bool) -> Iterator[State]:
    """Yield what host `i` can do."""
    spte, pte, owner, seq, count, lock, vs, hs = state
    pc, k, g, old = hs[i]
    if pc == H0:
        if k < times:
            yield spte, pte, owner, seq, count, lock, vs, put(hs, i, (R1, k, 0, 0))
            for page in range(len(pte)):
                yield spte, pte, owner, seq, count, lock, vs, put(hs, i, (P1, k, page, 0))
    elif pc in (R1, R7, P2):
        if not lock:
            own = (R9 if pc == R7 and literal else pc + 1, k, g, old)
            yield spte, pte, owner, seq, count, 1, vs, put(hs, i, own)
    elif pc == R2:
        yield spte, pte, owner, seq, count + 1, lock, vs, put(hs, i, (R3, k, 0, 0))
    elif pc == R3:
        yield (0,) * len(spte), pte, owner, seq, count, lock, vs, put(hs, i, (R4, k, 0, 0))
    elif pc in (R4, P5):
        yield spte, pte, owner, seq, count, 0, vs, put(hs, i, (pc + 1, k, g, old))
    elif pc in (R5, P1):
        yield spte, put(pte, g, 0), owner, seq, count, lock, vs, put(hs, i, (pc + 1, k, g, pte[g]))
    elif pc in (R6, P6):
        own = (H0, k + 1, 0, 0) if pc == P6 else (R5, k, g + 1, 0) if g < len(pte) - 1 else (R7, k, 0, 0)
        yield spte, pte, put(owner, old, 0) if old else owner, seq, count, lock, vs, put(hs, i, own)
    elif pc in (R8, P3):
        yield spte, pte, owner, seq + 1, count, lock, vs, put(hs, i, (pc + 1, k, g, old))
    elif pc == R9:
        yield spte, pte, owner, seq, count - 1, lock, vs, put(hs, i, (R10, k, 0, 0))
    elif pc == R10:
        yield spte, pte, owner, seq, count, 0, vs, put(hs, i, (H0, k + 1, 0, 0))
    else:
        yield put(spte, g, 0), pte, owner, seq, count, lock, vs, put(hs, i, (P5, k, 0, old))


def holds(state: State) -> bool:
    """Say whether no vCPU is about to access a frame that its page does not own."""
    spte, owner = state[0], state[2]
    for pc, g, _, _ in state[6]:  # noqa: SIM110 - half the time of all(), and there is one for each state
        if pc == 1 and spte[g] and owner[spte[g]] != g + 1:
            return False
    return True


def main() -> None:
    """Search, and print one line."""
    vcpus, hosts, times, pages, frames = map(int, sys.argv[1:6])
    vcpu_numbers, host_numbers = range(vcpus), range(hosts)
    minicheck, literal = importlib.import_module("minicheck"), "literal" in sys.argv

    def successors(state: State) -> list[tuple[str, State]]:
        found = [("vcpu", after) for i in vcpu_numbers for after in vcpu_steps(state, i)]
        found += [("host", after) for i in host_numbers for after in host_steps(state, i, times, literal)]
        return found

    model = minicheck.Protocol(
        name="kvm-seq",
        candidate=False,
        fields=FIELDS,
        initial=initial(vcpus, hosts, pages, frames),
        transitions=successors,
        invariants={"no_stale_access": lambda state: holds(tuple(state.values()))},
    )
    start = time.perf_counter()
    result = minicheck.check_safety(model, max_states=10**9)
    seconds = time.perf_counter() - start
    verdict = "ok" if result["properties"]["no_stale_access"]["holds"] else "FAIL"
    print(f"RESULT {verdict} states {result['reachable_states']} search_s {seconds:.3f}")


if __name__ == "__main__":
    main()
