"""The directory: policy name -> published parameters -> slots.

A row is found by a SipHash of its name, by linear probing from `hash % rows_max`, and rows are never moved or
emptied, so a reader needs no lock. A binder holds the init lock, writes a complete parameter block and publishes it with
one store of `params`:

    63                40 39                                                              0
    +-------------------+----------------------------------------------------------------+
    | version           | offset of the block                                            |
    +-------------------+----------------------------------------------------------------+

A published block never changes, so whoever has read that word sees one version from start to end. A binder keeps every slot:
levels, windows, open timers and permits outlive any change of parameters, also one that takes a rule out of force. What has
to grow does so without moving a permit: cells by segments, a window by a copy of its outcomes. Another kind of window
starts empty, or with what it held when it was last in force. The version is only compared for equality with the one before it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_publish, adm_word
from engine.core.buckets cimport buckets_copy
from engine.core.cells cimport cells_total
from engine.core.clock cimport clock_ns
from engine.core.journal cimport journal, journal_add, journal_of
from engine.core.layout cimport (
    ADM_ALGORITHMS, ADM_BUCKETS, ADM_CELLS_MAX, ADM_CLASSES, ADM_CONFIGURED, ADM_HAS_BREAKER, ADM_HAS_BULKHEAD,
    ADM_HAS_RATE_LIMIT, ADM_KEY_CELLS_MAX, ADM_KEY_SEGMENTS, ADM_KEYED_SHARED, ADM_NAME_MAX, ADM_RETIRED, ADM_ROWS_MAX,
    ADM_SEGMENTS, adm_breaker, adm_breaker_params, adm_bulkhead_params, adm_cells, adm_key, adm_key_table, adm_limiter,
    adm_limiter_params, adm_params, adm_row,
)
from engine.core.siphash cimport siphash
from engine.core.window cimport CHUNK, CHUNKS_MIN, window_chunks, window_copy

from engine.core.arena import ArenaError

cdef uint64_t OFFSET_MASK = (<uint64_t>1 << 40) - 1
cdef uint32_t CELLS_A_LINE = 8
cdef uint64_t BUCKETS_BYTES = ADM_BUCKETS * ADM_CLASSES * sizeof(adm_word)
cdef uint32_t KEY_CELLS_MIN = 64        # of a segment: a key's window in it
cdef uint32_t KEY_CELLS_FIRST = 2048
cdef int64_t SECOND_NS = 1000000000


cdef uint64_t _hash(Arena arena, const char *name, uint64_t size) noexcept nogil:
    return siphash(arena.header.secret, name, size) | 1


cdef int64_t _probe(Arena arena, const char *name, uint64_t size) noexcept nogil:
    """The row of a name, or the empty row where it belongs, or -1 where the table is full."""
    cdef uint64_t wanted = _hash(arena, name, size)
    cdef uint64_t seen
    cdef uint32_t step, index
    cdef adm_row *row
    for step in range(ADM_ROWS_MAX):
        index = <uint32_t>(wanted + step) & (ADM_ROWS_MAX - 1)
        row = arena.row(index)
        seen = adm_load(&row.hash)
        if seen == 0 or (seen == wanted and row.name_bytes == size and memcmp(row.name, name, size) == 0):
            return index
    return -1


cdef int64_t find(Arena arena, const char *name, uint64_t size) noexcept nogil:
    """The row of a name, or -1."""
    cdef int64_t index
    if size == 0 or size > ADM_NAME_MAX:
        return -1
    index = _probe(arena, name, size)
    return index if index >= 0 and adm_load(&arena.row(<uint32_t>index).hash) != 0 else -1


cdef bint read_params(Arena arena, uint64_t published, adm_params *params) noexcept nogil:
    """Copy the block behind a published word. False where there is none or it points outside the heap."""
    cdef void *block = arena.at(published & OFFSET_MASK, sizeof(adm_params))
    if published == 0 or block == NULL:
        return False
    memcpy(params, block, sizeof(adm_params))
    return _fits(arena, params)


cdef bint _cells_fit(Arena arena, const adm_cells *described) noexcept nogil:
    """Whether every segment lies in the heap and begins where the one before it ends."""
    cdef uint32_t first = 0
    cdef uint32_t used = 0
    cdef uint32_t k
    while used < <uint32_t>ADM_SEGMENTS and described.ends[used]:
        used += 1
    for k in range(used, <uint32_t>ADM_SEGMENTS):
        if described.ends[k]:
            return False
    for k in range(used):
        if (described.ends[k] <= first or described.ends[k] > ADM_CELLS_MAX or
                arena.at(described.at[k], (described.ends[k] - first) * sizeof(adm_word)) == NULL):
            return False
        first = described.ends[k]
    return True


cdef bint _window_fits(Arena arena, const adm_breaker_params *breaker) noexcept nogil:
    """Whether one kind of window is in force, and those that have words have them in the heap."""
    if (breaker.window != 0) + (breaker.bucket_ns > 0) + (breaker.consecutive != 0) != 1:
        return False
    if breaker.buckets_at and arena.at(breaker.buckets_at, BUCKETS_BYTES) == NULL or breaker.bucket_ns < 0:
        return False
    if breaker.chunks and (breaker.chunks < <uint32_t>CHUNKS_MIN or breaker.chunks & (breaker.chunks - 1) != 0 or
                           arena.at(breaker.window_at, breaker.chunks * sizeof(adm_word)) == NULL):
        return False
    if breaker.window and (breaker.chunks == 0 or (<uint64_t>breaker.chunks - 1) * CHUNK < breaker.window):
        return False
    return breaker.bucket_ns == 0 or breaker.buckets_at != 0


cdef bint _keys_fit(Arena arena, const adm_key_table *described) noexcept nogil:
    """Whether every segment lies in the heap and is at least as long as a key's window."""
    cdef uint32_t first = 0
    cdef uint32_t k
    for k in range(<uint32_t>ADM_KEY_SEGMENTS):
        if described.ends[k] == 0:
            first = ADM_KEY_CELLS_MAX
        elif (described.ends[k] < first + <uint32_t>KEY_CELLS_MIN or described.ends[k] > ADM_KEY_CELLS_MAX or
                arena.at(described.at[k], (described.ends[k] - first) * sizeof(adm_key)) == NULL):
            return False
        else:
            first = described.ends[k]
    return True


