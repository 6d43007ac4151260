from libc.stdint cimport int64_t, uint32_t

from engine.core.layout cimport adm_limiter, adm_limiter_params


cdef int64_t limiter_take(adm_limiter *limiter, const adm_limiter_params *params, int64_t now_ns, uint32_t cost,
                          bint keep) noexcept nogil
cdef void limiter_refund(adm_limiter *limiter, const adm_limiter_params *params, uint32_t cost) noexcept nogil
cdef int64_t limiter_remaining(const adm_limiter *limiter, const adm_limiter_params *params, int64_t now_ns) noexcept nogil
