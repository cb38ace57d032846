# SPDX-License-Identifier: Apache-2.0
"""The canonical client of an interval notifier, as HMM's users are told to write it.

Sources: the behaviour of mm/mmu_notifier.c and the scheme that Documentation/mm/hmm.rst and lib/test_hmm.c of Linux
6.12.117 follow.
"""

from unpinned import MAPPED, Mutex, SecondaryMMU


class Hmm(SecondaryMMU):
    """A device whose page table is under a mutex; the fault goes round until nothing has come between."""

    era = "current"

    user_lock = Mutex()

    def invalidate(self, r, cur_seq):
        if r.blockable:
            with self.user_lock:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
            return True
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return got

    def page_fault(self, gfn, write):
        while True:
            seq = self.mmu_interval_read_begin()
            page = self.get_user_page(gfn, write)
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED
