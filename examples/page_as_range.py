# SPDX-License-Identifier: Apache-2.0
"""Write invalidate_page as a range of one page: start(); end(). It was warned of on 9 April 2008."""

from unpinned import page_range
from unpinned.drivers.kvm2008 import Kvm2008Posted


class PageAsRangePosted(Kvm2008Posted):
    """invalidate_page is start();end() of the mail, which bump nothing; shown for reclaim only.

    The whole pair can run between get_user_page() and the lock: the count is 0 again, and the fault maps the page.
    """

    operations = ("reclaim",)

    def invalidate_page(self, gfn):
        self.invalidate_range_start(page_range(gfn))
        self.invalidate_range_end(page_range(gfn))


class PageAsRange(PageAsRangePosted):
    """The same with the bump in end, for every operation.

    Nothing is wrong: the pair leaves seq changed behind it, and ranges are right by the same line.
    """

    operations = ("munmap", "zap", "reclaim")

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1
