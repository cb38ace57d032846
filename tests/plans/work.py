# SPDX-License-Identifier: Apache-2.0
"""Plans that leave something to a work item: each holds, or breaks as its comment says."""

from unpinned import MAPPED, REPLAY, Counter, Flag, Mutex, Object, SecondaryMMU, SpinLock, WorkItem, all_pages


class Handler(SecondaryMMU):
    """A handler that is run as work uses what deregistering frees, once it is cancelled: holds."""

    own = ("deregister",)
    operations = ("zap",)
    mmu_lock = SpinLock()
    mutex = Mutex()
    count = Counter(bits=3)
    seq = Counter()
    gone = Flag()
    mr = Object()
    work = WorkItem("handle")

    def invalidate_range_start(self, r):
        with self.mmu_lock:
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.mmu_lock:
            self.seq += 1
            self.count -= 1

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
        self.work.cancel_sync()
        self.mr.free()

    def handle(self):
        with self.mutex:
            self.mr.use()

    def page_fault(self, gfn, write):
        with self.mmu_lock:
            if not self.gone:
                self.work.queue()
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Flushed(Handler):
    """What was queued before is waited for: holds."""

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
        self.work.flush()
        self.mr.free()


class NotWaitedFor(Handler):
    """It frees what the handler may use: lifetime."""

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
        self.mr.free()


class CancelledEarly(Handler):
    """It cancels before it says that it is gone: a fault queues the work anew, lifetime."""

    def deregister(self):
        self.work.cancel_sync()
        with self.mmu_lock:
            self.gone = True
        self.mr.free()


class CancelledUnderItsMutex(Handler):
    """It waits for the work under the mutex that the work takes: deadlock."""

    def deregister(self):
        with self.mutex:
            self.gone = True
            self.work.cancel_sync()


class CancelledUnderSpinlock(Handler):
    """It waits under a spinlock: sleep-in-atomic."""

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
            self.work.cancel_sync()


class FlushesItself(Handler):
    """The work waits for itself: deadlock, of a CPU that is no operation."""

    def handle(self):
        self.work.flush()


class KeepsPages(Handler):
    """The work gets a page and does not put it: leak. Beside munmap it ends where the page is gone."""

    operations = ("zap", "munmap")

    def handle(self):
        for gfn in all_pages():
            self.get_user_page(gfn, False)


class LeftToTheWork(Handler):
    """A fault is replayed until the work has run, which is not for ever: holds."""

    ready = Flag()

    def handle(self):
        self.ready = True

    def page_fault(self, gfn, write):
        if not self.ready:
            self.work.queue()
            return REPLAY
        return super().page_fault(gfn, write)

    def deregister(self):
        self.work.flush()


class NeverLeftToTheWork(LeftToTheWork):
    """The same, and the work does nothing: progress."""

    def handle(self):
        with self.mutex:
            pass
