# SPDX-License-Identifier: Apache-2.0
"""Plans that a lint finds and that race, and near twins that it does not find and that hold."""

from unpinned import MAPPED, REPLAY, Atomic, Flag, Mutex, PerPage, WaitQueue
from unpinned.drivers.kvm2008 import Kvm2008


class SnapshotAgain(Kvm2008):
    """The fault tries again with a new snapshot, and with the page that it has: stale-use."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        while True:
            with self.mmu_lock:
                fresh = self.range_count == 0 and self.seq == seq
                if fresh:
                    self.map(gfn, page, write)
            if fresh:
                self.put_page(page)
                return MAPPED
            seq = self.seq


class HelperReadsLate(Kvm2008):
    """A helper gets the page, and another tests what was read behind it: stale-use."""

    def got(self, gfn, write):
        return self.get_user_page(gfn, write)

    def stale(self, seq):
        return self.seq != seq or self.range_count

    def page_fault(self, gfn, write):
        page = self.got(gfn, write)
        seq = self.seq
        with self.mmu_lock:
            retry = self.stale(seq)
            if not retry:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if retry else MAPPED


class HelperReadsEarly(HelperReadsLate):
    """The twin: it is read before."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.got(gfn, write)
        with self.mmu_lock:
            retry = self.stale(seq)
            if not retry:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if retry else MAPPED


class MapBehindLock(Kvm2008):
    """The test is under the lock, and the map behind it: stale-use."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
        if not stale:
            self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TestTwice(Kvm2008):
    """The twin: the test without a lock only saves work, and the one that counts is under it."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        if self.seq != seq:
            self.put_page(page)
            return REPLAY
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class OtherLock(Kvm2008):
    """The test and the map are under a lock that no invalidation takes: stale-use."""

    fault_lock = Mutex()

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.fault_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class BothLocks(OtherLock):
    """The twin: they are under both."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.fault_lock, self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class ReturnsEarly(Kvm2008):
    """start returns before it counts where nothing is mapped, and end counts down all the same: balance."""

    mapped = Flag()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            if not self.mapped:
                return
            self.range_count += 1
            self.zap(r)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
                self.mapped = True
        self.put_page(page)
        return REPLAY if stale else MAPPED


class CountsEarly(ReturnsEarly):
    """The twin: it counts first."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            if not self.mapped:
                return
            self.zap(r)


class FoundAndCleared(Kvm2008):
    """Two invalidations find the page used, and both count its user down: balance."""

    used = PerPage(Flag())
    users = Atomic(bits=3)

    def forget(self, gfn):
        if self.used[gfn]:
            self.used[gfn] = False
            self.users -= 1

    def invalidate_range_start(self, r):
        super().invalidate_range_start(r)
        for gfn in r:
            self.forget(gfn)

    def invalidate_page(self, gfn):
        super().invalidate_page(gfn)
        self.forget(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
                if not self.used[gfn].xchg(True):
                    self.users += 1
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Exchanged(FoundAndCleared):
    """A twin: the flag is taken in one step. The user is counted first, so that nobody finds it used and uncounted."""

    def forget(self, gfn):
        if self.used[gfn].xchg(False):
            self.users -= 1

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
                self.users += 1
                if self.used[gfn].xchg(True):
                    self.users -= 1
        self.put_page(page)
        return REPLAY if stale else MAPPED


class ClearedUnderLock(FoundAndCleared):
    """A twin: it is found and cleared under the lock under which it is set."""

    def forget(self, gfn):
        with self.mmu_lock:
            if self.used[gfn]:
                self.used[gfn] = False
                self.users -= 1


class FlushedByOneOnly(Kvm2008):
    """start flushes behind the lock on every path, and a page only what it found itself: flush-before-free."""

    present = PerPage(Flag())

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            for gfn in r:
                self.present[gfn] = False
                self.zap_sptes(gfn)
        self.flush(r)

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            found = self.present[gfn]
            if found:
                self.present[gfn] = False
                self.zap_sptes(gfn)
                self.flush(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
                self.present[gfn] = True
        self.put_page(page)
        return REPLAY if stale else MAPPED


class FlushedByAll(FlushedByOneOnly):
    """The twin: a page flushes on every path too."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            if self.present[gfn]:
                self.present[gfn] = False
                self.zap_sptes(gfn)
        self.flush(gfn)


class FlushedThenCleared(Kvm2008):
    """What asks for a flush is forgotten behind the flush, and with it what asked meanwhile: coherence."""

    operations = ("reclaim",)
    stale = Flag()  # some TLB entry has no spte any more

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap_sptes(gfn)
        self.stale = True
        if self.stale:
            self.flush(gfn)
            self.stale = False


class ClearedThenFlushed(FlushedThenCleared):
    """The twin: it is forgotten first, and nobody relies on another: the flush may be done twice."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap_sptes(gfn)
            self.stale = True
        if self.stale:
            self.stale = False
        self.flush(gfn)


class SleepsUnderLock(Kvm2008):
    """The fault waits for the end of ranges under a lock that end takes before it wakes: deadlock."""

    operations = ("zap", "munmap")
    gate = Mutex()
    calm = WaitQueue()

    def invalidate_range_end(self, r):
        super().invalidate_range_end(r)
        with self.gate:
            self.calm.wake_up()

    def page_fault(self, gfn, write):
        with self.gate:
            self.calm.wait_event(self.range_count == 0)
        return super().page_fault(gfn, write)


class SleepsBeforeLock(SleepsUnderLock):
    """The twin: end wakes without it."""

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1
        self.calm.wake_up()
