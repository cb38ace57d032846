# SPDX-License-Identifier: Apache-2.0
"""Make up plan files with hypothesis: right ones, wrong ones, and odd ones, all in the plan language.

A plan is drawn as a locking plan of the thread with some of its lines left out, moved, doubled or put in place of
others, and with odd statements strewn in. Each is accepted by the reader: types are right, nothing is used unset.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import indent
from typing import Any, TypeVar

from hypothesis import strategies as st

from unpinned.plan.reading.classes import PlanClass, read_plans

#: Lines of source: one line, or a header with the block under it.
Block = list["str | tuple[str, Block]"]
T = TypeVar("T")

_LOCKS = ("SpinLock", "Mutex", "RwLock", "RwSem")
#: The scenarios that made plans are small enough for: vCPUs, pages, operation.
SCENARIOS = ((1, 1, "zap"), (1, 1, "munmap"), (1, 1, "reclaim"))
#: Made plans with more states than this are not worth a comparison.
AT_MOST = 20_000


def read_made(text: str) -> PlanClass:
    """Return the last plan of a made file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.py"
        path.write_text(text)
        return read_plans(path)[-1]


@st.composite
def made_plans(draw: Any) -> str:
    """Draw the text of a plan file."""
    return _Author(draw).file()


@dataclass(frozen=True, slots=True)
class _Scope:
    """What may be named where a statement stands: `leave` are the ways of returning from there."""

    gfns: tuple[str, ...] = ()
    range: bool = False
    bools: tuple[str, ...] = ()
    ints: tuple[str, ...] = ()
    leave: tuple[Block, ...] = ()
    depth: int = 2
    fault: bool = False


def _render(block: Block) -> str:
    lines = [
        f"{item}\n" if isinstance(item, str) else f"{item[0]}\n{indent(_render(item[1]), '    ')}" for item in block
    ]
    return "".join(lines) or "pass\n"


