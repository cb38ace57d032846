# SPDX-License-Identifier: Apache-2.0
"""Run a plan as Python, each CPU in a thread of its own, one step of one CPU at a time.

Nothing of unpinned reads the plan here: Python itself does, and every access to a field, every lock and every call of
the mm stops until the CPU may take its step. The mm, the hardware and the guest are written out by hand. A walk that
the engine takes can be taken here too, and all shared state compared after each step.
"""

from __future__ import annotations

import ast
import inspect
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

Values = dict[str, list[int]]


class FaultError(Exception):
    """The page is gone, and the fault with it."""


class _Over(BaseException):
    """The walk is over."""


class Cpu:
    """A thread that stands before its next step, or is done."""

    def __init__(self, number: int, run: Callable[[Cpu], None]) -> None:
        self.number = number
        self.ready: Callable[[], bool] = lambda: True
        self.options: Callable[[], int] = lambda: 1
        self.done = self.over = False
        self.error: BaseException | None = None
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._choice = 0
        self._thread = threading.Thread(target=self._run, args=(run,), daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def _run(self, run: Callable[[Cpu], None]) -> None:
        try:
            run(self)
        except _Over:
            pass
        except BaseException as error:  # noqa: BLE001 - told to the one who takes the steps
            self.error = error
        self.done = True
        self._stopped.release()

    def step(
        self,
        action: Callable[[int], Any],
        ready: Callable[[], bool] = lambda: True,
        options: Callable[[], int] = lambda: 1,
    ) -> Any:
        """Stand before a step; once it may be taken, take it with the choice that was made for it."""
        self.ready, self.options = ready, options
        self._stopped.release()
        self._go.acquire()
        if self.over:
            raise _Over
        return action(self._choice)

    def able(self) -> int:
        """Return in how many ways the next step can be taken now."""
        return self.options() if not self.done and self.ready() else 0

    def take(self, choice: int) -> None:
        """Take the next step."""
        self._choice = choice
        self._go.release()
        self._stopped.acquire()
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Leave the thread."""
        if not self.done:
            self.over = True
            self._go.release()
            self._thread.join()


class Life:
    """A plan beside a scenario, alive."""

    def __init__(self, text: str, name: str, vcpus: int, pages: int, frames: int, ops: Sequence[str]) -> None:
        self.vcpus, self.pages, self.frames = vcpus, pages, frames
        self.values: Values = {}
        self._local = threading.local()
        made = _class(self, text, name)
        workers = _workers(self, text, made)
        self.count = cpus = vcpus + len(ops) + len(workers)
        page_fields = "hw.spte hw.spte_writable hw.rmap mm.rmap_lock mm.page_lock mm.unmapped mm.pte mm.pte_writable"
        for field in f"{page_fields} mm.swapped mm.open".split():
            self.values[field] = [0] * pages
        for field in ("mm.refs", "mm.owner", "mm.held"):
            self.values[field] = [0] * (frames + 1)
        for field in ("hw.tlb", "hw.tlb_writable"):
            self.values[field] = [0] * (vcpus * pages)
        self.values |= {"hw.faulting": [0] * vcpus, "mm.taken": [0] * (cpus * (frames + 1))}
        self.values |= {"mm.mmap_lock": [0], "mm.pt_lock": [0]}
        self._writer = cpus + 1
        for field, value in _fields(made).items():
            value.bind(self, field)
        if _names(made) & {"rcu_read_lock", "synchronize_rcu", "kfree_rcu"}:
            self.values["rcu.readers"] = [0] * cpus
        self.client = made()
        entries = [self._vcpu] * vcpus + [self._operation(op) for op in ops] + workers
        self.cpus = [Cpu(i, self._as_cpu(entry)) for i, entry in enumerate(entries)]

    def end(self) -> None:
        for cpu in self.cpus:
            cpu.end()

    def _as_cpu(self, entry: Callable[[], None]) -> Callable[[Cpu], None]:
        def run(cpu: Cpu) -> None:
            self._local.cpu = cpu
            entry()

        return run

    # ---- steps

    @property
    def me(self) -> int:
        cpu: Cpu = self._local.cpu
        return cpu.number

    def step(self, action: Callable[[], Any], ready: Callable[[], bool] = lambda: True) -> Any:
        cpu: Cpu = self._local.cpu
        return cpu.step(lambda _: action(), ready)

    def choose(self, action: Callable[[int], Any], options: Callable[[], int]) -> Any:
        cpu: Cpu = self._local.cpu
        return cpu.step(action, options=options)

    def read(self, field: str, at: int) -> int:
        got: int = self.step(lambda: self.values[field][at])
        return got

    def write(self, field: str, at: int, value: int) -> None:
        self.step(lambda: self.values[field].__setitem__(at, int(value)))

    def lock(self, field: str, at: int = 0) -> AbstractContextManager[None]:
        return _Held(self, field, at)

    # ---- what a plan calls

    def get_user_page(self, gfn: int, write: bool) -> int:
        v = self.values
        with _Reader(self):
            while True:

                def options() -> int:
                    here = v["mm.unmapped"][gfn] or v["mm.swapped"][gfn] or v["mm.pte"][gfn]
                    return 1 if here else len(self._free())

                def look(choice: int) -> tuple[str, int]:
                    if v["mm.unmapped"][gfn]:
                        return "gone", 0
                    if v["mm.swapped"][gfn]:
                        return "swapped", 0
                    page = v["mm.pte"][gfn]
                    if not page:
                        page = self._allocate(self._free()[choice], gfn, write)
                    elif write:
                        v["mm.pte_writable"][gfn] = 1
                    v["mm.refs"][page] += 1
                    v["mm.taken"][self.me * (self.frames + 1) + page] += 1
                    return "got", page

                with self.lock("mm.pt_lock"):
                    what, page = self.choose(look, options)
                if what == "gone":
                    raise FaultError
                if what == "got":
                    return page

                def swap_in(choice: int) -> None:
                    if v["mm.swapped"][gfn]:
                        v["mm.swapped"][gfn] = 0
                        self._allocate(self._free()[choice], gfn, write)

                with self.lock("mm.page_lock", gfn), self.lock("mm.pt_lock"):
                    self.choose(swap_in, lambda: len(self._free()) if v["mm.swapped"][gfn] else 1)

    def _free(self) -> list[int]:
        return [frame for frame in range(1, self.frames + 1) if not self.values["mm.refs"][frame]]

    def _allocate(self, page: int, gfn: int, write: bool) -> int:
        v = self.values
        v["mm.refs"][page], v["mm.owner"][page], v["mm.held"][page] = 1, gfn, 1
        v["mm.pte"][gfn], v["mm.pte_writable"][gfn] = page, int(write)
        return page

    def put_page(self, page: int) -> None:
        def put() -> None:
            self.values["mm.taken"][self.me * (self.frames + 1) + page] -= 1
            self._drop(page)

        self.step(put)

    def _drop(self, page: int) -> None:
        self.values["mm.refs"][page] -= 1
        if not self.values["mm.refs"][page]:
            self.values["mm.owner"][page] = 0

    def map(self, gfn: int, page: int, write: bool) -> None:
        v = self.values

        def set_spte() -> None:
            v["hw.spte"][gfn], v["hw.spte_writable"][gfn] = page, int(write)

        self.step(set_spte)
        self.write("hw.rmap", gfn, 1)

    def zap(self, r: range | int) -> None:
        self.zap_sptes(r)
        self.flush(r)

    def zap_sptes(self, r: range | int) -> None:
        v = self.values

        def clear(gfn: int) -> None:
            if v["hw.rmap"][gfn]:
                v["hw.rmap"][gfn] = v["hw.spte"][gfn] = v["hw.spte_writable"][gfn] = 0

        for gfn in _as_range(r):
            self.step(partial(clear, gfn))

    def flush(self, r: range | int | None = None) -> None:
        def clear(cpu: int) -> None:
            for gfn in range(self.pages) if r is None else _as_range(r):
                self.values["hw.tlb"][cpu * self.pages + gfn] = 0
                self.values["hw.tlb_writable"][cpu * self.pages + gfn] = 0

        for cpu in range(self.vcpus):
            self.step(partial(clear, cpu))

    # ---- the guest

    def _vcpu(self) -> None:
        v, pages = self.values, self.pages
        ways = [(gfn, write) for gfn in range(pages) for write in (False, True)]

        def access(choice: int) -> tuple[int, bool, bool]:
            gfn, write = ways[choice]
            at = self.me * pages + gfn
            return gfn, write, bool(v["hw.tlb"][at] and (not write or v["hw.tlb_writable"][at]))

        while True:
            gfn, write, hit = self.choose(access, lambda: len(ways))
            if not hit:
                self._walk(gfn, write)

    def _walk(self, gfn: int, write: bool) -> None:
        v, at = self.values, self.me * self.pages + gfn

        def fill() -> bool:
            filled = bool(v["hw.spte"][gfn] and (not write or v["hw.spte_writable"][gfn]))
            if filled:
                v["hw.tlb"][at], v["hw.tlb_writable"][at] = v["hw.spte"][gfn], v["hw.spte_writable"][gfn]
            v["hw.faulting"][self.me] = int(not filled)
            return filled

        def returned(result: str) -> bool:
            failed = result == "FAULT" and v["mm.unmapped"][gfn] == 1
            if failed:
                v["hw.faulting"][self.me] = 0
            return failed

        while not self.step(fill):
            try:
                result = self.client.page_fault(gfn, write)
            except FaultError:
                result = "FAULT"
            if self.step(partial(returned, result)):
                return

    # ---- operations

    def _span(self) -> range:
        ways = [range(start, end) for start in range(self.pages) for end in range(start + 1, self.pages + 1)]
        got: range = self.choose(lambda choice: ways[choice], lambda: len(ways))
        return got

    def _operation(self, op: str) -> Callable[[], None]:
        """Return what an operation runs: on any pages, or on the page behind its @."""
        name, _, page = op.partition("@")
        if not hasattr(self, f"_{name}"):
            return lambda: self._own_operation(name)
        run = getattr(self, f"_{name}")
        if page:
            return lambda: run(range(int(page), int(page) + 1))
        if name == "reclaim":
            return lambda: run(self.choose(lambda choice: range(choice, choice + 1), lambda: self.pages))
        return lambda: run(self._span())

    def _own_operation(self, name: str) -> None:
        """Run a method of the client's own; with its page gone it ends. The last step looks at what it holds."""
        with suppress(FaultError):
            getattr(self.client, name)()
        self.step(lambda: None)

    # ---- sections, and what waits for them

    def grace_period(self, flags: str, ready: Callable[[], Any] = lambda: True) -> None:
        now, waits = self.values[flags], [0]
        self.step(lambda: waits.__setitem__(slice(None), now), lambda: bool(ready()))
        while any(waits):
            over = partial(_one_is_over, waits, now)
            self.step(lambda: waits.__setitem__(slice(None), map(min, waits, now)), over)

    def free_later(self, mark: str, name: str, flags: str) -> None:
        """Free an object after a grace period, as often as it is asked for."""

        def free() -> None:
            self.values[mark][0] = self.values[name][0] = 0

        while True:
            self.grace_period(flags, lambda: self.values[mark][0])
            self.step(free)

    def run_work(self, name: str, method: str) -> None:
        """Run a method as often as its work item is queued."""
        state = self.values[name]
        while True:
            self.step(lambda: state.__setitem__(slice(None), [0, 1]), lambda: state[0] == 1)
            self._own_operation(method)
            self.step(lambda: state.__setitem__(1, 0))

    def _zap(self, r: range) -> None:
        with _Reader(self):
            self._unmap(r)

    def _munmap(self, r: range) -> None:
        with _Held(self, "mm.mmap_lock", 0, self._writer):
            self.step(lambda: [self.values["mm.unmapped"].__setitem__(gfn, 1) for gfn in r])
            self._unmap(r)

    def _open(self, r: range, by: int) -> None:
        for gfn in r:
            self.values["mm.open"][gfn] += by

    def _hook(self, name: str, argument: range | int) -> None:
        if hasattr(self.client, name):
            getattr(self.client, name)(argument)

    def _drop_own(self, page: int) -> None:
        if page:
            self.values["mm.held"][page] = 0
            self._drop(page)

    def _unmap(self, r: range) -> None:
        v = self.values
        self.step(lambda: self._open(r, 1))
        self._hook("invalidate_range_start", r)

        def clear(gfn: int) -> int:
            page = v["mm.pte"][gfn]
            v["mm.pte"][gfn] = v["mm.pte_writable"][gfn] = v["mm.swapped"][gfn] = 0
            return page

        gathered = []
        for gfn in r:
            with self.lock("mm.pt_lock"):
                gathered.append(self.step(partial(clear, gfn)))
        for page in gathered:
            self.step(partial(self._drop_own, page))
        self.step(lambda: None)
        self._hook("invalidate_range_end", r)
        self.step(lambda: self._open(r, -1))

    def _reclaim(self, r: range) -> None:
        v, gfn = self.values, r.start

        def swap_out() -> int:
            page = v["mm.pte"][gfn]
            if page:
                v["mm.pte"][gfn] = v["mm.pte_writable"][gfn] = 0
                v["mm.swapped"][gfn] = 1
                v["mm.open"][gfn] += 1
            return page

        with self.lock("mm.page_lock", gfn):
            with self.lock("mm.rmap_lock", gfn):
                with self.lock("mm.pt_lock"):
                    page = self.step(swap_out)
                if page:
                    self.step(lambda: None)
                    self._hook("invalidate_page", gfn)
                    self.step(lambda: self._open(range(gfn, gfn + 1), -1))
            if page:
                self.step(lambda: self._drop_own(page))


def _one_is_over(waits: list[int], now: list[int]) -> bool:
    return any(wait and not flag for wait, flag in zip(waits, now, strict=True))


def _as_range(r: range | int) -> range:
    return r if isinstance(r, range) else range(r, r + 1)


class _Held:
    """A lock that one CPU holds at a time."""

    def __init__(self, life: Life, field: str, at: int, value: int = 1) -> None:
        self.life, self.field, self.at, self.value = life, field, at, value

    def __enter__(self) -> None:
        held = self.life.values[self.field]
        self.life.step(lambda: held.__setitem__(self.at, self.value), lambda: held[self.at] == 0)

    def __exit__(self, *_: object) -> None:
        if not self.life._local.cpu.over:
            self.life.write(self.field, self.at, 0)


class _Reader:
    """The mmap lock, held for reading."""

    def __init__(self, life: Life) -> None:
        self.life, self.held = life, life.values["mm.mmap_lock"]

    def __enter__(self) -> None:
        self.life.step(lambda: self.add(1), lambda: self.held[0] < self.life._writer)

    def __exit__(self, *_: object) -> None:
        if not self.life._local.cpu.over:
            self.life.step(lambda: self.add(-1))

    def add(self, by: int) -> None:
        self.held[0] += by


# ---- the words of the plan language, to run


class _Field:
    """A field: reading it is a step, writing it is a step, locking it is a step."""

    size = 1

    def __init__(self, *, init: int = 0, bits: int = 4) -> None:
        self.init = int(init)

    def bind(self, life: Life, name: str) -> None:
        self.life, self.name = life, f"plan.{name}"
        life.values[self.name] = [self.init] * self.size

    def get(self, at: int) -> Any:
        return self.life.read(self.name, at)

    def __get__(self, obj: object, owner: type) -> Any:
        return self.get(0)

    def __set__(self, obj: object, value: int) -> None:
        self.life.write(self.name, 0, value)

    def xchg(self, at: int, value: int) -> Any:
        values = self.life.values[self.name]

        def action() -> int:
            old, values[at] = values[at], int(value)
            return old

        return self.life.step(action)


class _Flag(_Field):
    def get(self, at: int) -> Any:
        return bool(super().get(at))

    def xchg(self, at: int, value: int) -> Any:
        return bool(super().xchg(at, value))


class _Atomic(_Field):
    def __init__(self, *, init: int = 0, bits: int = 4, signed: bool = False) -> None:
        super().__init__(init=init)

    def add_return(self, at: int, number: int) -> int:
        values = self.life.values[self.name]
        self.life.step(lambda: values.__setitem__(at, values[at] + number))
        return values[at]

    def cmpxchg(self, at: int, old: int, new: int) -> bool:
        values = self.life.values[self.name]

        def action() -> bool:
            same = values[at] == old
            values[at] = new if same else values[at]
            return same

        done: bool = self.life.step(action)
        return done


class _Queue(_Field):
    def bind(self, life: Life, name: str) -> None:
        self.size = life.count
        super().bind(life, name)

    def wait_event(self, at: int, cond: Callable[[], Any]) -> None:
        mine, queue = self.life.me, self.life.values[self.name]
        while True:
            self.life.write(self.name, mine, 1)
            if cond():
                break
            self.life.step(lambda: queue.__setitem__(mine, 0), lambda: queue[mine] == 2)
        self.life.write(self.name, mine, 0)

    def wake_up(self, at: int) -> None:
        queue = self.life.values[self.name]
        self.life.step(lambda: queue.__setitem__(slice(None), [2 if cpu == 1 else cpu for cpu in queue]))


class _Object(_Field):
    """0 if it is freed, else one more than it has references."""

    def __init__(self) -> None:
        super().__init__(init=2)

    def change(self, action: Callable[[int], int]) -> int:
        values = self.life.values[self.name]

        def step() -> int:
            old, values[0] = values[0], action(values[0])
            return old

        old: int = self.life.step(step)
        return old

    def use(self, at: int) -> None:
        self.change(lambda value: value)

    def free(self, at: int) -> None:
        self.change(lambda value: 0)

    def get(self, at: int) -> Any:
        self.change(lambda value: value + 1)

    def get_unless_zero(self, at: int) -> bool:
        return self.change(lambda value: value + (value > 1)) > 1

    def put(self, at: int) -> bool:
        return self.change(lambda value: value - 1) == 2

    def kfree_rcu(self, at: int) -> None:
        self.life.write(f"kfree_rcu.{self.name[5:]}", 0, 1)

    def call_srcu(self, at: int, domain: _Srcu) -> None:
        self.life.write(f"call_srcu.{self.name[5:]}.{domain.name[5:]}", 0, 1)


class _Srcu(_Queue):
    def get(self, at: int) -> Any:
        return self

    def read(self, at: int) -> Any:
        return _Section(self.life, self.name)

    def synchronize(self, at: int) -> None:
        self.life.grace_period(self.name)


class _Work(_Field):
    """Whether it is queued (2: cancelled), and whether it runs."""

    size = 2

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def queue(self, at: int) -> bool:
        state = self.life.values[self.name]

        def action() -> bool:
            new = state[0] == 0
            state[0] = state[0] or 1
            return new

        done: bool = self.life.step(action)
        return done

    def flush(self, at: int) -> None:
        state = self.life.values[self.name]
        self.life.step(lambda: None, lambda: state[0] != 1)
        self.life.step(lambda: None, lambda: state[1] == 0)

    def cancel_sync(self, at: int) -> bool:
        state = self.life.values[self.name]

        def cancel() -> bool:
            was, state[0] = state[0] == 1, 2
            return was

        was: bool = self.life.step(cancel, lambda: state[0] != 2)
        self.life.step(lambda: state.__setitem__(0, 0), lambda: state[1] == 0)
        return was


class _Section:
    """A section of RCU or SRCU; one within another is nothing."""

    def __init__(self, life: Life, flags: str) -> None:
        self.life, self.flags, self.outer = life, flags, False

    def __enter__(self) -> None:
        self.outer = not self.life.values[self.flags][self.life.me]
        if self.outer:
            self.life.write(self.flags, self.life.me, 1)

    def __exit__(self, *_: object) -> None:
        if self.outer and not self.life._local.cpu.over:
            self.life.write(self.flags, self.life.me, 0)


class _Lock(_Field):
    def get(self, at: int) -> Any:
        return self.life.lock(self.name, at)

    def trylock(self, at: int) -> Any:
        return _Tried(self.life, self.name, at, 1, alone=True)


class _Sides(_Field):
    def read(self, at: int) -> Any:
        return _Shared(self.life, self.name, at)

    def write(self, at: int) -> Any:
        return _Held(self.life, self.name, at, self.life._writer)

    def try_read(self, at: int) -> Any:
        return _Tried(self.life, self.name, at, 1, alone=False)

    def try_write(self, at: int) -> Any:
        return _Tried(self.life, self.name, at, self.life._writer, alone=True)


class _Shared:
    """A lock held by a reader."""

    def __init__(self, life: Life, field: str, at: int) -> None:
        self.life, self.at, self.held = life, at, life.values[field]

    def __enter__(self) -> None:
        self.life.step(lambda: self.add(1), lambda: self.held[self.at] < self.life._writer)

    def __exit__(self, *_: object) -> None:
        if not self.life._local.cpu.over:
            self.life.step(lambda: self.add(-1))

    def add(self, by: int) -> None:
        self.held[self.at] += by


class _Tried:
    """A lock that is taken if it is free: by a writer alone, or by a reader beside others."""

    def __init__(self, life: Life, field: str, at: int, by: int, alone: bool) -> None:
        self.life, self.held, self.at, self.by, self.alone = life, life.values[field], at, by, alone
        self.got = False

    def __enter__(self) -> bool:
        def take() -> bool:
            self.got = self.held[self.at] < (1 if self.alone else self.life._writer)
            self.held[self.at] += self.by if self.got else 0
            return self.got

        got: bool = self.life.step(take)
        return got

    def __exit__(self, *_: object) -> None:
        if self.got and not self.life._local.cpu.over:
            self.life.step(lambda: self.held.__setitem__(self.at, self.held[self.at] - self.by))


class _Elements:
    """The elements of a PerPage field."""

    def __init__(self, of: _Field) -> None:
        self.of = of

    def __getitem__(self, gfn: int) -> Any:
        return self.of.get(gfn)

    def __setitem__(self, gfn: int, value: int) -> None:
        self.of.life.write(self.of.name, gfn, value)


class _PerPage(_Field):
    def __init__(self, of: _Field) -> None:
        self.of = of

    def bind(self, life: Life, name: str) -> None:
        self.of.size = life.pages
        self.of.bind(life, name)

    def __get__(self, obj: object, owner: type) -> Any:
        return _Elements(self.of)

    def __getattr__(self, name: str) -> Any:
        """Return what an element's field has: methods that take the index first."""
        return getattr(self.of, name)


class _Methods(ast.NodeTransformer):
    """Give fields their methods: Python would read the field first, which is a step.

    `self.f[i].m(x)` becomes `field(self, "f").m(i, x)`, the argument of wait_event a function, `self.n += x` of an
    Atomic a method, and WRITE_ONCE a store.
    """

    def __init__(self, tree: ast.Module) -> None:
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        stores = [stmt.targets[0] for each in classes for stmt in each.body if isinstance(stmt, ast.Assign)]
        self.fields = {target.id for target in stores if isinstance(target, ast.Name)}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute):
            made = self.method(node.func.value, node.func.attr, node.args)
            return made or node
        return node

    def method(self, field: ast.expr, method: str, args: list[ast.expr]) -> ast.Call | None:
        index: ast.expr = ast.Constant(0)
        if isinstance(field, ast.Subscript):
            index, field = field.slice, field.value
        if not isinstance(field, ast.Attribute) or field.attr not in self.fields:
            return None
        call = ast.Call(ast.parse(f"field(self, {field.attr!r}).{method}", mode="eval").body, [], [])
        if method == "wait_event":
            args = [ast.Lambda(ast.arguments([], [], None, [], [], None, []), args[0])]
        call.args = [index, *args]
        return call

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        value = node.value if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.value)
        made = self.method(node.target, "add_return", [value])
        if made is None:
            return node
        assert isinstance(made.func, ast.Attribute)
        is_atomic = ast.parse(f"is_atomic({ast.unparse(made.func.value)})", mode="eval").body
        return ast.If(is_atomic, [ast.Expr(made)], [node])

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=ast.Name(id="WRITE_ONCE" | "smp_store_release"), args=[target, value]):
                made = ast.parse(f"{ast.unparse(target)} = 0").body[0]
                assert isinstance(made, ast.Assign)
                made.value = value
                return made
        return node


