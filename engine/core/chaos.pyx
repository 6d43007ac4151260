"""Chaos: an experiment that harms a share of the calls of a policy, for a time, in a way that can be repeated.

    63  62 61            40 39                                  0
    +------+---------------+------------------------------------+
    | state| run           | end, ms of the arena's time        |
    +------+---------------+------------------------------------+

State 0 was never started, 1 runs, 2 was stopped (trial.pxd). One compare-and-swap each:

    from               to        when
    any                running   the rule is put in force, or changed, or an operator starts it: with a new run, for its time to live
    running            stopped   an operator says so; its time is over; the policy's breaker opened; the rule is taken out of force

There is no experiment without an end, and the end needs nobody: a call that comes after it is not harmed, and writes down that it is over.

Judged last, for calls that every other rule admits. A call is harmed where its key is in the share of `keys` (share.pxd) and its draw falls below
the probability. Calls with such a key are numbered within a run, and the draw is SipHash of the number under the seed and the rule's
name: call n of a run is harmed or spared, and delayed by the same time, whenever and wherever the experiment is run with
that seed. Beside the probability that hash gives the variance of the delay.

    impact     the verdict                     told to the caller
    latency    admitted                        delay, give or take the variance
    error      admitted                        a gRPC status to fail with
    abort      refused with `chaos`            what the other rules gave is handed back
    hang       admitted                        delay: what the caller's deadline leaves, at most `delay`

At most `max_active` delays at once: each takes a cell (permit.pxd) that ends with the delay by itself, so it cannot leak; where none is free the
call is spared. With dry_run a call that would be harmed is only counted.

Approximate: a cell ends up to 17 ms after its delay. The counts of harmed and spared calls are words of their own, written after the
decision: a kill in between loses that one. A number has 40 bits.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.cells cimport cell_at, is_held
from engine.core.clock cimport clock_ns
from engine.core.journal cimport journal_add
from engine.core.layout cimport ADM_CHAOS_STARTED, ADM_CHAOS_STOPPED, ADM_HAS_CHAOS, ADM_HELD, adm_chaos_params
from engine.core.permit cimport permit_expiry, permit_generation, permit_pack
from engine.core.share cimport WHOLE_PPM, share_contains
from engine.core.siphash cimport siphash128
from engine.core.trial cimport TRIAL_RUNS, trial_end_ns, trial_number, trial_start, trial_state, trial_stop
from engine.core.view cimport adm_view, view_of

from collections import namedtuple

from engine.core.arena import ArenaError

IMPACTS = ("", "latency", "error", "abort", "hang")

cdef int64_t MS = 1000000
cdef uint64_t COUNT = (<uint64_t>1 << 40) - 1

Injection = namedtuple("Injection", ("impact", "delay", "status"))


cdef bint _stop(adm_view *view, uint64_t seen, int64_t now_ns) noexcept nogil:
    """End the run that was seen, and note it. False where somebody did so before."""
    if not trial_stop(&view.chaos.run, seen):
        return False
    journal_add(&view.book, ADM_CHAOS_STOPPED, view.index, trial_number(seen), 0, now_ns)
    return True


cdef void chaos_guard(adm_view *view, int64_t now_ns) noexcept nogil:
    """The policy's breaker is not closed: end the experiment, whatever opened it."""
    _stop(view, adm_load(&view.chaos.run), now_ns)


cdef uint64_t _number(adm_word *asked, uint64_t run, bint keep) noexcept nogil:
    """How many calls of this run came before; a look (`keep` False) is not counted."""
    cdef uint64_t seen, count
    while True:
        seen = adm_load(asked)
        count = seen & COUNT if seen >> 40 == run else 0
        if not keep or adm_cas(asked, seen, (run << 40) | ((count + 1) & COUNT)):
            return count


cdef void _count(adm_word *word) noexcept nogil:
    cdef uint64_t seen = adm_load(word)
    while not adm_cas(word, seen, seen + 1):
        seen = adm_load(word)


