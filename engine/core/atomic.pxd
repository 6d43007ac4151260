from libc.stdint cimport uint64_t


cdef extern from "atomic.h" nogil:
    ctypedef struct adm_word:
        pass

    uint64_t adm_load(const adm_word *word)
    uint64_t adm_look(const adm_word *word)
    void adm_fence()
    uint64_t adm_peek(const adm_word *word)
    void adm_note(adm_word *word, uint64_t bits)
    void adm_publish(adm_word *word, uint64_t bits)
    bint adm_cas(adm_word *word, uint64_t expected, uint64_t desired)
    bint adm_cas_pair(adm_word *pair, const uint64_t *expected, const uint64_t *desired)
    void adm_count(adm_word *word, uint64_t amount)
