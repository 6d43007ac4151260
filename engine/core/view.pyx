"""A process's view of one policy: a checked copy of its parameters, and pointers into the arena.

A view is made on first use and again when the published version changed or the process forked; until then a decision pays for one
load and one comparison. Everything that an arena file says about where things lie is checked here, once, and not on the hot
path. Old views stay allocated until the arena is freed, because another thread may be using one.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_note, adm_word
from engine.core.cells cimport cells_of
from engine.core.directory cimport read_params
from engine.core.journal cimport journal_of
from engine.core.layout cimport (
    ADM_HAS_BREAKER, ADM_HAS_BULKHEAD, ADM_HAS_CHAOS, ADM_HAS_FEATURE, ADM_HAS_HEALTH, ADM_HAS_RATE_LIMIT,
    ADM_HAS_RETRY_BUDGET, ADM_HAS_THROTTLE, adm_breaker, adm_budget, adm_chaos, adm_check, adm_feature, adm_limiter,
    adm_override, adm_params, adm_rate, adm_shedder, adm_throttle,
)
from engine.core.keys cimport key_cells_of
from engine.core.meter cimport meter_histogram, meter_of
from engine.core.repair cimport attach
from engine.core.waiting cimport bell_of


cdef void _point(Arena arena, adm_view *view) noexcept nogil:
    cdef adm_params *params = &view.params
    view.secret = arena.header.secret
    if params.rules & ADM_HAS_RATE_LIMIT:
        view.level = &(<adm_limiter *>(arena.base + params.rate_limit.slot)).levels[params.rate_limit.rate.algorithm]
        view.keys = key_cells_of(arena.base, &params.rate_limit.keys[params.rate_limit.rate.algorithm])
        view.time = &arena.time
        memcpy(&view[1], arena.base + params.rate_limit.overrides_at, params.rate_limit.overrides * sizeof(adm_override))
        view.overrides = <adm_override *>&view[1]
    if params.rules & ADM_HAS_BULKHEAD:
        view.permits = cells_of(arena.base, &params.bulkhead.cells)
        view.places = cells_of(arena.base, &params.bulkhead.queue_cells)
        adm_note(&view.hint, (arena.owner - 1) * 8 % params.bulkhead.limit)
    if params.rules & ADM_HAS_BREAKER:
        view.breaker = <adm_breaker *>(arena.base + params.breaker.slot)
        view.window = <adm_word *>(arena.base + params.breaker.window_at)
        view.buckets = <adm_word *>(arena.base + params.breaker.buckets_at)
        view.probes = cells_of(arena.base, &params.breaker.probe_cells)
    if params.rules & ADM_HAS_RETRY_BUDGET:
        view.balance = &(<adm_budget *>(arena.base + params.retry_budget.slot)).balance
    if params.rules & ADM_HAS_THROTTLE:
        view.throttle = <adm_throttle *>(arena.base + params.throttle.slot)
        view.throttle_buckets = <adm_word *>(arena.base + params.throttle.buckets_at)
    if params.rules & ADM_HAS_FEATURE:
        view.feature = <adm_feature *>(arena.base + params.feature.slot)
    if params.rules & ADM_HAS_HEALTH:
        view.health = <adm_check *>(arena.base + params.health.slot)
    if params.check.slot:
        view.check = <adm_check *>(arena.base + params.check.slot)
    if params.rules & ADM_HAS_CHAOS:
        view.chaos = <adm_chaos *>(arena.base + params.chaos.slot)
        view.delays = cells_of(arena.base, &params.chaos.delay_cells)
    if params.shedder.slot:     # also while it is not in force: who was admitted by it reports to it
        view.shedder = <adm_shedder *>(arena.base + params.shedder.slot)
        view.seats = cells_of(arena.base, &params.shedder.cells)
        view.born = cells_of(arena.base, &params.shedder.born)
        adm_note(&view.seats_hint, (arena.owner - 1) * 8 % params.shedder.adaptive.initial)


cdef const adm_rate *own_rate_of(const adm_view *view, uint64_t id) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = view.params.rate_limit.overrides
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if view.overrides[middle].id < id:
            low = middle + 1
        else:
            high = middle
    if low < view.params.rate_limit.overrides and view.overrides[low].id == id:
        return &view.overrides[low].rate
    return &view.params.rate_limit.rate


cdef bint _has_outcomes(const adm_params *params) noexcept nogil:
    """Whether calls of this policy are reported, or were: such a rule leaves its slot."""
    return (params.bulkhead.cells.ends[0] != 0 or params.breaker.slot != 0 or params.throttle.slot != 0
            or params.shedder.slot != 0)


cdef adm_view *make_view(Arena arena, uint32_t index) except? NULL:
    """A new view of a row, or NULL. Raises ArenaError where this process cannot become an owner."""
    cdef adm_view *view = NULL
    cdef adm_params params
    cdef uint64_t published
    with arena.init_lock():
        attach(arena)
        if not read_params(arena, arena.row(index), &published, &params):
            return NULL
        view = <adm_view *>calloc(1, sizeof(adm_view) + params.rate_limit.overrides * sizeof(adm_override))
        if view == NULL:
            raise MemoryError
        view.older = arena.made
        arena.made = view
        view.published = published
        view.row = arena.row(index)
        view.book = journal_of(arena)
        view.waiters = bell_of(arena, index)
        view.index = index
        view.params = params
        view.meter = meter_of(arena, view.row, _has_outcomes(&params))
        view.took = meter_histogram(arena, view.meter)
        _point(arena, view)
        arena.views[index] = view
    return view
