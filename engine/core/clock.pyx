"""Time as every process of a boot sees it.

All times in an arena are int64 nanoseconds of CLOCK_MONOTONIC, read once per admission and once per
report. A ManualClock takes its place in tests; decisions take the time as an argument and never ask.
"""

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef int64_t monotonic_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


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

    @property
    def seconds(self):
        """The current time in seconds."""
        return self.now_ns / 1e9
