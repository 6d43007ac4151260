from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_cas, adm_load
from engine.core.bucket cimport bucket_take
from engine.core.keys cimport subject
from engine.core.layout cimport adm_rate
from engine.core.view cimport adm_view


cdef inline int64_t limiter_take(adm_view *view, const subject *who, int64_t now_ns, uint32_t cost, bint keep) noexcept nogil:
    """Zero where `cost` tokens were there (and were taken, if `keep`), else the nanoseconds until they are.

    The caller has checked that `cost` is at most the burst, and that there is a key where the rule is keyed.
    """
    if view.params.rate_limit.keyed:
        return limiter_book_key(view, who, now_ns, cost, keep, 0)
    return limiter_book(view, &view.params.rate_limit.rate, now_ns, cost, keep, 0)


cdef inline int64_t limiter_book(adm_view *view, const adm_rate *rate, int64_t now_ns, uint32_t cost, bint keep,
                                 int64_t patience_ns) noexcept nogil:
    """The nanoseconds until the tokens are there; where that is at most `patience_ns` they are taken, if `keep`."""
    cdef uint64_t word, after
    cdef int64_t wait_ns
    while True:
        word = adm_load(view.level)
        wait_ns = bucket_take(word, rate, view.time, now_ns, cost, &after)
        if wait_ns > patience_ns or not keep or adm_cas(view.level, word, after):
            return wait_ns


cdef int64_t limiter_book_key(adm_view *view, const subject *who, int64_t now_ns, uint32_t cost, bint keep,
                              int64_t patience_ns) noexcept nogil
cdef void limiter_adjust(adm_view *view, const subject *who, int64_t now_ns, int64_t taken_ns, int64_t more) noexcept nogil
cdef int64_t limiter_remaining(adm_view *view, const subject *who, int64_t now_ns) noexcept nogil
