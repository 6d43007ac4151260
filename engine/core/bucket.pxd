# Three ways to count tokens in one word; zero is a full bucket in each. Pure: a word and the time in, a word out.
#
#   gcra               theoretical arrival time, ns: when the bucket will be full again
#   sliding_window     start of the window, s (30) | tokens of the window before (17) | tokens of this one (17)
#   fixed_window       end of the window, ticks of 2^23 ns (36) | tokens of it (28)
#
# No format depends on the rate or the unit, so both can change under it. limiter.pyx has the theory.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.clock cimport timebase, wall_offset_ns
from engine.core.layout cimport ADM_FIXED_WINDOW, ADM_GCRA, adm_rate

cdef enum:
    SLIDING_BITS = 17
    FIXED_BITS = 28
    TICK_BITS = 23          # of the end of a fixed window: 8.4 ms
    DRIFT = 64              # a window may be shorter than its unit by this part, so that a clock that is slewed keeps its grid


ctypedef struct sliding:
    int64_t start_ns
    int64_t before
    int64_t taken


cdef inline int64_t second_ns() noexcept nogil:
    return 1000000000

cdef inline int64_t day_ns() noexcept nogil:
    return 86400 * second_ns()


cdef inline int64_t month_after(int64_t wall_ns) noexcept nogil:
    """The first instant of the next month, UTC. Civil from days and back: H. Hinnant, chrono-compatible date algorithms."""
    cdef int64_t days = wall_ns // day_ns() + 719468            # since 0000-03-01
    cdef int64_t era = days // 146097
    cdef int64_t of_era = days - era * 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153 + 1           # March is 0; the next one
    if month == 12:
        month = 0
        year += 1
    of_era = year * 365 + year // 4 - year // 100 + (153 * month + 2) // 5
    return (era * 146097 + of_era - 719468) * day_ns()


