from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_look, adm_word
from engine.core.cells cimport cells, grant
from engine.core.clock cimport timebase


cdef extern from "futex.h" nogil:
    bint adm_futex_wait(adm_word *word, uint64_t seen, int64_t pause_ns, uint32_t marks)
    void adm_futex_wake(adm_word *word, uint32_t marks)


# What those who wait for one policy and those who give something back to it have in common.
ctypedef struct bell:
    adm_word *waiting_until     # of the policy's row
    adm_word *freed             # of the arena
    uint32_t mark               # one bit of 31, by the row: whom of all waiters of the arena it wakes
    const timebase *time


cdef bell bell_of(Arena arena, uint32_t index) noexcept nogil
cdef void announce(const bell *ours, int64_t now_ns) noexcept nogil
cdef void ring_out(const bell *ours) noexcept nogil


cdef inline bint ring(const bell *ours) noexcept nogil:
    """Wake those who wait, if anybody does. To be called after something was given back."""
    if not adm_look(ours.waiting_until):
        return False
    ring_out(ours)
    return True


cdef void ring_published(const bell *ours) noexcept nogil
cdef void hand_on(Arena arena, uint32_t row) noexcept
cdef int64_t wait_ns_of(max_wait) except? -2


cdef class Line:
    cdef tuple key          # directory row, identity of the subject
    cdef Waiter head
    cdef Waiter tail
    cdef uint32_t reason    # why its head was refused last
    cdef uint32_t rule
    cdef int64_t wait_ns


cdef class Waiter:
    cdef Arena arena
    cdef bell ours
    cdef uint32_t row
    cdef uint64_t subject       # for whose tokens it waits; zero: of no key in particular
    cdef int64_t asked_ns       # how long the caller is willing to wait; negative: as the rules say
    cdef int64_t since_ns
    cdef int64_t until_ns       # when it is refused at the latest
    cdef int64_t again_ns       # before this time it is not worth asking again unless the bell rings; zero: unknown
    cdef uint32_t reason        # why it was refused last
    cdef uint32_t rule
    cdef int64_t wait_ns
    cdef grant place            # in the queue
    cdef Line line
    cdef Waiter ahead
    cdef Waiter behind
    cdef uint64_t seen          # of `freed`, before it asked
    cdef int64_t slice_ns
    cdef int64_t pause_ns
    cdef bint begun
    cdef bint armed             # the watcher wakes it
    cdef object turn            # of a thread: a lock that is released when it leads
    cdef object loop            # of a task
    cdef object future          # what the task awaits
    cdef object inner           # the coroutine that waits

    # What a policy or a primitive says:
    cdef bint ask(self, bint again) except -1
    cdef int64_t patience_ns(self) except -1
    cdef bint take_place(self) except -1
    cdef void turn_away(self, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept
    cdef object answer(self)

    # How it is done:
    cdef bint hold_place(self, const cells *array, uint32_t queue, int64_t life_ns) noexcept
    cdef bint begin(self) except -1
    cdef bint join(self, bint always) except -1
    cdef bint leads(self) noexcept
    cdef object resume(self, value)
    cdef void leave(self) noexcept
    cdef bint step(self) except -1
    cdef void slept(self, bint rung) noexcept
    cdef void poke(self) noexcept
    cdef bint sleep(self) except -1
    cdef bint arm(self) except -1
    cdef void disarm(self) noexcept
    cdef object wait_here(self)
