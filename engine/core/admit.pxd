from libc.stdint cimport int64_t, uint32_t

from engine.core.arena cimport Arena
from engine.core.breaker cimport outcome, pass_
from engine.core.bulkhead cimport grant
from engine.core.keys cimport subject
from engine.core.view cimport adm_view


ctypedef struct verdict:
    uint32_t reason         # adm_reason; ADM_OK: admitted
    uint32_t rule           # adm_rule that refused
    int64_t wait_ns         # refused: how long until it is worth asking again
    grant permit            # of the bulkhead
    pass_ gate              # of the breaker


cdef inline void refuse(verdict *given, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept nogil:
    given.reason = reason
    given.rule = rule
    given.wait_ns = wait_ns


cdef void judge(adm_view *view, uint32_t owner, int64_t now_ns, const subject *who, uint32_t cost, int64_t life_ns, bint keep,
                verdict *given) noexcept nogil
cdef bint judge_and_sweep(Arena arena, adm_view *view, uint32_t owner, int64_t now_ns, const subject *who, uint32_t cost,
                          int64_t life_ns, verdict *given) except -1
cdef void hand_back(adm_view *view, const verdict *given, const subject *who, uint32_t cost, int64_t now_ns) noexcept nogil
cdef void count_verdict(adm_view *view, const verdict *given) noexcept nogil
cdef void count_outcome(adm_view *view, bint valid, outcome how, int64_t duration_ns) noexcept nogil
