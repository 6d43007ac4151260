from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_word


ctypedef struct grant:
    uint64_t word       # the permit; zero: none was free
    uint32_t cell


cdef grant bulkhead_take(adm_word *cells, uint32_t limit, uint32_t first, uint32_t owner, int64_t now_ns,
                         int64_t life_ns) noexcept nogil
cdef bint bulkhead_settle(adm_word *cell, uint64_t word) noexcept nogil
cdef bint bulkhead_has_room(const adm_word *cells, uint32_t limit, int64_t now_ns) noexcept nogil
cdef uint32_t bulkhead_in_use(const adm_word *cells, uint32_t capacity, int64_t now_ns) noexcept nogil
