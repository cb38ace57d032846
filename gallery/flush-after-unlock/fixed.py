# SPDX-License-Identifier: Apache-2.0
"""KVM's notifier, 2008 to 2012: no flush if no spte was zapped.

Two CPUs may take one page away at the same time. The second finds nothing
left to zap, and so has nothing to flush.
"""

from unpinned import *


class Kvm(SecondaryMMU):
    """A fault is replayed if a range is under way, or seq has moved."""

    mmu_lock = SpinLock()
    notifier_seq = Counter()
    notifier_count = Counter()
    present = PerPage(Flag())  # the rmap of the page is not empty

    def unmap_page(self, gfn):
        found = self.present[gfn]
        if found:
            self.present[gfn] = False
            self.zap_sptes(gfn)
        return found

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.notifier_seq += 1
            need_tlb_flush = self.unmap_page(gfn)
            if need_tlb_flush:
                self.flush()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.notifier_count += 1
            need_tlb_flush = False
            for gfn in r:
                if self.unmap_page(gfn):
                    need_tlb_flush = True
            if need_tlb_flush:
                self.flush()

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.notifier_seq += 1
            self.notifier_count -= 1

    def page_fault(self, gfn, write):
        seq = self.notifier_seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            retry = self.notifier_count or self.notifier_seq != seq
            if not retry:
                self.map(gfn, page, write)
                self.present[gfn] = True
        self.put_page(page)
        return REPLAY if retry else MAPPED
