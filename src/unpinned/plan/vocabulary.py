# SPDX-License-Identifier: Apache-2.0
"""List the words that the plan reader knows: hooks, fields, the mm's calls, and the words of models."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from unpinned.plan import language, modelling

#: What an author may import, by dialect.
DRIVER_WORDS: Final = frozenset(language.__all__)
MODEL_WORDS: Final = frozenset(modelling.__all__)

#: The classes that a plan and a model derive from.
DRIVER_ROOT: Final = "SecondaryMMU"
MODEL_ROOT: Final = "Model"

#: What the mm calls, with the parameters that it passes.
HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "page_fault": ("gfn", "write"),
    "invalidate_range_start": ("r",),
    "invalidate_range_end": ("r",),
    "invalidate_page": ("gfn",),
    "invalidate": ("r", "cur_seq"),
    "arch_invalidate_secondary_tlbs": ("r",),
    "release": (),
    "ioproc_invalidate_range": ("r",),
    "ioproc_invalidate_page": ("gfn",),
    "ioproc_update_page": ("gfn", "page", "write"),
}
#: The hooks that one era alone has.
ERA_HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "2005": ("ioproc_invalidate_range", "ioproc_invalidate_page", "ioproc_update_page"),
    "2008": ("invalidate_page",),
    "current": ("invalidate", "arch_invalidate_secondary_tlbs"),
}

#: Hooks of the kernel that the mm does not call yet.
LATER_HOOKS: Final = frozenset(
    [
        "age_page",
        "alloc_notifier",
        "change_pte",
        "clear_flush_young",
        "clear_young",
        "free_notifier",
        "invalidate_page_before",
        "invalidate_range",
        "test_young",
    ]
)

#: The methods of SecondaryMMU, which a plan calls and may not define.
MM_CALLS: Final = frozenset(
    [
        "flush",
        "get_user_page",
        "map",
        "mmu_interval_read_begin",
        "mmu_interval_read_retry",
        "mmu_interval_set_seq",
        "mmu_notifier_unregister",
        "put_page",
        "tfh_read",
        "tfh_write_restart",
        "zap",
        "zap_sptes",
    ]
)

#: The class attributes by which a plan says what it is.
ATTRIBUTES: Final = frozenset(["core", "era", "flavour", "operations", "own", "promises", "sptes", "waive"])
ERAS: Final = ("2008", "current", "2005")
#: How the core of the notifiers releases a client and takes it off its list: today's, or that of a year or a commit.
CORES: Final = ("current", "2008", "3ad3d901bbcf", "751efd8610d3")
#: How the mm holds the locks of its reverse map while it calls a plan: they spin, or they sleep.
FLAVOURS: Final = ("spinning", "sleeping")
#: Where the hardware finds translations: in sptes, in sptes that own references, in the CPU's page table.
SPTES: Final = ("own", "pinned", "cpu")
#: What the mm may do, by era, in the order of a ladder.
ERA_OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "2008": ("zap", "munmap", "reclaim", "mprotect", "mremap", "exit"),
    "2005": ("zap", "munmap", "reclaim"),
    "current": ("zap", "munmap", "reclaim", "migrate", "fork", "cow", "oom_reap", "mprotect", "mremap", "exit"),
}
OPERATIONS: Final = tuple(dict.fromkeys(op for ops in ERA_OPERATIONS.values() for op in ops))

#: The kinds of field, by dialect; the arrays hold one other field for each of something.
DRIVER_FIELDS: Final = frozenset(
    [
        "Atomic",
        "Counter",
        "Flag",
        "Mutex",
        "Object",
        "PerPage",
        "RwLock",
        "RwSem",
        "SpinLock",
        "Srcu",
        "WaitQueue",
        "WorkItem",
    ]
)
#: What is no value, and stands alone: no field holds one for each page.
ALONE: Final = {"Object": "an object", "Srcu": "an SRCU domain", "WaitQueue": "a wait queue", "WorkItem": "a work item"}
MODEL_FIELDS: Final = frozenset(["GfnField", "PerCpu", "PerFrame", "PerVcpu", "Pfn"])
ARRAYS: Final = frozenset(["PerCpu", "PerFrame", "PerPage", "PerVcpu"])

#: The methods of fields by their kind, with the kinds of their arguments as below.
FIELD_CALLS: Final[dict[str, dict[str, str]]] = {
    "Atomic": {"add_return": "e", "cmpxchg": "ee", "xchg": "e"},
    "Flag": {"xchg": "e"},
    "Object": {
        "call_srcu": "e",
        "free": "",
        "get": "",
        "get_unless_zero": "",
        "kfree_rcu": "",
        "put": "",
        "use": "",
    },
    "Srcu": {"synchronize": ""},
    "WaitQueue": {"wait_event": "e", "wake_up": ""},
    "WorkItem": {"cancel_sync": "", "flush": "", "queue": ""},
}
#: How a lock is taken where `with self.lock:` is not all: by kind, the methods that wait, and those that only try.
SIDES: Final[dict[str, tuple[str, ...]]] = {
    "RwLock": ("read", "write"),
    "RwSem": ("read", "write"),
    "Srcu": ("read",),
}
TRIES: Final[dict[str, tuple[str, ...]]] = {
    "Mutex": ("trylock",),
    "RwLock": ("try_read", "try_write"),
    "RwSem": ("try_read", "try_write"),
    "SpinLock": ("trylock",),
}

#: Functions of blocks: `with rcu_read_lock():`.
SECTIONS: Final = frozenset(["rcu_read_lock"])

#: The parts of the modelled world, which models reach as `self.mm` and so on.
PARTS: Final = frozenset(["client", "hw", "mm"])

#: Values that both dialects, and only models, may name.
DRIVER_VALUES: Final = frozenset(["EAGAIN", "FAULT", "MAPPED", "REPLAY"])
MODEL_VALUES: Final = frozenset(["FRAMES", "NONE", "PAGES", "VCPUS"])

#: What orders memory, with the kinds of arguments: all of it is accepted, and none of it judged.
ORDERING: Final[dict[str, str]] = {
    "READ_ONCE": "f",
    "WRITE_ONCE": "fe",
    "smp_load_acquire": "f",
    "smp_mb": "",
    "smp_rmb": "",
    "smp_store_release": "fe",
    "smp_wmb": "",
}
#: Functions with the kinds of their arguments: e an expression, f a field, s a string, r a rule, g `x for x in SET if
#: COND`.
DRIVER_CALLS: Final[dict[str, str]] = {
    "all_pages": "",
    "cond_resched": "",
    "page_range": "e",
    "synchronize_rcu": "",
    **ORDERING,
}
MODEL_CALLS: Final[dict[str, str]] = {
    "atomic": "",
    "check": "res",
    "choose": "ee",
    "choose_frame": "",
    "cover": "s",
    "exists": "g",
    "given": "s",
    "limit": "es",
    "lowest": "g",
    "may_sleep": "s",
    "non_blockable": "e",
    "note": "s",
    "per_page": "e",
    "span": "ee",
    "this_cpu": "",
    "wait": "e",
}

#: Functions that take `x for x in SET if COND` too, and the sets that it may go over.
SET_CALLS: Final = frozenset(["choose"])
SETS: Final = frozenset(["FRAMES", "PAGES", "VCPUS"])

#: Words of the design that no reader knows yet.
LATER_WORDS: Final = frozenset(
    [
        "HvaClient",
        "SeqCount",
        "barrier",
        "list_add",
        "list_del",
        "read_seqbegin",
        "read_seqretry",
        "schedule",
        "write_seqlock",
        "write_sequnlock",
    ]
)


def nearest(name: str, words: Iterable[str]) -> str:
    """Return `; did you mean X?` for a word that is spelt like `name`, else nothing."""
    close = difflib.get_close_matches(name, sorted(words), n=1, cutoff=0.7)
    return f"; did you mean `{close[0]}`?" if close else ""


def listed(words: Iterable[str]) -> str:
    """Return words as a message lists them: sorted, in backquotes."""
    return ", ".join(f"`{word}`" for word in sorted(words))


def hook_meant(name: str) -> str:
    """Return `; did you mean X?` for the name of a method that looks like a hook, else nothing."""
    plain = name
    for other, word in {"mmu_notifier_": "", "begin": "start", "finish": "end", "stop": "end"}.items():
        plain = plain.replace(other, word)
    return nearest(plain, HOOKS)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 argument, 2 arguments."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def a_or_an(noun: str) -> str:
    """Return a noun with its article: a Counter, an Atomic."""
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"
