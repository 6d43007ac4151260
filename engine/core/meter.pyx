"""Counters of a policy: one meter per process, summed by readers.

Only its owner writes a meter, so counting costs no contended word and nothing is ever lost between processes. When
an owner dies its meter keeps its figures, and the next process that needs one goes on counting in it: counters never go back, a
kill loses at most the count that was under way, and there are never more meters than processes at once.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_peek, adm_publish
from engine.core.layout cimport ADM_COUNTERS, ADM_OWNERS_MAX, adm_meter, adm_row


cdef adm_meter *_meter(Arena arena, uint64_t offset) noexcept nogil:
    return <adm_meter *>arena.at(offset, sizeof(adm_meter))


cdef bint _free(Arena arena, uint32_t owner):
    """Whether no live process counts under that owner row. Rows whose lock can be taken are dead."""
    if owner == 0 or owner == arena.owner:
        return True
    if arena.lock_fd < 0:
        return True
    if not arena.lock_owner(owner):
        return False
    arena.unlock_owner(owner)
    return True


cdef adm_meter *meter_of(Arena arena, adm_row *row) except NULL:
    """This process's meter of a row. The caller is an owner and holds the init lock."""
    cdef uint64_t first = adm_load(&row.meters)
    cdef adm_meter *meter = _meter(arena, first)
    cdef uint64_t owner, offset
    cdef uint64_t steps = ADM_OWNERS_MAX       # a damaged list may be a ring
    while meter != NULL and steps:
        steps -= 1
        owner = adm_load(&meter.owner)
        if _free(arena, <uint32_t>owner) and adm_cas(&meter.owner, owner, arena.owner):
            return meter
        meter = _meter(arena, meter.next)
    offset = arena.allot(sizeof(adm_meter))
    meter = _meter(arena, offset)
    meter.next = first
    adm_publish(&meter.owner, arena.owner)
    adm_publish(&row.meters, offset)
    return meter


cdef void meter_sum(Arena arena, adm_row *row, uint64_t *counts) noexcept nogil:
    """Totals of the host: the sum over all meters of a row, dead owners' included."""
    cdef adm_meter *meter = _meter(arena, adm_load(&row.meters))
    cdef int i
    cdef uint64_t steps = ADM_OWNERS_MAX
    memset(counts, 0, ADM_COUNTERS * sizeof(uint64_t))
    while meter != NULL and steps:
        for i in range(ADM_COUNTERS):
            counts[i] += adm_peek(&meter.counts[i])
        meter = _meter(arena, meter.next)
        steps -= 1
