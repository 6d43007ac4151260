"""Bulkhead: at most `limit` permits at once, each of them one word stamped with its owner (permit.pxd).

Taking a permit is one compare-and-swap on a free cell, giving it back one on that same cell, and the number in use is derived by
looking. There is no count beside the cells, hence none that a kill can leave wrong: a process that dies between any two instructions
leaves either a free cell or one that names it, and repair frees those. A cell whose permit has expired is free for the next taker.

A taker looks first where it was lucky last (`first`), so an uncontended pair of take and release touches one line. A refusal has seen
every cell held, one after another, not all at one instant.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_FREE, ADM_HELD
from engine.core.permit cimport (
    permit_expired, permit_expiry, permit_generation, permit_owner, permit_pack, permit_status, permit_with_status,
)
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of

from engine.core.arena import ArenaError


cdef inline bint _held(uint64_t word, int64_t now_ns) noexcept nogil:
    return permit_status(word) == ADM_HELD and not permit_expired(word, now_ns)


cdef grant bulkhead_take(adm_word *cells, uint32_t limit, uint32_t first, uint32_t owner, int64_t now_ns,
                         int64_t life_ns) noexcept nogil:
    """A permit for `owner` that lives `life_ns` (zero: as long as the owner), or none."""
    cdef uint32_t expiry = permit_expiry(now_ns, life_ns)
    cdef uint64_t seen
    cdef uint32_t step
    cdef grant given
    given.cell = first if first < limit else 0
    for step in range(limit):
        seen = adm_load(&cells[given.cell])
        if not _held(seen, now_ns):
            given.word = permit_pack(ADM_HELD, owner, permit_generation(seen) + 1, expiry)
            if adm_cas(&cells[given.cell], seen, given.word):
                return given
        given.cell += 1
        if given.cell == limit:
            given.cell = 0
    given.word = 0
    return given


cdef bint bulkhead_settle(adm_word *cell, uint64_t word) noexcept nogil:
    """Give a permit back. False where it is not held any more: settled before, expired and taken over, or repaired."""
    return adm_cas(cell, word, permit_with_status(word, ADM_FREE))


cdef bint bulkhead_has_room(const adm_word *cells, uint32_t limit, int64_t now_ns) noexcept nogil:
    """Whether a taker would find a cell now."""
    cdef uint32_t i
    for i in range(limit):
        if not _held(adm_load(&cells[i]), now_ns):
            return True
    return False


cdef uint32_t bulkhead_in_use(const adm_word *cells, uint32_t capacity, int64_t now_ns) noexcept nogil:
    """Permits held now."""
    cdef uint32_t found = 0
    cdef uint32_t i
    for i in range(capacity):
        found += _held(adm_load(&cells[i]), now_ns)
    return found


cdef class Bulkhead:
    """One bulkhead of an arena, without a policy around it. Permits are not told apart: any holder may release."""

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or view.permits == NULL:
            raise ArenaError("this bulkhead was taken out of service")
        return view

    cdef bint _take(self, adm_view *view, int64_t now_ns) noexcept:
        cdef grant given = bulkhead_take(view.permits, view.params.bulkhead.limit, view.hint, self.arena.owner, now_ns,
                                         view.params.bulkhead.hold_ns)
        if given.word:
            view.hint = given.cell
        return given.word != 0

    def try_acquire(self):
        """Take a permit if one is free."""
        cdef adm_view *view = self._view()
        cdef int64_t now_ns = 0
        if view.params.bulkhead.hold_ns:
            now_ns = clock_ns(self.arena.manual_ns)
        if self._take(view, now_ns):
            return True
        now_ns = clock_ns(self.arena.manual_ns)
        sweep(self.arena, now_ns)
        return self._take(view, now_ns)

    def release(self):
        """Give one of this process's permits back. Raises ValueError where it holds none."""
        cdef adm_view *view = self._view()
        cdef uint32_t capacity = view.params.bulkhead.capacity
        cdef uint32_t cell = view.hint
        cdef uint32_t step
        cdef uint64_t word
        for step in range(capacity):
            word = adm_load(&view.permits[cell])
            if permit_status(word) == ADM_HELD and permit_owner(word) == self.arena.owner:
                if bulkhead_settle(&view.permits[cell], word):
                    view.hint = cell
                    return
            cell = cell + 1 if cell + 1 < capacity else 0
        raise ValueError("release() of a bulkhead of which this process holds no permit")

    @property
    def in_use(self):
        """Permits held now, by all processes."""
        cdef adm_view *view = self._view()
        return bulkhead_in_use(view.permits, view.params.bulkhead.capacity, clock_ns(self.arena.manual_ns))

    @property
    def limit(self):
        """Permits there are."""
        return self._view().params.bulkhead.limit
