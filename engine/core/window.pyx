"""Sliding counts: the outcomes of the last `window` calls of one generation, exact, one compare-and-swap a call.

The window is a ring of chunks. A chunk is one word that holds up to 14 outcomes and says itself how far it is filled:

    63           40 39     32 31  28 27          14 13           0
    +--------------+---------+------+--------------+--------------+
    | generation   | lap     | fill | slow         | failed       |
    +--------------+---------+------+--------------+--------------+

Outcome k of the chunk is bit k of both planes. Bits below `fill` are of this lap of the ring and those above it still of
the lap before, so the ring holds the last `window` outcomes at every instant. The cursor says which chunk is filling:

    63           40 39                                            0
    +--------------+-----------------------------------------------+
    | generation   | chunks begun before this one                  |
    +--------------+-----------------------------------------------+

Nothing is ever cleared: words of an older generation count as empty, so a breaker that closes again starts with an empty window by
changing one number. Everything is derived from the chunks: a process killed between the two words leaves a full chunk
under the cursor, and whoever comes next moves it on.

Approximate: a tally that is overtaken by other recorders eight times in a row takes what it saw last. A recorder that sleeps between its look
and its swap for a multiple of 256 laps, and finds the very same word, puts one outcome a chunk too early.
The slow plane is kept for slow-call rates; a call that is not judged for slowness leaves it zero.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from engine.core.atomic cimport adm_cas, adm_load, adm_word

cdef uint32_t CHUNK = 14
cdef uint64_t PLANE = 0x3FFF
cdef uint64_t SEQUENCE = (<uint64_t>1 << 40) - 1
cdef int TALLY_TRIES = 8


cdef extern from *:
    """
    static inline unsigned adm_ones(uint64_t bits) { return (unsigned)__builtin_popcountll(bits); }
    """
    uint32_t adm_ones(uint64_t bits) nogil


cdef inline bint _newer(uint32_t generation, uint32_t than) noexcept nogil:
    """Compared modulo 2^24."""
    cdef uint32_t ahead = (generation - than) & 0xFFFFFF
    return ahead != 0 and ahead < 0x800000


cdef inline uint32_t _room(uint32_t window, uint32_t index) noexcept nogil:
    cdef uint32_t left = window - index * CHUNK
    return left if left < CHUNK else CHUNK


cdef inline uint64_t _pack(uint32_t generation, uint64_t lap, uint64_t fill, uint64_t planes) noexcept nogil:
    return (<uint64_t>generation << 40) | ((lap & 0xFF) << 32) | (fill << 28) | planes


cdef inline uint32_t _calls(uint64_t begun, uint32_t fill, uint32_t chunks, uint32_t window) noexcept nogil:
    return window if begun >= chunks else <uint32_t>begun * CHUNK + fill


cdef uint32_t window_append(adm_word *cursor, adm_word *chunks, uint32_t window, uint32_t generation,
                            bint failed) noexcept nogil:
    """Record one outcome of `generation`. The calls then in the window; zero where the generation is over."""
    cdef uint32_t count = window_chunks(window)
    cdef uint64_t at, begun, lap, seen, planes
    cdef uint32_t index, fill
    while True:
        at = adm_load(cursor)
        if <uint32_t>(at >> 40) != generation:
            if _newer(<uint32_t>(at >> 40), generation):
                return 0
            adm_cas(cursor, at, <uint64_t>generation << 40)
            continue
        begun = at & SEQUENCE
        index = <uint32_t>(begun % count)
        lap = (begun // count) & 0xFF
        seen = adm_load(&chunks[index])
        fill = 0
        planes = 0
        if <uint32_t>(seen >> 40) == generation:
            planes = seen & 0xFFFFFFF
            if ((seen >> 32) & 0xFF) == lap:
                fill = <uint32_t>(seen >> 28) & 0xF
        if fill == _room(window, index):
            adm_cas(cursor, at, at + 1)
            continue
        if adm_load(cursor) != at:      # else `seen` is of this generation or an older one
            continue
        planes = (planes & ~(<uint64_t>0x4001 << fill)) | (<uint64_t>failed << fill)
        if adm_cas(&chunks[index], seen, _pack(generation, lap, fill + 1, planes)):
            return _calls(begun, fill + 1, count, window)


cdef tally window_tally(adm_word *cursor, adm_word *chunks, uint32_t window, uint32_t generation) noexcept nogil:
    """Calls and failures of `generation` in the window."""
    cdef uint32_t count = window_chunks(window)
    cdef uint64_t at, filling, word
    cdef uint32_t index, fill, i
    cdef int attempt
    cdef tally found
    memset(&found, 0, sizeof(tally))
    for attempt in range(TALLY_TRIES):
        found.failures = 0
        at = adm_load(cursor)
        if <uint32_t>(at >> 40) != generation:
            return found
        index = <uint32_t>((at & SEQUENCE) % count)
        filling = adm_load(&chunks[index])
        for i in range(count):
            word = filling if i == index else adm_load(&chunks[i])
            if <uint32_t>(word >> 40) == generation:
                found.failures += adm_ones(word & PLANE)
        fill = 0
        if <uint32_t>(filling >> 40) == generation and ((filling >> 32) & 0xFF) == (((at & SEQUENCE) // count) & 0xFF):
            fill = <uint32_t>(filling >> 28) & 0xF
        found.calls = _calls(at & SEQUENCE, fill, count, window)
        if adm_load(cursor) == at and adm_load(&chunks[index]) == filling:
            break
    return found