cdef bint _limiter_fits(Arena arena, const adm_limiter_params *limiter) noexcept nogil:
    cdef uint32_t k
    if limiter.slot == 0:
        return True
    for k in range(<uint32_t>ADM_ALGORITHMS):
        if not _keys_fit(arena, &limiter.keys[k]):
            return False
    return (arena.at(limiter.slot, sizeof(adm_limiter)) != NULL and limiter.interval_ns > 0 and limiter.unit_ns >= SECOND_NS
            and limiter.algorithm < <uint32_t>ADM_ALGORITHMS and limiter.keyed <= <uint32_t>ADM_KEYED_SHARED
            and (limiter.keyed == 0 or limiter.keys[limiter.algorithm].ends[0] != 0))


cdef bint _breaker_fits(Arena arena, const adm_breaker_params *breaker) noexcept nogil:
    if breaker.slot == 0:
        return True
    return (arena.at(breaker.slot, sizeof(adm_breaker)) != NULL
            and _window_fits(arena, breaker)
            and 1 <= breaker.probe_passes <= breaker.probes <= cells_total(breaker.probe_cells.ends)
            and breaker.open_for_ns >= 0 and breaker.open_max_ns >= 0 and breaker.backoff_milli <= 10000
            and breaker.jitter_milli <= 500)


cdef bint _fits(Arena arena, const adm_params *params) noexcept nogil:
    """Whether every offset and count of a block, in force or kept, stays inside the heap."""
    cdef const adm_limiter_params *limiter = &params.rate_limit
    cdef const adm_bulkhead_params *bulkhead = &params.bulkhead
    if not _cells_fit(arena, &bulkhead.cells) or not _cells_fit(arena, &params.breaker.probe_cells):
        return False
    if not _limiter_fits(arena, limiter):
        return False
    if bulkhead.cells.ends[0] and not 1 <= bulkhead.limit <= bulkhead.high <= cells_total(bulkhead.cells.ends):
        return False
    if not _breaker_fits(arena, &params.breaker):
        return False
    if params.rules & ADM_HAS_RATE_LIMIT and limiter.slot == 0:
        return False
    if params.rules & ADM_HAS_BULKHEAD and bulkhead.cells.ends[0] == 0:
        return False
    return not (params.rules & ADM_HAS_BREAKER and params.breaker.slot == 0)


cdef _set_rate_limit(Arena arena, adm_params *params, tuple values):
    params.rules |= ADM_HAS_RATE_LIMIT
    cdef adm_limiter_params *limiter = &params.rate_limit
    cdef uint32_t max_keys
    limiter.interval_ns, limiter.burst, limiter.algorithm, limiter.unit_ns, limiter.keyed, max_keys = values
    limiter.depth_ns = limiter.interval_ns * <int64_t>limiter.burst
    if limiter.slot == 0:
        limiter.slot = arena.allot(sizeof(adm_limiter))
    if limiter.keyed:
        _make_room(arena, &limiter.keys[limiter.algorithm], 2 * max_keys)


