"""The fused path: one call judges every rule of a policy, one call reports how the work ended.

Order: breaker, bulkhead, rate limit - what is only looked at first, tokens last. Whatever was taken is handed back when a
later rule refuses, so a refusal consumes nothing. One clock read an admission, one a report.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_count
from engine.core.breaker cimport FAILURE, IGNORED, SUCCESS, breaker_enter, breaker_leave, breaker_would_refuse, outcome, pass_
from engine.core.bulkhead cimport bulkhead_has_room, bulkhead_in_use, bulkhead_settle, bulkhead_settle_in_time, bulkhead_take, grant
from engine.core.clock cimport clock_ns
from engine.core.layout cimport (
    ADM_ADMITTED, ADM_BULKHEAD_FULL, ADM_CIRCUIT_OPEN, ADM_COUNTERS, ADM_DURATION_NS, ADM_FAILURE, ADM_HAS_BREAKER,
    ADM_HAS_BULKHEAD, ADM_HAS_RATE_LIMIT, ADM_IGNORED, ADM_INVALID, ADM_NO_RULE, ADM_OK, ADM_RATE_LIMITED, ADM_REASONS,
    ADM_REFUSED, ADM_RULE_BREAKER, ADM_RULE_BULKHEAD, ADM_RULE_RATE_LIMIT, ADM_SUCCESS, ADM_TALLY, ADM_UNKNOWN_POLICY,
    ADM_VOID,
)
from engine.core.limiter cimport limiter_remaining, limiter_take, limiter_refund
from engine.core.meter cimport meter_sum
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of

REASONS = ("", "rate_limited", "bulkhead_full", "circuit_open", "shed", "degraded", "retry_budget", "deadline", "chaos",
           "unhealthy", "unknown_policy", "invalid")
RULES = ("", "rate_limit", "bulkhead", "breaker")


cdef inline void _refuse(verdict *given, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept nogil:
    given.reason = reason
    given.rule = rule
    given.wait_ns = wait_ns


cdef bint _enter_breaker(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, bint keep,
                         verdict *given) noexcept nogil:
    if keep:
        breaker_enter(view, owner, now_ns, life_ns, &given.gate)
    else:
        given.gate.admitted = not breaker_would_refuse(view, now_ns, &given.gate.wait_ns)
    if not given.gate.admitted:
        _refuse(given, ADM_CIRCUIT_OPEN, ADM_RULE_BREAKER, given.gate.wait_ns)
    return given.gate.admitted


cdef bint _enter_bulkhead(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, bint keep,
                          verdict *given) noexcept nogil:
    cdef bint room
    if keep:
        room = bulkhead_take(&view.permits, &view.params.bulkhead, view.hint, owner, now_ns,
                             life_ns if life_ns else view.params.bulkhead.hold_ns, &given.permit)
        if room:
            view.hint = given.permit.index
    else:
        room = bulkhead_has_room(&view.permits, &view.params.bulkhead, now_ns)
    if not room:
        _refuse(given, ADM_BULKHEAD_FULL, ADM_RULE_BULKHEAD, 0)
    return room


cdef void judge(adm_view *view, uint32_t owner, int64_t now_ns, uint32_t cost, int64_t life_ns, bint keep,
                verdict *given) noexcept nogil:
    """The verdict of every rule. `life_ns` bounds the permit (zero: as the rules say); `keep` False only looks."""
    cdef uint32_t rules = view.params.rules
    cdef int64_t wait_ns
    given.reason = ADM_OK
    given.rule = ADM_NO_RULE
    given.wait_ns = 0
    given.permit.word = 0
    given.gate.probe = 0
    given.gate.admitted = False
    if cost == 0 or (rules & ADM_HAS_RATE_LIMIT and cost > view.params.rate_limit.burst):
        _refuse(given, ADM_INVALID, ADM_RULE_RATE_LIMIT if cost else ADM_NO_RULE, 0)
        return
    if rules & ADM_HAS_BREAKER and not _enter_breaker(view, owner, now_ns, life_ns, keep, given):
        return
    if rules & ADM_HAS_BULKHEAD and not _enter_bulkhead(view, owner, now_ns, life_ns, keep, given):
        _leave(view, given, now_ns)
        return
    if rules & ADM_HAS_RATE_LIMIT:
        wait_ns = limiter_take(view.limiter, &view.params.rate_limit, now_ns, cost, keep)
        if wait_ns:
            _leave(view, given, now_ns)
            _refuse(given, ADM_RATE_LIMITED, ADM_RULE_RATE_LIMIT, wait_ns)


cdef void _leave(adm_view *view, const verdict *given, int64_t now_ns) noexcept nogil:
    """Give back the permits of a verdict, as if the call had never been."""
    if given.permit.word:
        bulkhead_settle(given.permit.cell, given.permit.word)
    if given.gate.probe:
        breaker_leave(view, given.gate.generation, given.gate.cell, given.gate.probe, IGNORED, now_ns)


cdef void hand_back(adm_view *view, const verdict *given, uint32_t cost, int64_t now_ns) noexcept nogil:
    """Undo an admission that was not told to anybody."""
    _leave(view, given, now_ns)
    if view.params.rules & ADM_HAS_RATE_LIMIT:
        limiter_refund(view.limiter, &view.params.rate_limit, cost)


cdef bint may_be_orphaned(adm_view *view, const verdict *given) noexcept nogil:
    """Whether a refusal was for want of a permit, which a dead owner may be keeping."""
    return given.reason == ADM_BULKHEAD_FULL or given.reason == ADM_CIRCUIT_OPEN


cdef void count_verdict(adm_view *view, const verdict *given) noexcept nogil:
    adm_count(&view.meter.counts[ADM_ADMITTED if given.reason == ADM_OK else ADM_REFUSED + given.reason], 1)


cdef void count_outcome(adm_view *view, bint valid, outcome how, int64_t duration_ns) noexcept nogil:
    if not valid:
        adm_count(&view.meter.counts[ADM_VOID], 1)
        return
    adm_count(&view.meter.counts[ADM_SUCCESS + <int>how - <int>SUCCESS], 1)
    if how != IGNORED and duration_ns > 0:
        adm_count(&view.meter.counts[ADM_DURATION_NS], <uint64_t>duration_ns)


@cython.final
@cython.freelist(64)
cdef class Refusal:
    """A verdict of no: falsy, with `reason`, `rule`, `retry_after` in seconds and `remaining` tokens."""

    cdef Policy policy
    cdef uint32_t _reason
    cdef uint32_t _rule
    cdef int64_t wait_ns

    def __bool__(self):
        return False

    @property
    def reason(self):
        return REASONS[self._reason]

    @property
    def rule(self):
        return RULES[self._rule]

    @property
    def retry_after(self):
        return self.wait_ns / 1e9

    @property
    def remaining(self):
        return self.policy.remaining

    def __repr__(self):
        return f"<refused by {self.policy.name}: {self.reason}, retry after {self.retry_after:.3f} s>"


@cython.final
@cython.freelist(64)
@cython.no_gc_clear     # a permit that is dropped reports itself, for which it needs its policy
cdef class Permit:
    """A verdict of yes: truthy, to be reported once by `success`, `failure` or `ignore`.

    Each returns whether the report counted: a second one, one after the circuit moved on, one whose permit expired and one in a
    forked child are void. A permit that is dropped unreported is ignored.
    """

    cdef Policy policy
    cdef uint32_t owner         # row that was granted the permit; zero: nothing to report
    cdef bint settled
    cdef int64_t start_ns
    cdef grant bulkhead
    cdef pass_ gate

    def success(self):
        """Report that the work was done."""
        return self._settle(SUCCESS)

    def failure(self):
        """Report that the work failed."""
        return self._settle(FAILURE)

    def ignore(self):
        """Report that the work was given up: neither a success nor a failure."""
        return self._settle(IGNORED)

    cdef bint _settle(self, outcome how):
        cdef Arena arena = self.policy.arena
        cdef adm_view *view
        cdef int64_t now_ns
        cdef bint valid = True
        if self.owner == 0:
            return True
        if self.settled or self.owner != arena.owner:
            return False
        self.settled = True
        now_ns = clock_ns(&arena.time)
        if self.bulkhead.word:
            valid = bulkhead_settle_in_time(self.bulkhead.cell, self.bulkhead.word, now_ns)
        view = view_of(arena, self.policy.row)      # the rules may have changed since
        if view == NULL:
            return False
        if self.gate.admitted and view.params.rules & ADM_HAS_BREAKER:
            valid &= breaker_leave(view, self.gate.generation, self.gate.cell, self.gate.probe, how, now_ns)
        count_outcome(view, valid, how, now_ns - self.start_ns)
        return valid

    @property
    def reason(self):
        return ""

    @property
    def rule(self):
        return ""

    @property
    def retry_after(self):
        return 0.0

    @property
    def remaining(self):
        return self.policy.remaining

    def __repr__(self):
        return f"<permit of {self.policy.name}>"

    def __dealloc__(self):
        if self.owner and not self.settled:
            self._settle(IGNORED)


cdef class Policy:
    """A policy of an arena, by its directory row. `engine.Policy` adds the Python forms."""

    cdef readonly Arena arena
    cdef readonly str name
    cdef uint32_t row
    cdef Permit nothing_to_report

    def __cinit__(self, Arena arena not None, str name not None, row):
        self.arena = arena
        self.name = name
        self.row = row
        self.nothing_to_report = Permit.__new__(Permit)
        self.nothing_to_report.policy = self

    def try_acquire(self, cost=1):
        """The verdict of every rule, at once: a Permit (truthy) or a Refusal (falsy). `cost` counts tokens.

        Never raises for a refusal. A cost below 1 or over the burst is refused as `invalid`.
        """
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef int64_t now_ns
        cdef uint32_t tokens
        cdef verdict given
        if view == NULL or not view.params.rules:
            return self._unknown()
        tokens = 1 if cost is 1 else _tokens(cost)
        now_ns = clock_ns(&self.arena.time)
        judge(view, self.arena.owner, now_ns, tokens, 0, True, &given)
        if may_be_orphaned(view, &given) and sweep(self.arena, now_ns) > 0:
            judge(view, self.arena.owner, now_ns, tokens, 0, True, &given)
        count_verdict(view, &given)
        return self._permit(view, &given, now_ns) if given.reason == ADM_OK else self._refusal(&given)

    cdef Permit _permit(self, adm_view *view, const verdict *given, int64_t now_ns):
        cdef Permit permit
        if not view.params.rules & (ADM_HAS_BULKHEAD | ADM_HAS_BREAKER):
            return self.nothing_to_report
        permit = Permit.__new__(Permit)
        permit.policy = self
        permit.owner = self.arena.owner
        permit.start_ns = now_ns
        permit.bulkhead = given.permit
        permit.gate = given.gate
        return permit

    cdef Refusal _refusal(self, const verdict *given):
        cdef Refusal refusal = Refusal.__new__(Refusal)
        refusal.policy = self
        refusal._reason = given.reason
        refusal._rule = given.rule
        refusal.wait_ns = given.wait_ns
        return refusal

    cdef Refusal _unknown(self):
        cdef verdict given
        memset(&given, 0, sizeof(verdict))
        _refuse(&given, ADM_UNKNOWN_POLICY, ADM_NO_RULE, 0)
        return self._refusal(&given)

    @property
    def remaining(self):
        """Tokens that could be taken now, or None without a rate limit."""
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_RATE_LIMIT:
            return None
        return limiter_remaining(view.limiter, &view.params.rate_limit, clock_ns(&self.arena.time))

    @property
    def version(self):
        """Version of the published parameters; 0 while out of service."""
        cdef adm_view *view = view_of(self.arena, self.row)
        return view.published >> 40 if view != NULL and view.params.rules else 0


cdef uint32_t _tokens(cost) except? 0:
    """A cost that no policy can admit, be it negative or huge, is 0; `judge` calls it invalid."""
    if isinstance(cost, bool) or not isinstance(cost, int):
        raise TypeError(f"cost = {cost!r}: must be a whole number")
    return cost if 0 <= cost < 1 << 31 else 0


def counters(Arena arena not None, row):
    """Totals of the host: reasons refused, and admitted, success, failure, ignored, void, duration_ns, tally."""
    cdef uint64_t counts[ADM_COUNTERS]
    meter_sum(arena, arena.row(row), counts)
    refused = {REASONS[reason]: counts[ADM_REFUSED + reason]
               for reason in range(1, ADM_REASONS) if counts[ADM_REFUSED + reason]}
    return {"admitted": counts[ADM_ADMITTED], "refused": refused, "success": counts[ADM_SUCCESS],
            "failure": counts[ADM_FAILURE], "ignored": counts[ADM_IGNORED], "void": counts[ADM_VOID],
            "duration_ns": counts[ADM_DURATION_NS], "tally": counts[ADM_TALLY]}


def levels(Arena arena not None, row):
    """(tokens now, burst) or None of the rate limit, and (permits in use, limit) or None of the bulkhead."""
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    tokens = permits = None
    if view != NULL and view.params.rules & ADM_HAS_RATE_LIMIT:
        tokens = (limiter_remaining(view.limiter, &view.params.rate_limit, now_ns), view.params.rate_limit.burst)
    if view != NULL and view.params.rules & ADM_HAS_BULKHEAD:
        permits = (bulkhead_in_use(&view.permits, now_ns), view.params.bulkhead.limit)
    return tokens, permits
