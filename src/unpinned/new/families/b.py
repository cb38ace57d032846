# SPDX-License-Identifier: Apache-2.0
"""A sequence and a count of open ranges: translate without a lock, look again under it, replay if they say so.

family: B
who: KVM (2008 and today), clients of mmu_interval_notifier and HMM, pfncache
rule: a fault notes seq, gets its page without a lock, and maps it only if no range is open and seq has not moved
verdict: holds
"""

from unpinned import MAPPED, REPLAY, Counter, SecondaryMMU, SpinLock


class Skeleton(SecondaryMMU):
    """Family B: whoever loses the race with an invalidation takes the fault again.

    The mm calls the methods below round each change of a PTE; hardware calls page_fault. All of them may run at once,
    on any CPU. Each access to a field is a step, and any other CPU may run between two steps.
    """

    era = "current"  # the mm of Linux 6.12: start and end for reclaim too, and no invalidate_page

    # Shared by all CPUs. `Mutex()` and `RwSem()` sleep: in place of this one they could be waited for only where
    # r.blockable, which it is not if the OOM reaper calls.
    mmu_lock = SpinLock()
    seq = Counter(bits=6)    # how many invalidations have ended
    range_count = Counter()  # how many ranges are open now; ranges overlap, so a Flag would not do

    # Called before the first PTE of the range is changed: all its pages are still mapped by the mm. May sleep where
    # r.blockable, but not under the spinlock. Where r is not blockable it may return -EAGAIN, and the mm leaves the
    # range alone; this takes every range in, and so returns nothing.
    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1  # from here on no fault maps a page
            self.zap(r)            # clears the sptes of the range, and flushes the TLBs of the vCPUs

    # Called when the PTEs of the range have changed. May sleep where r.blockable.
    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1          # a fault that began before the end must not map what it got: leave this out, and
            self.range_count -= 1  # a whole start..end pair between two looks of a fault goes unseen

    # Called when the guest touches a page that its spte does not allow. No lock is held, and everything may sleep.
    def page_fault(self, gfn, write):
        seq = self.seq  # before the page is got: what happens after this line is seen below
        page = self.get_user_page(gfn, write)  # sleeps; takes mmap_lock, and a reference of the page
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)  # under the lock that zap is called under
        self.put_page(page)  # nothing stays pinned: from here on only the notifier keeps the spte right
        return REPLAY if stale else MAPPED  # REPLAY: the guest takes the fault again


# What to change first: put your lock in the place of mmu_lock, with its kind, and see whether it may be held where it
# is. Then write page_fault in the order in which your driver does these things. `unpinned check` shows the race if the
# order is wrong, and `unpinned why` says which of these lines the plan needs. A client of an interval notifier has
# `def invalidate(self, r, cur_seq):` in the place of start and end, and the kernel keeps its count and its sequence:
# drivers/interval.py of unpinned is one.
