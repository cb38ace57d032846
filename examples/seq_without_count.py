# SPDX-License-Identifier: Apache-2.0
"""Leave out the count, and trust in seq alone."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class SeqWithoutCount(Kvm2008):
    """seq is bumped in end, and the fault does not test the count.

    Between start and end seq stands still: a fault maps a page behind the zap, before its PTE is cleared.
    """

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
