# SPDX-License-Identifier: Apache-2.0
"""amdkfd's shared virtual memory: ranges, unmapped by their notifier.

Pages are not pinned: the GPU's page table follows the CPU's.
"""

from unpinned import *


class SvmRange(SecondaryMMU):
    """A range has a lock, under which it is mapped and unmapped."""

    svm_range_lock = Mutex()

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            with self.svm_range_lock.trylock() as got:
                if got:
                    self.mmu_interval_set_seq(cur_seq)
                    self.zap(r)
            return got
        with self.svm_range_lock:
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)
        return True

    def page_fault(self, gfn, write):
        while True:
            seq = self.mmu_interval_read_begin()
            page = self.get_user_page(gfn, write)
            with self.svm_range_lock:
                again = self.mmu_interval_read_retry(seq)
                if not again:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not again:
                return MAPPED
