"""The journal: the last 1,024 changes of state, for people who ask what happened.

A writer takes a number by one compare-and-swap and fills the ring's place of that number with three words, each of which carries the
number's low 16 bits:

    what     63    48 47        40 39          24 23              0
             +-------+------------+--------------+----------------+
             | tag   | change     | row          | generation     |
             +-------+------------+--------------+----------------+
    when     tag 16 | arena time, ms 48              value    tag 16 | by the kind of change 48

Writers never wait, for one another or for readers. A reader takes an event only where all three tags are right: one that is half
written, or whose writer died or slept while the ring went round, is a gap in the numbers, never a mixture of two. (A writer would have to
sleep for a multiple of 65,536 events to be mistaken.)
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_publish
from engine.core.layout cimport ADM_JOURNAL_MAX, adm_event

CHANGES = ("", "configured", "retired", "closed", "opened", "half_opened", "recovering", "forced_open", "forced_closed",
           "repaired", "flag_cleared", "flag_on", "flag_off", "check_unknown", "check_healthy",
           "check_degraded", "check_unhealthy", "chaos_started", "chaos_stopped")

cdef uint64_t LOW_48 = (<uint64_t>1 << 48) - 1


cdef inline adm_event *_place(const journal *book, uint64_t number) noexcept nogil:
    return <adm_event *>book.events + (number & (ADM_JOURNAL_MAX - 1))


cdef inline uint64_t _tagged(uint64_t number, uint64_t payload) noexcept nogil:
    return ((number + 1) << 48) | (payload & LOW_48)


cdef void journal_add(const journal *book, uint32_t change, uint32_t row, uint32_t generation, uint64_t value,
                      int64_t now_ns) noexcept nogil:
    """Note a change (layout.h: adm_change) of a directory row."""
    cdef uint64_t number = adm_load(book.next)
    cdef adm_event *event
    while not adm_cas(book.next, number, number + 1):
        number = adm_load(book.next)
    event = _place(book, number)
    adm_publish(&event.when, _tagged(number, <uint64_t>(now_ns // 1000000)))
    adm_publish(&event.value, _tagged(number, value))
    adm_publish(&event.what, _tagged(number, (<uint64_t>change << 40) | (<uint64_t>row << 24) | (generation & 0xFFFFFF)))


def read(Arena arena not None, uint64_t since):
    """Events from number `since` on, oldest first, as (number, seconds, change, row, generation, value)."""
    cdef journal book = journal_of(arena)
    cdef uint64_t end = adm_load(book.next)
    cdef uint64_t number, what, when, value
    cdef adm_event *event
    found = []
    if end > ADM_JOURNAL_MAX and since < end - ADM_JOURNAL_MAX:
        since = end - ADM_JOURNAL_MAX
    for number in range(since, end):
        event = _place(&book, number)
        what, when, value = adm_load(&event.what), adm_load(&event.when), adm_load(&event.value)
        if what >> 48 == when >> 48 == value >> 48 == (number + 1) & 0xFFFF:
            change = (what >> 40) & 0xFF
            found.append((number, (when & LOW_48) / 1e3, CHANGES[change] if change < <uint64_t>len(CHANGES) else "",
                          (what >> 24) & 0xFFFF, what & 0xFFFFFF, value & LOW_48))
    return found
