"""The gRPC messages, judged without protobuf objects: request bytes in, response bytes out.

Both listeners call these functions, so they cannot differ. Bytes that are no message raise WireError with the offset; everything
else is answered in the message: an unknown policy, an impossible cost, a forged permit. Unknown fields are skipped, of a
repeated scalar the last one counts.

What an admitted caller holds lies in the arena (remote.pyx), so a report counts once, whichever process of the host receives it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.core.admit cimport PRIORITY_SHEDDABLE, count_verdict, hand_back, judge, judge_and_sweep, plain, refuse, request, verdict
from engine.core.arena cimport Arena
from engine.core.breaker cimport IGNORED, SUCCESS, outcome
from engine.core.chaos cimport NO_IMPACT, injection
from engine.core.clock cimport clock_ns
from engine.core.directory cimport find
from engine.core.keys cimport KEY_MAX, subject_of
from engine.core.layout cimport (
    ADM_DEGRADED, ADM_HAS_BULKHEAD, ADM_HAS_RATE_LIMIT, ADM_INVALID, ADM_IS_REPORTED, ADM_NO_RULE, ADM_OK, ADM_REMOTE_OWNER,
    ADM_SHED, ADM_UNKNOWN_POLICY,
)
from engine.core.limiter cimport limiter_remaining
from engine.core.protobuf cimport BYTES, VARINT, next_field, read_from, reader, write_bytes, write_field
from engine.core.remote cimport (
    VOID, remote_extend, remote_in_use, remote_issue, remote_settle, remote_withdraw, report as report_, result,
)
from engine.core.token cimport TOKEN_BYTES, token, token_read, token_write
from engine.core.view cimport adm_view, rate_of, view_of

cdef enum:
    ADMITTED = 1
    REFUSED = 2
    REDUCED = 3             # DECISION_DEGRADED
    MODE_ENFORCE = 1
    MODE_PEEK = 2
    LOCAL = 1
    RESPONSE_MAX = 128      # bytes of the longest response

cdef int64_t MS = 1000000
cdef uint64_t HOLD_MS = 60000           # of a remote permit that asks for nothing else
cdef uint64_t HOLD_MAX_MS = 86400000
cdef uint64_t DURATION_MAX_US = 86400000000     # a day, so that nobody's wild report spoils the sum

BATCH_MAX = 1000


class WireError(ValueError):
    """Bytes that are no such message; `offset` says where they stop making sense."""

    def __init__(self, complaint, offset):
        super().__init__(f"{complaint} at byte {offset}")
        self.offset = offset


ctypedef struct question:
    const uint8_t *policy
    uint64_t policy_bytes
    const uint8_t *key
    uint64_t key_bytes
    uint64_t cost
    uint64_t priority       # zero: not said, as of the next two
    uint64_t attempt
    uint64_t hold_ms
    uint64_t deadline_ms
    uint64_t mode
    bint revocable

ctypedef struct answer:
    adm_view *view          # NULL: unknown policy
    request asked
    verdict given
    uint64_t remaining      # tokens left by the rate limit
    token permit            # of no time: nothing to report
    bint peek

ctypedef struct statement:
    const uint8_t *permit
    uint64_t permit_bytes
    uint64_t outcome
    uint64_t duration_us
    uint64_t actual_cost    # tokens; zero: not said
    uint64_t extend_ms
    bint final


cdef question _read_question(reader *r) noexcept nogil:
    cdef question asked
    asked.policy = NULL
    asked.policy_bytes = 0
    asked.key = NULL
    asked.key_bytes = 0
    asked.cost = 1
    asked.priority = 0
    asked.attempt = 0
    asked.hold_ms = 0
    asked.deadline_ms = 0
    asked.mode = MODE_ENFORCE
    asked.revocable = False
    while next_field(r):
        if r.kind == BYTES and r.number == 1:
            asked.policy = r.bytes
            asked.policy_bytes = r.value
        elif r.kind == BYTES and r.number == 2:
            asked.key = r.bytes
            asked.key_bytes = r.value
        elif r.kind == VARINT and r.number == 3:
            asked.cost = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 4:
            asked.priority = r.value
        elif r.kind == VARINT and r.number == 5:
            asked.attempt = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 7:
            asked.hold_ms = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 8:
            asked.deadline_ms = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 10:
            asked.mode = r.value if r.value else MODE_ENFORCE
        elif r.kind == VARINT and r.number == 11:
            asked.revocable = r.value != 0
    return asked


cdef statement _read_statement(reader *r) noexcept nogil:
    cdef statement said
    said.permit = NULL
    said.permit_bytes = 0
    said.outcome = 0
    said.duration_us = 0
    said.actual_cost = 0
    said.extend_ms = 0
    said.final = False
    while next_field(r):
        if r.kind == BYTES and r.number == 1:
            said.permit = r.bytes
            said.permit_bytes = r.value
        elif r.kind == VARINT and r.number == 2:
            said.outcome = r.value
        elif r.kind == VARINT and r.number == 3:
            said.duration_us = r.value
        elif r.kind == VARINT and r.number == 4:
            said.actual_cost = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 5:
            said.extend_ms = <uint32_t>r.value
        elif r.kind == VARINT and r.number == 6:
            said.final = r.value != 0
    return said


cdef _check(const reader *r):
    if r.complaint != NULL:
        raise WireError(r.complaint.decode(), r.at - r.start)


cdef int64_t _life_ns(const adm_view *view, uint64_t hold_ms) noexcept nogil:
    """How long a remote permit lives: as asked, else as the bulkhead says, else a minute."""
    if hold_ms == 0 and view.params.rules & ADM_HAS_BULKHEAD and view.params.bulkhead.hold_ns:
        return view.params.bulkhead.hold_ns
    return <int64_t>(hold_ms if hold_ms else HOLD_MS) * MS


cdef void _issue(Arena arena, answer *made, int64_t now_ns) noexcept nogil:
    """Give the caller of an admission a permit, where there is anything to report."""
    if not made.view.params.rules & ADM_IS_REPORTED:
        return
    if not remote_issue(arena, made.view, now_ns, &made.asked, &made.given, &made.permit):
        hand_back(made.view, &made.given, &made.asked, now_ns)
        refuse(&made.given, ADM_SHED, ADM_NO_RULE, 0)


cdef bint _is_askable(const question *asked) noexcept nogil:
    return (asked.mode <= MODE_PEEK and asked.hold_ms <= HOLD_MAX_MS and asked.cost != 0 and asked.key_bytes <= <uint64_t>KEY_MAX
            and asked.priority <= <uint64_t>PRIORITY_SHEDDABLE)


cdef request _request_of(Arena arena, const adm_view *view, const question *asked) noexcept nogil:
    cdef request made = plain()
    made.cost = <uint32_t>asked.cost
    if asked.key_bytes:
        made.who = subject_of(arena.header.secret, asked.key, asked.key_bytes)
    if asked.priority:
        made.priority = <uint32_t>asked.priority
    if asked.attempt:
        made.attempt = <uint32_t>asked.attempt
    made.revocable = asked.revocable
    made.deadline_ns = <int64_t>asked.deadline_ms * MS
    made.life_ns = _life_ns(view, asked.hold_ms)
    return made


cdef answer _admit(Arena arena, const question *asked, int64_t now_ns) except *:
    """Judge one request. Counting is left to the caller, who may still hand the admission back."""
    cdef answer made
    cdef int64_t row
    memset(&made, 0, sizeof(answer))
    row = find(arena, <const char *>asked.policy, asked.policy_bytes)
    made.view = view_of(arena, <uint32_t>row) if row >= 0 else NULL
    made.peek = asked.mode == MODE_PEEK
    if made.view == NULL or not made.view.params.rules:
        made.view = NULL
        refuse(&made.given, ADM_UNKNOWN_POLICY, ADM_NO_RULE, 0)
        return made
    if not _is_askable(asked):
        refuse(&made.given, ADM_INVALID, ADM_NO_RULE, 0)
        return made
    made.asked = _request_of(arena, made.view, asked)
    if made.peek:
        judge(made.view, ADM_REMOTE_OWNER, now_ns, &made.asked, False, &made.given)
    elif judge_and_sweep(arena, made.view, ADM_REMOTE_OWNER, now_ns, &made.asked, &made.given):
        _issue(arena, &made, now_ns)
    if made.view.params.rules & ADM_HAS_RATE_LIMIT:
        made.remaining = <uint64_t>limiter_remaining(made.view, &made.asked.who, now_ns)
    return made


cdef void _count(const answer *made) noexcept nogil:
    if made.view != NULL and not made.peek:
        count_verdict(made.view, &made.given)


cdef uint8_t *_write_injection(const injection *what, uint8_t *out) noexcept nogil:
    cdef uint8_t inner[24]
    cdef uint8_t *end
    if what.impact == NO_IMPACT:
        return out
    end = write_field(inner, 1, <uint64_t>((what.delay_ns + MS - 1) // MS))
    end = write_field(end, 2, what.status)
    return write_bytes(out, 10, inner, <uint64_t>(end - inner))


cdef uint8_t *_write_answer(Arena arena, const answer *made, uint8_t *out) noexcept nogil:
    cdef uint8_t bytes[TOKEN_BYTES]
    cdef const verdict *given = &made.given
    out = write_field(out, 1, ADMITTED if given.reason == ADM_OK else REDUCED if given.reason == ADM_DEGRADED else REFUSED)
    out = write_field(out, 2, given.reason)
    if given.reason == ADM_OK and made.permit.since_ns:
        token_write(arena.header.secret, &made.permit, bytes)
        out = write_bytes(out, 3, bytes, TOKEN_BYTES)
    out = write_field(out, 4, <uint64_t>((given.wait_ns + MS - 1) // MS))
    out = write_field(out, 5, given.rule)
    if made.view != NULL:
        if made.view.params.rules & ADM_HAS_RATE_LIMIT:
            out = write_field(out, 6, made.remaining)
            out = write_field(out, 7, rate_of(made.view, made.asked.who.id).burst)
        out = write_field(out, 8, given.level)
        out = write_field(out, 9, given.would_refuse != ADM_OK)
        out = _write_injection(&given.inject, out)
        out = write_field(out, 11, made.view.published >> 40)
    return write_field(out, 12, LOCAL)


cdef result _report(Arena arena, const statement *said, int64_t now_ns, bint *revoked) except *:
    cdef token permit
    cdef report_ told
    if not token_read(arena.header.secret, said.permit, said.permit_bytes, &permit):
        return VOID
    if said.extend_ms and not said.final:
        if said.extend_ms > HOLD_MAX_MS:
            return VOID
        return remote_extend(arena, &permit, <int64_t>said.extend_ms * MS, now_ns, revoked)
    told.how = <outcome>said.outcome
    told.duration_ns = <int64_t>min(said.duration_us, DURATION_MAX_US) * 1000 if said.duration_us else -1
    told.actual_cost = <int64_t>said.actual_cost if said.actual_cost else -1
    return remote_settle(arena, &permit, &told, now_ns, revoked)


cdef uint8_t *_write_result(result how, bint revoked, uint8_t *out) noexcept nogil:
    return write_field(write_field(out, 1, <uint64_t>how), 2, revoked)


cdef bint _outcome_is_known(const statement *said) noexcept nogil:
    return <int>SUCCESS <= <int>said.outcome <= <int>IGNORED or (said.extend_ms and not said.final)


def admit(Arena arena not None, bytes data not None):
    """AdmitRequest bytes -> AdmitResponse bytes. Raises WireError, and ArenaError once the arena is closed."""
    cdef reader r = read_from(<const uint8_t *>PyBytes_AS_STRING(data), len(data))
    cdef question asked = _read_question(&r)
    cdef uint8_t out[RESPONSE_MAX]
    cdef int64_t now_ns
    cdef answer made
    _check(&r)
    now_ns = clock_ns(&arena.time)
    made = _admit(arena, &asked, now_ns)
    _count(&made)
    return PyBytes_FromStringAndSize(<char *>out, _write_answer(arena, &made, out) - out)


def report(Arena arena not None, bytes data not None):
    """ReportRequest bytes -> ReportResponse bytes. Raises WireError, also where the outcome is missing."""
    cdef reader r = read_from(<const uint8_t *>PyBytes_AS_STRING(data), len(data))
    cdef statement said = _read_statement(&r)
    cdef bint revoked = False
    cdef result how
    cdef uint8_t out[RESPONSE_MAX]
    _check(&r)
    if not _outcome_is_known(&said):
        raise WireError("outcome is missing or unknown", len(data))
    how = _report(arena, &said, clock_ns(&arena.time), &revoked)
    return PyBytes_FromStringAndSize(<char *>out, _write_result(how, revoked, out) - out)


def remote_permits(Arena arena not None):
    """Permits that remote callers hold now."""
    return remote_in_use(arena, clock_ns(&arena.time))


cdef list _items(reader *r, bint *flag):
    """(address, length) of every field 1 of a batch; field 2 is its flag."""
    items = []
    while next_field(r):
        if r.kind == BYTES and r.number == 1:
            items.append((<uint64_t>r.bytes, r.value))
        elif r.kind == VARINT and r.number == 2:
            flag[0] = r.value != 0
    _check(r)
    if len(items) > BATCH_MAX:
        raise WireError(f"a batch of {len(items)} items, more than {BATCH_MAX}", r.at - r.start)
    return items


cdef uint8_t *_write_item(uint8_t *out, const uint8_t *item, uint64_t size) noexcept nogil:
    return write_bytes(out, 1, item, size)


cdef void _withdraw(Arena arena, const answer *made, int64_t now_ns) noexcept nogil:
    hand_back(made.view, &made.given, &made.asked, now_ns)
    if made.permit.since_ns:
        remote_withdraw(arena, &made.permit, now_ns)


cdef void _refuse_together(Arena arena, answer *made, uint64_t count, uint64_t first, int64_t now_ns) noexcept nogil:
    """All or nothing: hand every admission back and give it the verdict of the first refusal."""
    cdef uint64_t i
    for i in range(count):
        if made[i].given.reason == ADM_OK:
            if not made[i].peek:
                _withdraw(arena, &made[i], now_ns)
            refuse(&made[i].given, made[first].given.reason, made[first].given.rule, made[first].given.wait_ns)


cdef _judge_items(Arena arena, list items, bint together, int64_t now_ns, answer *made):
    cdef uint64_t i
    cdef int64_t refused = -1
    cdef reader r
    cdef question asked
    for i, (address, size) in enumerate(items):
        r = read_from(<const uint8_t *><uint64_t>address, size)
        asked = _read_question(&r)
        if r.complaint != NULL:
            made[i].view = NULL
            made[i].peek = False
            refuse(&made[i].given, ADM_INVALID, ADM_NO_RULE, 0)
        else:
            made[i] = _admit(arena, &asked, now_ns)
        if refused < 0 and made[i].given.reason != ADM_OK:
            refused = i
    if together and refused >= 0:
        _refuse_together(arena, made, len(items), refused, now_ns)


def admit_batch(Arena arena not None, bytes data not None):
    """AdmitBatchRequest bytes -> AdmitBatchResponse bytes; an item that is no message is refused as `invalid`.

    Raises WireError where the batch itself is undecodable or longer than BATCH_MAX.
    """
    cdef reader r = read_from(<const uint8_t *>PyBytes_AS_STRING(data), len(data))
    cdef bint together = False
    cdef list items = _items(&r, &together)
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint64_t i
    cdef uint8_t item[RESPONSE_MAX]
    cdef answer *made = <answer *>malloc(max(len(items), 1) * (sizeof(answer) + RESPONSE_MAX))
    cdef uint8_t *out
    cdef uint8_t *end
    if made == NULL:
        raise MemoryError
    try:
        out = end = <uint8_t *>(made + len(items))
        _judge_items(arena, items, together, now_ns, made)
        for i in range(<uint64_t>len(items)):
            _count(&made[i])
            end = _write_item(end, item, _write_answer(arena, &made[i], item) - item)
        return PyBytes_FromStringAndSize(<char *>out, end - out)
    finally:
        free(made)


def report_batch(Arena arena not None, bytes data not None):
    """ReportBatchRequest bytes -> ReportBatchResponse bytes; an item that is no report is VOID.

    Raises WireError where the batch itself is undecodable or longer than BATCH_MAX.
    """
    cdef reader r = read_from(<const uint8_t *>PyBytes_AS_STRING(data), len(data))
    cdef bint unused = False
    cdef int64_t now_ns = clock_ns(&arena.time)
    cdef uint8_t item[RESPONSE_MAX]
    cdef uint8_t frame[RESPONSE_MAX + 4]
    cdef statement said
    cdef result how
    cdef bint revoked
    results = bytearray()
    for address, size in _items(&r, &unused):
        r = read_from(<const uint8_t *><uint64_t>address, size)
        said = _read_statement(&r)
        how = VOID
        revoked = False
        if r.complaint == NULL and _outcome_is_known(&said):
            how = _report(arena, &said, now_ns, &revoked)
        end = _write_item(frame, item, _write_result(how, revoked, item) - item)
        results += (<char *>frame)[:end - frame]
    return bytes(results)