cdef _make_room(Arena arena, adm_key_table *described, uint32_t wanted):
    """Add a segment where there are fewer than `wanted` cells: four times as many as there were, so that six suffice."""
    cdef uint32_t total = 0
    cdef uint32_t k = 0
    cdef uint32_t end
    while k < <uint32_t>ADM_KEY_SEGMENTS and described.ends[k]:
        total = described.ends[k]
        k += 1
    if wanted <= total:
        return
    if k == <uint32_t>ADM_KEY_SEGMENTS:
        raise ArenaError(f"{arena.path or 'private arena'}: its table of keys is damaged")
    end = min(max(wanted, 4 * total, KEY_CELLS_FIRST), ADM_KEY_CELLS_MAX)
    try:
        described.at[k] = arena.allot((end - total) * sizeof(adm_key))
    except ArenaError as error:
        raise ArenaError(f"{error} (room for {wanted // 2} keys takes {(end - total) * sizeof(adm_key)} bytes)") from None
    described.ends[k] = end


cdef _set_bulkhead(Arena arena, adm_params *params, tuple values):
    params.rules |= ADM_HAS_BULKHEAD
    params.bulkhead.limit, params.bulkhead.hold_ns = values
    params.bulkhead.high = max(params.bulkhead.high, params.bulkhead.limit)
    _grow(arena, &params.bulkhead.cells, params.bulkhead.limit)


