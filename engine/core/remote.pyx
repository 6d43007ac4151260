"""The permits of remote callers: words of the arena's own, which expire, and beside each what it stands for.

A permit in a process lies in that process's memory and is given back by it, or by repair. A remote caller holds a name (token.pxd), with
which it may come to any process of the host, or never. So its permit is a word in the arena (permit.pxd) that ends by time, and what the
call holds - a place in the bulkhead or the load shedder, a probe, tokens of somebody - stands in a record at the same index:

    granted      take a free word by one compare-and-swap, write the record, `made` last, and only then tell the caller its name
    reported     read the record, free the word by one compare-and-swap: who succeeds gives back what the record says, once
    extended     move the expiry of the word, then those of its places; the name stays
    forgotten    everything expires at the same instant, by itself

A record is the word's only while `made` carries the word's generation, and a name is the record's only where the time agrees: so a report
that comes late, twice, or between the granting of a word and its record finds that it is void. Whoever is killed between two of
these steps leaves permits that expire.

A place in the load shedder may be taken away for a more important call; who extends or reports is told.

Approximate: an extension that is killed between its steps leaves places with the earlier end.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.admit cimport count_outcome, request, verdict
from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_note, adm_peek, adm_publish, adm_word
from engine.core.breaker cimport FAILURE, IGNORED, breaker_leave, breaker_probe_held
from engine.core.bulkhead cimport bulkhead_in_use, bulkhead_settle
from engine.core.cells cimport cells, grant, take_cell
from engine.core.layout cimport (
    ADM_FREE, ADM_HAS_BREAKER, ADM_HAS_RATE_LIMIT, ADM_HELD, ADM_REMOTE_MAX, ADM_REMOTE_OWNER, ADM_ROWS_MAX, adm_remote,
)
from engine.core.keys cimport subject
from engine.core.limiter cimport limiter_adjust
from engine.core.permit cimport permit_expired, permit_expiry, permit_generation, permit_pack, permit_status, permit_with_status
from engine.core.shedder cimport seating, shedder_leave
from engine.core.token cimport token
from engine.core.view cimport adm_view, rate_of, view_of
from engine.core.waiting cimport ring

cdef uint64_t EXPIRY = 0xFFFFFFFF


cdef inline adm_word *_words(Arena arena) noexcept nogil:
    return <adm_word *>(arena.base + arena.remote_at)


cdef inline adm_remote *_record(Arena arena, uint32_t index) noexcept nogil:
    return <adm_remote *>(arena.base + arena.remote_at + ADM_REMOTE_MAX * sizeof(adm_word)) + index


cdef cells _cells(Arena arena) noexcept nogil:
    cdef cells all_of_them
    cdef uint32_t k
    for k in range(8):
        all_of_them.at[k] = _words(arena)
        all_of_them.ends[k] = ADM_REMOTE_MAX if k == 0 else 0
    return all_of_them


cdef bint remote_issue(Arena arena, adm_view *view, int64_t now_ns, const request *asked, const verdict *given,
                       token *name) noexcept nogil:
    """Make a permit for what an admission holds, and name it. False where all are out."""
    cdef cells places = _cells(arena)
    cdef adm_remote *record
    cdef uint64_t at
    cdef grant held
    if not take_cell(&places, ADM_REMOTE_MAX, <uint32_t>adm_peek(&arena.remote_hint), ADM_REMOTE_OWNER, now_ns,
                     asked.life_ns, &held):
        return False
    adm_note(&arena.remote_hint, held.index + 1)
    record = _record(arena, held.index)
    adm_note(&record.since_ns, <uint64_t>now_ns)
    adm_note(&record.place, 0)
    if given.permit.word:
        at = <uint64_t>(given.permit.cell - <adm_word *>arena.base)
        adm_note(&record.place, (at << 20) | permit_generation(given.permit.word))
    adm_note(&record.seat, 0)
    if given.seat.word:
        at = <uint64_t>(given.seat.cell - <adm_word *>arena.base)
        adm_note(&record.seat, (at << 36) | (<uint64_t>permit_generation(given.seat.word) << 16)
                 | min(given.seat.in_flight, 0xFFFF))
    adm_note(&record.probe, given.gate.cell + 1 if given.gate.probe else 0)
    adm_note(&record.tokens, given.tokens)
    adm_note(&record.who[0], asked.who.id)
    adm_note(&record.who[1], asked.who.home)
    adm_publish(&record.made, (<uint64_t>permit_generation(held.word) << 44) | (<uint64_t>view.index << 32)
                | (<uint64_t>given.gate.generation << 8) | given.gate.admitted)
    name.row = view.index
    name.generation = permit_generation(held.word)
    name.index = held.index
    name.since_ns = now_ns
    return True


cdef inline bint _is_of(const adm_remote *record, uint64_t word, const token *name) noexcept nogil:
    """Whether a record was written for this word, and the name is its own."""
    cdef uint64_t made = adm_load(&record.made)
    return (permit_generation(word) == name.generation and made >> 44 == name.generation
            and (<uint32_t>(made >> 32) & 0xFFF) == name.row and adm_load(&record.since_ns) == <uint64_t>name.since_ns)


cdef bint _give_place_back(Arena arena, uint64_t place, uint64_t word) noexcept nogil:
    """Free the place in the bulkhead that ends when the permit does. False where it is another's by now."""
    cdef uint64_t at = (place >> 20) * sizeof(adm_word)
    if place == 0:
        return True
    if at > arena.size - sizeof(adm_word):
        return False
    return bulkhead_settle(<adm_word *>(arena.base + at), _place_word(place, word))


