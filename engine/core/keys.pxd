from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.clock cimport timebase
from engine.core.layout cimport adm_key, adm_key_table, adm_rate

cdef enum:
    KEY_MAX = 256           # bytes


ctypedef struct subject:
    uint64_t id             # zero: no key was given
    uint64_t home           # where its windows begin
    const void *bytes       # the key itself, as long as its caller's call lasts
    uint64_t size

ctypedef struct key_cells:
    adm_key *at[6]
    uint32_t ends[6]        # cells in this segment and those before it


cdef key_cells key_cells_of(char *base, const adm_key_table *described) noexcept nogil
cdef subject subject_of(const uint64_t *secret, const void *key, uint64_t size) noexcept nogil
cdef bint subject_read(Arena arena, object key, subject *who) except -1
cdef bint keys_take(const key_cells *table, const subject *who, const adm_rate *rate, const timebase *time,
                    int64_t now_ns, uint32_t cost, bint keep, int64_t patience_ns, int64_t *wait_ns) noexcept nogil
cdef void keys_adjust(const key_cells *table, const subject *who, const adm_rate *rate, const timebase *time,
                      int64_t now_ns, int64_t taken_ns, int64_t more) noexcept nogil
cdef bint keys_level(const key_cells *table, const subject *who, const adm_rate *rate, int64_t now_ns,
                     uint64_t *word) noexcept nogil
cdef uint64_t keys_in_use(const key_cells *table, const adm_rate *rate, int64_t now_ns) noexcept nogil
