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

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.zap(gfn)
            self.mapped[gfn] = False

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, True)
        with self.mmu_lock:
            there = self.mapped[gfn]  # another vCPU was faster
            if not there:
                self.map(gfn, page, True)
                self.mapped[gfn] = True
        if there:
            self.put_page(page)
        return MAPPED
