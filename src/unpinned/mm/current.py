# SPDX-License-Identifier: Apache-2.0
"""Model the mm of today: start and end round every change of a PTE, calls that may not block, interval notifiers.

Plan language, model dialect: read by unpinned, never run. Source: the behaviour of Linux 6.12 (mm/mmu_notifier.c,
mm/rmap.c, mm/memory.c, mm/oom_kill.c), described in docs/model.md, which also says what is left out.
"""

from unpinned.mm.core import Core
from unpinned.plan.language import Counter, Flag, PerPage, RwSem, SpinLock, WaitQueue, all_pages, page_range
from unpinned.plan.modelling import (
    NONE,
    PAGES,
    atomic,
    check,
    choose,
    cover,
    given,
    may_sleep,
    non_blockable,
    note,
    span,
)


class MmCurrent(Core):
    """The mm whose methods may sleep where their caller may, and may refuse where it may not."""

    rmap_lock = PerPage(RwSem())  # reclaim, migration: held for reading over the walk of a page's rmap
    shared = PerPage(Flag())  # the frame is the child's too: a write must go to a copy

    # The subscriptions of interval notifiers. The sequence is odd while an invalidation runs.
    itree_lock = SpinLock()
    active = Counter(bits=3)  # invalidations that are under way
    itree_seq = Counter(init=2)
    sub_seq = Counter(init=1)  # the client's own; it has one subscription, of all pages
    itree_wait = WaitQueue()

    # ---- how a client is told

    def start(self, r):
        """Announce a range; the client may wait, and may not refuse."""
        self.begin(r)
        failed = 0
        if given("invalidate"):
            failed = self.itree_start(r)
        refused = self.call_start(r)
        with atomic():
            note("the client has been told")
            check("balance", failed == 0 and refused == 0, "the client refuses an invalidation that may wait for it")

    def begin(self, r):
        """Say that an invalidation has begun."""
        with atomic():
            note("an invalidation begins")
            for gfn in r:
                self.open[gfn] += 1

    def call_start(self, r):
        """Call the client's start; return what it returns, or 0 if it has none."""
        failed = 0
        if given("invalidate_range_start"):
            with atomic():
                note("call invalidate_range_start()")
            if given("listed"):
                failed = self.walk_start(r)
            else:
                failed = self.client.invalidate_range_start(r)
        return failed

    def end(self, r):
        """Close a range."""
        if given("invalidate"):
            self.itree_end()
        if given("invalidate_range_end"):
            with atomic():
                note("call invalidate_range_end()")
            self.tell_end(r)
        self.close(r)

    def tell_end(self, r):
        """Call invalidate_range_end()."""
        if given("listed"):
            self.walk_end(r)
        else:
            self.client.invalidate_range_end(r)

    def close(self, r):
        """Say that an invalidation is over."""
        with atomic():
            note("the invalidation is over")
            cover("rule:coherence")
            for gfn in r:
                self.open[gfn] -= 1

    def flush_tlb(self, r):
        """Flush the CPU's TLB, and with it those that walk the CPU's page table: PTEs are clear, no page is freed."""
        if given("arch_invalidate_secondary_tlbs"):
            with self.pt_lock:
                if given("listed"):
                    self.walk_tlbs(r)
                else:
                    self.client.arch_invalidate_secondary_tlbs(r)

    # ---- interval notifiers: the client has one subscription, of all pages

    def itree_start(self, r):
        """Tell the subscription; the sequence is odd from here. Return 0, or less if it refuses."""
        with self.itree_lock, atomic():
            self.active += 1
            if self.active == 1:
                self.itree_seq += 1
            seq = self.itree_seq
        with atomic():
            note("call invalidate() with the sequence {seq}")
        done = self.client.invalidate(r, seq)
        failed = 0
        if not done:
            failed = -11
        return failed

    def itree_end(self):
        """Make the sequence even when no invalidation runs any more, and wake those that wait for it."""
        with self.itree_lock, atomic():
            self.active -= 1
            last = self.active == 0
            if last:
                self.itree_seq += 1
        if last:
            self.itree_wait.wake_up()

    def mmu_notifier_release(self):
        """Tell all clients that the mm goes: the subscriptions first, which stay."""
        if given("invalidate"):
            failed = self.itree_start(all_pages())
            with atomic():
                note("the subscriptions have been told")
                check("balance", failed == 0, "the client refuses an invalidation that may wait for it")
            self.itree_end()
        super().mmu_notifier_release()

    def mmu_interval_read_begin(self):
        """Return the subscription's sequence when no invalidation of it runs; may sleep."""
        may_sleep("mmu_interval_read_begin")
        with self.itree_lock, atomic():
            seq = self.sub_seq
            busy = seq == self.itree_seq
        if busy:
            self.itree_wait.wait_event(self.itree_seq != seq)
        return seq

    def mmu_interval_read_retry(self, seq):
        """Tell whether an invalidation has begun since."""
        with atomic():
            note("mmu_interval_read_retry({seq})")
            changed = self.sub_seq != seq
        return changed

    def mmu_interval_set_seq(self, cur_seq):
        """Note in the subscription that an invalidation has begun."""
        with atomic():
            note("mmu_interval_set_seq({cur_seq})")
            self.sub_seq = cur_seq

    # ---- what a fault calls

    def ready(self, gfn, write):
        """Tell whether the page table alone can answer: not of a swapped page, nor for a write to a shared one."""
        ready = super().ready(gfn, write)
        if given("fork"):
            if write and self.pte[gfn] != NONE and self.shared[gfn]:
                note("get_user_page({gfn}): copy on write")
                ready = False
        return ready

    def make_ready(self, gfn, write):
        """Swap a page in, or copy it, unless somebody else has."""
        super().make_ready(gfn, write)
        if given("fork"):
            if write:
                self.copy_page(gfn)

    def allocate(self, gfn, write):
        """Map a free frame, which nobody shares, at the page's PTE."""
        page = super().allocate(gfn, write)
        if given("fork"):
            self.shared[gfn] = False
        return page

    def copy_page(self, gfn):
        """Give a page that is shared a frame of its own, and leave the old one to the child."""
        with self.pt_lock, atomic():
            shared = self.pte[gfn] != NONE and self.shared[gfn]
        if shared:
            self.start(page_range(gfn))
            with self.pt_lock, atomic():
                old = self.pte[gfn]
                copied = old != NONE and self.shared[gfn]
                if copied:
                    page = self.allocate(gfn, True)
                    note("copy page {gfn} from {old} to {page}")
            self.flush_tlb(page_range(gfn))
            self.end(page_range(gfn))
            if copied:
                with atomic():
                    self.drop_own(old)

    # ---- operations that both eras have, as they are today

    def reclaim(self):
        """Swap any page out."""
        with atomic():
            gfn = choose(0, PAGES)
            note("reclaim page {gfn}")
        self.reclaim_page(gfn)

    def reclaim_page(self, gfn):
        """Swap a page out: tell the client, clear the PTE under the reverse map's lock, free the frame."""
        with self.page_lock[gfn]:
            page = self.unmap_page(gfn)
            if page != NONE:
                with atomic():
                    self.drop_own(page)

    def unmap_page(self, gfn):
        """Put a swap entry in the place of a PTE; return the frame that it had, or NONE."""
        with self.rmap_lock[gfn].read():
            self.start(page_range(gfn))
            with self.pt_lock, atomic():
                page = self.pte[gfn]
                if page == NONE:
                    note("PTE {gfn} is empty")
                else:
                    note("clear and flush PTE {gfn}, swap entry in its place")
                    self.pte[gfn] = NONE
                    self.pte_writable[gfn] = False
                    self.swapped[gfn] = True
            self.flush_tlb(page_range(gfn))
            self.end(page_range(gfn))
        return page

    # ---- operations of today alone

    def migrate(self):
        """Move any page to another frame."""
        with atomic():
            gfn = choose(0, PAGES)
            note("migrate page {gfn}")
        self.migrate_page(gfn)

    def migrate_page(self, gfn):
        """Move a page to another frame, unless somebody else holds it."""
        with self.page_lock[gfn]:
            page = self.unmap_page(gfn)
            if page != NONE:
                with self.pt_lock, atomic():
                    if not self.swapped[gfn]:
                        note("page {gfn} has gone meanwhile")
                        self.drop_own(page)
                    elif self.refs[page] > 1:
                        note("{page} is held: back to PTE {gfn}")
                        self.swapped[gfn] = False
                        self.pte[gfn] = page
                    else:
                        self.swapped[gfn] = False
                        new = self.allocate(gfn, False)
                        note("copy page {gfn} from {page} to {new}")
                        self.drop_own(page)

    def fork(self):
        """Share the pages of any range with a child, read-only."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("fork shares pages [{start}, {end})")
        self.fork_range(span(start, end))

    def fork_range(self, r):
        """Write-protect the PTEs of a range; the child has a reference of each frame."""
        with self.mmap_lock.write():
            self.start(r)
            for gfn in r:
                with self.pt_lock, atomic():
                    page = self.pte[gfn]
                    if page == NONE:
                        note("PTE {gfn} is empty")
                    else:
                        note("write-protect PTE {gfn}")
                        self.refs[page] += 1
                        self.pte_writable[gfn] = False
                        self.shared[gfn] = True
            self.flush_tlb(r)
            self.end(r)

    def cow(self):
        """Let the CPU write to any page."""
        with atomic():
            gfn = choose(0, PAGES)
            note("the CPU writes to page {gfn}")
        self.write_page(gfn)

    def write_page(self, gfn):
        """Copy a page that is shared, as its owner writes to it."""
        with self.mmap_lock.read():
            if given("fork"):
                if given("mprotect"):
                    with atomic():
                        refused = self.read_only[gfn]
                        note("look whether page {gfn} may be written to")
                    if not refused:
                        self.copy_page(gfn)
                else:
                    self.copy_page(gfn)

    def oom_reap(self):
        """Unmap any range of a process that is to die, without waiting for anybody."""
        with atomic():
            start = choose(0, PAGES)
            end = choose(start + 1, PAGES + 1)
            note("the OOM reaper unmaps pages [{start}, {end})")
        self.reap_range(span(start, end))

    def reap_range(self, r):
        """Unmap a range unless something would have to wait."""
        with self.mmap_lock.try_read() as got:
            if got:
                self.reap(non_blockable(r))

    def reap(self, r):
        """Unmap a range unless the client refuses; a subscription that refuses is all that has been told."""
        self.begin(r)
        failed = 0
        if given("invalidate"):
            failed = self.itree_start(r)
            if failed != 0:
                self.itree_end()
        if failed == 0:
            failed = self.start_or_end(r)
        if failed == 0:
            self.clear(r)
            self.end(r)
        else:
            self.close(r)

    def start_or_end(self, r):
        """Call the client's start, and its end at once if start refuses: it should have none then."""
        failed = self.call_start(r)
        if given("invalidate_range_end"):
            if failed != 0:
                self.tell_end(r)
        return failed
