from libc.stdint cimport int64_t

from engine.core.view cimport adm_view


cdef bint throttle_refuses(adm_view *view, int64_t now_ns, bint keep) noexcept nogil
cdef void throttle_record(adm_view *view, bint succeeded, int64_t now_ns) noexcept nogil
