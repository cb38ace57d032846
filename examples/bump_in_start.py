# SPDX-License-Identifier: Apache-2.0
"""Bump seq where the invalidation starts, and not where it ends."""

from unpinned.drivers.kvm2008 import Kvm2008Posted


class BumpInStart(Kvm2008Posted):
    """seq is bumped in start only: it looks like the 12:00 repair without its second half.

    A fault that begins after start and meets the lock after end has seen the bump, and no count.
    """

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.range_count += 1
            self.zap(r)
