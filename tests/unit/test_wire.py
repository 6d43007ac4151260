"""The messages of the service, judged as bytes: every answer in the message, never a crash."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from engine import ArenaError, Bulkhead, Counter, Engine, Policy, rules
from engine.core import wire
from engine.core.wire import BATCH_MAX, WireError
from engine.rules import PolicySet, PolicySpec, Rule
from engine.testing import ManualClock
from server.pb.admittance.v1 import admission_pb2 as pb

TICK_S = 2**24 / 1e9
FOREIGN_TOKEN = bytes(range(24))


@pytest.fixture
def served(private: Engine) -> Engine:
    """An engine with a policy for each purpose."""
    policies: dict[str, tuple[Rule, ...]] = {
        "pool/two": (rules.Bulkhead(2),),
        "pool/hold": (rules.Bulkhead(1, hold=5.0),),
        "rate/five": (rules.RateLimit("1/s", burst=5),),
        "circuit/one": (rules.Breaker(window=4, min_calls=2, open_for=10, jitter=0, probes=2),),
        "shop/all": (rules.Breaker(), rules.Bulkhead(8), rules.RateLimit("1/s", burst=100)),
    }
    specs = {name: PolicySpec(name, chosen) for name, chosen in policies.items()}
    private.apply(PolicySet(specs))
    return private


def admit(engine: Engine, policy: str, **fields: Any) -> pb.AdmitResponse:
    request = pb.AdmitRequest(policy=policy, **fields)
    return pb.AdmitResponse.FromString(wire.admit(engine.arena, request.SerializeToString()))


def report(engine: Engine, permit: bytes, outcome: int = pb.OUTCOME_SUCCESS, **fields: Any) -> int:
    """Report a permit and return the result."""
    request = pb.ReportRequest(permit=permit, outcome=outcome, **fields)
    data = wire.report(engine.arena, request.SerializeToString())
    return pb.ReportResponse.FromString(data).result


def extend(engine: Engine, permit: bytes, extend_ms: int) -> int:
    """Renew a permit and return the result."""
    request = pb.ReportRequest(permit=permit, extend_ms=extend_ms)
    data = wire.report(engine.arena, request.SerializeToString())
    return pb.ReportResponse.FromString(data).result


def admit_all(engine: Engine, items: Iterable[pb.AdmitRequest], **fields: Any) -> list[Any]:
    batch = pb.AdmitBatchRequest(items=items, **fields)
    data = wire.admit_batch(engine.arena, batch.SerializeToString())
    return list(pb.AdmitBatchResponse.FromString(data).items)


def report_all(engine: Engine, permits: Iterable[bytes]) -> list[int]:
    items = [pb.ReportRequest(permit=permit, outcome=pb.OUTCOME_SUCCESS) for permit in permits]
    data = pb.ReportBatchRequest(items=items).SerializeToString()
    answers = pb.ReportBatchResponse.FromString(wire.report_batch(engine.arena, data)).items
    return [answer.result for answer in answers]


def look(engine: Engine, name: str) -> Any:
    return next(found for found in engine.snapshot().policies if found.name == name)


# ---- admit ----


def test_admitted_response_carries_permit_and_levels(served: Engine) -> None:
    answer = admit(served, "shop/all", cost=10)
    assert answer.decision == pb.DECISION_ADMITTED
    assert (answer.reason, answer.rule, answer.retry_after_ms) == (0, 0, 0)
    assert len(answer.permit) == 24
    assert (answer.remaining, answer.limit) == (90, 100)
    assert (answer.policy_version, answer.source) == (1, pb.SOURCE_LOCAL)
    assert look(served, "shop/all").bulkhead.in_use == 1


def test_refused_response_says_why_and_for_how_long(served: Engine) -> None:
    assert admit(served, "rate/five", cost=5).decision == pb.DECISION_ADMITTED
    answer = admit(served, "rate/five", cost=2)
    assert answer.decision == pb.DECISION_REFUSED
    assert (answer.reason, answer.rule) == (pb.REASON_RATE_LIMITED, pb.RULE_RATE_LIMIT)
    assert (answer.retry_after_ms, answer.remaining, answer.limit) == (2_000, 0, 5)
    assert answer.permit == b""


def test_retry_after_is_rounded_up(served: Engine, clock: ManualClock) -> None:
    admit(served, "rate/five", cost=5)
    clock.advance(0.9995)
    assert admit(served, "rate/five").retry_after_ms == 1
    clock.advance(0.0005)
    assert admit(served, "rate/five").decision == pb.DECISION_ADMITTED


def test_permit_is_empty_when_there_is_nothing_to_report(served: Engine) -> None:
    assert admit(served, "rate/five").permit == b""


def test_cost_is_one_when_it_is_absent(served: Engine) -> None:
    assert admit(served, "rate/five").remaining == 4


def test_cost_is_invalid_when_it_is_written_as_zero(served: Engine) -> None:
    data = wire.admit(served.arena, b"\x0a\x09rate/five\x18\x00")
    answer = pb.AdmitResponse.FromString(data)
    assert (answer.decision, answer.reason) == (pb.DECISION_REFUSED, pb.REASON_INVALID)
    assert look(served, "rate/five").rate_limit.remaining == 5


@pytest.mark.parametrize("cost", [6, 2**31, 2**32 - 1])
def test_cost_is_invalid_when_it_is_over_the_burst(served: Engine, cost: int) -> None:
    answer = admit(served, "rate/five", cost=cost)
    assert (answer.decision, answer.reason) == (pb.DECISION_REFUSED, pb.REASON_INVALID)


def test_cost_is_cut_to_32_bits_like_in_any_protobuf_reader(served: Engine) -> None:
    data = b"\x0a\x09rate/five\x18\x82\x80\x80\x80\x10"
    assert pb.AdmitRequest.FromString(data).cost == 2
    assert pb.AdmitResponse.FromString(wire.admit(served.arena, data)).remaining == 3


@pytest.mark.parametrize("name", ["no/such", "", "a" * 129, "a" * 10_000, "ä", "pool/two\0"])
def test_unknown_policy_is_a_verdict(served: Engine, name: str) -> None:
    answer = admit(served, name)
    assert answer.decision == pb.DECISION_REFUSED
    assert answer.reason in (pb.REASON_UNKNOWN_POLICY, pb.REASON_INVALID)
    assert (answer.policy_version, answer.permit) == (0, b"")


def test_retired_policy_is_unknown(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    served.apply(PolicySet({}))
    assert admit(served, "pool/two").reason == pb.REASON_UNKNOWN_POLICY
    assert report(served, permit) in (pb.REPORT_RESULT_SETTLED, pb.REPORT_RESULT_VOID)


def test_counters_are_no_policies(served: Engine) -> None:
    Counter(engine=served, name="visits")
    assert admit(served, "~counter/visits").decision == pb.DECISION_REFUSED


def test_peek_takes_nothing_and_counts_nothing(served: Engine) -> None:
    before = served.snapshot()
    for _ in range(20):
        answer = admit(served, "shop/all", mode=pb.MODE_PEEK)
        assert (answer.decision, answer.permit) == (pb.DECISION_ADMITTED, b"")
        assert admit(served, "circuit/one", mode=pb.MODE_PEEK).decision == pb.DECISION_ADMITTED
    assert served.snapshot().policies == before.policies


@pytest.mark.parametrize("policy", ["pool/two", "rate/five", "circuit/one"])
def test_peek_answers_what_an_admit_would(served: Engine, clock: ManualClock, policy: str) -> None:
    generator = random.Random(policy)
    held = []
    for _ in range(300):
        peeked = admit(served, policy, mode=pb.MODE_PEEK)
        answer = admit(served, policy)
        assert (peeked.decision, peeked.reason) == (answer.decision, answer.reason)
        if answer.permit:
            held.append(answer.permit)
        if held and generator.random() < 0.6:
            outcome = generator.choice((pb.OUTCOME_SUCCESS, pb.OUTCOME_FAILURE))
            report(served, held.pop(0), outcome)
        clock.advance(generator.choice((0, 0.1, 1, 6)))


def test_ignored_fields_are_accepted(served: Engine) -> None:
    answer = admit(
        served,
        "shop/all",
        key="tenant",
        priority=pb.PRIORITY_HIGH,
        attempt=2,
        max_wait_ms=5,
        deadline_ms=100,
        request_id="r1",
    )
    assert answer.decision == pb.DECISION_ADMITTED


def test_unknown_fields_are_skipped(served: Engine) -> None:
    unknown = b"\xa0\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xa2\x06\x03abc" + b"\xa5\x06" + bytes(4)
    data = unknown + b"\x0a\x08pool/two" + unknown
    assert pb.AdmitResponse.FromString(wire.admit(served.arena, data)).decision == 1


# ---- report ----


@pytest.mark.parametrize("policy", ["pool/two", "circuit/one", "shop/all"])
@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (pb.OUTCOME_SUCCESS, "success"),
        (pb.OUTCOME_FAILURE, "failure"),
        (pb.OUTCOME_IGNORED, "ignored"),
    ],
)
def test_report_counts_once(served: Engine, policy: str, outcome: int, counted: str) -> None:
    permit = admit(served, policy).permit
    assert report(served, permit, outcome, duration_us=250) == pb.REPORT_RESULT_SETTLED
    for again in (pb.OUTCOME_SUCCESS, pb.OUTCOME_FAILURE, pb.OUTCOME_IGNORED):
        assert report(served, permit, again) == pb.REPORT_RESULT_ALREADY_SETTLED
    snapshot = look(served, policy)
    assert snapshot.success + snapshot.failure + snapshot.ignored == 1
    assert getattr(snapshot, counted) == 1
    assert snapshot.duration_ns == (0 if counted == "ignored" else 250_000)
    assert snapshot.latency.count == (counted != "ignored")
    assert served.snapshot().arena.remote_permits == 0


def test_second_report_frees_nobodys_permit(served: Engine) -> None:
    first = admit(served, "pool/two").permit
    assert report(served, first) == pb.REPORT_RESULT_SETTLED
    others = [admit(served, "pool/two").permit for _ in range(2)]
    assert report(served, first) in (pb.REPORT_RESULT_ALREADY_SETTLED, pb.REPORT_RESULT_VOID)
    assert look(served, "pool/two").bulkhead.in_use == 2
    assert [report(served, permit) for permit in others] == [pb.REPORT_RESULT_SETTLED] * 2


@pytest.mark.parametrize("policy", ["pool/two", "circuit/one"])
def test_permit_expires_after_a_minute(served: Engine, clock: ManualClock, policy: str) -> None:
    permit = admit(served, policy).permit
    clock.advance(59.99)
    assert served.snapshot().arena.remote_permits == 1
    clock.advance(0.01 + TICK_S)
    assert served.snapshot().arena.remote_permits == 0
    assert report(served, permit) == pb.REPORT_RESULT_VOID
    assert look(served, policy).success == 0


@pytest.mark.parametrize("hold_ms", [100, 120_000, 86_400_000])
def test_permit_expires_after_the_time_asked_for(
    served: Engine, clock: ManualClock, hold_ms: int
) -> None:
    held = [admit(served, "pool/two", hold_ms=hold_ms) for _ in range(2)]
    clock.advance(hold_ms / 1_000 - 0.001)
    assert admit(served, "pool/two").reason == pb.REASON_BULKHEAD_FULL
    clock.advance(0.001 + TICK_S)
    assert admit(served, "pool/two").decision == pb.DECISION_ADMITTED
    assert [report(served, one.permit) for one in held] == [pb.REPORT_RESULT_VOID] * 2


@pytest.mark.parametrize("hold_ms", [86_400_001, 2**32 - 1])
def test_request_is_invalid_when_it_would_hold_for_more_than_a_day(
    served: Engine, hold_ms: int
) -> None:
    assert admit(served, "pool/two", hold_ms=hold_ms).reason == pb.REASON_INVALID
    assert look(served, "pool/two").bulkhead.in_use == 0


def test_permit_expires_after_the_policys_hold(served: Engine, clock: ManualClock) -> None:
    permit = admit(served, "pool/hold").permit
    clock.advance(4.99)
    assert admit(served, "pool/hold").reason == pb.REASON_BULKHEAD_FULL
    clock.advance(0.01 + TICK_S)
    assert admit(served, "pool/hold").decision == pb.DECISION_ADMITTED
    assert report(served, permit) == pb.REPORT_RESULT_VOID


def test_late_report_is_void_when_nobody_took_the_place(served: Engine, clock: ManualClock) -> None:
    permit = admit(served, "pool/hold").permit
    clock.advance(5 + TICK_S)
    assert report(served, permit) == pb.REPORT_RESULT_VOID
    assert look(served, "pool/hold").success == 0


@pytest.mark.parametrize("policy", ["pool/two", "circuit/one", "shop/all"])
def test_extended_permit_lives_on(served: Engine, clock: ManualClock, policy: str) -> None:
    permit = admit(served, policy, hold_ms=1_000).permit
    clock.advance(0.9)
    assert extend(served, permit, 10_000) == pb.REPORT_RESULT_EXTENDED
    assert extend(served, permit, 10_000) == pb.REPORT_RESULT_EXTENDED
    clock.advance(9.9)
    assert report(served, permit) == pb.REPORT_RESULT_SETTLED
    assert report(served, permit) == pb.REPORT_RESULT_ALREADY_SETTLED
    assert look(served, policy).success == 1
    assert served.snapshot().arena.remote_permits == 0


def test_extended_permit_expires_too(served: Engine, clock: ManualClock) -> None:
    permit = admit(served, "pool/two", hold_ms=1_000).permit
    assert extend(served, permit, 2_000) == pb.REPORT_RESULT_EXTENDED
    clock.advance(2 + TICK_S)
    assert look(served, "pool/two").bulkhead.in_use == 0
    assert extend(served, permit, 2_000) == pb.REPORT_RESULT_VOID
    assert report(served, permit) == pb.REPORT_RESULT_VOID


def test_permit_is_not_extended_when_its_place_went_to_somebody_else(
    served: Engine, clock: ManualClock
) -> None:
    permit = admit(served, "pool/hold").permit
    clock.advance(5 + TICK_S)
    admit(served, "pool/hold")
    assert extend(served, permit, 1_000) == pb.REPORT_RESULT_VOID
    assert look(served, "pool/hold").bulkhead.in_use == 1


def test_actual_cost_takes_the_place_of_the_estimate(served: Engine) -> None:
    before = look(served, "shop/all").rate_limit.remaining
    permit = admit(served, "shop/all", cost=1).permit
    assert report(served, permit, actual_cost=3) == pb.REPORT_RESULT_SETTLED
    assert look(served, "shop/all").rate_limit.remaining == before - 3
    assert report(served, permit, actual_cost=1) == pb.REPORT_RESULT_ALREADY_SETTLED
    assert look(served, "shop/all").rate_limit.remaining == before - 3
    permit = admit(served, "shop/all", cost=2).permit
    assert report(served, permit, actual_cost=2**32 - 1) == pb.REPORT_RESULT_SETTLED
    assert look(served, "shop/all").rate_limit.remaining == 0


def test_actual_cost_is_charged_to_the_key_that_was_admitted(served: Engine) -> None:
    Policy(
        "keyed/all", rules.RateLimit("1/min", burst=9, key="k"), rules.Bulkhead(9), engine=served
    )
    permit = admit(served, "keyed/all", key="a", cost=2).permit
    assert report(served, permit, actual_cost=7) == pb.REPORT_RESULT_SETTLED
    policy = served.policy("keyed/all")
    assert [policy.remaining_of(key) for key in "ab"] == [2, 9]


def test_name_of_an_older_permit_settles_no_newer_one(served: Engine) -> None:
    """The arena's own cells go round; the same cell comes again with another generation."""
    first = admit(served, "circuit/one").permit
    assert report(served, first) == pb.REPORT_RESULT_SETTLED
    for _ in range(16_383):
        report(served, admit(served, "circuit/one").permit)
    held = admit(served, "circuit/one").permit
    assert report(served, first) == pb.REPORT_RESULT_VOID
    assert report(served, held) == pb.REPORT_RESULT_SETTLED


