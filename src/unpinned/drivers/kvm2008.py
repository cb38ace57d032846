# SPDX-License-Identifier: Apache-2.0
"""KVM's locking of 22 April 2008, as posted and as it was mended on the same day.

Sources: the mail of 07:20 UTC ("Re: [PATCH 0 of 9] mmu notifier #v12", Message-ID 20080422072026.GM12709@duo.random)
and the answers of 12:00, 13:01, 13:21 and 13:48. The revisions differ by one method each.
"""

from unpinned import MAPPED, REPLAY, Counter, SecondaryMMU, SpinLock


class Kvm2008Posted(SecondaryMMU):
    """07:20, as posted: a whole start..end pair between the read of seq and the lock goes unseen."""

    mmu_lock = SpinLock()
    seq = Counter()
    range_count = Counter()

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.range_count -= 1

    def invalidate_page(self, gfn):
        with self.mmu_lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.range_count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)  # nothing stays pinned
        return REPLAY if stale else MAPPED


class Kvm2008Both(Kvm2008Posted):
    """12:00, the first repair: seq is bumped in start and in end."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count -= 1


class Kvm2008(Kvm2008Posted):
    """13:21, as agreed: the bump in end alone is enough."""

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1  # the line that the mail lacks
            self.range_count -= 1
