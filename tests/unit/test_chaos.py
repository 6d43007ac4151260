"""Chaos experiments: the same calls are harmed in every run, and every run ends."""

from collections.abc import Callable
from typing import Any

import pytest

import engine
from engine import Engine, Policy, config, rules
from engine.core import wire
from engine.testing import ManualClock
from server.pb.admittance.v1 import admission_pb2 as pb


@pytest.fixture
def lab(open_engine: Callable[..., Engine], clock: ManualClock) -> Engine:
    return open_engine(clock=clock, chaos=True)


def trial(eng: Engine, *more: rules.Rule, name: str = "api/get", **parameters: Any) -> Policy:
    usual = {"probability": 1.0, "ttl": 60, "impact": "abort"}
    return Policy(name, rules.Chaos(**usual | parameters), *more, engine=eng)


def seen(eng: Engine) -> Any:
    return eng.snapshot().policies[0].chaos


def pattern(policy: Policy, count: int = 400) -> list[bool]:
    return [bool(policy.try_acquire()) for _ in range(count)]


def test_abort_refuses_and_takes_nothing(lab: Engine) -> None:
    limits = (rules.Bulkhead(1), rules.RateLimit("1/day", burst=3), rules.RetryBudget())
    policy = trial(lab, *limits)
    for attempt in (1, 2):
        refusal = policy.try_acquire(attempt=attempt)
        assert (refusal.reason, refusal.rule) == ("chaos", "chaos")
    with pytest.raises(engine.ChaosInjected):
        policy.acquire_or_raise()
    found = lab.snapshot().policies[0]
    assert (found.bulkhead.in_use, found.rate_limit.remaining) == (0, 3)
    assert found.retry_budget.remaining == 3
    assert (found.chaos.injected, found.refused) == (3, {"chaos": 3})


def test_calls_that_another_rule_refuses_are_neither_harmed_nor_numbered(lab: Engine) -> None:
    policy = trial(lab, rules.RateLimit("1/day", burst=1), impact="error")
    assert policy.try_acquire().inject
    assert policy.try_acquire().reason == "rate_limited"
    assert (seen(lab).asked, seen(lab).injected) == (1, 1)


def test_share_of_harmed_calls_is_the_probability(lab: Engine) -> None:
    harmed = pattern(trial(lab, probability=0.3), 2_000).count(False)
    assert 480 < harmed < 720, "a fixed draw, six standard deviations"


def test_same_calls_are_harmed_in_every_run_and_arena(
    lab: Engine, open_engine: Callable[..., Engine]
) -> None:
    policy = trial(lab, probability=0.5, seed=7)
    first = pattern(policy)
    policy.start_chaos(60)
    assert pattern(policy) == first
    assert pattern(trial(open_engine(chaos=True), probability=0.5, seed=7)) == first
    assert pattern(trial(open_engine(chaos=True), probability=0.5, seed=8)) != first


def test_delay_varies_and_repeats(lab: Engine) -> None:
    policy = trial(lab, impact="latency", delay=0.2, variance=0.05)
    first = [policy.try_acquire().inject.delay for _ in range(200)]
    assert all(0.15 <= delay <= 0.25 for delay in first)
    assert max(first) - min(first) > 0.08
    policy.start_chaos(60)
    assert [policy.try_acquire().inject.delay for _ in range(200)] == first


def test_error_says_its_status(lab: Engine) -> None:
    permit = trial(lab, impact="error", status=4).try_acquire()
    assert permit.inject == ("error", 0.0, 4)
    assert permit.success(), "there is nothing to report, and so nothing void"


def test_permit_of_an_unharmed_call_says_nothing(lab: Engine) -> None:
    assert trial(lab, keys=0).try_acquire().inject is None
    assert Policy("api/list", rules.Bulkhead(1), engine=lab).try_acquire().inject is None


def test_hang_lasts_as_long_as_the_deadline_and_no_longer_than_the_delay(lab: Engine) -> None:
    policy = trial(lab, impact="hang", delay=30)
    assert policy.try_acquire().inject == ("hang", 30.0, 0)
    assert policy.try_acquire(deadline=2.5).inject == ("hang", 2.5, 0)
    assert policy.try_acquire(deadline=90).inject.delay == 30.0


def test_experiment_ends_by_itself(lab: Engine, clock: ManualClock) -> None:
    policy = trial(lab, ttl="10s")
    assert not policy.try_acquire()
    clock.advance(10 - 0.001)
    assert not policy.try_acquire()
    assert seen(lab).left == pytest.approx(0.001)
    clock.advance(0.001)
    assert seen(lab).state == "stopped"
    assert policy.try_acquire()
    assert [event.what for event in lab.journal()] == [
        *("chaos_started", "configured", "chaos_stopped"),
    ]


def test_experiment_goes_on_when_it_is_bound_again_and_begins_anew_when_it_is_changed(
    lab: Engine, clock: ManualClock
) -> None:
    trial(lab, ttl=10)
    clock.advance(6)
    trial(lab, ttl=10)
    assert (seen(lab).run, seen(lab).left) == (1, 4.0)
    trial(lab, ttl=10, seed=1)
    assert (seen(lab).run, seen(lab).left) == (2, 10.0)


def test_experiment_ends_when_its_rule_is_taken_out_of_force(lab: Engine) -> None:
    trial(lab, rules.Bulkhead(1))
    policy = Policy("api/get", rules.Bulkhead(1), engine=lab)
    assert policy.try_acquire()
    assert [event.what for event in lab.journal()][-2:] == ["chaos_stopped", "configured"]


