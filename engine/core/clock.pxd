from libc.stdint cimport int64_t, uint64_t

from engine.core.atomic cimport adm_peek
from engine.core.layout cimport adm_clock


cdef extern from "clock.h" nogil:
    int64_t adm_monotonic_ns()
    int64_t adm_realtime_ns()
    uint64_t adm_ticks()
    bint adm_ticks_are_invariant()
    int64_t adm_scale(uint64_t ticks, uint64_t multiplier)
    uint64_t adm_ratio(uint64_t ns, uint64_t ticks)


ctypedef struct timebase:
    const int64_t *manual_ns    # NULL: real time
    const int64_t *manual_wall_ns   # how far a manual wall clock is ahead of manual_ns
    adm_clock *shared           # the arena's


cdef inline int64_t clock_ns(const timebase *base) noexcept nogil:
    """Nanoseconds now: of the manual clock where there is one, else of the arena's."""
    cdef int64_t ticks
    if base.manual_ns != NULL:
        return base.manual_ns[0]
    if adm_peek(&base.shared.ticking):
        ticks = <int64_t>(adm_ticks() - base.shared.base_ticks)
        if ticks >= 0:
            return base.shared.base_ns + adm_scale(<uint64_t>ticks, base.shared.multiplier)
    return adm_monotonic_ns()


cdef inline int64_t wall_offset_ns(const timebase *base) noexcept nogil:
    """How far UTC is ahead of the arena's time.

    The wall clock is read first: whoever is held up in between gets too little, so what he expects of UTC comes late, not early.
    """
    cdef int64_t wall_ns
    if base.manual_ns != NULL:
        return base.manual_wall_ns[0]
    wall_ns = adm_realtime_ns()
    return wall_ns - clock_ns(base)


cdef void start_clock(adm_clock *clock)
cdef void check_clock(const timebase *base) noexcept nogil


cdef class ManualClock:
    cdef int64_t now_ns
    cdef int64_t wall_ns        # ahead of now_ns
