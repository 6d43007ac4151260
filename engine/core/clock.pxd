from libc.stdint cimport int64_t


cdef int64_t monotonic_ns() noexcept nogil


cdef inline int64_t clock_ns(const int64_t *manual) noexcept nogil:
    """Nanoseconds of `manual` where there is one, else of the host's monotonic clock."""
    return manual[0] if manual != NULL else monotonic_ns()


cdef class ManualClock:
    cdef int64_t now_ns
