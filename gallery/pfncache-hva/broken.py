# SPDX-License-Identifier: Apache-2.0
"""KVM's gfn_to_pfn_cache since Linux 6.8, with a fixed HVA in no memslot.

The fault stands for a refresh, and the guest's accesses for the kernel's
through khva. Each page has a cache of its own. seq is bumped for memslots
alone.
"""

from unpinned import *


class PfnCache(SecondaryMMU):
    """A refresh goes round if a range is under way or seq has moved."""

    operations = ("zap", "munmap")  # all of it is ranges by then

    mn_lock = SpinLock()  # mn_invalidate_lock
    active_count = Counter()  # mn_active_invalidate_count
    mmu_lock = SpinLock()
    seq = Counter()  # mmu_invalidate_seq
    in_memslot = Flag()  # the HVA is in one; with init=True all is well
    refresh_lock = PerPage(Mutex())
    gpc_lock = PerPage(SpinLock())
    valid = PerPage(Flag())

    def invalidate_range_start(self, r):
        with self.mn_lock:
            self.active_count += 1
        for gfn in r:
            with self.gpc_lock[gfn]:
                self.valid[gfn] = False
                self.zap(gfn)

    def invalidate_range_end(self, r):
        if self.in_memslot:
            with self.mmu_lock:
                self.seq += 1
        with self.mn_lock:
            self.active_count -= 1

    def page_fault(self, gfn, write):
        with self.refresh_lock[gfn]:
            with self.gpc_lock[gfn]:
                if self.valid[gfn]:
                    return MAPPED
                seq = self.seq
            while True:
                page = self.get_user_page(gfn, True)
                with self.gpc_lock[gfn]:
                    fresh = self.active_count == 0 and self.seq == seq
                    if fresh:
                        self.map(gfn, page, True)
                        self.valid[gfn] = True
                    else:
                        seq = self.seq
                self.put_page(page)
                if fresh:
                    return MAPPED
