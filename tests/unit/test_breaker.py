"""The circuit breaker: when it opens, whom it lets through, when it closes."""

from typing import Any

import pytest

from engine import CircuitBreaker, Engine, Policy, rules
from engine.runtime import BreakerSnapshot
from engine.testing import ManualClock

TICK_S = 2**24 / 1e9


def make(engine: Engine, **parameters: Any) -> Policy:
    chosen = {"window": 10, "min_calls": 4, "open_for": 10.0, "probes": 3} | parameters
    return Policy("circuit/one", rules.Breaker(**chosen), engine=engine)


def record(circuit: Policy, outcomes: str) -> None:
    """Make one call for each letter: s succeeds, f fails, i is ignored."""
    for letter in outcomes:
        permit = circuit.try_acquire()
        assert permit, f"refused within {outcomes}"
        {"s": permit.success, "f": permit.failure, "i": permit.ignore}[letter]()


def trip(circuit: Policy, clock: ManualClock) -> None:
    """Open the circuit and let its rest pass."""
    record(circuit, "ffff")
    clock.advance(10)


def look(engine: Engine) -> BreakerSnapshot:
    return engine.snapshot().policies[0].breaker


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("fff", "closed"),
        ("ffff", "open"),
        ("fffs", "open"),
        ("ssff", "open"),
        ("sssf", "closed"),
        ("sssffs", "closed"),
        ("sssfff", "open"),
        ("fiiiiif", "closed"),
        ("ffiff", "open"),
        ("ssssssssssfffff", "open"),
        ("ssssssssssffff", "closed"),
    ],
)
def test_circuit_opens_when_enough_of_enough_calls_failed(
    private: Engine, outcomes: str, state: str
) -> None:
    record(make(private), outcomes)
    assert look(private).state == state


def test_failures_leave_the_window_when_newer_calls_push_them_out(private: Engine) -> None:
    circuit = make(private)
    record(circuit, "sssffs" + "s" * 10)
    snapshot = look(private)
    assert (snapshot.calls, snapshot.failures) == (10, 0)


@pytest.mark.parametrize("window", [1, 13, 14, 15, 27, 28, 29, 100, 10_000])
def test_window_holds_exactly_its_last_calls(private: Engine, window: int) -> None:
    circuit = make(private, window=window, min_calls=window, failure_rate=1.0)
    record(circuit, "f" * (window - 1) + "s" + "f" * (window - 1))
    snapshot = look(private)
    assert (snapshot.state, snapshot.calls, snapshot.failures) == ("closed", window, window - 1)
    record(circuit, "f")
    assert look(private).state == "open"


def test_open_circuit_refuses_and_says_for_how_long(private: Engine, clock: ManualClock) -> None:
    circuit = make(private)
    record(circuit, "ffff")
    clock.advance(4)
    refusal = circuit.try_acquire()
    assert (refusal.reason, refusal.rule) == ("circuit_open", "breaker")
    assert refusal.retry_after == 6.0
    snapshot = look(private)
    assert (snapshot.generation, snapshot.opened, snapshot.retry_after) == (1, 1, 6.0)


def test_circuit_rests_to_the_end(private: Engine, clock: ManualClock) -> None:
    circuit = make(private)
    record(circuit, "ffff")
    clock.advance(9.999)
    assert not circuit.try_acquire()
    clock.advance(0.001)
    assert circuit.try_acquire()


def test_half_open_circuit_admits_its_probes_and_no_more(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private)
    trip(circuit, clock)
    verdicts = [circuit.try_acquire() for _ in range(20)]
    assert [bool(verdict) for verdict in verdicts] == [True] * 3 + [False] * 17
    assert (verdicts[-1].reason, verdicts[-1].retry_after) == ("circuit_open", 0.1)
    assert (look(private).state, look(private).generation) == ("half_open", 2)


def test_settled_probes_make_no_room_for_others(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=5, probe_success_rate=0.6)
    trip(circuit, clock)
    record(circuit, "fsfs")
    last = circuit.try_acquire()
    assert last
    assert not circuit.try_acquire()
    assert last.success()
    assert look(private).state == "closed"


def test_ignored_probe_makes_room_for_another(private: Engine, clock: ManualClock) -> None:
    circuit = make(private)
    trip(circuit, clock)
    record(circuit, "iiiiiiii")
    assert look(private).state == "half_open"
    verdicts = [circuit.try_acquire() for _ in range(4)]
    assert [bool(verdict) for verdict in verdicts] == [True, True, True, False]


def test_dropped_probe_makes_room_for_another(private: Engine, clock: ManualClock) -> None:
    circuit = make(private)
    trip(circuit, clock)
    for _ in range(10):
        assert circuit.try_acquire()
    assert look(private).state == "half_open"


