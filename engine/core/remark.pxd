from libc.stdint cimport uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_word
from engine.core.layout cimport adm_remark


cdef adm_remark *remark_of(Arena arena, adm_word *place) except NULL
cdef void remark_write(adm_remark *remark, uint64_t of, bytes text)
cdef str remark_read(Arena arena, const adm_word *place, uint64_t of)
