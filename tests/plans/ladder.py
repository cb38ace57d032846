# SPDX-License-Identifier: Apache-2.0
"""Plans whose race only one rung of the ladder shows."""

from unpinned import Counter
from unpinned.drivers.kvm2008 import Kvm2008


class PageSkipsUnderRange(Kvm2008):
    """invalidate_page leaves the spte while a range is under way, even one of other pages."""

    operations = ("zap", "reclaim")

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            if not self.range_count:
                self.zap(gfn)


class NestedStartSkips(Kvm2008):
    """A start within another start..end leaves the sptes, even those of other pages."""

    operations = ("zap",)

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            if self.range_count == 0:
                self.zap(r)
            self.range_count += 1


class PageCounterUnlocked(Kvm2008):
    """invalidate_page counts itself without a lock, and two of them may run at once on two pages."""

    operations = ("reclaim",)
    pages = Counter()

    def invalidate_page(self, gfn):
        self.pages += 1
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)
        self.pages -= 1


class FirstPageOnly(Kvm2008):
    """start zaps the first page of a range alone."""

    operations = ("zap",)

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            for gfn in r:
                self.zap(gfn)
                break


class Toggle(Kvm2008):
    """One bit in place of a count: two munmaps look like none."""

    operations = ("munmap",)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq = 1 - self.seq
            self.range_count -= 1
