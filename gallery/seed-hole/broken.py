# SPDX-License-Identifier: Apache-2.0
"""KVM's locking plan of 22 April 2008.

A count holds faults off while a range is under way, and a sequence number
tells them of single pages.
"""

from unpinned import *


class Kvm(SecondaryMMU):
    """A fault is replayed if seq has moved, or a range is under way."""

    mmu_lock = SpinLock()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.range_count -= 1

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
