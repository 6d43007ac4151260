"""Counters of a policy: one meter per process, summed by readers.

Only its owner writes a meter, so counting costs no contended word and nothing is ever lost between processes. When an
owner dies its meter keeps its figures, and the next process that needs one goes on counting in it: counters never go back,
a kill loses at most the count that was under way, and there are never more meters than processes at once.

**No effect is seen without its cause.** A call is counted where it is admitted, then where it ended, then in its
histogram, each by a store that publishes those before it (adm_count). Readers go the other way: over all meters they sum
the histograms, then the outcomes, and last the admissions, with loads that see what was published. Whoever sees a duration
finds its outcome, and whoever sees an outcome its admission, though another process counted that one: the permit came from
there. So at every moment, for every policy,

    durations counted <= success + failure        success + failure + ignored <= admitted

and nothing is asked of the writers: on x86 such a store is a plain one. Meters are linked at the head of their list, so a
later sum is over all meters of an earlier one. The sums are exact, each as of an instant of its own.

**Threads.** A count is a load and a store, which the GIL keeps together. On a build without it adm_count is one locked
addition, which takes 2 ns instead of 0.3 while nobody else has the line; a call counts four times. A thread that counts
without the GIL in a process that has one (a lane of the server) must not touch that process's meter, where both would lose
counts and fight for the line: it needs a meter of its own, which nobody else writes and which, like any other, stays in
the list.

**Histograms** (histogram.pyx) take 4 KiB, so a meter has one only where there are outcomes to report, and only while half
of the heap is free: that half is for what decides. Where there is no room calls are counted and not timed, and the sum
says that it is not complete. The heap is never given back, so a meter that found no room never gets a histogram later.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_publish
from engine.core.histogram cimport histogram_sum
from engine.core.layout cimport (
    ADM_ADMITTED, ADM_COUNTERS, ADM_DURATION_NS, ADM_FAILURE, ADM_LINE, ADM_OWNERS_MAX, ADM_SUCCESS, adm_histogram,
    adm_meter, adm_row,
)


cdef adm_meter *_meter(Arena arena, uint64_t offset) noexcept nogil:
    return <adm_meter *>arena.at(offset, sizeof(adm_meter))


cdef adm_histogram *meter_histogram(Arena arena, const adm_meter *meter) noexcept nogil:
    """The histogram of a meter, or NULL."""
    return <adm_histogram *>arena.at(adm_load(&meter.histogram), sizeof(adm_histogram))


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


cdef adm_meter *_claim(Arena arena, adm_row *row) except NULL:
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


cdef bint _has_room(Arena arena) noexcept nogil:
    """Whether a histogram leaves half of the heap to others."""
    cdef uint64_t used = adm_load(&arena.header.heap_used)
    return used % ADM_LINE == 0 and used <= (arena.size - arena.heap_at) // 2 - sizeof(adm_histogram)


cdef adm_meter *meter_of(Arena arena, adm_row *row, bint timed) except NULL:
    """This process's meter of a row, with a histogram if `timed`. The caller is an owner and holds the init lock."""
    cdef adm_meter *meter = _claim(arena, row)
    if timed and adm_load(&meter.histogram) == 0 and _has_room(arena):
        adm_publish(&meter.histogram, arena.allot(sizeof(adm_histogram)))
    return meter


cdef void _sum_durations(Arena arena, adm_row *row, durations *took) noexcept nogil:
    """Each meter's buckets before its sum of durations, which its owner adds to first."""
    cdef adm_meter *meter = _meter(arena, adm_load(&row.meters))
    cdef uint64_t steps = ADM_OWNERS_MAX
    cdef adm_histogram *histogram
    memset(took, 0, sizeof(durations))
    took.complete = True
    while meter != NULL and steps:
        histogram = meter_histogram(arena, meter)
        if histogram != NULL:
            histogram_sum(histogram, took.counts)
            took.sum_ns += adm_load(&meter.counts[ADM_DURATION_NS])
        elif adm_load(&meter.counts[ADM_SUCCESS]) or adm_load(&meter.counts[ADM_FAILURE]):
            took.complete = False
        meter = _meter(arena, meter.next)
        steps -= 1


cdef void _sum_counters(Arena arena, adm_row *row, uint64_t *counts, int first, int end) noexcept nogil:
    cdef adm_meter *meter = _meter(arena, adm_load(&row.meters))
    cdef uint64_t steps = ADM_OWNERS_MAX
    cdef int i
    while meter != NULL and steps:
        for i in range(first, end):
            counts[i] += adm_load(&meter.counts[i])
        meter = _meter(arena, meter.next)
        steps -= 1


cdef void meter_sum(Arena arena, adm_row *row, uint64_t *counts, durations *took) noexcept nogil:
    """Totals of the host: the sums over all meters of a row, dead owners' included; effects before their causes.

    `counts` has ADM_COUNTERS places; `took` is NULL where nobody asks for durations.
    """
    memset(counts, 0, ADM_COUNTERS * sizeof(uint64_t))
    if took != NULL:
        _sum_durations(arena, row, took)
    _sum_counters(arena, row, counts, ADM_ADMITTED + 1, ADM_COUNTERS)
    _sum_counters(arena, row, counts, ADM_ADMITTED, ADM_ADMITTED + 1)
