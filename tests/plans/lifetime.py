# SPDX-License-Identifier: Apache-2.0
"""Plans with objects that are freed: by whoever is done with them, by the last reference, or after a grace period.

Each holds, or breaks as its comment says.
"""

from unpinned import (
    MAPPED,
    REPLAY,
    Counter,
    Flag,
    Mutex,
    Object,
    SecondaryMMU,
    SpinLock,
    Srcu,
    all_pages,
    rcu_read_lock,
    synchronize_rcu,
)


class Region(SecondaryMMU):
    """A region that faults use while it is registered, under a lock that deregistering takes: holds."""

    own = ("deregister",)
    operations = ("zap", "munmap")
    mmu_lock = SpinLock()
    count = Counter(bits=3)
    seq = Counter()
    gone = Flag()
    mr = Object()

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
            self.zap(all_pages())
        self.mr.free()

    def look(self):
        with self.mmu_lock:
            if not self.gone:
                self.mr.use()

    def page_fault(self, gfn, write):
        self.look()
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.mmu_lock:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class LooksFirst(Region):
    """It looks whether the region is gone, and then uses it without the lock: lifetime."""

    def look(self):
        gone = self.gone
        if not gone:
            self.mr.use()


class FreesTwice(Region):
    """Two operations free it, each having looked: lifetime."""

    own = ("deregister", "evict")

    def evict(self):
        gone = self.gone
        if not gone:
            self.gone = True
            self.mr.free()


class Counted(Region):
    """Whoever puts the last reference frees; a reference is taken only where there is one: holds."""

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
        if self.mr.put():
            self.mr.free()

    def look(self):
        with self.mmu_lock:
            here = not self.gone
            if here:
                self.mr.get()
        if here:
            self.mr.use()
            if self.mr.put():
                self.mr.free()


class CountedLate(Counted):
    """The reference is taken when the region has been looked up, without the lock: lifetime."""

    def look(self):
        here = not self.gone
        if here:
            self.mr.get()
            if self.mr.put():
                self.mr.free()


class CountedTwice(Counted):
    """Deregistering puts a reference that is not its own: balance, and what a fault uses is freed: lifetime."""

    def deregister(self):
        with self.mmu_lock:
            self.gone = True
        if self.mr.put():
            self.mr.free()
        else:
            self.mr.put()


class Rcu(Region):
    """Faults look in an RCU section, and deregistering waits for those that may have seen it: holds."""

    def deregister(self):
        self.gone = True
        synchronize_rcu()
        self.mr.free()

    def look(self):
        with rcu_read_lock():
            if not self.gone:
                self.mr.use()


class RcuEarly(Rcu):
    """It waits first, and then takes the region away: lifetime."""

    def deregister(self):
        synchronize_rcu()
        self.gone = True
        self.mr.free()


class RcuOutside(Rcu):
    """What was looked up in the section is used behind it: lifetime."""

    def look(self):
        with rcu_read_lock():
            gone = self.gone
        if not gone:
            self.mr.use()


class RcuAsleep(Rcu):
    """It takes a mutex in the section: sleep-in-atomic."""

    mutex = Mutex()

    def look(self):
        with rcu_read_lock():
            with self.mutex:
                if not self.gone:
                    self.mr.use()


class RcuNested(Rcu):
    """A section within another ends nothing: holds."""

    def look(self):
        with rcu_read_lock():
            gone = self.gone
            with rcu_read_lock():
                pass
            if not gone:
                self.mr.use()


class RcuLater(Rcu):
    """Nobody waits: it is freed when the sections are over. A reference is taken only if there is one: holds."""

    def deregister(self):
        self.gone = True
        if self.mr.put():
            self.mr.kfree_rcu()

    def look(self):
        with rcu_read_lock():
            here = False
            if not self.gone:
                here = self.mr.get_unless_zero()
        if here:
            self.mr.use()
            if self.mr.put():
                self.mr.kfree_rcu()


class RcuLaterGets(RcuLater):
    """The reference is taken though there may be none: lifetime."""

    def look(self):
        with rcu_read_lock():
            here = not self.gone
            if here:
                self.mr.get()
        if here and self.mr.put():
            self.mr.kfree_rcu()


class RcuLaterTwice(RcuLater):
    """It is freed twice, be it later: lifetime."""

    def deregister(self):
        self.gone = True
        self.mr.kfree_rcu()
        self.mr.kfree_rcu()

    def look(self):
        pass


class Sleeping(Region):
    """Sections that sleep: holds."""

    srcu = Srcu()
    mutex = Mutex()

    def deregister(self):
        self.gone = True
        self.srcu.synchronize()
        self.mr.free()

    def look(self):
        with self.srcu.read():
            with self.mutex:
                if not self.gone:
                    self.mr.use()


class SleepingLater(Sleeping):
    """The same, and nobody waits: holds."""

    def deregister(self):
        self.gone = True
        self.mr.call_srcu(self.srcu)


class OtherDomain(Sleeping):
    """It waits for the sections of another domain: lifetime."""

    other = Srcu()

    def deregister(self):
        self.gone = True
        self.other.synchronize()
        self.mr.free()


class OwnSection(Sleeping):
    """It waits in its own section: deadlock."""

    def deregister(self):
        with self.srcu.read():
            self.srcu.synchronize()


class WaitsUnderMutex(Sleeping):
    """It waits under the mutex that a section wants: deadlock."""

    def deregister(self):
        with self.mutex:
            self.gone = True
            self.srcu.synchronize()
