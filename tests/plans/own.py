# SPDX-License-Identifier: Apache-2.0
"""Plans with operations of the client's own: each holds, or breaks as its comment says."""

from unpinned import (
    MAPPED,
    REPLAY,
    Counter,
    Flag,
    Mutex,
    SecondaryMMU,
    SpinLock,
    all_pages,
)


class Registration(SecondaryMMU):
    """A region that is registered and deregistered: what is mapped goes with the region: holds."""

    own = ("deregister",)
    operations = ("zap",)
    mmu_lock = SpinLock()
    seq = Counter()
    count = Counter(bits=3)
    gone = Flag()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.count -= 1

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
            self.zap(all_pages())

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class DropsTheCount(Registration):
    """It ends what a zap began: the zap's end counts below zero, balance; faults come through before it, stale-use.

    The guest can use such a page through its TLB, and map another over it: flush-before-free.
    """

    def deregister(self):
        with self.mmu_lock:
            if self.count:
                self.count -= 1


class KeepsPages(Registration):
    """It looks at every page and puts none: leak. Beside munmap it ends where a page is gone."""

    operations = ("zap", "munmap")

    def deregister(self):
        for gfn in all_pages():
            self.get_user_page(gfn, False)


class PutsPages(KeepsPages):
    """It puts what it got, on every way: holds."""

    def deregister(self):
        for gfn in all_pages():
            page = self.get_user_page(gfn, False)
            self.put_page(page)


class WaitsUnderLock(Registration):
    """It waits for the invalidations under the lock that their end takes: deadlock."""

    def deregister(self):
        with self.mmu_lock:
            while self.count:
                pass
            self.zap(all_pages())


class TwoOrders(Registration):
    """Two operations of its own take two locks in opposite orders: deadlock, which only the two show."""

    own = ("register", "deregister")
    first = Mutex()
    second = Mutex()

    def register(self):
        with self.first, self.second:
            self.gone = False

    def deregister(self):
        with self.second, self.first:
            self.gone = True
