from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_word
from engine.core.layout cimport adm_event


ctypedef struct journal:
    adm_word *next          # number of the next event
    adm_event *events       # the ring


cdef inline journal journal_of(Arena arena) noexcept nogil:
    cdef journal book
    book.next = &arena.header.journal_next
    book.events = <adm_event *>(arena.base + arena.journal_at)
    return book


cdef void journal_add(const journal *book, uint32_t change, uint32_t row, uint32_t generation, uint64_t value,
                      int64_t now_ns) noexcept nogil
