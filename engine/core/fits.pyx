"""Whether a parameter block may be followed: every offset and count in it stays inside the heap.

A block is read from a file that others may have damaged, so each process checks it once, when it makes its view of a policy, and
never on the hot path. Nothing that a block says about where things lie is used before.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_word
from engine.core.cells cimport cells_total
from engine.core.layout cimport (
    ADM_ALGORITHMS, ADM_BUCKETS, ADM_CELLS_MAX, ADM_CLASSES, ADM_ESTIMATORS, ADM_HAS_BREAKER, ADM_HAS_BULKHEAD,
    ADM_HAS_CHAOS, ADM_HAS_FEATURE, ADM_HAS_HEALTH, ADM_HAS_RATE_LIMIT, ADM_HAS_RETRY_BUDGET, ADM_HAS_SHEDDER,
    ADM_HAS_THROTTLE, ADM_KEYED_SHARED, ADM_KEY_CELLS_MAX, ADM_KEY_SEGMENTS, ADM_OVERRIDES_MAX, ADM_RANKS, ADM_SEGMENTS,
    adm_breaker, adm_breaker_params, adm_budget, adm_budget_params, adm_bulkhead_params, adm_cells, adm_chaos,
    adm_chaos_params, adm_check, adm_check_params, adm_feature, adm_feature_params, adm_key, adm_key_table, adm_limiter,
    adm_limiter_params, adm_override, adm_params, adm_shedder, adm_shedder_params, adm_throttle, adm_throttle_params,
)
from engine.core.window cimport CHUNK, CHUNKS_MIN

cdef uint64_t BUCKETS_BYTES = ADM_BUCKETS * ADM_CLASSES * sizeof(adm_word)
cdef uint32_t KEY_CELLS_MIN = 64        # of a segment: a key's window in it
cdef int64_t SECOND_NS = 1000000000


cdef bint _is_blank(const void *block, uint64_t size) noexcept nogil:
    """Whether all of it is zero, as it is for a rule that never was: a binder who makes one goes on from what is there."""
    cdef const char *bytes = <const char *>block
    cdef uint64_t i
    for i in range(size):
        if bytes[i]:
            return False
    return True


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


cdef bint _overrides_fit(Arena arena, uint64_t offset, uint32_t room) noexcept nogil:
    return room == 0 or (room <= ADM_OVERRIDES_MAX and arena.at(offset, room * sizeof(adm_override)) != NULL)


cdef bint _limiter_fits(Arena arena, const adm_limiter_params *limiter) noexcept nogil:
    cdef uint32_t k
    if (limiter.overrides > limiter.overrides_room or not _overrides_fit(arena, limiter.overrides_at, limiter.overrides_room)
            or not _overrides_fit(arena, limiter.idle_at, limiter.idle_room)):
        return False
    if limiter.slot == 0:
        return _is_blank(limiter, sizeof(adm_limiter_params))
    for k in range(<uint32_t>ADM_ALGORITHMS):
        if not _keys_fit(arena, &limiter.keys[k]):
            return False
    return (arena.at(limiter.slot, sizeof(adm_limiter)) != NULL and limiter.rate.interval_ns > 0
            and limiter.rate.unit_ns >= SECOND_NS and limiter.rate.algorithm < <uint32_t>ADM_ALGORITHMS
            and limiter.keyed <= <uint32_t>ADM_KEYED_SHARED
            and (limiter.keyed == 0 or limiter.keys[limiter.rate.algorithm].ends[0] != 0))


cdef bint _breaker_fits(Arena arena, const adm_breaker_params *breaker) noexcept nogil:
    if breaker.slot == 0:
        return _is_blank(breaker, sizeof(adm_breaker_params))
    return (arena.at(breaker.slot, sizeof(adm_breaker)) != NULL
            and _window_fits(arena, breaker)
            and 1 <= breaker.probe_passes <= breaker.probes <= cells_total(breaker.probe_cells.ends)
            and breaker.open_for_ns >= 0 and breaker.open_max_ns >= 0 and breaker.backoff_milli <= 10000
            and breaker.jitter_milli <= 500)


cdef bint _budget_fits(Arena arena, const adm_budget_params *budget) noexcept nogil:
    if budget.slot == 0:
        return _is_blank(budget, sizeof(adm_budget_params))
    return (arena.at(budget.slot, sizeof(adm_budget)) != NULL and budget.interval_ns > 0
            and budget.depth_ns >= budget.interval_ns and budget.deposit_ns >= 0)


cdef bint _throttle_fits(Arena arena, const adm_throttle_params *throttle) noexcept nogil:
    if throttle.slot == 0:
        return _is_blank(throttle, sizeof(adm_throttle_params))
    return (arena.at(throttle.slot, sizeof(adm_throttle)) != NULL and throttle.bucket_ns > 0
            and arena.at(throttle.buckets_at, BUCKETS_BYTES) != NULL)


cdef bint _feature_fits(Arena arena, const adm_feature_params *feature) noexcept nogil:
    if feature.slot == 0:
        return _is_blank(feature, sizeof(adm_feature_params))
    return arena.at(feature.slot, sizeof(adm_feature)) != NULL


cdef bint _health_fits(Arena arena, const adm_params *params) noexcept nogil:
    cdef const adm_check_params *check = &params.check
    if params.health.slot and arena.at(params.health.slot, sizeof(adm_check)) == NULL:
        return False
    if check.slot == 0:
        return _is_blank(check, sizeof(adm_check_params))
    return arena.at(check.slot, sizeof(adm_check)) != NULL and check.life_ns >= 0


cdef bint _chaos_fits(Arena arena, const adm_chaos_params *chaos) noexcept nogil:
    if chaos.slot == 0:
        return _is_blank(chaos, sizeof(adm_chaos_params))
    return (arena.at(chaos.slot, sizeof(adm_chaos)) != NULL and _cells_fit(arena, &chaos.delay_cells)
            and chaos.max_active <= cells_total(chaos.delay_cells.ends) and 0 <= chaos.variance_ns <= chaos.delay_ns
            and chaos.impact <= 4)


cdef bint _shedder_fits(Arena arena, const adm_shedder_params *shedder) noexcept nogil:
    cdef uint32_t k
    if not _cells_fit(arena, &shedder.cells) or not _cells_fit(arena, &shedder.born):
        return False
    if shedder.slot == 0:
        return _is_blank(shedder, sizeof(adm_shedder_params))
    for k in range(<uint32_t>ADM_SEGMENTS):
        if shedder.cells.ends[k] != shedder.born.ends[k]:
            return False
    for k in range(<uint32_t>ADM_RANKS):
        if shedder.share_milli[k] > 1000:
            return False
    return (arena.at(shedder.slot, sizeof(adm_shedder)) != NULL and shedder.adaptive.estimator < <uint32_t>ADM_ESTIMATORS
            and 1 <= shedder.adaptive.least <= shedder.adaptive.initial <= shedder.adaptive.most <= shedder.high
            and shedder.high <= cells_total(shedder.cells.ends))


cdef bint params_fit(Arena arena, const adm_params *params) noexcept nogil:
    """Whether every offset and count of a block, in force or kept, stays inside the heap."""
    cdef const adm_limiter_params *limiter = &params.rate_limit
    cdef const adm_bulkhead_params *bulkhead = &params.bulkhead
    if not _cells_fit(arena, &bulkhead.cells) or not _cells_fit(arena, &params.breaker.probe_cells):
        return False
    if not _cells_fit(arena, &bulkhead.queue_cells) or bulkhead.queue > cells_total(bulkhead.queue_cells.ends):
        return False
    if not _limiter_fits(arena, limiter):
        return False
    if bulkhead.cells.ends[0] and not 1 <= bulkhead.limit <= bulkhead.high <= cells_total(bulkhead.cells.ends):
        return False
    if not _breaker_fits(arena, &params.breaker) or not _budget_fits(arena, &params.retry_budget):
        return False
    if not _throttle_fits(arena, &params.throttle) or not _feature_fits(arena, &params.feature):
        return False
    if not _shedder_fits(arena, &params.shedder):
        return False
    if params.rules & ADM_HAS_RATE_LIMIT and limiter.slot == 0:
        return False
    if params.rules & ADM_HAS_BULKHEAD and bulkhead.cells.ends[0] == 0:
        return False
    if params.rules & ADM_HAS_RETRY_BUDGET and params.retry_budget.slot == 0:
        return False
    if params.rules & ADM_HAS_THROTTLE and params.throttle.slot == 0:
        return False
    if not _health_fits(arena, params) or not _chaos_fits(arena, &params.chaos):
        return False
    if params.rules & ADM_HAS_HEALTH and params.health.slot == 0:
        return False
    if params.rules & ADM_HAS_CHAOS and params.chaos.slot == 0:
        return False
    if params.rules & ADM_HAS_FEATURE and params.feature.slot == 0:
        return False
    if params.rules & ADM_HAS_SHEDDER and params.shedder.slot == 0:
        return False
    return not (params.rules & ADM_HAS_BREAKER and params.breaker.slot == 0)
