"""A policy as Python holds it: verdicts as objects, and the `with` forms.

What an admitted call holds is a `stay`: it lies in a Permit where the caller is given one, and on the C stack where a form reports
by itself (guard.pyx). Entering and leaving cross between Python and C once each.

A `with` block is known by the interpreter frame it stands in. Threads, tasks and generators share one policy object and
leave in any order, but each from the frame it entered from; only an ExitStack leaves from another, and gets the newest permit.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from engine.core.admit cimport (
    PRIORITY_CRITICAL, PRIORITY_SHEDDABLE, count_outcome, count_verdict, judge_again, judge_and_sweep, longest_patience_ns,
    patience_ns, plain, refuse, request, verdict,
)
from engine.core.arena cimport Arena
from engine.core.breaker cimport FAILURE, IGNORED, SUCCESS, breaker_leave, outcome
from engine.core.bulkhead cimport bulkhead_settle_in_time
from engine.core.chaos cimport NO_IMPACT, chaos_told
from engine.core.clock cimport clock_ns
from engine.core.layout cimport (
    ADM_BULKHEAD_FULL, ADM_HAS_BREAKER, ADM_HAS_BULKHEAD, ADM_HAS_RATE_LIMIT, ADM_IS_REPORTED, ADM_NO_RULE, ADM_OK,
    ADM_RULE_BULKHEAD, ADM_UNKNOWN_POLICY,
)
from engine.core.keys cimport subject, subject_read
from engine.core.limiter cimport limiter_adjust, limiter_remaining
from engine.core.permit cimport permit_generation
from engine.core.shedder cimport shedder_holds, shedder_leave
from engine.core.view cimport adm_view, rate_of, view_of
from engine.core.waiting cimport Waiter, hand_on, ring, wait_ns_of
from engine.core.whole cimport whole

from engine.core.admit import NORMAL, REASONS, RULES

cdef object _normal = NORMAL

cdef extern from "interpreter.h":
    ctypedef object (*adm_plain_call)(object self)
    void *adm_frame()
    void adm_set_exception(object type, object args)
    object adm_raise()
    int adm_add_method(object owner, const char *name, const char *doc, adm_plain_call plain, object with_words) except -1

# By the number of the reason, the exception that `with` and decorators raise; `engine.policy` fills it.
cdef tuple _refusals = ()


def set_refusals(tuple classes not None):
    """Say which exception class stands for each of REASONS; it takes (policy, rule, retry_after) and has no __init__."""
    global _refusals
    _refusals = classes


cdef outcome outcome_of(error):
    """None is a success, an Exception a failure; what is no Exception (cancellation, an interrupt) is ignored."""
    if error is None:
        return SUCCESS
    return FAILURE if isinstance(error, Exception) else IGNORED


@cython.final
@cython.no_gc       # it refers to a policy, and no policy to a refusal
@cython.freelist(64)
cdef class Refusal:
    """A verdict of no: falsy, with `reason`, `rule`, `retry_after` in seconds and `remaining` tokens."""

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
    def level(self):
        """The level of service to give instead where the reason is `degraded`; else 0, the full one."""
        return self._level

    @property
    def remaining(self):
        return self.policy.remaining

    def __repr__(self):
        return f"<refused by {self.policy.name}: {self.reason}, retry after {self.retry_after:.3f} s>"


@cython.final
@cython.freelist(64)
@cython.no_gc       # it refers to a policy, and a policy to permits only while a `with` block is open
cdef class Permit:
    """A verdict of yes: truthy, to be reported once by `success`, `failure` or `ignore`.

    Each returns whether the report counted: a second one, one after the circuit moved on, one whose permit expired and one in a
    forked child are void. A permit that is dropped unreported is ignored.
    """

    def success(self):
        """Report that the work was done."""
        return self.needs_no_report or self.policy.leave(&self.inside, SUCCESS)

    def failure(self):
        """Report that the work failed."""
        return self.needs_no_report or self.policy.leave(&self.inside, FAILURE)

    def ignore(self):
        """Report that the work was given up: neither a success nor a failure."""
        return self.needs_no_report or self.policy.leave(&self.inside, IGNORED)

    def settle_cost(self, actual):
        """Put the tokens that the work turned out to need, 0 to the burst, in the place of those that were taken.

        What is missing is taken as far as there is any, what is over goes back to the window it was taken from. False, and nothing is
        done, once the permit is reported, without a rate limit and for a policy without a bulkhead or breaker, whose permits are not
        told apart. Raises TypeError, and ValueError for a cost out of range.
        """
        return self.policy.settle_cost(&self.inside, actual)

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
    def level(self):
        """The level of service to give: 0, the full one."""
        return 0

    @property
    def remaining(self):
        return self.policy.remaining

    @property
    def inject(self):
        """The harm that a chaos experiment wants done to this call (impact, delay in seconds, gRPC status), or None."""
        return chaos_told(&self._inject)

    @property
    def would_refuse(self):
        """The reason for which a rule in the shadow would have refused; "" where none would."""
        return REASONS[self._would_refuse]

    @property
    def revoked(self):
        """Whether the load shedder gave this place to a more important call: stop the work, and report all the same."""
        return (self.inside.owner != 0 and self.inside.owner == self.policy.arena.owner and self.inside.seat.word != 0
                and not shedder_holds(self.inside.seat.cell, self.inside.seat.word))

    @property
    def seat(self):
        """(cell, generation) in the load shedder, or None without one: as `place` in the bulkhead."""
        return (self.inside.seat.index, permit_generation(self.inside.seat.word) & 0xFFFF) if self.inside.seat.word else None

    @property
    def place(self):
        """(cell, generation) in the bulkhead, or None without one: no two permits held at once share a cell."""
        return (self.inside.permit.index, permit_generation(self.inside.permit.word)) if self.inside.permit.word else None

    def __repr__(self):
        return f"<permit of {self.policy.name}>"

    def __dealloc__(self):
        if self.inside.owner:
            self.policy.leave(&self.inside, IGNORED)


@cython.final
@cython.freelist(8)
cdef class Done:
    """An awaitable that is done at once: what `async with` awaits."""

    cdef object value

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self.value)


cdef Done _done(value):
    cdef Done done = Done.__new__(Done)
    done.value = value
    return done


cdef inline void _stay(stay *inside, uint32_t owner, const adm_view *view, const verdict *given, const request *asked,
                       int64_t now_ns) noexcept nogil:
    """What an admitted call holds."""
    inside.owner = owner if view.params.rules & ADM_IS_REPORTED else 0
    inside.start_ns = now_ns
    inside.who = asked.who
    inside.who.bytes = NULL         # the key may be gone before the call ends
    inside.who.size = 0
    inside.tokens = given.tokens
    inside.permit.word = given.permit.word
    inside.permit.cell = given.permit.cell
    inside.permit.index = given.permit.index
    inside.gate.admitted = given.gate.admitted
    inside.gate.generation = given.gate.generation
    inside.gate.cell = given.gate.cell
    inside.gate.probe = given.gate.probe
    inside.seat.word = given.seat.word
    inside.seat.cell = given.seat.cell
    inside.seat.index = given.seat.index
    inside.seat.in_flight = given.seat.in_flight


cdef class Policy:
    """A policy of an arena, by its directory row. `engine.Policy` adds how it is made and what it decorates."""

    def __cinit__(self, Arena arena not None, str name not None, row):
        self.arena = arena
        self.name = name
        self.row = row
        self.held = []

    cdef bint enter(self, const request *asked, stay *inside, verdict *given) except -1:
        """Judge; where admitted, `inside` is what the call holds until `leave`."""
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef int64_t now_ns
        if view == NULL or not view.params.rules:
            refuse(given, ADM_UNKNOWN_POLICY, ADM_NO_RULE, 0)
            return False
        now_ns = clock_ns(&self.arena.time)
        judge_and_sweep(self.arena, view, self.arena.owner, now_ns, asked, given)
        count_verdict(view, given)
        if given.reason != ADM_OK:
            return False
        _stay(inside, self.arena.owner, view, given, asked, now_ns)
        return True

    cdef bint leave(self, stay *inside, outcome how):
        """Report, once. False where the report is void."""
        cdef adm_view *view
        cdef int64_t now_ns
        cdef bint valid = True
        if inside.owner == 0 or inside.owner != self.arena.owner:
            return False
        inside.owner = 0
        now_ns = clock_ns(&self.arena.time)
        if inside.permit.word:
            valid = bulkhead_settle_in_time(inside.permit.cell, inside.permit.word, now_ns)
        view = view_of(self.arena, self.row)    # the rules may have changed since
        if view == NULL:
            return False
        if inside.seat.word:    # whose place was revoked reports to the other rules all the same
            shedder_leave(view, &inside.seat, valid and how != IGNORED, how == FAILURE, now_ns - inside.start_ns, now_ns)
        if (inside.permit.word or inside.seat.word) and ring(&view.waiters):
            hand_on(self.arena, self.row)
        if inside.gate.admitted and view.params.rules & ADM_HAS_BREAKER:
            valid &= breaker_leave(view, inside.gate.generation, inside.gate.cell, inside.gate.probe, how,
                                   now_ns - inside.start_ns, now_ns)
        count_outcome(view, valid, how, now_ns - inside.start_ns, now_ns)
        return valid

    cdef void set_refusal(self, const verdict *given) noexcept:
        """Set the exception for a refusal; the caller returns the value that says one is set."""
        adm_set_exception(_refusals[given.reason], (self.name, RULES[given.rule], given.wait_ns / 1e9))

    cdef bint settle_cost(self, stay *inside, actual) except -1:
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef int64_t wanted
        if view == NULL or not view.params.rules & ADM_HAS_RATE_LIMIT:
            return False
        wanted = whole(actual, "actual", 0, <int64_t>rate_of(view, inside.who.id).burst)
        if inside.owner == 0 or inside.owner != self.arena.owner:
            return False
        if view.params.rate_limit.keyed and inside.who.id == 0:     # it became keyed meanwhile
            return False
        limiter_adjust(view, &inside.who, clock_ns(&self.arena.time), inside.start_ns, wanted - <int64_t>inside.tokens)
        if wanted < <int64_t>inside.tokens and ring(&view.waiters):
            hand_on(self.arena, self.row)
        inside.tokens = <uint32_t>wanted
        return True

    def _try_acquire(self, cost=1, key=None, priority=NORMAL, attempt=1, deadline=None, revocable=False):
        cdef verdict given
        cdef stay inside
        cdef request asked
        _read(self.arena, cost, key, priority, attempt, deadline, revocable, &asked)
        if self.enter(&asked, &inside, &given):
            return self.granted(&inside, &given)
        return self.refused(&given)

    def acquire(self, max_wait=None, cost=1, key=None, priority=NORMAL, attempt=1, deadline=None, revocable=False):
        """The verdict, waited for where a rule allows it: an awaitable of a Permit or a Refusal, asked for as by `try_acquire`.

        It waits in the running event loop for at most `max_wait` seconds, or as the rule that refuses says, and never past `deadline`:
        for a permit of a bulkhead that has a queue, for tokens of a rate limit. Refused at once are what no waiting mends, a wait for
        tokens that would be too long, and one for whom the queue has no place. Who waits already in this process comes
        first. Raises what `try_acquire` does, and ValueError for a `max_wait` below 0 or over a day.
        """
        return self.waiter(max_wait, cost, key, priority, attempt, deadline, revocable)

    def acquire_sync(self, max_wait=None, cost=1, key=None, priority=NORMAL, attempt=1, deadline=None, revocable=False):
        """The same in this thread. Raises RuntimeError where it would have to wait and an event loop runs in the thread."""
        return self.waiter(max_wait, cost, key, priority, attempt, deadline, revocable).wait_here()

    cdef PolicyWaiter waiter(self, max_wait, cost, key, priority, attempt, deadline, revocable):
        cdef PolicyWaiter waiter = PolicyWaiter.__new__(PolicyWaiter)
        waiter.asked_ns = wait_ns_of(max_wait)
        waiter.asked = plain()
        if not (cost is 1 and key is None and priority is _normal and attempt is 1 and deadline is None and revocable is False):
            waiter.key = key
            _read(self.arena, cost, key, priority, attempt, deadline, revocable, &waiter.asked)
        waiter.deadline_ns = waiter.asked.deadline_ns
        waiter.arena = self.arena
        waiter.row = self.row
        waiter.policy = self
        return waiter

    cdef Permit granted(self, const stay *inside, const verdict *given):
        cdef Permit permit
        if inside.owner == 0 and given.would_refuse == ADM_OK and given.inject.impact == NO_IMPACT:
            return self.constant()
        permit = Permit.__new__(Permit)
        permit.policy = self
        permit.inside = inside[0]
        permit.needs_no_report = inside.owner == 0
        permit._would_refuse = given.would_refuse
        permit._inject = given.inject
        return permit

    cdef Permit constant(self):
        """The one permit of all admissions that need no report. It refers to a policy of its own, so that nothing refers to itself."""
        if self.nothing_to_report is None:
            self.nothing_to_report = Permit.__new__(Permit)
            self.nothing_to_report.policy = Policy.__new__(Policy, self.arena, self.name, self.row)
            self.nothing_to_report.needs_no_report = True
        return self.nothing_to_report

    cdef Refusal refused(self, const verdict *given):
        cdef Refusal refusal = Refusal.__new__(Refusal)
        refusal.policy = self
        refusal._reason = given.reason
        refusal._rule = given.rule
        refusal._level = given.level
        refusal.wait_ns = given.wait_ns
        return refusal

    def acquire_or_raise(self, cost=1, key=None, priority=NORMAL, attempt=1, deadline=None, revocable=False):
        """A permit, asked for as by `try_acquire`. Raises the subclass of Refused that names the reason."""
        cdef stay inside
        cdef verdict given
        cdef request asked
        _read(self.arena, cost, key, priority, attempt, deadline, revocable, &asked)
        if not self.enter(&asked, &inside, &given):
            self.set_refusal(&given)
            return adm_raise()
        return self.granted(&inside, &given)

    cdef Permit enter_block(self):
        cdef stay inside
        cdef verdict given
        cdef request asked = plain()
        cdef Permit permit
        if not self.enter(&asked, &inside, &given):
            self.set_refusal(&given)
            return <Permit>adm_raise()
        permit = self.granted(&inside, &given)
        if permit.needs_no_report:
            return permit
        permit.block = adm_frame()
        if self.lone is None:
            self.lone = permit
        else:
            self.held.append(permit)
        return permit

    cdef bint leave_block(self, error) except 0:
        cdef Permit permit = self.lone
        if permit is not None and permit.block == adm_frame() and not self.held:
            self.lone = None
        else:
            permit = self.find_block()
        if permit is not None:
            self.leave(&permit.inside, outcome_of(error))
        return True

    cdef Permit find_block(self):
        """The newest permit of the frame that leaves, or of an ExitStack's the newest of all; it is held no more."""
        cdef void *block = adm_frame()
        cdef Py_ssize_t at = len(self.held) - 1
        while at >= 0 and (<Permit>self.held[at]).block != block:
            at -= 1
        if at >= 0:
            return self.held.pop(at)
        if self.held and (self.lone is None or self.lone.block != block):
            return self.held.pop()
        lone, self.lone = self.lone, None
        return lone

    def __enter__(self):
        return self.enter_block()

    def __exit__(self, kind, error, trace):
        self.leave_block(error)

    def __aenter__(self):
        return _done(self.enter_block())

    def __aexit__(self, kind, error, trace):
        self.leave_block(error)
        return _done(None)

    @property
    def remaining(self):
        """Tokens that could be taken now, or None without a rate limit or where each key has its own."""
        return self.remaining_of(None)

    def remaining_of(self, key):
        """Tokens that `key` could take now; None without a rate limit, and for no key where each has its own."""
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef subject who
        if view == NULL or not view.params.rules & ADM_HAS_RATE_LIMIT:
            return None
        if view.params.rate_limit.keyed and not (subject_read(self.arena, key, &who) and who.id):
            return None
        return limiter_remaining(view, &who, clock_ns(&self.arena.time))

    @property
    def version(self):
        """Version of the published parameters; 0 while out of service."""
        cdef adm_view *view = view_of(self.arena, self.row)
        return view.published >> 40 if view != NULL and view.params.rules else 0


