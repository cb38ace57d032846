# SPDX-License-Identifier: Apache-2.0
"""A count of open ranges, and hardware that ignores an answer which an invalidation has overtaken.

family: C
who: SGI GRU
rule: the count is 0 after the miss was read; a drop-in after an invalidation of that address does nothing
verdict: holds
"""

from unpinned import MAPPED, Atomic, SecondaryMMU, WaitQueue


class Skeleton(SecondaryMMU):
    """Family C: there are no sptes and no references; translations are dropped into the TLB of the device.

    The mm calls the methods below round each change of a PTE; hardware calls page_fault. All of them may run at once,
    on any CPU. Each access to a field is a step, and any other CPU may run between two steps.
    """

    era = "current"  # the mm of Linux 6.12: start and end for reclaim too, and no invalidate_page

    # Shared by all CPUs. An Atomic is changed in one step, so that no lock is needed round it.
    range_active = Atomic()   # how many ranges are open now
    wait_queue = WaitQueue()  # faults that wait until none is

    # Called before the first PTE of the range is changed. May sleep where r.blockable; this does not.
    def invalidate_range_start(self, r):
        self.range_active += 1  # first, so that a miss which is read from here on sees it
        self.flush(r)           # empties the TLB, and cancels the misses of the range that were read before

    # Called when the PTEs of the range have changed.
    def invalidate_range_end(self, r):
        self.range_active -= 1
        self.wait_queue.wake_up()

    # Called when the device misses in its TLB. No lock is held, and everything may sleep.
    def page_fault(self, gfn, write):
        while True:
            self.wait_queue.wait_event(self.range_active == 0)
            self.tfh_read(gfn)  # before the count is looked at: a flush from here on cancels the drop-in
            if not self.range_active:
                page = self.get_user_page(gfn, write)  # sleeps; takes mmap_lock
                self.put_page(page)  # no reference is kept: what follows rests on the hardware alone
                self.tfh_write_restart(gfn, page, write)  # ignored if a flush has come since tfh_read
                return MAPPED  # the device tries again; if the drop-in was ignored, it misses again


# What to change first: see whether your hardware has this rule. If an answer to a miss is taken whatever has been
# flushed since, take family B. `unpinned check` shows the race if tfh_read() stands behind the test of the count.