cdef inline uint64_t _place_word(uint64_t place, uint64_t word) noexcept nogil:
    return permit_pack(ADM_HELD, ADM_REMOTE_OWNER, place & 0xFFFFF, word & EXPIRY)


cdef bint _leave_shedder(Arena arena, adm_view *view, uint64_t seat, uint64_t word, bint valid, const report *said,
                         int64_t now_ns) noexcept nogil:
    """Give the place in the load shedder back; a report that is void teaches nothing. False where the place was lost."""
    cdef uint64_t at = (seat >> 36) * sizeof(adm_word)
    cdef seating held
    if at > arena.size - sizeof(adm_word):
        return False
    held.cell = <adm_word *>(arena.base + at)
    held.word = _place_word(seat >> 16, word)
    held.in_flight = <uint32_t>seat & 0xFFFF
    return shedder_leave(view, &held, valid and said.how != IGNORED, said.how == FAILURE, said.duration_ns, now_ns)


cdef bint _leave_breaker(adm_view *view, uint64_t made, uint64_t probe_cell, const report *said, int64_t now_ns) noexcept nogil:
    cdef uint32_t generation = <uint32_t>(made >> 8) & 0xFFFFFF
    cdef uint64_t probe = 0
    if not made & 1 or not view.params.rules & ADM_HAS_BREAKER:
        return True
    if probe_cell:
        probe = breaker_probe_held(view, <uint32_t>probe_cell - 1, generation, ADM_REMOTE_OWNER)
        if probe == 0:
            return False
    return breaker_leave(view, generation, <uint32_t>probe_cell - 1, probe, said.how, said.duration_ns, now_ns)


cdef void _settle_cost(adm_view *view, const subject *who, int64_t since_ns, int64_t tokens, const report *said,
                       int64_t now_ns) noexcept nogil:
    """Put what the work cost in the place of what was taken, as far as the burst goes."""
    cdef int64_t actual = min(said.actual_cost, <int64_t>rate_of(view, who.id).burst)
    if said.actual_cost < 0 or not view.params.rules & ADM_HAS_RATE_LIMIT or (view.params.rate_limit.keyed and who.id == 0):
        return
    limiter_adjust(view, who, now_ns, since_ns, actual - tokens)