@cython.final
@cython.no_gc_clear     # what was admitted and never handed out is given back, for which it needs its policy
cdef class PolicyWaiter(Waiter):
    """One who wants to be admitted by a policy. Its refusals are counted once, when they are final."""

    cdef bint ask(self, bint again) except -1:
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef int64_t patient_ns
        if view == NULL or not view.params.rules:
            refuse(&self.given, ADM_UNKNOWN_POLICY, ADM_NO_RULE, 0)
            return True
        self.look_at(view)
        if self.deadline_ns > 0:
            self.asked.deadline_ns = self.deadline_ns - (now_ns - self.since_ns) or -1
        if again:
            judge_again(self.arena, view, self.arena.owner, now_ns, &self.asked, &self.given)
        else:
            judge_and_sweep(self.arena, view, self.arena.owner, now_ns, &self.asked, &self.given)
        if self.given.reason == ADM_OK:
            _stay(&self.inside, self.arena.owner, view, &self.given, &self.asked, now_ns)
            return self.settle()
        patient_ns = self.bounded_ns(patience_ns(view, &self.given, self.asked_ns))
        self.until_ns = self.since_ns + patient_ns
        self.again_ns = now_ns + self.given.wait_ns if self.given.wait_ns else 0
        self.reason, self.rule, self.wait_ns = self.given.reason, self.given.rule, self.given.wait_ns
        if patient_ns == 0 or now_ns >= self.until_ns or self.again_ns > self.until_ns:
            return self.settle()
        return False

    cdef void look_at(self, const adm_view *view) noexcept nogil:
        """In whose line it stands."""
        self.subject = self.asked.who.id if view.params.rules & ADM_HAS_RATE_LIMIT and view.params.rate_limit.keyed else 0

    cdef int64_t bounded_ns(self, int64_t patient_ns) noexcept nogil:
        return min(patient_ns, max(self.deadline_ns, 0)) if self.deadline_ns else patient_ns

    cdef bint settle(self) noexcept:
        cdef adm_view *view = <adm_view *>self.arena.views[self.row]
        if view != NULL:
            count_verdict(view, &self.given)
        return True

    cdef int64_t patience_ns(self) except -1:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules:
            return 0
        self.look_at(view)
        return self.bounded_ns(longest_patience_ns(view, self.asked_ns))

    cdef bint take_place(self) except -1:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_BULKHEAD or view.params.bulkhead.queue == 0:
            return True
        if self.hold_place(&view.places, view.params.bulkhead.queue, self.patience_ns()):
            return True
        self.turn_away(ADM_BULKHEAD_FULL, ADM_RULE_BULKHEAD, 0)
        return False

    cdef void turn_away(self, uint32_t reason, uint32_t rule, int64_t wait_ns) noexcept:
        refuse(&self.given, reason, rule, wait_ns)
        self.settle()

    cdef object answer(self):
        if self.given.reason != ADM_OK:
            return self.policy.refused(&self.given)
        permit = self.policy.granted(&self.inside, &self.given)
        self.inside.owner = 0
        return permit

    def __dealloc__(self):
        if self.inside.owner:
            self.policy.leave(&self.inside, IGNORED)


