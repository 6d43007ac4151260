"""Health: what the last results of a named check say, in one word that every process reads. Changed by one compare-and-swap a result.

    63    62 61  60       54 53          40 39                               0
    +--------+-----+-----------+--------------+---------------------------------+
    | status | bad | run       | changes      | stale, ms of the arena's time   |
    +--------+-----+-----------+--------------+---------------------------------+

Status 0 is unknown, 1 healthy, 2 degraded, 3 unhealthy. `run` counts the results in a row that were alike: bad (unhealthy), or not.

    from                    to            when
    any but unhealthy       unhealthy     `fail_after` bad results in a row
    unhealthy               the result    `ok_after` good ones in a row, healthy or degraded; the last one says which
    any but unhealthy       the result    a good one comes, healthy or degraded
    any                     unknown       nobody reported for `life` (stale); nobody writes that, whoever reads knows

A result that follows a stale one begins anew. So one bad result among good ones changes nothing, and a checker that died, or hangs, takes no
policy out of service for longer than the life of what it said last: a rule refuses `unhealthy` only while the check is
known to be unhealthy, and unknown admits. `life` is of the check (a few times its cache), and is in force from the next result on.

A check is a directory row of its own, `~health/NAME`; policies whose Health rule names it hold the offset of its word, whoever of the two came
first. What a result says in words stands in a remark (remark.pyx) with the number of changes of status; the journal notes those.

Approximate: times are whole milliseconds. A run stays at 127. The number of changes has 14 bits, so a remark would have to be left
standing for 16,384 changes to be shown beside the wrong status.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load
from engine.core.clock cimport clock_ns
from engine.core.directory cimport read_params
from engine.core.journal cimport journal_add
from engine.core.layout cimport (
    ADM_CHECKED, ADM_HAS_HEALTH, ADM_NAME_MAX, ADM_ROWS_MAX, adm_check, adm_check_params, adm_params, adm_remark, adm_row,
)
from engine.core.remark cimport remark_of, remark_read, remark_write
from engine.core.view cimport adm_view, view_of

from engine.core.arena import ArenaError
from engine.core.binding import CHECK_PREFIX
from engine.core.remark import remark_bytes

STATUSES = ("unknown", "healthy", "degraded", "unhealthy")

cdef enum:
    RUN_MAX = 127
    CHANGES = (1 << 14) - 1

cdef int64_t MS = 1000000


cdef inline uint32_t _changes(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 40) & <uint32_t>CHANGES


cdef uint64_t _after(uint64_t word, const adm_check_params *params, uint32_t result, int64_t now_ns) noexcept nogil:
    """The word once such a result came in."""
    cdef uint32_t status = health_status(word, now_ns)
    cdef uint32_t bad = result == <uint32_t>UNHEALTHY
    cdef uint32_t run = 0
    cdef uint32_t to = status
    cdef uint64_t changes = _changes(word)
    if now_ns < health_stale_ns(word) and (word >> 61 & 1) == bad:
        run = <uint32_t>(word >> 54) & <uint32_t>RUN_MAX
    run = min(run + 1, <uint32_t>RUN_MAX)
    if bad and run >= params.fail_after:
        to = <uint32_t>UNHEALTHY
    elif not bad and (status != <uint32_t>UNHEALTHY or run >= params.ok_after):
        to = result
    if to != <uint32_t>(word >> 62):
        changes = (changes + 1) & CHANGES
    return ((<uint64_t>to << 62) | (<uint64_t>bad << 61) | (<uint64_t>run << 54) | (changes << 40)
            | <uint64_t>((now_ns + params.life_ns + MS - 1) // MS))


cdef uint64_t _report(adm_view *view, adm_check *check, uint32_t result, int64_t now_ns) noexcept nogil:
    """Move the word, note a change of status, and say what the word is now."""
    cdef uint64_t seen, after
    while True:
        seen = adm_load(&check.status)
        after = _after(seen, &view.params.check, result, now_ns)
        if adm_cas(&check.status, seen, after):
            break
    if after >> 62 != seen >> 62:
        journal_add(&view.book, ADM_CHECKED + <uint32_t>(after >> 62), view.index, _changes(after), 0, now_ns)
    return after


cdef class Check:
    """The state of one check of an arena: results in, status out."""

    cdef readonly Arena arena
    cdef readonly uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    cdef adm_view *_view(self) except NULL:
        cdef adm_view *view = view_of(self.arena, self.row)
        if view == NULL or view.params.check.slot == 0:
            raise ArenaError("this is the row of no check")
        return view

    def report(self, result, message=""):
        """Take in a result, "healthy", "degraded" or "unhealthy", and return the status that follows.

        `message` is a text of at most 104 bytes, for people; without one the last message of this status stays. Raises
        ValueError and TypeError.
        """
        cdef adm_view *view = self._view()
        cdef adm_remark *remark
        cdef bytes text = remark_bytes(message)
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef uint64_t word = 0
        if result not in STATUSES[1:]:
            raise ValueError(f"result = {result!r}: must be one of {', '.join(STATUSES[1:])}")
        if text:
            with self.arena.init_lock():
                remark = remark_of(self.arena, &view.check.remark)
                word = _report(view, view.check, STATUSES.index(result), now_ns)
                remark_write(remark, _changes(word), text)
        else:
            word = _report(view, view.check, STATUSES.index(result), now_ns)
        return STATUSES[word >> 62]

    @property
    def status(self):
        """One of STATUSES."""
        return STATUSES[health_status(adm_load(&self._view().check.status), clock_ns(&self.arena.time))]

    def snapshot(self):
        """Status, alike results in a row, seconds since the last one or None where it is unknown, and the message."""
        cdef adm_view *view = self._view()
        cdef int64_t now_ns = clock_ns(&self.arena.time)
        cdef uint64_t word = adm_load(&view.check.status)
        cdef uint32_t status = health_status(word, now_ns)
        if status == <uint32_t>UNKNOWN and now_ns >= health_stale_ns(word):
            return STATUSES[UNKNOWN], 0, None, ""
        age_ns = max(now_ns + view.params.check.life_ns - health_stale_ns(word), 0)
        return (STATUSES[status], (word >> 54) & RUN_MAX, age_ns / 1e9,
                remark_read(self.arena, &view.check.remark, _changes(word)))


def names(Arena arena not None):
    """Name -> row of every check."""
    cdef bytes prefix = CHECK_PREFIX.encode()
    cdef adm_params params
    cdef uint64_t published
    cdef uint32_t index
    cdef adm_row *row
    found = {}
    for index in range(ADM_ROWS_MAX):
        row = arena.row(index)
        if adm_load(&row.hash) != 0:
            name = row.name[:min(row.name_bytes, ADM_NAME_MAX)]
            # A binder may have been killed between the name and its parameters.
            if name.startswith(prefix) and read_params(arena, row, &published, &params) and params.check.slot:
                found[name[len(prefix):].decode(errors="replace")] = index
    return found


def snapshot(Arena arena not None, row):
    """Status of the check that the policy of a row hangs on, or None where it has no such rule."""
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_HEALTH:
        return None
    return STATUSES[health_status(adm_load(&view.health.status), clock_ns(&arena.time))]
