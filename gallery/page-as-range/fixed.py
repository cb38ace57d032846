# SPDX-License-Identifier: Apache-2.0
"""A client that counts ranges, and takes a single page for a short range.

The warning of 9 April 2008: try_to_unmap() clears the PTE first and tells
the client then, so that start();end() keeps nobody out who has the page
already, unless start waits until no fault is inside.
"""

from unpinned import *


class Client(SecondaryMMU):
    """A fault is replayed if a range is under way. Shown for reclaim."""

    operations = ("reclaim",)

    lock = SpinLock()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with self.lock:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.lock:
            self.seq += 1
            self.range_count -= 1

    def invalidate_page(self, gfn):
        self.invalidate_range_start(page_range(gfn))
        self.invalidate_range_end(page_range(gfn))

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock:
            stale = self.range_count != 0 or self.seq != seq
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED
