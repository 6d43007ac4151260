from libc.stdint cimport uint32_t, uint64_t

from engine.core.atomic cimport adm_word


ctypedef struct tally:
    uint32_t calls
    uint32_t failures
    uint32_t slow


cdef enum:
    CHUNK = 15              # outcomes of one word
    CHUNKS_MIN = 8          # words of the smallest window: one line


cdef inline uint32_t window_chunks(uint32_t window) noexcept nogil:
    """Words that hold the last `window` calls whatever the filling of the youngest; a power of two."""
    cdef uint32_t chunks = CHUNKS_MIN
    while (chunks - 1) * <uint32_t>CHUNK < window:
        chunks *= 2
    return chunks


cdef uint64_t window_append(adm_word *cursor, adm_word *chunks, uint32_t count, uint32_t generation,
                            bint failed, bint slow) noexcept nogil
cdef tally window_tally(adm_word *cursor, adm_word *chunks, uint32_t count, uint32_t generation,
                        uint32_t window) noexcept nogil
cdef void window_copy(const adm_word *cursor, const adm_word *old, uint32_t old_count, adm_word *new,
                      uint32_t new_count) noexcept nogil
