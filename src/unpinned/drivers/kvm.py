# SPDX-License-Identifier: Apache-2.0
"""KVM's locking of today: invalidations that are counted, and a sequence number that ends them.

Sources: the behaviour of virt/kvm/kvm_main.c and arch/x86/kvm/mmu/mmu.c of Linux 6.12.117. The fault looks three times:
without the lock before get_user_pages and after it, to spare the work, and under mmu_lock, which is what it rests on.
"""

from unpinned import MAPPED, REPLAY, Counter, RwLock, SecondaryMMU, smp_rmb, smp_wmb


class Kvm(SecondaryMMU):
    """mmu_lock is a rwlock: faults that map share it, and an invalidation has it alone.

    The retry is not limited to the range here: any invalidation that is under way holds a fault up.
    """

    era = "current"

    mmu_lock = RwLock()
    mmu_invalidate_seq = Counter(bits=6)
    mmu_invalidate_in_progress = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_seq += 1
            smp_wmb()
            self.mmu_invalidate_in_progress -= 1

    def is_stale(self, mmu_seq):
        if self.mmu_invalidate_in_progress:
            return True
        smp_rmb()
        return self.mmu_invalidate_seq != mmu_seq

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        smp_rmb()
        if self.is_stale(mmu_seq):
            return REPLAY
        page = self.get_user_page(gfn, write)
        if self.is_stale(mmu_seq):
            self.put_page(page)
            return REPLAY
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
