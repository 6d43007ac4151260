"""Rate limit: tokens of a bucket in one word, changed by one compare-and-swap. A refusal writes nothing; zero is a full bucket.

`gcra`, the generic cell rate algorithm, is a token bucket. The word is the theoretical arrival time (TAT), in nanoseconds: the
instant at which the bucket would be full again. A token costs `interval` of time; the TAT may run ahead of the clock by
`depth = burst x interval`. A caller that wants `cost` tokens moves it from

    max(TAT, now)   to   max(TAT, now) + cost x interval

and is refused where that would lie more than `depth` ahead. So over any span t no more than `burst + rate x t` tokens are given.
`interval` is rounded up to whole nanoseconds: at the highest rate, ten million a second, the limit is kept exactly and
lower rates lose less than one token in a hundred. Source: ITU-T I.371, annex A (virtual scheduling).

`sliding_window` estimates the tokens of the last unit of time from two windows of it, the one before weighed by the part of it that
the last unit still covers:

    63            34 33              17 16               0
    +---------------+------------------+------------------+
    | start, s      | window before    | this window      |        before x left / unit + this + cost <= limit
    +---------------+------------------+------------------+

The estimate takes the window before as spread evenly: a span of one unit may hold up to twice the limit where it was not, any
span of n units at most (n + 1) x limit. The time stands in the word as whole seconds, good for 34 years of uptime.

`fixed_window` gives the limit anew with every second, minute, hour, day or month of UTC:

    63                       28 27                        0
    +--------------------------+---------------------------+
    | end, ticks of 2^23 ns    | tokens of this window     |
    +--------------------------+---------------------------+

The wall clock is asked only when a window opens, and the word then says when it ends in the time of the arena, rounded up by 8.4 ms at
most. So a step of the wall clock moves no window that is open. A new one ends at the first boundary of the calendar that lies a whole
unit (less 1/64, for clocks that are slewed) after the end of the one before: windows that follow one another are never
shorter than that, whatever the wall clock does; after a step one is longer, by less than a unit, and then they lie on
the calendar again. While the clock runs straight every window is that of the calendar. The arena's time stands still while the host
is suspended: a window then ends late by as much. A key whose cell was given to another starts without a window before.

Time that goes back gives nothing early in any of them: the words keep the latest that they came to. A change of rate, burst or unit
keeps the word, a change of algorithm starts with a full bucket, and with the old word when it is changed back.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load
from engine.core.bucket cimport bucket_adjust, bucket_remaining
from engine.core.clock cimport clock_ns
from engine.core.keys cimport keys_adjust, keys_level, keys_take, subject, subject_read
from engine.core.layout cimport ADM_GCRA, ADM_HAS_RATE_LIMIT, ADM_KEYED_REFUSE, adm_rate
from engine.core.view cimport adm_view, rate_of, view_of
from engine.core.whole cimport whole

from engine.core.arena import ArenaError


cdef double LONGEST_WAIT_S = 10 * 365 * 86400


cdef int64_t limiter_book_key(adm_view *view, const subject *who, int64_t now_ns, uint32_t cost, bint keep,
                              int64_t patience_ns) noexcept nogil:
    """The same for a rule that is keyed: from the key's own cell, or from those that keys without a cell share."""
    cdef const adm_rate *rate = rate_of(view, who.id)
    cdef int64_t wait_ns
    if (keys_take(&view.keys, who, rate, view.time, now_ns, cost, keep, patience_ns, &wait_ns)
            or view.params.rate_limit.keyed == ADM_KEYED_REFUSE):
        return wait_ns
    return limiter_book(view, rate, now_ns, cost, keep, patience_ns)


