from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_count
from engine.core.layout cimport (
    ADM_HISTOGRAM_BUCKETS, ADM_HISTOGRAM_FIRST, ADM_HISTOGRAM_OCTAVES, ADM_HISTOGRAM_STEPS, adm_histogram,
)


cdef extern from *:
    int __builtin_clzll(unsigned long long word) noexcept nogil


cdef inline uint32_t histogram_bucket(int64_t duration_ns) noexcept nogil:
    """The bucket of a duration of at least 0."""
    cdef uint64_t before = <uint64_t>duration_ns - 1    # because a bucket holds its upper bound and not its lower one
    cdef uint32_t octave
    if duration_ns <= <int64_t>1 << ADM_HISTOGRAM_FIRST:
        return 0
    if before >> (ADM_HISTOGRAM_FIRST + ADM_HISTOGRAM_OCTAVES):
        return ADM_HISTOGRAM_BUCKETS - 1
    octave = 63 - __builtin_clzll(before)
    return (octave - ADM_HISTOGRAM_FIRST - 1) * ADM_HISTOGRAM_STEPS + 1 + <uint32_t>(before * ADM_HISTOGRAM_STEPS >> octave)


cdef inline void histogram_record(adm_histogram *histogram, int64_t duration_ns) noexcept nogil:
    adm_count(&histogram.counts[histogram_bucket(duration_ns)], 1)


cdef void histogram_sum(const adm_histogram *histogram, uint64_t *counts) noexcept nogil
