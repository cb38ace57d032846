# SPDX-License-Identifier: Apache-2.0
"""Model the mm of 2008, as mmu notifiers v12 and v13 met it: how it tells a client, and how it reclaims a page.

Plan language, model dialect: read by unpinned, never run. Sources: the threads of 8 to 24 April 2008 and the contract
of the methods as posted in v13 patch 1 (docs/model.md says what is left out). A single page is announced after its PTE
is cleared and before it is freed.
"""

from unpinned.mm.core import Core
from unpinned.plan.language import PerPage, SpinLock
from unpinned.plan.modelling import NONE, PAGES, atomic, choose, cover, given, note


class Mm2008(Core):
    """The mm with `invalidate_page`, and methods that return nothing."""

    rmap_lock = PerPage(SpinLock())  # the anon_vma lock; reclaim walks the rmap of a page under it (system.py: flavour)

    def start(self, r):
        """Announce a range."""
        with atomic():
            note("call invalidate_range_start()")
            for gfn in r:
                self.open[gfn] += 1
        if given("listed"):
            self.walk_start(r)
        else:
            self.client.invalidate_range_start(r)

    def end(self, r):
        """Close a range."""
        with atomic():
            note("call invalidate_range_end()")
        if given("listed"):
            self.walk_end(r)
        else:
            self.client.invalidate_range_end(r)
        with atomic():
            note("invalidate_range_end() has returned")
            cover("rule:coherence")
            for gfn in r:
                self.open[gfn] -= 1

    def reclaim(self):
        """Swap any page out."""
        with atomic():
            gfn = choose(0, PAGES)
            note("reclaim page {gfn}")
        self.reclaim_page(gfn)

    def reclaim_page(self, gfn):
        """Swap a page out: clear its PTE under the rmap lock, tell the client there, free the frame."""
        with self.page_lock[gfn]:
            with self.rmap_lock[gfn]:
                with self.pt_lock, atomic():
                    page = self.pte[gfn]
                    if page == NONE:
                        note("PTE {gfn} is empty")
                    else:
                        note("clear and flush PTE {gfn}, swap entry in its place")
                        self.pte[gfn] = NONE
                        self.pte_writable[gfn] = False
                        self.swapped[gfn] = True
                        self.open[gfn] += 1
                if page != NONE:
                    with atomic():
                        note("call invalidate_page()")
                    if given("listed"):
                        self.walk_page(gfn)
                    else:
                        self.client.invalidate_page(gfn)
                    with atomic():
                        note("invalidate_page() has returned")
                        cover("rule:coherence")
                        self.open[gfn] -= 1
            if page != NONE:
                with atomic():
                    self.drop_own(page)
