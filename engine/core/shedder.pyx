"""Load shedder: at most `limit` calls in flight, the less important ones turned away first.

Each call in flight holds a permit (permit.pxd) in a cell, as in a bulkhead. Four of the 20 bits of its generation say
what it is:

    51      49 48          47              32
    +---------+-----------+------------------+
    | class   | revocable | generation       |        0 critical, 1 high, 2 normal, 3 low, 4 sheddable
    +---------+-----------+------------------+

A word counts the cells in use. An admission counts up from c to c + 1 if c is below its class's share of the limit,
and then takes one of the first `limit` cells; a report frees the cell and counts down. Both are one compare-and-swap
each, and between them a process may be killed: then the count is one too high. So somebody who is refused looks, at
most every 250 ms: counts the held cells and frees those that have expired, twice, and moves the count by what both
looks have found missing or too much. Changes under way at one look are not at the other, and those that happen
meanwhile are kept, because the count is moved and not set.

Exact: never do two hold one cell, and never are more calls admitted than there are cells below the limit.
Approximate: which class gets the last places, while the count is off: too high by those killed between their two
steps, for up to 250 ms from the next refusal; by one or two where both looks met somebody between the steps. Where
the limit has come down, calls admitted before may be above it until they end.

Revoking. A caller of a class that is at its share takes over the cell of a call of a lower class that declared itself
revocable: of the lowest class there is, the newest. That is one compare-and-swap from the victim's word to the
newcomer's, so neither count nor limit notice. It is the last step of an admission, when every other rule has
admitted, so a refusal revokes nobody. The victim sees that its cell no longer holds its word; its own report finds
the same and changes nothing here. When a revocable permit was granted stands in a word beside its cell, which is
written after the cell: until then, or if its process slept in between, it is taken for older or newer than it is.

Why 16 bits of generation are enough: a permit that cannot be revoked leaves its holder without his knowledge only
when the owner died, whose row is not given away before all its permits are free. One that can always has an expiry,
of a day where nobody asked for less. So for a victim's word to come back, its cell must be granted 65,536 times to
the same process, class and kind in the very 17 ms in which the victim got it.

Deadline. A caller is refused as `deadline` who has less time left than calls take: a moving average over the last
successes (1/16 each), forgotten when none was reported for a second, so that it cannot refuse the calls that would
correct it.

A process may note a lag of its own, such as that of its event loop. One longer than `max_lag` shrinks the limit in
that proportion, to half of it at most, for a second; the last one noted counts.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.adaptive cimport estimate_limit, estimate_record
from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_note, adm_peek, adm_publish, adm_word
from engine.core.cells cimport cell_at, is_held, move_count
from engine.core.clock cimport clock_ns
from engine.core.layout cimport (
    ADM_DEADLINE, ADM_FREE, ADM_HAS_SHEDDER, ADM_HELD, ADM_OK, ADM_RANKS, ADM_SHED, adm_shedder, adm_shedder_params,
)
from engine.core.permit cimport (
    permit_expired, permit_expiry, permit_generation, permit_owner, permit_pack, permit_status, permit_with_status,
)
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of
from engine.core.whole cimport whole

from engine.core.arena import ArenaError

cdef int64_t MS = 1000000
cdef int64_t DAY_NS = 86400 * 1000 * MS
cdef uint64_t RECOUNT_EVERY_MS = 250
cdef uint64_t PRESSURE_MS = 1000
cdef uint64_t PRESSURE_LEAST_MILLI = 500
cdef uint64_t TIME_MASK = (<uint64_t>1 << 48) - 1
cdef int64_t SERVICE_KNOWN_NS = 1000 * MS
cdef double SERVICE_SHARE = 1.0 / 16
cdef double LONGEST_NS = 1e18
cdef uint32_t REVOKE_TRIES = 8

PRIORITY_NORMAL = NORMAL + 1
CLASSES = ("critical", "high", "normal", "low", "sheddable")


cdef inline uint32_t _rank(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 49) & 7


cdef inline bint _is_revocable(uint64_t word) noexcept nogil:
    return word >> 48 & 1


cdef inline uint64_t _permit(const wish *wanted, uint64_t before, int64_t now_ns) noexcept nogil:
    """The permit that follows `before` in its cell."""
    cdef uint64_t generation = ((permit_generation(before) + 1) & 0xFFFF) | (wanted.rank << 17) | (wanted.revocable << 16)
    cdef int64_t life_ns = DAY_NS if wanted.revocable and wanted.life_ns == 0 else wanted.life_ns
    return permit_pack(ADM_HELD, wanted.owner, generation, permit_expiry(now_ns, life_ns))


# ---- the count ----


cdef inline bint _count_up(adm_word *in_use, uint64_t share, uint64_t *seen) noexcept nogil:
    """Count one more where fewer than `share` are counted; `seen` is the count before."""
    while True:
        seen[0] = adm_load(in_use)
        if seen[0] >= share:
            return False
        if adm_cas(in_use, seen[0], seen[0] + 1):
            return True


cdef int64_t _missing(adm_view *view, int64_t now_ns) noexcept nogil:
    """By how much the count falls short of the cells that are held. Frees those that have expired."""
    cdef int64_t counted = <int64_t>adm_load(&view.shedder.in_use)
    cdef int64_t found = 0
    cdef adm_word *cell
    cdef uint64_t word
    cdef uint32_t i
    for i in range(view.params.shedder.high):
        cell = cell_at(&view.seats, i)
        word = adm_load(cell)
        if is_held(word, now_ns):
            found += 1
        elif permit_status(word) == ADM_HELD:
            # Without its expiry a freed word says that it was taken away, not handed back.
            adm_cas(cell, word, permit_with_status(word, ADM_FREE) & ~<uint64_t>0xFFFFFFFF)
    return found - counted


cdef bint _recount(adm_view *view, int64_t now_ns) noexcept nogil:
    """Put the count right, at most once in 250 ms host-wide. Whether it was wrong."""
    cdef uint64_t now_ms = <uint64_t>(now_ns // MS)
    cdef uint64_t last_ms = adm_load(&view.shedder.recounted_ms)
    cdef int64_t first, second
    if now_ms - last_ms < RECOUNT_EVERY_MS and now_ms >= last_ms:
        return False
    if not adm_cas(&view.shedder.recounted_ms, last_ms, now_ms):
        return False
    first = _missing(view, now_ns)
    second = _missing(view, now_ns)
    if first == 0 or second == 0 or (first > 0) != (second > 0):
        return False
    move_count(&view.shedder.in_use, min(first, second) if first > 0 else max(first, second))
    return True


# ---- admission ----


cdef uint32_t shedder_limit(adm_view *view, int64_t now_ns) noexcept nogil:
    """Calls that may be in flight now, under the pressure there is."""
    cdef uint32_t limit = <uint32_t>estimate_limit(&view.shedder.estimate, &view.params.shedder.adaptive)
    cdef uint64_t pressure = adm_load(&view.shedder.pressure)
    if pressure == 0 or ((pressure & TIME_MASK) - <uint64_t>(now_ns // MS) - 1) >= PRESSURE_MS:
        return limit
    return max(<uint32_t>(limit * min(pressure >> 48, 1000) // 1000), 1)


cdef inline uint32_t _share(const adm_shedder_params *params, uint32_t rank, uint64_t limit) noexcept nogil:
    """Places of the limit that a class may fill: one at least."""
    return max(<uint32_t>(limit * params.share_milli[rank] // 1000), 1)


cdef int64_t _service_ns(const adm_view *view, int64_t now_ns) noexcept nogil:
    """What a call takes, or zero where that is not known."""
    cdef int64_t since_ns = now_ns - <int64_t>adm_load(&view.shedder.served_ns)
    cdef uint64_t bits = adm_load(&view.shedder.service_ns)
    cdef double average
    memcpy(&average, &bits, sizeof(average))
    if not 0 <= since_ns < SERVICE_KNOWN_NS or not 0 < average < LONGEST_NS:
        return 0
    return <int64_t>average


cdef bint _take(adm_view *view, const wish *wanted, int64_t now_ns, seating *given) noexcept nogil:
    """Take one of the cells below the limit, where this process was lucky last or elsewhere."""
    cdef uint32_t limit = <uint32_t>estimate_limit(&view.shedder.estimate, &view.params.shedder.adaptive)
    cdef uint32_t step
    cdef uint64_t seen
    given.index = <uint32_t>adm_peek(&view.seats_hint)
    for step in range(limit):
        if given.index >= limit:
            given.index = 0
        given.cell = cell_at(&view.seats, given.index)
        seen = adm_load(given.cell)
        if not is_held(seen, now_ns):
            given.word = _permit(wanted, seen, now_ns)
            if adm_cas(given.cell, seen, given.word):
                adm_note(&view.seats_hint, given.index)
                if permit_status(seen) == ADM_HELD:     # expired, and still counted
                    move_count(&view.shedder.in_use, -1)
                return True
        given.index += 1
    given.word = 0
    return False


cdef void _announce(adm_view *view, const seating *given, int64_t now_ns) noexcept nogil:
    """Say when a revocable permit was granted, and that there is one."""
    cdef uint64_t seen
    adm_publish(cell_at(&view.born, given.index), <uint64_t>now_ns)
    while True:
        seen = adm_load(&view.shedder.revocables)
        if adm_cas(&view.shedder.revocables, seen, seen + 1):
            return


cdef bint _admit(adm_view *view, const wish *wanted, uint32_t share, int64_t now_ns, bint keep,
                 seating *given) noexcept nogil:
    """Count up and take a cell, or only look whether that would do."""
    cdef uint64_t seen
    if not keep:
        return adm_load(&view.shedder.in_use) < share
    if not _count_up(&view.shedder.in_use, share, &seen):
        return False
    given.in_flight = <uint32_t>seen + 1
    if not _take(view, wanted, now_ns, given):
        move_count(&view.shedder.in_use, -1)
        return False
    if wanted.revocable:
        _announce(view, given, now_ns)
    return True


cdef int64_t _wait_ns(const adm_view *view, uint32_t share, int64_t now_ns) noexcept nogil:
    """How long until fewer than `share` are in flight, if they end evenly and nobody else comes; zero: not known."""
    cdef uint64_t counted = adm_load(&view.shedder.in_use)
    if counted < share:
        return 0
    return <int64_t>(<double>_service_ns(view, now_ns) * (counted - share + 1) / counted)


cdef uint32_t shedder_enter(adm_view *view, const wish *wanted, int64_t now_ns, bint keep, seating *given) noexcept nogil:
    """ADM_OK, ADM_SHED or ADM_DEADLINE. `keep` False only looks, and looks after nothing."""
    cdef uint32_t share = _share(&view.params.shedder, wanted.rank, shedder_limit(view, now_ns))
    given.word = 0
    given.by_revoking = False
    given.wait_ns = 0
    if wanted.deadline_ns and wanted.deadline_ns < _service_ns(view, now_ns):
        return ADM_DEADLINE
    if _admit(view, wanted, share, now_ns, keep, given):
        return ADM_OK
    if _recount(view, now_ns) and _admit(view, wanted, share, now_ns, keep, given):
        return ADM_OK
    if _victim(view, wanted.rank, now_ns) != NOBODY:
        given.by_revoking = True
        return ADM_OK
    given.wait_ns = _wait_ns(view, share, now_ns)
    return ADM_SHED


# ---- revoking ----

cdef enum:
    NOBODY = 0xFFFFFFFF


cdef uint32_t _victim(adm_view *view, uint32_t rank, int64_t now_ns) noexcept nogil:
    """The cell of the newest revocable permit of the lowest class below `rank`, or NOBODY."""
    cdef uint64_t announced = adm_load(&view.shedder.revocables)
    cdef uint64_t gone = adm_load(&view.shedder.revocables_gone)
    cdef uint32_t found = NOBODY
    cdef uint32_t lowest = rank
    cdef int64_t newest = 0
    cdef bint any_one = False
    cdef uint64_t word
    cdef int64_t born
    cdef uint32_t i
    if announced == gone:
        return NOBODY
    for i in range(view.params.shedder.high):
        word = adm_load(cell_at(&view.seats, i))
        if not _is_revocable(word) or not is_held(word, now_ns):
            continue
        any_one = True
        born = <int64_t>adm_load(cell_at(&view.born, i))
        if _rank(word) > lowest or (_rank(word) == lowest and found != NOBODY and born > newest):
            found, lowest, newest = i, _rank(word), born
    if not any_one:
        adm_cas(&view.shedder.revocables_gone, gone, announced)
    return found


cdef bint shedder_revoke(adm_view *view, const wish *wanted, int64_t now_ns, seating *given) noexcept nogil:
    """Take over the place of a victim. False where there is none any more."""
    cdef uint64_t seen
    cdef uint32_t tries
    for tries in range(REVOKE_TRIES):
        given.index = _victim(view, wanted.rank, now_ns)
        if given.index == NOBODY:
            break
        given.cell = cell_at(&view.seats, given.index)
        seen = adm_load(given.cell)
        if not _is_revocable(seen) or _rank(seen) <= wanted.rank or not is_held(seen, now_ns):
            continue
        given.word = _permit(wanted, seen, now_ns)
        if adm_cas(given.cell, seen, given.word):
            given.in_flight = <uint32_t>adm_load(&view.shedder.in_use)
            if wanted.revocable:
                _announce(view, given, now_ns)
            return True
    given.word = 0
    return False


# ---- reports ----


cdef bint shedder_give_back(adm_view *view, const seating *held) noexcept nogil:
    """Free the place of a permit. False where it is not held any more: reported, revoked, taken over or repaired."""
    if view.shedder == NULL or not adm_cas(held.cell, held.word, permit_with_status(held.word, ADM_FREE)):
        return False
    move_count(&view.shedder.in_use, -1)
    return True


cdef void _time_service(adm_view *view, double duration_ns, int64_t now_ns) noexcept nogil:
    """Put a call into the moving average, which begins anew where it was forgotten. One try: an update may be lost."""
    cdef uint64_t seen = adm_load(&view.shedder.service_ns)
    cdef uint64_t served = adm_load(&view.shedder.served_ns)
    cdef uint64_t bits
    cdef double average
    memcpy(&average, &seen, sizeof(average))
    if _service_ns(view, now_ns) == 0:
        average = duration_ns
    average += (duration_ns - average) * SERVICE_SHARE
    memcpy(&bits, &average, sizeof(bits))
    adm_cas(&view.shedder.service_ns, seen, bits)
    adm_cas(&view.shedder.served_ns, served, <uint64_t>now_ns)


cdef bint shedder_leave(adm_view *view, const seating *held, bint learn, bint failed, int64_t duration_ns,
                        int64_t now_ns) noexcept nogil:
    """Give a place back, and if `learn` learn from the call. False, and nothing learned, where it was lost or late."""
    if not shedder_give_back(view, held) or permit_expired(held.word, now_ns):
        return False
    if learn:
        if not failed and duration_ns > 0:
            _time_service(view, <double>duration_ns, now_ns)
        estimate_record(&view.shedder.estimate, &view.params.shedder.adaptive, duration_ns, held.in_flight, failed, now_ns)
    return True


# ---- pressure ----


cdef void shedder_note_lag(adm_view *view, int64_t lag_ns, int64_t now_ns) noexcept nogil:
    """Shrink the limit for a second where something lags behind by more than the rule allows."""
    cdef uint64_t until_ms = (<uint64_t>(now_ns // MS) + PRESSURE_MS) & TIME_MASK
    cdef uint64_t milli, seen
    if lag_ns <= view.params.shedder.lag_ns:
        return
    milli = max(<uint64_t>(1000.0 * view.params.shedder.lag_ns / lag_ns), PRESSURE_LEAST_MILLI)
    while True:
        seen = adm_load(&view.shedder.pressure)
        if adm_cas(&view.shedder.pressure, seen, (milli << 48) | until_ms):
            return


cdef adm_view *_shedder_of(Arena arena, uint32_t row) except NULL:
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_SHEDDER:
        raise ArenaError("this shedder was taken out of service")
    return view


def note_lag(Arena arena not None, row, double lag):
    """Note a lag of `lag` seconds. Raises ArenaError where the row has no shedder."""
    shedder_note_lag(_shedder_of(arena, row), <int64_t>(min(max(lag, 0.0), 1e6) * 1e9), clock_ns(&arena.time))


def snapshot(Arena arena not None, row):
    """Permits held now in all and by class, and the limit; None without a shedder."""
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t word
    cdef uint32_t i
    if view == NULL or not view.params.rules & ADM_HAS_SHEDDER:
        return None
    _recount(view, now_ns)
    by_class = dict.fromkeys(CLASSES, 0)
    for i in range(view.params.shedder.high):
        word = adm_load(cell_at(&view.seats, i))
        if is_held(word, now_ns):
            by_class[CLASSES[min(_rank(word), <uint32_t>SHEDDABLE)]] += 1
    return sum(by_class.values()), shedder_limit(view, now_ns), by_class


# ---- the primitive ----


cdef class Shedder:
    """One load shedder of an arena, without a policy around it.

    Permits of a class are not told apart: any of this process may be given back. They are not revocable, but may revoke.
    """

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef bint _take(self, adm_view *view, const wish *wanted, int64_t now_ns) noexcept:
        cdef seating given
        if shedder_enter(view, wanted, now_ns, True, &given) != ADM_OK:
            return False
        return not given.by_revoking or shedder_revoke(view, wanted, now_ns, &given)

    def try_acquire(self, priority=PRIORITY_NORMAL, deadline=None):
        """Take a place if work of that class, with `deadline` seconds left for it, is admitted now.

        `priority` is from engine.CRITICAL to engine.SHEDDABLE; TypeError and ValueError for what is none.
        """
        cdef adm_view *view = _shedder_of(self.arena, self.row)
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef wish wanted
        wanted.owner = self.arena.owner
        wanted.rank = _rank_of(priority)
        wanted.revocable = False
        wanted.life_ns = 0
        wanted.deadline_ns = 0 if deadline is None else _left_ns(deadline)
        return self._take(view, &wanted, now_ns) or sweep(self.arena, now_ns) > 0 and self._take(view, &wanted, now_ns)

    def release(self, priority=PRIORITY_NORMAL):
        """Give one of this process's places of that class back. Raises ValueError where it holds none."""
        self._leave(_rank_of(priority), False, False, 0)

    def record(self, ok, duration, priority=PRIORITY_NORMAL):
        """Give a place back and report how the work went, and that it took `duration` seconds. Raises as `release` does."""
        self._leave(_rank_of(priority), True, not ok, <int64_t>(<double>duration * 1e9))

    cdef _leave(self, uint32_t rank, bint learn, bint failed, int64_t duration_ns):
        cdef adm_view *view = _shedder_of(self.arena, self.row)
        cdef seating held
        cdef uint32_t step
        held.in_flight = <uint32_t>adm_load(&view.shedder.in_use)
        held.index = <uint32_t>adm_peek(&view.seats_hint)
        for step in range(view.params.shedder.high):
            if held.index >= view.params.shedder.high:
                held.index = 0
            held.cell = cell_at(&view.seats, held.index)
            held.word = adm_load(held.cell)
            if (permit_status(held.word) == ADM_HELD and permit_owner(held.word) == self.arena.owner
                    and _rank(held.word) == rank
                    and shedder_leave(view, &held, learn, failed, duration_ns, clock_ns(&self.arena.time))):
                adm_note(&view.seats_hint, held.index)
                return
            held.index += 1
        raise ValueError("a shedder of which this process holds no such place")

    def note_lag(self, lag):
        """Say by how many seconds this process, or its event loop, lags behind: too much shrinks the limit for a second."""
        note_lag(self.arena, self.row, lag)

    @property
    def in_use(self):
        """Places taken now, by all processes and classes."""
        return snapshot(self.arena, self.row)[0]

    @property
    def limit(self):
        """Places there are now."""
        return shedder_limit(_shedder_of(self.arena, self.row), clock_ns(&self.arena.time))


cdef uint32_t _rank_of(priority) except? 99:
    return <uint32_t>whole(priority, "priority", CRITICAL + 1, SHEDDABLE + 1) - 1


cdef int64_t _left_ns(deadline) except? 0:
    """What a caller has left: never the zero that stands for no deadline, and at most a year."""
    cdef int64_t left_ns = <int64_t>(min(max(<double>float(deadline), -1.0), 366 * 86400.0) * 1e9)
    return left_ns if left_ns else -1
