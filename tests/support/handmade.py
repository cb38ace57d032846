# SPDX-License-Identifier: Apache-2.0
"""Model the plans of drivers/kvm2008.py by hand: one page, some vCPUs and mm operations.

Written from what docs say a plan means, with nothing of unpinned: each access to shared state is one step, what is
local runs with the step before it, a local that nobody reads again is forgotten. Each CPU is a pair of a place and
the locals that are alive there; a step is a case below. Rules are those of docs/model.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

FREE = 0
WRITER = 9  # more than there may be readers


class World(NamedTuple):
    """All that is shared."""

    # the plan
    mmu_lock: bool = False
    seq: int = 0
    range_count: int = 0
    # the secondary MMU: spte and TLB entry are (frame, writable)
    spte: tuple[int, bool] = (0, False)
    rmap: bool = False
    tlb: tuple[tuple[int, bool], ...] = ()  # one a vCPU, as are the next two
    faulting: tuple[bool, ...] = ()
    taken: tuple[tuple[int, ...], ...] = ()  # a number for each frame
    # the mm
    mmap_lock: int = 0
    rmap_lock: bool = False
    pt_lock: bool = False
    page_lock: bool = False
    unmapped: bool = False
    swapped: bool = False
    pte: tuple[int, bool] = (0, False)
    refs: tuple[int, ...] = ()  # one a frame, as is the next
    held: tuple[bool, ...] = ()
    open: int = 0

    def set(self, **values: Any) -> World:
        return self._replace(**values)

    def put(self, name: str, at: int, value: Any) -> World:
        """Set one element."""
        values = list(getattr(self, name))
        values[at] = value
        return self.set(**{name: tuple(values)})

    def count_refs(self, frame: int, by: int) -> World:
        return self.put("refs", frame - 1, self.refs[frame - 1] + by)

    def count_taken(self, cpu: int, frame: int, by: int) -> World:
        taken = list(self.taken[cpu])
        taken[frame - 1] += by
        return self.put("taken", cpu, tuple(taken))

    def own(self, frame: int, is_own: bool) -> World:
        return self.put("held", frame - 1, is_own)


Locals = tuple[Any, ...]
#: A place and what is alive there.
Cpu = tuple[str, Locals]


@dataclass(frozen=True)
class Found:
    """The number of states, and of those in which each rule is broken."""

    states: int
    broken: Counter[str]


@dataclass(frozen=True)
class Plan:
    """Which plan: where seq is bumped, and what the fault looks at; whether a new page may take any free frame."""

    bump_in_start: bool = False
    bump_in_end: bool = False
    tests_seq: bool = True
    tests_count: bool = True
    any_frame: bool = True


def wrong(w: World) -> str | None:
    """Return the first rule that does not hold in a world."""
    spte = w.spte[0]
    if spte and w.refs[spte - 1] == FREE:
        return "stale-use"
    if any(tlb and tlb != spte and w.refs[tlb - 1] == FREE for tlb, _ in w.tlb):
        return "flush-before-free"
    if not w.open:
        pte, pte_writable = w.pte
        for frame, writable in (w.spte, *w.tlb):
            if frame and w.held[frame - 1] and (frame != pte or (writable and not pte_writable)):
                return "coherence"
    return None


# ---- the mm's own doings


def allocate(w: World, write: bool, plan: Plan) -> Iterator[World]:
    for frame, refs in enumerate(w.refs, start=1):
        if refs == FREE:
            yield w.count_refs(frame, 1).own(frame, True).set(pte=(frame, write))
            if not plan.any_frame:
                return


def take(w: World, frame: int, me: int) -> World:
    return w.count_refs(frame, 1).count_taken(me, frame, 1)


# ---- the vCPU


def vcpu(w: World, cpu: Cpu, me: int, plan: Plan) -> Iterator[tuple[World, Cpu]]:  # noqa: C901 - a case a step
    """Yield what a vCPU can do next."""
    place, own = cpu
    match place:
        case "guest":
            for write in (False, True):
                frame, writable = w.tlb[me]
                if not frame or (write and not writable):
                    yield w, ("walk", (write,))
                elif w.refs[frame - 1] == FREE or (w.pte[0] != frame and not w.open):
                    yield w, ("stale-use", (write,))
                else:
                    yield w, ("guest", ())
        case "walk":
            (write,) = own
            frame, writable = w.spte
            if frame and (writable or not write):
                yield w.put("tlb", me, w.spte).put("faulting", me, False), ("guest", ())
            else:
                after = w.put("faulting", me, True)
                yield after, ("read seq", (write,)) if plan.tests_seq else ("mmap_lock", (write, None))
        case "read seq":
            (write,) = own
            yield w, ("mmap_lock", (write, w.seq))
        case "mmap_lock":
            if w.mmap_lock < WRITER:
                yield w.set(mmap_lock=w.mmap_lock + 1), ("pt_lock", own)
        case "pt_lock":
            if not w.pt_lock:
                yield w.set(pt_lock=True), ("look at the PTE", own)
        case "look at the PTE":
            (write, seq) = own
            if w.unmapped:
                yield w, ("pt_unlock, gone", own)
            elif w.swapped:
                yield w, ("pt_unlock, swapped", (write, seq))
            elif not w.pte[0]:
                for after in allocate(w, write, plan):
                    yield take(after, after.pte[0], me), ("pt_unlock, got", (write, seq, after.pte[0]))
            else:
                frame, writable = w.pte
                after = take(w.set(pte=(frame, writable or write)), frame, me)
                yield after, ("pt_unlock, got", (write, seq, frame))
        case "pt_unlock, gone":
            yield w.set(pt_lock=False), ("mmap_unlock, gone", own[:1])
        case "mmap_unlock, gone":
            yield w.set(mmap_lock=w.mmap_lock - 1), ("returned", ("FAULT", *own))
        case "pt_unlock, swapped":
            yield w.set(pt_lock=False), ("page_lock", own)
        case "page_lock":
            if not w.page_lock:
                yield w.set(page_lock=True), ("pt_lock to swap in", own)
        case "pt_lock to swap in":
            if not w.pt_lock:
                yield w.set(pt_lock=True), ("swap in", own)
        case "swap in":
            (write, seq) = own
            if w.swapped:
                for after in allocate(w.set(swapped=False), write, plan):
                    yield after, ("pt_unlock after swap in", own)
            else:
                yield w, ("pt_unlock after swap in", own)
        case "pt_unlock after swap in":
            yield w.set(pt_lock=False), ("page_unlock", own)
        case "page_unlock":
            yield w.set(page_lock=False), ("pt_lock", own)
        case "pt_unlock, got":
            yield w.set(pt_lock=False), ("mmap_unlock, got", own)
        case "mmap_unlock, got":
            yield w.set(mmap_lock=w.mmap_lock - 1), ("mmu_lock", own)
        case "mmu_lock":
            if not w.mmu_lock:
                (write, seq, frame) = own
                yield w.set(mmu_lock=True), ("seq != seq", own) if plan.tests_seq else ("or count", (write, frame))
        case "seq != seq":
            (write, seq, frame) = own
            if w.seq != seq:
                yield w, ("mmu_unlock", (write, frame, True))
            else:
                yield w, ("or count" if plan.tests_count else "set spte", (write, frame))
        case "or count":
            (write, frame) = own
            yield w, ("mmu_unlock", (write, frame, True)) if w.range_count else ("set spte", (write, frame))
        case "set spte":
            (write, frame) = own
            yield w.set(spte=(frame, write)), ("rmap_add", (write, frame))
        case "rmap_add":
            (write, frame) = own
            yield w.set(rmap=True), ("mmu_unlock", (write, frame, False))
        case "mmu_unlock":
            yield w.set(mmu_lock=False), ("put_page", own)
        case "put_page":
            (write, frame, stale) = own
            after = w.count_taken(me, frame, -1).count_refs(frame, -1)
            yield after, ("returned", ("REPLAY" if stale else "MAPPED", write))
        case "returned":
            result, write = own
            if any(w.taken[me]):
                yield w, ("leak", own)
            elif result == "FAULT" and w.unmapped:
                yield w.put("faulting", me, False), ("guest", ())
            else:  # the guest executes its access again
                yield w, ("walk", (write,))


# ---- the operations, as lists of steps


def lock(name: str) -> Any:
    return lambda w, _: [(w.set(**{name: True}), _)] if not getattr(w, name) else []


def unlock(name: str) -> Any:
    return lambda w, x: [(w.set(**{name: False}), x)]


def nothing(w: World, x: Any) -> Any:
    return [(w, x)]


def zap_spte(w: World, x: Any) -> Any:
    return [(w.set(rmap=False, spte=(0, False)) if w.rmap else w, x)]


def flush(me: int) -> Any:
    return lambda w, x: [(w.put("tlb", me, (0, False)), x)]


def read(name: str) -> Any:
    """Read a counter: what is alive grows by its value."""
    return lambda w, x: [(w, (*x, getattr(w, name)))]


def write(name: str, by: int) -> Any:
    """Write a counter: the value that was read last is used up."""
    return lambda w, x: [(w.set(**{name: x[-1] + by}), x[:-1])]


def add(name: str, by: int) -> list[Any]:
    return [read(name), write(name, by)]


def open_(by: int) -> Any:
    return lambda w, x: [(w.set(open=w.open + by), x)]


def drop_own(w: World, x: Any) -> Any:
    (frame,) = x
    return [(w.own(frame, False).count_refs(frame, -1) if frame else w, ())]


def clear_pte(w: World, _: Any) -> Any:
    return [(w.set(pte=(0, False), swapped=False), (w.pte[0],))]


def swap_out(w: World, _: Any) -> Any:
    if not w.pte[0]:
        return [(w, (0,))]
    return [(w.set(pte=(0, False), swapped=True, open=w.open + 1), (w.pte[0],))]


def unmap(plan: Plan, vcpus: int) -> list[Any]:
    """From the call of start to the return of end."""
    bump, zap = add("seq", 1), [zap_spte, *(flush(cpu) for cpu in range(vcpus))]
    start = [*(bump if plan.bump_in_start else []), *add("range_count", 1), *zap]
    end = [*(bump if plan.bump_in_end else []), *add("range_count", -1)]
    clear = [lock("pt_lock"), clear_pte, unlock("pt_lock"), drop_own]
    locks, unlocks = [lock("mmu_lock")], [unlock("mmu_lock")]
    return [open_(1), *locks, *start, *unlocks, *clear, nothing, *locks, *end, *unlocks, open_(-1)]


def operation(name: str, plan: Plan, vcpus: int) -> list[Any]:
    """Return the steps of an operation, the choice of a page included (there is only one)."""
    if name == "zap":
        down = lambda w, x: [(w.set(mmap_lock=w.mmap_lock + 1), x)] if w.mmap_lock < WRITER else []  # noqa: E731
        up = lambda w, x: [(w.set(mmap_lock=w.mmap_lock - 1), x)]  # noqa: E731
        return [nothing, down, *unmap(plan, vcpus), up]
    if name == "munmap":
        down = lambda w, x: [(w.set(mmap_lock=WRITER), x)] if w.mmap_lock == 0 else []  # noqa: E731
        take_away = lambda w, x: [(w.set(unmapped=True), x)]  # noqa: E731
        return [nothing, down, take_away, *unmap(plan, vcpus), lambda w, x: [(w.set(mmap_lock=0), x)]]
    zap = [zap_spte, *(flush(cpu) for cpu in range(vcpus))]
    told = [lock("mmu_lock"), *add("seq", 1), *zap, unlock("mmu_lock")]
    before = [nothing, lock("page_lock"), lock("rmap_lock"), lock("pt_lock"), swap_out, unlock("pt_lock")]
    return [*before, nothing, *told, open_(-1), unlock("rmap_lock"), drop_own, unlock("page_lock")]


def op_step(steps: list[Any], name: str, w: World, cpu: Cpu) -> Iterator[tuple[World, Cpu]]:
    """Yield what the operation can do next; reclaim skips what it has no page for."""
    at, own = int(cpu[0]), cpu[1]
    if at == len(steps):
        return
    rmap_unlock = len(steps) - 3
    for after, alive in steps[at](w, own):
        nothing_to_do = name == "reclaim" and alive == (0,)
        if nothing_to_do and at == 5:
            yield after, (str(rmap_unlock), alive)
        elif nothing_to_do and at == rmap_unlock:
            yield after, (str(len(steps) - 1), ())
        else:
            yield after, (str(at + 1), alive)


# ---- all of it


def explore(plan: Plan, vcpus: int, ops: tuple[str, ...]) -> Found:
    """Visit every state; one in which a rule is broken is counted and not gone on from."""
    steps = [operation(name, plan, vcpus) for name in ops]
    frames = 1 + sum(op != "munmap" for op in ops)  # a page that munmap took away gets no new frame
    world = World(tlb=((0, False),) * vcpus, faulting=(False,) * vcpus, taken=((0,) * frames,) * vcpus)
    world = world.set(refs=(FREE,) * frames, held=(False,) * frames)
    start = (world, (("guest", ()),) * vcpus + (("0", ()),) * len(ops))
    seen: set[Any] = {start}
    todo: list[tuple[World, tuple[Cpu, ...]]] = [start]
    broken: Counter[str] = Counter()
    while todo:
        w, cpus = todo.pop()
        moved = False
        for me, cpu in enumerate(cpus):
            op = me - vcpus
            moves = vcpu(w, cpu, me, plan) if op < 0 else op_step(steps[op], ops[op], w, cpu)
            for after, cpu_after in moves:
                moved = True
                # where a rule is broken the CPU stands where it stood, and has in its locals what it read or chose
                rule = cpu_after[0] if cpu_after[0] in ("stale-use", "leak") else wrong(after)
                state: Any = (after, (*cpus[:me], cpu_after, *cpus[me + 1 :]))
                if rule:
                    state = (rule, after, cpus, me, cpu_after)
                if state not in seen:
                    seen.add(state)
                    if rule:
                        broken[rule] += 1
                    else:
                        todo.append(state)
        if not moved:
            broken["deadlock"] += 1  # a vCPU is never done
    return Found(len(seen), broken)
