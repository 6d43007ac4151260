from libc.stdint cimport uint32_t, uint64_t

from engine.core.atomic cimport adm_word
from engine.core.clock cimport timebase
from engine.core.layout cimport adm_header, adm_owner, adm_row


cdef class Arena:
    cdef char *base                 # start of the region
    cdef adm_header *header
    cdef uint64_t size              # bytes
    cdef uint64_t owners_at         # where things lie, as this process knows it: never read from the file again
    cdef uint64_t rows_at
    cdef uint64_t remote_at
    cdef uint64_t journal_at
    cdef uint64_t heap_at
    cdef timebase time
    cdef uint32_t owner             # this process's row; zero: to be claimed before the next use
    cdef void **views               # adm_view by directory row; NULL: to be made
    cdef void *made                 # every view ever made, a list that is freed with the arena
    cdef adm_word remote_hint       # where this process looks first for a free remote permit
    cdef uint32_t forks             # private arenas: forks between the creator and this process
    cdef int users                  # engines of this process that opened the arena
    cdef int lock_fd
    cdef int lock_depth             # how often this process holds the init lock
    cdef object lines               # waiting.Lines: who waits for a policy in this process; None: nobody has yet
    cdef uint32_t queued            # how many do
    cdef object hot_key             # the key that was hashed last; then its bytes and its hash
    cdef const void *hot_bytes
    cdef uint64_t hot_size
    cdef uint64_t hot_hash[2]
    cdef object guard               # keeps the slow paths of this process's threads apart
    cdef object manual
    cdef readonly object path
    cdef object __weakref__

    cdef void *at(self, uint64_t offset, uint64_t bytes) noexcept nogil
    cdef adm_owner *owner_row(self, uint32_t row) noexcept nogil
    cdef adm_row *row(self, uint32_t index) noexcept nogil
    cdef uint64_t allot(self, uint64_t bytes) except 0
    cdef bint claim_owner(self) except -1
    cdef bint lock_owner(self, uint32_t row) except -1
    cdef void unlock_owner(self, uint32_t row)
