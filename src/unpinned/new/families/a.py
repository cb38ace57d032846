# SPDX-License-Identifier: Apache-2.0
"""One lock is held over the read of the PTE and the set of the device's entry.

family: A
who: Quadrics ioproc (2005), under page_table_lock
rule: the mm calls before it clears a PTE, under the lock that a fault holds too: nothing can slip between
verdict: holds
"""

from unpinned import MAPPED, SecondaryMMU


class Skeleton(SecondaryMMU):
    """Family A: the mm itself loads and clears the translations of the device, under its page table lock.

    The mm calls the hooks below; hardware calls page_fault. The lock of the mm is held in every hook, so that no two of
    them run at once, and none may sleep.
    """

    era = "2005"  # the mm with the ioproc hooks that were proposed to Linux in 2005; no later mm has them

    # Called before the PTEs of the range are cleared.
    def ioproc_invalidate_range(self, r):
        self.zap(r)

    # Called before the PTE of one page is cleared: that of reclaim.
    def ioproc_invalidate_page(self, gfn):
        self.zap(gfn)

    # Called when a PTE has been set, or may be written to from here on.
    def ioproc_update_page(self, gfn, page, write):
        self.map(gfn, page, write)

    # Called when the device finds no translation. No lock is held, and everything may sleep.
    def page_fault(self, gfn, write):
        page = self.get_user_page(gfn, write)  # sets the PTE; the hook above has loaded the translation by then
        self.put_page(page)  # no reference is kept: the hooks alone keep device and PTE in step
        return MAPPED  # the device tries again; if a hook has cleared the translation since, it faults again


# What to change first: if your mm calls you without such a lock, and today's Linux does, take family B: a fault must
# then find out by itself that an invalidation has come since it read the PTE.
