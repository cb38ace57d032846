# SPDX-License-Identifier: Apache-2.0
"""Plans that keep a reference, and their twins."""

from unpinned import MAPPED, REPLAY
from unpinned.drivers.kvm2008 import Kvm2008


class ReplayLeaks(Kvm2008):
    """The path of the replay forgets put_page()."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            if self.seq != seq or self.range_count:
                return REPLAY
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class ReplayPuts(Kvm2008):
    """The twin: it does not."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            if self.seq != seq or self.range_count:
                self.put_page(page)
                return REPLAY
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class SecondFails(Kvm2008):
    """The page is got twice: if the second call fails, after munmap, nobody puts what the first one took."""

    def page_fault(self, gfn, write):
        first = self.get_user_page(gfn, False)
        result = super().page_fault(gfn, write)
        self.put_page(first)
        return result


class PutBetween(Kvm2008):
    """The twin: the first page is put before the second is got."""

    def page_fault(self, gfn, write):
        first = self.get_user_page(gfn, False)
        self.put_page(first)
        result = super().page_fault(gfn, write)
        return result
