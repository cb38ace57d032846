# SPDX-License-Identifier: Apache-2.0
"""KVM's plan of 13:21 whose fault does not return to the guest while a range is under way: what the mail says of it."""

from unpinned import MAPPED, cond_resched
from unpinned.drivers.kvm2008 import Kvm2008


class Replays(Kvm2008):
    """The plan as it is: the guest takes the fault again."""


class Loops(Kvm2008):
    """The fault begins anew by itself; get_user_page may sleep."""

    def page_fault(self, gfn, write):
        while True:
            seq = self.seq
            page = self.get_user_page(gfn, write)
            with self.mmu_lock:
                stale = self.seq != seq or self.range_count
                if not stale:
                    self.map(gfn, page, write)
            self.put_page(page)
            if not stale:
                return MAPPED


class Spins(Kvm2008):
    """The fault looks again and again whether the range has ended, and never sleeps."""

    def page_fault(self, gfn, write):
        while self.range_count:
            pass
        return super().page_fault(gfn, write)


class Yields(Kvm2008):
    """The same, and lets others run."""

    def page_fault(self, gfn, write):
        while self.range_count:
            cond_resched()
        return super().page_fault(gfn, write)


class YieldsUnderLock(Kvm2008):
    """It lets others run under a spinlock."""

    def page_fault(self, gfn, write):
        with self.mmu_lock:
            cond_resched()
        return super().page_fault(gfn, write)
