"""Waiting for what a rule refused: a line of waiters for each policy in a process, and a bell between processes.

The bell. A word of the policy's directory row says until when somebody looks, and one futex serves the arena:

    waiting_until   arena time, ms; zero: nobody waits      beside the word that every decision reads anyway
    freed           counts what was given back              on a line of its own, the futex

    waiter   reads `freed`, moves waiting_until ahead, fences, asks;  refused: sleeps while `freed` is what it read
    giver    gives back, looks at waiting_until;                      not zero: adds one to `freed`, wakes the row's waiters

One of the two sees the other (atomic.h). So nobody pays for waiting but the givers of a policy that is waited for; for all others it is
one load of a line that they have at hand. A row wakes by one of 31 marks, so others are seldom disturbed. A giver who finds waiting_until
in the past clears it: a waiter that was killed costs some wakes for 128 ms and leaves nothing wrong. No sleep is longer than
64 ms, so a lost wake, had there been one, would be a delay, and permits of the dead are found by sweeping. Who was woken in vain looks again after
1, 2, 4... ms: somebody may have held the permit for an instant and handed it back without ringing, as every refusal of a later rule does.

The line. Waiters of one policy, and of one key where the rate limit is keyed, threads and tasks alike, stand in one line in each process. Its head
alone asks and sleeps on the bell: a thread in the futex, without the GIL; a task in its event loop, woken by a watcher thread that sleeps for
all tasks of the process and arena, or directly where the permit comes back in the same process. Those behind sleep until they lead:
first in, first out in a process; between processes whoever is first. Whoever finds a line goes behind it; try_acquire does not look at lines and
may overtake. A head that has overstayed its time by SLACK, because its event loop stands still, is passed over.

Leaving is one function for every end: admitted, refused, out of time, cancelled, interrupted, raised. It unlinks, frees the place in the
queue and wakes the next head, who asks for itself. So nobody's wake is lost with him, and a cancelled waiter holds nothing: a permit is
taken in the very step that returns it.

The queue. A waiter of a bulkhead with a queue holds a place, a cell like a permit's (cells.pxd), stamped with its owner and expiring with its
wait. Repair frees it when its process died.

`guard` is held for a few pointers at a time and never while Python code can run: no allocation, no call, no last reference dropped.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
    PyThread_type_lock,
)
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_fence, adm_load, adm_note, adm_peek, adm_word
from engine.core.cells cimport cells, settle_cell, take_cell
from engine.core.clock cimport adm_monotonic_ns, clock_ns
from engine.core.permit cimport permit_owner

import _thread
import sys
import threading

cdef int64_t MS = 1000000
cdef int64_t SLICE_NS = 64 * MS                 # the longest sleep
cdef int64_t FIRST_SLICE_NS = MS                # after a wake in vain, and between looks at a manual clock
cdef uint64_t AHEAD_MS = 128                    # how far a waiter announces itself, at least SLICE_NS
cdef int64_t SLACK_NS = 1000 * MS
cdef int64_t WATCH_NS = 1000 * MS               # how long a watcher stays when no task waits
cdef uint32_t ROW_MARKS = 31
cdef uint32_t WATCHERS = <uint32_t>1 << 31      # the mark by which watchers are woken to look at whom they watch for
cdef double LONGEST_WAIT_S = 86400


cdef bell bell_of(Arena arena, uint32_t index) noexcept nogil:
    cdef bell ours
    ours.waiting_until = &arena.row(index).waiting_until
    ours.freed = &arena.header.freed
    ours.mark = <uint32_t>1 << (index % ROW_MARKS)
    ours.time = &arena.time
    return ours


cdef void ring_out(const bell *ours) noexcept nogil:
    """Wake the waiters of a row."""
    cdef uint64_t until_ms = adm_load(ours.waiting_until)
    cdef uint64_t freed = adm_load(ours.freed)
    adm_cas(ours.freed, freed, freed + 1)       # where somebody else was faster, it has changed all the same
    adm_futex_wake(ours.freed, ours.mark)
    if until_ms != 0 and until_ms < <uint64_t>(clock_ns(ours.time) // MS):
        adm_cas(ours.waiting_until, until_ms, 0)


cdef void ring_published(const bell *ours) noexcept nogil:
    """The same after a change that was a store."""
    adm_fence()
    ring(ours)


cdef void announce(const bell *ours, int64_t now_ns) noexcept nogil:
    """Say that somebody looks for another slice, before looking."""
    cdef uint64_t now_ms = <uint64_t>(now_ns // MS)
    cdef uint64_t until_ms
    while True:
        until_ms = adm_load(ours.waiting_until)
        if until_ms > now_ms + <uint64_t>(SLICE_NS // MS) or adm_cas(ours.waiting_until, until_ms, now_ms + AHEAD_MS):
            break
    adm_fence()


cdef int64_t wait_ns_of(max_wait) except? -2:
    """The nanoseconds in a `max_wait` in seconds; -1 for None. Raises TypeError, and ValueError out of range."""
    cdef double wait_s
    if max_wait is None:
        return -1
    if isinstance(max_wait, bool) or not isinstance(max_wait, (int, float)):
        raise TypeError(f"max_wait = {max_wait!r}: must be a number of seconds or None")
    wait_s = max_wait
    if not (isfinite(wait_s) and 0 <= wait_s <= LONGEST_WAIT_S):
        raise ValueError(f"max_wait = {max_wait!r}: must be from 0 to {LONGEST_WAIT_S:.0f} seconds")
    return <int64_t>(wait_s * 1e9)


@cython.final
cdef class Lines:
    """The lines of one arena in this process, and who of their heads the watcher wakes."""

    cdef PyThread_type_lock guard
    cdef dict lines             # Line by its key
    cdef set armed              # tasks
    cdef adm_word armed_count   # for the watcher, who has no GIL
    cdef adm_word marks         # of those who are armed
    cdef bint watched

    def __cinit__(self):
        self.lines = {}
        self.armed = set()
        self.guard = PyThread_allocate_lock()
        if self.guard == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.guard != NULL:
            PyThread_free_lock(self.guard)

    cdef void hold(self) noexcept:
        if not PyThread_acquire_lock(self.guard, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(self.guard, WAIT_LOCK)

    cdef void let_go(self) noexcept:
        PyThread_release_lock(self.guard)

    cdef void note_armed(self) noexcept:
        adm_note(&self.armed_count, len(self.armed))


cdef Lines _lines_of(Arena arena):
    if arena.lines is None:
        with arena.guard:
            if arena.lines is None:
                arena.lines = Lines()
    return arena.lines


cdef Waiter _unlink(Lines lines, Arena arena, Waiter waiter):
    """Take a waiter out of its line, under the guard; whoever leads now where he led before, else None."""
    cdef Line line = waiter.line
    cdef bint led = line.head is waiter
    if waiter.ahead is not None:
        waiter.ahead.behind = waiter.behind
    else:
        line.head = waiter.behind
    if waiter.behind is not None:
        waiter.behind.ahead = waiter.ahead
    else:
        line.tail = waiter.ahead
    waiter.ahead = waiter.behind = None
    waiter.line = None
    arena.queued -= 1
    if line.head is None:
        del lines.lines[line.key]
    return line.head if led else None


cdef void hand_on(Arena arena, uint32_t row) noexcept:
    """Wake a task at the head of a policy's line without a detour: something was given back in its own process."""
    cdef Lines lines = arena.lines
    cdef Line line
    cdef Waiter head = None
    if lines is None or arena.queued == 0:
        return
    key = (row, 0)
    lines.hold()
    line = <Line>lines.lines.get(key)
    if line is not None and line.head.armed:
        head = line.head
    lines.let_go()
    if head is not None:
        head.disarm()
        head.poke()


