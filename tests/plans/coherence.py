# SPDX-License-Identifier: Apache-2.0
"""Plans that give the guest more than the PTE has, and their twins."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class AlwaysWritable(Kvm2008):
    """A page that was got for reading is mapped for writing."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, True)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class AlwaysGotWritable(Kvm2008):
    """The twin: what is mapped for writing was got for writing."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, True)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, True)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class PageNotZapped(Kvm2008):
    """invalidate_page turns faults away and leaves the spte that is there."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
