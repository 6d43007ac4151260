from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.cells cimport cell_at, cells, grant, is_held, settle_cell
from engine.core.layout cimport ADM_HELD, adm_bulkhead_params
from engine.core.permit cimport permit_expired, permit_expiry, permit_generation, permit_pack


cdef bint bulkhead_search(const cells *array, const adm_bulkhead_params *params, uint32_t first, uint32_t owner,
                          int64_t now_ns, int64_t life_ns, grant *given) noexcept nogil
cdef bint bulkhead_has_room(const cells *array, const adm_bulkhead_params *params, int64_t now_ns) noexcept nogil
cdef uint32_t bulkhead_in_use(const cells *array, int64_t now_ns) noexcept nogil


cdef inline bint bulkhead_take(const cells *array, const adm_bulkhead_params *params, uint32_t first, uint32_t owner,
                               int64_t now_ns, int64_t life_ns, grant *given) noexcept nogil:
    """Take a permit for `owner` that lives `life_ns` (zero: as long as its owner), where it was lucky last or elsewhere."""
    cdef uint64_t seen
    if first < params.limit and params.high == params.limit:
        given.index = first
        given.cell = cell_at(array, first)
        seen = adm_load(given.cell)
        given.word = permit_pack(ADM_HELD, owner, permit_generation(seen) + 1, permit_expiry(now_ns, life_ns))
        if not is_held(seen, now_ns) and adm_cas(given.cell, seen, given.word):
            return True
    return bulkhead_search(array, params, first, owner, now_ns, life_ns, given)


cdef inline bint bulkhead_settle(adm_word *cell, uint64_t word) noexcept nogil:
    """Give a permit back. False where it is not held any more: settled before, expired and taken over, or repaired."""
    return settle_cell(cell, word)


cdef inline bint bulkhead_settle_in_time(adm_word *cell, uint64_t word, int64_t now_ns) noexcept nogil:
    """Give a permit back. False, though it is free now, also where it had expired and nobody had noticed."""
    return bulkhead_settle(cell, word) and not permit_expired(word, now_ns)
