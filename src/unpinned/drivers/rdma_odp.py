# SPDX-License-Identifier: Apache-2.0
"""RDMA on demand paging: a memory region whose pages are looked up when the device first wants them.

Sources: the behaviour of drivers/infiniband/core/umem_odp.c and drivers/infiniband/hw/mlx5/odp.c and mr.c of Linux
6.12.117. A page fault of the device comes as an event, and a worker handles it: it runs on what is a vCPU here.
"""

from unpinned import FAULT, MAPPED, Atomic, Flag, Mutex, Object, PerPage, SecondaryMMU, SpinLock, WaitQueue, all_pages


class Odp(SecondaryMMU):
    """A region with umem_mutex round its list of dma addresses, and round what the device is told of them.

    An invalidation that may not block gives up at once. Deregistering waits for the faults that use the key of the
    region, and then takes the key from the device under umem_mutex, after which invalidations leave it alone.

    munmap is left out: where an address is gone, get_user_page ends the whole fault here, and so the fault could not
    give the key back, as the kernel's does.
    """

    era = "current"
    operations = ("zap", "reclaim", "migrate", "fork", "cow", "oom_reap")
    own = ("deregister",)
    waive = {"progress": "the guest goes on when its region is gone, and its faults fail"}

    umem_mutex = Mutex()
    dma_list = PerPage(Flag())  # the page has a dma address
    private = Flag(init=True)  # the region is the device's
    mkey = Object()

    xa_lock = SpinLock()
    erased = Flag()
    usecount = Atomic(init=1)
    wait = WaitQueue()

    def invalidate(self, r, cur_seq):
        if not r.blockable:
            return False
        with self.umem_mutex:
            self.mmu_interval_set_seq(cur_seq)
            if self.private:
                for gfn in r:
                    if self.dma_list[gfn]:
                        self.mkey.use()
                        self.zap(gfn)
                        self.dma_list[gfn] = False
        return True

    def page_fault(self, gfn, write):
        with self.xa_lock:
            if self.erased:
                return FAULT
            self.usecount += 1
        self.map_dma(gfn, write)
        self.put_mkey()
        return MAPPED

    def map_dma(self, gfn, write):
        while True:
            seq = self.mmu_interval_read_begin()
            page = self.get_user_page(gfn, write)
            with self.umem_mutex:
                stale = self.mmu_interval_read_retry(seq)
                if not stale:
                    self.dma_list[gfn] = True
                    self.mkey.use()
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return

    def put_mkey(self):
        if self.usecount.add_return(-1) == 0:
            self.wait.wake_up()

    def deregister(self):
        with self.xa_lock:
            self.erased = True
        self.put_mkey()
        self.wait.wait_event(self.usecount == 0)
        with self.umem_mutex:
            self.zap(all_pages())
            self.mkey.free()
            self.private = False
