from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_load, adm_word
from engine.core.view cimport adm_view


cdef enum:
    CRITICAL = 0
    NORMAL = 2
    SHEDDABLE = 4


ctypedef struct wish:
    uint32_t owner
    uint32_t rank           # class of the work: CRITICAL to SHEDDABLE
    bint revocable          # the place may be given to a higher class
    int64_t life_ns         # of the permit; zero: as long as its owner, or a day where it is revocable
    int64_t deadline_ns     # time left for all of the work; zero: any

ctypedef struct seating:
    uint64_t word           # the permit; zero: none
    adm_word *cell
    uint32_t index
    uint32_t in_flight      # permits when it was granted, this one included
    bint by_revoking        # there is room only by shedder_revoke, once every other rule has admitted
    int64_t wait_ns         # refused: how long until a place may be free; zero: not known


cdef uint32_t shedder_enter(adm_view *view, const wish *wanted, int64_t now_ns, bint keep, seating *given) noexcept nogil
cdef bint shedder_revoke(adm_view *view, const wish *wanted, int64_t now_ns, seating *given) noexcept nogil
cdef bint shedder_give_back(adm_view *view, const seating *held) noexcept nogil
cdef bint shedder_leave(adm_view *view, const seating *held, bint learn, bint failed, int64_t duration_ns,
                        int64_t now_ns) noexcept nogil
cdef uint32_t shedder_limit(adm_view *view, int64_t now_ns) noexcept nogil


cdef inline bint shedder_holds(const adm_word *cell, uint64_t word) noexcept nogil:
    """Whether a permit that was not reported yet is still held: neither revoked nor taken back from a dead owner."""
    return adm_load(cell) == word
