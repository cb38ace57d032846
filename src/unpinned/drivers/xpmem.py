# SPDX-License-Identifier: Apache-2.0
"""XPMEM: another process's memory, mapped by segments; its methods sleep.

Sources: the behaviour of SGI's posting of 2008 against the EMM notifiers, as it was meant (its two defects are not
here), and of hpc/xpmem at commit 3bcab55 (2023).
"""

from unpinned import MAPPED, REPLAY, Atomic, Counter, Flag, Mutex, PerPage, SecondaryMMU, WaitQueue


class Xpmem2008(SecondaryMMU):
    """A gate that faults share and a recall has alone; below zero faults are inside, above it recalls.

    get_user_pages runs outside the gate, for it may itself cause a recall, which would wait for this fault. So each
    fault has a request on a list meanwhile, and a recall marks those of its range. Here a request is marked if the
    number of recalls of its page has changed, which is the same, and needs no list. The PFN table holds a reference of
    each page that is mapped, and the locks of segments and attachments are left out.
    """

    flavour = "sleeping"
    sptes = "pinned"

    n_recall = Atomic(signed=True)
    faults_wait = WaitQueue()
    recalls_wait = WaitQueue()
    recall_mutex = Mutex()
    recalls = PerPage(Counter())

    def block_recall(self):
        while True:
            n = self.n_recall
            if n > 0:
                self.faults_wait.wait_event(self.n_recall <= 0)
            elif self.n_recall.cmpxchg(n, n - 1):
                return

    def unblock_recall(self):
        if self.n_recall.add_return(1) == 0:
            self.recalls_wait.wake_up()

    def disallow_faults(self):
        while True:
            n = self.n_recall
            if n < 0:
                self.recalls_wait.wait_event(self.n_recall >= 0)
            elif self.n_recall.cmpxchg(n, n + 1):
                return

    def allow_faults(self):
        if self.n_recall.add_return(-1) == 0:
            self.faults_wait.wake_up()

    def recall(self, r):
        with self.recall_mutex:
            for gfn in r:
                self.recalls[gfn] += 1
            self.zap(r)

    def invalidate_range_start(self, r):
        self.disallow_faults()
        self.recall(r)

    def invalidate_range_end(self, r):
        self.allow_faults()

    def invalidate_page(self, gfn):
        self.disallow_faults()
        with self.recall_mutex:
            self.recalls[gfn] += 1
            self.zap(gfn)
        self.allow_faults()

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
        if not valid:
            self.put_page(page)
            return REPLAY
        return MAPPED


class Xpmem(SecondaryMMU):
    """XPMEM today: pages stay pinned, and nothing is told before end.

    The fault and the callback take different mutexes, so that a page which the mm has taken away meanwhile may be
    mapped after end. It is pinned, and so is not freed.
    """

    era = "current"
    sptes = "pinned"
    waive = {
        "coherence": "a fault may map a pinned page after end that the mm has taken away",
        "sleep-in-atomic": "end takes a mutex, for the OOM reaper too",
    }

    att_mutex = Mutex()
    invalidate_mutex = Mutex()
    known = PerPage(Flag())  # the page is mapped, and its pfn noted

    def invalidate_range_end(self, r):
        with self.invalidate_mutex:
            self.zap(r)
            for gfn in r:
                self.known[gfn] = False

    def page_fault(self, gfn, write):
        with self.att_mutex:
            if not self.known[gfn]:
                page = self.get_user_page(gfn, True)
                self.zap(gfn)  # what an end has left behind
                self.known[gfn] = True
                self.map(gfn, page, True)
        return MAPPED
