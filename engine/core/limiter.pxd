from libc.stdint cimport int64_t, uint32_t

from engine.core.keys cimport subject
from engine.core.view cimport adm_view


cdef int64_t limiter_take(adm_view *view, const subject *who, int64_t now_ns, uint32_t cost, bint keep) noexcept nogil
cdef void limiter_adjust(adm_view *view, const subject *who, int64_t now_ns, int64_t taken_ns, int64_t more) noexcept nogil
cdef int64_t limiter_remaining(adm_view *view, const subject *who, int64_t now_ns) noexcept nogil
