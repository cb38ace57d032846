# SPDX-License-Identifier: Apache-2.0
"""Plans of today's mm that a lint finds and that race, and near twins that it does not find and that hold."""

from unpinned import MAPPED, REPLAY, Flag, Mutex, RwSem
from unpinned.drivers.interval import Hmm


class TakenInAnyway(Hmm):
    """What the OOM reaper asks is taken in, with the lock or without it: stale-use."""

    def invalidate(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
                return True
        if r.blockable:
            with self.user_lock:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return True


class TriedThenTaken(Hmm):
    """The twin: it is refused."""

    def invalidate(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
                return True
        if not r.blockable:
            return False
        with self.user_lock:
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)
        return True


class NothingMapped(Hmm):
    """Where nothing is mapped the sequence is left as it is, also for a fault that has its page: stale-use."""

    mapped = Flag()

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            if self.mapped:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return True

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        with self.user_lock:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
                self.mapped = True
        self.put_page(page)
        return REPLAY if stale else MAPPED


class NothingZapped(NothingMapped):
    """The twin: the sequence is set all the same."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            self.mmu_interval_set_seq(cur_seq)
            if self.mapped:
                self.zap(r)
        return True


class SetBehindLock(Hmm):
    """The sequence is set when the lock is dropped: stale-use."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            self.zap(r)
        self.mmu_interval_set_seq(cur_seq)
        return True


class SetBeforeLock(Hmm):
    """The twin: it is set before the lock is taken, so that no fault maps behind the zap."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        self.mmu_interval_set_seq(cur_seq)
        with self.user_lock:
            self.zap(r)
        return True


class BeginsLate(Hmm):
    """The sequence is read when the page is in hand: stale-use."""

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        seq = self.mmu_interval_read_begin()
        with self.user_lock:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class RetryOutsideLock(Hmm):
    """The sequence is tested before the lock is taken: stale-use."""

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        stale = self.mmu_interval_read_retry(seq)
        with self.user_lock:
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class RetryTwice(Hmm):
    """The twin: the test without the lock only saves work."""

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        stale = self.mmu_interval_read_retry(seq)
        if not stale:
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Semaphore(Hmm):
    """A RwSem is taken for writing where nothing may sleep: sleep-in-atomic."""

    sem = RwSem()
    gate = Mutex()

    def forget(self, r, cur_seq):
        with self.sem.write():
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)

    def invalidate(self, r, cur_seq):
        self.forget(r, cur_seq)
        return True

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        with self.sem.read():
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class SemaphoreTried(Semaphore):
    """The twin: it is tried there, and a Mutex is taken only where the range may block."""

    def invalidate(self, r, cur_seq):
        if r.blockable:
            with self.gate:
                self.forget(r, cur_seq)
            return True
        with self.sem.try_write() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return got
