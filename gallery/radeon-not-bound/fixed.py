# SPDX-License-Identifier: Apache-2.0
"""radeon's userptr: a notifier that does nothing if nothing is bound.

The pages are pinned while the object lives, and so are not freed.
"""

from unpinned import *


class Userptr(SecondaryMMU):
    """Pages are got, and bound under the reservation of the object."""

    sptes = "pinned"
    reservation = Mutex()
    bound = PerPage(Flag())

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        for gfn in r:
            with self.reservation:
                self.mmu_interval_set_seq(cur_seq)
                if self.bound[gfn]:
                    self.zap(gfn)
                    self.bound[gfn] = False
        return True

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, True)
        with self.reservation:
            there = self.bound[gfn]
            there = there or self.mmu_interval_read_retry(seq)
            if not there:
                self.map(gfn, page, True)
                self.bound[gfn] = True
        if there:
            self.put_page(page)
        return MAPPED
