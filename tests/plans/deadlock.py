# SPDX-License-Identifier: Apache-2.0
"""Plans that stop some CPUs for ever, and their twins."""

from unpinned import MAPPED, REPLAY, Flag, Mutex, PerPage, SpinLock
from unpinned.drivers.kvm2008 import Kvm2008


class AbBa(Kvm2008):
    """The fault takes mmu_lock and then map_lock, end takes them the other way round."""

    map_lock = SpinLock()

    def invalidate_range_end(self, r):
        with self.map_lock, self.mmu_lock:
            self.seq += 1
            self.range_count -= 1

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock, self.map_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class AbAb(AbBa):
    """The twin: both take mmu_lock first."""

    def invalidate_range_end(self, r):
        with self.mmu_lock, self.map_lock:
            self.seq += 1
            self.range_count -= 1


class SpinUnderLock(Kvm2008):
    """The fault waits for the count to fall while it holds the lock that end needs."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            while self.range_count:
                pass
            stale = self.seq != seq
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class SpinBeforeLock(Kvm2008):
    """The twin: it waits before it takes the lock, and tests the count again."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        while self.range_count:
            pass
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TakenTwice(Kvm2008):
    """A helper takes the lock that its caller holds."""

    def bump(self):
        with self.mmu_lock:
            self.seq += 1

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.bump()
            self.range_count -= 1


class TakenInTurn(TakenTwice):
    """The twin: the lock is dropped before the helper is called."""

    def invalidate_range_end(self, r):
        self.bump()
        with self.mmu_lock:
            self.range_count -= 1


class MutexOverGup(Kvm2008):
    """A mutex is held over get_user_page(), which takes mmap_lock; start takes it under mmap_lock."""

    gate = Mutex()

    def invalidate_range_start(self, r):
        with self.gate, self.mmu_lock:
            self.range_count += 1
            self.zap(r)

    def page_fault(self, gfn, write):
        with self.gate:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class MutexAfterGup(MutexOverGup):
    """The twin: it is taken once the page is in hand."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.gate:
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class WriteTwice(Kvm2008):
    """A write fault takes its page's lock twice and hangs; other vCPUs go on with what they have mapped."""

    page_locks = PerPage(SpinLock())
    write_locks = PerPage(SpinLock())

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.page_locks[gfn]:
            if write:
                with self.page_locks[gfn]:
                    pass
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class WriteInTurn(WriteTwice):
    """The twin: the inner lock is another one."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.page_locks[gfn]:
            if write:
                with self.write_locks[gfn]:
                    pass
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class SpinForEver(Kvm2008):
    """start spins on a flag that a fault sets and nobody clears: the fault goes on, the zap never ends."""

    operations = ("zap",)
    busy = Flag()

    def invalidate_range_start(self, r):
        while self.busy:
            pass
        super().invalidate_range_start(r)

    def page_fault(self, gfn, write):
        self.busy = True
        return super().page_fault(gfn, write)


class SpinForAWhile(SpinForEver):
    """The twin: the fault clears it again."""

    def page_fault(self, gfn, write):
        result = super().page_fault(gfn, write)
        self.busy = False
        return result
