"""The fused path: one call judges every rule of a policy, one call reports how the work ended.

Order: feature, health, breaker, throttle, shedder, bulkhead, retry budget, rate limit, chaos - what is only looked at first, tokens
and harm last. Whatever was taken is handed back when a later rule refuses, so a refusal consumes nothing; a place of another call
is revoked last of all. One clock read an admission, one a report.

A rule in the shadow judges and counts as if it were in force, and takes its permits and tokens where it has them; where it would
refuse, the verdict says so and the next rule is asked.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_count, adm_note, adm_peek
from engine.core.breaker cimport IGNORED, SUCCESS, breaker_enter, breaker_leave, breaker_would_refuse, outcome
from engine.core.budget cimport budget_give, budget_take, budget_take_back
from engine.core.bulkhead cimport bulkhead_has_room, bulkhead_in_use, bulkhead_settle, bulkhead_take
from engine.core.chaos cimport ABORT, NO_IMPACT, chaos_guard, chaos_strikes
from engine.core.clock cimport clock_ns
from engine.core.feature cimport feature_is_on
from engine.core.health cimport health_refuses
from engine.core.histogram cimport histogram_record
from engine.core.layout cimport (
    ADM_ADMITTED, ADM_BULKHEAD_FULL, ADM_CHAOS, ADM_CIRCUIT_OPEN, ADM_COUNTERS, ADM_DEGRADED, ADM_DURATION_NS, ADM_FAILURE,
    ADM_HAS_BREAKER, ADM_HAS_BULKHEAD, ADM_HAS_CHAOS, ADM_HAS_FEATURE, ADM_HAS_HEALTH, ADM_HAS_RATE_LIMIT,
    ADM_HAS_RETRY_BUDGET, ADM_HAS_SHEDDER, ADM_HAS_THROTTLE, ADM_HISTOGRAM_BUCKETS, ADM_IGNORED, ADM_INVALID, ADM_NO_RULE, ADM_OK,
    ADM_RATE_LIMITED, ADM_REASONS, ADM_REFUSED, ADM_RETRY_BUDGET, ADM_RULE_BREAKER, ADM_RULE_BULKHEAD, ADM_RULE_CHAOS,
    ADM_RULE_FEATURE, ADM_RULE_HEALTH, ADM_RULE_RATE_LIMIT, ADM_RULE_RETRY_BUDGET, ADM_RULE_SHEDDER, ADM_RULE_THROTTLE, ADM_SHED, ADM_SUCCESS,
    ADM_TALLY, ADM_UNHEALTHY, ADM_VOID, ADM_WOULD_REFUSE,
)
from engine.core.keys cimport keys_in_use, subject
from engine.core.limiter cimport limiter_adjust, limiter_remaining, limiter_take
from engine.core.meter cimport durations, meter_sum
from engine.core.repair cimport sweep
from engine.core.shedder cimport shedder_enter, shedder_give_back, shedder_revoke, wish
from engine.core.throttle cimport throttle_record, throttle_refuses
from engine.core.view cimport adm_view, rate_of, view_of
from engine.core.waiting cimport ring

from engine.core.binding import RULES as RULES

REASONS = ("", "rate_limited", "bulkhead_full", "circuit_open", "shed", "degraded", "retry_budget", "deadline", "chaos",
           "unhealthy", "unknown_policy", "invalid")
CRITICAL, HIGH, NORMAL, LOW, SHEDDABLE = range(PRIORITY_CRITICAL, PRIORITY_SHEDDABLE + 1)


cdef bint _feature_admits(adm_view *view, int64_t now_ns, const request *asked, verdict *given) noexcept nogil:
    if feature_is_on(&view.feature.flag, &view.params.feature, asked.who.bytes, asked.who.size, now_ns):
        return True
    if _excused(view, given, ADM_DEGRADED, ADM_RULE_FEATURE, 0):
        return True
    given.level = view.params.feature.level
    return False


cdef inline bint _health_admits(adm_view *view, int64_t now_ns, verdict *given) noexcept nogil:
    return not health_refuses(&view.health.status, now_ns) or _excused(view, given, ADM_UNHEALTHY, ADM_RULE_HEALTH, 0)


cdef bint _breaker_admits(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep,
                          verdict *given) noexcept nogil:
    if keep:
        breaker_enter(view, owner, now_ns, asked.life_ns, &given.gate)
    else:
        given.gate.probes_are_out = False
        given.gate.admitted = not breaker_would_refuse(view, now_ns, &given.gate.wait_ns)
    if view.params.rules & ADM_HAS_CHAOS and keep and (given.gate.probe or not given.gate.admitted):
        chaos_guard(view, now_ns)
    return given.gate.admitted or _excused(view, given, ADM_CIRCUIT_OPEN, ADM_RULE_BREAKER, given.gate.wait_ns)


cdef inline bint _throttle_admits(adm_view *view, int64_t now_ns, bint keep, verdict *given) noexcept nogil:
    """A probe of the breaker passes: what finds out that the backend is back is not to be thrown away."""
    if given.gate.probe or not throttle_refuses(view, now_ns, keep):
        return True
    return _excused(view, given, ADM_SHED, ADM_RULE_THROTTLE, 0)


cdef inline wish _wish(uint32_t owner, const request *asked) noexcept nogil:
    cdef wish wanted
    wanted.owner = owner
    wanted.rank = asked.priority - PRIORITY_CRITICAL
    wanted.revocable = asked.revocable
    wanted.life_ns = asked.life_ns
    wanted.deadline_ns = asked.deadline_ns
    return wanted


cdef bint _shedder_admits(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep,
                          verdict *given) noexcept nogil:
    cdef wish wanted = _wish(owner, asked)
    cdef uint32_t reason = shedder_enter(view, &wanted, now_ns, keep, &given.seat)
    if view.params.shadow & ADM_HAS_SHEDDER:
        given.seat.by_revoking = False     # nobody loses a place to a rule that only looks on
    return reason == ADM_OK or _excused(view, given, reason, ADM_RULE_SHEDDER, given.seat.wait_ns)


cdef bint _revokes(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, verdict *given) noexcept nogil:
    """Take the place of a less important call, now that every other rule has admitted."""
    cdef wish wanted = _wish(owner, asked)
    if not shedder_revoke(view, &wanted, now_ns, &given.seat):
        refuse(given, ADM_SHED, ADM_RULE_SHEDDER, 0)
    return given.reason == ADM_OK


cdef bint _bulkhead_admits(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep,
                           verdict *given) noexcept nogil:
    cdef bint room
    if keep:
        room = bulkhead_take(&view.permits, &view.params.bulkhead, <uint32_t>adm_peek(&view.hint), owner, now_ns,
                             asked.life_ns if asked.life_ns else view.params.bulkhead.hold_ns, &given.permit)
        if room:
            adm_note(&view.hint, given.permit.index)
    else:
        room = bulkhead_has_room(&view.permits, &view.params.bulkhead, now_ns)
    return room or _excused(view, given, ADM_BULKHEAD_FULL, ADM_RULE_BULKHEAD, 0)


cdef bint _retry_budget_admits(adm_view *view, int64_t now_ns, const request *asked, bint keep, verdict *given) noexcept nogil:
    cdef int64_t wait_ns
    if asked.attempt <= 1:
        return True
    wait_ns = budget_take(view.balance, &view.params.retry_budget, now_ns, keep)
    if wait_ns == 0 and keep:
        given.budget_ns = view.params.retry_budget.interval_ns
    return wait_ns == 0 or _excused(view, given, ADM_RETRY_BUDGET, ADM_RULE_RETRY_BUDGET, wait_ns)


cdef bint _chaos_admits(adm_view *view, int64_t now_ns, const request *asked, bint keep, verdict *given) noexcept nogil:
    if not chaos_strikes(view, asked.who.bytes, asked.who.size, asked.deadline_ns, now_ns, keep, &given.inject):
        return True
    if given.inject.impact != ABORT:
        return True
    given.inject.impact = NO_IMPACT
    refuse(given, ADM_CHAOS, ADM_RULE_CHAOS, 0)
    return False


cdef inline bint _can_be_asked(const adm_view *view, const request *asked) noexcept nogil:
    """Whether the rate limit could ever give so many tokens, and knows whose."""
    return asked.cost <= rate_of(view, asked.who.id).burst and (view.params.rate_limit.keyed == 0 or asked.who.id != 0)


cdef bint _rate_limit_admits(adm_view *view, int64_t now_ns, const request *asked, bint keep, verdict *given) noexcept nogil:
    cdef int64_t wait_ns
    if not _can_be_asked(view, asked):      # it stands in the shadow, or `judge` had refused
        return True
    wait_ns = limiter_take(view, &asked.who, now_ns, asked.cost, keep)
    if wait_ns == 0:
        given.tokens = asked.cost
    return wait_ns == 0 or _excused(view, given, ADM_RATE_LIMITED, ADM_RULE_RATE_LIMIT, wait_ns)


cdef bint _excused(adm_view *view, verdict *given, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept nogil:
    """Refuse, unless the rule stands in the shadow: then say what it would have done, and go on."""
    if view.params.shadow & (1 << (rule - 1)):
        if given.would_refuse == ADM_OK:
            given.would_refuse = reason
        return True
    refuse(given, reason, rule, wait_ns)
    return False


cdef bint _all_admit(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep,
                     verdict *given) noexcept nogil:
    """Ask one rule after another, up to the first that refuses."""
    cdef uint32_t rules = view.params.rules
    if (rules & ADM_HAS_RATE_LIMIT and not _can_be_asked(view, asked)
            and not _excused(view, given, ADM_INVALID, ADM_RULE_RATE_LIMIT, 0)):
        return False
    if rules & ADM_HAS_FEATURE and not _feature_admits(view, now_ns, asked, given):
        return False
    if rules & ADM_HAS_HEALTH and not _health_admits(view, now_ns, given):
        return False
    if rules & ADM_HAS_BREAKER and not _breaker_admits(view, owner, now_ns, asked, keep, given):
        return False
    if rules & ADM_HAS_THROTTLE and not _throttle_admits(view, now_ns, keep, given):
        return False
    if rules & ADM_HAS_SHEDDER and not _shedder_admits(view, owner, now_ns, asked, keep, given):
        return False
    if rules & ADM_HAS_BULKHEAD and not _bulkhead_admits(view, owner, now_ns, asked, keep, given):
        return False
    if rules & ADM_HAS_RETRY_BUDGET and not _retry_budget_admits(view, now_ns, asked, keep, given):
        return False
    return not rules & ADM_HAS_RATE_LIMIT or _rate_limit_admits(view, now_ns, asked, keep, given)


cdef void judge(adm_view *view, uint32_t owner, int64_t now_ns, const request *asked, bint keep, verdict *given) noexcept nogil:
    """The verdict of every rule; `keep` False only looks."""
    refuse(given, ADM_OK, ADM_NO_RULE, 0)
    given.would_refuse = ADM_OK
    given.inject.impact = NO_IMPACT
    given.tokens = 0
    given.budget_ns = 0
    given.permit.word = 0
    given.gate.probe = 0
    given.gate.admitted = False
    given.seat.word = 0
    given.seat.by_revoking = False
    if asked.cost == 0:
        refuse(given, ADM_INVALID, ADM_NO_RULE, 0)
    elif not _all_admit(view, owner, now_ns, asked, keep, given):
        _leave(view, given, now_ns)
    elif view.params.rules & ADM_HAS_CHAOS and not _chaos_admits(view, now_ns, asked, keep, given):
        if keep:
            hand_back(view, given, asked, now_ns)
    elif given.seat.by_revoking and keep and not _revokes(view, owner, now_ns, asked, given):
        hand_back(view, given, asked, now_ns)
    elif view.params.rules & ADM_HAS_RETRY_BUDGET and keep and asked.attempt <= 1:
        given.budget_ns = -budget_give(view.balance, view.params.retry_budget.deposit_ns, now_ns)


cdef void _leave(adm_view *view, const verdict *given, int64_t now_ns) noexcept nogil:
    """Give back what a verdict took, tokens apart, as if the call had never been."""
    if given.permit.word:
        bulkhead_settle(given.permit.cell, given.permit.word)
    if given.seat.word:
        shedder_give_back(view, &given.seat)
    if given.gate.probe:
        breaker_leave(view, given.gate.generation, given.gate.cell, given.gate.probe, IGNORED, 0, now_ns)
    if given.budget_ns > 0:
        budget_give(view.balance, given.budget_ns, now_ns)
    elif given.budget_ns < 0:
        budget_take_back(view.balance, &view.params.retry_budget, -given.budget_ns, now_ns)


cdef void hand_back(adm_view *view, const verdict *given, const request *asked, int64_t now_ns) noexcept nogil:
    """Undo an admission that was not told to anybody."""
    _leave(view, given, now_ns)
    if given.tokens:
        limiter_adjust(view, &asked.who, now_ns, now_ns, -<int64_t>given.tokens)
    ring(&view.waiters)


cdef inline bint _may_be_orphaned(const verdict *given) noexcept nogil:
    """Whether a refusal was for want of a permit, which a dead owner may be keeping."""
    return (given.reason == ADM_BULKHEAD_FULL or (given.reason == ADM_SHED and given.rule == ADM_RULE_SHEDDER)
            or (given.reason == ADM_CIRCUIT_OPEN and given.gate.probes_are_out))


cdef bint judge_and_sweep(Arena arena, adm_view *view, uint32_t owner, int64_t now_ns, const request *asked,
                          verdict *given) except -1:
    """Judge, and once more where a sweep brought back the permits of the dead. Whether it admits."""
    judge(view, owner, now_ns, asked, True, given)
    if _may_be_orphaned(given) and sweep(arena, now_ns) > 0:
        judge(view, owner, now_ns, asked, True, given)
    return given.reason == ADM_OK


cdef bint judge_again(Arena arena, adm_view *view, uint32_t owner, int64_t now_ns, const request *asked,
                      verdict *given) except -1:
    """The same for one who waits: looks first, so that being refused again takes nothing from anybody for an instant."""
    judge(view, owner, now_ns, asked, False, given)
    if given.reason != ADM_OK and not (_may_be_orphaned(given) and sweep(arena, now_ns) > 0):
        return False
    return judge_and_sweep(arena, view, owner, now_ns, asked, given)


cdef int64_t patience_ns(const adm_view *view, const verdict *given, int64_t asked_ns) noexcept nogil:
    """How long a refusal may be waited for: as asked or, where that is negative, as the rule says; zero: it is final."""
    if given.reason == ADM_BULKHEAD_FULL and view.params.bulkhead.queue:
        return asked_ns if asked_ns >= 0 else view.params.bulkhead.max_wait_ns
    if given.reason == ADM_RATE_LIMITED:
        return asked_ns if asked_ns >= 0 else view.params.rate_limit.max_wait_ns
    return 0


cdef int64_t longest_patience_ns(const adm_view *view, int64_t asked_ns) noexcept nogil:
    """The most that any refusal of this policy may be waited for."""
    cdef int64_t longest_ns = 0
    if view.params.rules & ADM_HAS_BULKHEAD and view.params.bulkhead.queue:
        longest_ns = asked_ns if asked_ns >= 0 else view.params.bulkhead.max_wait_ns
    if view.params.rules & ADM_HAS_RATE_LIMIT:
        longest_ns = max(longest_ns, asked_ns if asked_ns >= 0 else view.params.rate_limit.max_wait_ns)
    return longest_ns


cdef void count_verdict(adm_view *view, const verdict *given) noexcept nogil:
    adm_count(&view.meter.counts[ADM_ADMITTED if given.reason == ADM_OK else ADM_REFUSED + given.reason], 1)
    if given.would_refuse:
        adm_count(&view.meter.counts[ADM_WOULD_REFUSE + given.would_refuse], 1)


cdef void count_outcome(adm_view *view, bint valid, outcome how, int64_t duration_ns, int64_t now_ns) noexcept nogil:
    """Count a report, and tell the throttle of it. A negative duration was not measured."""
    if not valid:
        adm_count(&view.meter.counts[ADM_VOID], 1)
        return
    adm_count(&view.meter.counts[ADM_SUCCESS + <int>how - <int>SUCCESS], 1)
    if how == IGNORED:
        return
    if view.params.rules & ADM_HAS_THROTTLE:
        throttle_record(view, how == SUCCESS, now_ns)
    if duration_ns < 0:
        return
    adm_count(&view.meter.counts[ADM_DURATION_NS], <uint64_t>duration_ns)
    if view.took != NULL:
        histogram_record(view.took, duration_ns)


cdef dict _by_reason(const uint64_t *counts):
    return {REASONS[reason]: counts[reason] for reason in range(1, ADM_REASONS) if counts[reason]}


def counters(Arena arena not None, row):
    """Totals of the host: refused and would_refuse by reason; admitted, success, failure, ignored, void, duration_ns, tally.

    `took` is the sum of the durations that were counted, in nanoseconds, whether they are complete, and (bucket, calls)
    of those buckets that hold any. No effect is counted without its cause: see meter.pyx.
    """
    cdef uint64_t counts[ADM_COUNTERS]
    cdef durations took
    meter_sum(arena, arena.row(row), counts, &took)
    buckets = [(bucket, took.counts[bucket]) for bucket in range(ADM_HISTOGRAM_BUCKETS) if took.counts[bucket]]
    return {"admitted": counts[ADM_ADMITTED], "refused": _by_reason(&counts[ADM_REFUSED]),
            "would_refuse": _by_reason(&counts[ADM_WOULD_REFUSE]), "success": counts[ADM_SUCCESS],
            "failure": counts[ADM_FAILURE], "ignored": counts[ADM_IGNORED], "void": counts[ADM_VOID],
            "duration_ns": counts[ADM_DURATION_NS], "tally": counts[ADM_TALLY],
            "took": (took.sum_ns, took.complete, tuple(buckets))}


def levels(Arena arena not None, row):
    """(tokens now, burst, keys in use or None) or None of the rate limit; and or None of the bulkhead (permits in use, limit,
    waiters in its queue, places there are)."""
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef subject nobody
    tokens = permits = None
    if view != NULL and view.params.rules & ADM_HAS_RATE_LIMIT:
        nobody.id = 0
        keys = keys_in_use(&view.keys, &view.params.rate_limit.rate, now_ns) if view.params.rate_limit.keyed else None
        tokens = (limiter_remaining(view, &nobody, now_ns), view.params.rate_limit.rate.burst, keys)
    if view != NULL and view.params.rules & ADM_HAS_BULKHEAD:
        permits = (bulkhead_in_use(&view.permits, now_ns), view.params.bulkhead.limit,
                   bulkhead_in_use(&view.places, now_ns), view.params.bulkhead.queue)
    return tokens, permits
