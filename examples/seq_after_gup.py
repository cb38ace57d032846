# SPDX-License-Identifier: Apache-2.0
"""Read seq too late: once the page is already in hand."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class SeqAfterGup(Kvm2008):
    """seq is read after get_user_page(): two lines of the fault have changed places.

    An invalidation between the two takes the page away, and the snapshot is taken after its bump.
    """

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        seq = self.seq
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
