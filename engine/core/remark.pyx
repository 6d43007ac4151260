"""Remarks: why an operator flipped a flag or forced a circuit, or what a check said; a short text for people, beside a word for machines.

A remark explains one state of its word, whose number (of flips, of transitions) it carries; beside any other state it is not shown. The word
changes first, by its own compare-and-swap, then the text is written: who is killed in between leaves a state without a remark.

Writers hold the init lock. `turn` is odd while one writes, and a reader believes a text only if turn was even before, and the same
after it: it gets the whole text or none, never a mixture of two. A writer that was killed leaves turn odd; the next one goes on from there.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_load, adm_publish, adm_word
from engine.core.layout cimport ADM_REMARK_WORDS, adm_remark

REMARK_MAX = 8 * ADM_REMARK_WORDS


cdef adm_remark *remark_of(Arena arena, adm_word *place) except NULL:
    """The remark whose offset stands in `place`, made where there is none. The caller holds the init lock."""
    cdef adm_remark *remark = <adm_remark *>arena.at(adm_load(place), sizeof(adm_remark))
    cdef uint64_t offset
    if remark != NULL:
        return remark
    offset = arena.allot(sizeof(adm_remark))
    adm_publish(place, offset)
    return <adm_remark *>arena.at(offset, sizeof(adm_remark))


cdef void remark_write(adm_remark *remark, uint64_t of, bytes text):
    """Put `text` in the place of what there is. The caller holds the init lock and has checked the size."""
    cdef uint64_t words[ADM_REMARK_WORDS]
    cdef uint64_t turn = adm_load(&remark.turn) | 1
    cdef int i
    memset(words, 0, sizeof(words))
    memcpy(words, <char *>text, len(text))
    adm_publish(&remark.turn, turn)
    adm_publish(&remark.of, of)
    adm_publish(&remark.size, len(text))
    for i in range(ADM_REMARK_WORDS):
        adm_publish(&remark.text[i], words[i])
    adm_publish(&remark.turn, turn + 1)


cdef str remark_read(Arena arena, const adm_word *place, uint64_t of):
    """The text that explains number `of`, or "" where there is none."""
    cdef adm_remark *remark = <adm_remark *>arena.at(adm_load(place), sizeof(adm_remark))
    cdef uint64_t words[ADM_REMARK_WORDS]
    cdef uint64_t turn, number, size
    cdef int i
    if remark == NULL:
        return ""
    turn = adm_load(&remark.turn)
    number, size = adm_load(&remark.of), adm_load(&remark.size)
    for i in range(ADM_REMARK_WORDS):
        words[i] = adm_load(&remark.text[i])
    if turn & 1 or turn != adm_load(&remark.turn) or number != of or size > sizeof(words):
        return ""
    return (<char *>words)[:size].decode(errors="replace")


def remark_bytes(text):
    """The bytes of a remark. Raises TypeError where it is no text, and ValueError where it is longer than REMARK_MAX bytes."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r}: must be a text")
    encoded = text.encode()
    if len(encoded) > REMARK_MAX:
        raise ValueError(f"{text!r}: must have at most {REMARK_MAX} bytes")
    return encoded
