"""Circuit breaker: a state in one word, a window of outcomes, and leased probes.

    63  62 61             38 37                                   0
    +------+----------------+-------------------------------------+
    | state| generation     | time, ms of the monotonic clock     |
    +------+----------------+-------------------------------------+

The time is the end of the rest while open, else the instant the state was entered. Every transition is one compare-and-swap
that adds one to the generation:

    from        to          when
    closed      open        a call is recorded, min_calls are in the window, and failures / calls >= failure_rate
    open        half-open   a caller comes and the rest is over
    half-open   closed      so many probes passed that probe_success_rate is reached
    half-open   open        so many probes failed that it cannot be reached any more

A half-open generation admits `probes` calls in all, host-wide. Each takes a probe cell (permit.pxd) that carries the generation, the
owner and a deadline. The cell ends as passed or failed; an ignored call frees it for another caller; one that expired or lost its
owner has failed. How many passed and failed is counted from the cells, so a kill leaves nothing to repair but the cell, and
half-open cannot get stuck: whoever finds no cell free looks for expired ones and decides.

Reports of an older generation are void. The window (window.pyx) belongs to one closed generation, so closing empties it.

Why 24 bits of generation are enough: two transitions take at least the 10 ms that a circuit rests, so a report would have to be 23 hours late
under uninterrupted flapping to be counted where it does not belong. A probe cell keeps 20 of them: it would have to be left untouched for a
million transitions. Approximate: times are whole milliseconds, rounded up; a probe's deadline may come 17 ms late.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.cells cimport cell_at, cells_total
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_FAILED, ADM_FREE, ADM_HAS_BREAKER, ADM_HELD, ADM_PASSED, adm_breaker_params
from engine.core.permit cimport (
    permit_expired, permit_expiry, permit_generation, permit_owner, permit_pack, permit_status, permit_with_status,
)
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of
from engine.core.window cimport tally, window_append, window_tally

from engine.core.arena import ArenaError

cdef int64_t MS = 1000000
cdef uint64_t TIME_MASK = (<uint64_t>1 << 38) - 1
cdef uint32_t GENERATION = 0xFFFFFF
cdef uint32_t PROBE_GENERATION = 0xFFFFF
cdef int64_t PROBE_RETRY_NS = 100 * 1000000     # what a caller is told to wait while all probes are out

STATES = ("closed", "open", "half_open")


cdef inline uint32_t _state(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 62)


cdef inline uint32_t _generation(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 38) & GENERATION


cdef inline int64_t _rest_ns(uint64_t word, int64_t now_ns) noexcept nogil:
    """Nanoseconds until the word's time, compared modulo 2^38 ms; zero or less where it has passed."""
    cdef uint64_t left_ms = ((word & TIME_MASK) - <uint64_t>(now_ns // MS)) & TIME_MASK
    return <int64_t>left_ms * MS - now_ns % MS if left_ms <= TIME_MASK >> 1 else 0


cdef bint _move(adm_view *view, uint64_t seen, uint64_t to, int64_t at_ns) noexcept nogil:
    """The one transition: from the word that was seen to the state `to`, with the time rounded up."""
    cdef uint64_t generation = (_generation(seen) + 1) & GENERATION
    cdef uint64_t at_ms = <uint64_t>((at_ns + MS - 1) // MS) & TIME_MASK
    cdef uint64_t opened
    if not adm_cas(&view.breaker.state, seen, (to << 62) | (generation << 38) | at_ms):
        return False
    while to == OPEN:
        opened = adm_load(&view.breaker.opened)
        if adm_cas(&view.breaker.opened, opened, opened + 1):
            break
    return True


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
        _move(view, seen, CLOSED, now_ns)
    elif failed > params.probes - params.probe_passes:
        _move(view, seen, OPEN, now_ns + params.open_for_ns)


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


cdef bint breaker_enter(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, pass_ *given) noexcept nogil:
    """Ask to pass. A probe of `owner` lives `life_ns`, at most the probe timeout; zero: the probe timeout."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    given.probe = 0
    given.generation = _generation(seen)
    given.admitted = _state(seen) == CLOSED
    return given.admitted or _enter_broken(view, owner, now_ns, life_ns, given)


cdef bint _enter_broken(adm_view *view, uint32_t owner, int64_t now_ns, int64_t life_ns, pass_ *given) noexcept nogil:
    cdef uint64_t seen
    if life_ns == 0 or life_ns > view.params.breaker.probe_timeout_ns:
        life_ns = view.params.breaker.probe_timeout_ns
    while True:
        seen = adm_load(&view.breaker.state)
        given.generation = _generation(seen)
        if _state(seen) == CLOSED:
            given.admitted = True
            return True
        if _state(seen) == OPEN:
            given.wait_ns = _rest_ns(seen, now_ns)
            if given.wait_ns > 0:
                return False
            _move(view, seen, HALF_OPEN, now_ns)
            continue
        if _take_probe(view, seen, owner, now_ns, life_ns, given):
            return True
        _decide(view, seen, now_ns)
        if adm_load(&view.breaker.state) == seen:
            given.wait_ns = PROBE_RETRY_NS
            return False


cdef bint breaker_would_refuse(adm_view *view, int64_t now_ns, int64_t *wait_ns) noexcept nogil:
    """Whether breaker_enter would refuse now, and for how long. Takes and changes nothing."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    cdef uint64_t cell
    cdef uint32_t i
    wait_ns[0] = 0
    if _state(seen) == CLOSED:
        return False
    if _state(seen) == OPEN:
        wait_ns[0] = _rest_ns(seen, now_ns)
        return wait_ns[0] > 0
    for i in range(view.params.breaker.probes):
        cell = adm_load(cell_at(&view.probes, i))
        if not _current(cell, _generation(seen)) or permit_status(cell) == ADM_FREE:
            return False
    wait_ns[0] = PROBE_RETRY_NS
    return True


cdef inline tally _tally(adm_view *view, uint64_t seen) noexcept nogil:
    return window_tally(&view.breaker.cursor, view.window, view.params.breaker.chunks, _generation(seen),
                        view.params.breaker.window)


cdef bint _trips(adm_view *view, uint64_t seen, bint failed) noexcept nogil:
    """Put an outcome into the window of the closed generation in `seen`; whether that opens the circuit."""
    cdef const adm_breaker_params *params = &view.params.breaker
    cdef uint64_t calls
    cdef tally found
    calls = window_append(&view.breaker.cursor, view.window, params.chunks, _generation(seen), failed)
    # A success moves the rate up only where it is the call that makes the rate count at all.
    if calls < params.min_calls or not (failed or calls == params.min_calls):
        return False
    found = _tally(view, seen)
    return found.failures != 0 and <uint64_t>found.failures * 1000000 >= <uint64_t>params.failure_ppm * found.calls


cdef bint breaker_leave(adm_view *view, uint32_t generation, uint32_t cell, uint64_t probe, outcome how,
                        int64_t now_ns) noexcept nogil:
    """Report how a call ended. False where the report is void: the state has moved on, or the probe was lost."""
    cdef uint64_t seen = adm_load(&view.breaker.state)
    cdef uint64_t status
    if _generation(seen) != generation:
        return False
    if probe == 0:
        if how != IGNORED and _trips(view, seen, how == FAILURE):
            _move(view, seen, OPEN, now_ns + view.params.breaker.open_for_ns)
        return True
    status = ADM_PASSED if how == SUCCESS else ADM_FAILED if how == FAILURE else ADM_FREE
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


def snapshot(Arena arena not None, row):
    """State, generation, calls and failures in the window, nanoseconds of rest left, times opened, probes out."""
    cdef adm_view *view = view_of(arena, row)
    cdef uint64_t seen
    cdef tally found
    cdef int64_t wait_ns
    cdef uint32_t i
    if view == NULL or not view.params.rules & ADM_HAS_BREAKER:
        return None
    seen = adm_load(&view.breaker.state)
    found = _tally(view, seen)
    breaker_would_refuse(view, clock_ns(&arena.time), &wait_ns)
    probing = 0
    for i in range(view.params.breaker.probes):
        probing += breaker_probe_held(view, i, _generation(seen), permit_owner(adm_load(cell_at(&view.probes, i)))) != 0
    return (STATES[_state(seen)], _generation(seen), found.calls, found.failures, max(wait_ns, 0),
            adm_load(&view.breaker.opened), probing)


cdef class CircuitBreaker:
    """One circuit breaker of an arena, without a policy around it.

    It hands out no permits: a report counts for the state it meets, and while half-open it settles a probe of this process.
    """

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_BREAKER:
            raise ArenaError("this circuit breaker was taken out of service")
        return view

    def try_acquire(self):
        """Whether a call may go ahead now."""
        cdef adm_view *view = self._view()
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
        cdef adm_view *view = self._view()
        cdef uint64_t seen = adm_load(&view.breaker.state)
        cdef bint failed = not ok
        if _state(seen) != CLOSED:
            return self._settle_probe(view, seen, FAILURE if failed else SUCCESS)
        if _trips(view, seen, failed):
            _move(view, seen, OPEN, clock_ns(&self.arena.time) + view.params.breaker.open_for_ns)
        return True

    def ignore(self):
        """Report a call that was cancelled: it counts neither way and frees its probe."""
        cdef adm_view *view = self._view()
        cdef uint64_t seen = adm_load(&view.breaker.state)
        return _state(seen) == CLOSED or self._settle_probe(view, seen, IGNORED)

    cdef bint _settle_probe(self, adm_view *view, uint64_t seen, outcome how):
        """Report for a probe of this process, whichever comes first. False where it holds none."""
        cdef uint64_t probe
        cdef uint32_t i
        for i in range(view.params.breaker.probes):
            probe = breaker_probe_held(view, i, _generation(seen), self.arena.owner)
            if probe:
                return breaker_leave(view, _generation(seen), i, probe, how, clock_ns(&self.arena.time))
        return False

    @property
    def state(self):
        """ "closed", "open" or "half_open"; an open circuit becomes half-open when somebody asks after its rest."""
        return STATES[_state(adm_load(&self._view().breaker.state))]
