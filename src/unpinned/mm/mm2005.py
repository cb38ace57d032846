# SPDX-License-Identifier: Apache-2.0
"""Model the mm of 2005 with the ioproc hooks that were proposed to it: a client is told under the page table lock.

Plan language, model dialect: read by unpinned, never run. Source: David Addison's posting of 26 April 2005 ("Linux VM
hooks for advanced RDMA NICs"). The hooks run with page_table_lock held: those that invalidate before the PTE is
cleared, and update after it is set. No invalidation is ever open then: by the time that the lock is dropped, PTE and
client agree.
"""

from unpinned.mm.primary import Primary
from unpinned.plan.language import FAULT, PerPage, SpinLock
from unpinned.plan.modelling import NONE, PAGES, atomic, choose, cover, may_sleep, note, per_page, this_cpu


class Mm2005(Primary):
    """The mm whose page_table_lock a client shares."""

    rmap_lock = PerPage(SpinLock())  # the anon_vma lock; reclaim walks the rmap of a page under it

    # ---- what a fault calls

    def get_user_page(self, gfn, write):
        """Return the page's frame with a reference; tell the client of a PTE that is set or may be written now."""
        may_sleep("get_user_page")
        with self.mmap_lock.read():
            while True:
                with self.pt_lock:
                    with atomic():
                        gone = self.unmapped[gfn]
                        ready = self.ready(gfn, write)
                        page = NONE
                        changed = False
                        if gone:
                            note("get_user_page({gfn}): not mapped")
                        elif ready:
                            page = self.pte[gfn]
                            changed = page == NONE or (write and not self.pte_writable[gfn])
                            if page == NONE:
                                page = self.allocate(gfn, write)
                            elif write:
                                self.pte_writable[gfn] = True
                            self.refs[page] += 1
                            self.taken[this_cpu(), page] += 1
                            note("get_user_page({gfn}) = {page}")
                    if changed:
                        self.client.ioproc_update_page(gfn, page, write)
                if gone:
                    raise FAULT
                if ready:
                    return page
                self.make_ready(gfn, write)

    def make_ready(self, gfn, write):
        """Swap a page in, unless somebody else has, and tell the client."""
        with self.page_lock[gfn], self.pt_lock:
            page = NONE
            with atomic():
                if self.swapped[gfn]:
                    self.swapped[gfn] = False
                    page = self.allocate(gfn, write)
                    note("swap page {gfn} in to {page}")
            if page != NONE:
                self.client.ioproc_update_page(gfn, page, write)

    # ---- operations

    def start(self, r):
        """Announce nothing before the lock is taken."""

    def clear(self, r):
        """Clear the PTEs of a range under the lock, the client told before, and free its pages then."""
        gather = per_page(NONE)
        with self.pt_lock:
            self.client.ioproc_invalidate_range(r)
            for gfn in r:
                with atomic():
                    cover("rule:coherence")
                    gather[gfn] = self.pte[gfn]
                    self.pte[gfn] = NONE
                    self.pte_writable[gfn] = False
                    self.swapped[gfn] = False
                    if gather[gfn] == NONE:
                        note("PTE {gfn} is empty")
                    else:
                        note("clear PTE {gfn}")
        for gfn in r:
            with atomic():
                if gather[gfn] == NONE:
                    note("nothing gathered of page {gfn}")
                else:
                    self.drop_own(gather[gfn])

    def end(self, r):
        """Announce nothing when the pages are freed."""

    def reclaim(self):
        """Swap any page out."""
        with atomic():
            gfn = choose(0, PAGES)
            note("reclaim page {gfn}")
        self.reclaim_page(gfn)

    def reclaim_page(self, gfn):
        """Swap a page out: tell the client, clear its PTE under the same lock, free the frame."""
        with self.page_lock[gfn]:
            with self.rmap_lock[gfn], self.pt_lock:
                with atomic():
                    page = self.pte[gfn]
                    if page == NONE:
                        note("PTE {gfn} is empty")
                if page != NONE:
                    self.client.ioproc_invalidate_page(gfn)
                    with atomic():
                        note("clear and flush PTE {gfn}, swap entry in its place")
                        cover("rule:coherence")
                        self.pte[gfn] = NONE
                        self.pte_writable[gfn] = False
                        self.swapped[gfn] = True
            if page != NONE:
                with atomic():
                    self.drop_own(page)
