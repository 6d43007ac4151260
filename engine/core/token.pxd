# The name of a remote caller's permit: 24 bytes that it gives back with its report.
#
#   0..7     directory row 12 | generation 20 | index 14, of the permit word (remote.pyx)
#   8..15    arena time of the admission, ns: a generation that comes round again has another
#   16..23   SipHash of the above under the arena's secret: a token cannot be made up
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.siphash cimport siphash


cdef enum:
    TOKEN_BYTES = 24


ctypedef struct token:
    uint32_t row
    uint32_t generation
    uint32_t index
    int64_t since_ns        # zero: of no permit


cdef inline void token_write(const uint64_t *secret, const token *value, uint8_t *out) noexcept nogil:
    cdef uint64_t words[3]
    words[0] = (<uint64_t>value.row << 34) | (<uint64_t>value.generation << 14) | value.index
    words[1] = <uint64_t>value.since_ns
    words[2] = siphash(secret, words, 16)
    memcpy(out, words, TOKEN_BYTES)


cdef inline bint token_read(const uint64_t *secret, const uint8_t *data, uint64_t size, token *value) noexcept nogil:
    """False where the bytes are not a token of this arena."""
    cdef uint64_t words[3]
    if size != TOKEN_BYTES:
        return False
    memcpy(words, data, TOKEN_BYTES)
    value.row = <uint32_t>(words[0] >> 34) & 0xFFF
    value.generation = <uint32_t>(words[0] >> 14) & 0xFFFFF
    value.index = <uint32_t>words[0] & 0x3FFF
    value.since_ns = <int64_t>words[1]
    return siphash(secret, words, 16) == words[2]
