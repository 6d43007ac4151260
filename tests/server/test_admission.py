"""The four methods of the data plane, called by a real client."""

import grpc
import pytest

from server.pb.admittance.v1 import admission_pb2 as pb

DEADLINE_S = 10


def admit(server, policy, **fields):
    return server.stub.Admit(pb.AdmitRequest(policy=policy, **fields), timeout=DEADLINE_S)


def report(server, permit, outcome=pb.OUTCOME_SUCCESS, **fields):
    request = pb.ReportRequest(permit=permit, outcome=outcome, **fields)
    return server.stub.Report(request, timeout=DEADLINE_S)


def raw(server, method, data):
    """Call a method with these very bytes."""
    call = server.channel.unary_unary(f"/admittance.v1.Admission/{method}")
    return call(data, timeout=DEADLINE_S)


def test_admit_takes_tokens_until_none_are_left(served):
    answers = [admit(served, "demo/hello") for _ in range(6)]
    assert [answer.decision for answer in answers[:5]] == [pb.DECISION_ADMITTED] * 5
    assert [answer.remaining for answer in answers[:5]] == [4, 3, 2, 1, 0]
    assert answers[0].limit == 5
    assert answers[0].policy_version > 0
    assert answers[0].source == pb.SOURCE_LOCAL
    refusal = answers[5]
    assert refusal.decision == pb.DECISION_REFUSED
    assert (refusal.reason, refusal.rule) == (pb.REASON_RATE_LIMITED, pb.RULE_RATE_LIMIT)
    assert 0 < refusal.retry_after_ms <= 86_400_000
    assert refusal.permit == b""


def test_admit_takes_as_many_tokens_as_the_cost_says(served):
    assert admit(served, "demo/hello", cost=4).remaining == 1
    assert admit(served, "demo/hello", cost=2).reason == pb.REASON_RATE_LIMITED
    assert admit(served, "demo/hello").remaining == 0


def test_admit_refuses_as_invalid_when_the_cost_exceeds_the_burst(served):
    assert admit(served, "demo/hello", cost=6).reason == pb.REASON_INVALID
    assert admit(served, "demo/hello").remaining == 4


def test_admit_answers_unknown_policy_when_there_is_none(served):
    answer = admit(served, "no/such")
    assert (answer.decision, answer.reason) == (pb.DECISION_REFUSED, pb.REASON_UNKNOWN_POLICY)
    assert (answer.permit, answer.policy_version) == (b"", 0)


def test_peek_takes_nothing_when_repeated(served):
    answers = [admit(served, "demo/all", mode=pb.MODE_PEEK) for _ in range(20)]
    assert {answer.decision for answer in answers} == {pb.DECISION_ADMITTED}
    assert {answer.permit for answer in answers} == {b""}
    assert admit(served, "demo/all").remaining == 99
    assert served.metrics()["admittance_permits_in_use", "demo", "all"] == 1


def test_bulkhead_is_full_until_a_permit_is_reported(served):
    held = [admit(served, "demo/pool") for _ in range(2)]
    assert len({answer.permit for answer in held}) == 2
    assert all(0 < len(answer.permit) <= 24 for answer in held)
    refusal = admit(served, "demo/pool")
    assert (refusal.reason, refusal.rule) == (pb.REASON_BULKHEAD_FULL, pb.RULE_BULKHEAD)
    assert report(served, held[0].permit).result == pb.REPORT_RESULT_SETTLED
    assert admit(served, "demo/pool").decision == pb.DECISION_ADMITTED


def test_report_changes_nothing_when_repeated(served):
    permit = admit(served, "demo/pool").permit
    assert report(served, permit, duration_us=1500).result == pb.REPORT_RESULT_SETTLED
    repeated = report(served, permit, duration_us=1500).result
    assert repeated in (pb.REPORT_RESULT_ALREADY_SETTLED, pb.REPORT_RESULT_VOID)
    metrics = served.metrics()
    assert metrics["admittance_outcomes_total", "demo", "pool", "success"] == 1
    assert metrics["admittance_call_duration_seconds_sum", "demo", "pool"] == 0.0015
    assert metrics["admittance_call_duration_seconds_count", "demo", "pool"] == 1


@pytest.mark.parametrize("change", [lambda p: p[:0], lambda p: p[:-1], lambda p: p[:-1] + b"!"])
def test_report_is_void_when_the_permit_is_forged(served, change):
    permit = admit(served, "demo/pool").permit
    assert report(served, change(permit)).result == pb.REPORT_RESULT_VOID
    assert report(served, permit).result == pb.REPORT_RESULT_SETTLED


def test_permit_expires_when_it_is_not_reported(served):
    held = [admit(served, "demo/pool", hold_ms=50) for _ in range(2)]
    while admit(served, "demo/pool").decision == pb.DECISION_REFUSED:
        pass
    assert report(served, held[0].permit).result == pb.REPORT_RESULT_VOID


def test_permit_lives_on_when_it_is_extended(served):
    held = [admit(served, "demo/pool", hold_ms=1000).permit for _ in range(2)]
    beat = report(served, held[0], pb.OUTCOME_UNSPECIFIED, extend_ms=60_000)
    assert beat.result == pb.REPORT_RESULT_EXTENDED
    while admit(served, "demo/pool").decision == pb.DECISION_REFUSED:
        pass
    assert report(served, held[1]).result == pb.REPORT_RESULT_VOID
    assert report(served, held[0]).result == pb.REPORT_RESULT_SETTLED


def test_permit_is_settled_when_an_extending_report_is_final(served):
    permit = admit(served, "demo/pool").permit
    answer = report(served, permit, extend_ms=60_000, final=True)
    assert answer.result == pb.REPORT_RESULT_SETTLED


