# SPDX-License-Identifier: Apache-2.0
"""List the functions of the kernel that a plan has words for, and those that no plan is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LockCall:
    """What a call does with a lock: `kind` of field, or rcu; `side` of it; and whether it is take, try or drop."""

    kind: str
    side: str
    does: str


_IRQ = r"(?:_irq|_irqsave|_irqrestore|_bh)?"
_LOCKS: Final = [
    (rf"(?:raw_)?spin_lock{_IRQ}(?:_nested)?", "SpinLock", "", "take"),
    (rf"(?:raw_)?spin_trylock{_IRQ}", "SpinLock", "", "try"),
    (rf"(?:raw_)?spin_unlock{_IRQ}", "SpinLock", "", "drop"),
    (rf"(read|write)_lock{_IRQ}(?:_nested)?", "RwLock", "1", "take"),
    (rf"(read|write)_trylock{_IRQ}", "RwLock", "1", "try"),
    (rf"(read|write)_unlock{_IRQ}", "RwLock", "1", "drop"),
    (r"mutex_lock(?:_nested|_interruptible|_killable|_io)*", "Mutex", "", "take"),
    (r"mutex_trylock", "Mutex", "", "try"),
    (r"mutex_unlock", "Mutex", "", "drop"),
    (r"down_(read|write)(?:_nested|_interruptible|_killable|_nest_lock)*", "RwSem", "1", "take"),
    (r"down_(read|write)_trylock", "RwSem", "1", "try"),
    (r"up_(read|write)(?:_non_owner)?", "RwSem", "1", "drop"),
    (r"rcu_read_lock(?:_bh|_sched)?", "rcu", "", "take"),
    (r"rcu_read_unlock(?:_bh|_sched)?", "rcu", "", "drop"),
    (r"(?:srcu_read_lock|srcu_down_read)(?:_nmisafe)?", "Srcu", "read", "take"),
    (r"(?:srcu_read_unlock|srcu_up_read)(?:_nmisafe)?", "Srcu", "read", "drop"),
    (rf"xa_lock{_IRQ}", "SpinLock", "", "take"),
    (rf"xa_unlock{_IRQ}", "SpinLock", "", "drop"),
    (r"KVM_MMU_LOCK", "SpinLock", "", "take"),
    (r"KVM_MMU_UNLOCK", "SpinLock", "", "drop"),
]

#: What `guard(KIND)(&lock)` and `scoped_guard(KIND, &lock)` take.
GUARDS: Final = {
    "mutex": ("Mutex", ""),
    "spinlock": ("SpinLock", ""),
    "spinlock_irq": ("SpinLock", ""),
    "spinlock_irqsave": ("SpinLock", ""),
    "raw_spinlock": ("SpinLock", ""),
    "raw_spinlock_irqsave": ("SpinLock", ""),
    "read_lock": ("RwLock", "read"),
    "read_lock_irq": ("RwLock", "read"),
    "read_lock_irqsave": ("RwLock", "read"),
    "write_lock": ("RwLock", "write"),
    "write_lock_irq": ("RwLock", "write"),
    "write_lock_irqsave": ("RwLock", "write"),
    "rwsem_read": ("RwSem", "read"),
    "rwsem_write": ("RwSem", "write"),
    "rcu": ("rcu", ""),
    "srcu": ("Srcu", "read"),
}

#: The lock of the mm that get_user_page takes itself.
MM_LOCK: Final = re.compile(r"mmap_(?:read|write)_(?:lock|unlock|trylock|lock_killable|downgrade)|mmap_assert\w*")

ATOMIC: Final = re.compile(
    r"(?:atomic|atomic64|atomic_long|refcount)_(read|set|inc|dec|add|sub|(?:inc|dec|add|sub)_return|"
    r"(?:inc|dec|sub)_and_test|cmpxchg|xchg)(?:_acquire|_release|_relaxed)?"
)
WAIT: Final = re.compile(r"wait_event(?:_interruptible|_killable|_idle|_lock_irq|_cmd)?")
WAKE: Final = re.compile(r"wake_up(?:_all|_interruptible|_interruptible_all|_locked|_var)?")
BARRIERS: Final = {"smp_mb": "smp_mb", "smp_rmb": "smp_rmb", "smp_wmb": "smp_wmb", "mb": "smp_mb", "rmb": "smp_rmb"}

#: What waits for the sections of RCU, or of an SRCU domain.
SYNCHRONIZES: Final = re.compile(r"synchronize_(s?rcu)(?:_expedited)?")

#: What is done with a work item: the argument that names it, and the method of the field.
WORK: Final = {
    "queue_work": (1, "queue"),
    "queue_delayed_work": (1, "queue"),
    "mod_delayed_work": (1, "queue"),
    "schedule_work": (0, "queue"),
    "schedule_delayed_work": (0, "queue"),
    "flush_work": (0, "flush"),
    "flush_delayed_work": (0, "flush"),
    "cancel_work_sync": (0, "cancel_sync"),
    "cancel_delayed_work_sync": (0, "cancel_sync"),
}
#: What says which function a work item runs.
INIT_WORK: Final = re.compile(r"INIT_(?:DELAYED_|DEFERRABLE_)?WORK|DECLARE_(?:DELAYED_)?WORK")

#: What is done with the references of an object, by the method of the field.
REFERENCES: Final = {"kref_get": "get", "kref_get_unless_zero": "get_unless_zero", "kref_put": "put"}
ALLOCATES: Final = re.compile(r"kv?[mzc]alloc\w*|kvcalloc|k?memdup\w*")
FREES: Final = frozenset(["kfree", "kvfree"])

#: What an interval notifier's client calls.
INTERVAL: Final = frozenset(
    ["mmu_interval_set_seq", "mmu_interval_read_begin", "mmu_interval_read_retry", "mmu_interval_check_retry"]
)

#: What translates an address of the process to a page.
TRANSLATES: Final = re.compile(
    r"(?:__)?(?:get|pin)_user_pages?(?:_fast|_remote|_unlocked|_locked|_fast_only)?|hmm_range_fault|hva_to_pfn"
    r"|kvm_faultin_pfn|__kvm_faultin_pfn|__kvm_faultin_page|__gfn_to_pfn_memslot|gfn_to_pfn\w*|get_user_page"
    r"|(?:copro_)?handle_mm_fault|fixup_user_fault|amdgpu_hmm_range_get_pages|get_user_pages_unlocked"
)
#: Of these, the ones that take no reference of the page.
NO_REFERENCE: Final = re.compile(
    r"hmm_range_fault|amdgpu_hmm_range_get_pages|(?:copro_)?handle_mm_fault|fixup_user_fault"
)
PUTS: Final = re.compile(
    r"put_page|folio_put|unpin_user_pages?(?:_dirty_lock)?|unpin_folio|kvm_release_pfn\w*|kvm_release_page\w*"
    r"|kvm_release_faultin_page|release_pages"
)

#: What says something to people, or asserts: no plan is about it.
SILENT: Final = re.compile(
    r"DRM_(?:ERROR|WARN|INFO|NOTE|DEBUG)\w*|dd_dev_\w+"
    r"|(?:pr|dev|drm|ibdev|mlx5_ib|vm|gru|hfi1|xe_gt|nvif)_(?:dbg|debug|info|warn|err|notice|warning)\w*|printk\w*|trace_\w+"
    r"|WARN\w*|BUG\w*|VM_(?:BUG|WARN)\w*|KVM_BUG\w*|lockdep_\w+|might_\w+|STAT|DBG|hfi1_cdbg|vm_dbg|range_debug"
    r"|XE_WARN\w*|xe_assert\w*|vm_assert\w*|drm_WARN\w*|BUILD_BUG\w*|\w*lock_init|mutex_init|init_\w+|INIT_\w+|cond_resched|cpu_relax|svm_range_debug_dump"
)
#: What gives its argument back.
TRANSPARENT: Final = frozenset(["likely", "unlikely", "WARN_ON", "WARN_ON_ONCE", "KVM_BUG_ON", "XE_WARN_ON"])
#: What computes with private values, and looks at nothing that others share.
PURE: Final = re.compile(
    r"container_of\w*|list_entry|rb_entry|PAGE_ALIGN\w*|ALIGN\w*|offset_in_page|min\w*|max\w*|sizeof|IS_ERR\w*|PTR_ERR\w*"
    r"|ERR_PTR|ERR_CAST|round_(?:up|down)|upper_32_bits|lower_32_bits|msecs_to_jiffies|hmm_pfn_to_\w+|page_to_\w+"
    r"|pfn_to_\w+|to_\w+|BIT\w*|PFN_\w+|smp_processor_id|mmu_notifier_range_blockable|xa_\w+_value"
)

_ERRNO: Final = {
    "EPERM": 1, "ENOENT": 2, "EINTR": 4, "EIO": 5, "ENXIO": 6, "E2BIG": 7, "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13,
    "EFAULT": 14, "EBUSY": 16, "EEXIST": 17, "ENODEV": 19, "EINVAL": 22, "ENOSPC": 28, "ERANGE": 34, "EDEADLK": 35,
}  # fmt: skip
_AGAIN: Final = frozenset(["EAGAIN", "EBUSY", "ERESTARTSYS", "EINTR", "EDEADLK"])


def lock_call(name: str) -> LockCall | None:
    """Return what a call does with a lock, if it is one that takes a lock."""
    for pattern, kind, side, does in _LOCKS:
        if match := re.fullmatch(pattern, name):
            return LockCall(kind, match[1] if side == "1" else side, does)
    return None


def errno(name: str) -> int | None:
    """Return the number of an error: EFAULT is 14; None if it is none, or too large for a plan."""
    return _ERRNO.get(name)


def result_of(name: str) -> str:
    """Return what a fault that ends with an error says: REPLAY if it is to be taken again, else FAULT."""
    return "REPLAY" if name in _AGAIN else "FAULT"
