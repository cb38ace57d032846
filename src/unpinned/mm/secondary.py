# SPDX-License-Identifier: Apache-2.0
"""Model the secondary MMU's hardware: sptes, their rmap, one secondary TLB a vCPU, and the guest that uses them.

Plan language, model dialect: read by unpinned, never run. The hardware takes no locks: a guest access fills the TLB
from the spte and goes through the TLB whatever the client does meanwhile.

A plan may say that it is of another kind. `sptes = 'pinned'`: an spte owns the reference that the fault took, and it is
put once the spte is cleared and the TLBs are flushed. `sptes = 'cpu'`: there are none, and the hardware walks the CPU's
page table. A plan that calls tfh_read() has no sptes either: it drops translations into the TLB, as the GRU does.
"""

from unpinned.plan.language import FAULT, REPLAY, Flag, PerPage
from unpinned.plan.modelling import (
    FRAMES,
    NONE,
    PAGES,
    VCPUS,
    Model,
    PerVcpu,
    Pfn,
    atomic,
    check,
    choose,
    cover,
    given,
    note,
    this_cpu,
)


class Secondary(Model):
    """Shadow page table, secondary TLBs and vCPUs."""

    spte = PerPage(Pfn())
    spte_writable = PerPage(Flag())
    rmap = PerPage(Flag())  # the spte can be found from its page
    tlb = PerVcpu(PerPage(Pfn()))
    tlb_writable = PerVcpu(PerPage(Flag()))
    zapped = PerPage(Pfn())  # pinned: the frame of an spte that is cleared, whose TLB entries are not flushed yet
    missed = PerVcpu(PerPage(Flag()))  # a miss has been read, and no flush of the page has come since
    faulting = PerVcpu(Flag())  # a guest fault is under way, until its access can go on or has failed

    # ---- what a plan calls

    def map(self, gfn, page, write):
        """Set the spte, then add it to the rmap: two steps."""
        with atomic():
            cover("map")
            if write:
                note("spte[{gfn}] = {page}, writable")
            else:
                note("spte[{gfn}] = {page}, read-only")
            if given("pinned"):
                check("balance", self.mm.taken[this_cpu(), page] > 0, "map() of a page that this CPU has not taken")
                self.mm.taken[this_cpu(), page] -= 1
                if self.spte[gfn] != NONE:
                    self.mm.drop(self.spte[gfn])
            self.spte[gfn] = page
            self.spte_writable[gfn] = write
        with atomic():
            note("rmap_add({gfn})")
            self.rmap[gfn] = True

    def zap(self, r):
        """Clear the sptes of a range and flush the secondary TLBs before it returns."""
        self.zap_sptes(r)
        self.flush(r)

    def zap_sptes(self, r):
        """Clear the sptes that the rmap finds in a range, one a step."""
        for gfn in r:
            with atomic():
                if self.rmap[gfn]:
                    cover("zap")
                    note("zap spte[{gfn}]")
                    self.rmap[gfn] = False
                    if given("pinned"):
                        if self.zapped[gfn] != NONE:
                            self.mm.drop(self.zapped[gfn])
                        self.zapped[gfn] = self.spte[gfn]
                    self.spte[gfn] = NONE
                    self.spte_writable[gfn] = False
                else:
                    note("no spte to zap at {gfn}")

    def flush(self, r):
        """Flush a range from the secondary TLB of each vCPU, one vCPU a step."""
        for cpu in VCPUS:
            with atomic():
                note("flush the TLB of vCPU{cpu}")
                for gfn in r:
                    self.tlb[cpu, gfn] = NONE
                    self.tlb_writable[cpu, gfn] = False
                    if given("tfh_read"):
                        self.missed[cpu, gfn] = False
        if given("pinned"):
            with atomic():
                note("put the pages of the sptes that were zapped")
                for gfn in r:
                    if self.zapped[gfn] != NONE:
                        self.mm.drop(self.zapped[gfn])
                        self.zapped[gfn] = NONE

    def tfh_read(self, gfn):
        """Read the entry of a miss in the TLB fault handle; a flush of the page from here on cancels the drop-in."""
        with atomic():
            note("read the TFH: a miss at {gfn}")
            self.missed[this_cpu(), gfn] = True

    def tfh_write_restart(self, gfn, page, write):
        """Drop a translation in, unless a flush of its page has come since the entry was read."""
        with atomic():
            if self.missed[this_cpu(), gfn]:
                cover("map")
                note("write_restart: TLB[{gfn}] = {page}")
                self.missed[this_cpu(), gfn] = False
                self.tlb[this_cpu(), gfn] = page
                self.tlb_writable[this_cpu(), gfn] = write
            else:
                note("write_restart: ignored, since a flush came between")

    # ---- the guest

    def vcpu(self):
        """Let a guest read and write pages for ever."""
        while True:
            with atomic():
                gfn = choose(0, PAGES)
                write = choose(0, 2)
                page = self.tlb[this_cpu(), gfn]
                hit = page != NONE and (not write or self.tlb_writable[this_cpu(), gfn])
                if hit:
                    self.access(gfn, page, write)
                elif write:
                    note("guest writes page {gfn}: TLB miss")
                else:
                    note("guest reads page {gfn}: TLB miss")
            if not hit:
                self.walk(gfn, write)

    def access(self, gfn, page, write):
        """Read or write through the TLB."""
        cover("tlb-hit")
        cover("rule:stale-use")
        if write:
            note("guest writes page {gfn} through the TLB: {page}")
        else:
            note("guest reads page {gfn} through the TLB: {page}")
        check(
            "stale-use",
            self.mm.refs[page] > 0 and self.mm.owner[page] == gfn,
            "a guest access reaches a frame that is free or another page's",
        )
        if given("pinned"):
            check(
                "coherence",
                self.mm.pte[gfn] == page or self.mm.open[gfn] > 0,
                "a guest access goes through a pinned frame that its PTE no longer maps",
            )
        else:
            check(
                "stale-use",
                self.mm.pte[gfn] == page or self.mm.open[gfn] > 0,
                "a guest access goes through a frame that its PTE no longer maps, and no invalidation is under way",
            )

    def fill(self, gfn, write):
        """Fill the TLB from the spte if it is there and permits the access; tell whether it was filled."""
        if given("tfh_read"):
            filled = self.tlb[this_cpu(), gfn] != NONE and (not write or self.tlb_writable[this_cpu(), gfn])
        else:
            if given("cpu"):
                page = self.mm.pte[gfn]
                writable = self.mm.pte_writable[gfn]
            else:
                page = self.spte[gfn]
                writable = self.spte_writable[gfn]
            filled = page != NONE and (not write or writable)
            if filled:
                if given("cpu"):
                    cover("map")
                note("TLB[{gfn}] = {page}")
                self.tlb[this_cpu(), gfn] = page
                self.tlb_writable[this_cpu(), gfn] = writable
        return filled

    def walk(self, gfn, write):
        """Fill the TLB from the spte, or fault until that can be done or the fault fails.

        The guest executes its access again whatever page_fault says: one that says MAPPED and has not mapped, or
        FAULT of an address that is there, faults again, and it is the same fault.
        """
        while True:
            with atomic():
                filled = self.fill(gfn, write)
                if filled:
                    self.faulting[this_cpu()] = False
                else:
                    self.faulting[this_cpu()] = True
                    note("call page_fault({gfn}, {write})")
            if filled:
                return
            result = self.client.page_fault(gfn, write)
            with atomic():
                note("page_fault() returns {result}")
                cover("rule:leak")
                cover("rule:progress")
                if result == REPLAY:
                    cover("replay")
                for frame in FRAMES:
                    check("leak", self.mm.taken[this_cpu(), frame] == 0, "page_fault() has returned and holds a page")
                if given("closing"):
                    failed = result == FAULT
                else:
                    failed = result == FAULT and self.mm.unmapped[gfn]
                    if given("mprotect"):
                        failed = failed or (result == FAULT and self.mm.refused[this_cpu()])
                        self.mm.refused[this_cpu()] = False
                check("progress", result != FAULT or failed, "page_fault() ends with FAULT, and the address is mapped")
                if failed:
                    self.faulting[this_cpu()] = False
            if failed:
                return

    # ---- operations of the client's own, and work

    def returned(self):
        """End an operation of the client's own, or work, which may hold no page: nobody else could put it."""
        with atomic():
            note("it has returned")
            cover("rule:leak")
            for frame in FRAMES:
                check("leak", self.mm.taken[this_cpu(), frame] == 0, "it has returned and holds a page")
