"""The directory: policy name -> published parameters -> slots.

A row is found by a SipHash of its name, by linear probing from `hash % rows_max`, and rows are never moved or
emptied, so a reader needs no lock. A binder (binding.pyx) holds the init lock, writes a complete parameter block and publishes it
with one store of `params`:

    63                40 39                                                              0
    +-------------------+----------------------------------------------------------------+
    | version           | offset of the block                                            |
    +-------------------+----------------------------------------------------------------+

A row has two blocks, and the next version is written into the one that is not published. So a reader copies the block word by word and
then looks whether the published word is still the one it began with: if it is, the copy is of one version from start to end, and if
not it begins again. The version is only compared for equality.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_publish, adm_word
from engine.core.fits cimport params_fit
from engine.core.layout cimport ADM_NAME_MAX, ADM_ROWS_MAX, adm_params, adm_row
from engine.core.siphash cimport siphash

from engine.core.arena import ArenaError

cdef uint64_t OFFSET_MASK = (<uint64_t>1 << 40) - 1
cdef uint64_t VERSION_MASK = (<uint64_t>1 << 24) - 1
cdef uint64_t PARAMS_WORDS = sizeof(adm_params) // sizeof(adm_word)


cdef uint64_t _hash(Arena arena, const char *name, uint64_t size) noexcept nogil:
    return siphash(arena.header.secret, name, size) | 1


cdef int64_t _probe(Arena arena, const char *name, uint64_t size) noexcept nogil:
    """The row of a name, or the empty row where it belongs, or -1 where the table is full."""
    cdef uint64_t wanted = _hash(arena, name, size)
    cdef uint64_t seen
    cdef uint32_t step, index
    cdef adm_row *row
    for step in range(ADM_ROWS_MAX):
        index = <uint32_t>(wanted + step) & (ADM_ROWS_MAX - 1)
        row = arena.row(index)
        seen = adm_load(&row.hash)
        if seen == 0 or (seen == wanted and row.name_bytes == size and memcmp(row.name, name, size) == 0):
            return index
    return -1


cdef int64_t find(Arena arena, const char *name, uint64_t size) noexcept nogil:
    """The row of a name, or -1."""
    cdef int64_t index
    if size == 0 or size > ADM_NAME_MAX:
        return -1
    index = _probe(arena, name, size)
    return index if index >= 0 and adm_load(&arena.row(<uint32_t>index).hash) != 0 else -1


cdef bint read_params(Arena arena, adm_row *row, uint64_t *published, adm_params *params) noexcept nogil:
    """Copy the parameters that a row publishes now, as the word `published`. False where it has none or they do not fit."""
    cdef adm_word *block
    cdef uint64_t i
    published[0] = 0
    while published[0] != adm_load(&row.params):
        published[0] = adm_load(&row.params)
        block = <adm_word *>arena.at(published[0] & OFFSET_MASK, sizeof(adm_params))
        if block == NULL:
            return False
        for i in range(PARAMS_WORDS):
            (<uint64_t *>params)[i] = adm_load(&block[i])
    return published[0] != 0 and params_fit(arena, params)


cdef publish_params(Arena arena, adm_row *row, const adm_params *params):
    """Publish a copy of `params` as the next version. The caller holds the init lock."""
    cdef uint64_t before = adm_load(&row.params)
    cdef uint64_t version = ((before >> 40) + 1) & VERSION_MASK
    cdef uint64_t spare_at = row.spare_at
    cdef adm_word *block = <adm_word *>arena.at(spare_at, sizeof(adm_params))
    cdef uint64_t i
    if block == NULL or spare_at == before & OFFSET_MASK:   # a binder was killed before it had noted what became free
        spare_at = arena.allot(sizeof(adm_params))
        block = <adm_word *>arena.at(spare_at, sizeof(adm_params))
    for i in range(PARAMS_WORDS):
        adm_publish(&block[i], (<const uint64_t *>params)[i])
    adm_publish(&row.params, (version << 40) | spare_at)
    row.spare_at = before & OFFSET_MASK
    adm_publish(&arena.header.config_version, adm_load(&arena.header.config_version) + 1)


cdef uint32_t claim_row(Arena arena, bytes name) except? 0:
    """The row of a name, which is new where it had none. The caller holds the init lock."""
    cdef int64_t index = _probe(arena, name, len(name))
    cdef adm_row *row
    if index < 0:
        raise ArenaError(f"the directory is full: {ADM_ROWS_MAX} names")
    row = arena.row(<uint32_t>index)
    if adm_load(&row.hash) == 0:
        memcpy(row.name, <char *>name, len(name))
        row.name_bytes = len(name)
        adm_publish(&row.hash, _hash(arena, name, len(name)))
        adm_publish(&arena.header.rows_used, adm_load(&arena.header.rows_used) + 1)
    return <uint32_t>index


cdef bint _in_service(Arena arena, uint32_t index) noexcept nogil:
    cdef adm_params params
    cdef uint64_t published
    return read_params(arena, arena.row(index), &published, &params) and params.rules != 0


def lookup(Arena arena not None, name):
    """The row of a name that is in service, or None."""
    cdef bytes encoded = name.encode()
    cdef int64_t index = find(arena, encoded, len(encoded))
    return index if index >= 0 and _in_service(arena, <uint32_t>index) else None


def names(Arena arena not None):
    """Row -> name of every policy in service, in the order of the rows."""
    cdef uint32_t index
    cdef adm_row *row
    found = {}
    for index in range(ADM_ROWS_MAX):
        row = arena.row(index)
        if adm_load(&row.hash) != 0 and _in_service(arena, index):
            found[index] = row.name[:min(row.name_bytes, ADM_NAME_MAX)].decode(errors="replace")
    return found
