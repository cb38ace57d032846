# SPDX-License-Identifier: Apache-2.0
"""KVM swapping, before version 6 of the patch of February 2008.

An spte owns a reference of its page, which the notifier puts.
"""

from unpinned import *


class Kvm(SecondaryMMU):
    """invalidate_page takes a page that is swapped out from the guest."""

    sptes = "pinned"
    operations = ("reclaim",)
    mmu_lock = SpinLock()
    mapped = PerPage(Flag())
    seq = Counter()

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)
            self.mapped[gfn] = False

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, True)
        with self.mmu_lock:
            there = self.mapped[gfn]  # another vCPU was faster
            stale = self.seq != seq
            if not there and not stale:
                self.map(gfn, page, True)
                self.mapped[gfn] = True
        if there or stale:
            self.put_page(page)
        return REPLAY if stale else MAPPED
