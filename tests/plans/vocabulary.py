# SPDX-License-Identifier: Apache-2.0
"""Plans that use what the language has beside spinlocks and counters: each holds, or breaks as its comment says."""

from unpinned import (
    MAPPED,
    READ_ONCE,
    REPLAY,
    WRITE_ONCE,
    Atomic,
    Counter,
    Flag,
    Mutex,
    PerPage,
    RwLock,
    RwSem,
    SecondaryMMU,
    SpinLock,
    WaitQueue,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
)


class Atomics(SecondaryMMU):
    """Counters that are changed without a lock; the lock only makes the check and the map one with the zap: holds."""

    lock = SpinLock()
    seq = Atomic()
    count = Atomic(bits=3)

    def invalidate_range_start(self, r):
        self.count += 1
        with self.lock:
            self.zap(r)

    def invalidate_range_end(self, r):
        self.seq += 1
        self.count -= 1

    def invalidate_page(self, gfn):
        if self.seq.add_return(1):
            with self.lock:
                self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock:
            stale = self.count or self.seq != seq
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class AtomicsAhead(Atomics):
    """The check reads seq before the count: a whole end falls between, stale-use."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Sides(SecondaryMMU):
    """Faults hold a lock for reading, as today's TDP faults do, and invalidations for writing: holds."""

    lock = RwLock()
    seq = Counter()
    count = Counter(bits=3)

    def invalidate_range_start(self, r):
        with self.lock.write():
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.lock.write():
            self.seq += 1
            self.count -= 1

    def invalidate_page(self, gfn):
        with self.lock.write():
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock.read():
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class SidesAsleep(Sides):
    """The page is got under a lock that is spun on: sleep-in-atomic."""

    def page_fault(self, gfn, write):
        with self.lock.read():
            page = self.get_user_page(gfn, write)
            self.map(gfn, page, write)
        self.put_page(page)
        return MAPPED


class Semaphores(Sides):
    """The same with a semaphore, which invalidations of ranges may sleep on: holds beside zap and munmap."""

    operations = ("zap", "munmap")
    sem = RwSem()

    def invalidate_range_start(self, r):
        with self.sem.write():
            self.count += 1
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.sem.write():
            self.seq += 1
            self.count -= 1

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.sem.try_read() as got:
            stale = not got or self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Tries(SecondaryMMU):
    """A fault that gives way where it does not get the lock at once: holds."""

    lock = SpinLock()
    mutex = Mutex()
    seq = Counter()
    count = Counter(bits=3)

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

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock.trylock() as got:
            stale = not got or self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TriesBoth(Tries):
    """Of two vCPUs that want two locks each gets one, and both replay for ever: progress."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock.trylock() as got, self.mutex.trylock() as other:
            stale = not got or not other or self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TriesInVain(Tries):
    """Whether the lock was got is not looked at: stale-use."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        with self.lock.trylock() as got:
            stale = self.seq != seq or self.count
            if not stale:
                self.map(gfn, page, write)
        self.put_page(page)
        return REPLAY if stale else MAPPED


class TriesAsleep(Tries):
    """It sleeps where it got the spinlock, and only there: sleep-in-atomic."""

    def page_fault(self, gfn, write):
        seq = self.seq
        with self.lock.trylock() as got:
            if not got:
                return REPLAY
            with self.mutex:
                seq = self.seq
        return super().page_fault(gfn, write)


class Gate(SecondaryMMU):
    """Faults share a gate, and start has it alone: below zero faults are inside, above it invalidations.

    A fault is let in while it translates, too: where it meets an invalidation under mmap_lock, both wait: deadlock.
    """

    operations = ("zap", "munmap")
    inside = Atomic(signed=True)
    calm = WaitQueue()
    ended = WaitQueue()

    def invalidate_range_start(self, r):
        self.enter(1)
        self.zap(r)

    def invalidate_range_end(self, r):
        if self.inside.add_return(-1) == 0:
            self.ended.wake_up()

    def enter(self, by):
        while True:
            now = self.inside
            if now < 0 and by > 0:
                self.calm.wait_event(self.inside >= 0)
            elif now > 0 and by < 0:
                self.ended.wait_event(self.inside <= 0)
            elif self.inside.cmpxchg(now, now + by):
                return

    def page_fault(self, gfn, write):
        self.enter(-1)
        page = self.get_user_page(gfn, write)
        self.map(gfn, page, write)
        if self.inside.add_return(1) == 0:
            self.calm.wake_up()
        self.put_page(page)
        return MAPPED


class GateBehind(Gate):
    """The fault translates first, and looks behind the gate whether an invalidation came: holds."""

    seq = Atomic()

    def invalidate_range_end(self, r):
        self.seq += 1
        super().invalidate_range_end(r)

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        self.enter(-1)
        stale = self.seq != seq
        if not stale:
            self.map(gfn, page, write)
        if self.inside.add_return(1) == 0:
            self.calm.wake_up()
        self.put_page(page)
        return REPLAY if stale else MAPPED


class GatePage(GateBehind):
    """Reclaim has to wait at the gate too, and may not, under the spinlock of the reverse map: sleep-in-atomic."""

    operations = ("zap", "munmap", "reclaim")

    def invalidate_page(self, gfn):
        self.enter(1)
        self.zap(gfn)
        self.seq += 1
        if self.inside.add_return(-1) == 0:
            self.ended.wake_up()


class GateSleeping(GatePage):
    """The same where that lock sleeps: holds. So XPMEM wanted it."""

    flavour = "sleeping"


class GateUnrung(GateBehind):
    """Who waits for the faults is never woken: deadlock."""

    def page_fault(self, gfn, write):
        seq = self.seq
        page = self.get_user_page(gfn, write)
        self.enter(-1)
        stale = self.seq != seq
        if not stale:
            self.map(gfn, page, write)
        self.inside += 1
        self.put_page(page)
        return REPLAY if stale else MAPPED


class Ordered(SecondaryMMU):
    """Every word that orders memory, and exchanges: holds."""

    locks = PerPage(SpinLock())
    lock = SpinLock()
    busy = Flag()
    young = PerPage(Flag())
    seq = Counter()
    count = Counter(bits=3)
    last = Atomic(bits=5, signed=True)
    pages = PerPage(Atomic(bits=2))

    def invalidate_range_start(self, r):
        with self.lock:
            WRITE_ONCE(self.count, self.count + 1)
            smp_mb()
            self.zap(r)

    def invalidate_range_end(self, r):
        with self.lock:
            smp_store_release(self.seq, self.seq + 1)
            smp_wmb()
            self.count -= 1

    def invalidate_page(self, gfn):
        with self.lock:
            self.seq += 1
            self.zap(gfn)

    def page_fault(self, gfn, write):
        seq = smp_load_acquire(self.seq)
        smp_rmb()
        page = self.get_user_page(gfn, write)
        if self.busy.xchg(True):
            self.put_page(page)
            return REPLAY
        with self.lock:
            stale = READ_ONCE(self.seq) != seq or READ_ONCE(self.count)
            if not stale and not self.young[gfn].xchg(True):
                self.pages[gfn].xchg(1)
            if self.last.xchg(0 - 1) < 0:
                self.last += 1
            if not stale:
                self.map(gfn, page, write)
        with self.locks[gfn].trylock() as got:
            if got:
                self.pages[gfn].cmpxchg(1, 0)
        self.young[gfn] = False
        self.busy = False
        self.put_page(page)
        return REPLAY if stale else MAPPED