cdef _set_breaker(Arena arena, adm_params *params, tuple values):
    cdef adm_breaker_params *breaker = &params.breaker
    cdef int64_t bucket_ns = breaker.bucket_ns
    cdef uint64_t pass_ppm
    params.rules |= ADM_HAS_BREAKER
    (breaker.window, breaker.bucket_ns, breaker.consecutive, breaker.min_calls, breaker.failure_ppm, breaker.slow_ppm,
     breaker.slow_after_ns, breaker.open_for_ns, breaker.open_max_ns, breaker.backoff_milli, breaker.jitter_milli,
     breaker.probes, pass_ppm, breaker.probe_timeout_ns, breaker.ramp_ns) = values
    breaker.probe_passes = <uint32_t>((breaker.probes * pass_ppm + 999999) // 1000000)
    if breaker.slot == 0:
        breaker.slot = arena.allot(sizeof(adm_breaker))
    _grow(arena, &breaker.probe_cells, breaker.probes)
    if breaker.window:
        _widen(arena, breaker)
    if breaker.bucket_ns and breaker.bucket_ns != bucket_ns:
        _recut(arena, breaker, bucket_ns)


cdef _grow(Arena arena, adm_cells *described, uint32_t wanted):
    """Add a segment where there are too few cells: four times as many as there were, so that eight segments suffice."""
    cdef uint32_t total = cells_total(described.ends)
    cdef uint32_t end = max((wanted + CELLS_A_LINE - 1) // CELLS_A_LINE * CELLS_A_LINE, 4 * total)
    cdef uint32_t k = 0
    if wanted <= total:
        return
    while k < <uint32_t>ADM_SEGMENTS and described.ends[k]:
        k += 1
    if k == <uint32_t>ADM_SEGMENTS:
        raise ArenaError(f"{arena.path or 'private arena'}: its cells are damaged")
    end = min(end, <uint32_t>ADM_CELLS_MAX)
    described.at[k] = arena.allot((end - total) * sizeof(adm_word))
    described.ends[k] = end


cdef _widen(Arena arena, adm_breaker_params *breaker):
    """Move the outcomes to a larger ring where the window has outgrown its own."""
    cdef uint32_t chunks = window_chunks(breaker.window)
    cdef uint64_t window_at
    if chunks <= breaker.chunks:
        return
    window_at = arena.allot(chunks * sizeof(adm_word))
    if breaker.chunks:
        window_copy(&(<adm_breaker *>(arena.base + breaker.slot)).cursor, <adm_word *>(arena.base + breaker.window_at),
                    breaker.chunks, <adm_word *>(arena.base + window_at), chunks)
    breaker.window_at = window_at
    breaker.chunks = chunks


cdef _recut(Arena arena, adm_breaker_params *breaker, int64_t old_bucket_ns):
    """Make buckets of another length, with what those before it hold."""
    cdef uint64_t buckets_at = arena.allot(BUCKETS_BYTES)
    if old_bucket_ns:
        buckets_copy(<adm_word *>(arena.base + breaker.buckets_at), old_bucket_ns, <adm_word *>(arena.base + buckets_at),
                     breaker.bucket_ns, clock_ns(&arena.time))
    breaker.buckets_at = buckets_at


cdef _change(Arena arena, rules, adm_params *params):
    """Put `rules` into a block that holds the parameters before: slots, and with them all state, stay."""
    params.rules = 0
    if "rate_limit" in rules:
        _set_rate_limit(arena, params, rules["rate_limit"])
    if "bulkhead" in rules:
        _set_bulkhead(arena, params, rules["bulkhead"])
    if "breaker" in rules:
        _set_breaker(arena, params, rules["breaker"])


cdef _note(Arena arena, uint32_t index, const adm_params *params, const adm_params *before):
    """Into the journal, unless it is a counter, which never has rules."""
    cdef journal book = journal_of(arena)
    cdef uint64_t version = adm_load(&arena.row(index).params) >> 40
    if params.rules or before.rules:
        journal_add(&book, ADM_CONFIGURED if params.rules else ADM_RETIRED, index, 0, version, clock_ns(&arena.time))


cdef _publish(Arena arena, uint32_t index, const adm_params *params):
    cdef adm_row *row = arena.row(index)
    cdef uint64_t offset = arena.allot(sizeof(adm_params))
    cdef uint64_t version = ((adm_load(&row.params) >> 40) + 1) & 0xFFFFFF
    memcpy(arena.base + offset, params, sizeof(adm_params))
    adm_publish(&row.params, (version << 40) | offset)
    adm_publish(&arena.header.config_version, adm_load(&arena.header.config_version) + 1)


cdef uint32_t _claim_row(Arena arena, bytes name) except? 0:
    cdef int64_t index = _probe(arena, name, len(name))
    cdef adm_row *row
    if index < 0:
        raise ArenaError(f"the directory is full: {ADM_ROWS_MAX} names")
    row = arena.row(<uint32_t>index)
    if adm_load(&row.hash) == 0:
        memcpy(row.name, <char *>name, len(name))
        row.name_bytes = len(name)
        adm_publish(&row.hash, _hash(arena, name, len(name)))
        adm_publish(&arena.header.rows_used, adm_load(&arena.header.rows_used) + 1)
    return <uint32_t>index


def bind(Arena arena not None, name, rules):
    """Publish the rules of `name` (1..128 bytes) and return its row; the same rules again publish nothing.

    `rules` maps "rate_limit", "bulkhead" and "breaker" to the tuples of `engine.rules`, already validated; without any, the
    name is out of service: it answers `unknown_policy`, and keeps its state and its counters. Raises ArenaError where
    the arena is full.
    """
    cdef adm_params params
    cdef adm_params before
    cdef bytes encoded = name.encode()
    cdef uint32_t index = 0
    cdef adm_row *row
    if not 1 <= len(encoded) <= ADM_NAME_MAX:
        raise ValueError(f"name = {name!r}: must have 1 to {ADM_NAME_MAX} bytes")
    with arena.init_lock():
        index = _claim_row(arena, encoded)
        row = arena.row(index)
        if not read_params(arena, adm_load(&row.params), &before):
            memset(&before, 0, sizeof(adm_params))
        params = before
        _change(arena, rules, &params)
        if adm_load(&row.params) == 0 or memcmp(&params, &before, sizeof(adm_params)) != 0:
            _publish(arena, index, &params)
            _note(arena, index, &params, &before)
    return index


cdef bint _in_service(Arena arena, uint32_t index) noexcept nogil:
    cdef adm_params params
    return read_params(arena, adm_load(&arena.row(index).params), &params) and params.rules != 0


def lookup(Arena arena not None, name):
    """The row of a name that is in service, or None."""
    cdef bytes encoded = name.encode()
    cdef int64_t index = find(arena, encoded, len(encoded))
    return index if index >= 0 and _in_service(arena, <uint32_t>index) else None


def names(Arena arena not None):
    """Row -> name of every policy in service, in the order of the rows."""
    cdef uint32_t index
    cdef adm_row *row
    found = {}
    for index in range(ADM_ROWS_MAX):
        row = arena.row(index)
        if adm_load(&row.hash) != 0 and _in_service(arena, index):
            found[index] = row.name[:min(row.name_bytes, ADM_NAME_MAX)].decode(errors="replace")
    return found
