# SPDX-License-Identifier: Apache-2.0
"""Take the mail's invalidate_page by itself: the half of the plan that was right."""

from unpinned import MAPPED, REPLAY, Counter, SecondaryMMU, SpinLock


class PageAlone(SecondaryMMU):
    """invalidate_page alone, as in the mail, for a client whose pages are reclaimed and never unmapped in ranges.

    Nothing is wrong: the PTE is cleared before the call, so one bump of seq orders the fault before or after it.
    """

    operations = ("reclaim",)

    mmu_lock = SpinLock()
    seq = Counter()

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
