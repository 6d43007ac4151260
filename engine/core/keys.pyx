"""Keyed cells: a bounded open-addressing table of buckets, one for each key that is in use.

A cell is two words, `id | level`. A key's cell lies in its window: the WINDOW cells from its home on, in the order in which
they are looked at. A key that has none claims one by a single compare-and-swap of both words, which takes its first tokens as
well: there is no half-claimed cell, and nothing to repair after a kill between any two instructions. A key is forgotten only
by being claimed over, and only where its bucket was full: the swap fails if anybody took from it meanwhile.

Which cell is claimed decides that no key ever gets two. `full_at` is the instant from which a level is as good as a new one; zero
where the cell was never used. A claimer takes the cell of his window with the least (full_at, place). Takers and claimers only put full_at
off. Say A claimed cell a at the time that B, who had not seen that, claimed b for the same key. A chose a, so at A's look full_at(a)
<= full_at(b); B's swap found b as B had seen it; so at B's look it was no less, and B, who saw a before A's claim, saw no more than
A did. Then a was B's choice too, and one of the two swaps failed. (A refund may move full_at back, but not before the present.)

The words of a hit are read level first, then id: if the id is the key's, the level was the key's or is gone, and the swap fails.

A key is known by 64 bits of SipHash under the arena's secret and, by another 64, by where it may lie: at the smallest table 69 bits
in all, at a million keys 78, where two of the million are taken for one with a chance below one in 10^11. Keys themselves are not stored.
The table has two cells to a key of `max_keys`, 32 bytes; so nearly every window has room while no more than that are in use. A table
grows by segments: a key's window then lies in each of them, and no cell moves.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_cas_pair, adm_load
from engine.core.bucket cimport bucket_adjust, bucket_full_at, bucket_take
from engine.core.clock cimport timebase
from engine.core.layout cimport ADM_KEY_SEGMENTS, adm_key, adm_key_table, adm_rate
from engine.core.siphash cimport siphash128

cdef enum:
    WINDOW = 64             # cells; 1 KiB


ctypedef struct place:
    adm_key *cell           # the key's, else the one to claim
    bint found
    uint64_t words[2]       # id and level as they were seen
    int64_t full_at_ns


cdef key_cells key_cells_of(char *base, const adm_key_table *described) noexcept nogil:
    cdef key_cells table
    cdef uint32_t k
    for k in range(<uint32_t>ADM_KEY_SEGMENTS):
        table.at[k] = <adm_key *>(base + described.at[k])
        table.ends[k] = described.ends[k]
    return table


cdef subject subject_of(const uint64_t *secret, const void *key, uint64_t size) noexcept nogil:
    cdef subject who
    cdef uint64_t hashed[2]
    siphash128(secret, key, size, hashed)
    who.id = hashed[0] if hashed[0] else 1
    who.home = hashed[1]
    who.bytes = key
    who.size = size
    return who


cdef bint subject_read(Arena arena, object key, subject *who) except -1:
    """Hash the key that a caller passed: None, str or bytes. False where it is empty or longer than KEY_MAX bytes.

    The very object that was hashed last, which never changes, is not hashed again.
    """
    cdef Py_ssize_t size = 0
    cdef const char *data
    who.id = who.size = 0
    if key is None:
        return True
    if key is arena.hot_key:
        who.id, who.home, who.bytes, who.size = arena.hot_hash[0], arena.hot_hash[1], arena.hot_bytes, arena.hot_size
        return True
    if isinstance(key, str):
        data = PyUnicode_AsUTF8AndSize(key, &size)
    elif isinstance(key, bytes):
        data = PyBytes_AS_STRING(key)
        size = PyBytes_GET_SIZE(key)
    else:
        raise TypeError(f"key = {key!r}: must be a str or bytes")
    if not 1 <= size <= KEY_MAX:
        return False
    who[0] = subject_of(arena.header.secret, data, size)
    arena.hot_key = key
    arena.hot_hash[0], arena.hot_hash[1], arena.hot_bytes, arena.hot_size = who.id, who.home, who.bytes, who.size
    return True


cdef place _look(const key_cells *table, const subject *who, const adm_rate *rate) noexcept nogil:
    """The key's cell, or the one that it may claim once that is full."""
    cdef place best
    cdef uint64_t level, id
    cdef int64_t full_at_ns
    cdef uint32_t first = 0
    cdef uint32_t k, i, size, at
    cdef adm_key *cell
    memset(&best, 0, sizeof(place))
    for k in range(<uint32_t>ADM_KEY_SEGMENTS):
        if table.ends[k] == 0:
            break
        size = table.ends[k] - first
        first = table.ends[k]
        at = <uint32_t>(((who.home >> 32) * size) >> 32)
        for i in range(WINDOW):
            cell = &table.at[k][at]
            level = adm_load(&cell.level)
            id = adm_load(&cell.id)
            full_at_ns = bucket_full_at(level, rate) if id else 0
            if id == who.id or best.cell == NULL or full_at_ns < best.full_at_ns:
                best.cell = cell
                best.words[0] = id
                best.words[1] = level
                best.full_at_ns = full_at_ns
                best.found = id == who.id
            if best.found or id == 0:       # a key lies before every cell that was never used
                return best
            at = at + 1 if at + 1 < size else 0
    return best