cdef bint _take_place(adm_view *view, int64_t delay_ns, int64_t now_ns) noexcept nogil:
    """One of `max_active` cells, until the delay is over."""
    cdef uint64_t seen, mine
    cdef adm_word *cell
    cdef uint32_t i
    for i in range(view.params.chaos.max_active):
        cell = cell_at(&view.delays, i)
        seen = adm_load(cell)
        mine = permit_pack(ADM_HELD, 0, permit_generation(seen) + 1, permit_expiry(now_ns, max(delay_ns, 1)))
        if not is_held(seen, now_ns) and adm_cas(cell, seen, mine):
            return True
    return False


cdef int64_t _delay(const adm_chaos_params *params, uint64_t drawn, int64_t deadline_ns) noexcept nogil:
    if params.impact == <uint32_t>LATENCY:
        return params.delay_ns - params.variance_ns + <int64_t>(drawn % <uint64_t>(2 * params.variance_ns + 1))
    if params.impact == <uint32_t>HANG:
        return min(params.delay_ns, deadline_ns) if deadline_ns > 0 else params.delay_ns
    return 0


cdef bint chaos_strikes(adm_view *view, const void *key, uint64_t size, int64_t deadline_ns, int64_t now_ns, bint keep,
                        injection *what) noexcept nogil:
    """Whether a call that all other rules admit is harmed, and how. `keep` False only looks."""
    cdef const adm_chaos_params *params = &view.params.chaos
    cdef uint64_t word = adm_load(&view.chaos.run)
    cdef uint64_t number
    cdef uint64_t drawn[2]
    if trial_state(word) != TRIAL_RUNS:
        return False
    if now_ns >= trial_end_ns(word):
        if keep:
            _stop(view, word, now_ns)
        return False
    if not share_contains(params.share, params.keys_ppm, key, size):
        return False
    number = _number(&view.chaos.asked, trial_number(word), keep)
    siphash128(params.draw, &number, sizeof(number), drawn)
    if drawn[0] % <uint64_t>WHOLE_PPM >= params.probability_ppm:
        return False
    if params.dry_run or view.params.shadow & ADM_HAS_CHAOS:
        if keep:
            _count(&view.chaos.spared)
        return False
    what.delay_ns = _delay(params, drawn[1], deadline_ns)
    if keep and params.max_active and what.delay_ns and not _take_place(view, what.delay_ns, now_ns):
        return False
    what.impact = params.impact
    what.status = params.status if params.impact == <uint32_t>ERROR else 0
    if keep:
        _count(&view.chaos.injected)
    return True


cdef adm_view *_chaos_of(Arena arena, uint32_t row) except NULL:
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_CHAOS:
        raise ArenaError("this policy has no experiment")
    return view


def start(Arena arena not None, row, int64_t life_ns):
    """Begin a new run, for `life_ns`. Raises ArenaError where the policy has no experiment."""
    cdef adm_view *view = _chaos_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint32_t number = trial_start(&view.chaos.run, life_ns, now_ns)
    journal_add(&view.book, ADM_CHAOS_STARTED, view.index, number, <uint64_t>(life_ns // MS), now_ns)


def stop(Arena arena not None, row):
    """End the run. False where none is, or its time is over. Raises ArenaError where the policy has no experiment."""
    cdef adm_view *view = _chaos_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t seen = adm_load(&view.chaos.run)
    return _stop(view, seen, now_ns) and now_ns < trial_end_ns(seen)


def snapshot(Arena arena not None, row):
    """State, run, nanoseconds left, calls numbered in this run, harmed and (dry run) spared since ever; None without the rule."""
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t word, asked
    cdef bint runs
    if view == NULL or not view.params.rules & ADM_HAS_CHAOS:
        return None
    word = adm_load(&view.chaos.run)
    asked = adm_load(&view.chaos.asked)
    runs = trial_state(word) == TRIAL_RUNS and now_ns < trial_end_ns(word)
    return ("running" if runs else "stopped", trial_number(word), trial_end_ns(word) - now_ns if runs else 0,
            asked & COUNT if asked >> 40 == trial_number(word) else 0, adm_load(&view.chaos.injected),
            adm_load(&view.chaos.spared))


cdef object chaos_told(const injection *what):
    """An injection as Python sees it, or None where there is none."""
    if what.impact == NO_IMPACT:
        return None
    return Injection(IMPACTS[what.impact], what.delay_ns / 1e9, what.status)
