"""The directory: policy name -> published parameters -> slots.

A row is found by a SipHash of its name, by linear probing from `hash % rows_max`, and rows are never moved or
emptied, so a reader needs no lock. A binder holds the init lock, writes a complete parameter block and publishes it with
one store of `params`:

    63                40 39                                                              0
    +-------------------+----------------------------------------------------------------+
    | version           | offset of the block                                            |
    +-------------------+----------------------------------------------------------------+

A published block never changes, so whoever has read that word sees one version from start to end. A binder keeps the slots of a rule
whose size still fits: levels, windows, open timers and permits outlive a change of parameters. The version is only compared
for equality with the one before it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_publish, adm_word
from engine.core.layout cimport (
    ADM_HAS_BREAKER, ADM_HAS_BULKHEAD, ADM_HAS_RATE_LIMIT, ADM_LINE, ADM_NAME_MAX, adm_breaker, adm_limiter,
    adm_params, adm_row,
)
from engine.core.siphash cimport siphash
from engine.core.window cimport window_chunks

from engine.core.arena import ArenaError

cdef uint64_t OFFSET_MASK = (<uint64_t>1 << 40) - 1
cdef uint32_t CELLS_A_LINE = 8


cdef uint64_t _hash(Arena arena, const char *name, uint64_t size) noexcept nogil:
    return siphash(arena.header.secret, name, size) | 1


cdef int64_t _probe(Arena arena, const char *name, uint64_t size) noexcept nogil:
    """The row of a name, or the empty row where it belongs, or -1 where the table is full."""
    cdef uint64_t wanted = _hash(arena, name, size)
    cdef uint64_t seen
    cdef uint32_t step, index
    cdef adm_row *row
    for step in range(arena.header.rows_max):
        index = <uint32_t>(wanted + step) & (arena.header.rows_max - 1)
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


cdef bint _fits(Arena arena, const adm_params *params) noexcept nogil:
    """Whether every offset and count of a block stays inside the heap."""
    if params.rules & ADM_HAS_RATE_LIMIT:
        if arena.at(params.rate_limit.slot, sizeof(adm_limiter)) == NULL or params.rate_limit.interval_ns <= 0:
            return False
    if params.rules & ADM_HAS_BULKHEAD:
        if (params.bulkhead.limit == 0 or params.bulkhead.limit > params.bulkhead.capacity or
                arena.at(params.bulkhead.slot, params.bulkhead.capacity * sizeof(adm_word)) == NULL):
            return False
    if params.rules & ADM_HAS_BREAKER:
        if (params.breaker.chunks != window_chunks(params.breaker.window) or params.breaker.window == 0 or
                params.breaker.probes > params.breaker.probe_cells or
                arena.at(params.breaker.slot, _breaker_bytes(params)) == NULL):
            return False
    return True


cdef uint64_t _breaker_bytes(const adm_params *params) noexcept nogil:
    return (sizeof(adm_breaker)
            + (<uint64_t>params.breaker.probe_cells + params.breaker.chunks) * sizeof(adm_word))


cdef uint32_t _full_lines(uint32_t cells) noexcept nogil:
    return (cells + CELLS_A_LINE - 1) // CELLS_A_LINE * CELLS_A_LINE


cdef _set_rate_limit(adm_params *params, tuple values):
    params.rules |= ADM_HAS_RATE_LIMIT
    params.rate_limit.interval_ns, params.rate_limit.burst = values
    params.rate_limit.depth_ns = params.rate_limit.interval_ns * <int64_t>params.rate_limit.burst


cdef _set_bulkhead(adm_params *params, tuple values):
    params.rules |= ADM_HAS_BULKHEAD
    params.bulkhead.limit, params.bulkhead.hold_ns = values
    params.bulkhead.capacity = _full_lines(params.bulkhead.limit)


cdef _set_breaker(adm_params *params, tuple values):
    cdef uint64_t pass_ppm
    params.rules |= ADM_HAS_BREAKER
    (params.breaker.window, params.breaker.min_calls, params.breaker.failure_ppm, params.breaker.open_for_ns,
     params.breaker.probes, pass_ppm, params.breaker.probe_timeout_ns) = values
    params.breaker.chunks = window_chunks(params.breaker.window)
    params.breaker.probe_cells = _full_lines(params.breaker.probes)
    params.breaker.probe_passes = <uint32_t>((params.breaker.probes * pass_ppm + 999999) // 1000000)


cdef _parameters(rules, adm_params *params):
    """`rules` maps a rule's kind to its integers, in the order of `engine.rules`; slots are still unset."""
    memset(params, 0, sizeof(adm_params))
    if "rate_limit" in rules:
        _set_rate_limit(params, rules["rate_limit"])
    if "bulkhead" in rules:
        _set_bulkhead(params, rules["bulkhead"])
    if "breaker" in rules:
        _set_breaker(params, rules["breaker"])


