# An array of permit words that grows by segments, so that a cell never moves while somebody holds it.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_load, adm_word
from engine.core.layout cimport ADM_HELD, ADM_SEGMENTS, adm_cells
from engine.core.permit cimport permit_expired, permit_status


ctypedef struct cells:
    adm_word *at[8]
    uint32_t ends[8]        # cells in this segment and those before it


cdef inline adm_word *cell_at(const cells *array, uint32_t index) noexcept nogil:
    """The cell of an index below cells_total."""
    cdef uint32_t first = 0
    cdef uint32_t k = 0
    while index >= array.ends[k]:
        first = array.ends[k]
        k += 1
    return <adm_word *>array.at[k] + (index - first)


cdef inline uint32_t cells_total(const uint32_t *ends) noexcept nogil:
    cdef uint32_t total = 0
    cdef uint32_t k
    for k in range(<uint32_t>ADM_SEGMENTS):
        if ends[k] > total:
            total = ends[k]
    return total


cdef inline cells cells_of(char *base, const adm_cells *described) noexcept nogil:
    cdef cells array
    cdef uint32_t k
    for k in range(<uint32_t>ADM_SEGMENTS):
        array.at[k] = <adm_word *>(base + described.at[k])
        array.ends[k] = described.ends[k]
    return array


cdef inline bint is_held(uint64_t word, int64_t now_ns) noexcept nogil:
    return permit_status(word) == ADM_HELD and not permit_expired(word, now_ns)


cdef inline uint32_t cells_held(const cells *array, uint32_t first, uint32_t end, int64_t now_ns) noexcept nogil:
    """Permits held now in the cells from `first` up to `end`."""
    cdef uint32_t found = 0
    cdef uint32_t i
    for i in range(first, end):
        found += is_held(adm_load(cell_at(array, i)), now_ns)
    return found