cdef bint _read(Arena arena, cost, key, priority, attempt, deadline, revocable, request *asked) except -1:
    """What a caller said, as a request. A key that cannot be is a cost of 0, which `judge` calls invalid."""
    asked[0] = plain()
    asked.cost = _tokens(cost)
    if not subject_read(arena, key, &asked.who):
        asked.cost = 0
    asked.priority = <uint32_t>whole(priority, "priority", PRIORITY_CRITICAL, PRIORITY_SHEDDABLE)
    asked.attempt = <uint32_t>whole(attempt, "attempt", 1, 0x7FFFFFFF)
    asked.revocable = bool(revocable)
    if deadline is not None:
        asked.deadline_ns = _left_ns(deadline)
    return True


cdef int64_t _left_ns(deadline) except? 0:
    """What a caller has left: never the zero that stands for no deadline, and at most a year."""
    cdef double seconds = min(max(<double>float(deadline), -1.0), 366 * 86400.0)
    cdef int64_t left_ns = <int64_t>(seconds * 1e9)
    return left_ns if left_ns else -1


cdef uint32_t _tokens(cost) except? 0:
    """A cost that no policy can admit, be it negative or huge, is 0; `judge` calls it invalid."""
    if isinstance(cost, bool) or not isinstance(cost, int):
        raise TypeError(f"cost = {cost!r}: must be a whole number")
    return cost if 0 <= cost < 1 << 31 else 0


cdef object _try_acquire_plainly(object policy):
    cdef Policy self = <Policy>policy
    cdef verdict given
    cdef stay inside
    cdef request asked = plain()
    if self.enter(&asked, &inside, &given):
        return self.granted(&inside, &given)
    return self.refused(&given)


adm_add_method(Policy, b"try_acquire", b"""try_acquire($self, cost=1, key=None, priority=3, attempt=1, deadline=None, revocable=False)
--

The verdict of every rule, at once: a Permit (truthy) or a Refusal (falsy). `cost` counts tokens.

`key`, a str or bytes, is whose tokens they are where the rate limit is keyed. `priority` is from engine.CRITICAL to engine.SHEDDABLE,
`attempt` counts from 1, so that more is a retry, `deadline` is how many seconds the caller has left, and a `revocable` call may lose
its place to a more important one. Rules that are not there take no notice of what is for them.

Never raises for a refusal: a cost below 1 or over the burst, a key over 256 bytes and a missing one are refused as `invalid`.
Raises TypeError for a value of another type, and ValueError for a priority that is none or an attempt below 1.
""", _try_acquire_plainly, Policy._try_acquire)
