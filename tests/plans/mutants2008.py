# SPDX-License-Identifier: Apache-2.0
"""Mutants of the shipped drivers of 2008: each is wrong in one place, or its comment says that it holds.

What each breaks stands in tests/check/rules.txt.
"""

from unpinned import *
from unpinned.drivers.gru import Gru2008
from unpinned.drivers.kvm2008 import Kvm2008
from unpinned.drivers.xpmem import Xpmem2008


class KvmPageWithoutSeq(Kvm2008):
    """The page path does not move the sequence: a whole reclaim goes by unseen."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.zap(gfn)


class KvmPageZapsFirst(Kvm2008):
    """The page path zaps in one critical section and moves the sequence in the next: a fault maps between."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.zap(gfn)
        with self.mmu_lock:
            self.seq += 1


class KvmPageSeqFirst(Kvm2008):
    """The other way round a fault that begins between finds the PTE empty: holds."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
        with self.mmu_lock:
            self.zap(gfn)


class KvmPageNotFlushed(Kvm2008):
    """The page path leaves the TLB as it is."""

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap_sptes(gfn)


class KvmPageCounts(Kvm2008):
    """The page path counts as a range does, and never ends it."""

    def invalidate_page(self, gfn):
        self.invalidate_range_start(page_range(gfn))


class GruPageNotFlushed(Gru2008):
    """The page path forgets the flush."""

    def invalidate_page(self, gfn):
        pass


class XpmemRecallUnmarked(Xpmem2008):
    """A recall does not mark the requests of its range: a fault maps what it got before."""

    def recall(self, r):
        with self.recall_mutex:
            self.zap(r)


class XpmemPageUnmarked(Xpmem2008):
    """The same on the page path."""

    def invalidate_page(self, gfn):
        self.disallow_faults()
        with self.recall_mutex:
            self.zap(gfn)
        self.allow_faults()


class XpmemRequestLate(Xpmem2008):
    """The request is noted when the page has been got."""

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.block_recall()
        with self.recall_mutex:
            self.map(gfn, page, write)
        self.unblock_recall()
        return MAPPED


class XpmemGupInside(Xpmem2008):
    """The page is got inside the gate, where munmap waits for the fault with mmap_lock in hand."""

    def page_fault(self, gfn, write):
        self.block_recall()
        page = self.get_user_page(gfn, write)
        with self.recall_mutex:
            self.map(gfn, page, write)
        self.unblock_recall()
        return MAPPED


class XpmemNoWake(Xpmem2008):
    """A recall that ends wakes nobody."""

    def allow_faults(self):
        self.n_recall.add_return(-1)


class XpmemKeepsGate(Xpmem2008):
    """A fault that is not valid goes without leaving the gate: no recall gets in again."""

    def page_fault(self, gfn, write):
        self.block_recall()
        with self.recall_mutex:
            request = self.recalls[gfn]
        self.unblock_recall()
        page = self.get_user_page(gfn, write)
        self.block_recall()
        with self.recall_mutex:
            valid = self.recalls[gfn] == request
            if valid:
                self.map(gfn, page, write)
        if not valid:
            self.put_page(page)
            return REPLAY
        self.unblock_recall()
        return MAPPED


class XpmemReplayLeaks(Xpmem2008):
    """A fault that is not valid keeps its page."""

    def page_fault(self, gfn, write):
        self.block_recall()
        with self.recall_mutex:
            request = self.recalls[gfn]
        self.unblock_recall()
        page = self.get_user_page(gfn, write)
        self.block_recall()
        with self.recall_mutex:
            valid = self.recalls[gfn] == request
            if valid:
                self.map(gfn, page, write)
        self.unblock_recall()
        return MAPPED if valid else REPLAY


class XpmemPutsWhatItMapped(Xpmem2008):
    """A page that was mapped is put: the reference is the spte's."""

    def page_fault(self, gfn, write):
        self.block_recall()
        with self.recall_mutex:
            request = self.recalls[gfn]
        self.unblock_recall()
        page = self.get_user_page(gfn, write)
        self.block_recall()
        with self.recall_mutex:
            valid = self.recalls[gfn] == request
            if valid:
                self.map(gfn, page, write)
        self.unblock_recall()
        self.put_page(page)
        return MAPPED if valid else REPLAY


class XpmemNoFlush(Xpmem2008):
    """Nothing is flushed, and so no page is put: the pages are the device's for ever, and not the mm's."""

    def recall(self, r):
        with self.recall_mutex:
            for gfn in r:
                self.recalls[gfn] += 1
            self.zap_sptes(r)