cdef inline int64_t boundary_after(int64_t wall_ns, int64_t unit_ns) noexcept nogil:
    """Where the calendar unit that `wall_ns` lies in ends."""
    if unit_ns == 28 * day_ns():
        return month_after(wall_ns)
    return (wall_ns // unit_ns + 1) * unit_ns


cdef inline uint64_t fixed_open(uint64_t word, const adm_rate *rate, const timebase *time,
                                int64_t now_ns) noexcept nogil:
    """The word of the window that `now_ns` lies in, which may be a new one."""
    cdef int64_t end_ns = <int64_t>(word >> FIXED_BITS) << TICK_BITS
    cdef int64_t after_ns = now_ns
    cdef int64_t offset_ns
    if now_ns < end_ns:
        return word
    if word and end_ns + rate.unit_ns - rate.unit_ns // DRIFT > now_ns:
        after_ns = end_ns + rate.unit_ns - rate.unit_ns // DRIFT
    offset_ns = wall_offset_ns(time)
    end_ns = boundary_after(after_ns + offset_ns, rate.unit_ns) - offset_ns
    return <uint64_t>((end_ns + (1 << TICK_BITS) - 1) >> TICK_BITS) << FIXED_BITS


cdef inline sliding slide(uint64_t word, const adm_rate *rate, int64_t now_ns) noexcept nogil:
    """The window that `now_ns` lies in; where time went back, the one it had come to."""
    cdef sliding found
    cdef int64_t start_ns = now_ns - now_ns % rate.unit_ns
    found.start_ns = <int64_t>(word >> (2 * SLIDING_BITS)) * second_ns()
    found.before = <int64_t>(word >> SLIDING_BITS) & ((1 << SLIDING_BITS) - 1)
    found.taken = <int64_t>word & ((1 << SLIDING_BITS) - 1)
    if found.start_ns < start_ns:
        found.before = found.taken if found.start_ns + rate.unit_ns >= start_ns else 0
        found.taken = 0
        found.start_ns = start_ns
    return found


cdef inline uint64_t sliding_pack(const sliding *window) noexcept nogil:
    return (<uint64_t>(window.start_ns // second_ns()) << (2 * SLIDING_BITS)
            | <uint64_t>window.before << SLIDING_BITS | <uint64_t>window.taken)


cdef inline int64_t left_us(const sliding *window, const adm_rate *rate, int64_t now_ns) noexcept nogil:
    """Microseconds that the window still lasts, rounded up. So fine that tokens x time stay within 64 bits."""
    cdef int64_t left_ns = window.start_ns + rate.unit_ns - now_ns
    return (min(left_ns, rate.unit_ns) + 999) // 1000


cdef inline int64_t weighed(int64_t tokens, int64_t us, const adm_rate *rate) noexcept nogil:
    """That part of `tokens` which `us` is of a window, rounded up."""
    cdef int64_t unit_us = rate.unit_ns // 1000
    return (tokens * us + unit_us - 1) // unit_us


cdef inline int64_t sliding_wait(const sliding *window, const adm_rate *rate, int64_t now_ns,
                                 int64_t cost) noexcept nogil:
    """How long until `cost` tokens are there, if nobody takes any meanwhile."""
    cdef int64_t unit_us = rate.unit_ns // 1000
    cdef int64_t end_ns = window.start_ns + rate.unit_ns
    cdef int64_t room = <int64_t>rate.burst - cost - window.taken
    if room >= 0:
        return end_ns - now_ns - room * unit_us // window.before * 1000
    room = <int64_t>rate.burst - cost
    return end_ns + rate.unit_ns - now_ns - min(room * unit_us // window.taken, unit_us) * 1000


cdef inline int64_t bucket_take(uint64_t word, const adm_rate *rate, const timebase *time, int64_t now_ns,
                                uint32_t cost, uint64_t *after) noexcept nogil:
    """Zero, with the word `after` it, where `cost` tokens are there; else the nanoseconds until they are.

    The caller has checked that `cost` is at most the burst, so nothing here overflows.
    """
    cdef sliding window
    cdef int64_t level
    if rate.algorithm == ADM_GCRA:
        level = (<int64_t>word if <int64_t>word > now_ns else now_ns) + rate.interval_ns * cost
        after[0] = <uint64_t>level
        level -= now_ns + rate.depth_ns
        return level if level > 0 else 0
    if rate.algorithm == ADM_FIXED_WINDOW:
        word = fixed_open(word, rate, time, now_ns)
        after[0] = word + cost
        if (word & ((1 << FIXED_BITS) - 1)) + cost > rate.burst:
            return (<int64_t>(word >> FIXED_BITS) << TICK_BITS) - now_ns
        return 0
    window = slide(word, rate, now_ns)
    if weighed(window.before, left_us(&window, rate, now_ns), rate) + window.taken + cost > <int64_t>rate.burst:
        return sliding_wait(&window, rate, now_ns, cost)
    window.taken += cost
    after[0] = sliding_pack(&window)
    return 0


cdef inline int64_t bucket_remaining(uint64_t word, const adm_rate *rate, int64_t now_ns) noexcept nogil:
    """Whole tokens that could be taken now."""
    cdef sliding window
    cdef int64_t spent = 0
    if rate.algorithm == ADM_GCRA:
        spent = max(<int64_t>word - now_ns, 0)
        return (rate.depth_ns - spent) // rate.interval_ns if spent < rate.depth_ns else 0
    if rate.algorithm == ADM_FIXED_WINDOW:
        if now_ns < <int64_t>(word >> FIXED_BITS) << TICK_BITS:
            spent = word & ((1 << FIXED_BITS) - 1)
    else:
        window = slide(word, rate, now_ns)
        spent = weighed(window.before, left_us(&window, rate, now_ns), rate) + window.taken
    return max(<int64_t>rate.burst - spent, 0)


cdef inline int64_t bucket_full_at(uint64_t word, const adm_rate *rate) noexcept nogil:
    """From when on the bucket is as good as a new one. Whoever takes only puts this off."""
    if rate.algorithm == ADM_GCRA:
        return <int64_t>word
    if rate.algorithm == ADM_FIXED_WINDOW:
        return <int64_t>(word >> FIXED_BITS) << TICK_BITS
    return <int64_t>(word >> (2 * SLIDING_BITS)) * second_ns() + 2 * rate.unit_ns if word else 0


cdef inline uint64_t bucket_refund(uint64_t word, const adm_rate *rate, int64_t now_ns, int64_t taken_ns,
                                   uint32_t cost) noexcept nogil:
    """The word once `cost` tokens taken at `taken_ns` are back: never more than a full bucket, nor in another window.

    What was taken in the first tick of a fixed window may count as taken before it, and does not come back.
    """
    cdef sliding window
    cdef int64_t end_ns
    if rate.algorithm == ADM_GCRA:
        if <int64_t>word <= now_ns:
            return word
        return <uint64_t>max(<int64_t>word - rate.interval_ns * cost, now_ns)
    if rate.algorithm == ADM_FIXED_WINDOW:
        end_ns = <int64_t>(word >> FIXED_BITS) << TICK_BITS
        if now_ns >= end_ns or taken_ns < end_ns - rate.unit_ns:
            return word
        return word - min(word & ((1 << FIXED_BITS) - 1), <uint64_t>cost)
    window = slide(word, rate, now_ns)
    if taken_ns >= window.start_ns:
        window.taken = max(window.taken - cost, 0)
    elif taken_ns >= window.start_ns - rate.unit_ns:
        window.before = max(window.before - cost, 0)
    return sliding_pack(&window)


cdef inline uint64_t bucket_charge(uint64_t word, const adm_rate *rate, const timebase *time, int64_t now_ns,
                                   uint32_t cost) noexcept nogil:
    """The word once `cost` tokens more are gone, or all that there were."""
    cdef sliding window
    cdef int64_t level
    if rate.algorithm == ADM_GCRA:
        level = max(<int64_t>word, now_ns)
        return <uint64_t>min(level + rate.interval_ns * cost, max(level, now_ns + rate.depth_ns))
    if rate.algorithm == ADM_FIXED_WINDOW:
        word = fixed_open(word, rate, time, now_ns)
        level = <int64_t>rate.burst - <int64_t>(word & ((1 << FIXED_BITS) - 1))
        return word + <uint64_t>max(min(level, <int64_t>cost), 0)
    window = slide(word, rate, now_ns)
    window.taken += max(min(<int64_t>rate.burst - window.taken, <int64_t>cost), 0)
    return sliding_pack(&window)


cdef inline uint64_t bucket_adjust(uint64_t word, const adm_rate *rate, const timebase *time, int64_t now_ns,
                                   int64_t taken_ns, int64_t more) noexcept nogil:
    """Charge `more` tokens, or where that is negative refund so many that were taken at `taken_ns`."""
    if more < 0:
        return bucket_refund(word, rate, now_ns, taken_ns, <uint32_t>-more)
    return bucket_charge(word, rate, time, now_ns, <uint32_t>more)
