# SPDX-License-Identifier: Apache-2.0
"""Plans that only a second page, or only a second vCPU, shows to be wrong; the twin of each is Kvm2008."""

from unpinned import MAPPED, REPLAY, Counter
from unpinned.drivers.kvm2008 import Kvm2008


class FirstPageOnly(Kvm2008):
    """start returns after the first page of the range."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            for gfn in r:
                self.zap(gfn)
                return


class EveryPage(Kvm2008):
    """The twin: the loop goes on."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            for gfn in r:
                self.zap(gfn)
            return


class SharedSnapshot(Kvm2008):
    """The snapshot is a field: one vCPU's fault refreshes that of another."""

    snapshot = Counter()

    def page_fault(self, gfn, write):
        self.snapshot = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != self.snapshot or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
