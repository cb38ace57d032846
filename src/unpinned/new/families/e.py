# SPDX-License-Identifier: Apache-2.0
"""The page is pinned for as long as the device maps it.

family: E
who: KVM before the notifiers, vfio type1, hfi1, XPMEM of today
rule: a frame that the device maps is never freed; that the process may have another by now is not looked at
verdict: holds
"""

from unpinned import MAPPED, Flag, Mutex, PerPage, SecondaryMMU


class Skeleton(SecondaryMMU):
    """Family E: an spte owns the reference that the fault has taken, and keeps it.

    There is no notifier: the mm takes pages away and tells nobody. Hardware calls page_fault, on any CPU.
    """

    era = "current"  # the mm of Linux 6.12
    sptes = "pinned"  # map() takes the reference over, and zap() gives it back once the TLBs are flushed

    # Rules that this plan does not keep, with the reason; the report shows how each is broken.
    waive = {"coherence": "after MADV_DONTNEED, reclaim or a write behind fork the process has another page"}

    # Shared by all CPUs.
    map_mutex = Mutex()      # held over all of page_fault: it sleeps, so it may be held over get_user_page
    mapped = PerPage(Flag())

    # Called when the device touches a page that is not mapped, or by an ioctl that maps it. Everything may sleep.
    def page_fault(self, gfn, write):
        with self.map_mutex:
            if not self.mapped[gfn]:
                page = self.get_user_page(gfn, True)  # always for writing, so that fork has nothing to copy now
                self.map(gfn, page, True)             # the spte owns the reference from here on
                self.mapped[gfn] = True
        return MAPPED


# What to change first: nothing unmaps here. If your driver does, write it as an operation of its own, own = ('unmap',)
# with `def unmap(self):`, and zap there. If coherence is wanted, pinning is not enough: take family B.
