# SPDX-License-Identifier: Apache-2.0
"""Mutants of the shipped drivers of the current era: each is wrong in one place, or its comment says that it holds.

What each breaks stands in tests/check/rules.txt. They are read against the mm of Linux 6.12: what is wrong there has
to be found here, and what is right there has to hold.
"""

from unpinned import *
from unpinned.drivers.gru import Gru
from unpinned.drivers.interval import Hmm
from unpinned.drivers.kvm import Kvm
from unpinned.drivers.sva import Sva


class KvmStartUnlocked(Kvm):
    """Start takes no lock: a fault that has looked maps behind its back."""

    def invalidate_range_start(self, r):
        self.mmu_invalidate_in_progress += 1
        self.zap(r)


class KvmZapAfterUnlock(Kvm):
    """The count keeps faults out, so that the zap needs no lock: holds."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
        self.zap(r)


class KvmZapBeforeCount(Kvm):
    """It zaps, drops the lock, and then counts: a fault comes between."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.zap(r)
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1


class KvmEndSwapped(Kvm):
    """Under the lock the order of the two does not matter: holds."""

    def invalidate_range_end(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress -= 1
            self.mmu_invalidate_seq += 1


class KvmEndUnlocked(Kvm):
    """End takes no lock: in order, which is enough beside one fault, but two ends lose an update."""

    def invalidate_range_end(self, r):
        self.mmu_invalidate_seq += 1
        self.mmu_invalidate_in_progress -= 1


class KvmEndUnlockedSwapped(Kvm):
    """End takes no lock and lowers the count first: for a while nothing tells of the invalidation."""

    def invalidate_range_end(self, r):
        self.mmu_invalidate_in_progress -= 1
        self.mmu_invalidate_seq += 1


class KvmCheckBeforeLock(Kvm):
    """The check that counts stands before the lock."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        stale = self.is_stale(mmu_seq)
        if not stale:
            with self.mmu_lock.read():
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmMapAfterUnlock(Kvm):
    """The check stands under the lock, and the map behind it."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
        if not stale:
            self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmSeqAfterGup(Kvm):
    """The snapshot is younger than the page."""

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        mmu_seq = self.mmu_invalidate_seq
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmSeqInStart(Kvm):
    """The sequence moves in start: a fault that begins after it sees a whole invalidation go by unseen."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_seq += 1
            self.mmu_invalidate_in_progress += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress -= 1


class KvmNoFlush(Kvm):
    """Nothing is flushed."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
            self.zap_sptes(r)


class KvmFlushBeforeZap(Kvm):
    """The TLB is filled again from the spte, between the flush and the zap."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
            self.flush(r)
            self.zap_sptes(r)


class KvmZapInEnd(Kvm):
    """It zaps when the pages are freed."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1

    def invalidate_range_end(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_seq += 1
            self.mmu_invalidate_in_progress -= 1
            self.zap(r)


class KvmReplayLeaks(Kvm):
    """One way out of the fault puts nothing."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        if self.is_stale(mmu_seq):
            return REPLAY
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmWritable(Kvm):
    """A page got for reading is mapped writable."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, True)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmLoopUnderLock(Kvm):
    """It waits for the invalidation under the lock that its end takes."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock.read():
            while self.mmu_invalidate_in_progress:
                pass
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmGupUnderLock(Kvm):
    """It gets the page under the lock, which spins."""

    def page_fault(self, gfn, write):
        with self.mmu_lock.read():
            page = self.get_user_page(gfn, write)
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class KvmSeqRefreshed(Kvm):
    """It takes a new snapshot, and keeps the page that it got under the old one."""

    def page_fault(self, gfn, write):
        mmu_seq = self.mmu_invalidate_seq
        page = self.get_user_page(gfn, write)
        while self.is_stale(mmu_seq):
            mmu_seq = self.mmu_invalidate_seq
        with self.mmu_lock.read():
            stale = self.is_stale(mmu_seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KvmNoEnd(Kvm):
    """End is forgotten."""

    def invalidate_range_end(self, r):
        pass


class KvmReadZap(Kvm):
    """Start shares the lock with faults, and with other starts."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.read():
            self.mmu_invalidate_in_progress += 1
            self.zap(r)


class KvmSkipsReaper(Kvm):
    """Where it may not block, nothing is zapped."""

    def invalidate_range_start(self, r):
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
            if r.blockable:
                self.zap(r)


class KvmSkipsReaperByName(Kvm):
    """The same, where the range has another name: it is the call that may not block."""

    def invalidate_range_start(self, r):
        same = r
        with self.mmu_lock.write():
            self.mmu_invalidate_in_progress += 1
            if same.blockable:
                self.zap(r)


class HmmSetAfter(Hmm):
    """The sequence is set after the lock is dropped: a fault comes between."""

    def invalidate(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.zap(r)
        if not got and not r.blockable:
            return False
        if not got:
            with self.user_lock:
                self.zap(r)
        self.mmu_interval_set_seq(cur_seq)
        return True


class HmmSetBefore(Hmm):
    """The sequence is set before the lock is taken, so that faults find out all the same: holds."""

    def invalidate(self, r, cur_seq):
        self.mmu_interval_set_seq(cur_seq)
        return super().invalidate(r, cur_seq)


class HmmZapAfter(Hmm):
    """What the sequence keeps out needs no lock to be zapped: holds."""

    def invalidate(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
        if not got and not r.blockable:
            return False
        if not got:
            with self.user_lock:
                self.mmu_interval_set_seq(cur_seq)
        self.zap(r)
        return True


class HmmRetryOutside(Hmm):
    """The retry is asked before the lock is taken."""

    def page_fault(self, gfn, write):
        while True:
            seq = self.mmu_interval_read_begin()
            page = self.get_user_page(gfn, write)
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                with self.user_lock:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class HmmBeginAfterGup(Hmm):
    """The snapshot is younger than the page."""

    def page_fault(self, gfn, write):
        while True:
            page = self.get_user_page(gfn, write)
            seq = self.mmu_interval_read_begin()
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class HmmReaperTrue(Hmm):
    """It tells the reaper that it has done what it has not."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return True
        return super().invalidate(r, cur_seq)


class HmmReaperTryTrue(Hmm):
    """The same, where the lock is not got."""

    def invalidate(self, r, cur_seq):
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        if not got and r.blockable:
            with self.user_lock:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return True


class HmmReaperFalse(Hmm):
    """It always refuses the reaper: holds."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        return super().invalidate(r, cur_seq)


class HmmReaperDoneFalse(Hmm):
    """It refuses the reaper when it has done all: holds."""

    def invalidate(self, r, cur_seq):
        super().invalidate(r, cur_seq)
        return r.blockable


class HmmSkipsUnmapped(Hmm):
    """It does nothing where nothing is mapped yet, and a fault that is under way maps."""

    any = Flag()

    def invalidate(self, r, cur_seq):
        if not self.any:
            return True
        return super().invalidate(r, cur_seq)

    def page_fault(self, gfn, write):
        while True:
            seq = self.mmu_interval_read_begin()
            page = self.get_user_page(gfn, write)
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
                    self.any = True
            self.put_page(page)
            if not stale:
                return MAPPED


class HmmBeginUnderLock(Hmm):
    """It waits for invalidations to end under the lock that another invalidation takes."""

    def page_fault(self, gfn, write):
        with self.user_lock:
            seq = self.mmu_interval_read_begin()
        while True:
            page = self.get_user_page(gfn, write)
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            return REPLAY if stale else MAPPED


class HmmGupUnderLock(Hmm):
    """It gets the page under the lock that an invalidation takes, whose caller has mmap_lock."""

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        with self.user_lock:
            page = self.get_user_page(gfn, write)
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class HmmSetZero(Hmm):
    """It sets a sequence of its own, which faults may have seen before."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            self.mmu_interval_set_seq(0)
            self.zap(r)
        return True


class HmmNoFlush(Hmm):
    """Nothing is flushed."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            self.mmu_interval_set_seq(cur_seq)
            self.zap_sptes(r)
        return True


class HmmBoth(Hmm):
    """Both kinds of notifier, as nouveau has: an invalidate that refuses ends it, and start is not called: holds."""

    def invalidate_range_start(self, r):
        return 0


class HmmBothEnd(Hmm):
    """Both kinds, and start has an end: neither is called when invalidate has refused: holds."""

    n = Atomic()

    def invalidate_range_start(self, r):
        self.n += 1

    def invalidate_range_end(self, r):
        self.n -= 1


class GruNoCount(Gru):
    """Nothing is counted: a miss that is read after the flush is answered with the old page."""

    def invalidate_range_start(self, r):
        self.gru_flush_tlb_range(r)

    def invalidate_range_end(self, r):
        pass


class GruNoFlush(Gru):
    """Nothing is flushed, and nothing is ignored."""

    def invalidate_range_start(self, r):
        self.ms_range_active += 1


class GruFlushFirst(Gru):
    """It flushes, and then counts: a miss is read between."""

    def invalidate_range_start(self, r):
        self.gru_flush_tlb_range(r)
        self.ms_range_active += 1


class GruNoWake(Gru):
    """Nobody wakes the faults that wait."""

    def invalidate_range_end(self, r):
        self.ms_range_active -= 1


class GruTfhLate(Gru):
    """The miss is read when the page has been got, so that a flush before it cancels nothing."""

    def page_fault(self, gfn, write):
        while True:
            self.ms_wait_queue.wait_event(self.ms_range_active == 0)
            if not self.ms_range_active:
                page = self.get_user_page(gfn, write)
                self.put_page(page)
                self.tfh_read(gfn)
                self.tfh_write_restart(gfn, page, write)
                return MAPPED


class GruNoSecondCheck(Gru):
    """It does not look again when the miss has been read."""

    def page_fault(self, gfn, write):
        self.ms_wait_queue.wait_event(self.ms_range_active == 0)
        self.tfh_read(gfn)
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        self.tfh_write_restart(gfn, page, write)
        return MAPPED


class GruFlag(Gru):
    """The count is a flag: the first of two ends lowers it."""

    ms_range_active = Atomic()

    def invalidate_range_start(self, r):
        if self.ms_range_active == 0:
            self.ms_range_active += 1
        self.gru_flush_tlb_range(r)

    def invalidate_range_end(self, r):
        if self.ms_range_active != 0:
            self.ms_range_active -= 1
        self.ms_wait_queue.wake_up()


class GruWritable(Gru):
    """A page got for reading is dropped in writable."""

    def page_fault(self, gfn, write):
        while True:
            self.ms_wait_queue.wait_event(self.ms_range_active == 0)
            self.tfh_read(gfn)
            if not self.ms_range_active:
                page = self.get_user_page(gfn, write)
                self.put_page(page)
                self.tfh_write_restart(gfn, page, True)
                return MAPPED


class GruFlushInEnd(Gru):
    """It flushes when the pages are freed."""

    def invalidate_range_start(self, r):
        self.ms_range_active += 1

    def invalidate_range_end(self, r):
        self.gru_flush_tlb_range(r)
        self.ms_range_active -= 1
        self.ms_wait_queue.wake_up()


class SvaFlushInStart(Sva):
    """The TLB is flushed while the PTEs are there, from which it is filled again."""

    def invalidate_range_start(self, r):
        self.flush(r)

    def arch_invalidate_secondary_tlbs(self, r):
        pass


class SvaFlushInEnd(Sva):
    """The TLB is flushed when the pages are freed."""

    def invalidate_range_end(self, r):
        self.flush(r)

    def arch_invalidate_secondary_tlbs(self, r):
        pass
