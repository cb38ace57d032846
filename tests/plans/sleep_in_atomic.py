# SPDX-License-Identifier: Apache-2.0
"""Plans that sleep where they may not, and their twins."""

from unpinned import MAPPED, REPLAY, Counter, Mutex, SecondaryMMU, SpinLock
from unpinned.drivers.kvm2008 import Kvm2008


class MutexPlan(SecondaryMMU):
    """mmu_lock is a mutex: right for ranges, wrong for a page, which is announced under the rmap lock."""

    mmu_lock = Mutex()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class MutexUnderSpinLock(Kvm2008):
    """A mutex is taken inside the spinlock."""

    order = Mutex()

    def invalidate_range_end(self, r):
        with self.mmu_lock, self.order:
            self.seq += 1
            self.range_count -= 1


class SpinLockUnderMutex(Kvm2008):
    """The twin: the spinlock is taken inside the mutex."""

    order = Mutex()

    def invalidate_range_end(self, r):
        with self.order, self.mmu_lock:
            self.seq += 1
            self.range_count -= 1


class GupUnderSpinLock(Kvm2008):
    """Faults hold a spinlock against each other, over get_user_page() too."""

    fault_lock = SpinLock()

    def page_fault(self, gfn, write):
        with self.fault_lock:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
        return REPLAY if stale else MAPPED


class GupUnderMutex(Kvm2008):
    """The twin: it is a mutex."""

    fault_lock = Mutex()

    def page_fault(self, gfn, write):
        with self.fault_lock:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
        return REPLAY if stale else MAPPED
