from libc.stdint cimport uint64_t

from engine.core.arena cimport Arena
from engine.core.layout cimport adm_meter, adm_row


cdef adm_meter *meter_of(Arena arena, adm_row *row) except NULL
cdef void meter_sum(Arena arena, adm_row *row, uint64_t *counts) noexcept nogil
