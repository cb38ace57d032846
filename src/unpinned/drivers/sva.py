# SPDX-License-Identifier: Apache-2.0
"""Shared virtual addressing: the device walks the CPU's page table, and only its TLB has to be flushed.

Sources: the behaviour of drivers/iommu/intel/svm.c, amd/pasid.c and arm-smmu-v3-sva.c of Linux 6.12.117.
"""

from unpinned import MAPPED, SecondaryMMU


class Sva(SecondaryMMU):
    """A page request is a fault of the CPU's; the flush runs where the CPU's TLB is flushed, and may not sleep."""

    era = "current"
    sptes = "cpu"

    def arch_invalidate_secondary_tlbs(self, r):
        self.flush(r)

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)
        self.put_page(page)
        return MAPPED
