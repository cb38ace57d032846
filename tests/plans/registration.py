# SPDX-License-Identifier: Apache-2.0
"""Plans of clients that the mm releases, and that leave the list of its notifiers."""

from unpinned import FAULT, MAPPED, REPLAY, Counter, Flag, Mutex, Object, SecondaryMMU, SpinLock, all_pages


class Released(SecondaryMMU):
    """The plan of 2008 with a release that drops all: holds."""

    lock = SpinLock()
    seq = Counter()
    count = Counter()

    def invalidate_range_start(self, r):
        with self.lock:
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.lock:
            self.seq += 1
            self.count -= 1

    def invalidate_page(self, gfn):
        with self.lock:
            self.seq += 1
            self.zap(gfn)

    def release(self):
        with self.lock:
            self.zap(all_pages())

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class KeepsOnRelease(Released):
    """The release drops nothing, and nobody asks later: stale-use."""

    def release(self):
        with self.lock:
            self.seq += 1


class ReleasedFirst(Released):
    """The core of 2008, which takes the client off the list before it is released: stale-use beside reclaim."""

    core = "2008"


class Closed(SecondaryMMU):
    """A client of today that unregisters, and then frees its notifier: holds."""

    era = "current"
    operations = ("zap", "reclaim", "exit")
    own = ("close",)
    mutex = Mutex()
    seq = Counter()
    count = Counter()
    dead = Flag()
    mn = Object()

    def invalidate_range_start(self, r):
        self.mn.use()
        with self.mutex:
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        self.mn.use()
        with self.mutex:
            self.seq += 1
            self.count -= 1

    def release(self):
        self.mn.use()
        with self.mutex:
            self.dead = True
            self.zap(all_pages())

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        result = REPLAY
        with self.mutex:
            if self.dead:
                result = FAULT
            elif self.seq == seq and not self.count:
                self.map(gfn, page, write)
                result = MAPPED
        self.put_page(page)
        return result

    def close(self):
        self.mmu_notifier_unregister()
        self.mn.free()


class ClosedTooSoon(Closed):
    """The notifier is freed before it is off the list: lifetime."""

    def close(self):
        self.mn.free()
        self.mmu_notifier_unregister()


class ClosedAndMapped(Closed):
    """A fault that is under way maps once the client is off the list, and nobody tells it: stale-use."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mutex:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class ClosedTwice(Closed):
    """The core of 2012, whose unregister takes off the list what exit has taken off already: lifetime."""

    core = "3ad3d901bbcf"


class ReleasedFirstAgain(Closed):
    """The core of 2013, in which the client is off the list before it is released: stale-use."""

    core = "751efd8610d3"
