"""Rate limit: the generic cell rate algorithm, a token bucket in one word.

The word is the theoretical arrival time (TAT), in nanoseconds: the instant at which the bucket would be full again. A token
costs `interval` of time; the TAT may run ahead of the clock by `depth = burst x interval`. A caller that wants `cost`
tokens moves it, by one compare-and-swap, from

    max(TAT, now)   to   max(TAT, now) + cost x interval

and is refused where that would lie more than `depth` ahead. So over any span t no more than `burst + rate x t` tokens are given, a
refusal writes nothing, and zero is a full bucket. A clock that steps back gives no tokens early: the TAT does not move.

`interval` is rounded up to whole nanoseconds: at the highest rate, ten million a second, the limit is kept exactly and
lower rates lose less than one token in a hundred. Source: ITU-T I.371, annex A (virtual scheduling).
"""

from libc.stdint cimport int64_t, uint32_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_HAS_RATE_LIMIT, adm_limiter, adm_limiter_params
from engine.core.view cimport adm_view, view_of
from engine.core.whole cimport whole

from engine.core.arena import ArenaError


cdef int64_t limiter_take(adm_limiter *limiter, const adm_limiter_params *params, int64_t now_ns, uint32_t cost,
                          bint keep) noexcept nogil:
    """Zero where `cost` tokens were there (and were taken, if `keep`), else the nanoseconds until they are.

    The caller has checked that `cost` is at most the burst, so nothing here overflows.
    """
    cdef int64_t wanted = params.interval_ns * cost
    cdef int64_t tat, level
    while True:
        tat = <int64_t>adm_load(&limiter.tat)
        level = (tat if tat > now_ns else now_ns) + wanted
        if level - now_ns > params.depth_ns:
            return level - now_ns - params.depth_ns
        if not keep or adm_cas(&limiter.tat, <unsigned long long>tat, <unsigned long long>level):
            return 0


cdef void limiter_refund(adm_limiter *limiter, const adm_limiter_params *params, uint32_t cost) noexcept nogil:
    """Hand back tokens that were taken a moment ago."""
    cdef int64_t tat
    while True:
        tat = <int64_t>adm_load(&limiter.tat)
        if adm_cas(&limiter.tat, <unsigned long long>tat, <unsigned long long>(tat - params.interval_ns * cost)):
            return


cdef int64_t limiter_remaining(const adm_limiter *limiter, const adm_limiter_params *params, int64_t now_ns) noexcept nogil:
    """Whole tokens that could be taken now."""
    cdef int64_t ahead = <int64_t>adm_load(&limiter.tat) - now_ns
    if ahead < 0:
        ahead = 0
    return (params.depth_ns - ahead) // params.interval_ns if ahead < params.depth_ns else 0


cdef class Limiter:
    """One rate limit of an arena, without a policy around it."""

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_RATE_LIMIT:
            raise ArenaError("this limiter was taken out of service")
        return view

    def try_acquire(self, cost=1):
        """Take `cost` tokens if they are there. Raises TypeError, and ValueError for a cost below 1 or over the burst."""
        cdef adm_view *view = self._view()
        cdef int64_t wanted = 1
        if cost is not 1:
            wanted = whole(cost, "cost", 1, <int64_t>view.params.rate_limit.burst)
        return limiter_take(view.limiter, &view.params.rate_limit, clock_ns(&self.arena.time),
                            <uint32_t>wanted, True) == 0

    @property
    def remaining(self):
        """Whole tokens that could be taken now."""
        cdef adm_view *view = self._view()
        return limiter_remaining(view.limiter, &view.params.rate_limit, clock_ns(&self.arena.time))

    @property
    def retry_after(self):
        """Seconds until one token is there; 0.0 where one is."""
        cdef adm_view *view = self._view()
        return limiter_take(view.limiter, &view.params.rate_limit, clock_ns(&self.arena.time), 1, False) / 1e9