class _Author:
    """Write one file; `odd` is the chance of a strange statement at each place, in percent."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.methods: dict[str, tuple[str, Block]] = {}
        self.names = 0
        self.odd = self.pick([0, 10, 20, 30, 40])
        self.wrong = self.pick([0, 3, 6, 12])
        self.seq_each_page = self.chance(15)
        self.lock2 = self.pick(["", "", *(f"{kind}()" for kind in _LOCKS), *(f"PerPage({kind}())" for kind in _LOCKS)])
        self.flag = self.pick(["", "", "Flag()", "Flag(init=True)", "PerPage(Flag())"])
        self.third = self.chance(15)
        self.atomic = self.chance(20)
        self.queue = self.chance(30)

    # ---- chance

    def pick(self, options: Sequence[T]) -> T:
        """Choose; when a failure is made small, the first one."""
        return self.draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        """Say yes now and then; when a failure is made small, no."""
        return self.draw(st.integers(0, 99)) >= 100 - percent

    def slip(self) -> bool:
        """Say whether the author makes a mistake here."""
        return self.wrong > 0 and self.chance(self.wrong)

    def name(self) -> str:
        self.names += 1
        return f"x{self.names}"

    def helper(self, name: str, params: str, block: Block) -> str:
        """Define a method, once, and return what calls it."""
        self.methods.setdefault(name, (f"def {name}(self{params}):", block))
        return f"self.{name}"

    # ---- conditions

    def shared_atom(self, scope: _Scope) -> str:
        """Return a truth value that reads a field first."""
        options = ["self.count > 0", "self.count != 0", "not self.count", "self.count == 1", "self.count <= 1"]
        if self.third:
            options += ["self.third != 0", "self.third + 1 > self.count", "self.third - self.count < 0"]
        if not self.seq_each_page:
            options += [f"self.seq == {name}" for name in scope.ints] + ["self.seq > 1", "self.seq != self.count"]
        else:
            options += [f"self.seq[{gfn}] >= 1" for gfn in scope.gfns]
        if self.flag.startswith("Flag"):
            options += ["self.flag", "not self.flag", "self.flag == False"]
        elif self.flag:
            options += [f"self.flag[{gfn}]" for gfn in scope.gfns]
        return self.pick(options)

    def atom(self, scope: _Scope) -> str:
        options = [*scope.bools, *(f"not {name}" for name in scope.bools)]
        if scope.range:
            options += [f"{gfn} in r" for gfn in scope.gfns] + [f"{gfn} not in r" for gfn in scope.gfns]
        if options and self.chance(40):
            return self.pick(options)
        return self.shared_atom(scope)

    def condition(self, scope: _Scope, depth: int = 1) -> str:
        first = self.atom(scope)
        if depth == 0 or self.chance(50):
            return first
        second = self.condition(scope, depth - 1)
        forms = [f"{first} or {second}", f"{first} and {second}", f"not ({first} or {second})", f"not ({first})"]
        forms += [f"not ({first} and {second}) or {first}"]
        if self.chance(20):
            forms += [f"({first} if {second} else {self.atom(scope)})", f"(not ({first})) == (not ({second}))"]
            forms += [f"(not ({first})) != (not ({second}))"]
        return self.pick(forms)

    # ---- odd statements

    def strew(self, block: Block, scope: _Scope) -> Block:
        """Put an odd statement somewhere between others."""
        if not self.odd or not self.chance(self.odd):
            return block
        places = [at for at in range(len(block) + 1) if at == len(block) or block[at][0] != "else:"]
        at = self.pick(places)
        return [*block[:at], *self.statement(scope), *block[at:]]

    def statement(self, scope: _Scope) -> Block:
        """Return an odd statement, or two that belong together."""
        inner = replace(scope, depth=scope.depth - 1)
        kinds = ["store", "store", "zap", "local"]
        if scope.depth > 0:
            kinds += ["if", "if", "with", "while", "for", "leave"]
        match self.pick(kinds):
            case "if":
                block: Block = [(f"if {self.condition(scope)}:", self.statement(inner))]
                return [*block, ("else:", self.statement(inner))] if self.chance(30) else block
            case "with" if self.chance(40):
                name = self.name()
                within = replace(inner, bools=(*inner.bools, name))
                return [(f"with {self.lock(scope, tries=True)} as {name}:", self.statement(within))]
            case "with":
                return [(f"with {self.lock(scope)}:", self.statement(inner))]
            case "while":
                return self.loop(inner)
            case "for" if scope.range:
                name = self.name()
                within = replace(inner, gfns=(*scope.gfns, name))
                body = self.statement(within)
                if self.chance(30):
                    word = self.pick(["break", "continue"])
                    body = [(f"if {self.condition(within)}:", [word]), *body]
                return [(f"for {name} in r:", body)]
            case "leave" if scope.leave:
                return [(f"if {self.condition(scope)}:", self.pick(scope.leave))]
            case "zap":
                return [self.zap(scope)]
            case "local":
                return self.local(inner)
        return self.store(scope)

    def loop(self, inner: _Scope) -> Block:
        """Return a loop that reads a field each time round."""
        first = self.shared_atom(inner)
        match self.draw(st.integers(0, 2)):
            case 0:
                return [(f"while {first}:", ["pass"])]
            case 1:
                return [(f"while {first} and {self.atom(inner)}:", self.statement(inner) if inner.depth > 0 else [])]
        rest = self.statement(inner) if inner.depth > 0 else []
        return [("while True:", [(f"if {first}:", ["break"]), *rest])]

    def local(self, inner: _Scope) -> Block:
        """Return a local that is set and then used."""
        name = self.name()
        if self.chance(50):
            within = replace(inner, bools=(*inner.bools, name))
            first = f"{name} = not not ({self.condition(inner)})"
        else:
            within = replace(inner, ints=(*inner.ints, name))
            first = f"{name} = {self.pick(['self.count', '0', 'self.count + 1', '2 - self.count'])}"
        if inner.depth < 0:
            return [first]
        block: Block = [first, (f"if {self.condition(within)}:", self.statement(within))]
        if self.chance(20):
            block.insert(1, (f"if {self.condition(within)}:", [f"{name} = {name}"]))
        return block

    def store(self, scope: _Scope) -> Block:
        options: list[Block] = [["self.count += 1"], ["self.count -= 1"], [("if self.count:", ["self.count -= 1"])]]
        options += [self.bump(scope)] * 3
        if self.atomic:
            name = self.name()
            for does in ("add_return(1)", "cmpxchg(0, 1)", "xchg(1)"):
                options += [[f"{name} = self.count.{does}"]] * 2
            options += [[("if self.count.cmpxchg(1, 0):", ["self.count.add_return(2)"])]]
        if self.queue:
            options += [["self.queue.wake_up()"]] * 4
            options += [[f"self.queue.wait_event({self.condition(scope)})"] for _ in range(4)]
        if self.third:
            options += [["self.third += 1"], ["self.third -= 1"], ["self.third = 1"], ["self.third = self.count"]] * 2
            options += [["self.third += self.count"], ["self.count -= self.third - self.count"]]
        if self.flag.startswith("Flag"):
            options += [["self.flag = True"], ["self.flag = False"], ["self.flag = not self.flag"]] * 2
            options += [["self.flag = self.count > 0"], [f"{self.name()} = self.flag.xchg(True)"]]
            options += [["WRITE_ONCE(self.flag, READ_ONCE(self.count) > 0)", "smp_mb()"]]
        elif self.flag:
            options += [[f"self.flag[{gfn}] = {value}"] for gfn in scope.gfns for value in ("True", "False")]
        return self.pick(options)

    # ---- what a plan is made of

    def lock(self, scope: _Scope, tries: bool = False) -> str:
        """Return a lock, or a try to take it: mmu_lock, or the other one."""
        where = "self.lock2"
        if self.lock2.startswith("PerPage"):
            where = f"self.lock2[{self.pick(scope.gfns)}]" if scope.gfns else ""
        if not self.lock2 or not where or self.chance(40):
            return f"self.mmu_lock{'.trylock()' if tries else ''}"
        if "Rw" in self.lock2:
            return f"{where}.{'try_' if tries else ''}{self.pick(['read', 'write'])}()"
        return f"{where}{'.trylock()' if tries else ''}"

    def bump(self, scope: _Scope) -> Block:
        """Return what moves seq on."""
        if self.seq_each_page:
            if scope.gfns:
                return [f"self.seq[{self.pick(scope.gfns)}] += 1"]
            name = self.name()
            return [(f"for {name} in r:", [f"self.seq[{name}] += 1"])] if scope.range else ["pass"]
        if self.chance(15):
            return [f"{self.helper('bump', '', ['self.seq += 1'])}()"]
        if self.chance(10):
            return ["self.seq = self.seq + 1"]
        return ["self.seq += 1"]

    def zap(self, scope: _Scope) -> str:
        """Return some call that zaps or flushes."""
        targets = [*scope.gfns, *(["r"] if scope.range else [])]
        targets += [f"page_range({gfn})" for gfn in scope.gfns]
        target = self.pick(targets)
        return self.pick([f"self.zap({target})", f"self.zap_sptes({target})", f"self.flush({target})", "self.flush()"])

    def zaps(self, target: str) -> tuple[Block, Block]:
        """Return how a plan zaps: what it does at once, and what it does later (without the lock, if it has one)."""
        if self.slip():
            halves: list[Block] = [[], [f"self.zap_sptes({target})"], [f"self.flush({target})"]]
            return self.pick(halves), []
        whole: list[Block] = [[f"self.zap({target})"]] * 3
        whole += [[f"self.zap_sptes({target})", f"self.flush({target})"], [f"self.zap_sptes({target})", "self.flush()"]]
        if target == "r":
            name = self.name()
            whole += [[(f"for {name} in r:", [f"self.zap({name})"])]]
            whole += [[(f"for {name} in r:", [f"self.zap_sptes({name})"]), "self.flush(r)"]]
            whole += [[f"{self.helper('drop', ', r', ['self.zap(r)'])}(r)"]] if self.chance(30) else []
        block = self.pick(whole)
        if self.chance(15):
            return ([], block) if self.chance(50) else (block[:-1], block[-1:])
        return block, []

    def locked(self, block: Block, scope: _Scope) -> Block:
        """Put a block under mmu_lock, or (a mistake) some of it."""
        block = self.strew(block, scope)
        if self.slip():
            at = self.pick([at for at in range(len(block) + 1) if at == len(block) or block[at][0] != "else:"])
            under: Block = [("with self.mmu_lock:", block[at:])] if at < len(block) else []
            return [*block[:at], *under]
        locks = ["self.mmu_lock"]
        if self.lock2 and self.chance(25):
            locks.insert(self.draw(st.integers(0, 1)), self.lock(scope))
        if len(set(locks)) < len(locks) and not self.slip():
            locks = locks[:1]
        return [(f"with {', '.join(locks)}:", block)]

    # ---- the hooks

    def start(self) -> Block:
        scope = _Scope(range=True, leave=(["return"],))
        block: Block = [] if self.slip() else ["self.count += 1"]
        if self.chance(20):
            block += self.bump(scope)
        now, later = self.zaps("r")
        block = now + block if self.chance(15) else block + now
        return self.strew([*self.locked(block, scope), *later], scope)

    def end(self) -> Block:
        scope = _Scope(range=True, leave=(["return"],))
        block: Block = [] if self.slip() else self.bump(scope)
        once: Block = ["self.count -= 1"]
        down: list[Block] = [once, once, once, once, ["self.count = self.count - 1"]]
        if self.slip():
            down = [["self.count -= 2"], ["self.count = 0"], ["pass"], [("if self.count > 1:", once)]]
        block = self.pick(down) + block if self.chance(20) else block + self.pick(down)
        return self.strew(self.locked(block, scope), scope)

    def page(self) -> Block:
        scope = _Scope(gfns=("gfn",), leave=(["return"],))
        if self.chance(10):
            return ["self.invalidate_range_start(page_range(gfn))", "self.invalidate_range_end(page_range(gfn))"]
        block: Block = [] if self.slip() else self.bump(scope)
        now, later = self.zaps("gfn")
        block = now + block if self.chance(20) else block + now
        return self.strew([*self.locked(block, scope), *later], scope)

    def fault(self) -> Block:
        outer = _Scope(gfns=("gfn",), bools=("write",), leave=(["return REPLAY"],), fault=True)
        put: Block = ["self.put_page(page)"]
        if self.chance(10):
            put = [f"{self.helper('leave', ', page', ['self.put_page(page)'])}(page)"]
        inside = replace(outer, ints=("seq",), leave=([*put, "return REPLAY"], [*put, "return MAPPED"]))
        seq = "self.seq[gfn]" if self.seq_each_page else "self.seq"
        head: Block = [f"seq = {seq}", "page = self.get_user_page(gfn, write)"]
        if self.slip():
            head = self.pick([head[::-1], ["seq = 0", head[1]], [head[0], "page = self.get_user_page(gfn, True)"]])
        head = self.strew(head, replace(outer, leave=(["return REPLAY"], ["return FAULT"])) if self.odd else outer)
        changed = f"{seq} != seq"
        stale = self.pick(
            [f"{changed} or self.count"] * 4 + [f"self.count or {changed}", f"self.count > 0 or {changed}"]
        )
        if self.slip():
            stale = self.pick(
                [changed, "self.count > 0", f"{changed} and self.count", f"not ({changed}) and self.count"]
            )
        if self.chance(15):
            stale = f"{self.helper('stale', ', seq, gfn', [f'return {stale}'])}(seq, gfn)"
        if self.chance(10):
            stale = f"{self.condition(inside)} or {stale}"
        elif self.slip():
            stale = f"({stale}) and {self.atom(inside)}"
        return [*head, *self.judge(stale, put, inside)]

    def judge(self, stale: str, put: Block, scope: _Scope) -> Block:
        """Return the second half of a fault: test, map or not, put, and say which."""
        write = "True" if self.slip() and self.chance(50) else "write"
        set_: Block = [f"self.map(gfn, page, {write})"]
        known = replace(scope, bools=("write", "stale"))
        if self.slip():
            put = self.pick([[], [*put, *put], [("if stale:", put)]])
        last = ["return REPLAY if stale else MAPPED"]
        if self.slip():
            last = self.pick([["return MAPPED"], ["return REPLAY"], ["return FAULT if stale else MAPPED"]])
        match self.draw(st.integers(0, 7)):
            case 0 | 1 | 2 | 3:
                block: Block = [f"stale = {stale}", ("if not stale:", self.strew(set_, known))]
                return [*self.locked(block, scope), *self.strew([*put, *last], known)]
            case 4:  # an early return under the lock
                self.odd, odd = 0, self.odd
                block = [(f"if {stale}:", ["self.put_page(page)", "return REPLAY"]), *set_, "self.put_page(page)"]
                block = [*self.locked(block, scope), "return MAPPED"]
                self.odd = odd
                return block
            case 5:  # the loop of the mail, inside the fault, with a second look
                again: Block = ["seq = self.seq[gfn]" if self.seq_each_page else "seq = self.seq"]
                again += self.locked([f"stale = {stale}", ("if not stale:", set_)], scope)
                return [("while True:", [*again, *put, ("if not stale:", ["return MAPPED"]), *self.get_again()])]
            case 6:  # put before map: the page is the mm's to free
                block = [f"stale = {stale}", ("if not stale:", set_)]
                put_first = self.slip()
                judged = self.locked(block, scope)
                return [*put, *judged, *last] if put_first else [*judged, *put, *last]
        # the answer in a local, given back at the end
        block = [("if " + stale + ":", ["result = REPLAY"]), ("else:", [*set_, "result = MAPPED"])]
        ready = [item for item in put if isinstance(item, str)]
        return [*self.locked(["stale = False", *block] if put and not ready else block, scope), *ready, "return result"]

    def get_again(self) -> Block:
        if self.chance(50):
            return ["return REPLAY"]
        return [
            "seq = self.seq[gfn]" if self.seq_each_page else "seq = self.seq",
            "page = self.get_user_page(gfn, write)",
        ]

    # ---- the file

    def file(self) -> str:
        hooks: dict[str, tuple[str, Block]] = {
            "page_fault": ("def page_fault(self, gfn, write):", self.fault()),
            "invalidate_range_start": ("def invalidate_range_start(self, r):", self.start()),
            "invalidate_range_end": ("def invalidate_range_end(self, r):", self.end()),
            "invalidate_page": ("def invalidate_page(self, gfn):", self.page()),
        }
        if self.slip() and "invalidate_range_start" not in str(hooks["invalidate_page"]):
            del hooks[self.pick(["invalidate_page", "invalidate_range_end", "invalidate_range_start"])]
        if self.lock2 == "Mutex()" and self.chance(20):
            hooks["page_fault"] = (hooks["page_fault"][0], [("with self.lock2:", hooks["page_fault"][1])])
        seq = "PerPage(Counter())" if self.seq_each_page else self.pick(["Counter()"] * 3 + ["Counter(bits=3, init=2)"])
        count = "Atomic" if self.atomic else "Counter"
        fields: Block = ["mmu_lock = SpinLock()", f"seq = {seq}", f"count = {count}(bits=3)"]
        fields += ["queue = WaitQueue()"] if self.queue else []
        fields += [f"lock2 = {self.lock2}"] if self.lock2 else []
        fields += [f"flag = {self.flag}"] if self.flag else []
        fields += ["third = Counter(bits=2)"] if self.third else []
        if self.chance(10):
            fields.append(
                self.pick(
                    [
                        'waive = {"leak": "made up"}',
                        'promises = ("stale-use", "coherence", "deadlock")',
                        'waive = {"balance": "made up"}',
                    ]
                )
            )
        derived = self.derived(hooks) if self.chance(15) else []
        text = "# SPDX-License-Identifier: Apache-2.0\nfrom unpinned import *\n\n\n"
        body: Block = [*fields, *self.methods.values(), *hooks.values()]
        text += _render([("class Made(SecondaryMMU):", body)])
        if derived:
            text += "\n\n" + _render([("class Derived(Made):", derived)])
        return text

    def derived(self, hooks: dict[str, tuple[str, Block]]) -> Block:
        """Override one hook by something odd round what it was."""
        name = self.pick(sorted(hooks))
        argument = "r" if "range" in name else "gfn"
        if name == "page_fault":
            scope = _Scope(gfns=("gfn",), bools=("write",), leave=(["return REPLAY"],), fault=True, depth=1)
            return [(hooks[name][0], [*self.statement(scope), "return super().page_fault(gfn, write)"])]
        scope = _Scope(range=argument == "r", gfns=() if argument == "r" else ("gfn",), leave=(["return"],), depth=1)
        block: Block = [f"super().{name}({argument})"]
        at = self.draw(st.integers(0, 1))
        return [(hooks[name][0], [*block[:at], *self.statement(scope), *block[at:]])]
