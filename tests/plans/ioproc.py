# SPDX-License-Identifier: Apache-2.0
"""Quadrics' plan with something left out, or done at another time."""

from unpinned import MAPPED, REPLAY, Mutex, SecondaryMMU, SpinLock
from unpinned.drivers.quadrics import Ioproc


class Sleeps(Ioproc):
    """A hook takes a mutex under the page table lock."""

    mutex = Mutex()

    def ioproc_invalidate_page(self, gfn):
        with self.mutex:
            self.zap(gfn)


class FlushesLater(Ioproc):
    """The device's TLB is left for the next update to flush."""

    def ioproc_invalidate_range(self, r):
        self.zap_sptes(r)

    def ioproc_update_page(self, gfn, page, write):
        self.flush()
        self.map(gfn, page, write)


class OwnLock(Ioproc):
    """A lock of the driver's own within the page table lock is no harm where both are always taken in that order."""

    elan_lock = SpinLock()

    def ioproc_invalidate_page(self, gfn):
        with self.elan_lock:
            self.zap(gfn)

    def ioproc_update_page(self, gfn, page, write):
        with self.elan_lock:
            self.map(gfn, page, write)


class FaultsUnderLock(OwnLock):
    """The fault takes the driver's lock round get_user_page, which may sleep."""

    def page_fault(self, gfn, write):
        with self.elan_lock:
            page = self.get_user_page(gfn, write)
            self.put_page(page)
        return MAPPED


class MapsInFault(SecondaryMMU):
    """The translation is loaded by the fault, when the page table lock is dropped again."""

    era = "2005"

    def ioproc_invalidate_range(self, r):
        self.zap(r)

    def ioproc_invalidate_page(self, gfn):
        self.zap(gfn)

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class NeverLoads(Ioproc):
    """Nothing loads a translation."""

    def ioproc_update_page(self, gfn, page, write):
        pass

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        return REPLAY