def test_operator_stops_and_starts_it(lab: Engine) -> None:
    policy = trial(lab)
    assert policy.stop_chaos()
    assert policy.try_acquire()
    assert not policy.stop_chaos()
    policy.start_chaos("1min")
    assert not policy.try_acquire()
    with pytest.raises(ValueError, match="ttl"):
        policy.start_chaos(0)
    with pytest.raises(engine.ArenaError, match="no experiment"):
        Policy("api/list", rules.Bulkhead(1), engine=lab).stop_chaos()


def test_experiment_stops_itself_when_the_breaker_opens(lab: Engine, clock: ManualClock) -> None:
    circuit = rules.Breaker(window=4, min_calls=2, open_for=1, jitter=0, probes=1)
    policy = trial(lab, circuit, impact="error")
    for permit in [policy.try_acquire() for _ in range(2)]:
        assert permit.inject
        permit.failure()
    assert policy.try_acquire().reason == "circuit_open"
    assert seen(lab).state == "stopped"
    clock.advance(1)
    assert policy.try_acquire().inject is None


def test_probe_is_not_harmed_when_nobody_asked_while_the_circuit_was_open(
    lab: Engine, clock: ManualClock
) -> None:
    circuit = rules.Breaker(window=4, min_calls=2, open_for=1, jitter=0, probes=1)
    policy = trial(lab, circuit)
    Policy("api/get", circuit, engine=lab)
    for permit in [policy.try_acquire() for _ in range(2)]:
        permit.failure()
    policy = trial(lab, circuit)
    clock.advance(1)
    assert policy.try_acquire()
    assert seen(lab).state == "stopped"


def test_keys_are_always_the_same_ones(lab: Engine) -> None:
    policy = trial(lab, keys=30)
    keys = [f"user-{number}" for number in range(500)]
    harmed = {key for key in keys if not policy.try_acquire(key=key)}
    assert 100 < len(harmed) < 200
    assert harmed == {key for key in keys if not policy.try_acquire(key=key)}
    assert policy.try_acquire(), "a call without a key is in the whole alone"


def test_at_most_so_many_delays_are_under_way(lab: Engine, clock: ManualClock) -> None:
    policy = trial(lab, impact="latency", delay=2, max_active=3)
    assert [bool(policy.try_acquire().inject) for _ in range(5)] == [*[True] * 3, False, False]
    clock.advance(2.02)
    assert [bool(policy.try_acquire().inject) for _ in range(5)] == [*[True] * 3, False, False]
    assert seen(lab).injected == 6


@pytest.mark.parametrize("how", [{"dry_run": True}, {"mode": "shadow"}])
def test_dry_run_counts_whom_it_would_harm(lab: Engine, how: dict[str, Any]) -> None:
    policy = trial(lab, probability=0.5, **how)
    assert all(pattern(policy))
    assert 150 < seen(lab).spared < 250
    assert seen(lab).injected == 0


def test_looking_is_neither_harmed_for_good_nor_numbered(lab: Engine) -> None:
    policy = trial(lab, rules.RateLimit("1/day", burst=2), probability=0.5)
    look = pb.AdmitRequest(policy="api/get", mode=pb.MODE_PEEK).SerializeToString()
    for _ in range(20):
        before = lab.snapshot().policies
        answer = pb.AdmitResponse.FromString(wire.admit(lab.arena, look))
        assert lab.snapshot().policies == before
        verdict = policy.try_acquire()
        assert (answer.decision == pb.DECISION_ADMITTED) == bool(verdict)


def test_remote_caller_is_told_what_to_suffer(lab: Engine) -> None:
    trial(lab, impact="latency", delay=0.25)
    trial(lab, impact="error", name="api/list")
    asked = [pb.AdmitRequest(policy=name).SerializeToString() for name in ("api/get", "api/list")]
    slow, broken = (pb.AdmitResponse.FromString(wire.admit(lab.arena, one)) for one in asked)
    assert (slow.decision, slow.inject) == (pb.DECISION_ADMITTED, pb.Injection(delay_ms=250))
    assert broken.inject == pb.Injection(grpc_status=14)


def test_experiment_needs_to_be_allowed(
    private: Engine, open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="ENGINE_CHAOS=1"):
        trial(private)
    assert private.names() == []
    monkeypatch.setenv("ENGINE_CHAOS", "1")
    assert not trial(open_engine()).try_acquire()


def test_file_needs_chaos_to_be_allowed(open_engine: Callable[..., Engine]) -> None:
    table = '[policies."a/b".chaos]\nprobability = 0.5\nttl = "1min"\nimpact = "abort"\n'
    with pytest.raises(engine.ConfigError, match="chaos: is an experiment, which needs chaos ="):
        config.parse(table)
    with pytest.raises(engine.ConfigError, match="chaos = 1: must be a boolean"):
        config.parse(f"chaos = 1\n{table}")
    policies = config.parse(f"chaos = true\n{table}")
    assert open_engine(policies=policies).policy("a/b")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"impact": "latency"}, "needs a delay"),
        ({"impact": "abort", "delay": 1}, "are of latency and hang"),
        ({"impact": "error", "max_active": 1}, "are of latency and hang"),
        ({"impact": "latency", "delay": 1, "variance": 2}, "variance"),
        ({"impact": "hang", "delay": 1, "variance": 0.5}, "variance"),
        ({"impact": "explode"}, "must be one of"),
        ({"probability": 0}, "probability"),
    ],
)
def test_experiment_is_refused_when_it_makes_no_sense(
    parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        rules.Chaos(**{"probability": 0.5, "ttl": 60} | parameters)


def test_experiment_without_an_end_is_no_experiment() -> None:
    with pytest.raises(TypeError, match="ttl"):
        rules.Chaos(probability=0.5, impact="abort")  # type: ignore[call-arg]
    with pytest.raises(engine.ConfigError, match="ttl: is missing"):
        config.parse('chaos = true\n[policies."a/b".chaos]\nprobability = 1\nimpact = "abort"')
