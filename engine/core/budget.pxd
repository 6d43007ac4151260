from libc.stdint cimport int64_t, uint64_t

from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.layout cimport adm_budget_params


cdef inline int64_t budget_take(adm_word *balance, const adm_budget_params *params, int64_t now_ns, bint keep) noexcept nogil:
    """Zero where there was a retry to be had (and it was taken, if `keep`), else the nanoseconds until there is one."""
    cdef uint64_t word
    cdef int64_t full_at_ns
    while True:
        word = adm_load(balance)
        full_at_ns = max(<int64_t>word, now_ns) + params.interval_ns
        if full_at_ns - now_ns > params.depth_ns:
            return full_at_ns - now_ns - params.depth_ns
        if not keep or adm_cas(balance, word, <uint64_t>full_at_ns):
            return 0


cdef inline int64_t budget_give(adm_word *balance, int64_t amount_ns, int64_t now_ns) noexcept nogil:
    """Put in what `amount_ns` of time brings, as far as there is room. The time that went in."""
    cdef uint64_t word
    cdef int64_t given_ns
    while True:
        word = adm_load(balance)
        given_ns = min(amount_ns, <int64_t>word - now_ns)
        if given_ns <= 0:
            return 0
        if adm_cas(balance, word, word - <uint64_t>given_ns):
            return given_ns


cdef inline void budget_take_back(adm_word *balance, const adm_budget_params *params, int64_t given_ns,
                                  int64_t now_ns) noexcept nogil:
    """Undo a deposit, as far as nobody has spent it meanwhile."""
    cdef uint64_t word
    cdef int64_t level_ns
    while given_ns:
        word = adm_load(balance)
        level_ns = max(<int64_t>word, now_ns)
        if adm_cas(balance, word, <uint64_t>min(level_ns + given_ns, max(level_ns, now_ns + params.depth_ns))):
            return


cdef inline int64_t budget_remaining(const adm_word *balance, const adm_budget_params *params, int64_t now_ns) noexcept nogil:
    """Whole retries that could be taken now."""
    cdef int64_t spent_ns = max(<int64_t>adm_load(balance) - now_ns, 0)
    return max((params.depth_ns - spent_ns) // params.interval_ns, 0)
