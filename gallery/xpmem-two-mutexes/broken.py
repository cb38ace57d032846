# SPDX-License-Identifier: Apache-2.0
"""XPMEM of 2023: the fault and the notifier take two different mutexes.

An attachment pins the pages of another process. There is no start, and
end puts what it finds mapped.
"""

from unpinned import *


class Attachment(SecondaryMMU):
    """A fault maps under one mutex, end unmaps under another."""

    era = "current"
    sptes = "pinned"
    waive = {"sleep-in-atomic": "end takes a mutex, whoever calls"}

    att_mutex = Mutex()
    invalidate_mutex = Mutex()
    known = PerPage(Flag())  # the pfn of the page is noted

    def invalidate_range_end(self, r):
        with self.invalidate_mutex:
            self.zap(r)
            for gfn in r:
                self.known[gfn] = False

    def page_fault(self, gfn, write):
        with self.att_mutex:
            if self.known[gfn]:
                return MAPPED
            page = self.get_user_page(gfn, True)
            self.zap(gfn)  # what an end has left behind
            self.known[gfn] = True
            self.map(gfn, page, True)
        return MAPPED