@cython.final
cdef class Line:
    """Those of one process who wait for one policy and subject, in the order in which they came."""


cdef class Waiter:
    """One who wants to be admitted and may wait for it: a coroutine, or by `wait_here` a thread."""

    cdef bint ask(self, bint again) except -1:
        """Ask once, `again` where it was refused before. True: settled. Else `until_ns` and `again_ns` say how long to wait."""
        raise NotImplementedError

    cdef int64_t patience_ns(self) except -1:
        """How long it may wait for whichever rule refuses; zero where none may be waited for."""
        raise NotImplementedError

    cdef bint take_place(self) except -1:
        """Take a place in the queue, where there is one. False, and settled as refused, where it is full."""
        raise NotImplementedError

    cdef void turn_away(self, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept:
        """Settle: refused, for that reason."""

    cdef object answer(self):
        """The verdict that it settled for."""
        raise NotImplementedError

    cdef bint hold_place(self, const cells *array, uint32_t queue, int64_t life_ns) noexcept:
        return take_cell(array, queue, 0, self.arena.owner, clock_ns(&self.arena.time), life_ns, &self.place)

    # ---- the line ----

    cdef bint begin(self) except -1:
        """Ask, behind those who wait already. True: settled at once. Else it stands in line, to be left by `leave`."""
        cdef bint stands = False
        self.since_ns = clock_ns(&self.arena.time)
        self.ours = bell_of(self.arena, self.row)
        self.slice_ns = SLICE_NS
        if self.arena.queued and self.patience_ns() > 0:
            self.until_ns = self.since_ns + self.patience_ns()
            stands = self.join(False)
        if not stands:
            if self.ask(False):
                return True
            self.join(True)
        try:
            if self.take_place():
                return False
        except BaseException:
            self.leave()
            raise
        self.leave()
        return True

    cdef bint join(self, bint always) except -1:
        """Stand at the end of the line; where there is none make one, if `always`. Whether it stands."""
        cdef Lines lines = _lines_of(self.arena)
        cdef Line made = Line.__new__(Line)
        cdef Line line
        cdef Waiter passed = None
        cdef Waiter head = None
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        made.key = (self.row, self.subject)
        made.reason, made.rule, made.wait_ns = self.reason, self.rule, self.wait_ns
        lines.hold()
        line = <Line>lines.lines.get(made.key)
        if line is not None and line.head.until_ns + SLACK_NS < now_ns:
            passed = line.head
            head = _unlink(lines, self.arena, passed)
            line = <Line>lines.lines.get(made.key)
        if line is None and always:
            line = lines.lines[made.key] = made
        if line is not None:
            self.line = line
            self.ahead = line.tail
            if line.tail is None:
                line.head = self
            else:
                line.tail.behind = self
            line.tail = self
            self.arena.queued += 1
        lines.let_go()
        if head is not None:
            head.poke()
        return self.line is not None

    cdef bint leads(self) noexcept:
        cdef Lines lines = self.arena.lines
        cdef bint found
        if lines is None:       # forgotten by a fork
            return False
        lines.hold()
        found = self.line is not None and self.line.head is self
        lines.let_go()
        return found

    cdef void leave(self) noexcept:
        """Leave the line, wherever it stands in it, and the queue; whoever leads now is told."""
        cdef Lines lines = self.arena.lines
        cdef Waiter head = None
        if lines is not None and self.line is not None:
            lines.hold()
            if self.line is not None:
                head = _unlink(lines, self.arena, self)
            lines.let_go()
        self.line = None
        # A copy of this waiter in a forked child leaves its parent's place alone.
        if self.place.word and permit_owner(self.place.word) == self.arena.owner:
            settle_cell(self.place.cell, self.place.word)
        self.place.word = 0
        if head is not None:
            head.poke()

    # ---- asking and sleeping ----

    cdef bint step(self) except -1:
        """Ask where it leads. True: settled. Else `pause_ns` says how long to sleep unless woken."""
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef Line line = self.line
        cdef bint leads = self.leads()
        cdef int64_t wake_ns
        if leads:
            self.seen = adm_load(self.ours.freed)
            announce(&self.ours, now_ns)
            if self.ask(True):
                return True
            line.reason, line.rule, line.wait_ns = self.reason, self.rule, self.wait_ns
        elif now_ns >= self.until_ns or line is None:
            if line is not None:
                self.reason, self.rule, self.wait_ns = line.reason, line.rule, line.wait_ns
            self.turn_away(self.reason, self.rule, self.wait_ns)
            return True
        wake_ns = self.until_ns
        if leads and self.again_ns and self.again_ns < wake_ns:
            wake_ns = self.again_ns
        self.pause_ns = max(wake_ns - now_ns, 1000)
        if leads:
            self.pause_ns = min(self.pause_ns, self.slice_ns)
        if self.arena.time.manual_ns != NULL:
            self.pause_ns = FIRST_SLICE_NS
        return False

    cdef void slept(self, bint rung) noexcept:
        self.slice_ns = FIRST_SLICE_NS if rung else min(2 * self.slice_ns, SLICE_NS)

    cdef void poke(self) noexcept:
        """Wake it: it leads now, or something was given back."""
        turn, future, loop = self.turn, self.future, self.loop
        try:
            if turn is not None:
                turn.release()
            elif future is not None and _running_loop() is loop:
                _wake(future, True)
            elif future is not None:
                loop.call_soon_threadsafe(_wake, future, True)
        except RuntimeError:        # that loop is closed, and its task will never ask
            self.leave()

    cdef bint sleep(self) except -1:
        """As a thread: until the bell rings, or until it leads, for `pause_ns` at most."""
        cdef bint rung = False
        if self.leads():
            with nogil:
                rung = adm_futex_wait(self.ours.freed, self.seen, self.pause_ns, self.ours.mark)
            PyErr_CheckSignals()
            self.slept(rung)
        else:
            self.turn.acquire(True, self.pause_ns / 1e9)
        return True

    cdef object wait_here(self):
        """Wait in this thread for the verdict. Raises RuntimeError where that would stop an event loop that runs in it."""
        if self.begin():
            return self.answer()
        try:
            if _running_loop() is not None:
                raise RuntimeError("acquire_sync would block the event loop of this thread: await acquire() instead")
            self.turn = _thread.allocate_lock()
            self.turn.acquire()
            while not self.step():
                self.sleep()
        finally:
            self.leave()
        return self.answer()

    async def _wait(self):
        """Wait in the running event loop for the verdict."""
        try:
            import asyncio
            self.loop = asyncio.get_running_loop()
            while True:
                # Before it looks: whoever wakes it from now on finds something to wake.
                self.future = self.loop.create_future()
                if self.step():
                    break
                timer = self.loop.call_later(self.pause_ns / 1e9, _wake, self.future, False)
                try:
                    self.arm()
                    rung = await self.future
                finally:
                    timer.cancel()
                    self.disarm()
                self.slept(rung)
        finally:
            self.future = None
            self.leave()
        return self.answer()

    # ---- the watcher ----

    cdef bint arm(self) except -1:
        """Have the watcher wake it, where it leads. What came back since it asked wakes it now."""
        cdef Lines lines = self.arena.lines
        cdef bint start = False
        cdef bint widen = False
        if lines is None or not self.leads():
            return False
        lines.hold()
        lines.armed.add(self)
        self.armed = True
        lines.note_armed()
        widen = not adm_peek(&lines.marks) & self.ours.mark
        adm_note(&lines.marks, adm_peek(&lines.marks) | self.ours.mark)
        if not lines.watched:
            lines.watched = start = True
        lines.let_go()
        if start:
            _start_watcher(lines, self.arena, self.seen)
        elif widen:
            adm_cas(self.ours.freed, self.seen, self.seen + 1)
            adm_futex_wake(self.ours.freed, WATCHERS)
        elif adm_load(self.ours.freed) != self.seen:
            _wake(self.future, True)
        return True

    cdef void disarm(self) noexcept:
        cdef Lines lines = self.arena.lines
        if lines is None or not self.armed:
            return
        lines.hold()
        if self.armed:
            self.armed = False
            lines.armed.discard(self)
            lines.note_armed()
        lines.let_go()

    # ---- a coroutine in all but type ----

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.resume(None)

    def send(self, value):
        """Resume the coroutine with `value`."""
        return self.resume(value)

    cdef object resume(self, value):
        if not self.begun:
            self.begun = True
            if self.begin():
                raise StopIteration(self.answer())
            self.inner = self._wait()
            return self.inner.send(None)
        if self.inner is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return self.inner.send(value)

    def throw(self, kind, value=None, trace=None):
        """Resume the coroutine with an exception."""
        if self.inner is None:
            self.begun = True
            raise kind if value is None else value
        return self.inner.throw(kind) if value is None and trace is None else self.inner.throw(kind, value, trace)

    def close(self):
        """End the coroutine where it stands."""
        self.begun = True
        if self.inner is not None:
            self.inner.close()


cdef object _running_loop():
    """The event loop that runs in this thread, or None; a program that never imported asyncio has none."""
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio._get_running_loop()


def _wake(future, rung):
    if not future.done():
        future.set_result(rung)


cdef _start_watcher(Lines lines, Arena arena, uint64_t seen):
    try:
        threading.Thread(target=_watch, args=(lines, arena, seen), name="admittance waiting", daemon=True).start()
    except RuntimeError:        # no more threads: tasks look when their slice is over
        lines.watched = False


cdef bint _sleep_for_tasks(Lines lines, adm_word *freed, uint64_t *seen) noexcept nogil:
    """Sleep until something was given back while tasks wait (True), or until none has waited for a while."""
    cdef int64_t idle_since_ns = adm_monotonic_ns()
    cdef uint64_t now
    while adm_monotonic_ns() - idle_since_ns < WATCH_NS:
        adm_futex_wait(freed, seen[0], SLICE_NS, <uint32_t>adm_peek(&lines.marks) | WATCHERS)
        now = adm_load(freed)
        if adm_peek(&lines.armed_count):
            idle_since_ns = adm_monotonic_ns()
            if now != seen[0]:
                seen[0] = now
                return True
        seen[0] = now
    return False


def _watch(Lines lines, Arena arena, uint64_t seen):
    """Sleep on the bell for every task of this process at the head of a line; end when there was none for a while."""
    cdef adm_word *freed = &arena.header.freed
    cdef bint rung
    cdef Waiter waiter
    while True:
        with nogil:
            rung = _sleep_for_tasks(lines, freed, &seen)
        none = set()
        lines.hold()
        if not rung and not lines.armed:
            lines.watched = False
            adm_note(&lines.marks, 0)
            lines.let_go()
            return
        armed, lines.armed = lines.armed, none
        lines.let_go()
        for waiter in armed:
            waiter.disarm()     # it may have armed itself anew: then it is woken for that
            waiter.poke()
        armed = none = waiter = None