def test_report_fails_when_the_outcome_is_missing(served):
    permit = admit(served, "demo/pool").permit
    with pytest.raises(grpc.RpcError, match="outcome is missing") as caught:
        report(served, permit, pb.OUTCOME_UNSPECIFIED)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert report(served, permit).result == pb.REPORT_RESULT_SETTLED


def test_admit_is_invalid_when_the_hold_is_longer_than_a_day(served):
    assert admit(served, "demo/pool", hold_ms=86_400_001).reason == pb.REASON_INVALID


def test_circuit_opens_when_the_window_is_full_of_failures(served):
    for _ in range(10):
        report(served, admit(served, "demo/circuit").permit, pb.OUTCOME_FAILURE)
    refusal = admit(served, "demo/circuit")
    assert (refusal.reason, refusal.rule) == (pb.REASON_CIRCUIT_OPEN, pb.RULE_BREAKER)
    assert 0 < refusal.retry_after_ms <= 3_600_001
    assert served.metrics()["circuit_breaker_state", "demo", "circuit"] == 2


def test_circuit_stays_closed_when_outcomes_are_ignored(served):
    for _ in range(20):
        report(served, admit(served, "demo/circuit").permit, pb.OUTCOME_IGNORED)
    assert admit(served, "demo/circuit").decision == pb.DECISION_ADMITTED


def test_batch_answers_each_item_when_one_is_wrong(served):
    names = ["demo/hello", "no/such", "demo/pool", "demo/hello"]
    batch = pb.AdmitBatchRequest(items=[pb.AdmitRequest(policy=name) for name in names])
    items = served.stub.AdmitBatch(batch, timeout=DEADLINE_S).items
    assert [item.decision for item in items] == [
        pb.DECISION_ADMITTED, pb.DECISION_REFUSED, pb.DECISION_ADMITTED, pb.DECISION_ADMITTED,
    ]  # fmt: skip
    assert items[1].reason == pb.REASON_UNKNOWN_POLICY
    assert [items[0].remaining, items[3].remaining] == [4, 3]


def test_batch_takes_nothing_when_all_or_nothing_meets_a_refusal(served):
    items = [pb.AdmitRequest(policy="demo/hello")] + [pb.AdmitRequest(policy="demo/pool")] * 3
    batch = pb.AdmitBatchRequest(items=items, all_or_nothing=True)
    answers = served.stub.AdmitBatch(batch, timeout=DEADLINE_S).items
    assert len(answers) == 4
    assert {answer.decision for answer in answers} == {pb.DECISION_REFUSED}
    assert {answer.permit for answer in answers} == {b""}
    assert admit(served, "demo/hello").remaining == 4
    assert [admit(served, "demo/pool").decision for _ in range(2)] == [pb.DECISION_ADMITTED] * 2


def test_batch_admits_all_when_all_or_nothing_meets_none(served):
    batch = pb.AdmitBatchRequest(
        items=[pb.AdmitRequest(policy="demo/pool")] * 2, all_or_nothing=True
    )
    answers = served.stub.AdmitBatch(batch, timeout=DEADLINE_S).items
    assert [answer.decision for answer in answers] == [pb.DECISION_ADMITTED] * 2


def test_report_batch_settles_each_when_one_is_forged(served):
    permits = [admit(served, "demo/pool").permit, b"forged", admit(served, "demo/pool").permit]
    batch = pb.ReportBatchRequest(
        items=[pb.ReportRequest(permit=p, outcome=pb.OUTCOME_SUCCESS) for p in permits]
    )
    items = served.stub.ReportBatch(batch, timeout=DEADLINE_S).items
    assert [item.result for item in items] == [
        pb.REPORT_RESULT_SETTLED, pb.REPORT_RESULT_VOID, pb.REPORT_RESULT_SETTLED,
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["Admit", "Report", "AdmitBatch", "ReportBatch"])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\xff" * 11, b"\x0b"])
def test_call_fails_with_the_offset_when_the_bytes_are_garbage(served, method, data):
    with pytest.raises(grpc.RpcError, match=r"at byte \d") as caught:
        raw(served, method, data)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("method", "limit"), [("Admit", 65_536), ("AdmitBatch", 1_048_576)])
def test_call_fails_when_the_message_is_too_long(served, method, limit):
    with pytest.raises(grpc.RpcError) as caught:
        raw(served, method, bytes(limit + 1))
    codes = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.code() == codes[method == "AdmitBatch"]


def test_batch_is_taken_when_it_is_longer_than_one_message_may_be(served):
    items = [pb.AdmitRequest(policy="demo/all", key="k" * 200, mode=pb.MODE_PEEK)] * 1000
    batch = pb.AdmitBatchRequest(items=items)
    assert batch.ByteSize() > 65_536
    answers = served.stub.AdmitBatch(batch, timeout=DEADLINE_S).items
    assert [answer.decision for answer in answers] == [pb.DECISION_ADMITTED] * 1000


def test_batch_fails_when_it_has_more_than_1000_items(served):
    items = [pb.AdmitRequest(policy="demo/all", mode=pb.MODE_PEEK)] * 1001
    with pytest.raises(grpc.RpcError) as caught:
        served.stub.AdmitBatch(pb.AdmitBatchRequest(items=items), timeout=DEADLINE_S)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_lease_is_unimplemented_when_called(served):
    with pytest.raises(grpc.RpcError) as caught:
        served.stub.Lease(pb.LeaseRequest(policy="demo/hello", want=1), timeout=DEADLINE_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_answered_when_the_listener_is_a_unix_socket(start, tmp_path):
    server = start("--listen", f"unix:{tmp_path}/admittance.sock")
    assert admit(server, "demo/hello").remaining == 4
