"""Binding: the rules of a policy, as numbers, become a parameter block that is published.

A binder holds the init lock, writes a complete block and publishes it by one store (directory.pyx). It keeps every slot:
levels, windows, open timers and permits outlive any change of parameters, also one that takes a rule out of force. What has
to grow does so without moving a permit: cells by segments, a window by a copy of its outcomes. Another kind of window
starts empty, or with what it held when it was last in force.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_publish, adm_word
from engine.core.buckets cimport buckets_copy
from engine.core.cells cimport cells_total
from engine.core.clock cimport clock_ns
from engine.core.directory cimport claim_row, publish_params, read_params
from engine.core.journal cimport journal, journal_add, journal_of
from engine.core.keys cimport subject_of
from engine.core.layout cimport (
    ADM_BUCKETS, ADM_CELLS_MAX, ADM_CHAOS_STARTED, ADM_CHAOS_STOPPED, ADM_CLASSES, ADM_CONFIGURED, ADM_HAS_BREAKER,
    ADM_HAS_BULKHEAD, ADM_HAS_CHAOS, ADM_HAS_FEATURE, ADM_HAS_HEALTH, ADM_HAS_RATE_LIMIT, ADM_HAS_RETRY_BUDGET,
    ADM_HAS_SHEDDER, ADM_HAS_THROTTLE, ADM_IN_SERVICE, ADM_KEY_CELLS_MAX, ADM_KEY_SEGMENTS, ADM_NAME_MAX,
    ADM_OVERRIDES_MAX, ADM_RETIRED, ADM_SEGMENTS, adm_breaker, adm_breaker_params, adm_budget, adm_budget_params,
    adm_bulkhead_params, adm_cells, adm_chaos, adm_chaos_params, adm_check, adm_feature, adm_feature_params, adm_key,
    adm_key_table, adm_limiter, adm_limiter_params, adm_override, adm_params, adm_row, adm_shedder, adm_shedder_params,
    adm_throttle, adm_throttle_params,
)
from engine.core.share cimport share_key_of
from engine.core.siphash cimport siphash128
from engine.core.trial cimport trial_number, trial_start, trial_stop
from engine.core.waiting cimport bell, bell_of, ring_published
from engine.core.window cimport window_chunks, window_copy

from engine.core.arena import ArenaError

cdef uint32_t CELLS_A_LINE = 8
cdef uint64_t BUCKETS_BYTES = ADM_BUCKETS * ADM_CLASSES * sizeof(adm_word)
cdef uint32_t KEY_CELLS_FIRST = 2048

# By their numbers in layout.h and on the wire.
RULES = ("", "rate_limit", "bulkhead", "breaker", "shedder", "retry_budget", "feature", "chaos", "health", "throttle")

CHECK_PREFIX = "~health/"        # of the names of rows that are checks


cdef _set_rate_limit(Arena arena, adm_params *params, tuple values):
    params.rules |= ADM_HAS_RATE_LIMIT
    cdef adm_limiter_params *limiter = &params.rate_limit
    cdef uint32_t max_keys
    (limiter.rate.interval_ns, limiter.rate.burst, limiter.rate.algorithm, limiter.rate.unit_ns, limiter.keyed, max_keys,
     limiter.max_wait_ns) = values[:7]
    limiter.rate.depth_ns = limiter.rate.interval_ns * <int64_t>limiter.rate.burst
    if limiter.slot == 0:
        limiter.slot = arena.allot(sizeof(adm_limiter))
    if limiter.keyed:
        _make_room(arena, &limiter.keys[limiter.rate.algorithm], 2 * max_keys)
    unit = (limiter.rate.unit_ns, limiter.rate.algorithm)
    _set_overrides(arena, limiter, sorted((_id_of(arena, key), *rate, *unit) for key, *rate in values[7:]))


cdef uint64_t _id_of(Arena arena, str key):
    cdef bytes encoded = key.encode()
    return subject_of(arena.header.secret, <const char *>encoded, len(encoded)).id


cdef _set_overrides(Arena arena, adm_limiter_params *limiter, list wanted):
    """Put (id, interval_ns, burst, unit_ns, algorithm) into the idle table, unless they are those in force."""
    cdef adm_override *table = <adm_override *>(arena.base + limiter.overrides_at)
    cdef adm_override *entry
    cdef uint32_t i
    if wanted == [(table[i].id, table[i].rate.interval_ns, table[i].rate.burst, table[i].rate.unit_ns, table[i].rate.algorithm)
                  for i in range(limiter.overrides)]:
        return
    limiter.overrides_at, limiter.idle_at = limiter.idle_at, limiter.overrides_at
    limiter.overrides_room, limiter.idle_room = limiter.idle_room, limiter.overrides_room
    if <uint32_t>len(wanted) > limiter.overrides_room:
        limiter.overrides_room = min(max(<uint32_t>len(wanted), 2 * limiter.overrides_room), ADM_OVERRIDES_MAX)
        limiter.overrides_at = arena.allot(limiter.overrides_room * sizeof(adm_override))
    table = <adm_override *>(arena.base + limiter.overrides_at)
    limiter.overrides = <uint32_t>len(wanted)
    for i in range(limiter.overrides):
        entry = &table[i]
        entry.id, entry.rate.interval_ns, entry.rate.burst, entry.rate.unit_ns, entry.rate.algorithm = wanted[i]
        entry.rate.depth_ns = entry.rate.interval_ns * <int64_t>entry.rate.burst


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
    cdef adm_bulkhead_params *bulkhead = &params.bulkhead
    bulkhead.limit, bulkhead.hold_ns, bulkhead.queue, bulkhead.max_wait_ns = values
    bulkhead.high = max(bulkhead.high, bulkhead.limit)
    _grow(arena, &bulkhead.cells, bulkhead.limit)
    _grow(arena, &bulkhead.queue_cells, bulkhead.queue)


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
        breaker.buckets_at = _recut(arena, breaker.buckets_at, bucket_ns, breaker.bucket_ns)


cdef _set_retry_budget(Arena arena, adm_params *params, tuple values):
    cdef adm_budget_params *budget = &params.retry_budget
    cdef int64_t burst, opening
    cdef uint64_t slot
    params.rules |= ADM_HAS_RETRY_BUDGET
    budget.interval_ns, burst, budget.deposit_ns, opening = values
    budget.depth_ns = budget.interval_ns * burst
    if budget.slot == 0:
        slot = arena.allot(sizeof(adm_budget))
        adm_publish(&(<adm_budget *>(arena.base + slot)).balance,
                    <uint64_t>(clock_ns(&arena.time) + (burst - opening) * budget.interval_ns))
        budget.slot = slot


cdef _set_throttle(Arena arena, adm_params *params, tuple values):
    cdef adm_throttle_params *throttle = &params.throttle
    cdef int64_t bucket_ns = throttle.bucket_ns
    params.rules |= ADM_HAS_THROTTLE
    throttle.k_milli, throttle.bucket_ns = values
    if throttle.slot == 0:
        throttle.slot = arena.allot(sizeof(adm_throttle))
    if throttle.bucket_ns != bucket_ns:
        throttle.buckets_at = _recut(arena, throttle.buckets_at, bucket_ns, throttle.bucket_ns)


cdef _set_feature(Arena arena, adm_params *params, bytes name, tuple values):
    cdef adm_feature_params *feature = &params.feature
    params.rules |= ADM_HAS_FEATURE
    feature.enabled, feature.rollout_ppm, feature.level = values
    share_key_of(<char *>name, len(name), feature.share)
    if feature.slot == 0:
        feature.slot = arena.allot(sizeof(adm_feature))


cdef _set_shedder(Arena arena, adm_params *params, tuple values):
    cdef adm_shedder_params *shedder = &params.shedder
    params.rules |= ADM_HAS_SHEDDER
    (shedder.adaptive.estimator, shedder.adaptive.initial, shedder.adaptive.least, shedder.adaptive.most,
     shedder.adaptive.timeout_ns, shedder.share_milli[0], shedder.share_milli[1], shedder.share_milli[2],
     shedder.share_milli[3], shedder.share_milli[4], shedder.lag_ns) = values
    shedder.high = max(shedder.high, shedder.adaptive.most)
    if shedder.slot == 0:
        shedder.slot = arena.allot(sizeof(adm_shedder))
    _grow(arena, &shedder.cells, shedder.adaptive.most)
    _grow(arena, &shedder.born, shedder.adaptive.most)


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


cdef uint64_t _recut(Arena arena, uint64_t old_at, int64_t old_bucket_ns, int64_t bucket_ns) except 0:
    """The offset of new buckets of another length, with what those before them hold (of a length of 0: there were none)."""
    cdef uint64_t buckets_at = arena.allot(BUCKETS_BYTES)
    if old_bucket_ns:
        buckets_copy(<adm_word *>(arena.base + old_at), old_bucket_ns, <adm_word *>(arena.base + buckets_at), bucket_ns,
                     clock_ns(&arena.time))
    return buckets_at


cdef _change(Arena arena, bytes name, rules, shadow, adm_params *params):
    """Put `rules` into a block that holds the parameters before: slots, and with them all state, stay."""
    params.rules = ADM_IN_SERVICE
    params.shadow = 0
    if "rate_limit" in rules:
        _set_rate_limit(arena, params, rules["rate_limit"])
    if "bulkhead" in rules:
        _set_bulkhead(arena, params, rules["bulkhead"])
    if "breaker" in rules:
        _set_breaker(arena, params, rules["breaker"])
    if "retry_budget" in rules:
        _set_retry_budget(arena, params, rules["retry_budget"])
    if "throttle" in rules:
        _set_throttle(arena, params, rules["throttle"])
    if "feature" in rules:
        _set_feature(arena, params, name, rules["feature"])
    if "health" in rules:
        _set_health(arena, params, rules["health"])
    if "chaos" in rules:
        _set_chaos(arena, params, name, rules["chaos"])
    if "shedder" in rules:
        _set_shedder(arena, params, rules["shedder"])
    for kind in shadow:
        params.shadow |= 1 << (RULES.index(kind) - 1)


cdef _set_chaos(Arena arena, adm_params *params, bytes name, tuple values):
    cdef adm_chaos_params *chaos = &params.chaos
    cdef uint64_t seed
    params.rules |= ADM_HAS_CHAOS
    (chaos.impact, chaos.probability_ppm, chaos.keys_ppm, chaos.delay_ns, chaos.variance_ns, chaos.status, chaos.max_active,
     seed, chaos.dry_run, chaos.life_ns) = values
    share_key_of(<char *>name, len(name), chaos.share)
    siphash128(chaos.share, &seed, sizeof(seed), chaos.draw)
    if chaos.slot == 0:
        chaos.slot = arena.allot(sizeof(adm_chaos))
    _grow(arena, &chaos.delay_cells, chaos.max_active)


cdef _begin_or_end_chaos(Arena arena, uint32_t index, const adm_params *params, const adm_params *before):
    """An experiment that is put in force or changed begins anew; one that is taken out of force ends."""
    cdef journal book = journal_of(arena)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef bint is_new = not before.rules & ADM_HAS_CHAOS or memcmp(&params.chaos, &before.chaos, sizeof(adm_chaos_params)) != 0
    cdef adm_word *run = &(<adm_chaos *>(arena.base + params.chaos.slot)).run
    cdef uint64_t seen
    if params.rules & ADM_HAS_CHAOS and is_new:
        journal_add(&book, ADM_CHAOS_STARTED, index, trial_start(run, params.chaos.life_ns, now_ns),
                    <uint64_t>(params.chaos.life_ns // 1000000), now_ns)
    elif before.rules & ADM_HAS_CHAOS and not params.rules & ADM_HAS_CHAOS:
        seen = adm_load(run)
        if trial_stop(run, seen):
            journal_add(&book, ADM_CHAOS_STOPPED, index, trial_number(seen), 0, now_ns)


cdef uint32_t _claim_check(Arena arena, name, tuple values, adm_params *params) except? 0:
    """The row of a check and its parameters; with `values` they are those, without it is at least made. The caller holds the init lock."""
    cdef bytes encoded = (CHECK_PREFIX + name).encode()
    cdef uint32_t index = claim_row(arena, encoded)
    cdef adm_row *row = arena.row(index)
    cdef adm_params before
    cdef uint64_t published
    if not read_params(arena, row, &published, &before):
        memset(&before, 0, sizeof(adm_params))
    params[0] = before
    if values is not None:
        params.check.life_ns, params.check.fail_after, params.check.ok_after = values
    if params.check.slot == 0:
        params.check.slot = arena.allot(sizeof(adm_check))
    if memcmp(params, &before, sizeof(adm_params)) != 0:
        publish_params(arena, row, params)
    return index


cdef _set_health(Arena arena, adm_params *params, tuple values):
    """Hang the policy on the check whose name has these bytes, which may come later."""
    cdef adm_params of_check
    params.rules |= ADM_HAS_HEALTH
    _claim_check(arena, bytes(values).decode(), None, &of_check)
    params.health.slot = of_check.check.slot


cdef _note(Arena arena, uint32_t index, const adm_params *params, const adm_params *before):
    """Into the journal, unless it is a counter, which is never in service."""
    cdef journal book = journal_of(arena)
    cdef uint64_t version = adm_load(&arena.row(index).params) >> 40
    if params.rules or before.rules:
        journal_add(&book, ADM_CONFIGURED if params.rules else ADM_RETIRED, index, 0, version, clock_ns(&arena.time))


cdef uint32_t _bind(Arena arena, name, rules, shadow) except? 0:
    cdef adm_params params
    cdef adm_params before
    cdef bytes encoded = name.encode()
    cdef uint64_t published
    cdef uint32_t index
    cdef adm_row *row
    cdef bell waiters
    if not 1 <= len(encoded) <= ADM_NAME_MAX:
        raise ValueError(f"name = {name!r}: must have 1 to {ADM_NAME_MAX} bytes")
    with arena.init_lock():
        index = claim_row(arena, encoded)
        row = arena.row(index)
        if not read_params(arena, row, &published, &before):
            memset(&before, 0, sizeof(adm_params))
        params = before
        if rules is None:
            params.rules = params.shadow = 0
        else:
            _change(arena, encoded, rules, shadow, &params)
        if (params.rules | before.rules) & ADM_HAS_CHAOS:
            _begin_or_end_chaos(arena, index, &params, &before)
        if published == 0 or memcmp(&params, &before, sizeof(adm_params)) != 0:
            publish_params(arena, row, &params)
            waiters = bell_of(arena, index)
            ring_published(&waiters)
            _note(arena, index, &params, &before)
        return index


def bind(Arena arena not None, name, rules, shadow=()):
    """Publish the rules of `name` (1..128 bytes) and return its row; the same rules again publish nothing.

    `rules` maps the kinds of rules, as in RULES, to the tuples of `engine.rules`, already validated; what is missing is not in force and
    keeps its state. The kinds in `shadow` judge and count and never refuse. Raises ArenaError where the arena is full.
    """
    return _bind(arena, name, rules, shadow)


def bind_check(Arena arena not None, name, values):
    """Publish a check and return its row: (life_ns, fail_after, ok_after). What it says stays. Raises ArenaError where the arena is full."""
    cdef adm_params params
    with arena.init_lock():
        return _claim_check(arena, name, values, &params)


def retire(Arena arena not None, name):
    """Take `name` out of service and return its row: it answers `unknown_policy`, and keeps its state and its counters."""
    return _bind(arena, name, None, ())
