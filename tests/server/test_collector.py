"""The collector of engine.metrics, without a server."""

import math
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine import Engine, Policy, rules
from engine.core.breaker import STATES
from engine.metrics import CIRCUIT_STATES, EngineCollector, split_name
from engine.testing import ManualClock

HIDE = "import sys; sys.modules['prometheus_client'] = None\nimport engine.metrics"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("payments/charge", ("payments", "charge")),
        ("payments/v1/charge", ("payments", "v1/charge")),
        ("payments", ("payments", "")),
    ],
)
def test_name_splits_at_its_first_slash(name, parts):
    assert split_name(name) == parts


def test_every_state_of_a_circuit_has_its_number():
    assert CIRCUIT_STATES.keys() == set(STATES)
    assert CIRCUIT_STATES["forced_open"] == CIRCUIT_STATES["open"] == 2
    assert CIRCUIT_STATES["forced_closed"] == CIRCUIT_STATES["closed"] == 0


def test_import_names_the_command_when_the_extra_is_missing():
    done = subprocess.run([sys.executable, "-c", HIDE], capture_output=True, text=True, check=False)
    said = "engine.metrics needs prometheus_client: pip install 'admittance[metrics]'"
    assert done.stderr.splitlines()[-1] == f"ImportError: {said}"


def scraped(engine):
    """Every sample by its name, with its labels but for service and operation."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_durations_are_a_histogram_that_adds_up():
    clock = ManualClock()
    with Engine(clock=clock) as engine:
        pool = Policy("pool/timed", rules.Bulkhead(1), engine=engine)
        durations_ns = [1, 2**16, 2**16 + 1, 2**20, 3 * 2**19, 2**36, 2**36 + 1]
        for duration_ns in durations_ns:
            permit = pool.try_acquire()
            clock.advance(duration_ns / 1e9)
            permit.success()
        samples = scraped(engine)
    name = "admittance_call_duration_seconds"
    buckets = {float(labels["le"]): value for labels, value in samples[f"{name}_bucket"]}
    assert list(buckets) == [*(2**power / 1e9 for power in range(16, 37)), math.inf]
    for bound, value in buckets.items():
        assert value == sum(duration_ns / 1e9 <= bound for duration_ns in durations_ns)
    assert samples[f"{name}_count"][0][1] == buckets[math.inf] == len(durations_ns)
    assert samples[f"{name}_sum"][0][1] == sum(durations_ns) / 1e9


def test_durations_are_of_policies_whose_calls_are_reported():
    with Engine() as engine:
        Policy("rate/only", rules.RateLimit("1/s"), engine=engine)
        Policy("pool/unused", rules.Bulkhead(1), engine=engine)
        samples = scraped(engine)
    counts = samples["admittance_call_duration_seconds_count"]
    assert counts == [({"service": "pool", "operation": "unused"}, 0.0)]


def test_policies_that_found_no_room_are_counted():
    with Engine(arena_size=4 << 20) as engine:
        for number in range(300):
            Policy(f"pool/{number}", rules.Bulkhead(1), engine=engine).try_acquire().success()
        untimed = sum(not one.latency.complete for one in engine.snapshot().policies)
        assert scraped(engine)["admittance_untimed_policies"] == [({}, untimed)]
        assert untimed > 0
