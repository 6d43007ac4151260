"""Retry budget: over the whole host, retries stay a share of the calls. A balance in one word, changed by one compare-and-swap.

The word says, in nanoseconds of the arena's time, when the balance would be full again if nobody touched it; a full one holds
`burst` retries, and `interval` is the time in which `min_rate` brings one. It is the arrival time of a rate limit (limiter.pyx) that
calls may also move back:

    who                                       moves the time
    a retry (attempt 2 and later)             from max(time, now) on by one interval; refused where that is over burst x interval ahead
    a first attempt that was admitted         back by ratio x interval, not below now: a full balance takes nothing in
    the clock                                 nothing; a time that is past is a full balance

So over any span t the retries number at most `balance before + min_rate x t + ratio x first attempts`. A refusal writes nothing, and what a call
took or put in is undone where a later rule refuses it: the verdict remembers how far it moved the time.

A new budget holds what min_rate brings in a second, and at least one retry; the binder writes that before it publishes the slot. A full
one would let every caller of a service that was deployed while its backend fails retry at once, `burst` times over; an empty one
would refuse the retry of the first call of all. From there calls fill it, as fast as they come.

Approximate: ratio x interval is rounded down to whole nanoseconds and the interval up, so the shares are kept. A change of min_rate keeps the time
and so changes what the balance is worth; the next calls settle that. A deposit is undone as far as nobody has spent it meanwhile.

Sources: Finagle's RetryBudget (a share of the requests and a minimum rate); gRPC's proposal A6, "client-side retries", whose throttle
counts in tokens how often calls fail, and this one in how many there are, because a budget that many processes share must not
forget the successes of one for the failures of another.
"""

from libc.stdint cimport int64_t, uint32_t

from engine.core.arena cimport Arena
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_HAS_RETRY_BUDGET
from engine.core.view cimport adm_view, view_of

from engine.core.arena import ArenaError


cdef class RetryBudget:
    """One retry budget of an arena, without a policy around it."""

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_RETRY_BUDGET:
            raise ArenaError("this retry budget was taken out of service")
        return view

    def deposit(self):
        """Count a first attempt: it pays for `ratio` of a retry."""
        cdef adm_view *view = self._view()
        budget_give(view.balance, view.params.retry_budget.deposit_ns, clock_ns(&self.arena.time))

    def try_acquire(self):
        """Take one retry if there is one."""
        cdef adm_view *view = self._view()
        return budget_take(view.balance, &view.params.retry_budget, clock_ns(&self.arena.time), True) == 0

    @property
    def remaining(self):
        """Whole retries that could be taken now."""
        cdef adm_view *view = self._view()
        return budget_remaining(view.balance, &view.params.retry_budget, clock_ns(&self.arena.time))

    @property
    def retry_after(self):
        """Seconds until there is a retry if nobody calls meanwhile; 0.0 where there is one."""
        cdef adm_view *view = self._view()
        return budget_take(view.balance, &view.params.retry_budget, clock_ns(&self.arena.time), False) / 1e9


def snapshot(Arena arena not None, row):
    """Retries that could be taken now and the most that add up, or None without the rule."""
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_RETRY_BUDGET:
        return None
    return (budget_remaining(view.balance, &view.params.retry_budget, clock_ns(&arena.time)),
            view.params.retry_budget.depth_ns // view.params.retry_budget.interval_ns)
