# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Model the interval notifier: a device that retries its fault if its subscription was invalidated meanwhile.

Plan language, model dialect: read by unpinned, never run. The core's sequence number is odd while an invalidation of
the subscription is under way, and even otherwise: twice `generation`, and one more while `frozen`. The subscription
(one, over all pages) holds the number of the invalidation that it saw last, which is always odd; so here it holds the
generation alone. A fault that reads the core's own number there has come into the midst of that invalidation, and waits
for its end; and one that finds another number than it read, once it holds the device's lock, has missed an
invalidation, and begins anew. The device's `invalidate` callback must store the number under that lock, whatever else
it does.

The peers' models in benchmarks/peers/ have the same steps under the same numbers. As in kvm-seq a frame is free if it
has no owner, and the rule is that an spte maps a frame that its page owns.
"""

from unpinned.plan.language import Counter, Flag, PerPage, SpinLock
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
    lowest,
    wait,
)


class Interval(Model):
    """The scheme as it is meant: the callback stores the number of the invalidation."""

    core_lock = SpinLock()  # of the core's list of subscriptions
    generation = Counter(bits=4, init=1)
    frozen = Flag()
    active = Counter(bits=2)  # invalidations under way

    user_lock = SpinLock()  # the device's
    seen = Counter(bits=4)  # the subscription's generation
    spte = PerPage(Pfn())

    pte = PerPage(Pfn())
    owner = PerFrame(GfnField())  # of the page that a frame was allocated for the gfn + 1, of a free frame 0

    # ---- devices

    def device(self):
        """Access pages for ever."""
        while True:
            with atomic():  # d0
                gfn = choose(0, PAGES)
            while True:
                with atomic():  # d1
                    if self.spte[gfn] != NONE:
                        check("stale-use", self.owner[self.spte[gfn]] == gfn + 1, "a device reaches another's frame")
                        break
                seq = self.read_begin()  # d2 to d5
                page = self.get_user_page(gfn)  # d6
                with self.user_lock:  # d7
                    with atomic():  # d8: read_retry
                        fresh = self.seen == seq
                    if fresh:
                        self.spte[gfn] = page  # d9
                # d10 drops user_lock

    def read_begin(self):
        """Return the subscription's generation, once the invalidation that stored it is over."""
        with self.core_lock, atomic():  # d2, d3
            seq = self.seen
            busy = self.frozen and seq == self.generation
        # d4 drops core_lock
        if busy:
            with atomic():  # d5
                wait(not self.frozen or self.generation != seq)
        return seq

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

    # ---- invalidations

    def invalidate(self, times):
        """Free a page's frame, so many times."""
        done = 0
        while True:
            self.once()
            done += 1
            if done == times:
                return

    def invalidate_for_ever(self):
        """Free a page's frame again and again."""
        while True:
            self.once()

    def once(self):
        """Free a page's frame."""
        with atomic():  # i0
            gfn = choose(0, PAGES)
        cur = self.start()  # i1 to i3
        self.callback(gfn, cur)  # i4 to i7
        with atomic():  # i8
            old = self.pte[gfn]
            self.pte[gfn] = NONE
        with atomic():  # i9
            if old != NONE:
                self.owner[old] = 0
        self.end()  # i10 to i12

    def start(self):
        """Make the number odd, and return its generation."""
        with self.core_lock, atomic():  # i1, i2
            self.active += 1
            self.frozen = True
            cur = self.generation
        # i3 drops core_lock
        return cur  # noqa: RET504

    def callback(self, gfn, cur):
        """Store the number, and clear the page's spte."""
        with self.user_lock:  # i4
            self.seen = cur  # i5
            self.spte[gfn] = NONE  # i6
        # i7 drops user_lock

    def end(self):
        """Make the number even again, if no other invalidation is under way."""
        with self.core_lock, atomic():  # i10, i11
            self.active -= 1
            if self.active == 0:
                self.generation += 1
                self.frozen = False
        # i12 drops core_lock


class IntervalForgetful(Interval):
    """A callback that clears the spte and does not store the number: a fault that is under way maps a freed page."""

    def callback(self, gfn, cur):  # noqa: ARG002
        """Clear the page's spte."""
        with self.user_lock:  # i4
            self.spte[gfn] = NONE  # i6
        # i7 drops user_lock
