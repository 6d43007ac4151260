"""The circuit breaker: when it opens, whom it lets through, when it closes."""

from typing import Any

import pytest

from engine import ArenaError, CircuitBreaker, Engine, Policy, rules
from engine.runtime import BreakerSnapshot
from engine.testing import ManualClock

TICK_S = 2**24 / 1e9


def make(engine: Engine, **parameters: Any) -> Policy:
    usual = {"window": 10, "min_calls": 4, "open_for": 10.0, "jitter": 0, "probes": 3}
    chosen = usual | {"open_backoff": 1} | parameters
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


@pytest.mark.parametrize("wrap_s", [2**32 * TICK_S, 2**32 / 1e3, 2**37 / 1e3, 2**38 / 1e3])
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
        window=10,
        min_calls=2,
        open_for=1,
        jitter=0,
        probes=2,
        probe_success_rate=1.0,
        engine=private,
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


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [("ff", "closed"), ("ffsff", "closed"), ("fifif", "open"), ("ssfff", "open"), ("fff", "open")],
)
def test_failures_in_a_row_open_the_circuit(private: Engine, outcomes: str, state: str) -> None:
    record(make(private, consecutive=3), outcomes)
    assert look(private).state == state


def test_success_resets_the_failures_in_a_row(private: Engine) -> None:
    circuit = make(private, consecutive=3)
    record(circuit, "ff")
    assert (look(private).calls, look(private).failures) == (2, 2)
    record(circuit, "s")
    assert (look(private).calls, look(private).failures) == (0, 0)


def test_window_by_time_forgets_what_is_older(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, window="10s", min_calls=3)
    record(circuit, "ff")
    clock.advance(9.999)
    assert look(private).failures == 2
    clock.advance(0.001)
    assert look(private).failures == 0
    record(circuit, "f")
    assert (look(private).state, look(private).calls) == ("closed", 1)


def test_window_by_time_opens_when_enough_failed_in_it(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, window="10s", min_calls=4)
    for outcome in "sfsf":
        assert look(private).state == "closed"
        record(circuit, outcome)
        clock.advance(1)
    assert look(private).state == "open"


def test_success_that_completes_min_calls_opens_a_window_by_time(private: Engine) -> None:
    record(make(private, window="1s", min_calls=4), "fffs")
    assert look(private).state == "open"


def test_window_by_time_counts_each_bucket_exactly(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, window="1s", failure_rate=1.0)
    expected = []
    for turn in range(35):
        record(circuit, "s" + "f" * (turn % 4) + "i")
        expected.append((1 + turn % 4, turn % 4))
        seen = look(private)
        assert (seen.calls, seen.failures) == tuple(map(sum, zip(*expected[-10:], strict=True)))
        clock.advance(0.1)


def test_window_by_time_is_empty_when_the_circuit_closes_again(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, window="1h", min_calls=2, open_for=0.01, probes=1)
    record(circuit, "ff")
    clock.advance(0.01)
    record(circuit, "s")
    assert (look(private).state, look(private).calls) == ("closed", 0)


def test_clock_that_goes_back_leaves_a_window_by_time_working(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, window="10s", min_calls=4)
    record(circuit, "ff")
    clock.advance(-500)
    assert look(private).calls == 0
    record(circuit, "ffff")
    assert look(private).state == "open"


@pytest.mark.parametrize("window", [10, "10s"])
@pytest.mark.parametrize(("took_s", "slow"), [(1.0, 0), (1.001, 4)])
def test_slow_calls_open_the_circuit_though_they_succeed(
    private: Engine, clock: ManualClock, window: int | str, took_s: float, slow: int
) -> None:
    circuit = make(private, window=window, slow_after=1, slow_rate=1.0)
    permits = [circuit.try_acquire() for _ in range(4)]
    clock.advance(took_s)
    for permit in permits[:3]:
        permit.success()
    assert (look(private).state, look(private).slow) == ("closed", slow and 3)
    permits[3].success()
    assert look(private).state == ("open" if slow else "closed")


def test_slow_probe_has_failed(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, slow_after=1, probes=1)
    trip(circuit, clock)
    probe = circuit.try_acquire()
    clock.advance(1.5)
    assert probe.success()
    assert look(private).state == "open"


def test_primitive_counts_slow_calls(private: Engine) -> None:
    circuit = CircuitBreaker(min_calls=2, slow_after=1, slow_rate=1.0, engine=private)
    assert circuit.record(True, 1.5)
    assert circuit.state == "closed"
    assert circuit.record(True, 1.5)
    assert circuit.state == "open"


