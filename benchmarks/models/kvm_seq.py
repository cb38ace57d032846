# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Model kvm-seq: KVM's locking plan of 2008 beside a small mm of its own, one numbered step a line of the model.

Plan language, model dialect: read by unpinned, never run. vCPUs access pages and fault for ever; hosts invalidate a
page, or all pages, a number of times. The peers' models in benchmarks/peers/ have the same steps under the same
numbers, so that all of them count the same states. The guest accesses a page only while its spte is set; a frame is
free if it has no owner; frames have no references, and the rule is that an spte maps a frame that its page owns.
"""

from unpinned.plan.language import Counter, PerPage, SpinLock
from unpinned.plan.modelling import (
    FRAMES,
    NONE,
    PAGES,
    GfnField,
    Model,
    PerFrame,
    Pfn,
    atomic,
    check,
    choose,
    exists,
    lowest,
    per_page,
    span,
)


class KvmSeq(Model):
    """The plan as agreed: the end of a range bumps seq."""

    mmu_lock = SpinLock()
    seq = Counter(bits=4)
    count = Counter(bits=2)
    spte = PerPage(Pfn())
    pte = PerPage(Pfn())
    owner = PerFrame(GfnField())  # of the page that a frame was allocated for the gfn + 1, of a free frame 0

    # ---- vCPUs

    def vcpu(self):
        """Access pages for ever."""
        while True:
            with atomic():  # v0
                gfn = choose(0, PAGES)
            while True:
                with atomic():  # v1
                    if self.spte[gfn] != NONE:
                        check("stale-use", self.owner[self.spte[gfn]] == gfn + 1, "a guest reaches another's frame")
                        break
                seq = self.seq  # v2
                page = self.get_user_page(gfn)  # v3
                with self.mmu_lock:  # v4
                    with atomic():  # v5
                        fresh = self.seq == seq and self.count == 0
                    if fresh:
                        self.spte[gfn] = page  # v6
                # v7 drops mmu_lock

    def get_user_page(self, gfn):
        """Return the page's frame, and take the lowest free one if it has none."""
        with atomic():
            if self.pte[gfn] == NONE:
                page = lowest(frame for frame in FRAMES if self.owner[frame] == 0)
                self.owner[page] = gfn + 1
                self.pte[gfn] = page
            else:
                page = self.pte[gfn]
        return page

    # ---- hosts

    def host(self, times):
        """Invalidate so many times."""
        done = 0
        while True:
            self.invalidate()
            done += 1
            if done == times:
                return

    def host_for_ever(self):
        """Invalidate without end."""
        while True:
            self.invalidate()

    def invalidate(self):
        """Invalidate one page, or all of them."""
        while True:
            with atomic():  # h0
                if choose(0, 2):
                    break
                gfn = choose(0, PAGES)
            self.invalidate_page(gfn)
            return
        self.invalidate_range()

    def invalidate_range(self):
        """Free the frames of all pages between start and end."""
        with self.mmu_lock:  # h1
            with atomic():  # h2
                self.count += 1
            with atomic():  # h3
                for gfn in PAGES:
                    self.spte[gfn] = NONE
        # h4 drops mmu_lock
        self.free_pages()
        with self.mmu_lock:  # h7
            self.bump_in_end()  # h8
            with atomic():  # h9
                self.count -= 1
        # h10 drops mmu_lock

    def free_pages(self):
        """Clear the PTE of each page in order and free its frame."""
        for gfn in span(0, PAGES):
            with atomic():  # h5
                old = self.pte[gfn]
                self.pte[gfn] = NONE
            self.free(old)  # h6

    def invalidate_page(self, gfn):
        """Clear the PTE of a page, then its spte, and free its frame."""
        with atomic():  # p1
            old = self.pte[gfn]
            self.pte[gfn] = NONE
        with self.mmu_lock:  # p2
            self.bump()  # p3
            self.spte[gfn] = NONE  # p4
        # p5 drops mmu_lock
        self.free(old)  # p6

    def bump(self):
        """Make vCPUs that have read seq fault again."""
        with atomic():
            self.seq += 1

    def bump_in_end(self):
        """Bump seq at the end of a range."""
        self.bump()

    def free(self, page):
        """Free a frame, if there is one."""
        with atomic():
            if page != NONE:
                self.owner[page] = 0


class KvmSeqLiteral(KvmSeq):
    """The plan as posted, which races: the end of a range does not bump seq."""

    def bump_in_end(self):
        """Leave out h8."""


class KvmSeqFree(KvmSeq):
    """The fully symmetric variant: a fault takes any free frame, and a range visits its pages in any order."""

    def get_user_page(self, gfn):
        """Return the page's frame, and take any free one if it has none."""
        with atomic():
            if self.pte[gfn] == NONE:
                page = choose(frame for frame in FRAMES if self.owner[frame] == 0)
                self.owner[page] = gfn + 1
                self.pte[gfn] = page
            else:
                page = self.pte[gfn]
        return page

    def free_pages(self):
        """Clear the PTE of each page in any order and free its frame."""
        todo = per_page(True)
        while True:
            with atomic():  # h5
                gfn = choose(page for page in PAGES if todo[page])
                todo[gfn] = False
                old = self.pte[gfn]
                self.pte[gfn] = NONE
            with atomic():  # h6
                if old != NONE:
                    self.owner[old] = 0
                if not exists(page for page in PAGES if todo[page]):
                    return


class KvmSeqFreeLiteral(KvmSeqFree):
    """The symmetric variant of the plan as posted, which races."""

    def bump_in_end(self):
        """Leave out h8."""
