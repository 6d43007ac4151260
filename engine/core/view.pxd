from libc.stdint cimport uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_word
from engine.core.cells cimport cells
from engine.core.clock cimport timebase
from engine.core.journal cimport journal
from engine.core.keys cimport key_cells
from engine.core.layout cimport (
    adm_breaker, adm_chaos, adm_check, adm_feature, adm_histogram, adm_meter, adm_override, adm_params, adm_rate, adm_row,
    adm_shedder, adm_throttle,
)
from engine.core.waiting cimport bell


ctypedef struct adm_view:
    void *older             # the list by which the arena frees its views
    uint64_t published      # the word of the directory row this view was made from
    adm_row *row
    journal book            # the arena's
    bell waiters            # of the row
    uint32_t index          # of the row
    adm_meter *meter        # this process's
    adm_histogram *took     # this process's; NULL: there was no room
    adm_word *level         # of the rate limit
    key_cells keys
    const adm_override *overrides   # of single keys, sorted by id; behind the view itself
    const timebase *time
    adm_breaker *breaker
    adm_word *window        # of the breaker, by count
    adm_word *buckets       # of the breaker, by time
    const uint64_t *secret  # of the arena, for what looks random
    adm_word *balance       # of the retry budget
    adm_throttle *throttle
    adm_word *throttle_buckets
    adm_feature *feature
    adm_check *health       # that the policy hangs on
    adm_check *check        # that this row is
    adm_chaos *chaos
    cells delays            # that the experiment has under way
    cells permits
    cells places            # of those who wait for the bulkhead
    cells probes
    adm_shedder *shedder
    cells seats             # of the shedder
    cells born              # when those of revocable calls were granted
    adm_word seats_hint     # where this process looks first for a free one
    adm_word hint           # where this process looks first for a free permit
    adm_params params


cdef adm_view *make_view(Arena arena, uint32_t index) except? NULL


cdef inline adm_view *view_of(Arena arena, uint32_t index) except? NULL:
    """The current view of a directory row; NULL, without an exception, where it has no readable parameters."""
    cdef adm_view *view = <adm_view *>arena.views[index]
    if view != NULL and adm_load(&view.row.params) == view.published:
        return view
    return make_view(arena, index)


cdef inline const adm_rate *rate_of(const adm_view *view, uint64_t id) noexcept nogil:
    """The rate of a key, by its id: its own, or that of all others."""
    if view.params.rate_limit.overrides == 0 or view.params.rate_limit.keyed == 0:
        return &view.params.rate_limit.rate
    return own_rate_of(view, id)


cdef const adm_rate *own_rate_of(const adm_view *view, uint64_t id) noexcept nogil
