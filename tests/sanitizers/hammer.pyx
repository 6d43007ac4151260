# cython: language_level=3str, boundscheck=False, cdivision=True
"""Threads without the GIL on one mapping, for ThreadSanitizer: what processes do to an arena, threads do here.

TSan knows addresses, not pages: it cannot see that two mappings are one file, but it sees every load and store of these.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.admit cimport count_outcome, count_verdict, hand_back, judge, plain, request, verdict
from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load
from engine.core.breaker cimport FAILURE, IGNORED, SUCCESS, breaker_enter, breaker_leave, outcome, pass_
from engine.core.bulkhead cimport bulkhead_in_use, bulkhead_settle, bulkhead_take
from engine.core.cells cimport grant, settle_cell, take_cell
from engine.core.clock cimport clock_ns
from engine.core.directory cimport find, read_params
from engine.core.keys cimport subject
from engine.core.layout cimport ADM_COUNTERS, ADM_OK, adm_params
from engine.core.limiter cimport limiter_adjust, limiter_remaining, limiter_take
from engine.core.meter cimport durations, meter_sum
from engine.core.shedder cimport seating, shedder_enter, shedder_leave, shedder_limit, shedder_revoke, wish
from engine.core.view cimport adm_view, view_of
from engine.core.waiting cimport announce, ring
from engine.core.window cimport window_append, window_tally

cdef int64_t MS = 1000000
cdef subject _nobody    # no key


cdef uint32_t _random(uint32_t *seed) noexcept nogil:
    seed[0] = seed[0] * 1664525 + 1013904223
    return seed[0] >> 8


cdef uint64_t _patterns(adm_view *view, uint32_t owner, int64_t now_ns, uint32_t *seed) noexcept nogil:
    """Each pattern by itself; how many permits were taken."""
    cdef outcome how = FAILURE if _random(seed) % 4 == 0 else IGNORED if _random(seed) % 8 == 0 else SUCCESS
    cdef uint64_t taken = 0
    cdef grant permit
    cdef pass_ gate
    if limiter_take(view, &_nobody, now_ns, 2, True) == 0:
        limiter_adjust(view, &_nobody, now_ns, now_ns, -1)
    limiter_remaining(view, &_nobody, now_ns)
    if bulkhead_take(&view.permits, &view.params.bulkhead, _random(seed), owner, now_ns, MS, &permit):
        taken = 1
        bulkhead_in_use(&view.permits, now_ns)
        bulkhead_settle(permit.cell, permit.word)
    if breaker_enter(view, owner, now_ns, 0, &gate):
        breaker_leave(view, gate.generation, gate.cell, gate.probe, how, MS, now_ns)
    if take_cell(&view.places, view.params.bulkhead.queue, 0, owner, now_ns, MS, &permit):
        announce(&view.waiters, now_ns)
        settle_cell(permit.cell, permit.word)
        ring(&view.waiters)
    window_append(&view.breaker.cursor, view.window, view.params.breaker.chunks, gate.generation, how == FAILURE, False)
    window_tally(&view.breaker.cursor, view.window, view.params.breaker.chunks, gate.generation, 50)
    return taken


cdef uint64_t _shed(adm_view *view, uint32_t owner, int64_t now_ns, uint32_t *seed) noexcept nogil:
    """Two calls under the load shedder, of which the second may revoke the first of another thread; how many were admitted."""
    cdef wish wanted
    cdef seating held[2]
    cdef uint64_t had = 0
    cdef uint32_t k
    wanted.owner = owner
    wanted.life_ns = 0
    wanted.deadline_ns = 50 * MS
    for k in range(2):
        wanted.rank = _random(seed) % 5
        wanted.revocable = _random(seed) % 2
        if shedder_enter(view, &wanted, now_ns, True, &held[k]) == ADM_OK and (
                not held[k].by_revoking or shedder_revoke(view, &wanted, now_ns, &held[k])):
            had += 1
    for k in range(2):
        if held[k].word:
            shedder_leave(view, &held[k], True, _random(seed) % 4 == 0, MS, now_ns)
    shedder_limit(view, now_ns)
    return had


cdef uint64_t _fused(adm_view *view, uint32_t owner, int64_t now_ns) noexcept nogil:
    """All rules in one call, as a policy does it, and what was taken handed back; then counted as if it had been used."""
    cdef verdict given
    cdef request asked = plain()
    judge(view, owner, now_ns, &asked, True, &given)
    count_verdict(view, &given)
    if given.reason == ADM_OK:
        hand_back(view, &given, &asked, now_ns)
        count_outcome(view, True, SUCCESS, now_ns & 0xFFFFF, now_ns)
    return given.reason == ADM_OK


def hammer(Arena arena not None, row, uint64_t times, uint32_t seed):
    """Do everything `times` times; how often something was had. Time passes at 10 us a turn."""
    cdef adm_view *view = view_of(arena, row)
    cdef uint32_t owner = seed % 1000 + 1
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t had = 0
    cdef uint64_t turn
    cdef uint64_t counts[ADM_COUNTERS]
    cdef durations took
    with nogil:
        for turn in range(times):
            now_ns += 10000
            if turn % 64 == 0:
                meter_sum(arena, view.row, counts, &took)
            had += _patterns(view, owner, now_ns, &seed)
            had += _shed(view, owner, now_ns, &seed)
            had += _fused(view, owner, now_ns)
    return had


def watch(Arena arena not None, bytes name not None, uint64_t times):
    """Find a policy, once it is there, and read its parameters while a binder publishes new ones.

    How many versions were seen, and how many copies were of two versions: in each, the burst is the limit and a thousand.
    """
    cdef const char *text = name
    cdef uint64_t size = len(name)
    cdef uint64_t versions = 0
    cdef uint64_t torn = 0
    cdef uint64_t last = 0
    cdef uint64_t turn, published
    cdef adm_params params
    cdef int64_t row
    with nogil:
        for turn in range(times):
            row = find(arena, text, size)
            while row < 0:
                row = find(arena, text, size)
            if read_params(arena, arena.row(<uint32_t>row), &published, &params):
                versions += published != last
                last = published
                torn += params.rate_limit.rate.burst != params.bulkhead.limit + 1000
    return versions, torn
