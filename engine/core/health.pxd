from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_load, adm_word

cdef enum:
    UNKNOWN = 0
    HEALTHY = 1
    DEGRADED = 2
    UNHEALTHY = 3


cdef inline int64_t health_stale_ns(uint64_t word) noexcept nogil:
    """When its last result stops counting, in the arena's time."""
    return <int64_t>(word & ((<uint64_t>1 << 40) - 1)) * 1000000


cdef inline uint32_t health_status(uint64_t word, int64_t now_ns) noexcept nogil:
    """What is known now: a result that is too old says nothing."""
    return <uint32_t>(word >> 62) if now_ns < health_stale_ns(word) else <uint32_t>UNKNOWN


cdef inline bint health_refuses(const adm_word *status, int64_t now_ns) noexcept nogil:
    """Whether the check is known to be unhealthy."""
    return health_status(adm_load(status), now_ns) == <uint32_t>UNHEALTHY
