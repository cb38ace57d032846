# SPDX-License-Identifier: Apache-2.0
"""Plans that flush the secondary TLB too late or not at all, and their twins."""

from unpinned.drivers.kvm2008 import Kvm2008


class NoFlush(Kvm2008):
    """start clears the sptes and leaves the TLB as it is."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap_sptes(r)


class Flush(Kvm2008):
    """The twin: start flushes too, after it has dropped the lock."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap_sptes(r)
        self.flush(r)


class FlushInEnd(Kvm2008):
    """The flush stands in end, when the mm has freed the pages already."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.zap_sptes(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.flush(r)
            self.seq += 1
            self.range_count -= 1


class FlushFirst(Kvm2008):
    """start flushes before it clears the sptes: the guest fills its TLB again in between."""

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.range_count += 1
            self.flush(r)
            self.zap_sptes(r)
