# SPDX-License-Identifier: Apache-2.0
"""State the rules that hold in every state: each is checked after every step that could break it.

Plan language, model dialect: read by unpinned, never run. The rules that one step breaks by itself (leak, balance,
sleep-in-atomic, and a guest access that goes astray) stand with those steps, in secondary.py and mm2008.py; deadlock
and progress need the whole state graph (check/graph.py).
"""

from unpinned.plan.modelling import NONE, PAGES, VCPUS, Model, check


class Rules(Model):
    """What must hold of sptes, TLB entries, PTEs and frames."""

    def after_each_step(self):
        """Check every page and every vCPU."""
        for gfn in PAGES:
            check(
                "stale-use",
                self.hw.spte[gfn] == NONE
                or (self.mm.refs[self.hw.spte[gfn]] > 0 and self.mm.owner[self.hw.spte[gfn]] == gfn),
                "spte[{gfn}] maps a frame that is free or another page's",
            )
        for gfn in PAGES:
            for cpu in VCPUS:
                check(
                    "flush-before-free",
                    self.hw.tlb[cpu, gfn] == NONE
                    or self.hw.tlb[cpu, gfn] == self.hw.spte[gfn]
                    or self.mm.refs[self.hw.tlb[cpu, gfn]] > 0,
                    "the TLB of vCPU{cpu} still holds page {gfn}'s frame, which is freed",
                )
        for gfn in PAGES:
            check(
                "coherence",
                self.mm.open[gfn] > 0
                or self.hw.spte[gfn] == NONE
                or not self.mm.held[self.hw.spte[gfn]]
                or (
                    self.mm.pte[gfn] == self.hw.spte[gfn]
                    and (self.mm.pte_writable[gfn] or not self.hw.spte_writable[gfn])
                ),
                "spte[{gfn}] permits more than its PTE, and no invalidation is under way",
            )
            for cpu in VCPUS:
                check(
                    "coherence",
                    self.mm.open[gfn] > 0
                    or self.hw.tlb[cpu, gfn] == NONE
                    or not self.mm.held[self.hw.tlb[cpu, gfn]]
                    or (
                        self.mm.pte[gfn] == self.hw.tlb[cpu, gfn]
                        and (self.mm.pte_writable[gfn] or not self.hw.tlb_writable[cpu, gfn])
                    ),
                    "the TLB of vCPU{cpu} permits more at page {gfn} than its PTE, and no invalidation is under way",
                )
