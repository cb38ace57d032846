# SPDX-License-Identifier: Apache-2.0
"""hfi1's expected receive: TID entries, torn down by their notifier.

The pages are pinned by the driver. The OOM reaper calls with an event of
the kind UNMAP, and may not wait.
"""

from unpinned import *


class TidEntries(SecondaryMMU):
    """The entry is programmed under the mutex that the notifier takes."""

    sptes = "pinned"
    tid_mutex = Mutex()

    def invalidate(self, r, cur_seq):
        with self.tid_mutex:
            self.mmu_interval_set_seq(cur_seq)
            self.zap(r)
        return True

    def page_fault(self, gfn, write):
        seq = self.mmu_interval_read_begin()
        page = self.get_user_page(gfn, write)
        with self.tid_mutex:
            stale = self.mmu_interval_read_retry(seq)
            if not stale:
                self.map(gfn, page, write)
        if stale:
            self.put_page(page)
        return REPLAY if stale else MAPPED
