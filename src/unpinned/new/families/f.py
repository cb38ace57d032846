# SPDX-License-Identifier: Apache-2.0
"""The device walks the page table of the process itself, and only its TLB is flushed.

family: F
who: IOMMU SVA (Intel, AMD, Arm), ocxl
rule: there is nothing to map; the TLB is flushed after the PTE has changed, under the page table lock
verdict: holds
"""

from unpinned import MAPPED, SecondaryMMU


class Skeleton(SecondaryMMU):
    """Family F: no sptes; a TLB that is filled from the CPU's PTEs.

    The mm calls the method below where it flushes the CPU's TLB; hardware calls page_fault. Both may run at once, on
    any CPU, and the device fills its TLB whenever it likes.
    """

    era = "current"  # the mm of Linux 6.12
    sptes = "cpu"    # the device walks the CPU's page table

    # Called when PTEs of the range have changed, and before any page of it is freed, under the page table lock: nothing
    # may sleep. Start and end would be too early and too late: before the PTE is clear the device fills its TLB anew.
    def arch_invalidate_secondary_tlbs(self, r):
        self.flush(r)

    # Called for a page request of the device. No lock is held, and everything may sleep.
    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)  # makes the PTE present, and writable if the device writes
        self.put_page(page)  # the device finds it in the page table: nothing is mapped, and nothing kept
        return MAPPED


# What to change first: put what your driver does to flush in the place of flush(), with its locks, which must be
# spinlocks. `unpinned check` shows what happens if the flush moves to invalidate_range_start.
