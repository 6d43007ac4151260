"""Permits of a dead owner, given back by whoever lives.

An owner is dead when the byte lock of its row can be taken. The repairer keeps that lock while it works, so
nobody can claim the row and be granted permits under it meanwhile; each permit is then freed by one compare-and-swap on the very
word that was read. Bulkhead permits become free; a probe that lost its owner has failed. A repairer
killed half-way leaves the rest to the next: it changed only permits that were dead anyway.

Sweeps are asked for by those who notice: a refusal for want of a permit, a scrape, the server four times a second. One sweep in 250 ms
serves the whole host.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_publish, adm_word
from engine.core.clock cimport check_clock, clock_ns
from engine.core.journal cimport journal, journal_add, journal_of
from engine.core.directory cimport read_params
from engine.core.cells cimport cell_at, cells, cells_of, cells_total, move_count
from engine.core.layout cimport (
    ADM_FAILED, ADM_FREE, ADM_HELD, ADM_REPAIRED, ADM_OWNERS_MAX, ADM_ROWS_MAX, adm_cells, adm_owner, adm_params,
    adm_shedder, adm_shedder_params,
)
from engine.core.permit cimport permit_owner, permit_status, permit_with_status
from engine.core.waiting cimport bell, bell_of, ring

cdef uint64_t SWEEP_EVERY_MS = 250
cdef int64_t NEVER = -1


cdef int64_t _settle(Arena arena, const adm_cells *described, uint32_t owner, uint64_t status) noexcept nogil:
    """Give every permit of `owner` among the cells a final status; how many there were. Owner 0: of anybody."""
    cdef cells array = cells_of(arena.base, described)
    cdef int64_t found = 0
    cdef adm_word *cell
    cdef uint64_t word
    cdef uint32_t i
    for i in range(cells_total(array.ends)):
        cell = cell_at(&array, i)
        word = adm_load(cell)
        if permit_status(word) == ADM_HELD and (owner == 0 or permit_owner(word) == owner):
            # Without its expiry a freed word says that it was taken away, not handed back.
            found += adm_cas(cell, word, permit_with_status(word, status) & ~<uint64_t>0xFFFFFFFF)
    return found


cdef int64_t _settle_places(Arena arena, const adm_shedder_params *shedder, uint32_t owner) noexcept nogil:
    """Free the places of `owner` and take them from the count. Who is refused puts right what a kill in between leaves."""
    cdef int64_t found = _settle(arena, &shedder.cells, owner, ADM_FREE)
    if found:
        move_count(&(<adm_shedder *>(arena.base + shedder.slot)).in_use, -found)
    return found


cdef int64_t _give_back(Arena arena, uint32_t owner):
    """Free the permits stamped with an owner row that this process has locked; 0: all, on a private arena."""
    cdef adm_params params
    cdef uint64_t published
    cdef int64_t found = 0
    cdef int64_t freed
    cdef uint32_t index
    cdef bell waiters
    for index in range(ADM_ROWS_MAX):
        if not read_params(arena, arena.row(index), &published, &params):
            continue
        _settle(arena, &params.bulkhead.queue_cells, owner, ADM_FREE)
        freed = _settle(arena, &params.bulkhead.cells, owner, ADM_FREE)
        freed += _settle(arena, &params.breaker.probe_cells, owner, ADM_FAILED)
        freed += _settle_places(arena, &params.shedder, owner)
        if freed:
            waiters = bell_of(arena, index)
            ring(&waiters)
        found += freed
    return found


cpdef attach(Arena arena):
    """Make this process an owner, if it is none yet. What an earlier owner of the same row left held comes back.

    A private arena has one owner at a time: in a forked child nothing is held any more.

    Raises ArenaError where the arena is closed or no row is free.
    """
    with arena.init_lock():
        check_clock(&arena.time)
        if arena.claim_owner():
            _give_back(arena, arena.owner if arena.lock_fd >= 0 else 0)


cdef int64_t _bury(Arena arena, uint32_t row):
    """Repair one row if its process is dead: the permits given back, or NEVER where it lives."""
    cdef adm_owner *entry = arena.owner_row(row)
    cdef journal book = journal_of(arena)
    cdef int64_t found
    if not arena.lock_owner(row):
        return NEVER
    try:
        found = _give_back(arena, row)
        adm_publish(&entry.pid, 0)
        if found:
            journal_add(&book, ADM_REPAIRED, row, 0, <uint64_t>found, clock_ns(&arena.time))
        return found
    finally:
        arena.unlock_owner(row)


cdef int64_t sweep(Arena arena, int64_t now_ns) except -1:
    """Repair every dead owner, at most once in 250 ms host-wide; how many permits came back."""
    cdef uint64_t now_ms = <uint64_t>(now_ns // 1000000)
    cdef uint64_t last = adm_load(&arena.header.swept_ms)
    if arena.lock_fd < 0 or (now_ms - last < SWEEP_EVERY_MS and now_ms >= last):
        return 0
    if not adm_cas(&arena.header.swept_ms, last, now_ms):
        return 0
    return repair(arena)


def repair(Arena arena not None):
    """Give back the permits of every dead owner now; how many there were."""
    cdef uint32_t row
    found = 0
    with arena.guard:
        check_clock(&arena.time)
        if arena.lock_fd < 0:
            return 0
        for row in range(1, ADM_OWNERS_MAX):
            if row != arena.owner and adm_load(&arena.owner_row(row).pid) != 0:
                found += max(_bury(arena, row), 0)
    return found
