"""Adaptive throttle: a client that sees its backend refuse stops asking, in proportion. Counts by time, and a draw that can be repeated.

Of the calls of the last `window` the throttle knows how many there were (requests) and how many succeeded (accepts), and refuses a new one with
the probability

    max(0, (requests - k x accepts) / (requests + 1))

So nothing is refused while at least one call in k succeeds. When all fail, the share that still goes through falls towards, but never to,
nothing: those are what finds out that the backend is back. Calls refused here count as requests, so a throttle
that refuses much goes on to, until successes outweigh them or their time is over. A smaller k refuses sooner.
Source: "Handling overload", chapter 21 of Site Reliability Engineering (Beyer et al., 2016).

A call is counted once, when it is known what became of it, in one of three classes of a window by time (buckets.pyx):

    class 0    success reported       request and accept
    class 1    failure reported       request
    class 2    refused here           request

Each is one compare-and-swap, and no two words have to agree. A call that is under way is in none of them: many at once, or many
that began before the first ended, do not look like failures. One that was ignored, that another rule refused, or whose process died leaves no
trace, so there is nothing to hand back and nothing to repair.

The draw is SipHash of the slot and the number of the call among those that had to draw, under the arena's secret: the same in every process, and
the same again for the same arena. Only a call that finds a probability above zero draws, so a healthy
throttle writes nothing before the report.

A half-open breaker's probes are not judged: what finds out that the backend is back is not to be thrown away.

Approximate: a window is as exact as its buckets, which go by tenths; the draw has 20 bits. Two that ask at the same time may see each other's
refusal or not.
"""

from libc.stdint cimport int64_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load
from engine.core.buckets cimport buckets_append, buckets_tally
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_HAS_THROTTLE
from engine.core.siphash cimport siphash
from engine.core.view cimport adm_view, view_of
from engine.core.window cimport tally

cdef enum:
    DRAW_BITS = 20
    UNIT = 1000             # in which k and the excess are counted


cdef inline tally _counted(adm_view *view, int64_t now_ns) noexcept nogil:
    return buckets_tally(view.throttle_buckets, view.params.throttle.bucket_ns, 0, now_ns)


cdef inline uint64_t _excess(const tally *found, uint64_t k_milli) noexcept nogil:
    """Thousandths of a request by which the requests are more than k for every accept."""
    cdef uint64_t requests = <uint64_t>found.calls * UNIT
    cdef uint64_t allowed = (<uint64_t>found.calls - found.failures - found.slow) * k_milli
    return requests - allowed if requests > allowed else 0


cdef uint64_t _draw(adm_view *view, bint keep) noexcept nogil:
    """The next draw; a look (`keep` False) leaves it for the next call."""
    cdef uint64_t subject[2]
    subject[0] = view.params.throttle.slot
    while True:
        subject[1] = adm_load(&view.throttle.drawn)
        if not keep or adm_cas(&view.throttle.drawn, subject[1], subject[1] + 1):
            return siphash(view.secret, subject, sizeof(subject)) >> (64 - DRAW_BITS)


cdef bint throttle_refuses(adm_view *view, int64_t now_ns, bint keep) noexcept nogil:
    """Whether a call is refused; where it is, that is counted if `keep`."""
    cdef tally found = _counted(view, now_ns)
    cdef uint64_t excess = _excess(&found, view.params.throttle.k_milli)
    if excess == 0 or _draw(view, keep) * UNIT * (<uint64_t>found.calls + 1) >= excess << DRAW_BITS:
        return False
    if keep:
        buckets_append(view.throttle_buckets, view.params.throttle.bucket_ns, 0, False, True, now_ns)
    return True


cdef void throttle_record(adm_view *view, bint succeeded, int64_t now_ns) noexcept nogil:
    """Count a call that ended, well or not."""
    buckets_append(view.throttle_buckets, view.params.throttle.bucket_ns, 0, not succeeded, False, now_ns)


def snapshot(Arena arena not None, row):
    """Requests and accepts of the window, and the probability that the next call is refused; None without the rule."""
    cdef adm_view *view = view_of(arena, row)
    cdef tally found
    if view == NULL or not view.params.rules & ADM_HAS_THROTTLE:
        return None
    found = _counted(view, clock_ns(&arena.time))
    return (found.calls, found.calls - found.failures - found.slow,
            <double>_excess(&found, view.params.throttle.k_milli) / (<double>UNIT * (<double>found.calls + 1)))