def test_rest_grows_until_the_circuit_recovers(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, open_backoff=2, open_for_max=50, probes=1)
    record(circuit, "ffff")
    for rest_s in (10, 20, 40, 50, 50):
        assert look(private).retry_after == rest_s
        clock.advance(rest_s)
        record(circuit, "f")
    clock.advance(50)
    record(circuit, "sffff")
    assert look(private).retry_after == 10


def test_rest_grows_when_the_circuit_opens_while_it_recovers(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, consecutive=1, open_backoff=3, probes=1, recovery_ramp=20)
    record(circuit, "f")
    for rest_s in (10, 30, 90):
        assert look(private).retry_after == rest_s
        clock.advance(rest_s)
        record(circuit, "sf")
    clock.advance(270)
    record(circuit, "s")
    clock.advance(20)
    record(circuit, "f")
    assert look(private).retry_after == 10


def test_jitter_differs_from_rest_to_rest_and_stays_within_its_share(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, jitter=0.1, probes=1)
    record(circuit, "ffff")
    rests = []
    for _ in range(200):
        rests.append(look(private).retry_after)
        clock.advance(rests[-1])
        record(circuit, "f")
    assert all(9 <= rest <= 11 for rest in rests)
    assert min(rests) < 9.1
    assert max(rests) > 10.9
    assert len(set(rests)) > 150


def test_recovering_circuit_admits_a_growing_share(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=1, recovery_ramp=10)
    trip(circuit, clock)
    record(circuit, "s")
    assert look(private).state == "recovering"
    shares = []
    for _ in range(3):
        shares.append(sum(bool(circuit.try_acquire()) for _ in range(200)))
        clock.advance(5)
    assert shares == [10, 50, 200]
    assert (look(private).state, look(private).generation) == ("closed", 3)


def test_recovering_circuit_says_when_to_ask_again(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=1, recovery_ramp=10)
    trip(circuit, clock)
    record(circuit, "s")
    assert circuit.try_acquire()
    refusal = circuit.try_acquire()
    assert (refusal.reason, refusal.retry_after) == ("circuit_open", 0.1)


def test_report_counts_when_the_ramp_ended_meanwhile(private: Engine, clock: ManualClock) -> None:
    circuit = make(private, probes=1, recovery_ramp=10)
    trip(circuit, clock)
    record(circuit, "s")
    permit = circuit.try_acquire()
    clock.advance(10)
    assert permit.failure()
    assert (look(private).state, look(private).failures) == ("closed", 1)


def test_forced_open_circuit_refuses_until_its_time_is_over(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private, probes=1)
    circuit.force_open("1min")
    assert look(private).state == "forced_open"
    assert circuit.try_acquire().retry_after == 60
    clock.advance(59.999)
    assert not circuit.try_acquire()
    clock.advance(0.001)
    assert look(private).state == "open"
    record(circuit, "s")
    assert look(private).state == "closed"
    assert look(private).opened == 0


def test_forced_closed_circuit_lets_everybody_pass_until_its_time_is_over(
    private: Engine, clock: ManualClock
) -> None:
    circuit = make(private)
    trip(circuit, clock)
    circuit.force_closed(60)
    record(circuit, "f" * 20)
    assert (look(private).state, look(private).failures) == ("forced_closed", 10)
    clock.advance(60)
    assert look(private).state == "closed"
    record(circuit, "f")
    assert look(private).state == "open"


@pytest.mark.parametrize("state", ["closed", "open", "half_open", "recovering"])
def test_force_outranks_every_state(private: Engine, clock: ManualClock, state: str) -> None:
    circuit = make(private, recovery_ramp=10, probe_success_rate=0.1)
    old = circuit.try_acquire()
    if state != "closed":
        record(circuit, "ffff")
    if state in ("half_open", "recovering"):
        clock.advance(10)
        record(circuit, {"half_open": "i", "recovering": "s"}[state])
    assert look(private).state == state
    circuit.force_open(60)
    assert not circuit.try_acquire()
    assert not old.failure()
    circuit.force_closed(60)
    assert all(circuit.try_acquire() for _ in range(20))
    assert circuit.unforce()
    assert look(private).state == "closed"
    assert not circuit.unforce()


def test_unforce_lets_probes_through_a_circuit_that_was_forced_open(private: Engine) -> None:
    circuit = make(private)
    circuit.force_open(60)
    assert circuit.unforce()
    assert look(private).state == "half_open"
    verdicts = [circuit.try_acquire() for _ in range(4)]
    assert [bool(verdict) for verdict in verdicts] == [True] * 3 + [False]


def test_force_is_refused_when_the_policy_has_no_breaker(private: Engine) -> None:
    policy = Policy("rate/only", rules.RateLimit("1/s"), engine=private)
    with pytest.raises(ArenaError, match="circuit breaker"):
        policy.force_open(60)
