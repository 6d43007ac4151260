"""Time as every process of an arena sees it.

All times in an arena are int64 nanoseconds, read once per admission and once per report. Asking the kernel for CLOCK_MONOTONIC
costs more than a whole decision, so where the processor's time-stamp counter is invariant and the kernel itself keeps time by
it, an arena's time is CLOCK_MONOTONIC as it was when the arena was made, carried on by the counter. The scale stands in the
arena's header: all processes compute the same time.

The kernel goes on steering CLOCK_MONOTONIC (by 500 ppm at most), the counter runs free. They are compared whenever a process attaches and with
every sweep: where they differ by more than 1 ms and 1,000 ppm of the arena's age, as after a suspend or a move to another machine, the
arena falls back to CLOCK_MONOTONIC for good. That can move time by the difference; levels then stand still until it has
caught up, and nothing is refilled early.

A ManualClock takes the place of either in tests; decisions take the time as an argument and never ask.
"""

from libc.stdint cimport int64_t, uint64_t

from engine.core.atomic cimport adm_peek, adm_publish
from engine.core.layout cimport adm_clock

cdef int64_t CALIBRATION_NS = 10 * 1000000
cdef int64_t SLACK_NS = 1000000
cdef int64_t SLACK_RATIO = 1000         # of the age: 1,000 ppm


ctypedef struct sample:
    uint64_t ticks
    int64_t ns
    uint64_t width      # ticks that passed while the kernel was asked


cdef sample _look() noexcept nogil:
    """Both clocks at one instant: of eight looks the one that the least came in between."""
    cdef sample best, one
    cdef uint64_t before
    cdef int i
    best.width = ~<uint64_t>0
    best.ticks = best.ns = 0
    for i in range(8):
        before = adm_ticks()
        one.ns = adm_monotonic_ns()
        one.width = adm_ticks() - before
        one.ticks = before + one.width // 2
        if one.width < best.width:
            best = one
    return best


# Looked at when the module is loaded, so that an arena is seldom kept waiting for its calibration.
cdef sample _loaded = _look()


cdef bint _kernel_trusts_ticks():
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource") as file:
            return adm_ticks_are_invariant() and file.read().strip() == "tsc"
    except OSError:
        return False


cdef void start_clock(adm_clock *clock):
    """Calibrate the counter for a new arena, within 10 ms; without a trustworthy one the clock stays CLOCK_MONOTONIC."""
    cdef sample now
    if not _kernel_trusts_ticks():
        return
    now = _look()
    while now.ns - _loaded.ns < CALIBRATION_NS:
        now = _look()
    clock.multiplier = adm_ratio(<uint64_t>(now.ns - _loaded.ns), now.ticks - _loaded.ticks)
    clock.base_ticks = now.ticks
    clock.base_ns = now.ns
    adm_publish(&clock.ticking, 1)


cdef void check_clock(const timebase *base) noexcept nogil:
    """Fall back to CLOCK_MONOTONIC where the counter has left it."""
    cdef int64_t now_ns, apart_ns
    if base.manual_ns != NULL or not adm_peek(&base.shared.ticking):
        return
    now_ns = adm_monotonic_ns()
    apart_ns = clock_ns(base) - now_ns
    if apart_ns < 0:
        apart_ns = -apart_ns
    if apart_ns > SLACK_NS + (now_ns - base.shared.base_ns) // SLACK_RATIO:
        adm_publish(&base.shared.ticking, 0)


cdef class ManualClock:
    """A clock that stands still until it is told to move.

    `start` is in seconds and must be positive, as a monotonic clock is.
    """

    def __cinit__(self, start=1000.0):
        self.now_ns = <int64_t>round(start * 1e9)
        if self.now_ns <= 0:
            raise ValueError(f"start = {start!r}: must be greater than 0 seconds")

    def advance(self, seconds):
        """Move by `seconds`; a negative step imitates a clock that went back."""
        self.now_ns += <int64_t>round(seconds * 1e9)

    def step_wall(self, seconds):
        """Step the wall clock alone by `seconds`; it starts as `start` seconds after 1970-01-01 UTC."""
        self.wall_ns += <int64_t>round(seconds * 1e9)

    @property
    def seconds(self):
        """The current time in seconds."""
        return self.now_ns / 1e9