cdef void limiter_adjust(adm_view *view, const subject *who, int64_t now_ns, int64_t taken_ns, int64_t more) noexcept nogil:
    """Charge `more` tokens, as far as there are any, or where that is negative hand back what was taken at `taken_ns`."""
    cdef const adm_rate *rate
    cdef uint64_t word
    if view.params.rate_limit.keyed:
        keys_adjust(&view.keys, who, rate_of(view, who.id), view.time, now_ns, taken_ns, more)
        return
    rate = &view.params.rate_limit.rate
    while True:
        word = adm_load(view.level)
        if adm_cas(view.level, word, bucket_adjust(word, rate, view.time, now_ns, taken_ns, more)):
            return


cdef int64_t limiter_remaining(adm_view *view, const subject *who, int64_t now_ns) noexcept nogil:
    """Whole tokens that could be taken now; of a keyed rule the key's, or those that keys without a cell share."""
    cdef const adm_rate *rate = &view.params.rate_limit.rate
    cdef uint64_t word
    if view.params.rate_limit.keyed and who.id:
        rate = rate_of(view, who.id)
        if keys_level(&view.keys, who, rate, now_ns, &word):
            return bucket_remaining(word, rate, now_ns)
        if view.params.rate_limit.keyed == ADM_KEYED_REFUSE:
            return 0
    return bucket_remaining(adm_load(view.level), rate, now_ns)


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

    cdef uint32_t _asked(self, adm_view *view, object cost, object key, subject *who) except 0:
        who.id = 0
        if view.params.rate_limit.keyed and not (subject_read(self.arena, key, who) and who.id):
            raise ValueError(f"key = {key!r}: must have 1 to 256 bytes")
        if cost is 1:
            return 1
        return <uint32_t>whole(cost, "cost", 1, <int64_t>rate_of(view, who.id).burst)

    def try_acquire(self, cost=1, key=None):
        """Take `cost` tokens if they are there. Raises TypeError, and ValueError for a cost below 1 or over the burst.

        A keyed limiter needs a `key` of 1 to 256 bytes, or raises ValueError; any other takes no notice of it.
        """
        cdef adm_view *view = self._view()
        cdef subject who
        cdef uint32_t wanted = self._asked(view, cost, key, &who)
        return limiter_take(view, &who, clock_ns(&self.arena.time), wanted, True) == 0

    def reserve(self, cost=1, key=None, max_wait=None):
        """Book `cost` tokens: the seconds to wait before using them, or None where that is over `max_wait` (ten years).

        Only `gcra` can be booked ahead; a window gives what it has, 0.0, or None. Raises as `try_acquire` does.
        """
        cdef adm_view *view = self._view()
        cdef subject who
        cdef uint32_t wanted = self._asked(view, cost, key, &who)
        cdef double limit = LONGEST_WAIT_S if max_wait is None else max_wait
        cdef int64_t patience_ns, wait_ns
        if not 0 <= limit <= LONGEST_WAIT_S:
            raise ValueError(f"max_wait = {max_wait!r}: must be from 0 seconds to ten years")
        patience_ns = <int64_t>(limit * 1e9) if view.params.rate_limit.rate.algorithm == ADM_GCRA else 0
        if view.params.rate_limit.keyed:
            wait_ns = limiter_book_key(view, &who, clock_ns(&self.arena.time), wanted, True, patience_ns)
        else:
            wait_ns = limiter_book(view, &view.params.rate_limit.rate, clock_ns(&self.arena.time), wanted, True, patience_ns)
        return wait_ns / 1e9 if wait_ns <= patience_ns else None

    @property
    def remaining(self):
        """Whole tokens that could be taken now; of a keyed limiter those that keys without a cell share."""
        cdef subject nobody
        nobody.id = 0
        return limiter_remaining(self._view(), &nobody, clock_ns(&self.arena.time))

    @property
    def retry_after(self):
        """Seconds until one token is there; 0.0 where one is, and for a keyed limiter."""
        cdef adm_view *view = self._view()
        if view.params.rate_limit.keyed:
            return 0.0
        return limiter_take(view, NULL, clock_ns(&self.arena.time), 1, False) / 1e9
