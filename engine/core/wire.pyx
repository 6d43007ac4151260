"""The gRPC messages, judged without protobuf objects: request bytes in, response bytes out.

Both listeners call these functions, so they cannot differ. Bytes that are no message raise WireError with the offset; everything
else is answered in the message: an unknown policy, an impossible cost, a forged permit. Unknown fields are skipped, of a
repeated scalar the last one counts.

Every permit of a remote caller lies in a cell that expires: one of the policy's bulkhead, or where the policy has none but needs a
report, one of the arena's remote cells. Who frees that cell settles the permit, so a report counts once, whichever process of the
host receives it (token.pxd).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.core.admit cimport (
    PRIORITY_SHEDDABLE, count_outcome, count_verdict, hand_back, judge, judge_and_sweep, plain, refuse, request, verdict,
)
from engine.core.arena cimport Arena
from engine.core.atomic cimport adm_cas, adm_load, adm_note, adm_peek, adm_word
from engine.core.breaker cimport IGNORED, SUCCESS, breaker_leave, breaker_probe_held, outcome
from engine.core.bulkhead cimport bulkhead_in_use, bulkhead_settle, bulkhead_settle_in_time, grant, take_cell
from engine.core.cells cimport cells
from engine.core.clock cimport clock_ns
from engine.core.directory cimport find
from engine.core.keys cimport KEY_MAX, subject_of
from engine.core.layout cimport (
    ADM_FREE, ADM_HAS_BREAKER, ADM_HAS_BULKHEAD, ADM_HAS_RATE_LIMIT, ADM_INVALID, ADM_NO_RULE, ADM_OK,
    ADM_REMOTE_MAX, ADM_REMOTE_OWNER, ADM_ROWS_MAX, ADM_SHED, ADM_UNKNOWN_POLICY,
)
from engine.core.limiter cimport limiter_remaining
from engine.core.permit cimport permit_expired, permit_expiry, permit_with_status
from engine.core.protobuf cimport BYTES, VARINT, next_field, read_from, reader, write_bytes, write_field
from engine.core.token cimport TOKEN_BYTES, token, token_read, token_write
from engine.core.view cimport adm_view, view_of

cdef enum:
    ADMITTED = 1
    REFUSED = 2
    MODE_ENFORCE = 1
    MODE_PEEK = 2
    LOCAL = 1
    SETTLED = 1
    ALREADY_SETTLED = 2
    VOID = 3
    EXTENDED = 4
    RESPONSE_MAX = 128      # bytes of the longest response

cdef int64_t MS = 1000000
cdef uint64_t HOLD_MS = 60000           # of a remote permit that asks for nothing else
cdef uint64_t HOLD_MAX_MS = 86400000

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

ctypedef struct answer:
    adm_view *view          # NULL: unknown policy
    uint32_t row
    request asked
    verdict given
    uint64_t remaining      # tokens left by the rate limit
    token permit            # word of zero: nothing to report
    bint peek

ctypedef struct statement:
    const uint8_t *permit
    uint64_t permit_bytes
    uint64_t outcome
    uint64_t duration_us
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
    return asked


cdef statement _read_statement(reader *r) noexcept nogil:
    cdef statement said
    said.permit = NULL
    said.permit_bytes = 0
    said.outcome = 0
    said.duration_us = 0
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


cdef cells _remote_cells(Arena arena) noexcept nogil:
    """The arena's own cells, for permits of policies without a bulkhead."""
    cdef cells remote
    memset(&remote, 0, sizeof(cells))
    remote.at[0] = <adm_word *>(arena.base + arena.remote_at)
    remote.ends[0] = ADM_REMOTE_MAX
    return remote


cdef void _issue(Arena arena, answer *made, int64_t now_ns, int64_t life_ns) noexcept:
    """Put the permit of an admission into a cell that expires, and describe it by a token."""
    cdef adm_view *view = made.view
    cdef verdict *given = &made.given
    cdef grant held = given.permit
    cdef cells remote
    if not view.params.rules & (ADM_HAS_BULKHEAD | ADM_HAS_BREAKER):
        return
    if not view.params.rules & ADM_HAS_BULKHEAD:
        remote = _remote_cells(arena)
        if not take_cell(&remote, ADM_REMOTE_MAX, <uint32_t>adm_peek(&arena.remote_hint), ADM_REMOTE_OWNER, now_ns,
                         life_ns, &held):
            hand_back(view, given, &made.asked, now_ns)
            refuse(&made.given, ADM_SHED, ADM_NO_RULE, 0)
            return
        adm_note(&arena.remote_hint, held.index + 1)
    made.permit.word = held.word
    made.permit.cell = <uint32_t>(held.cell - <adm_word *>arena.base)
    made.permit.row = made.row
    made.permit.generation = given.gate.generation
    made.permit.probe = given.gate.cell + 1 if given.gate.probe else 0


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
    made.row = <uint32_t>row
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
        _issue(arena, &made, now_ns, made.asked.life_ns)
    if made.view.params.rules & ADM_HAS_RATE_LIMIT:
        made.remaining = <uint64_t>limiter_remaining(made.view, &made.asked.who, now_ns)
    return made


cdef void _count(const answer *made) noexcept nogil:
    if made.view != NULL and not made.peek:
        count_verdict(made.view, &made.given)


