from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load
from engine.core.view cimport adm_view


cdef enum:
    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2
    RECOVERING = 3
    FORCED_OPEN = 4
    FORCED_CLOSED = 5

cdef enum outcome:
    SUCCESS = 1
    FAILURE = 2
    IGNORED = 3


ctypedef struct pass_:
    bint admitted
    uint32_t generation     # of the state that admitted; a report of an older one is void
    uint32_t cell           # of the probe
    uint64_t probe          # the probe's permit; zero: admitted by the closed state
    int64_t wait_ns         # refused: how long until it is worth asking again
    bint probes_are_out     # refused: because others are asking whether it is worth it


cdef enum:
    GENERATION = 0xFFFFFF


cdef inline uint32_t _state(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 61)


cdef inline uint32_t _generation(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 37) & <uint32_t>GENERATION


cdef inline bint breaker_enter(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, pass_ *given) noexcept nogil:
    """Ask to pass. A probe of `owner` lives `life_ns`, at most the probe timeout; zero: the probe timeout."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    given.probe = 0
    given.generation = _generation(seen)
    given.admitted = _state(seen) == <uint32_t>CLOSED
    return given.admitted or breaker_enter_broken(view, owner, now_ns, life_ns, given)


cdef bint breaker_enter_broken(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, pass_ *given) noexcept nogil
cdef bint breaker_leave(adm_view *view, uint32_t generation, uint32_t cell, uint64_t probe, outcome how,
                        int64_t duration_ns, int64_t now_ns) noexcept nogil
cdef bint breaker_would_refuse(adm_view *view, int64_t now_ns, int64_t *wait_ns) noexcept nogil
cdef uint64_t breaker_probe_held(adm_view *view, uint32_t cell, uint32_t generation, uint32_t owner) noexcept nogil


cdef class CircuitBreaker:
    cdef readonly Arena arena
    cdef readonly uint32_t row

    cdef bint _settle_probe(self, adm_view *view, uint64_t seen, outcome how, int64_t now_ns)
