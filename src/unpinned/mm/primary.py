# SPDX-License-Identifier: Apache-2.0
"""Model what the mm is in both eras: page tables, page frames, get_user_page, and the unmapping of ranges.

Plan language, model dialect: read by unpinned, never run. Ranges are announced while all their pages are still mapped
and closed after the mm has freed them. How a client is told stands with the eras, in mm2008.py and current.py.
"""

from unpinned.plan.language import FAULT, Counter, Flag, Mutex, PerPage, RwSem, SpinLock, cond_resched
from unpinned.plan.modelling import (
    NONE,
    PAGES,
    GfnField,
    Model,
    PerCpu,
    PerFrame,
    Pfn,
    atomic,
    check,
    choose,
    choose_frame,
    cover,
    given,
    may_sleep,
    note,
    per_page,
    span,
    this_cpu,
)


class Primary(Model):
    """The primary MMU and its pages."""

    mmap_lock = RwSem()  # munmap writes; zap and get_user_page read
    pt_lock = SpinLock()  # the page table lock, round every change of a PTE
    page_lock = PerPage(Mutex())  # held by reclaim from unmapping to freeing, and by swap-in

    unmapped = PerPage(Flag())  # munmap or mremap took the address away
    read_only = PerPage(Flag())  # mprotect took the right to write away
    refused = PerCpu(Flag())  # get_user_page has ended the fault of a CPU for want of that right
    pte = PerPage(Pfn())
    pte_writable = PerPage(Flag())
    swapped = PerPage(Flag())  # the PTE holds a swap entry

    refs = PerFrame(Counter())  # references to a frame; it is free at 0
    owner = PerFrame(GfnField())  # the page that a frame was allocated for
    held = PerFrame(Flag())  # one of the references is the mm's own
    taken = PerCpu(PerFrame(Counter(bits=2)))  # references that a CPU got by get_user_page and has not put

    open = PerPage(Counter(bits=3))  # invalidations of the page that are under way

    # ---- what a fault calls

    def get_user_page(self, gfn, write):
        """Return the page's frame with a reference, faulting it in; may sleep; ends the fault if it is unmapped."""
        may_sleep("get_user_page")
        with self.mmap_lock.read():
            while True:
                with self.pt_lock, atomic():
                    gone = self.unmapped[gfn]
                    if given("mprotect"):
                        self.refused[this_cpu()] = write and self.read_only[gfn]
                        gone = gone or self.refused[this_cpu()]
                    ready = self.ready(gfn, write)
                    page = NONE
                    if gone:
                        if given("mprotect"):
                            note("get_user_page({gfn}): not mapped, or not for writing")
                        else:
                            note("get_user_page({gfn}): not mapped")
                    elif ready:
                        page = self.pte[gfn]
                        if page == NONE:
                            page = self.allocate(gfn, write)
                        elif write:
                            self.pte_writable[gfn] = True
                        self.refs[page] += 1
                        self.taken[this_cpu(), page] += 1
                        note("get_user_page({gfn}) = {page}")
                if gone:
                    raise FAULT
                if ready:
                    return page
                self.make_ready(gfn, write)

    def ready(self, gfn, write):
        """Tell whether the page table alone can answer: not of a swapped page."""
        if self.swapped[gfn]:
            note("get_user_page({gfn}): swapped out")
        return not self.swapped[gfn]

    def make_ready(self, gfn, write):
        """Swap a page in, unless somebody else has."""
        with self.page_lock[gfn], self.pt_lock, atomic():
            if self.swapped[gfn]:
                self.swapped[gfn] = False
                page = self.allocate(gfn, write)
                note("swap page {gfn} in to {page}")

    def allocate(self, gfn, write):
        """Map a free frame at the page's PTE; the mm holds its first reference."""
        page = choose_frame()
        self.refs[page] = 1
        self.owner[page] = gfn
        self.held[page] = True
        self.pte[gfn] = page
        self.pte_writable[gfn] = write
        return page

    def put_page(self, page):
        """Put a reference that get_user_page took; the last one frees the frame."""
        with atomic():
            note("put_page({page})")
            check("balance", self.taken[this_cpu(), page] > 0, "put_page() of a page that this CPU has not taken")
            self.taken[this_cpu(), page] -= 1
            self.drop(page)

    def drop(self, page):
        """Drop a reference."""
        cover("rule:flush-before-free")
        self.refs[page] -= 1
        if self.refs[page] == 0:
            self.owner[page] = 0

    def drop_own(self, page):
        """Drop the mm's reference."""
        note("the mm drops {page}")
        self.held[page] = False
        self.drop(page)

    # ---- operations: what other CPUs do to the mm

    def zap(self):
        """MADV_DONTNEED of any range: its pages go, its addresses stay."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("zap pages [{start}, {end})")
        self.zap_range(span(start, end))

    def zap_range(self, r):
        """MADV_DONTNEED of a range."""
        with self.mmap_lock.read():
            self.unmap(r)

    def munmap(self):
        """Unmap any range: pages and addresses go."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("munmap pages [{start}, {end})")
        self.munmap_range(span(start, end))

    def munmap_range(self, r):
        """Unmap a range."""
        with self.mmap_lock.write():
            with atomic():
                note("take the addresses away")
                for gfn in r:
                    self.unmapped[gfn] = True
            self.unmap(r)

    def unmap(self, r):
        """Unmap a range, between start and end."""
        self.start(r)
        self.clear(r)
        self.end(r)

    def mremap(self):
        """Move the pages of any range to addresses that no guest page has."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("mremap pages [{start}, {end})")
        self.mremap_range(span(start, end))

    def mremap_range(self, r):
        """Move the pages of a range away: the mm keeps them, and the addresses go."""
        with self.mmap_lock.write():
            self.start(r)
            for gfn in r:
                with self.pt_lock, atomic():
                    note("move PTE {gfn} away")
                    self.unmapped[gfn] = True
                    self.pte[gfn] = NONE
                    self.pte_writable[gfn] = False
                    self.swapped[gfn] = False
            self.flush_tlb(r)
            self.end(r)

    def mprotect(self):
        """Take the right to write to any range away, and give it back."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("mprotect pages [{start}, {end})")
        self.mprotect_range(span(start, end))

    def mprotect_range(self, r):
        """Take the right to write to a range away, and give it back."""
        self.protect(r, True)
        self.protect(r, False)

    def protect(self, r, read_only):
        """Say whether a range may be written to; its PTEs are read-only until somebody writes again."""
        with self.mmap_lock.write():
            self.start(r)
            for gfn in r:
                with self.pt_lock, atomic():
                    note("write-protect PTE {gfn}")
                    self.read_only[gfn] = read_only
                    self.pte_writable[gfn] = False
            self.flush_tlb(r)
            self.end(r)

    def clear(self, r):
        """Clear the PTEs of a range and free its pages."""
        gather = per_page(NONE)
        for gfn in r:
            with self.pt_lock, atomic():
                gather[gfn] = self.pte[gfn]
                self.pte[gfn] = NONE
                self.pte_writable[gfn] = False
                self.swapped[gfn] = False
                if gather[gfn] == NONE:
                    note("PTE {gfn} is empty")
                else:
                    note("clear PTE {gfn}")
            if given("cpus"):
                cond_resched()
        self.flush_tlb(r)
        for gfn in r:
            with atomic():
                if gather[gfn] == NONE:
                    note("nothing gathered of page {gfn}")
                else:
                    self.drop_own(gather[gfn])

    def flush_tlb(self, r):
        """Flush the CPU's TLB: PTEs are clear, and no page is freed yet."""
