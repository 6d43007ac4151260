# The check of a number that a caller passes to a hot method: whole, and in range.
from libc.stdint cimport int64_t


cdef inline int64_t whole(object value, str name, int64_t least, int64_t most) except? -1:
    """`value` as an integer. Raises TypeError where it is none, ValueError where it is out of range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} = {value!r}: must be a whole number")
    if not least <= value <= most:
        raise ValueError(f"{name} = {value!r}: must be from {least} to {most}")
    return value
