"""Estimators of a concurrency limit: what a load shedder may admit at once, learned from how long its calls take.

    aimd       one more whenever a call ends well at a limit that is used at least by half; nine tenths of it after a drop
    vegas      compares each call with one that met no queue: limit x (1 - shortest / duration) calls are queueing.
               Up to log10(limit) of them: the limit grows by 6 log10(limit); fewer than 3 log10: by log10; more than
               6 log10: it shrinks by log10
    gradient2  compares the average of the last second with one over 600 such averages, clipped to
               gradient = min(1, max(0.5, 1.5 x long / short)), and moves the limit by a fifth towards gradient x limit + 4

A drop is a call that failed, and for aimd one that took longer than its timeout. Nobody's limit grows while fewer
than half of it are in use. Formulas and constants are those of netflix/concurrency-limits (AIMDLimit, VegasLimit,
Gradient2Limit in a WindowedLimit of one second and ten calls). Different here: log10 stays log10 above a limit of
1,000, calls under 100 us count, and the limit never falls below `least`. The shortest duration of vegas is renewed
with that of the next call after 15 to 30 times as many calls as the limit has places, which keeps nobody waiting; the
share of 15 that it adds follows the golden ratio instead of a random number.

The state is words of an `adm_estimate`, most of them doubles. Each is changed by one compare-and-swap that is not
tried again: where two report at the same instant, one report may be lost. The words need not belong together: a
limit, a duration and a count mean something in any mixture, so a process killed between two of them has only reported
half. What makes no sense in a damaged file counts as not there.
"""

from libc.math cimport ceil, floor, log10
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.layout cimport ADM_AIMD, ADM_FIXED, ADM_VEGAS, adm_adaptive_params, adm_estimate

cdef double AIMD_BACKOFF = 0.9
cdef double VEGAS_RENEWAL = 30          # calls to a place of the limit, before the shortest duration is renewed
cdef double GOLDEN = 0.6180339887498949
cdef double GRADIENT_TOLERANCE = 1.5
cdef double GRADIENT_QUEUE = 4
cdef double GRADIENT_SMOOTHING = 0.2
cdef double GRADIENT_DECAY = 0.95       # of a long average that is more than twice the short one
cdef double LONG_WINDOW = 600           # averages
cdef uint64_t WARM_UP = 10              # averages that the long one begins with, all of one weight
cdef uint64_t WINDOW_CALLS = 10         # that a window needs to count
cdef int64_t WINDOW_NS = 1000000000
cdef double LONGEST_NS = 1e18           # a longer duration is damage
cdef uint64_t COUNT = (<uint64_t>1 << 40) - 1   # of the words that hold a count of 40 bits under another number


cdef inline uint64_t _bits(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, sizeof(bits))
    return bits


cdef inline double _number(uint64_t bits) noexcept nogil:
    cdef double value
    memcpy(&value, &bits, sizeof(value))
    return value


cdef inline double _duration(uint64_t bits) noexcept nogil:
    """A duration in ns; zero: none yet, or damage."""
    cdef double value = _number(bits)
    return value if 0 < value < LONGEST_NS else 0


cdef inline double _within(double limit, const adm_adaptive_params *params) noexcept nogil:
    """The limit between `least` and `most`; what is no number is the least."""
    if not limit > params.least:
        return params.least
    return limit if limit < params.most else params.most


cdef double estimate_limit(const adm_estimate *state, const adm_adaptive_params *params) noexcept nogil:
    """Calls that may be in flight at once."""
    cdef uint64_t bits
    if params.estimator == ADM_FIXED:
        return params.initial
    bits = adm_load(&state.limit)
    return _within(_number(bits), params) if bits else params.initial


cdef inline void _set_limit(adm_estimate *state, const adm_adaptive_params *params, double limit) noexcept nogil:
    adm_cas(&state.limit, adm_load(&state.limit), _bits(_within(limit, params)))


cdef void _aimd(adm_estimate *state, const adm_adaptive_params *params, double duration_ns, uint32_t in_flight,
                bint dropped) noexcept nogil:
    cdef double limit = floor(estimate_limit(state, params))
    if dropped or duration_ns > params.timeout_ns:
        _set_limit(state, params, floor(limit * AIMD_BACKOFF))
    elif 2.0 * in_flight >= limit:
        _set_limit(state, params, limit + 1)


cdef inline bint _is_renewed(adm_estimate *state, double limit) noexcept nogil:
    """Count a call for vegas; whether its duration is to be taken for the shortest."""
    cdef uint64_t seen = adm_load(&state.samples)
    cdef uint64_t renewals = seen >> 40
    cdef uint64_t calls = (seen & COUNT) + 1
    cdef double share = renewals * GOLDEN
    share = 0.5 + (share - floor(share)) / 2
    if share * VEGAS_RENEWAL * limit > calls:
        adm_cas(&state.samples, seen, (renewals << 40) | calls)
        return False
    return adm_cas(&state.samples, seen, (renewals + 1) << 40)


