from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.layout cimport adm_params, adm_row


cdef int64_t find(Arena arena, const char *name, uint64_t size) noexcept nogil
cdef uint32_t claim_row(Arena arena, bytes name) except? 0
cdef bint read_params(Arena arena, adm_row *row, uint64_t *published, adm_params *params) noexcept nogil
cdef publish_params(Arena arena, adm_row *row, const adm_params *params)
