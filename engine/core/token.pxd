# The permit that a remote caller holds: 24 bytes that it gives back with its report.
#
#   0..7     the permit word (permit.pxd); its status and owner are those of every remote permit, so these 12 bits
#            carry the probe instead: its cell + 1, or 0
#   8..15    cell 28 (in words from the start of the arena) | row 12 | breaker generation 24
#   16..23   SipHash of the above under the arena's secret: a token cannot be made up
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.permit cimport permit_pack
from engine.core.layout cimport ADM_HELD, ADM_REMOTE_OWNER
from engine.core.siphash cimport siphash


cdef enum:
    TOKEN_BYTES = 24


ctypedef struct token:
    uint64_t word
    uint32_t cell
    uint32_t row
    uint32_t generation
    uint32_t probe          # cell of the probe + 1; zero: none


cdef inline uint64_t _stamp() noexcept nogil:
    return permit_pack(ADM_HELD, ADM_REMOTE_OWNER, 0, 0)


cdef inline void token_write(const uint64_t *secret, const token *value, uint8_t *out) noexcept nogil:
    cdef uint64_t words[3]
    words[0] = (value.word & ((<uint64_t>1 << 52) - 1)) | (<uint64_t>value.probe << 52)
    words[1] = (<uint64_t>value.cell << 36) | (<uint64_t>value.row << 24) | value.generation
    words[2] = siphash(secret, words, 16)
    memcpy(out, words, TOKEN_BYTES)


cdef inline bint token_read(const uint64_t *secret, const uint8_t *data, uint64_t size, token *value) noexcept nogil:
    """False where the bytes are not a token of this arena."""
    cdef uint64_t words[3]
    if size != TOKEN_BYTES:
        return False
    memcpy(words, data, TOKEN_BYTES)
    value.word = (words[0] & ((<uint64_t>1 << 52) - 1)) | _stamp()
    value.probe = <uint32_t>(words[0] >> 52)
    value.cell = <uint32_t>(words[1] >> 36)
    value.row = <uint32_t>(words[1] >> 24) & 0xFFF
    value.generation = <uint32_t>words[1] & 0xFFFFFF
    return siphash(secret, words, 16) == words[2]
