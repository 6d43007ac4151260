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

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_note, adm_peek, adm_word
from engine.core.cells cimport cell_at, cells, cells_held, cells_total, grant, take_cell
from engine.core.clock cimport clock_ns
from engine.core.layout cimport ADM_HAS_BULKHEAD, ADM_HELD, adm_bulkhead_params
from engine.core.permit cimport UNTIMED, permit_owner, permit_status
from engine.core.repair cimport sweep
from engine.core.view cimport adm_view, view_of
from engine.core.waiting cimport Waiter, hand_on, ring, wait_ns_of

from engine.core.arena import ArenaError


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
        return self._take_or_sweep(view)

    cdef bint _take_or_sweep(self, adm_view *view) except -1:
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        sweep(self.arena, now_ns)
        return self._take(view, now_ns)

    def acquire(self, max_wait=None):
        """Wait for a permit for `max_wait` seconds at most, or as the rule says: an awaitable of whether it was had.

        It waits in the running event loop, behind those of this process who wait already, and only where the bulkhead has a queue with
        a place left. Raises TypeError, and ValueError for a time below 0 or over a day.
        """
        return self._waiter(max_wait)

    def acquire_sync(self, max_wait=None):
        """The same in this thread. Raises RuntimeError where it would have to wait and an event loop runs in the thread."""
        return self._waiter(max_wait).wait_here()

    cdef BulkheadWaiter _waiter(self, max_wait):
        cdef BulkheadWaiter waiter = BulkheadWaiter.__new__(BulkheadWaiter)
        waiter.asked_ns = wait_ns_of(max_wait)
        waiter.arena = self.arena
        waiter.row = self.row
        waiter.bulkhead = self
        return waiter

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
                    if ring(&view.waiters):
                        hand_on(self.arena, self.row)
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


@cython.final
cdef class BulkheadWaiter(Waiter):
    """One who wants a permit of a bulkhead without a policy around it."""

    cdef Bulkhead bulkhead
    cdef bint had

    cdef bint ask(self, bint again) except -1:
        cdef adm_view *view = self.bulkhead._view()
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        self.had = self.bulkhead._take(view, now_ns) or self.bulkhead._take_or_sweep(view)
        self.until_ns = self.since_ns + self.patience_ns()
        return self.had or now_ns >= self.until_ns

    cdef int64_t patience_ns(self) except -1:
        cdef adm_view *view = self.bulkhead._view()
        if view.params.bulkhead.queue == 0:
            return 0
        return self.asked_ns if self.asked_ns >= 0 else view.params.bulkhead.max_wait_ns

    cdef bint take_place(self) except -1:
        cdef adm_view *view = self.bulkhead._view()
        return self.hold_place(&view.places, view.params.bulkhead.queue, self.patience_ns())

    cdef object answer(self):
        return self.had
