# SPDX-License-Identifier: Apache-2.0
"""Plans of the current era: each is short of one thing, or says that it holds."""

from unpinned import *


class NoCount(SecondaryMMU):
    """A fault may begin and end between start and the PTE."""

    era = "current"
    mmu_lock = SpinLock()
    seq = Counter(bits=6)
    in_progress = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.in_progress += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.in_progress -= 1

    def stale(self, seq):
        return self.seq != seq

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.stale(seq)
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class NoSeq(NoCount):
    """A whole invalidation between get_user_page and the lock goes unseen."""

    def stale(self, seq):
        return self.in_progress > 0


class Both(NoCount):
    """Both are asked: holds."""

    def stale(self, seq):
        return self.seq != seq or self.in_progress > 0


class Writable(Both):
    """What was got for reading is mapped for writing, and fork may have left the PTE without."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.stale(seq)
            if not stale:
                self.map(gfn, page, True)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Refuses(Both):
    """Start refuses, whether or not it may wait: balance."""

    def invalidate_range_start(self, r):
        super().invalidate_range_start(r)
        return -EAGAIN


class RefusesTheReaper(Both):
    """Start refuses where it may not wait, and undoes nothing; the mm calls end, since there is one."""

    def invalidate_range_start(self, r):
        super().invalidate_range_start(r)
        if not r.blockable:
            return -EAGAIN
        return 0


class RefusesFirst(RefusesTheReaper):
    """Start refuses before it has done anything, and the end that is called all the same counts down: balance."""

    def invalidate_range_start(self, r):
        if not r.blockable:
            return -EAGAIN
        super().invalidate_range_start(r)
        return 0


class SleepsInReap(SecondaryMMU):
    """A mutex is taken in a call that may not block: sleep-in-atomic."""

    user_lock = Mutex()

    def invalidate(self, r, cur_seq):
        with self.user_lock:
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
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TriesInReap(SleepsInReap):
    """It is tried where it may not block: holds."""

    def invalidate(self, r, cur_seq):
        if r.blockable:
            return super().invalidate(r, cur_seq)
        with self.user_lock.trylock() as got:
            if got:
                self.mmu_interval_set_seq(cur_seq)
                self.zap(r)
        return got


class NoSetSeq(TriesInReap):
    """The subscription never learns of an invalidation."""

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.user_lock:
            self.zap(r)
        return True


class NoRetry(TriesInReap):
    """The fault does not look again."""

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        with self.user_lock:
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class NeverBegins(TriesInReap):
    """A fault that goes round with the sequence that it read once: where it was stale, it is for ever."""

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        while True:
            page = self.get_user_page(gfn, write)
            with self.user_lock:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class SvaWithoutFlush(SecondaryMMU):
    """The device's TLB keeps a page that is freed."""

    era = "current"
    sptes = "cpu"

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        return MAPPED


class SvaSleeps(SvaWithoutFlush):
    """The flush of the CPU's TLB may not sleep."""

    lock = Mutex()

    def arch_invalidate_secondary_tlbs(self, r):
        with self.lock:
            self.flush(r)


class GruWithoutCount(SecondaryMMU):
    """A miss that is read after the flush, and translated before the PTE is cleared, is dropped in."""

    era = "current"

    def invalidate_range_start(self, r):
        self.flush(r)

    def page_fault(self, gfn, write):
        self.tfh_read(gfn)
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        self.tfh_write_restart(gfn, page, write)
        return MAPPED


class PinnedForgets(SecondaryMMU):
    """A pinned spte is replaced while the TLB still has its page, and with the spte its reference goes."""

    era = "current"
    sptes = "pinned"

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        return MAPPED
