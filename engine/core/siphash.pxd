# SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, so that names, keys and permit tags can be neither
# crafted to collide nor forged by somebody who does not know the arena's secret.
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t _rotl(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void _round(uint64_t *v) noexcept nogil:
    v[0] += v[1]; v[1] = _rotl(v[1], 13); v[1] ^= v[0]; v[0] = _rotl(v[0], 32)
    v[2] += v[3]; v[3] = _rotl(v[3], 16); v[3] ^= v[2]
    v[0] += v[3]; v[3] = _rotl(v[3], 21); v[3] ^= v[0]
    v[2] += v[1]; v[1] = _rotl(v[1], 17); v[1] ^= v[2]; v[2] = _rotl(v[2], 32)


cdef inline void _absorb(uint64_t *v, const uint64_t *secret, const void *data, uint64_t size) noexcept nogil:
    cdef uint64_t word, i
    cdef const uint8_t *bytes = <const uint8_t *>data
    v[0] = secret[0] ^ <uint64_t>0x736f6d6570736575
    v[1] ^= secret[1] ^ <uint64_t>0x646f72616e646f6d
    v[2] = secret[0] ^ <uint64_t>0x6c7967656e657261
    v[3] = secret[1] ^ <uint64_t>0x7465646279746573
    for i in range(size // 8):
        memcpy(&word, bytes + 8 * i, 8)
        v[3] ^= word
        _round(v)
        _round(v)
        v[0] ^= word
    word = size << 56
    for i in range(size % 8):
        word |= <uint64_t>bytes[size - size % 8 + i] << (8 * i)
    v[3] ^= word
    _round(v)
    _round(v)
    v[0] ^= word


cdef inline uint64_t _squeeze(uint64_t *v) noexcept nogil:
    cdef int i
    for i in range(4):
        _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef inline uint64_t siphash(const uint64_t *secret, const void *data, uint64_t size) noexcept nogil:
    """Hash of `size` bytes under the 128-bit `secret`."""
    cdef uint64_t v[4]
    v[1] = 0
    _absorb(v, secret, data, size)
    v[2] ^= 0xFF
    return _squeeze(v)


cdef inline void siphash128(const uint64_t *secret, const void *data, uint64_t size, uint64_t *out) noexcept nogil:
    """The variant with 128 bits of output."""
    cdef uint64_t v[4]
    v[1] = 0xEE
    _absorb(v, secret, data, size)
    v[2] ^= 0xEE
    out[0] = _squeeze(v)
    v[1] ^= 0xDD
    out[1] = _squeeze(v)
