# SPDX-License-Identifier: Apache-2.0
"""Write kvm-seq, a small model of KVM's locking plan, whose state counts several checkers agree on.

V vCPUs, H invalidating CPUs, K invalidations each, P pages, F frames; each step is one line of the model. Counts at
(V, H, K, P, F), found with SPIN, rumur, TLC, minicheck and musil on models written by hand: 11,031 at (2, 1, 2, 1,
2); 81,112 at (2, 2, 1, 1, 3); 1,235,201 at (2, 2, 2, 1, 3); 2,558,122 at (2, 2, 1, 2, 4).
"""

from __future__ import annotations

from support.systems import acquire, fork, op, put, system, thread, to

from unpinned.ir.program import Check, Choose, Const, Expr, Local, Shared, System, Thread, Var, Wait

SEQ, COUNT, LOCK = Shared("plan.seq"), Shared("plan.count"), Shared("plan.lock")
G, S, P, OLD, K = (Local(f"own.{name}") for name in ("g", "s", "p", "old", "k"))


def _spte(page: Expr) -> Shared:
    return Shared("mm.spte", page)


def _pte(page: Expr) -> Shared:
    return Shared("mm.pte", page)


def _owner(frame: Expr) -> Shared:
    return Shared("mm.owner", frame)


def _vcpu(name: str, pages: int, frames: int) -> Thread:
    every = [_owner(Const(frame)) for frame in range(1, frames + 1)]
    taken: Expr = every[0]
    for owner in every[1:]:
        taken = op("and", taken, owner)
    lowest: Expr = Const(frames)
    for frame in range(frames - 1, 0, -1):
        lowest = op("?:", op("==", every[frame - 1], 0), frame, lowest)
    take = Choose(P, Const(1), Const(frames + 1), op("and", op("==", _owner(P), 0), op("==", P, lowest)))
    steps = [
        to(1, Choose(G, Const(0), Const(pages))),
        fork(
            _spte(G),
            to(0, Check(op("==", _owner(_spte(G)), op("+", G, 1)), "stale-use", "access"), put(G, 0)),
            to(2),
        ),
        to(3, put(S, SEQ)),
        fork(
            op("==", _pte(G), 0),
            to(4, Wait(op("not", taken)), take, put(_owner(P), op("+", G, 1)), put(_pte(G), P)),
            to(4, put(P, _pte(G))),
        ),
        to(5, *acquire(LOCK)),
        fork(op("or", op("!=", SEQ, S), op(">", COUNT, 0)), to(7, put(S, 0), put(P, 0)), to(6, put(S, 0))),
        to(7, put(_spte(G), P), put(P, 0)),
        to(1, put(LOCK, 0)),
    ]
    own = Var("own.g", "gfn", 0, pages - 1), Var("own.s", "int", 0, 255), Var("own.p", "pfn", 0, frames)
    return thread(name, steps, *own, ends=False)


def _host(name: str, times: int, pages: int, frames: int, literal: bool) -> Thread:
    free = put(_owner(OLD), 0), put(OLD, 0)
    k = put(K, op("+", K, 1))
    last = op("==", K, times)
    steps = [
        # 0: the range, or one page
        fork(
            Local("own.one"),
            to(10, put(Local("own.one"), 0)),
            to(1, put(G, 0)),
            Choose(Local("own.one"), Const(0), Const(2)),
            Choose(G, Const(0), Const(pages)),
        ),
        to(2, *acquire(LOCK)),
        to(3, put(COUNT, op("+", COUNT, 1))),
        to(4, *(put(_spte(Const(page)), 0) for page in range(pages))),
        to(5, put(LOCK, 0)),
        to(6, put(OLD, _pte(G)), put(_pte(G), 0)),
        fork(op("<", G, pages - 1), to(5, put(G, op("+", G, 1))), to(7, put(G, 0)), *free),
        to(16 if literal else 8, *acquire(LOCK)),
        to(16, put(SEQ, op("+", SEQ, 1))),
        to(9),
        # 10: one page
        to(11, put(OLD, _pte(G)), put(_pte(G), 0)),
        to(12, *acquire(LOCK)),
        to(13, put(SEQ, op("+", SEQ, 1))),
        to(14, put(_spte(G), 0), put(G, 0)),
        to(15, put(LOCK, 0)),
        fork(last, to(18), to(0), *free, k),
        # 16: the end of the range
        to(17, put(COUNT, op("-", COUNT, 1))),
        fork(last, to(18), to(0), put(LOCK, 0), k),
    ]
    own = [Var("own.k", "int", 0, times), Var("own.g", "gfn", 0, pages - 1), Var("own.old", "pfn", 0, frames)]
    return thread(name, steps, *own, Var("own.one", "bool", 0, 1))


def kvm_seq(vcpus: int, hosts: int, times: int, pages: int, frames: int, *, literal: bool = False) -> System:
    """Make the model at a bound; `literal` is the plan as posted, which races."""
    shared = [
        Var("mm.spte", "pfn", 0, frames, size=pages),
        Var("mm.pte", "pfn", 0, frames, size=pages),
        Var("mm.owner", "int", 0, pages, size=frames + 1),
        Var("plan.seq", "int", 0, 255),
        Var("plan.count", "int", 0, hosts),
        Var("plan.lock", "spinlock", 0, 1),
    ]
    threads = [_vcpu(f"CPU{i}", pages, frames) for i in range(vcpus)]
    threads += [_host(f"CPU{vcpus + i}", times, pages, frames, literal) for i in range(hosts)]
    return system(shared, threads, "stale-use")
