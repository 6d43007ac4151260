from libc.stdint cimport int64_t, uint32_t

from engine.core.layout cimport adm_adaptive_params, adm_estimate


cdef double estimate_limit(const adm_estimate *state, const adm_adaptive_params *params) noexcept nogil
cdef void estimate_record(adm_estimate *state, const adm_adaptive_params *params, int64_t duration_ns, uint32_t in_flight,
                          bint dropped, int64_t now_ns) noexcept nogil
