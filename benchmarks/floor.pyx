"""The floor of each operation: what its Python call, its clock reads and its compare-and-swaps cost.

A kernel does what its operation cannot do without, on memory of its own, and nothing else: no owner, no arena, no
reload, no check of what it reads. `Floor.nothing` is F, the call that does nothing.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from engine.core.atomic cimport adm_cas, adm_count, adm_load, adm_word

cdef int64_t INTERVAL_NS = 100
cdef int64_t DEPTH_NS = 100 * 1000000000LL
cdef int WINDOW = 100


cdef inline int64_t _now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef inline bint _gcra(adm_word *tat_word, int64_t now_ns, int64_t depth_ns) noexcept nogil:
    cdef int64_t tat, level
    while True:
        tat = <int64_t>adm_load(tat_word)
        level = (tat if tat > now_ns else now_ns) + INTERVAL_NS
        if level - now_ns > depth_ns:
            return False
        if adm_cas(tat_word, <uint64_t>tat, <uint64_t>level):
            return True


cdef inline void _record(adm_word *cursor, char *ring, bint failed) noexcept nogil:
    """The ring keeps the last hundred outcomes, the cursor packs failures 32 | position 32."""
    cdef uint64_t at, position, failures
    while True:
        at = adm_load(cursor)
        position = <unsigned int>at
        failures = (at >> 32) + failed - <uint64_t>ring[position]
        if adm_cas(cursor, at, failures << 32 | (position + 1 if position + 1 < <uint64_t>WINDOW else 0)):
            ring[position] = failed
            return


cdef class Floor:
    def nothing(self):
        pass


cdef class Counter:
    cdef adm_word count

    def inc(self):
        adm_count(&self.count, 1)


cdef class Limiter:
    cdef adm_word tat
    cdef int64_t depth_ns

    def __cinit__(self, empty=False):
        self.depth_ns = 0 if empty else DEPTH_NS

    def try_acquire(self, cost=1):
        return _gcra(&self.tat, _now_ns(), self.depth_ns)


cdef class Breaker:
    cdef adm_word state
    cdef adm_word cursor
    cdef char ring[100]

    def try_acquire(self):
        return adm_load(&self.state) == 0

    def record(self, ok, duration):
        _record(&self.cursor, self.ring, not ok)
        return True


cdef class Bulkhead:
    cdef adm_word cell

    def try_acquire(self):
        cdef uint64_t seen = adm_load(&self.cell)
        return not seen & 1 and adm_cas(&self.cell, seen, seen + 1)

    def release(self):
        cdef uint64_t seen = adm_load(&self.cell)
        return seen & 1 and adm_cas(&self.cell, seen, seen + 1)


@cython.final
@cython.freelist(8)
@cython.no_gc
cdef class Permit:
    cdef Policy policy
    cdef uint64_t word
    cdef int64_t start_ns

    def success(self):
        cdef Policy policy = self.policy
        cdef int64_t now_ns = _now_ns()
        if not adm_cas(&policy.cell, self.word, self.word + 1):
            return False
        _record(&policy.cursor, policy.ring, False)
        adm_count(&policy.succeeded, 1)
        adm_count(&policy.duration_ns, <uint64_t>(now_ns - self.start_ns))
        return True


@cython.final
@cython.freelist(8)
@cython.no_gc
cdef class Refusal:
    cdef Policy policy
    cdef int64_t wait_ns

    def __bool__(self):
        return False


cdef class Policy:
    """Breaker, bulkhead of one and rate limit in one call."""

    cdef adm_word state
    cdef adm_word cursor
    cdef adm_word cell
    cdef adm_word tat
    cdef adm_word admitted
    cdef adm_word refused
    cdef adm_word succeeded
    cdef adm_word duration_ns
    cdef char ring[100]
    cdef int64_t rest_until_ns

    def __cinit__(self, open=False):
        self.rest_until_ns = _now_ns() + 86400 * 1000000000LL if open else 0

    def try_acquire(self):
        cdef int64_t now_ns = _now_ns()
        cdef uint64_t seen = adm_load(&self.cell)
        cdef Permit permit
        if adm_load(&self.state) != 0 or self.rest_until_ns > now_ns:
            return self._refusal(self.rest_until_ns - now_ns)
        if seen & 1 or not adm_cas(&self.cell, seen, seen + 1):
            return self._refusal(0)
        if not _gcra(&self.tat, now_ns, DEPTH_NS):
            return self._refusal(INTERVAL_NS)
        adm_count(&self.admitted, 1)
        permit = Permit.__new__(Permit)
        permit.policy = self
        permit.word = seen + 1
        permit.start_ns = now_ns
        return permit

    cdef Refusal _refusal(self, int64_t wait_ns):
        cdef Refusal refusal = Refusal.__new__(Refusal)
        adm_count(&self.refused, 1)
        refusal.policy = self
        refusal.wait_ns = wait_ns
        return refusal
