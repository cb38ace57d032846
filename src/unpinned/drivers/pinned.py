# SPDX-License-Identifier: Apache-2.0
"""Clients that pin: an spte owns a reference of its page, so that the page cannot be freed, and may be another one.

Sources: KVM up to Linux 2.6.26, which had a reference for each spte and no notifier; drivers/vfio/vfio_iommu_type1.c of
Linux 6.12.117, which pins for as long as the mapping lasts. What is lost is coherence: the mm may give the address
another page, and the client goes on with the old one.
"""

from unpinned import MAPPED, Flag, Mutex, PerPage, SecondaryMMU, SpinLock


class KvmPinned(SecondaryMMU):
    """KVM before mmu notifiers."""

    sptes = "pinned"
    waive = {"coherence": "the page of a pinned spte stays the guest's when the mm takes it away"}

    mmu_lock = SpinLock()
    mapped = PerPage(Flag())

    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, True)  # always for writing
        with self.mmu_lock:
            others = self.mapped[gfn]  # another vCPU was faster
            if not others:
                self.map(gfn, page, True)
                self.mapped[gfn] = True
        if others:
            self.put_page(page)
        return MAPPED


class VfioType1(SecondaryMMU):
    """vfio's container: a page is pinned for writing when it is mapped, once, and no notifier is registered."""

    era = "current"
    sptes = "pinned"
    waive = {"coherence": "the page of a pinned spte stays the device's when the mm takes it away, or fork copies it"}

    iommu_lock = Mutex()
    mapped = PerPage(Flag())

    def page_fault(self, gfn, write):
        with self.iommu_lock:
            if not self.mapped[gfn]:
                page = self.get_user_page(gfn, True)
                self.map(gfn, page, True)
                self.mapped[gfn] = True
        return MAPPED
