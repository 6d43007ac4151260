from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.view cimport adm_view

cdef enum:
    NO_IMPACT = 0
    LATENCY = 1
    ERROR = 2
    ABORT = 3
    HANG = 4


ctypedef struct injection:
    uint32_t impact         # NO_IMPACT: the call goes on unharmed
    uint32_t status         # gRPC status to fail with
    int64_t delay_ns        # to wait before the work


cdef bint chaos_strikes(adm_view *view, const void *key, uint64_t size, int64_t deadline_ns, int64_t now_ns, bint keep,
                        injection *what) noexcept nogil
cdef void chaos_guard(adm_view *view, int64_t now_ns) noexcept nogil
cdef object chaos_told(const injection *what)
