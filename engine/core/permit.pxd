# A permit is one word, and taking or settling it is one compare-and-swap on it:
#
#   63      62 61          52 51                 32 31                               0
#   +---------+--------------+---------------------+---------------------------------+
#   | status  | owner        | generation          | expiry                          |
#   +---------+--------------+---------------------+---------------------------------+
#
# Status: free, held, and for probes passed or failed. Owner: the row of the process that holds it.
# Expiry: ticks of 2^24 ns (16.8 ms) of the monotonic clock, rounded up; zero means none.
#
# Why 20 bits of generation are enough: a stale permit is mistaken for a live one only where the whole word is
# equal. Without an expiry a permit leaves its holder only when the owner died, and the row of a dead owner is not reused before
# all its permits are free. With one, the stale permit's expiry lies in the past and a live one's ahead.
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef inline uint64_t permit_pack(uint64_t status, uint64_t owner, uint64_t generation, uint64_t expiry) noexcept nogil:
    return (status << 62) | (owner << 52) | ((generation & <uint64_t>0xFFFFF) << 32) | expiry


cdef inline uint32_t permit_status(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 62)


cdef inline uint32_t permit_owner(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 52) & 0x3FF


cdef inline uint32_t permit_generation(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 32) & 0xFFFFF


cdef inline uint64_t permit_with_status(uint64_t word, uint64_t status) noexcept nogil:
    return (word & <uint64_t>0x3FFFFFFFFFFFFFFF) | (status << 62)


cdef inline uint32_t permit_expiry(int64_t now_ns, int64_t life_ns) noexcept nogil:
    """The tick at which a permit taken now ends; `life_ns` of zero: never."""
    cdef uint32_t tick
    if life_ns <= 0:
        return 0
    tick = <uint32_t>((now_ns + life_ns) >> 24) + 1
    return tick if tick != 0 else 1


cdef enum:
    UNTIMED = 0             # as a time: the clock was not read, so nothing counts as expired


cdef inline bint permit_expired(uint64_t word, int64_t now_ns) noexcept nogil:
    """Compared modulo 2^32 ticks: right for 417 days on either side of the expiry."""
    cdef uint32_t expiry = <uint32_t>word
    return expiry != 0 and now_ns != UNTIMED and <int>(<uint32_t>(now_ns >> 24) - expiry) >= 0
