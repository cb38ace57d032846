# SPDX-License-Identifier: Apache-2.0
"""amdgpu's userptr: get_pages() goes round on -EBUSY.

hmm_range_fault() compares the sequence of its caller before it walks,
and says -EBUSY if an invalidation has begun. In the kernel the loop ended
after a second.
"""

from unpinned import *


class Userptr(SecondaryMMU):
    """The sequence is tested under the lock that the notifier takes."""

    notifier_lock = Mutex()

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.notifier_lock:
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)
        return True

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        busy = self.mmu_interval_read_retry(seq)
        while busy:
            self.put_page(page)
            page = self.get_user_page(gfn, write)
            busy = self.mmu_interval_read_retry(seq)
        with self.notifier_lock:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