@pytest.mark.parametrize(
    ("probes", "share", "outcomes", "state"),
    [
        (5, 0.8, "sss", "half_open"),
        (5, 0.8, "ssss", "closed"),
        (5, 0.8, "fss", "half_open"),
        (5, 0.8, "fssss", "closed"),
        (5, 0.8, "ff", "open"),
        (5, 0.8, "ssff", "open"),
        (1, 0.8, "s", "closed"),
        (1, 0.8, "f", "open"),
        (3, 0.5, "s", "half_open"),
        (3, 0.5, "ss", "closed"),
        (3, 0.5, "f", "half_open"),
        (3, 0.5, "ff", "open"),
        (100, 0.01, "f" * 99, "half_open"),
        (100, 0.01, "f" * 99 + "s", "closed"),
        (100, 0.01, "f" * 100, "open"),
    ],
)
def test_probes_decide_as_soon_as_they_can(
    private: Engine, clock: ManualClock, probes: int, share: float, outcomes: str, state: str
) -> None:
    circuit = make(private, probes=probes, probe_success_rate=share)
    trip(circuit, clock)
    record(circuit, outcomes)
    assert look(private).state == state


def test_circuit_closes_with_an_empty_window(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probe_success_rate=1.0)
    trip(circuit, clock)
    record(circuit, "sss")
    snapshot = look(private)
    assert (snapshot.state, snapshot.generation) == ("closed", 3)
    assert (snapshot.calls, snapshot.failures) == (0, 0)
    record(circuit, "fff")
    assert look(private).state == "closed"
    record(circuit, "f")
    assert look(private).state == "open"


def test_reopened_circuit_rests_again(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=1)
    trip(circuit, clock)
    record(circuit, "f")
    assert circuit.try_acquire().retry_after == 10.0
    assert (look(private).generation, look(private).opened) == (3, 2)


def test_expired_probe_has_failed(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probe_timeout=1.0)
    trip(circuit, clock)
    late = [circuit.try_acquire() for _ in range(3)]
    clock.advance(0.999)
    assert not circuit.try_acquire()
    assert look(private).state == "half_open"
    clock.advance(0.001 + TICK_S)
    assert not circuit.try_acquire()
    assert (look(private).state, look(private).opened) == ("open", 2)
    assert [permit.success() for permit in late] == [False] * 3


def test_late_probe_has_failed_when_nobody_asked_meanwhile(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, probes=1, probe_timeout=1.0)
    trip(circuit, clock)
    probe = circuit.try_acquire()
    clock.advance(1 + TICK_S)
    assert not probe.success()
    assert look(private).state == "open"


@pytest.mark.parametrize("outcome", ["success", "failure", "ignore"])
def test_report_is_void_when_the_circuit_moved_on(
    private: Engine, clock: ManualClock, outcome: str
) -> None:
    circuit = make(private)
    old = circuit.try_acquire()
    trip(circuit, clock)
    assert not getattr(old, outcome)()
    snapshot = private.snapshot().policies[0]
    assert (snapshot.void, snapshot.breaker.state) == (1, "open")


def test_old_success_closes_no_newer_circuit(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=1)
    trip(circuit, clock)
    first = circuit.try_acquire()
    first.ignore()
    second = circuit.try_acquire()
    assert not first.success()
    assert look(private).state == "half_open"
    assert second.success()
    assert look(private).state == "closed"


def test_clock_that_goes_back_opens_nothing_early(private: Engine, clock: ManualClock) -> None:
    circuit = make(private)
    record(circuit, "ffff")
    clock.advance(-500)
    assert not circuit.try_acquire()
    clock.advance(509.999)
    assert not circuit.try_acquire()
    clock.advance(0.001)
    assert circuit.try_acquire()


@pytest.mark.parametrize("wrap_s", [2**32 * TICK_S, 2**32 / 1e3, 2**38 / 1e3])
def test_circuit_rests_when_a_clock_field_wraps_meanwhile(wrap_s: float) -> None:
    clock = ManualClock(wrap_s - 5)
    with Engine(clock=clock) as engine:
        circuit = make(engine)
        record(circuit, "ffff")
        assert circuit.try_acquire().retry_after == pytest.approx(10, abs=0.01)
        clock.advance(9.99)
        assert not circuit.try_acquire()
        clock.advance(0.02)
        assert circuit.try_acquire()


def test_primitive_opens_and_recovers(private: Engine, clock: ManualClock) -> None:
    circuit = CircuitBreaker(
        window=10, min_calls=2, open_for=1, probes=2, probe_success_rate=1.0, engine=private
    )
    assert circuit.state == "closed"
    for _ in range(2):
        assert circuit.try_acquire()
        assert circuit.record(ok=False, duration=0.01)
    assert circuit.state == "open"
    assert not circuit.try_acquire()
    clock.advance(1)
    assert [circuit.try_acquire() for _ in range(3)] == [True, True, False]
    assert circuit.state == "half_open"
    assert circuit.record(True)
    assert circuit.ignore()
    assert circuit.state == "half_open"
    assert circuit.try_acquire()
    assert circuit.record(True, 0.01)
    assert circuit.state == "closed"


def test_primitive_says_void_when_it_reports_to_an_open_circuit(private: Engine) -> None:
    circuit = CircuitBreaker(window=10, min_calls=1, engine=private)
    assert circuit.record(False)
    assert circuit.state == "open"
    assert not circuit.record(True)
    assert circuit.state == "open"
