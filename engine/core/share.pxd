# A share of all keys that a rule is for, and each key always the same side of the line: SipHash of the key's bytes, under 128 bits made
# of the rule's name and of nothing that belongs to one arena. So every process, host and restart agree, a larger share
# contains every smaller one, and the shares of two names are drawn apart. The draw is no secret: who knows the name can find a key that is in.
from libc.stdint cimport uint32_t, uint64_t

from engine.core.siphash cimport siphash, siphash128

cdef enum:
    WHOLE_PPM = 1000000


cdef inline void share_key_of(const void *name, uint64_t size, uint64_t *key) noexcept nogil:
    """The key of a name's share: its 128 bits of SipHash under zero."""
    cdef uint64_t zero[2]
    zero[0] = zero[1] = 0
    siphash128(zero, name, size, key)


cdef inline bint share_contains(const uint64_t *key, uint32_t ppm, const void *subject, uint64_t size) noexcept nogil:
    """Whether a share of `ppm` millionths contains those bytes. What has none is in the whole alone."""
    if ppm >= <uint32_t>WHOLE_PPM:
        return True
    return size != 0 and siphash(key, subject, size) % <uint64_t>WHOLE_PPM < ppm
