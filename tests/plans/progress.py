# SPDX-License-Identifier: Apache-2.0
"""Plans whose faults never complete, and their twins."""

from unpinned import MAPPED, REPLAY, Flag
from unpinned.drivers.kvm2008 import Kvm2008


class EndNotCounted(Kvm2008):
    """end leaves the count as it is: every later fault is replayed."""

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1


class Closed(Kvm2008):
    """A flag that start sets, and nobody clears, turns every later fault away."""

    closed = Flag()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.closed = True
            self.range_count += 1
            self.zap(r)

    def page_fault(self, gfn, write):
        if self.closed:
            return REPLAY
        return super().page_fault(gfn, write)


class Reopened(Closed):
    """The twin: end clears it."""

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.closed = False
            self.seq += 1
            self.range_count -= 1


class LoopStaleSnapshot(Kvm2008):
    """The fault loops by itself, on a snapshot that it takes once."""

    def page_fault(self, gfn, write):
        seq = self.seq
        while True:
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class LoopFreshSnapshot(Kvm2008):
    """The twin: it takes one in each round. A loop is as right as a replay, said the mail."""

    def page_fault(self, gfn, write):
        while True:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class NeverMaps(Kvm2008):
    """Every fault is replayed."""

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        return REPLAY


class SaysMapped(EndNotCounted):
    """The fault says MAPPED where it means REPLAY: the guest faults again all the same."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED
