# SPDX-License-Identifier: Apache-2.0
"""Leave out seq, and trust in the count alone."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class CountWithoutSeq(Kvm2008):
    """The fault tests the count, and not whether seq has changed.

    Whatever begins and ends while get_user_page() runs or after it goes unseen, a single page's invalidation too.
    """

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.range_count != 0
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
