"""Circuit breaker: a state in one word, a window of outcomes, and leased probes.

    63   61 60            37 36                                   0
    +-------+---------------+-------------------------------------+
    | state | generation    | time, ms of the monotonic clock     |
    +-------+---------------+-------------------------------------+

The time is the end of an open circuit's rest, of a recovery and of what an operator forced, else the instant the state was entered. Every
transition is one compare-and-swap:

    from           to             when
    closed         open           a call is recorded that trips
    recovering     open           the same
    open           half-open      a caller comes and the rest is over
    half-open      closed         so many probes passed that probe_success_rate is reached
    half-open      recovering     the same, with a recovery_ramp
    half-open      open           so many probes failed that it cannot be reached any more
    any            forced open    an operator says so, for a time
    any            forced closed  the same
    forced open    half-open      a caller comes and the time is over, or the operator lets go
  * forced closed  closed         the same, or a report comes
  * recovering     closed         a caller or a report comes and the ramp is over

Each adds one to the generation, but for those marked *, after which everybody may go on as before. Reports of an older generation are void,
and a window belongs to one generation, so closing empties it.

What trips: `consecutive` failures in a row; or, once min_calls are in the window (window.pyx by count, buckets.pyx by time), failures / calls >=
failure_rate or slow / calls >= slow_rate. Judged are a failure, a slow call, and a success that may be the call that completes min_calls: by
count the very one, by time those that find at most min_calls of their kind in their bucket.

A half-open generation admits `probes` calls in all, host-wide. Each takes a probe cell (permit.pxd) that carries the generation, the
owner and a deadline. The cell ends as passed or failed; an ignored call frees it for another caller; one that was slow, expired or lost its
owner has failed. How many passed and failed is counted from the cells, so a kill leaves nothing to repair but the cell, and
half-open cannot get stuck: whoever finds no cell free looks for expired ones and decides.

A recovering circuit is a closed one that admits every 20th caller in the first half of the ramp and every 4th in the second; a word counts
who asked. A forced state outranks all rules above; while forced closed, outcomes are recorded and judged by nobody.

The n-th rest since a recovery lasts open_for x open_backoff^(n - 1), at most open_max, give or take the jitter: a hash of the arena's secret,
the circuit and the generation, the same in every process. n stands in a word of its own that names the generation it is for and is written before the
circuit opens: who is killed in between has changed nothing, and the next one writes the same.

Why 24 bits of generation are enough: two transitions take at least the 10 ms that a circuit rests, so a report would have to be 23 hours late
under uninterrupted flapping to be counted where it does not belong. A probe cell keeps 20 of them: it would have to be left untouched for a
million transitions. Approximate: times are whole milliseconds, rounded up, and right for two years on either side; a probe's deadline may come
17 ms late; n stays at 256, and a process that sleeps while it opens a circuit may start the count anew.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.buckets cimport buckets_append, buckets_tally
from engine.core.cells cimport cell_at, cells_total
from engine.core.clock cimport clock_ns
from engine.core.journal cimport journal_add
from engine.core.layout cimport (
    ADM_CIRCUIT, ADM_FAILED, ADM_FREE, ADM_HAS_BREAKER, ADM_HELD, ADM_PASSED, adm_breaker_params, adm_remark,
)
from engine.core.permit cimport (
    permit_expired, permit_expiry, permit_generation, permit_owner, permit_pack, permit_status, permit_with_status,
)
from engine.core.remark cimport remark_of, remark_read, remark_write
from engine.core.repair cimport sweep
from engine.core.siphash cimport siphash
from engine.core.view cimport adm_view, view_of
from engine.core.waiting cimport ring
from engine.core.window cimport tally, window_append, window_tally

from engine.core.arena import ArenaError
from engine.core.remark import remark_bytes

cdef int64_t MS = 1000000
cdef uint64_t TIME_MASK = (<uint64_t>1 << 37) - 1
cdef uint32_t PROBE_GENERATION = 0xFFFFF
cdef uint64_t COUNT = (<uint64_t>1 << 40) - 1   # of the words that carry a generation and a count
cdef uint64_t OPENINGS_MAX = 0xFF
cdef int64_t RETRY_NS = 100 * 1000000           # what a caller is told to wait while all probes are out, or outside the ramp

STATES = ("closed", "open", "half_open", "recovering", "forced_open", "forced_closed")


cdef inline int64_t _rest_ns(uint64_t word, int64_t now_ns) noexcept nogil:
    """Nanoseconds until the word's time, compared modulo 2^37 ms; zero or less where it has passed."""
    cdef uint64_t left_ms = ((word & TIME_MASK) - <uint64_t>(now_ns // MS)) & TIME_MASK
    return <int64_t>left_ms * MS - now_ns % MS if left_ms <= TIME_MASK >> 1 else 0


cdef bint _move(adm_view *view, uint64_t seen, uint64_t to, int64_t at_ns, int64_t now_ns) noexcept nogil:
    """The one transition: from the word that was seen to the state `to`, with the time rounded up."""
    cdef uint64_t generation = (_generation(seen) + 1) & GENERATION
    cdef uint64_t at_ms = <uint64_t>((at_ns + MS - 1) // MS) & TIME_MASK
    cdef uint64_t opened
    if not adm_cas(&view.breaker.state, seen, (to << 61) | (generation << 37) | at_ms):
        return False
    journal_add(&view.book, ADM_CIRCUIT + <uint32_t>to, view.index, <uint32_t>generation, 0, now_ns)
    ring(&view.waiters)     # who waits for another rule learns that this one refuses now, or does no more
    while to == OPEN:
        opened = adm_load(&view.breaker.opened)
        if adm_cas(&view.breaker.opened, opened, opened + 1):
            break
    return True


cdef uint64_t _again(adm_view *view, uint64_t seen) noexcept nogil:
    """Openings since a recovery before the one from `seen`; written down for the generation it is for."""
    cdef uint32_t generation = (_generation(seen) + 1) & GENERATION
    cdef uint64_t last, again
    cdef uint32_t since
    while True:
        last = adm_load(&view.breaker.openings)
        since = (generation - <uint32_t>(last >> 8)) & GENERATION
        if since == 0:
            return last & OPENINGS_MAX
        if adm_load(&view.breaker.state) != seen:   # the opening that `last` is for may be a later one
            return 0
        # From one opening to the next: by half-open two transitions; three where it recovered for a while, or was forced open.
        again = min((last & OPENINGS_MAX) + 1, OPENINGS_MAX) if last and _state(seen) != CLOSED and since <= 3 else 0
        if adm_cas(&view.breaker.openings, last, (<uint64_t>generation << 8) | again):
            return again


cdef int64_t _rest_of(const adm_view *view, uint64_t generation, uint64_t again) noexcept nogil:
    """Nanoseconds that the opening of `generation` lasts, the `again`-th after the first."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef int64_t rest_ns = params.open_for_ns
    cdef uint64_t subject[2]
    cdef int64_t span_ns
    while again and rest_ns < params.open_max_ns and params.backoff_milli > 1000:
        rest_ns = min(rest_ns * params.backoff_milli // 1000, params.open_max_ns)
        again -= 1
    span_ns = rest_ns * params.jitter_milli // 1000
    if span_ns == 0:
        return rest_ns
    subject[0] = params.slot
    subject[1] = generation
    return rest_ns - span_ns + <int64_t>(siphash(view.secret, subject, sizeof(subject)) % <uint64_t>(2 * span_ns + 1))


cdef bint _open(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    cdef uint64_t generation = (_generation(seen) + 1) & GENERATION
    return _move(view, seen, OPEN, now_ns + _rest_of(view, generation, _again(view, seen)), now_ns)


cdef inline bint _ends_closed(const adm_view *view, uint64_t word, int64_t now_ns) noexcept nogil:
    """Whether this is a recovery or a forced closure whose time is over: in all but name a closed circuit."""
    if _state(word) == RECOVERING and view.params.breaker.ramp_ns == 0:
        return True
    return (_state(word) == RECOVERING or _state(word) == FORCED_CLOSED) and _rest_ns(word, now_ns) <= 0


cdef bint _end_closed(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """Write down that such a time is over: closed, in the same generation."""
    if not adm_cas(&view.breaker.state, seen, (seen << 3) >> 3):
        return False
    journal_add(&view.book, ADM_CIRCUIT + <uint32_t>CLOSED, view.index, _generation(seen), 0, now_ns)
    return True


cdef uint64_t _now_seen(adm_view *view, int64_t now_ns) noexcept nogil:
    """The state, closed where the time of a recovery or a forced closure is over; its generation stays."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    while _state(seen) != CLOSED and _ends_closed(view, seen, now_ns):
        _end_closed(view, seen, now_ns)
        seen = adm_load(&view.breaker.state)
    return seen


cdef inline uint64_t _counted(uint64_t word, uint32_t generation) noexcept nogil:
    """The count of a word that carries its generation, zero where that is another."""
    return word & COUNT if word >> 40 == generation else 0


cdef inline bint _is_within_share(const adm_view *view, uint64_t seen, uint64_t asked, int64_t now_ns) noexcept nogil:
    """Whether a recovering circuit admits the caller before whom so many asked: one of twenty, then one of four."""
    return asked % (20 if 2 * _rest_ns(seen, now_ns) > view.params.breaker.ramp_ns else 4) == 0


cdef bint _ask_to_recover(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """Count this caller of a recovering circuit, and say whether it is one of the share."""
    cdef uint32_t generation = _generation(seen)
    cdef uint64_t last, asked
    while True:
        last = adm_load(&view.breaker.asked)
        asked = _counted(last, generation)
        if adm_cas(&view.breaker.asked, last, (<uint64_t>generation << 40) | ((asked + 1) & COUNT)):
            return _is_within_share(view, seen, asked, now_ns)


cdef inline bint _current(uint64_t cell, uint32_t generation) noexcept nogil:
    return permit_generation(cell) == (generation & PROBE_GENERATION)


cdef void _decide(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """Leave half-open as soon as the outcomes of its probes settle the question."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef uint32_t passed = 0
    cdef uint32_t failed = 0
    cdef uint32_t i
    cdef uint64_t cell
    for i in range(params.probes):
        cell = adm_load(cell_at(&view.probes, i))
        if _current(cell, _generation(seen)):
            passed += permit_status(cell) == ADM_PASSED
            failed += permit_status(cell) == ADM_FAILED
    if passed >= params.probe_passes:
        _move(view, seen, RECOVERING if params.ramp_ns else CLOSED, now_ns + params.ramp_ns, now_ns)
    elif failed > params.probes - params.probe_passes:
        _open(view, seen, now_ns)


cdef bint _take_probe(adm_view *view, uint64_t seen, uint32_t owner, int64_t now_ns, int64_t life_ns,
                      pass_ *given) noexcept nogil:
    """Claim a probe cell of the half-open generation in `seen`. Marks expired probes as failed on its way."""
    cdef uint32_t generation = _generation(seen)
    cdef uint64_t cell, mine
    cdef adm_word *place
    cdef uint32_t i
    mine = permit_pack(ADM_HELD, owner, generation, permit_expiry(now_ns, life_ns))
    for i in range(view.params.breaker.probes):
        place = cell_at(&view.probes, i)
        cell = adm_load(place)
        if _current(cell, generation):
            if permit_status(cell) == ADM_HELD and permit_expired(cell, now_ns):
                adm_cas(place, cell, permit_with_status(cell, ADM_FAILED))
                continue
            if permit_status(cell) != ADM_FREE:
                continue
        elif adm_load(&view.breaker.state) != seen:
            return False
        # The state was still `seen` after the cell was read, so the cell is not of a later generation.
        if adm_cas(place, cell, mine):
            if adm_load(&view.breaker.state) != seen:
                adm_cas(place, mine, permit_with_status(mine, ADM_FREE))
                return False
            given.admitted = True
            given.generation = generation
            given.cell = i
            given.probe = mine
            return True
    return False


cdef bint breaker_enter_broken(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, pass_ *given) noexcept nogil:
    """Ask a circuit to pass that was not closed a moment ago."""
    cdef uint64_t seen
    if life_ns == 0 or life_ns > view.params.breaker.probe_timeout_ns:
        life_ns = view.params.breaker.probe_timeout_ns
    while True:
        seen = _now_seen(view, now_ns)
        given.generation = _generation(seen)
        given.wait_ns = RETRY_NS
        given.probes_are_out = False
        if _state(seen) == CLOSED or _state(seen) == FORCED_CLOSED:
            given.admitted = True
            return True
        if _state(seen) == RECOVERING:
            given.admitted = _ask_to_recover(view, seen, now_ns)
            return given.admitted
        if _state(seen) != HALF_OPEN:
            given.wait_ns = _rest_ns(seen, now_ns)
            if given.wait_ns > 0:
                return False
            _move(view, seen, HALF_OPEN, now_ns, now_ns)
            continue
        if _take_probe(view, seen, owner, now_ns, life_ns, given):
            return True
        _decide(view, seen, now_ns)
        if adm_load(&view.breaker.state) == seen:
            given.probes_are_out = True
            return False


cdef bint breaker_would_refuse(adm_view *view, int64_t now_ns, int64_t *wait_ns) noexcept nogil:
    """Whether breaker_enter would refuse now, and for how long. Takes and changes nothing."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    cdef uint64_t cell
    cdef uint32_t i
    wait_ns[0] = 0
    if _state(seen) == CLOSED or _state(seen) == FORCED_CLOSED or _ends_closed(view, seen, now_ns):
        return False
    if _state(seen) == OPEN or _state(seen) == FORCED_OPEN:
        wait_ns[0] = _rest_ns(seen, now_ns)
        return wait_ns[0] > 0
    if _state(seen) == RECOVERING:
        wait_ns[0] = RETRY_NS
        return not _is_within_share(view, seen, _counted(adm_load(&view.breaker.asked), _generation(seen)), now_ns)
    for i in range(view.params.breaker.probes):
        cell = adm_load(cell_at(&view.probes, i))
        if not _current(cell, _generation(seen)) or permit_status(cell) == ADM_FREE:
            return False
    wait_ns[0] = RETRY_NS
    return True


cdef tally _tally(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """What the window of the generation in `seen` holds; of failures in a row their number, as calls and as failures."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef tally found
    if params.bucket_ns:
        return buckets_tally(view.buckets, params.bucket_ns, _generation(seen), now_ns)
    if params.window:
        return window_tally(&view.breaker.cursor, view.window, params.chunks, _generation(seen), params.window)
    found.calls = found.failures = <uint32_t>_counted(adm_load(&view.breaker.run), _generation(seen))
    found.slow = 0
    return found


cdef uint64_t _run_append(adm_word *run, uint32_t generation, bint failed) noexcept nogil:
    """Failures in a row, with this outcome. A success that ends no run writes nothing."""
    cdef uint64_t seen, count
    cdef uint32_t ahead
    while True:
        seen = adm_load(run)
        ahead = (<uint32_t>(seen >> 40) - generation) & GENERATION
        if 0 < ahead <= GENERATION >> 1:    # the run of a later generation
            return 0
        count = min(_counted(seen, generation) + 1, COUNT) if failed else 0
        if count == 0 and _counted(seen, generation) == 0:
            return 0
        if adm_cas(run, seen, (<uint64_t>generation << 40) | count):
            return count


cdef inline bint _reaches(uint64_t calls, uint64_t all_calls, uint64_t share_ppm) noexcept nogil:
    return calls != 0 and calls * 1000000 >= share_ppm * all_calls


cdef inline bint _trips(adm_view *view, uint64_t seen, bint failed, bint slow, int64_t now_ns) noexcept nogil:
    """Put an outcome into the window of the closed generation in `seen`; whether that opens the circuit."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef uint64_t calls
    # A success moves a rate up only where it may be the call that makes the rate count at all.
    if params.window:
        calls = window_append(&view.breaker.cursor, view.window, params.chunks, _generation(seen), failed, slow)
        if calls < params.min_calls or not (failed or slow or calls == params.min_calls):
            return False
    elif params.bucket_ns:
        calls = buckets_append(view.buckets, params.bucket_ns, _generation(seen), failed, slow, now_ns)
        if not (failed or slow or calls <= params.min_calls):
            return False
    else:
        return _run_append(&view.breaker.run, _generation(seen), failed) >= params.consecutive
    return _is_over(view, seen, now_ns)


cdef bint _is_over(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """Whether the window reaches one of its rates."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef tally found = _tally(view, seen, now_ns)
    if found.calls < params.min_calls:
        return False
    return (_reaches(found.failures, found.calls, params.failure_ppm)
            or params.slow_after_ns != 0 and _reaches(found.slow, found.calls, params.slow_ppm))


cdef inline bint _is_slow(const adm_view *view, int64_t duration_ns) noexcept nogil:
    return view.params.breaker.slow_after_ns != 0 and duration_ns > view.params.breaker.slow_after_ns


cdef inline bint _record(adm_view *view, uint64_t seen, bint failed, bint slow, int64_t now_ns) noexcept nogil:
    """Count an outcome of a generation that admits without probes. Whether the circuit should open."""
    return _trips(view, seen, failed, slow, now_ns) and _state(seen) != FORCED_CLOSED


cdef inline bint _admits_freely(uint64_t seen) noexcept nogil:
    """Whether the state admits without probes, so that its reports go into the window."""
    return _state(seen) == CLOSED or _state(seen) == RECOVERING or _state(seen) == FORCED_CLOSED


cdef bint breaker_leave(adm_view *view, uint32_t generation, uint32_t cell, uint64_t probe, outcome how,
                        int64_t duration_ns, int64_t now_ns) noexcept nogil:
    """Report how a call ended, and after how long. False where that is void: the state moved on, or the probe was lost."""
    cdef uint64_t seen = _now_seen(view, now_ns)
    cdef bint slow = _is_slow(view, duration_ns)
    cdef uint64_t status
    if _generation(seen) != generation:
        return False
    if probe == 0:
        if not _admits_freely(seen):        # it passed a circuit in the shadow
            return False
        if how != IGNORED and _record(view, seen, how == FAILURE, slow, now_ns):
            _open(view, seen, now_ns)
        return True
    status = ADM_FREE if how == IGNORED else ADM_PASSED if how == SUCCESS and not slow else ADM_FAILED
    if permit_expired(probe, now_ns):
        status = ADM_FAILED
    if cell >= cells_total(view.probes.ends):
        return False
    if not adm_cas(cell_at(&view.probes, cell), probe, permit_with_status(probe, status)):
        return False
    _decide(view, seen, now_ns)
    return not permit_expired(probe, now_ns)


cdef uint64_t breaker_probe_held(adm_view *view, uint32_t cell, uint32_t generation, uint32_t owner) noexcept nogil:
    """The probe in a cell if `owner` holds it in that generation, else zero."""
    cdef uint64_t word
    if cell >= cells_total(view.probes.ends):
        return 0
    word = adm_load(cell_at(&view.probes, cell))
    if permit_status(word) == ADM_HELD and permit_owner(word) == owner and _current(word, generation):
        return word
    return 0


cdef adm_view *_breaker_of(Arena arena, uint32_t row) except NULL:
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_BREAKER:
        raise ArenaError("this circuit breaker was taken out of service")
    return view


cdef uint32_t _shown(const adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """The state for people: what is over is not shown any more, though nobody came to write it down."""
    if _ends_closed(view, seen, now_ns):
        return CLOSED
    if _state(seen) > <uint32_t>FORCED_CLOSED:      # a damaged word; callers take it for open, too
        return OPEN
    return OPEN if _state(seen) == FORCED_OPEN and _rest_ns(seen, now_ns) <= 0 else _state(seen)


cdef uint64_t _force(adm_view *view, uint64_t to, int64_t life_ns, int64_t now_ns) noexcept nogil:
    """Put the circuit into a forced state, whatever its state; the new generation."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    while not _move(view, seen, to, now_ns + life_ns, now_ns):
        seen = adm_load(&view.breaker.state)
    return (_generation(seen) + 1) & GENERATION


def force(Arena arena not None, row, state, int64_t life_ns, reason=""):
    """Put the circuit into "forced_open" or "forced_closed" for `life_ns`, whatever its state. Raises ArenaError without one.

    `reason` is a text of at most 104 bytes, for people; TypeError and ValueError where it is not.
    """
    cdef adm_view *view
    cdef bytes text = remark_bytes(reason)
    cdef adm_remark *remark
    with arena.init_lock():
        view = _breaker_of(arena, row)
        remark = remark_of(arena, &view.breaker.remark)
        remark_write(remark, _force(view, STATES.index(state), life_ns, clock_ns(&arena.time)), text)


def unforce(Arena arena not None, row):
    """End what was forced: forced open becomes half-open, forced closed becomes closed. False where nothing was."""
    cdef adm_view *view = _breaker_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t seen
    while True:
        seen = _now_seen(view, now_ns)
        if _shown(view, seen, now_ns) < <uint32_t>FORCED_OPEN:
            return False
        if _state(seen) == FORCED_OPEN and _move(view, seen, HALF_OPEN, now_ns, now_ns):
            return True
        if _state(seen) == FORCED_CLOSED and _end_closed(view, seen, now_ns):
            return True


def snapshot(Arena arena not None, row):
    """State, generation, calls, failures and slow calls in the window, nanoseconds of rest left, times opened, probes out, reason.

    The reason is what the operator said who forced the state, or "".
    """
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t seen
    cdef tally found
    cdef int64_t wait_ns
    cdef uint32_t i
    cdef str reason = ""
    if view == NULL or not view.params.rules & ADM_HAS_BREAKER:
        return None
    seen = adm_load(&view.breaker.state)
    found = _tally(view, seen, now_ns)
    breaker_would_refuse(view, now_ns, &wait_ns)
    if _shown(view, seen, now_ns) >= <uint32_t>FORCED_OPEN:
        reason = remark_read(arena, &view.breaker.remark, _generation(seen))
    probing = 0
    for i in range(view.params.breaker.probes):
        probing += breaker_probe_held(view, i, _generation(seen), permit_owner(adm_load(cell_at(&view.probes, i)))) != 0
    return (STATES[_shown(view, seen, now_ns)], _generation(seen), found.calls, found.failures, found.slow, max(wait_ns, 0),
            adm_load(&view.breaker.opened), probing, reason)


cdef class CircuitBreaker:
    """One circuit breaker of an arena, without a policy around it.

    It hands out no permits: a report counts for the state it meets, and while half-open it settles a probe of this process.
    """

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    def try_acquire(self):
        """Whether a call may go ahead now."""
        cdef adm_view *view = _breaker_of(self.arena, self.row)
        cdef int64_t now_ns
        cdef pass_ given
        if _state(adm_load(&view.breaker.state)) == CLOSED:
            return True
        now_ns = clock_ns(&self.arena.time)
        if breaker_enter(view, self.arena.owner, now_ns, 0, &given):
            return True
        return sweep(self.arena, now_ns) > 0 and breaker_enter(view, self.arena.owner, now_ns, 0, &given)

    def record(self, ok, duration=0.0):
        """Report a call that ended well (`ok`) or not, after `duration` seconds. False where the report is void."""
        cdef adm_view *view = _breaker_of(self.arena, self.row)
        cdef const adm_breaker_params *params = &view.params.breaker
        cdef uint64_t seen = adm_load(&view.breaker.state)
        cdef bint failed = not ok
        cdef bint slow = params.slow_after_ns and <double>duration * 1e9 > <double>params.slow_after_ns
        cdef int64_t now_ns = 0
        if _state(seen) != CLOSED or params.bucket_ns:
            now_ns = clock_ns(&self.arena.time)
            seen = _now_seen(view, now_ns)
        if not _admits_freely(seen):
            return self._settle_probe(view, seen, FAILURE if failed or slow else SUCCESS, now_ns)
        if _record(view, seen, failed, slow, now_ns):
            _open(view, seen, clock_ns(&self.arena.time))
        return True

    def ignore(self):
        """Report a call that was cancelled: it counts neither way and frees its probe."""
        cdef adm_view *view = _breaker_of(self.arena, self.row)
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef uint64_t seen = _now_seen(view, now_ns)
        return _admits_freely(seen) or self._settle_probe(view, seen, IGNORED, now_ns)

    cdef bint _settle_probe(self, adm_view *view, uint64_t seen, outcome how, int64_t now_ns):
        """Report for a probe of this process, whichever comes first. False where it holds none."""
        cdef uint64_t probe
        cdef uint32_t i
        for i in range(view.params.breaker.probes):
            probe = breaker_probe_held(view, i, _generation(seen), self.arena.owner)
            if probe:
                return breaker_leave(view, _generation(seen), i, probe, how, 0, now_ns)
        return False

    @property
    def state(self):
        """One of STATES; an open circuit becomes half-open when somebody asks after its rest."""
        cdef adm_view *view = _breaker_of(self.arena, self.row)
        return STATES[_shown(view, adm_load(&view.breaker.state), clock_ns(&self.arena.time))]