cdef _place(Arena arena, adm_params *params, const adm_params *before):
    """Give every rule its slot: the one it had, where its size still fits, else a new one."""
    cdef uint32_t kept = params.rules & before.rules
    if params.rules & ADM_HAS_RATE_LIMIT:
        params.rate_limit.slot = (before.rate_limit.slot if kept & ADM_HAS_RATE_LIMIT
                                  else arena.allot(sizeof(adm_limiter)))
    if params.rules & ADM_HAS_BULKHEAD:
        if kept & ADM_HAS_BULKHEAD and params.bulkhead.limit <= before.bulkhead.capacity:
            params.bulkhead.slot = before.bulkhead.slot
            params.bulkhead.capacity = before.bulkhead.capacity
        else:
            params.bulkhead.slot = arena.allot(params.bulkhead.capacity * sizeof(adm_word))
    if params.rules & ADM_HAS_BREAKER:
        if (kept & ADM_HAS_BREAKER and params.breaker.window == before.breaker.window and
                params.breaker.probes <= before.breaker.probe_cells):
            params.breaker.slot = before.breaker.slot
            params.breaker.probe_cells = before.breaker.probe_cells
        else:
            params.breaker.slot = arena.allot(_breaker_bytes(params))


cdef _publish(Arena arena, adm_row *row, const adm_params *params):
    cdef uint64_t offset = arena.allot(sizeof(adm_params))
    cdef uint64_t version = ((adm_load(&row.params) >> 40) + 1) & 0xFFFFFF
    memcpy(arena.base + offset, params, sizeof(adm_params))
    adm_publish(&row.params, (version << 40) | offset)
    adm_publish(&arena.header.config_version, adm_load(&arena.header.config_version) + 1)


cdef uint32_t _claim_row(Arena arena, bytes name) except? 0:
    cdef int64_t index = _probe(arena, name, len(name))
    cdef adm_row *row
    if index < 0:
        raise ArenaError(f"the directory is full: {arena.header.rows_max} names")
    row = arena.row(<uint32_t>index)
    if adm_load(&row.hash) == 0:
        memcpy(row.name, <char *>name, len(name))
        row.name_bytes = len(name)
        adm_publish(&row.hash, _hash(arena, name, len(name)))
        adm_publish(&arena.header.rows_used, adm_load(&arena.header.rows_used) + 1)
    return <uint32_t>index


def bind(Arena arena not None, name, rules):
    """Publish the rules of `name` (1..128 bytes) and return its row; the same rules again publish nothing.

    `rules` maps "rate_limit", "bulkhead" and "breaker" to the tuples of `engine.rules`, already validated.
    Raises ArenaError where the arena is full.
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
        _parameters(rules, &params)
        _place(arena, &params, &before)
        if adm_load(&row.params) == 0 or memcmp(&params, &before, sizeof(adm_params)) != 0:
            _publish(arena, row, &params)
    return index


def retire(Arena arena not None, name):
    """Take a name out of service: it answers `unknown_policy` until it is bound again. Its counters stay."""
    cdef bytes encoded = name.encode()
    cdef int64_t index
    with arena.init_lock():
        index = find(arena, encoded, len(encoded))
        if index >= 0:
            adm_publish(&arena.row(<uint32_t>index).params, 0)


def lookup(Arena arena not None, name):
    """The row of a name that is in service, or None."""
    cdef bytes encoded = name.encode()
    cdef int64_t index = find(arena, encoded, len(encoded))
    if index < 0 or adm_load(&arena.row(<uint32_t>index).params) == 0:
        return None
    return index


def names(Arena arena not None):
    """Row -> name of everything in service, in the order of the rows."""
    cdef uint32_t index
    cdef adm_row *row
    found = {}
    for index in range(arena.header.rows_max):
        row = arena.row(index)
        if adm_load(&row.hash) != 0 and adm_load(&row.params) != 0:
            found[index] = row.name[:min(row.name_bytes, ADM_NAME_MAX)].decode(errors="replace")
    return found
