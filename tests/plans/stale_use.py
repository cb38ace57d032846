# SPDX-License-Identifier: Apache-2.0
"""Plans that let an spte outlive its frame, and their twins."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class CheckOutsideLock(Kvm2008):
    """The staleness test stands before the lock, so that a zap fits between it and the map."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        stale = self.seq != seq or self.range_count
        with self.mmu_lock:
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class CheckUnderLock(Kvm2008):
    """The twin: the test stands under the lock."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class EarlyPut(Kvm2008):
    """The reference is put before the lock: nothing is wrong, since the test protects the page, not the reference."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        return REPLAY if stale else MAPPED


class EarlyPutUntested(Kvm2008):
    """The reference is put early and nothing is tested: the frame may be another page's by then."""

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        with self.mmu_lock:
            self.map(gfn, page, write)
        return MAPPED
