# SPDX-License-Identifier: Apache-2.0
"""Plans beside mprotect, which lets get_user_page fail of an address that is there."""

from unpinned import *
from unpinned.drivers.kvm2008 import Kvm2008


class SaysFault(Kvm2008):
    """What should be replayed is called an error, which only get_user_page may find."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return FAULT if stale else MAPPED


class LeaksWhenRefused(Kvm2008):
    """A second page is got for writing, and the first is not put if that is refused."""

    def page_fault(self, gfn, write):
        first = self.get_user_page(gfn, False)
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        self.put_page(first)
        return REPLAY if stale else MAPPED
