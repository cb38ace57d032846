# SPDX-License-Identifier: Apache-2.0
"""SGI's GRU: no sptes and no references, and hardware that ignores a translation which comes late.

Sources: the behaviour of drivers/misc/sgi-gru (grutlbpurge.c, grufault.c) of Linux 6.12.117, and the mails of Jack
Steiner of 2008. The fault looks whether an invalidation is under way before it translates, and never again: the entry
of the miss was read before, and a flush that comes after it makes the hardware ignore the restart.
"""

from unpinned import MAPPED, Atomic, SecondaryMMU, SpinLock, WaitQueue


class Gru(SecondaryMMU):
    """The GRU of today."""

    era = "current"

    ms_range_active = Atomic()
    ms_wait_queue = WaitQueue()
    ms_asid_lock = SpinLock()

    def gru_flush_tlb_range(self, r):
        with self.ms_asid_lock:
            self.flush(r)

    def invalidate_range_start(self, r):
        self.ms_range_active += 1
        self.gru_flush_tlb_range(r)

    def invalidate_range_end(self, r):
        self.ms_range_active -= 1
        self.ms_wait_queue.wake_up()

    def page_fault(self, gfn, write):
        while True:
            self.ms_wait_queue.wait_event(self.ms_range_active == 0)
            self.tfh_read(gfn)
            if not self.ms_range_active:
                page = self.get_user_page(gfn, write)
                self.put_page(page)  # the GRU never keeps a reference
                self.tfh_write_restart(gfn, page, write)
                return MAPPED


class Gru2008(Gru):
    """The GRU against v12 and v13: a page that is reclaimed is flushed, and nothing is counted for it."""

    era = "2008"

    def invalidate_page(self, gfn):
        with self.ms_asid_lock:
            self.flush(gfn)
