from libc.stdint cimport int64_t, uint32_t

from engine.core.admit cimport request, verdict
from engine.core.arena cimport Arena
from engine.core.breaker cimport outcome, pass_
from engine.core.cells cimport grant
from engine.core.chaos cimport injection
from engine.core.keys cimport subject
from engine.core.shedder cimport seating
from engine.core.view cimport adm_view
from engine.core.waiting cimport Waiter


ctypedef struct stay:
    uint32_t owner          # row that was granted the permit; zero: nothing to report, or reported
    int64_t start_ns
    uint32_t tokens         # taken from the rate limit
    subject who             # whose tokens
    grant permit            # of the bulkhead
    pass_ gate              # of the breaker
    seating seat            # of the shedder


cdef class Policy:
    cdef readonly Arena arena
    cdef readonly str name
    cdef readonly uint32_t row
    cdef Permit nothing_to_report
    cdef Permit lone        # of the `with` block that was entered while none was open
    cdef list held          # of those entered since

    cdef bint enter(self, const request *asked, stay *inside, verdict *given) except -1
    cdef bint settle_cost(self, stay *inside, actual) except -1
    cdef bint leave(self, stay *inside, outcome how)
    cdef void set_refusal(self, const verdict *given) noexcept
    cdef Permit constant(self)
    cdef Permit granted(self, const stay *inside, const verdict *given)
    cdef Refusal refused(self, const verdict *given)
    cdef PolicyWaiter waiter(self, max_wait, cost, key, priority, attempt, deadline, revocable)
    cdef Permit enter_block(self)
    cdef Permit find_block(self)
    cdef bint leave_block(self, error) except 0


cdef class Permit:
    cdef Policy policy
    cdef void *block        # the `with` block it belongs to
    cdef uint32_t _would_refuse
    cdef injection _inject
    cdef bint needs_no_report
    cdef stay inside


cdef class Refusal:
    cdef Policy policy
    cdef uint32_t _reason
    cdef uint32_t _rule
    cdef uint32_t _level
    cdef int64_t wait_ns


cdef class PolicyWaiter(Waiter):
    cdef Policy policy
    cdef object key             # whose bytes the request borrows
    cdef request asked
    cdef int64_t deadline_ns    # what the caller had left when it began; zero: as much as it takes
    cdef stay inside
    cdef verdict given

    cdef bint settle(self) noexcept
    cdef void look_at(self, const adm_view *view) noexcept nogil
    cdef int64_t bounded_ns(self, int64_t patient_ns) noexcept nogil


cdef outcome outcome_of(error)
