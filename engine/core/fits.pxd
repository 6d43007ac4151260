from engine.core.arena cimport Arena
from engine.core.layout cimport adm_params


cdef bint params_fit(Arena arena, const adm_params *params) noexcept nogil