def _class(life: Life, text: str, name: str) -> Any:
    """Run the text of a plan file and return one of its classes."""

    class SecondaryMMU:
        """What a plan derives from."""

    for word in ("get_user_page", "put_page", "map", "zap", "zap_sptes", "flush"):
        setattr(SecondaryMMU, word, staticmethod(getattr(life, word)))
    words: dict[str, Any] = {"SecondaryMMU": SecondaryMMU, "page_range": lambda gfn: range(gfn, gfn + 1)}
    words["all_pages"] = lambda: range(life.pages)
    words |= {"Counter": _Field, "Flag": _Flag, "SpinLock": _Lock, "Mutex": _Lock, "PerPage": _PerPage}
    words |= {"Atomic": _Atomic, "RwLock": _Sides, "RwSem": _Sides, "WaitQueue": _Queue}
    words |= {"Object": _Object, "Srcu": _Srcu, "WorkItem": _Work}
    words["rcu_read_lock"] = lambda: _Section(life, "rcu.readers")
    words["cond_resched"] = lambda: None  # a step that does nothing
    words["synchronize_rcu"] = lambda: life.grace_period("rcu.readers")
    words |= {word: word for word in ("REPLAY", "MAPPED", "FAULT")}
    words |= dict.fromkeys(("READ_ONCE", "smp_load_acquire"), lambda value: value)
    words |= dict.fromkeys(("smp_mb", "smp_rmb", "smp_wmb"), lambda: None)
    words["field"] = inspect.getattr_static
    words["is_atomic"] = lambda field: isinstance(getattr(field, "of", field), _Atomic)
    tree = ast.parse(text)
    tree.body = [stmt for stmt in tree.body if not isinstance(stmt, ast.ImportFrom)]
    exec(compile(ast.fix_missing_locations(_Methods(tree).visit(tree)), "plan", "exec"), words)
    return words[name]


