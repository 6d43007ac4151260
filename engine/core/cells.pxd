# An array of permit words that grows by segments, so that a cell never moves while somebody holds it.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.layout cimport ADM_FREE, ADM_HELD, ADM_SEGMENTS, adm_cells
from engine.core.permit cimport (
    permit_expired, permit_expiry, permit_generation, permit_pack, permit_status, permit_with_status,
)


ctypedef struct cells:
    adm_word *at[8]
    uint32_t ends[8]        # cells in this segment and those before it

ctypedef struct grant:
    uint64_t word           # the permit; zero: none was free
    adm_word *cell
    uint32_t index


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


cdef inline bint take_cell(const cells *array, uint32_t limit, uint32_t first, uint32_t owner, int64_t now_ns, int64_t life_ns,
                           grant *given) noexcept nogil:
    """Take one of the first `limit` cells for `owner`; the permit lives `life_ns` (zero: as long as its owner)."""
    cdef uint32_t expiry = permit_expiry(now_ns, life_ns)
    cdef uint64_t seen
    cdef uint32_t step
    given.index = first if first < limit else 0
    for step in range(limit):
        given.cell = cell_at(array, given.index)
        seen = adm_load(given.cell)
        if not is_held(seen, now_ns):
            given.word = permit_pack(ADM_HELD, owner, permit_generation(seen) + 1, expiry)
            if adm_cas(given.cell, seen, given.word):
                return True
        given.index += 1
        if given.index == limit:
            given.index = 0
    given.word = 0
    return False


cdef inline bint settle_cell(adm_word *cell, uint64_t word) noexcept nogil:
    """Free a cell. False where its permit is not held any more: settled before, expired and taken over, or repaired."""
    return adm_cas(cell, word, permit_with_status(word, ADM_FREE))


cdef inline void move_count(adm_word *count, int64_t by) noexcept nogil:
    """Add to a count of cells, or take from it as far as it goes."""
    cdef uint64_t seen
    while True:
        seen = adm_load(count)
        if adm_cas(count, seen, seen + <uint64_t>by if by >= 0 or seen >= <uint64_t>-by else 0):
            return
