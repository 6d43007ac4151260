from libc.stdint cimport uint64_t

from engine.core.arena cimport Arena
from engine.core.layout cimport ADM_HISTOGRAM_BUCKETS, adm_histogram, adm_meter, adm_row


ctypedef struct durations:
    uint64_t counts[ADM_HISTOGRAM_BUCKETS]
    uint64_t sum_ns         # of what the buckets count, and of calls that ended while they were read
    bint complete           # whether every meter that counts outcomes has a histogram


cdef adm_meter *meter_of(Arena arena, adm_row *row, bint timed) except NULL
cdef adm_histogram *meter_histogram(Arena arena, const adm_meter *meter) noexcept nogil
cdef void meter_sum(Arena arena, adm_row *row, uint64_t *counts, durations *took) noexcept nogil