cdef void _vegas(adm_estimate *state, const adm_adaptive_params *params, double duration_ns, uint32_t in_flight,
                 bint dropped) noexcept nogil:
    cdef double limit = estimate_limit(state, params)
    cdef double step = max(1.0, floor(log10(floor(limit))))
    cdef uint64_t seen = adm_load(&state.base_ns)
    cdef double shortest = _duration(seen)
    cdef double queue
    if _is_renewed(state, limit) or shortest == 0 or duration_ns < shortest:
        adm_cas(&state.base_ns, seen, _bits(duration_ns))
        return
    queue = ceil(limit * (1 - shortest / duration_ns))
    if dropped:
        _set_limit(state, params, limit - step)
    elif 2.0 * in_flight < limit:
        return
    elif queue <= step:
        _set_limit(state, params, limit + 6 * step)
    elif queue < 3 * step:
        _set_limit(state, params, limit + step)
    elif queue > 6 * step:
        _set_limit(state, params, limit - step)


cdef double _long_average(adm_estimate *state, double short_ns) noexcept nogil:
    """The long average with one more short one in it; it comes down faster where it has become more than twice that."""
    cdef uint64_t seen = adm_load(&state.base_ns)
    cdef uint64_t count = adm_load(&state.samples)
    cdef uint64_t already = min(count & COUNT, WARM_UP)
    cdef double before = _duration(seen)
    cdef double share = 1.0 / (already + 1) if already < WARM_UP else 2 / (LONG_WINDOW + 1)
    cdef double after = before * (1 - share) + short_ns * share if before else short_ns
    if already < WARM_UP:
        adm_cas(&state.samples, count, already + 1)
    adm_cas(&state.base_ns, seen, _bits(after * GRADIENT_DECAY if after > 2 * short_ns else after))
    return after


cdef void _gradient2(adm_estimate *state, const adm_adaptive_params *params, double short_ns,
                     uint32_t in_flight) noexcept nogil:
    cdef double limit = estimate_limit(state, params)
    cdef double gradient = GRADIENT_TOLERANCE * _long_average(state, short_ns) / short_ns
    cdef double wanted
    if in_flight < limit / 2:
        return
    gradient = max(0.5, min(1.0, gradient))
    wanted = gradient * limit + GRADIENT_QUEUE
    _set_limit(state, params, limit * (1 - GRADIENT_SMOOTHING) + wanted * GRADIENT_SMOOTHING)


cdef uint64_t _taken(adm_word *word) noexcept nogil:
    """What a word of the window held; it is empty now."""
    cdef uint64_t seen
    while True:
        seen = adm_load(word)
        if adm_cas(word, seen, 0):
            return seen


cdef void _add_to_window(adm_estimate *state, int64_t duration_ns, uint32_t in_flight) noexcept nogil:
    """Add a call to the window: to its count and the most in flight, then to its sum."""
    cdef uint64_t seen = adm_load(&state.window_calls)
    adm_cas(&state.window_calls, seen, (max(seen >> 40, <uint64_t>in_flight) << 40) | (((seen & COUNT) + 1) & COUNT))
    seen = adm_load(&state.window_sum_ns)
    adm_cas(&state.window_sum_ns, seen, seen + <uint64_t>duration_ns)


cdef void _record_by_windows(adm_estimate *state, const adm_adaptive_params *params, int64_t duration_ns, uint32_t in_flight,
                             int64_t now_ns) noexcept nogil:
    """Whoever finds the window over moves its end and judges what is in it."""
    cdef uint64_t ends_ns = adm_load(&state.window_ends_ns)
    cdef uint64_t calls, sum_ns
    _add_to_window(state, duration_ns, in_flight)
    if ends_ns - <uint64_t>now_ns <= <uint64_t>WINDOW_NS:
        return
    if not adm_cas(&state.window_ends_ns, ends_ns, <uint64_t>(now_ns + WINDOW_NS)):
        return
    calls = _taken(&state.window_calls)
    sum_ns = _taken(&state.window_sum_ns)
    if (calls & COUNT) >= WINDOW_CALLS and sum_ns > 0:
        _gradient2(state, params, <double>sum_ns / <double>(calls & COUNT), <uint32_t>(calls >> 40))


cdef void estimate_record(adm_estimate *state, const adm_adaptive_params *params, int64_t duration_ns, uint32_t in_flight,
                          bint dropped, int64_t now_ns) noexcept nogil:
    """Learn from a call that was one of `in_flight` when it was admitted. One that took no time teaches nothing."""
    if params.estimator == ADM_FIXED or duration_ns <= 0:
        return
    if params.estimator == ADM_AIMD:
        _aimd(state, params, <double>duration_ns, in_flight, dropped)
    elif params.estimator == ADM_VEGAS:
        _vegas(state, params, <double>duration_ns, in_flight, dropped)
    else:
        _record_by_windows(state, params, duration_ns, in_flight, now_ns)
