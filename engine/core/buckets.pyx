"""A window by time: the outcomes of one generation by tenths of the window, exact in each, one compare-and-swap a call.

Time is cut into buckets of a tenth of the window. A bucket is four words, one for each class of call: failed or not, slow or not. A call
belongs to one class, so recording it changes one word, and no word has to agree with another. Each says itself whose count it
holds:

    63           48 47                28 27                      0
    +--------------+--------------------+-------------------------+
    | generation   | lap                | calls                   |
    +--------------+--------------------+-------------------------+

Bucket n is the n-th since the clock began; its words lie at n modulo ten, and its lap is n divided by ten. Words of another generation or
lap count as empty and are overwritten by the first call of theirs, so nothing is ever cleared. A tally adds up the ten buckets that end with
the present one: calls of the last nine tenths of the window and of as much of a tenth as has passed of the present bucket.

Approximate: a tally reads forty words one after the other while others record. A class stays at 268 million calls a bucket. A count that is never touched
again comes back, for the length of a window, after 2^20 windows without a transition, or after 65,536 transitions within one window. A recorder
that sleeps for a window or two between its look at the clock and its swap finds its bucket reused and records nothing.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.core.atomic cimport adm_cas, adm_load, adm_publish, adm_word
from engine.core.layout cimport ADM_BUCKETS, ADM_CLASSES
from engine.core.window cimport tally

cdef enum:
    FAILED = 1
    SLOW = 2
    COUNT_BITS = 28
    LAP = 0xFFFFF

cdef uint64_t COUNT = (<uint64_t>1 << COUNT_BITS) - 1


cdef inline uint64_t _stamp(uint64_t generation, uint64_t bucket) noexcept nogil:
    """What a word of that bucket carries above its count."""
    return ((generation & 0xFFFF) << 20) | (bucket // ADM_BUCKETS & LAP)


cdef inline const adm_word *_words(const adm_word *buckets, uint64_t bucket) noexcept nogil:
    return buckets + <uint32_t>(bucket % ADM_BUCKETS) * ADM_CLASSES


cdef inline uint32_t _count(const adm_word *buckets, uint64_t bucket, uint32_t kind, uint64_t stamp) noexcept nogil:
    cdef uint64_t word = adm_load(_words(buckets, bucket) + kind)
    return <uint32_t>(word & COUNT) if word >> COUNT_BITS == stamp else 0


cdef inline bint _later(uint64_t word, uint64_t stamp) noexcept nogil:
    """Whether a word of the same generation is of the lap after the stamp's, or of the one after that."""
    return word >> 48 == stamp >> 20 and 1 <= (((word >> COUNT_BITS) - stamp) & LAP) <= 2


cdef uint64_t buckets_append(adm_word *buckets, int64_t bucket_ns, uint32_t generation, bint failed, bint slow,
                             int64_t now_ns) noexcept nogil:
    """Record one outcome of `generation`. How many of its class its bucket has had so far; zero where its time is over."""
    cdef uint64_t bucket = <uint64_t>(now_ns // bucket_ns)
    cdef uint64_t stamp = _stamp(generation, bucket)
    cdef adm_word *word = <adm_word *>_words(buckets, bucket) + FAILED * failed + SLOW * slow
    cdef uint64_t seen
    while True:
        seen = adm_load(word)
        if seen >> COUNT_BITS != stamp:
            if _later(seen, stamp):
                return 0
            if adm_cas(word, seen, (stamp << COUNT_BITS) | 1):
                return 1
        elif seen & COUNT == COUNT:
            return COUNT
        elif adm_cas(word, seen, seen + 1):
            return (seen & COUNT) + 1


cdef tally buckets_tally(const adm_word *buckets, int64_t bucket_ns, uint32_t generation, int64_t now_ns) noexcept nogil:
    """Calls, failures and slow calls of `generation` in the ten buckets that end with the present one."""
    cdef uint64_t bucket = <uint64_t>(now_ns // bucket_ns)
    cdef uint64_t stamp
    cdef uint32_t back, kind, count
    cdef tally found
    memset(&found, 0, sizeof(tally))
    for back in range(<uint32_t>min(bucket + 1, <uint64_t>ADM_BUCKETS)):
        stamp = _stamp(generation, bucket - back)
        for kind in range(<uint32_t>ADM_CLASSES):
            count = _count(buckets, bucket - back, kind, stamp)
            found.calls += count
            found.failures += count if kind & FAILED else 0
            found.slow += count if kind & SLOW else 0
    return found


cdef void _move_word(uint64_t old, adm_word *to, uint64_t lap) noexcept nogil:
    """Add a word to the one it belongs to from now on: of the same generation and of that lap."""
    cdef uint64_t stamp = (old >> 48 << 20) | (lap & LAP)
    cdef uint64_t there = adm_load(to)
    cdef uint64_t count = old & COUNT
    if there >> COUNT_BITS == stamp:
        count = min(count + (there & COUNT), COUNT)
    adm_publish(to, (stamp << COUNT_BITS) | count)


cdef void buckets_copy(const adm_word *old, int64_t old_bucket_ns, adm_word *new, int64_t new_bucket_ns,
                       int64_t now_ns) noexcept nogil:
    """Write what the old buckets hold into longer or shorter ones that nobody uses yet: each where its end belongs."""
    cdef uint64_t bucket = <uint64_t>(now_ns // old_bucket_ns)
    cdef uint64_t past, place, word
    cdef uint32_t back, kind
    # From the oldest on, so that where old and new windows overlap the youngest of a place is written last.
    for back in range(<uint32_t>min(bucket + 1, <uint64_t>ADM_BUCKETS), 0, -1):
        past = bucket + 1 - back
        place = <uint64_t>(min((past + 1) * <uint64_t>old_bucket_ns - 1, <uint64_t>now_ns)) // <uint64_t>new_bucket_ns
        for kind in range(<uint32_t>ADM_CLASSES):
            word = adm_load(_words(old, past) + kind)
            if (word >> COUNT_BITS & LAP) == (past // ADM_BUCKETS & LAP) and word & COUNT:
                _move_word(word, <adm_word *>_words(new, place) + kind, place // ADM_BUCKETS)