def _fields(made: Any) -> dict[str, _Field]:
    """Return the fields of a class by name, those of its bases first."""
    every = [item for cls in reversed(made.__mro__) for item in vars(cls).items()]
    return {name: value for name, value in every if isinstance(value, _Field)}


def _names(made: Any) -> set[str]:
    """Return what the methods of a class name, those of its bases too."""
    every = [value for cls in made.__mro__ for value in vars(cls).values() if inspect.isfunction(value)]
    return {name for function in every for name in function.__code__.co_names}


def _workers(life: Life, text: str, made: Any) -> list[Callable[[], None]]:
    """Return what the CPUs beside those of the scenario run: work items, then objects that are freed later."""
    fields = _fields(made)
    found: list[Callable[[], None]] = []
    for name, field in fields.items():
        if isinstance(field, _Work):
            found.append(partial(life.run_work, f"plan.{name}", field.method))
    lineage = {cls.__name__ for cls in made.__mro__}
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name in lineage]
    calls = {ast.unparse(node) for each in classes for node in ast.walk(each) if isinstance(node, ast.Call)}
    for name in (name for name, field in fields.items() if isinstance(field, _Object)):
        if f"self.{name}.kfree_rcu()" in calls:
            life.values[f"kfree_rcu.{name}"] = [0]
            found.append(partial(life.free_later, f"kfree_rcu.{name}", f"plan.{name}", "rcu.readers"))
        for other in (other for other, field in fields.items() if isinstance(field, _Srcu)):
            if f"self.{name}.call_srcu(self.{other})" in calls:
                mark = f"call_srcu.{name}.{other}"
                life.values[mark] = [0]
                found.append(partial(life.free_later, mark, f"plan.{name}", f"plan.{other}"))
    return found
