from libc.stdint cimport uint32_t, uint64_t

from engine.core.atomic cimport adm_word


ctypedef struct tally:
    uint32_t calls
    uint32_t failures


cdef inline uint32_t window_chunks(uint32_t window) noexcept nogil:
    """Words of a window of that many calls."""
    return (window + 13) // 14


cdef uint32_t window_append(adm_word *cursor, adm_word *chunks, uint32_t window, uint32_t generation,
                            bint failed) noexcept nogil
cdef tally window_tally(adm_word *cursor, adm_word *chunks, uint32_t window, uint32_t generation) noexcept nogil
