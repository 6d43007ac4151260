"""Bulkhead: at most `limit` permits at once, each of them one word stamped with its owner (permit.pxd).

Taking a permit is one compare-and-swap on a free cell, giving it back one on that same cell, and the number in use is derived by
looking. There is no count beside the cells, hence none that a kill can leave wrong: a process that dies between any two instructions
leaves either a free cell or one that names it, and repair frees those. A cell whose permit has expired is free for the next taker.

Takers use the cells below `limit`. Where the limit was higher once (`high`), permits may still be held above it: then a taker counts
after it has taken, and gives back where that makes too many. Two who race for the last place may both give back; never do both
keep it.

A taker looks first where it was lucky last (`first`), so an uncontended pair of take and release touches one line. A refusal has seen
every cell held, one after another, not all at one instant.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_note, adm_peek, adm_word
from engine.core.cells cimport cell_at, cells, cells_held, cells_total, is_held
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_HAS_BULKHEAD, ADM_HELD, adm_bulkhead_params
from engine.core.permit cimport UNTIMED, permit_expiry, permit_generation, permit_owner, permit_pack, permit_status
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of

from engine.core.arena import ArenaError


cdef bint take_cell(const cells *array, uint32_t limit, uint32_t first, uint32_t owner, int64_t now_ns,
                    int64_t life_ns, grant *given) noexcept nogil:
    """Take one of the first `limit` cells for `owner`; the permit lives `life_ns` (zero: as long as its owner)."""
    cdef uint32_t expiry = permit_expiry(now_ns, life_ns)
    cdef uint64_t seen
    cdef uint32_t step
    given.index = first if first < limit else 0
    for step in range(limit):
        given.cell = cell_at(array, given.index)
        seen = adm_load(given.cell)
        if not is_held(seen, now_ns):
            given.word = permit_pack(ADM_HELD, owner, permit_generation(seen) + 1, expiry)
            if adm_cas(given.cell, seen, given.word):
                return True
        given.index += 1
        if given.index == limit:
            given.index = 0
    given.word = 0
    return False


cdef bint bulkhead_search(const cells *array, const adm_bulkhead_params *params, uint32_t first, uint32_t owner,
                          int64_t now_ns, int64_t life_ns, grant *given) noexcept nogil:
    """Take a permit wherever there is one; else `given` has a word of zero."""
    cdef uint32_t above
    if take_cell(array, params.limit, first, owner, now_ns, life_ns, given) and params.high > params.limit:
        above = cells_held(array, params.limit, params.high, now_ns)
        if above and above + cells_held(array, 0, params.limit, now_ns) > params.limit:
            bulkhead_settle(given.cell, given.word)
            given.word = 0
    return given.word != 0


cdef bint bulkhead_has_room(const cells *array, const adm_bulkhead_params *params, int64_t now_ns) noexcept nogil:
    """Whether a taker would find a cell now."""
    return cells_held(array, 0, params.high, now_ns) < params.limit


cdef uint32_t bulkhead_in_use(const cells *array, int64_t now_ns) noexcept nogil:
    """Permits held now."""
    return cells_held(array, 0, cells_total(array.ends), now_ns)


cdef class Bulkhead:
    """One bulkhead of an arena, without a policy around it. Permits are not told apart: any holder may release."""

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or not view.params.rules & ADM_HAS_BULKHEAD:
            raise ArenaError("this bulkhead was taken out of service")
        return view

    cdef bint _take(self, adm_view *view, int64_t now_ns) noexcept:
        cdef grant given
        if not bulkhead_take(&view.permits, &view.params.bulkhead, <uint32_t>adm_peek(&view.hint), self.arena.owner, now_ns,
                             view.params.bulkhead.hold_ns, &given):
            return False
        adm_note(&view.hint, given.index)
        return True

    def try_acquire(self):
        """Take a permit if one is free."""
        cdef adm_view *view = self._view()
        cdef int64_t now_ns = UNTIMED
        if view.params.bulkhead.hold_ns:
            now_ns = clock_ns(&self.arena.time)
        if self._take(view, now_ns):
            return True
        now_ns = clock_ns(&self.arena.time)
        sweep(self.arena, now_ns)
        return self._take(view, now_ns)

    def release(self):
        """Give one of this process's permits back. Raises ValueError where it holds none."""
        cdef adm_view *view = self._view()
        cdef uint32_t end = view.params.bulkhead.high
        cdef uint32_t index = <uint32_t>adm_peek(&view.hint)
        cdef uint32_t step
        cdef adm_word *cell
        cdef uint64_t word
        for step in range(end):
            cell = cell_at(&view.permits, index)
            word = adm_load(cell)
            if permit_status(word) == ADM_HELD and permit_owner(word) == self.arena.owner:
                if bulkhead_settle(cell, word):
                    adm_note(&view.hint, index)
                    return
            index = index + 1 if index + 1 < end else 0
        raise ValueError("release() of a bulkhead of which this process holds no permit")

    @property
    def in_use(self):
        """Permits held now, by all processes."""
        return bulkhead_in_use(&self._view().permits, clock_ns(&self.arena.time))

    @property
    def limit(self):
        """Permits there are."""
        return self._view().params.bulkhead.limit
