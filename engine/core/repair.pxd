from libc.stdint cimport int64_t

from engine.core.arena cimport Arena


cpdef attach(Arena arena)
cdef int64_t sweep(Arena arena, int64_t now_ns) except -1
