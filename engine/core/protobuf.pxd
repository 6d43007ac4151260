# The part of the protobuf wire format that the admission messages need.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef enum:
    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    GROUP = 3
    GROUP_END = 4
    FIXED32 = 5

cdef enum:
    MAX_DEPTH = 32          # of unknown groups inside one another


ctypedef struct reader:
    const uint8_t *start
    const uint8_t *at
    const uint8_t *end
    const char *complaint   # NULL while all is well
    uint32_t number         # of the field that was read last
    uint32_t kind           # its wire type
    uint64_t value          # its varint, or the length of its bytes
    const uint8_t *bytes    # where its bytes start


cdef inline bint wrong(reader *r, const char *complaint) noexcept nogil:
    r.complaint = complaint
    return False


cdef inline bint read_varint(reader *r, uint64_t *value) noexcept nogil:
    cdef int shift = 0
    cdef uint8_t byte
    value[0] = 0
    while shift < 70:
        if r.at == r.end:
            return wrong(r, b"truncated varint")
        byte = r.at[0]
        r.at += 1
        value[0] |= <uint64_t>(byte & 0x7F) << shift if shift < 64 else 0
        if byte < 0x80:
            return True
        shift += 7
    return wrong(r, b"varint of more than 10 bytes")


cdef inline bint skip(reader *r, uint64_t count) noexcept nogil:
    if count > <uint64_t>(r.end - r.at):
        return wrong(r, b"truncated field")
    r.at += count
    return True


cdef inline bint read_tag(reader *r) noexcept nogil:
    cdef uint64_t tag
    if not read_varint(r, &tag):
        return False
    if tag >> 32 or tag >> 3 == 0:
        return wrong(r, b"impossible field number")
    r.number = <uint32_t>(tag >> 3)
    r.kind = <uint32_t>tag & 7
    return True


cdef inline bint read_value(reader *r) noexcept nogil:
    if r.kind == VARINT:
        return read_varint(r, &r.value)
    if r.kind == FIXED64:
        return skip(r, 8)
    if r.kind == FIXED32:
        return skip(r, 4)
    if r.kind == BYTES:
        if not read_varint(r, &r.value):
            return False
        r.bytes = r.at
        return skip(r, r.value)
    return wrong(r, b"impossible wire type")


cdef inline bint skip_group(reader *r) noexcept nogil:
    """Skip an unknown group whose start was read; groups inside it nest."""
    cdef uint32_t open_numbers[MAX_DEPTH]
    cdef int depth = 1
    open_numbers[0] = r.number
    while depth:
        if not read_tag(r):
            return False
        if r.kind == GROUP:
            if depth == MAX_DEPTH:
                return wrong(r, b"groups nested too deeply")
            open_numbers[depth] = r.number
            depth += 1
        elif r.kind == GROUP_END:
            depth -= 1
            if open_numbers[depth] != r.number:
                return wrong(r, b"group closed by another number")
        elif not read_value(r):
            return False
    r.kind = GROUP
    return True


cdef inline bint next_field(reader *r) noexcept nogil:
    """Read one field. False at the end of the message and, with a complaint, where the bytes are no message."""
    if r.at == r.end:
        return False
    if not read_tag(r):
        return False
    if r.kind == GROUP:
        return skip_group(r)
    return read_value(r)


cdef inline reader read_from(const uint8_t *data, uint64_t size) noexcept nogil:
    cdef reader r
    r.start = data
    r.at = data
    r.end = data + size
    r.complaint = NULL
    r.number = 0
    r.kind = 0
    r.value = 0
    r.bytes = NULL
    return r


cdef inline uint8_t *write_varint(uint8_t *out, uint64_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <uint8_t>value | 0x80
        out += 1
        value >>= 7
    out[0] = <uint8_t>value
    return out + 1


cdef inline uint8_t *write_field(uint8_t *out, uint32_t number, uint64_t value) noexcept nogil:
    """A varint field; zero, the default, is not written."""
    if value == 0:
        return out
    return write_varint(write_varint(out, number << 3 | <uint32_t>VARINT), value)


cdef inline uint8_t *write_bytes(uint8_t *out, uint32_t number, const uint8_t *data, uint64_t size) noexcept nogil:
    out = write_varint(write_varint(out, number << 3 | <uint32_t>BYTES), size)
    memcpy(out, data, size)
    return out + size