def test_settled_permit_is_not_extended(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    report(served, permit)
    assert extend(served, permit, 1_000) == pb.REPORT_RESULT_ALREADY_SETTLED
    assert look(served, "pool/two").bulkhead.in_use == 0


def test_final_report_settles_whatever_it_extends(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    assert report(served, permit, extend_ms=1_000, final=True) == pb.REPORT_RESULT_SETTLED
    assert look(served, "pool/two").bulkhead.in_use == 0


@pytest.mark.parametrize(
    "permit", [b"", b"x", FOREIGN_TOKEN, bytes(24), b"\xff" * 24, bytes(23), bytes(25), bytes(5000)]
)
def test_foreign_permit_is_void(served: Engine, permit: bytes) -> None:
    admit(served, "pool/two")
    assert report(served, permit) == pb.REPORT_RESULT_VOID
    assert look(served, "pool/two").bulkhead.in_use == 1


def test_forged_permit_is_void_whatever_bit_was_changed(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    for bit in range(24 * 8):
        forged = bytearray(permit)
        forged[bit // 8] ^= 1 << bit % 8
        assert report(served, bytes(forged)) == pb.REPORT_RESULT_VOID, f"bit {bit}"
    assert report(served, permit) == pb.REPORT_RESULT_SETTLED


def test_permit_of_another_arena_is_void(served: Engine, clock: ManualClock) -> None:
    with Engine(clock=clock) as other:
        Policy("pool/two", rules.Bulkhead(2), engine=other)
        permit = admit(other, "pool/two").permit
    admit(served, "pool/two")
    assert report(served, permit) == pb.REPORT_RESULT_VOID


def test_report_without_an_outcome_is_no_report(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    for outcome in (0, 4, 99):
        with pytest.raises(WireError, match="outcome"):
            wire.report(served.arena, b"\x0a\x18" + permit + bytes([0x10, outcome]))
    with pytest.raises(WireError, match="outcome"):
        wire.report(served.arena, b"\x0a\x18" + permit)
    assert report(served, permit) == pb.REPORT_RESULT_SETTLED


def test_report_is_void_when_the_circuit_moved_on(served: Engine) -> None:
    old = admit(served, "circuit/one").permit
    for _ in range(2):
        report(served, admit(served, "circuit/one").permit, pb.OUTCOME_FAILURE)
    assert admit(served, "circuit/one").reason == pb.REASON_CIRCUIT_OPEN
    assert report(served, old) == pb.REPORT_RESULT_VOID
    assert look(served, "circuit/one").void == 1
    assert served.snapshot().arena.remote_permits == 0


def test_remote_probes_close_the_circuit(served: Engine, clock: ManualClock) -> None:
    for _ in range(2):
        report(served, admit(served, "circuit/one").permit, pb.OUTCOME_FAILURE)
    clock.advance(10)
    probes = [admit(served, "circuit/one") for _ in range(5)]
    assert [probe.decision for probe in probes] == [1, 1, 2, 2, 2]
    for probe in probes[:2]:
        assert report(served, probe.permit) == pb.REPORT_RESULT_SETTLED
    assert look(served, "circuit/one").breaker.state == "closed"


def test_expired_remote_probe_has_failed(served: Engine, clock: ManualClock) -> None:
    for _ in range(2):
        report(served, admit(served, "circuit/one").permit, pb.OUTCOME_FAILURE)
    clock.advance(10)
    probe = admit(served, "circuit/one", hold_ms=1_000).permit
    clock.advance(1 + TICK_S)
    assert report(served, probe) == pb.REPORT_RESULT_VOID
    admit(served, "circuit/one")
    assert admit(served, "circuit/one").decision == pb.DECISION_REFUSED
    assert look(served, "circuit/one").breaker.opened == 2


def test_duration_that_was_not_measured_is_none(served: Engine) -> None:
    for duration_us in (0, 1):
        permit = admit(served, "pool/two").permit
        assert report(served, permit, duration_us=duration_us) == pb.REPORT_RESULT_SETTLED
    snapshot = look(served, "pool/two")
    assert (snapshot.success, snapshot.latency.count, snapshot.latency.sum) == (2, 1, 1e-6)


def test_huge_duration_does_not_run_over(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    assert report(served, permit, duration_us=2**64 - 1) == pb.REPORT_RESULT_SETTLED
    assert 0 <= look(served, "pool/two").duration_ns < 2**63


@pytest.mark.parametrize("start", [1_000.0, 2**31 * TICK_S + 60, 2**32 * TICK_S - 1, 4e9])
@pytest.mark.parametrize("form", ["policy", "primitive"])
def test_local_caller_takes_no_live_permit_of_a_remote_one(start: float, form: str) -> None:
    """However long the host has been up: the expiry is compared modulo 2^32 ticks."""
    with Engine(clock=ManualClock(start)) as engine:
        policy = Policy("pool/one", rules.Bulkhead(1), engine=engine)
        pool = policy if form == "policy" else Bulkhead(1, engine=engine, name="pool/one")
        permit = admit(engine, "pool/one").permit
        assert not pool.try_acquire()
        assert report(engine, permit) == pb.REPORT_RESULT_SETTLED
        assert pool.try_acquire()


# ---- batches ----


def requests(*policies: str, **fields: Any) -> list[pb.AdmitRequest]:
    return [pb.AdmitRequest(policy=policy, **fields) for policy in policies]


def test_batch_is_judged_in_order(served: Engine) -> None:
    answers = admit_all(served, requests(*["pool/two"] * 3, "no/such", "rate/five"))
    assert [answer.decision for answer in answers] == [1, 1, 2, 2, 1]
    permits = [answers[0].permit, answers[1].permit, FOREIGN_TOKEN, answers[0].permit]
    assert report_all(served, permits) == [
        pb.REPORT_RESULT_SETTLED,
        pb.REPORT_RESULT_SETTLED,
        pb.REPORT_RESULT_VOID,
        pb.REPORT_RESULT_ALREADY_SETTLED,
    ]


def test_batch_takes_nothing_when_one_item_is_refused_and_all_are_wanted(served: Engine) -> None:
    wanted = requests("pool/two", "rate/five", "circuit/one", "shop/all", "pool/two", "pool/two")
    before = [(one.rate_limit, one.bulkhead) for one in served.snapshot().policies]
    answers = admit_all(served, wanted, all_or_nothing=True)
    assert len(answers) == 6
    assert all(answer.decision == pb.DECISION_REFUSED for answer in answers)
    assert not any(answer.permit for answer in answers)
    assert answers[5].reason == pb.REASON_BULKHEAD_FULL
    assert [(one.rate_limit, one.bulkhead) for one in served.snapshot().policies] == before
    assert served.snapshot().arena.remote_permits == 0


def test_batch_admits_all_when_all_fit(served: Engine) -> None:
    answers = admit_all(served, requests("pool/two", "pool/two", "shop/all"), all_or_nothing=True)
    assert [answer.decision for answer in answers] == [1, 1, 1]
    results = report_all(served, [answer.permit for answer in answers])
    assert results == [pb.REPORT_RESULT_SETTLED] * 3


def test_batch_hands_tokens_back_when_all_are_wanted(served: Engine) -> None:
    answers = admit_all(served, requests(*["rate/five"] * 6), all_or_nothing=True)
    assert all(answer.decision == pb.DECISION_REFUSED for answer in answers)
    assert look(served, "rate/five").rate_limit.remaining == 5
    assert admit(served, "rate/five", cost=5).decision == pb.DECISION_ADMITTED


def test_batch_hands_probes_back_when_all_are_wanted(served: Engine, clock: ManualClock) -> None:
    for _ in range(2):
        report(served, admit(served, "circuit/one").permit, pb.OUTCOME_FAILURE)
    clock.advance(10)
    for _ in range(5):
        admit_all(served, requests("circuit/one", "no/such"), all_or_nothing=True)
    probes = [admit(served, "circuit/one") for _ in range(3)]
    assert [probe.decision for probe in probes] == [1, 1, 2]


def test_wrong_item_does_not_spoil_the_batch(served: Engine) -> None:
    good = requests("pool/two")[0].SerializeToString()
    data = b"".join(b"\x0a" + bytes([len(item)]) + item for item in (good, b"\x0a\xff", good))
    answers = pb.AdmitBatchResponse.FromString(wire.admit_batch(served.arena, data)).items
    assert [answer.decision for answer in answers] == [1, 2, 1]
    assert answers[1].reason == pb.REASON_INVALID


def test_wrong_report_does_not_spoil_the_batch(served: Engine) -> None:
    permit = admit(served, "pool/two").permit
    good = pb.ReportRequest(permit=permit, outcome=1).SerializeToString()
    data = b"".join(b"\x0a" + bytes([len(item)]) + item for item in (b"\x0a\xff", b"", good))
    answers = pb.ReportBatchResponse.FromString(wire.report_batch(served.arena, data)).items
    assert [answer.result for answer in answers] == [
        pb.REPORT_RESULT_VOID,
        pb.REPORT_RESULT_VOID,
        pb.REPORT_RESULT_SETTLED,
    ]


def test_empty_batches_are_answered(served: Engine) -> None:
    assert admit_all(served, []) == []
    assert admit_all(served, [], all_or_nothing=True) == []
    assert report_all(served, []) == []


def test_batch_of_the_largest_size_is_taken_and_no_larger(served: Engine) -> None:
    assert BATCH_MAX == 1_000
    assert len(admit_all(served, requests(*["shop/all"] * 1_000))) == 1_000
    assert report_all(served, [FOREIGN_TOKEN] * 1_000) == [pb.REPORT_RESULT_VOID] * 1_000
    before = look(served, "pool/two")
    with pytest.raises(WireError, match=r"1000|1,000"):
        admit_all(served, requests(*["pool/two"] * 1_001))
    with pytest.raises(WireError, match=r"1000|1,000"):
        report_all(served, [FOREIGN_TOKEN] * 1_001)
    assert look(served, "pool/two") == before


# ---- bytes that are no message ----

CALLS = (wire.admit, wire.report, wire.admit_batch, wire.report_batch)


def corpus(engine: Engine) -> list[bytes]:
    """One full message of each kind."""
    permit = admit(engine, "pool/two").permit
    fields = {"key": "k", "cost": 3, "hold_ms": 300, "request_id": "r", "mode": pb.MODE_PEEK}
    asked = pb.AdmitRequest(policy="shop/all", **fields)
    told = pb.ReportRequest(permit=permit, outcome=3, duration_us=7_000, extend_ms=500, final=True)
    return [
        asked.SerializeToString(),
        told.SerializeToString(),
        pb.AdmitBatchRequest(items=[asked] * 3, all_or_nothing=True).SerializeToString(),
        pb.ReportBatchRequest(items=[told] * 3).SerializeToString(),
    ]


def judge(call: Any, engine: Engine, data: bytes) -> None:
    """Expect an answer, or a WireError that says where."""
    try:
        answer = call(engine.arena, data)
    except WireError as error:
        answer = b""
        offset, words = error.offset, str(error)
    else:
        offset, words = 0, "at byte 0"
    assert isinstance(answer, bytes)
    assert 0 <= offset <= len(data)
    assert f"at byte {offset}" in words


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_message_cut_anywhere_is_answered_or_refused_in_words(served: Engine, call: Any) -> None:
    for message in corpus(served):
        for end in range(len(message) + 1):
            judge(call, served, message[:end])


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_spoilt_message_is_answered_or_refused_in_words(served: Engine, call: Any) -> None:
    generator = random.Random(7)
    for message in corpus(served):
        for _ in range(3_000):
            spoilt = bytearray(message)
            for _ in range(generator.randint(1, 4)):
                spoilt[generator.randrange(len(spoilt))] = generator.randrange(256)
            judge(call, served, bytes(spoilt))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_noise_is_answered_or_refused_in_words(served: Engine, call: Any) -> None:
    generator = random.Random(8)
    for _ in range(5_000):
        judge(call, served, generator.randbytes(generator.randrange(80)))


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\x0a", 1),
        (b"\x0a\x05abc", 2),
        (b"\x18\x80", 2),
        (b"\x18" + b"\xff" * 11, 11),
        (b"\x00\x01", 1),
        (b"\x0f", 1),
        (b"\x0c", 1),
    ],
)
def test_wire_error_says_where_the_bytes_stop_making_sense(
    served: Engine, data: bytes, offset: int
) -> None:
    with pytest.raises(WireError) as caught:
        wire.admit(served.arena, data)
    assert caught.value.offset == offset


def test_wire_error_is_a_value_error() -> None:
    assert issubclass(WireError, ValueError)
    assert WireError("truncated varint", 7).offset == 7
    assert str(WireError("truncated varint", 7)) == "truncated varint at byte 7"


def test_noise_leaves_the_state_alone(served: Engine) -> None:
    generator = random.Random(9)
    held = admit(served, "pool/two").permit
    for _ in range(2_000):
        judge(wire.report, served, generator.randbytes(40))
        judge(wire.report_batch, served, generator.randbytes(40))
    assert look(served, "pool/two").bulkhead.in_use == 1
    assert report(served, held) == pb.REPORT_RESULT_SETTLED


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_wire_complains_when_it_is_given_no_bytes(served: Engine, call: Any) -> None:
    for wrong in (None, "text", 5, bytearray(b"\x0a\x00")):
        with pytest.raises(TypeError):
            call(served.arena, wrong)
    with pytest.raises(TypeError):
        call(None, b"")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_wire_raises_when_the_arena_is_closed(call: Any) -> None:
    engine = Engine()
    for name in ("pool/two", "shop/all"):
        Policy(name, rules.Bulkhead(2), engine=engine)
    message = dict(zip(CALLS, corpus(engine), strict=True))[call]
    engine.close()
    with pytest.raises(ArenaError, match="closed"):
        call(engine.arena, message)


def test_remote_permits_are_bounded(served: Engine) -> None:
    """A policy without a bulkhead takes a cell of the arena, and of these there are so many."""
    item = pb.AdmitRequest(policy="circuit/one", hold_ms=3_600_000)
    answers: list[Any] = []
    while len(answers) < 20_000:
        answers += admit_all(served, [item] * 1_000)
    refused = [answer for answer in answers if answer.decision == pb.DECISION_REFUSED]
    held = served.snapshot().arena.remote_permits
    assert held == len(answers) - len(refused) == 16_384
    assert {answer.reason for answer in refused} == {pb.REASON_SHED}
    assert report(served, answers[0].permit) == pb.REPORT_RESULT_SETTLED
    assert admit(served, "circuit/one").decision == pb.DECISION_ADMITTED


# ---- retries ----


def test_retries_over_their_budget_are_refused_when_they_come_by_wire(private: Engine) -> None:
    Policy("api/get", rules.RetryBudget(min_rate="1/day", burst=2), engine=private)
    assert admit(private, "api/get", attempt=2).decision == pb.DECISION_ADMITTED
    answer = admit(private, "api/get", attempt=2)
    assert (answer.reason, answer.rule) == (pb.REASON_RETRY_BUDGET, pb.RULE_RETRY_BUDGET)
    assert answer.retry_after_ms == 86_400_000


def test_batch_that_is_handed_back_leaves_the_retry_budget_alone(private: Engine) -> None:
    """Neither the first attempts of a withdrawn batch pay, nor do its retries cost."""
    Policy("api/get", rules.RetryBudget(ratio=1, min_rate="1/day", burst=9), engine=private)
    items = [pb.AdmitRequest(policy="api/get", attempt=attempt) for attempt in (1, 1, 2, 1)]
    for _ in range(3):
        answers = admit_all(private, [*items, pb.AdmitRequest(policy="x")], all_or_nothing=True)
        assert {answer.reason for answer in answers} == {pb.REASON_UNKNOWN_POLICY}
        assert look(private, "api/get").retry_budget.remaining == 1
    assert {one.decision for one in admit_all(private, items)} == {pb.DECISION_ADMITTED}
    assert look(private, "api/get").retry_budget.remaining == 3
