# SPDX-License-Identifier: Apache-2.0
"""A plan that only two overlapping ranges break, and its twin."""

from unpinned import MAPPED, REPLAY, Counter, Flag, SecondaryMMU, SpinLock


class FlagInPlaceOfCount(SecondaryMMU):
    """The first of two overlapping zaps to end says that none is under way."""

    operations = ("zap", "munmap")
    mmu_lock = SpinLock()
    seq = Counter()
    zapping = Flag()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.zapping = True
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.zapping = False

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.zapping
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