cdef inline bint _is_at_home(const key_cells *table, const subject *who, place *seen) noexcept nogil:
    """Whether the key has the first cell of its window, as most keys do."""
    seen.cell = &table.at[0][((who.home >> 32) * table.ends[0]) >> 32]
    seen.words[1] = adm_load(&seen.cell.level)
    seen.found = adm_load(&seen.cell.id) == who.id
    return seen.found


cdef bint keys_take(const key_cells *table, const subject *who, const adm_rate *rate, const timebase *time,
                    int64_t now_ns, uint32_t cost, bint keep, int64_t patience_ns, int64_t *wait_ns) noexcept nogil:
    """Take tokens of a key if they are there within `patience_ns`: `wait_ns` says how long until then. False where it has no cell and finds none.

    Then `wait_ns` says when the first cell of its window can be claimed.
    """
    cdef place seen
    cdef uint64_t after[2]
    after[0] = who.id
    while True:
        if not _is_at_home(table, who, &seen):
            seen = _look(table, who, rate)
        if not seen.found and seen.full_at_ns > now_ns:
            wait_ns[0] = seen.full_at_ns - now_ns
            return False
        wait_ns[0] = bucket_take(seen.words[1] if seen.found else 0, rate, time, now_ns, cost, &after[1])
        if wait_ns[0] > patience_ns or not keep:
            return True
        if seen.found:
            if adm_cas(&seen.cell.level, seen.words[1], after[1]):
                return True
        elif adm_cas_pair(&seen.cell.id, seen.words, after):
            return True


cdef void keys_adjust(const key_cells *table, const subject *who, const adm_rate *rate, const timebase *time,
                      int64_t now_ns, int64_t taken_ns, int64_t more) noexcept nogil:
    """Charge a key `more` tokens, or hand some back. One that has no cell any more is full, and is not charged."""
    cdef place seen
    while True:
        seen = _look(table, who, rate)
        if not seen.found or adm_cas(&seen.cell.level, seen.words[1],
                                     bucket_adjust(seen.words[1], rate, time, now_ns, taken_ns, more)):
            return


cdef bint keys_level(const key_cells *table, const subject *who, const adm_rate *rate, int64_t now_ns,
                     uint64_t *word) noexcept nogil:
    """The bucket of a key, full where it has none yet. False where it finds no cell."""
    cdef place seen = _look(table, who, rate)
    word[0] = seen.words[1] if seen.found else 0
    return seen.found or seen.full_at_ns <= now_ns


cdef uint64_t keys_in_use(const key_cells *table, const adm_rate *rate, int64_t now_ns) noexcept nogil:
    """Keys whose bucket is not full."""
    cdef uint64_t found = 0
    cdef uint32_t first = 0
    cdef uint32_t k, i
    for k in range(<uint32_t>ADM_KEY_SEGMENTS):
        for i in range(table.ends[k] - first if table.ends[k] else 0):
            found += bucket_full_at(adm_load(&table.at[k][i].level), rate) > now_ns
        first = table.ends[k]
    return found
