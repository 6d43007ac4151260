from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.atomic cimport adm_load, adm_word
from engine.core.layout cimport adm_feature_params
from engine.core.share cimport share_contains

cdef enum:
    CONFIGURED = 0
    FORCED_ON = 1
    FORCED_OFF = 2
    FLIPS = (1 << 22) - 1


cdef inline uint32_t flag_state(uint64_t word, int64_t now_ns) noexcept nogil:
    """What is in force: an operator's flip until its time is over, else the configuration. A damaged word is a flip to off."""
    cdef int64_t end_ms = <int64_t>(word & ((<uint64_t>1 << 40) - 1))
    return min(<uint32_t>(word >> 62), <uint32_t>FORCED_OFF) if now_ns < end_ms * 1000000 else <uint32_t>CONFIGURED


cdef inline uint32_t flag_flips(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 40) & <uint32_t>FLIPS


cdef inline bint feature_is_on(const adm_word *flag, const adm_feature_params *params, const void *key, uint64_t size,
                               int64_t now_ns) noexcept nogil:
    """Whether the feature is on for a key of `size` bytes; zero: for a call without one."""
    cdef uint32_t state = flag_state(adm_load(flag), now_ns)
    if state == <uint32_t>CONFIGURED:
        return params.enabled and share_contains(params.share, params.rollout_ppm, key, size)
    return state == <uint32_t>FORCED_ON
