# SPDX-License-Identifier: Apache-2.0
"""Model the core of the notifiers: the list that a client is on, its walk, its end, and the end of the mm.

Plan language, model dialect: read by unpinned, never run. Source: the behaviour of mm/mmu_notifier.c and of exit_mmap()
in Linux 6.12, described in docs/model.md. What the core did before stands in cores.py.

A system has the list only if the client can leave it: by exit, or by what the client itself calls.
"""

from unpinned.mm.primary import Primary
from unpinned.plan.language import Flag, SpinLock, Srcu, all_pages
from unpinned.plan.modelling import PAGES, VCPUS, atomic, check, cover, given, note, wait


class Core(Primary):
    """The list of the mm's clients, of which there is one, and who takes it off."""

    list_lock = SpinLock()  # of the list; its readers are in sections of srcu instead
    linked = Flag(init=True)  # the client is on the list
    srcu = Srcu()
    left = Flag()  # mmu_notifier_unregister() has returned: the client may free all that it has

    # ---- the walk of the list

    def find(self):
        """Tell whether the list has the client."""
        with atomic():
            found = self.linked
            if found:
                note("the client is on the list")
                self.still_there()
            else:
                note("the list is empty")
        return found

    def still_there(self):
        """Check that a client which is called is not one that has been told that it is called no more."""
        if given("mmu_notifier_unregister"):
            cover("rule:lifetime")
            check("lifetime", not self.left, "the client is called, and mmu_notifier_unregister() has returned")

    def called(self):
        """See the client return."""
        if given("mmu_notifier_unregister"):
            with atomic():
                note("the client returns")
                self.still_there()

    def walk_start(self, r):
        """Call invalidate_range_start() of the client if it is on the list."""
        failed = 0
        with self.srcu.read():
            found = self.find()
            if found:
                failed = self.client.invalidate_range_start(r)
                self.called()
        return failed

    def walk_end(self, r):
        """Call invalidate_range_end() of the client if it is on the list."""
        with self.srcu.read():
            found = self.find()
            if found:
                self.client.invalidate_range_end(r)
                self.called()

    def walk_page(self, gfn):
        """Call invalidate_page() of the client if it is on the list."""
        with self.srcu.read():
            found = self.find()
            if found:
                self.client.invalidate_page(gfn)
                self.called()

    def walk_tlbs(self, r):
        """Call arch_invalidate_secondary_tlbs() of the client if it is on the list."""
        with self.srcu.read():
            found = self.find()
            if found:
                self.client.arch_invalidate_secondary_tlbs(r)
                self.called()

    # ---- who takes the client off the list

    def unlink(self):
        """Take the client off the list, unless it is off."""
        with self.list_lock, atomic():
            if self.linked:
                note("take the client off the list")
            else:
                note("the client is off the list already")
            self.linked = False

    def release_list(self):
        """Release the client, and only then take it off the list: until then it hears of every page that goes."""
        with self.srcu.read():
            found = self.find()
            if found:
                with atomic():
                    note("call release()")
                self.client.release()
                self.called()
            self.unlink()
        self.srcu.synchronize()

    def mmu_notifier_unregister(self):
        """Release the client, take it off the list, and wait until nobody is calling it."""
        found = self.find()
        if found:
            with self.srcu.read():
                with atomic():
                    note("call release()")
                self.client.release()
            self.unlink()
        self.srcu.synchronize()
        self.leave()

    def leave(self):
        """Say to the client that it is called no more."""
        with atomic():
            note("mmu_notifier_unregister() returns")
            self.left = True

    # ---- the end of the mm

    def exit(self):
        """End the mm when its last thread is gone: release the client, then free all pages.

        Faults are run by threads of the process, so that none is under way, and no later one gets a page.
        """
        with atomic():
            for cpu in VCPUS:
                wait(not self.hw.faulting[cpu])
            note("the last thread of the process is gone")
            for gfn in PAGES:
                self.unmapped[gfn] = True
        self.mmu_notifier_release()
        self.unmap(all_pages())

    def mmu_notifier_release(self):
        """Tell all clients that the mm goes."""
        self.release_list()
