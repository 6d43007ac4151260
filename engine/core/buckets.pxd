from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_word
from engine.core.window cimport tally


cdef uint64_t buckets_append(adm_word *buckets, int64_t bucket_ns, uint32_t generation, bint failed, bint slow,
                             int64_t now_ns) noexcept nogil
cdef tally buckets_tally(const adm_word *buckets, int64_t bucket_ns, uint32_t generation, int64_t now_ns) noexcept nogil
cdef void buckets_copy(const adm_word *old, int64_t old_bucket_ns, adm_word *new, int64_t new_bucket_ns,
                       int64_t now_ns) noexcept nogil
