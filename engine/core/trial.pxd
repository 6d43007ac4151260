# The word of a chaos experiment: state 2 | run 22 | end 40 (ms of the arena's time). chaos.pyx has the theory.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_cas, adm_load, adm_word

cdef enum:
    TRIAL_RUNS = 1
    TRIAL_STOPPED = 2
    TRIAL_NUMBERS = (1 << 22) - 1


cdef inline uint32_t trial_state(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 62)


cdef inline uint32_t trial_number(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 40) & <uint32_t>TRIAL_NUMBERS


cdef inline int64_t trial_end_ns(uint64_t word) noexcept nogil:
    return <int64_t>(word & ((<uint64_t>1 << 40) - 1)) * 1000000


cdef inline uint32_t trial_start(adm_word *run, int64_t life_ns, int64_t now_ns) noexcept nogil:
    """Begin a new run, whatever there was; its number."""
    cdef uint64_t seen, number
    while True:
        seen = adm_load(run)
        number = (trial_number(seen) + 1) & TRIAL_NUMBERS
        if adm_cas(run, seen, (<uint64_t>TRIAL_RUNS << 62) | (number << 40) | <uint64_t>((now_ns + life_ns + 999999) // 1000000)):
            return <uint32_t>number


cdef inline bint trial_stop(adm_word *run, uint64_t seen) noexcept nogil:
    """End the run that was seen. False where somebody ended it before, or it does not run."""
    return trial_state(seen) == TRIAL_RUNS and adm_cas(
        run, seen, (seen & ~(<uint64_t>3 << 62)) | (<uint64_t>TRIAL_STOPPED << 62))
