# SPDX-License-Identifier: Apache-2.0
"""Model what the core of the notifiers did before: how it released a client and took it off the list.

Plan language, model dialect: read by unpinned, never run. A plan asks for one by `core = '...'`: the commit that left
the core so, or the year. What stands here replaces the methods of core.py; all the rest is as today, so that sections
are of SRCU where the kernel had RCU. Written from the descriptions of those commits.
"""

from unpinned.mm.core import Core
from unpinned.plan.modelling import atomic, check, cover, note


class Core2008(Core):
    """The core until 2012: the client is off the list before it is released."""

    def release_list(self):
        """Take the client off the list, then release it."""
        with self.srcu.read():
            self.unlink_then_release()
        self.srcu.synchronize()

    def mmu_notifier_unregister(self):
        """Take the client off the list unless it is off, release it, and wait until nobody is calling it."""
        with self.srcu.read():
            self.unlink_then_release()
        self.srcu.synchronize()
        self.leave()

    def unlink_then_release(self):
        """Take the client off the list; whoever did so releases it."""
        with self.list_lock, atomic():
            mine = self.linked
            self.linked = False
            if mine:
                note("take the client off the list")
            else:
                note("the client is off the list already")
        if mine:
            with atomic():
                note("call release()")
            self.client.release()
            self.called()


class Core3ad3d901bbcf(Core):
    """The core of 3ad3d901bbcf (2012): release comes first, and unregister takes off what may be off already."""

    def mmu_notifier_unregister(self):
        """Release the client if it is on the list, take it off without another look, and wait."""
        with self.list_lock, atomic():
            found = self.linked
            if found:
                note("the client is on the list")
            else:
                note("the list is empty")
        if found:
            with self.srcu.read():
                with atomic():
                    note("call release()")
                self.client.release()
            with self.list_lock, atomic():
                note("take the client off the list")
                cover("rule:lifetime")
                check("lifetime", self.linked, "the client is taken off a list that it is not on")
                self.linked = False
        self.srcu.synchronize()
        self.leave()


class Core751efd8610d3(Core2008):
    """The core of 751efd8610d3 (2013): one of the two releases the client, and it is off the list by then."""
