# SPDX-License-Identifier: Apache-2.0
"""First of a chain of three: a client is off the list, then released.

The client does all right: it drops everything when it is released, and
maps nothing after. What differs is the core of the notifiers, which
`core` names: as of 2008, as a commit left it, or as it is today.
"""

from unpinned import (
    FAULT,
    MAPPED,
    REPLAY,
    Counter,
    Flag,
    SecondaryMMU,
    SpinLock,
    all_pages,
)


class Client(SecondaryMMU):
    """A client with release, which stays until the mm exits."""

    era = "2008"
    core = "3ad3d901bbcf"
    operations = ("zap", "reclaim", "exit")

    lock = SpinLock()
    seq = Counter()
    count = Counter()
    released = Flag()

    def invalidate_range_start(self, r):
        with self.lock:
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.lock:
            self.seq += 1
            self.count -= 1

    def invalidate_page(self, gfn):
        with self.lock:
            self.seq += 1
            self.zap(gfn)

    def release(self):
        with self.lock:
            self.released = True
            self.seq += 1
            self.zap(all_pages())

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        result = REPLAY
        with self.lock:
            if self.seq != seq:
                result = REPLAY
            elif self.released:
                result = FAULT
            elif self.count == 0:
                self.map(gfn, page, write)
                result = MAPPED
        self.put_page(page)
        return result
