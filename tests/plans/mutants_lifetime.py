# SPDX-License-Identifier: Apache-2.0
"""An interval notifier's client with SRCU and work, and mutants of it: each is wrong in one place, as its comment says."""

from unpinned import *


class Client(SecondaryMMU):
    """What deregistering frees is used in sections alone, by invalidations and by work: holds."""

    own = ("deregister",)
    operations = ("zap", "munmap", "oom_reap")
    user_lock = Mutex()
    srcu = Srcu()
    gone = Flag()
    mr = Object()
    work = WorkItem("run")

    def zap_under_lock(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        if got or not r.blockable:
            return got
        with self.user_lock:
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)
        return True

    def use(self):
        with self.srcu.read():
            if not self.gone:
                self.mr.use()

    def invalidate(self, r, cur_seq):
        self.use()
        return self.zap_under_lock(r, cur_seq)

    def run(self):
        self.use()

    def deregister(self):
        self.gone = True
        self.work.cancel_sync()
        self.srcu.synchronize()
        self.mr.free()

    def page_fault(self, gfn, write):
        self.work.queue()
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        with self.user_lock:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class NotWaited(Client):
    """It frees without waiting for sections."""

    def deregister(self):
        self.gone = True
        self.work.cancel_sync()
        self.mr.free()


class WaitsInItsSection(Client):
    """An invalidation waits for a grace period in a section of its own."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.srcu.read():
            self.srcu.synchronize()
        return self.zap_under_lock(r, cur_seq)


class WaitsForTheReaper(Client):
    """It waits for a grace period where it may not block."""

    def invalidate(self, r, cur_seq):
        done = self.zap_under_lock(r, cur_seq)
        self.srcu.synchronize()
        return done


class FlushesForTheReaper(Client):
    """It waits for work where it may not block."""

    def invalidate(self, r, cur_seq):
        done = self.zap_under_lock(r, cur_seq)
        self.work.flush()
        return done


class CancelsUnderTheLock(Client):
    """It waits for work under the lock that the work takes."""

    def run(self):
        with self.user_lock:
            self.use()

    def deregister(self):
        with self.user_lock:
            self.gone = True
            self.work.cancel_sync()
        self.srcu.synchronize()
        self.mr.free()


class GetsPagesInASection(Client):
    """A fault gets its page in a section that an invalidation waits for, under munmap's mmap_lock."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        done = self.zap_under_lock(r, cur_seq)
        self.srcu.synchronize()
        return done

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        with self.srcu.read():
            page = self.get_user_page(gfn, write)
        with self.user_lock:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
