# SPDX-License-Identifier: Apache-2.0
"""nouveau's svm: a process goes away while its faults are handled.

Faults of the GPU stand in a buffer, and work handles them. It looks up to
which svmm each belongs under a mutex, drops it, and goes on with the
svmm. One process and its svmm are here; the retry of the interval
notifier is written as a count and a sequence number.
"""

from unpinned import *


class NouveauSvm(SecondaryMMU):
    """The handler maps what stands in the buffer. Shown for munmap."""

    own = ("fini",)
    operations = ("munmap",)
    waive = {"progress": "the guest goes on when its svmm is gone"}

    svm_mutex = Mutex()
    joined = Flag(init=True)
    svmm = Object()

    svmm_mutex = Mutex()
    seq = Counter()
    range_count = Counter(bits=3)
    buffer = PerPage(Flag())
    fault_work = WorkItem("svm_fault")

    def invalidate_range_start(self, r):
        with self.svmm_mutex:
            self.range_count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.svmm_mutex:
            self.seq += 1
            self.range_count -= 1

    def page_fault(self, gfn, write):
        self.buffer[gfn] = True
        self.fault_work.queue()
        return REPLAY

    def svm_fault(self):
        with self.svm_mutex:
            found = self.joined
        if found:
            for gfn in all_pages():
                if self.buffer[gfn]:
                    self.buffer[gfn] = False
                    self.range_fault(gfn)

    def range_fault(self, gfn):
        seq = self.seq
        page = self.get_user_page(gfn, True)
        with self.svmm_mutex:
            if self.seq == seq and self.range_count == 0:
                self.svmm.use()
                self.map(gfn, page, True)
        self.put_page(page)

    def fini(self):
        with self.svm_mutex:
            self.joined = False
        with self.svmm_mutex:
            self.zap(all_pages())
        self.svmm.free()
