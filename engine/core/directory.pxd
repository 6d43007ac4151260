from libc.stdint cimport int64_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.layout cimport adm_params


cdef int64_t find(Arena arena, const char *name, uint64_t size) noexcept nogil
cdef bint read_params(Arena arena, uint64_t published, adm_params *params) noexcept nogil
