# SPDX-License-Identifier: Apache-2.0
"""A gate that faults share and invalidations have alone: each waits for the other, asleep.

family: D
who: XPMEM as posted in 2008
rule: a fault maps its page behind the gate; the start of a range waits until no fault is behind it
verdict: holds
"""

from unpinned import MAPPED, REPLAY, Atomic, SecondaryMMU, WaitQueue


class Skeleton(SecondaryMMU):
    """Family D: nobody is turned away at the gate, everybody waits, so every method sleeps.

    The mm calls the three methods invalidate_... before or after it takes pages away; hardware calls page_fault. All of
    them may run at once, on any CPU. Each access to a field is a step, and any other CPU may run between two steps.
    """

    # The mm calls invalidate_page under the lock of its reverse map. That was a spinlock in 2008, so a gate that sleeps
    # could not be waited for there; the kernel has had a lock that sleeps since 3.0. Leave this line out, and a check
    # says sleep-in-atomic.
    flavour = "sleeping"

    inside = Atomic(signed=True)  # below zero: so many faults are behind the gate; above it, so many invalidations
    calm = WaitQueue()            # invalidations wait here for the last fault to leave
    ended = WaitQueue()           # faults wait here for the last invalidation to end
    recalls = Atomic()            # how many invalidations have ended; XPMEM marks the requests in flight instead

    # Called by zap (MADV_DONTNEED) and munmap before the first PTE of the range is cleared, under mmap_lock. May sleep.
    def invalidate_range_start(self, r):
        self.enter(1)
        self.zap(r)  # clears the sptes of the range, and flushes the TLBs of the vCPUs

    # Called after the pages of the range were freed, under mmap_lock. May sleep.
    def invalidate_range_end(self, r):
        self.recalls += 1  # who has translated in between, outside the gate, must not map what it got
        self.leave_recall()

    # Called by reclaim, after the PTE was cleared and before the page is freed, under the lock of the reverse map.
    def invalidate_page(self, gfn):
        self.enter(1)
        self.recalls += 1
        self.zap(gfn)
        self.leave_recall()

    # Called when the guest touches a page that its spte does not allow. No lock is held, and everything may sleep.
    def page_fault(self, gfn, write):
        recalls = self.recalls
        # Outside the gate: get_user_page takes mmap_lock, which an invalidation may hold that waits for this fault.
        page = self.get_user_page(gfn, write)
        self.enter(-1)
        stale = self.recalls != recalls
        if not stale:
            self.map(gfn, page, write)
        if self.inside.add_return(1) == 0:
            self.calm.wake_up()
        self.put_page(page)  # nothing stays pinned
        return REPLAY if stale else MAPPED  # REPLAY: the guest takes the fault again

    # Helpers: the mm calls nothing of another name. They are inlined where they are called.
    def enter(self, by):
        """Go through the gate: +1 as an invalidation, -1 as a fault."""
        while True:
            now = self.inside
            if now < 0 and by > 0:
                self.calm.wait_event(self.inside >= 0)
            elif now > 0 and by < 0:
                self.ended.wait_event(self.inside <= 0)
            elif self.inside.cmpxchg(now, now + by):
                return

    def leave_recall(self):
        """Leave the gate as an invalidation; the last one lets the faults in."""
        if self.inside.add_return(-1) == 0:
            self.ended.wake_up()


# What to change first: the names, then what your driver waits for in enter(). `unpinned check` shows the race or the
# deadlock if the order is wrong, and `unpinned why` says which of these lines the plan needs.