cdef result remote_settle(Arena arena, const token *name, const report *said, int64_t now_ns, bint *revoked) except *:
    """Report for a permit, once; `revoked` says whether its place in the load shedder was taken away."""
    cdef adm_word *cell = _words(arena) + name.index
    cdef adm_remote *record = _record(arena, name.index)
    cdef uint64_t word = adm_load(cell)
    cdef uint64_t made, place, seat, probe, tokens
    cdef adm_view *view
    cdef subject who
    cdef bint valid
    if name.row >= ADM_ROWS_MAX or not _is_of(record, word, name):
        return VOID
    view = view_of(arena, name.row)
    made = adm_load(&record.made)
    place, seat = adm_load(&record.place), adm_load(&record.seat)
    probe, tokens = adm_load(&record.probe), adm_load(&record.tokens)
    who.id, who.home = adm_load(&record.who[0]), adm_load(&record.who[1])
    if permit_status(word) != ADM_HELD or not adm_cas(cell, word, permit_with_status(word, ADM_FREE)):
        return ALREADY_SETTLED
    # The word was held until now, so what was read is what was written for it.
    valid = _give_place_back(arena, place, word) and not permit_expired(word, now_ns)
    if view == NULL:
        return VOID
    if seat:
        revoked[0] = not _leave_shedder(arena, view, seat, word, valid, said, now_ns) and valid
    valid = valid and _leave_breaker(view, made, probe, said, now_ns)
    if valid:
        _settle_cost(view, &who, name.since_ns, <int64_t>tokens, said, now_ns)
    ring(&view.waiters)
    count_outcome(view, valid, said.how, said.duration_ns, now_ns)
    return SETTLED if valid else VOID


cdef void remote_withdraw(Arena arena, const token *name, int64_t now_ns) noexcept nogil:
    """Take a permit back whose name nobody was told. What it stands for is the caller's to hand back."""
    cdef adm_word *cell = _words(arena) + name.index
    cdef uint64_t word = adm_load(cell)
    if _is_of(_record(arena, name.index), word, name):
        adm_cas(cell, word, permit_with_status(word, ADM_FREE))


cdef bint _extend_place(Arena arena, uint64_t cell, uint64_t before, uint64_t after) noexcept nogil:
    """Move the expiry of a place. False where it is another's by now."""
    cdef uint64_t at = cell * sizeof(adm_word)
    return at <= arena.size - sizeof(adm_word) and adm_cas(<adm_word *>(arena.base + at), before, after)


cdef result remote_extend(Arena arena, const token *name, int64_t life_ns, int64_t now_ns, bint *revoked) noexcept nogil:
    """Let a permit live on until `life_ns` from now; `revoked` as in remote_settle."""
    cdef adm_word *cell = _words(arena) + name.index
    cdef adm_remote *record = _record(arena, name.index)
    cdef uint64_t word = adm_load(cell)
    cdef uint64_t longer, place, seat
    if not _is_of(record, word, name) or permit_expired(word, now_ns):
        return VOID
    place, seat = adm_load(&record.place), adm_load(&record.seat)
    if permit_status(word) != ADM_HELD:
        return ALREADY_SETTLED
    longer = (word & ~EXPIRY) | permit_expiry(now_ns, life_ns)
    if not adm_cas(cell, word, longer):
        return VOID
    if seat:
        revoked[0] = not _extend_place(arena, seat >> 36, _place_word(seat >> 16, word), _place_word(seat >> 16, longer))
    if place == 0 or _extend_place(arena, place >> 20, _place_word(place, word), _place_word(place, longer)):
        return EXTENDED
    adm_cas(cell, longer, permit_with_status(longer, ADM_FREE))     # the place went to somebody else
    return VOID


cdef uint32_t remote_in_use(Arena arena, int64_t now_ns) noexcept nogil:
    """Permits that remote callers hold now."""
    cdef cells places = _cells(arena)
    return bulkhead_in_use(&places, now_ns)
