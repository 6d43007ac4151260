"""A server that is asked to stop, and one that is killed."""

import itertools
import queue
import signal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.pb.admittance.v1 import admission_pb2 as pb

HEALTH = health_pb2.HealthCheckResponse


class LateCall:
    """An Admit call that is in flight as long as its request is not sent."""

    def __init__(self, server):
        self._request = queue.SimpleQueue()
        call = server.channel.stream_unary(
            "/admittance.v1.Admission/Admit",
            request_serializer=pb.AdmitRequest.SerializeToString,
            response_deserializer=pb.AdmitResponse.FromString,
        )
        self._answer = call.future(iter(self._request.get, None), timeout=30)
        served_after_it = pb.AdmitRequest(policy="demo/hello", mode=pb.MODE_PEEK)
        server.stub.Admit(served_after_it, timeout=10)

    def finish(self):
        """Send the request and return the answer."""
        self._request.put(pb.AdmitRequest(policy="demo/hello"))
        self._request.put(None)
        return self._answer.result(timeout=30)


def admit_all(server):
    return server.stub.Admit(pb.AdmitRequest(policy="demo/all"), timeout=10)


def report(server, permit, outcome):
    return server.stub.Report(pb.ReportRequest(permit=permit, outcome=outcome), timeout=10).result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_exits_0_when_told_to_stop(served, number):
    assert served.stop(number) == 0


def test_call_in_flight_is_answered_when_the_server_drains(served):
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == HEALTH.SERVING
    late = LateCall(served)
    served.send(signal.SIGTERM)
    assert next(watch).status == HEALTH.NOT_SERVING
    assert served.get("/readyz")[::2] == (503, "draining\n")
    assert served.get("/healthz")[0] == 200
    assert late.finish().decision == pb.DECISION_ADMITTED
    watch.cancel()
    assert served.wait() == 0


def test_call_in_flight_is_cancelled_when_the_grace_ends(start):
    server = start("--grace", "0.05")
    late = LateCall(server)
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    with pytest.raises(grpc.RpcError):
        late.finish()


def test_second_signal_ends_the_drain_when_a_call_is_in_flight(start):
    server = start("--grace", "3600")
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == HEALTH.SERVING
    server.send(signal.SIGTERM)
    assert next(watch).status == HEALTH.NOT_SERVING
    server.send(signal.SIGINT)
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_forgotten_when_the_server_is_ended_and_started_again(start, number):
    first = start()
    for outcome in (pb.OUTCOME_FAILURE, pb.OUTCOME_SUCCESS, pb.OUTCOME_IGNORED):
        report(first, admit_all(first).permit, outcome)
    held = [admit_all(first).permit for _ in range(3)]
    for _ in range(10):
        permit = first.stub.Admit(pb.AdmitRequest(policy="demo/circuit"), timeout=10).permit
        report(first, permit, pb.OUTCOME_FAILURE)
    before = first.metrics()
    first.stop(number)

    second = start()
    after = second.metrics()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= {("admittance_arena_heap_bytes",)}
    assert before["circuit_breaker_state", "demo", "circuit"] == 2
    assert before["admittance_permits_in_use", "demo", "all"] == 3
    assert admit_all(second).remaining == 93
    refusal = second.stub.Admit(pb.AdmitRequest(policy="demo/circuit"), timeout=10)
    assert refusal.reason == pb.REASON_CIRCUIT_OPEN
    assert report(second, held[0], pb.OUTCOME_SUCCESS) == pb.REPORT_RESULT_SETTLED


def test_window_goes_on_counting_when_the_server_was_killed_between(start):
    servers = (start() for _ in itertools.count())
    first = next(servers)
    for _ in range(9):
        permit = first.stub.Admit(pb.AdmitRequest(policy="demo/circuit"), timeout=10).permit
        report(first, permit, pb.OUTCOME_FAILURE)
    first.stop(signal.SIGKILL)
    second = next(servers)
    request = pb.AdmitRequest(policy="demo/circuit")
    permit = second.stub.Admit(request, timeout=10).permit
    assert permit
    report(second, permit, pb.OUTCOME_FAILURE)
    assert second.stub.Admit(request, timeout=10).reason == pb.REASON_CIRCUIT_OPEN


def test_permit_of_a_killed_server_expires_when_its_hold_ends(start):
    first = start()
    request = pb.AdmitRequest(policy="demo/pool", hold_ms=200)
    assert all(first.stub.Admit(request, timeout=10).permit for _ in range(2))
    first.stop(signal.SIGKILL)
    second = start()
    while not second.stub.Admit(request, timeout=10).permit:
        pass