cdef uint8_t *_write_answer(Arena arena, const answer *made, uint8_t *out) noexcept nogil:
    cdef uint8_t bytes[TOKEN_BYTES]
    cdef const verdict *given = &made.given
    out = write_field(out, 1, ADMITTED if given.reason == ADM_OK else REFUSED)
    out = write_field(out, 2, given.reason)
    if given.reason == ADM_OK and made.permit.word:
        token_write(arena.header.secret, &made.permit, bytes)
        out = write_bytes(out, 3, bytes, TOKEN_BYTES)
    out = write_field(out, 4, <uint64_t>((given.wait_ns + MS - 1) // MS))
    out = write_field(out, 5, given.rule)
    if made.view != NULL:
        if made.view.params.rules & ADM_HAS_RATE_LIMIT:
            out = write_field(out, 6, made.remaining)
            out = write_field(out, 7, made.view.params.rate_limit.burst)
        out = write_field(out, 9, given.would_refuse != ADM_OK)
        out = write_field(out, 11, made.view.published >> 40)
    return write_field(out, 12, LOCAL)


cdef uint64_t _report(Arena arena, const statement *said, int64_t now_ns, token *permit) except *:
    """The ReportResult of one statement; an extension leaves the new permit in `permit`."""
    cdef adm_word *cell
    cdef adm_view *view
    cdef int64_t duration_ns = _duration_ns(said.duration_us)
    cdef bint valid
    if not token_read(arena.header.secret, said.permit, said.permit_bytes, permit):
        return VOID
    if permit.row >= ADM_ROWS_MAX or permit.cell * sizeof(adm_word) > arena.size - sizeof(adm_word):
        return VOID
    view = view_of(arena, permit.row)
    cell = <adm_word *>arena.base + permit.cell
    if said.extend_ms and not said.final:
        return _extend(cell, said.extend_ms, now_ns, permit)
    if adm_load(cell) == permit_with_status(permit.word, ADM_FREE):
        return ALREADY_SETTLED
    valid = bulkhead_settle_in_time(cell, permit.word, now_ns)
    if view == NULL:
        return VOID
    valid = valid and _report_to_breaker(view, permit, <outcome>said.outcome, duration_ns, now_ns)
    count_outcome(view, valid, <outcome>said.outcome, duration_ns)
    return SETTLED if valid else VOID


cdef int64_t _duration_ns(uint64_t duration_us) noexcept nogil:
    """A day at the most, so that nobody's wild report spoils the sum."""
    return <int64_t>min(duration_us, <uint64_t>86400000000) * 1000


cdef bint _report_to_breaker(adm_view *view, const token *permit, outcome how, int64_t duration_ns,
                             int64_t now_ns) noexcept nogil:
    cdef uint64_t probe = 0
    if not view.params.rules & ADM_HAS_BREAKER:
        return True
    if permit.probe:
        probe = breaker_probe_held(view, permit.probe - 1, permit.generation, ADM_REMOTE_OWNER)
        if probe == 0:
            return False
    return breaker_leave(view, permit.generation, permit.probe - 1, probe, how, duration_ns, now_ns)


cdef uint64_t _extend(adm_word *cell, uint64_t extend_ms, int64_t now_ns, token *permit) noexcept nogil:
    """Move the expiry of a live permit; its word changes, so the old token is void from here on."""
    cdef uint64_t longer
    if extend_ms > HOLD_MAX_MS or permit_expired(permit.word, now_ns):
        return VOID
    longer = permit.word & ~<uint64_t>0xFFFFFFFF | permit_expiry(now_ns, <int64_t>extend_ms * MS)
    if not adm_cas(cell, permit.word, longer):
        return VOID
    permit.word = longer
    return EXTENDED


cdef uint8_t *_write_result(Arena arena, uint64_t result, const token *permit, uint8_t *out) noexcept nogil:
    cdef uint8_t bytes[TOKEN_BYTES]
    out = write_field(out, 1, result)
    if result == EXTENDED:
        token_write(arena.header.secret, permit, bytes)
        out = write_bytes(out, 3, bytes, TOKEN_BYTES)
    return out


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
    cdef uint8_t out[RESPONSE_MAX]
    cdef uint64_t result
    cdef token permit
    _check(&r)
    if not _outcome_is_known(&said):
        raise WireError("outcome is missing or unknown", len(data))
    result = _report(arena, &said, clock_ns(&arena.time), &permit)
    return PyBytes_FromStringAndSize(<char *>out, _write_result(arena, result, &permit, out) - out)


def remote_permits(Arena arena not None):
    """Permits that remote callers hold in the arena's own cells, those of policies without a bulkhead."""
    cdef cells remote = _remote_cells(arena)
    return bulkhead_in_use(&remote, clock_ns(&arena.time))


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
    if made.permit.word and not made.view.params.rules & ADM_HAS_BULKHEAD:
        bulkhead_settle(<adm_word *>arena.base + made.permit.cell, made.permit.word)


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
    cdef uint64_t result
    cdef statement said
    cdef token permit
    results = bytearray()
    for address, size in _items(&r, &unused):
        r = read_from(<const uint8_t *><uint64_t>address, size)
        said = _read_statement(&r)
        result = VOID
        if r.complaint == NULL and _outcome_is_known(&said):
            result = _report(arena, &said, now_ns, &permit)
        end = _write_item(frame, item, _write_result(arena, result, &permit, item) - item)
        results += (<char *>frame)[:end - frame]
    return bytes(results)
