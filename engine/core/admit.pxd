from libc.stdint cimport int64_t, uint32_t

from engine.core.arena cimport Arena
from engine.core.breaker cimport outcome, pass_
from engine.core.cells cimport grant
from engine.core.chaos cimport injection
from engine.core.keys cimport subject
from engine.core.shedder cimport seating
from engine.core.view cimport adm_view

cdef enum:
    PRIORITY_CRITICAL = 1   # by the numbers of the wire
    PRIORITY_NORMAL = 3
    PRIORITY_SHEDDABLE = 5


ctypedef struct request:
    subject who             # whose tokens; an id of zero: nobody's
    uint32_t cost           # tokens
    uint32_t priority       # PRIORITY_CRITICAL to PRIORITY_SHEDDABLE
    uint32_t attempt        # 1: the first; more: a retry
    bint revocable          # whether somebody more important may take the place while the work runs
    int64_t deadline_ns     # what the caller has left; zero: as much as it takes, less: too late already
    int64_t life_ns         # of the permits; zero: as the rules say

ctypedef struct verdict:
    uint32_t reason         # adm_reason; ADM_OK: admitted
    uint32_t rule           # adm_rule that refused
    uint32_t would_refuse   # adm_reason of the first shadow rule that would have
    uint32_t level          # refused as degraded: the level of service to give
    uint32_t tokens         # taken from the rate limit
    int64_t budget_ns       # taken from the balance of the retry budget; less than zero: put in
    int64_t wait_ns         # refused: how long until it is worth asking again
    injection inject        # by a chaos experiment
    grant permit            # of the bulkhead
    pass_ gate              # of the breaker
    seating seat            # of the shedder


cdef inline request plain() noexcept nogil:
    """The request of a caller that says nothing about it."""
    cdef request asked
    asked.who.id = 0
    asked.who.home = 0
    asked.who.bytes = NULL
    asked.who.size = 0
    asked.cost = 1
    asked.priority = PRIORITY_NORMAL
    asked.attempt = 1
    asked.revocable = False
    asked.deadline_ns = 0
    asked.life_ns = 0
    return asked


cdef inline void refuse(verdict *given, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept nogil:
    given.reason = reason
    given.rule = rule
    given.level = 0
    given.wait_ns = wait_ns


cdef void judge(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep, verdict *given) noexcept nogil
cdef bint judge_and_sweep(Arena arena, adm_view *view, uint32_t owner, int64_t now_ns, const request *asked,
                          verdict *given) except -1
cdef bint judge_again(Arena arena, adm_view *view, uint32_t owner, int64_t now_ns, const request *asked,
                      verdict *given) except -1
cdef int64_t patience_ns(const adm_view *view, const verdict *given, int64_t asked_ns) noexcept nogil
cdef int64_t longest_patience_ns(const adm_view *view, int64_t asked_ns) noexcept nogil
cdef void hand_back(adm_view *view, const verdict *given, const request *asked, int64_t now_ns) noexcept nogil
cdef void count_verdict(adm_view *view, const verdict *given) noexcept nogil
cdef void count_outcome(adm_view *view, bint valid, outcome how, int64_t duration_ns, int64_t now_ns) noexcept nogil
