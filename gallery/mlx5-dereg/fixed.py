# SPDX-License-Identifier: Apache-2.0
"""RDMA on demand paging in mlx5: a memory region is deregistered.

Deregistering waits until no page fault uses the key of the region, and
then revokes it. An invalidation tells the device about the same key
under umem_mutex, and nobody waits for that one. The retry of the
interval notifier is written as a count and a sequence number.
"""

from unpinned import *


class OdpRegion(SecondaryMMU):
    """Faults count as users of the key. Shown for MADV_DONTNEED."""

    own = ("deregister",)
    operations = ("zap",)
    waive = {"progress": "the guest goes on when its region is gone"}

    umem_mutex = Mutex()
    seq = Counter()
    range_count = Counter(bits=3)
    mkey = Object()
    private = Flag(init=True)

    xa_lock = SpinLock()
    erased = Flag()
    usecount = Atomic(init=1)
    wait = WaitQueue()

    def invalidate_range_start(self, r):
        with self.umem_mutex:
            self.range_count += 1
            if self.private:
                self.mkey.use()
                self.zap(r)

    def invalidate_range_end(self, r):
        with self.umem_mutex:
            self.seq += 1
            self.range_count -= 1

    def deregister(self):
        with self.xa_lock:
            self.erased = True
        self.put_mkey()
        self.wait.wait_event(self.usecount == 0)
        self.revoke()

    def revoke(self):
        with self.umem_mutex:
            self.zap(all_pages())
            self.mkey.free()
            self.private = False

    def put_mkey(self):
        if self.usecount.add_return(-1) == 0:
            self.wait.wake_up()

    def page_fault(self, gfn, write):
        with self.xa_lock:
            if self.erased:
                return FAULT
            self.usecount += 1
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.umem_mutex:
            stale = self.seq != seq or self.range_count != 0
            if not stale:
                self.mkey.use()
                self.map(gfn, page, write)
        self.put_page(page)
        self.put_mkey()
        return REPLAY if stale else MAPPED
