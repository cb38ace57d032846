# SPDX-License-Identifier: Apache-2.0
"""Plans that lose count, and their twins."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class EndTwice(Kvm2008):
    """end takes back two for the one that start gave."""

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1
            self.range_count -= 1


class StartNotCounted(Kvm2008):
    """start does not count."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.zap(r)


class PutTwice(Kvm2008):
    """A fault that is replayed puts its page twice."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        if stale:
            self.put_page(page)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class PutOnce(Kvm2008):
    """The twin: each path puts it once."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        if stale:
            self.put_page(page)
            return REPLAY
        self.put_page(page)
        return MAPPED


class CountedOutsideLock(Kvm2008):
    """start and end count outside the lock: the read and the write of += are two steps."""

    def invalidate_range_start(self, r):
        self.range_count += 1
        with self.mmu_lock:
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
        self.range_count -= 1


class WaivedTwice(EndTwice):
    """EndTwice, which does not promise balance: the search goes on below zero, where faults are never let in."""

    waive = {"balance": "a test of what comes behind it"}
