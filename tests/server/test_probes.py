"""Health over gRPC, probes and metrics over HTTP."""

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.openmetrics import parser

from server.pb.admittance.v1 import admission_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", ["", "admittance.v1.Admission"])
def test_health_is_serving_when_started(served, service):
    stub = health_pb2_grpc.HealthStub(served.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == SERVING


def test_probes_are_well_when_started(served):
    assert served.get("/healthz")[::2] == (200, "alive\n")
    assert served.get("/readyz")[::2] == (200, "ready\n")
    assert "/metrics" in served.get("/")[2]
    assert served.get("/nothing")[0] == 404


def test_metrics_count_what_was_decided(served):
    for _ in range(7):
        served.stub.Admit(pb.AdmitRequest(policy="demo/hello"), timeout=10)
    permit = served.stub.Admit(pb.AdmitRequest(policy="demo/all"), timeout=10).permit
    assert served.stub.Admit(pb.AdmitRequest(policy="demo/circuit"), timeout=10).permit
    metrics = served.metrics()
    decided = "admittance_decisions_total"
    assert metrics[decided, "demo", "hello", "admitted", ""] == 5
    assert metrics[decided, "demo", "hello", "refused", "rate_limited"] == 2
    assert metrics["admittance_tokens_remaining", "demo", "hello"] == 0
    assert metrics["admittance_permits_in_use", "demo", "all"] == 1
    assert metrics["admittance_permits_limit", "demo", "all"] == 8
    assert metrics["circuit_breaker_state", "demo", "all"] == 0
    assert metrics["admittance_remote_permits",] == 2
    assert metrics["admittance_arena_owners",] == 1
    assert metrics["admittance_config_version",] >= 1
    assert 0 < metrics["admittance_arena_heap_bytes",] < metrics["admittance_arena_heap_bytes_max",]
    request = pb.ReportRequest(permit=permit, outcome=pb.OUTCOME_FAILURE, duration_us=250_000)
    served.stub.Report(request, timeout=10)
    metrics = served.metrics()
    assert metrics["admittance_outcomes_total", "demo", "all", "failure"] == 1
    assert metrics["admittance_call_duration_seconds_count", "demo", "all"] == 1
    assert metrics["admittance_call_duration_seconds_sum", "demo", "all"] == 0.25
    assert metrics["admittance_call_duration_seconds_bucket", "demo", "all", "0.134217728"] == 0
    assert metrics["admittance_call_duration_seconds_bucket", "demo", "all", "0.268435456"] == 1
    assert metrics["admittance_call_duration_seconds_bucket", "demo", "all", "+Inf"] == 1
    assert metrics["admittance_untimed_policies",] == 0
    assert metrics["admittance_permits_in_use", "demo", "all"] == 0


def test_metrics_are_openmetrics_when_asked_for(served):
    _, kind, text = served.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert {"circuit_breaker_state", "admittance_decisions", "admittance_config_version"} <= names
    assert "admittance_call_duration_seconds" in names


def test_metrics_are_plain_text_when_nothing_is_asked_for(served):
    assert served.get("/metrics")[1].startswith("text/plain; version=")
