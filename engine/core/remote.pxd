from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.admit cimport request, verdict
from engine.core.arena cimport Arena
from engine.core.breaker cimport outcome
from engine.core.token cimport token
from engine.core.view cimport adm_view

cdef enum result:
    SETTLED = 1             # by the numbers of the wire
    ALREADY_SETTLED = 2
    VOID = 3
    EXTENDED = 4


ctypedef struct report:
    outcome how
    int64_t duration_ns     # negative: not measured
    int64_t actual_cost     # tokens; negative: not said


cdef bint remote_issue(Arena arena, adm_view *view, int64_t now_ns, const request *asked, const verdict *given,
                       token *name) noexcept nogil
cdef void remote_withdraw(Arena arena, const token *name, int64_t now_ns) noexcept nogil
cdef result remote_extend(Arena arena, const token *name, int64_t life_ns, int64_t now_ns, bint *revoked) noexcept nogil
cdef result remote_settle(Arena arena, const token *name, const report *said, int64_t now_ns, bint *revoked) except *
cdef uint32_t remote_in_use(Arena arena, int64_t now_ns) noexcept nogil
