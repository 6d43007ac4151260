from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_word
from engine.core.cells cimport cells
from engine.core.layout cimport adm_bulkhead_params


ctypedef struct grant:
    uint64_t word       # the permit; zero: none was free
    adm_word *cell
    uint32_t index


cdef bint take_cell(const cells *array, uint32_t limit, uint32_t first, uint32_t owner, int64_t now_ns,
                    int64_t life_ns, grant *given) noexcept nogil
cdef bint bulkhead_take(const cells *array, const adm_bulkhead_params *params, uint32_t first, uint32_t owner,
                        int64_t now_ns, int64_t life_ns, grant *given) noexcept nogil
cdef bint bulkhead_settle(adm_word *cell, uint64_t word) noexcept nogil
cdef bint bulkhead_settle_in_time(adm_word *cell, uint64_t word, int64_t now_ns) noexcept nogil
cdef bint bulkhead_has_room(const cells *array, const adm_bulkhead_params *params, int64_t now_ns) noexcept nogil
cdef uint32_t bulkhead_in_use(const cells *array, int64_t now_ns) noexcept nogil
