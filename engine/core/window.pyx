"""A window by count: the outcomes of the last calls of one generation, exact, one compare-and-swap a call.

The outcomes lie in a ring of chunks. A chunk is one word of up to 15 outcomes that says itself what it holds:

    63           40 39      34 33  30 29          15 14           0
    +--------------+----------+------+--------------+--------------+
    | generation   | lap      | fill | slow         | failed       |
    +--------------+----------+------+--------------+--------------+

Outcome k of the chunk is bit k of both planes. The cursor says which chunk is filling; chunk n lies at n modulo the ring's size, and
its lap is n divided by it:

    63           40 39                                            0
    +--------------+-----------------------------------------------+
    | generation   | chunks filled before this one                 |
    +--------------+-----------------------------------------------+

The ring has a chunk to spare, so the last `window` outcomes are there whatever the filling of the youngest chunk, and a tally
walks back from it until it has seen that many. Hence `window` may change at any time. Nothing is ever cleared: words of
another generation or lap count as empty, so a breaker that closes again starts with an empty window by changing one number. And nothing is
counted beside the outcomes: a process killed between the two words leaves a full chunk under the cursor, and whoever comes
next moves it on.

Approximate: a tally that is overtaken by other recorders eight times in a row takes what it saw last. A recorder that sleeps between its look
and its swap for a multiple of 64 laps, and finds the very same word, writes an outcome where an old one was. A recorder that looks at a
window just when it is moved to a larger ring may lose its outcome.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from engine.core.atomic cimport adm_cas, adm_load, adm_publish, adm_word

cdef enum:
    TALLY_TRIES = 8
    PLANE = 0x7FFF
    SEQUENCE_BITS = 40

cdef extern from *:
    """
    static inline uint32_t adm_ones(uint64_t bits) { return (uint32_t)__builtin_popcountll(bits); }
    static inline uint32_t adm_log2(uint32_t power) { return (uint32_t)__builtin_ctz(power); }
    """
    uint32_t adm_ones(uint64_t bits) nogil
    uint32_t adm_log2(uint32_t power) nogil


cdef inline uint32_t _generation(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> SEQUENCE_BITS)


cdef inline uint64_t _begun(uint64_t cursor) noexcept nogil:
    return cursor & ((<uint64_t>1 << SEQUENCE_BITS) - 1)


cdef inline bint _newer(uint32_t generation, uint32_t than) noexcept nogil:
    """Compared modulo 2^24."""
    cdef uint32_t ahead = (generation - than) & 0xFFFFFF
    return ahead != 0 and ahead < 0x800000


cdef inline uint64_t _stamp(uint32_t generation, uint64_t begun, uint32_t count) noexcept nogil:
    """What a chunk of that number carries in its upper 30 bits."""
    return (<uint64_t>generation << 40) | (((begun >> adm_log2(count)) & 0x3F) << 34)


cdef inline bint _is(uint64_t chunk, uint64_t stamp) noexcept nogil:
    return (chunk ^ stamp) >> 34 == 0


cdef inline uint32_t _fill(uint64_t chunk) noexcept nogil:
    return <uint32_t>(chunk >> 30) & 0xF


cdef uint64_t window_append(adm_word *cursor, adm_word *chunks, uint32_t count, uint32_t generation,
                            bint failed, bint slow) noexcept nogil:
    """Record one outcome of `generation`. How many it has had so far, or zero where it is over."""
    cdef uint64_t outcome = (<uint64_t>slow << CHUNK) | failed
    cdef uint64_t at, stamp, seen
    cdef uint32_t index
    while True:
        at = adm_load(cursor)
        if _generation(at) != generation:
            if _newer(_generation(at), generation):
                return 0
            adm_cas(cursor, at, <uint64_t>generation << SEQUENCE_BITS)
            continue
        stamp = _stamp(generation, _begun(at), count)
        index = <uint32_t>at & (count - 1)
        seen = adm_load(&chunks[index])
        if adm_load(cursor) != at:      # else `seen` is of this chunk or an older one
            continue
        if not _is(seen, stamp):
            if adm_cas(&chunks[index], seen, stamp | (<uint64_t>1 << 30) | outcome):
                return _begun(at) * CHUNK + 1
        elif _fill(seen) == CHUNK:
            adm_cas(cursor, at, at + 1)
        elif adm_cas(&chunks[index], seen, (seen + (<uint64_t>1 << 30)) | (outcome << _fill(seen))):
            return _begun(at) * CHUNK + _fill(seen) + 1


cdef inline uint32_t _youngest(uint64_t plane, uint32_t older) noexcept nogil:
    """Marks of a plane, without its `older` first ones."""
    return adm_ones((plane & PLANE) >> older)


cdef void _walk(uint64_t at, const adm_word *chunks, uint32_t count, uint32_t window, tally *found) noexcept nogil:
    """Count backwards from the cursor until `window` calls were seen or the ring is exhausted."""
    cdef uint64_t begun = _begun(at)
    cdef uint64_t back, chunk
    cdef uint32_t wanted
    memset(found, 0, sizeof(tally))
    for back in range(count):
        if back > begun or found.calls == window:
            break
        chunk = adm_load(&chunks[<uint32_t>(begun - back) & (count - 1)])
        if _is(chunk, _stamp(_generation(at), begun - back, count)):
            wanted = min(_fill(chunk), window - found.calls)
            found.calls += wanted
            found.failures += _youngest(chunk, _fill(chunk) - wanted)
            found.slow += _youngest(chunk >> CHUNK, _fill(chunk) - wanted)


cdef tally window_tally(adm_word *cursor, adm_word *chunks, uint32_t count, uint32_t generation,
                        uint32_t window) noexcept nogil:
    """Calls, failures and slow calls among the last `window` outcomes of `generation`."""
    cdef uint64_t at, filling
    cdef int attempt
    cdef tally found
    memset(&found, 0, sizeof(tally))
    for attempt in range(TALLY_TRIES):
        at = adm_load(cursor)
        if _generation(at) != generation:
            break
        filling = adm_load(&chunks[<uint32_t>at & (count - 1)])
        _walk(at, chunks, count, window, &found)
        if adm_load(cursor) == at and adm_load(&chunks[<uint32_t>at & (count - 1)]) == filling:
            break
    return found


cdef void window_copy(const adm_word *cursor, const adm_word *old, uint32_t old_count, adm_word *new,
                      uint32_t new_count) noexcept nogil:
    """Write what the old ring holds into a larger one that nobody uses yet; the cursor serves both."""
    cdef uint64_t at = adm_load(cursor)
    cdef uint64_t begun = _begun(at)
    cdef uint64_t back, chunk
    for back in range(old_count):
        if back > begun:
            break
        chunk = adm_load(&old[<uint32_t>(begun - back) & (old_count - 1)])
        if _is(chunk, _stamp(_generation(at), begun - back, old_count)):
            chunk &= (<uint64_t>1 << 34) - 1
            adm_publish(&new[<uint32_t>(begun - back) & (new_count - 1)],
                        _stamp(_generation(at), begun - back, new_count) | chunk)
