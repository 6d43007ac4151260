"""Feature flag: on, off, or on for a share of the keys; an operator's flip outranks that for a time. One word, changed by one compare-and-swap.

    63  62 61            40 39                                  0
    +------+---------------+------------------------------------+
    | state| flips         | end, ms of the arena's time        |
    +------+---------------+------------------------------------+

State 0 is as configured, 1 forced on, 2 forced off. A flip writes its state, its end and the next number of flips; when the end has come it
means "as configured" again without anybody writing, so no flip is forgotten in force. Every worker of the host reads the same word, and sees a
flip with its next call.

As configured, a feature that is enabled is on for `rollout` percent of the keys: those whose hash falls below the line (share.pxd). A
key is the same side of it in every process, on every host and after every restart, and one that is in stays in while the share grows. A call
without a key is in where the rollout is 100 percent, and out otherwise: whose share would it be?

As a rule of a policy a feature that is off refuses with `degraded`, and the verdict's `level` names the level of service to give
instead. It is judged first, since it only looks; it has nothing to hand back. A feature that nobody configured is on.

What the operator gave as a reason stands in a remark (remark.pyx) that carries the number of the flip; the journal notes each flip. The
number has 22 bits: a remark would have to survive four million flips to be shown beside the wrong one. The end has 40 bits, 34 years of uptime.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_word
from engine.core.clock cimport clock_ns
from engine.core.journal cimport journal_add
from engine.core.keys cimport subject, subject_read
from engine.core.layout cimport ADM_FLAG, ADM_HAS_FEATURE, adm_feature, adm_remark
from engine.core.remark cimport remark_of, remark_read, remark_write
from engine.core.view cimport adm_view, view_of

from engine.core.arena import ArenaError
from engine.core.remark import remark_bytes

STATES = ("configured", "on", "off")

cdef int64_t MS = 1000000


cdef adm_view *_feature_of(Arena arena, uint32_t row) except NULL:
    cdef adm_view *view = view_of(arena, row)
    if view == NULL or not view.params.rules & ADM_HAS_FEATURE:
        raise ArenaError("this feature was taken out of service")
    return view


cdef uint32_t _move(adm_word *flag, uint64_t state, int64_t end_ns) noexcept nogil:
    """Flip; the number of this flip."""
    cdef uint64_t seen, flips
    while True:
        seen = adm_load(flag)
        flips = (flag_flips(seen) + 1) & FLIPS
        if adm_cas(flag, seen, (state << 62) | (flips << 40) | <uint64_t>((end_ns + MS - 1) // MS)):
            return <uint32_t>flips


def flip(Arena arena not None, row, state, int64_t life_ns, reason=""):
    """Force a feature "on" or "off" for `life_ns`, or leave it as "configured". Raises ArenaError without one.

    `reason` is a text of at most 104 bytes, for people; TypeError and ValueError where it is not.
    """
    cdef uint32_t to = STATES.index(state)
    cdef bytes text = remark_bytes(reason)
    cdef adm_view *view
    cdef adm_remark *remark
    cdef int64_t now_ns
    cdef uint32_t flips
    with arena.init_lock():
        view = _feature_of(arena, row)
        remark = remark_of(arena, &view.feature.remark)
        now_ns = clock_ns(&arena.time)
        flips = _move(&view.feature.flag, to, now_ns + life_ns if to != <uint32_t>CONFIGURED else 0)
        journal_add(&view.book, ADM_FLAG + to, view.index, flips, <uint64_t>(life_ns // MS), now_ns)
        remark_write(remark, flips, text)


def clear(Arena arena not None, row, reason=""):
    """End a flip before its time. False where none is in force. Raises as `flip` does."""
    cdef adm_view *view = _feature_of(arena, row)
    if flag_state(adm_load(&view.feature.flag), clock_ns(&arena.time)) == <uint32_t>CONFIGURED:
        return False
    flip(arena, row, "configured", 0, reason)
    return True


def snapshot(Arena arena not None, row):
    """State, enabled, rollout in millionths, level, nanoseconds that a flip has left, its number and its reason; or None."""
    cdef adm_view *view = view_of(arena, row)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t word
    cdef uint32_t state
    if view == NULL or not view.params.rules & ADM_HAS_FEATURE:
        return None
    word = adm_load(&view.feature.flag)
    state = flag_state(word, now_ns)
    left_ns = <int64_t>(word & ((<uint64_t>1 << 40) - 1)) * MS - now_ns if state != <uint32_t>CONFIGURED else 0
    reason = remark_read(arena, &view.feature.remark, flag_flips(word)) if state != <uint32_t>CONFIGURED else ""
    return (STATES[state], view.params.feature.enabled != 0, view.params.feature.rollout_ppm, view.params.feature.level,
            left_ns, flag_flips(word), reason)


cdef class Feature:
    """One feature of an arena, without a policy around it."""

    cdef readonly Arena arena
    cdef readonly uint32_t row

    def __cinit__(self, Arena arena not None, row):
        self.arena = arena
        self.row = row

    def is_on(self, key=None):
        """Whether the feature is on for `key`, a str or bytes of 1 to 256 bytes, or for a call without one.

        One that was taken out of service is on. Raises TypeError, and ValueError for a key out of range.
        """
        cdef adm_view *view = view_of(self.arena, self.row)
        cdef subject who
        if not subject_read(self.arena, key, &who):
            raise ValueError(f"key = {key!r}: must have 1 to 256 bytes")
        if view == NULL or not view.params.rules & ADM_HAS_FEATURE:
            return True
        return feature_is_on(&view.feature.flag, &view.params.feature, who.bytes, who.size, clock_ns(&self.arena.time))

    @property
    def state(self):
        """One of STATES: what an operator forced, until its time is over, or "configured"."""
        cdef adm_view *view = _feature_of(self.arena, self.row)
        return STATES[flag_state(adm_load(&view.feature.flag), clock_ns(&self.arena.time))]

    @property
    def reason(self):
        """Why it is forced on or off, as the operator said; else ""."""
        cdef adm_view *view = _feature_of(self.arena, self.row)
        cdef uint64_t word = adm_load(&view.feature.flag)
        if flag_state(word, clock_ns(&self.arena.time)) == <uint32_t>CONFIGURED:
            return ""
        return remark_read(self.arena, &view.feature.remark, flag_flips(word))
