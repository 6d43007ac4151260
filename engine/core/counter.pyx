"""A counter: the tally of a meter (meter.pyx) under a name of its own, without a policy around it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_count
from engine.core.layout cimport ADM_COUNTERS, ADM_TALLY
from engine.core.meter cimport meter_sum
from engine.core.view cimport adm_view, view_of
from engine.core.whole cimport whole

from engine.core.arena import ArenaError

cdef int64_t MOST = <int64_t>1 << 62


cdef class Counter:
    """A number that every process of the host adds to; exact, and kept when a process dies."""

    cdef Arena arena
    cdef uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL:
            raise ArenaError("this counter's row is damaged")
        return view

    def inc(self):
        """Add 1."""
        cdef adm_view *view = self._view()
        adm_count(&view.meter.counts[ADM_TALLY], 1)

    def add(self, amount):
        """Add `amount`, at least 0: a counter never goes back. Raises TypeError and ValueError."""
        cdef adm_view *view = self._view()
        adm_count(&view.meter.counts[ADM_TALLY], <uint64_t>whole(amount, "amount", 0, MOST))

    @property
    def value(self):
        """The sum over all processes."""
        cdef uint64_t counts[ADM_COUNTERS]
        meter_sum(self.arena, self.arena.row(self.row), counts, NULL)
        return counts[ADM_TALLY]
