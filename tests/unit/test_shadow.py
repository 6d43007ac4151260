"""Rules in the shadow judge, take and count, and never refuse; rules that are off are not asked."""

from collections.abc import Callable
from typing import Any

import pytest

from engine import Engine, Permit, Policy, rules
from engine.core import wire
from engine.metrics import EngineCollector
from engine.rules import PolicySet, PolicySpec
from engine.testing import ManualClock

SHADOWS: dict[str, Callable[[str], rules.Rule]] = {
    "rate_limited": lambda mode: rules.RateLimit("1/s", burst=2, mode=mode),
    "bulkhead_full": lambda mode: rules.Bulkhead(2, mode=mode),
}


def admitted(verdict: Any) -> Permit:
    assert isinstance(verdict, Permit), verdict
    return verdict


@pytest.mark.parametrize("reason", SHADOWS)
def test_shadow_rule_counts_what_it_would_refuse(private: Engine, reason: str) -> None:
    policy = Policy("a/b", SHADOWS[reason]("shadow"), engine=private)
    held = [admitted(policy.try_acquire()) for _ in range(5)]
    assert [permit.would_refuse for permit in held] == ["", "", reason, reason, reason]
    (seen,) = private.snapshot().policies
    assert (seen.admitted, seen.refused, seen.would_refuse) == (5, {}, {reason: 3})
    assert all(permit.success() for permit in held)


@pytest.mark.parametrize("reason", SHADOWS)
def test_enforced_rule_would_refuse_nothing(private: Engine, reason: str) -> None:
    policy = Policy("a/b", SHADOWS[reason]("enforce"), engine=private)
    held = [policy.try_acquire() for _ in range(3)]
    assert [verdict.reason for verdict in held] == ["", "", reason]
    assert private.snapshot().policies[0].would_refuse == {}


@pytest.mark.parametrize("reason", SHADOWS)
def test_rule_that_is_off_is_not_asked_and_keeps_its_state(private: Engine, reason: str) -> None:
    held = []
    for mode, expected in (("enforce", 2), ("off", 3), ("enforce", 0), ("shadow", 3)):
        policy = Policy("a/b", SHADOWS[reason](mode), engine=private)
        verdicts = [policy.try_acquire() for _ in range(3)]
        assert sum(map(bool, verdicts)) == expected, mode
        held += verdicts


def test_breaker_in_the_shadow_opens_and_recovers_without_refusing(
    private: Engine, clock: ManualClock
) -> None:
    circuit = rules.Breaker(window=10, min_calls=2, open_for=1, jitter=0, probes=1, mode="shadow")
    policy = Policy("a/b", circuit, rules.Bulkhead(9), engine=private)
    for _ in range(2):
        admitted(policy.try_acquire()).failure()
    assert private.snapshot().policies[0].breaker.state == "open"
    permit = admitted(policy.try_acquire())
    assert permit.would_refuse == "circuit_open"
    assert permit.failure()
    clock.advance(1.1)
    assert admitted(policy.try_acquire()).success()
    seen = private.snapshot().policies[0]
    assert seen.breaker.state == "closed"
    assert (seen.success, seen.failure, seen.void) == (1, 3, 0)
    assert seen.would_refuse == {"circuit_open": 1}


def test_rule_behind_a_shadow_refuses_and_nothing_is_kept(private: Engine) -> None:
    policy = Policy(
        "a/b", rules.Bulkhead(1, mode="shadow"), rules.RateLimit("1/s", burst=2), engine=private
    )
    held = [policy.try_acquire() for _ in range(4)]
    assert [bool(verdict) for verdict in held] == [True, True, False, False]
    assert held[0].success()
    refused = policy.try_acquire()
    assert refused.reason == "rate_limited"
    seen = private.snapshot().policies[0]
    assert seen.bulkhead.in_use == 0
    assert seen.would_refuse == {"bulkhead_full": 3}


def test_impossible_cost_is_admitted_by_a_limit_in_the_shadow(private: Engine) -> None:
    policy = Policy("a/b", rules.RateLimit("1/s", burst=2, mode="shadow"), engine=private)
    assert admitted(policy.try_acquire(cost=3)).would_refuse == "invalid"
    assert policy.remaining == 2
    assert policy.try_acquire(cost=0).reason == "invalid"


def test_batch_that_is_handed_back_returns_what_a_shadow_gave(private: Engine) -> None:
    Policy("a/b", rules.RateLimit("1/min", burst=3, mode="shadow"), engine=private)
    Policy("c/d", rules.RateLimit("1/min", burst=1), engine=private)
    item = b"\x0a\x05\x0a\x03a/b"
    refused = b"\x0a\x07\x0a\x03c/d\x18\x02"
    assert wire.admit_batch(private.arena, item * 3)
    assert private.policy("a/b").remaining == 0
    assert wire.admit_batch(private.arena, item * 2 + refused + b"\x10\x01")
    assert private.policy("a/b").remaining == 0


def test_remote_caller_is_told_what_the_shadow_would_do(private: Engine) -> None:
    Policy("a/b", rules.RateLimit("1/min", burst=1, mode="shadow"), engine=private)
    first, second = (wire.admit(private.arena, b"\x0a\x03a/b") for _ in range(2))
    assert b"\x48\x01" not in first
    assert b"\x48\x01" in second
    assert second.startswith(b"\x08\x01")


def test_remote_report_counts_when_the_circuit_in_the_shadow_was_open(private: Engine) -> None:
    circuit = rules.Breaker(window=10, min_calls=1, open_for=1, mode="shadow")
    policy = Policy("a/b", circuit, engine=private)
    admitted(policy.try_acquire()).failure()
    answer = wire.admit(private.arena, b"\x0a\x03a/b")
    token = answer[answer.index(b"\x1a\x18") + 2 :][:24]
    assert wire.report(private.arena, b"\x0a\x18" + token + b"\x10\x02") == b"\x08\x01"
    seen = private.snapshot().policies[0]
    assert (seen.failure, seen.void, seen.breaker.opened) == (2, 0, 1)


def test_shadow_counts_are_metrics(private: Engine) -> None:
    policy = Policy("a/b", rules.RateLimit("1/min", burst=1, mode="shadow"), engine=private)
    for _ in range(3):
        policy.try_acquire()
    samples = {
        (sample.name, sample.labels.get("reason")): sample.value
        for family in EngineCollector(private).collect()
        for sample in family.samples
    }
    assert samples["admittance_would_refuse_total", "rate_limited"] == 2


def test_policy_whose_rules_are_all_off_admits(private: Engine) -> None:
    private.apply(PolicySet({"a/b": PolicySpec("a/b", (rules.Bulkhead(1, mode="off"),))}))
    policy = private.policy("a/b")
    assert all(policy.try_acquire() for _ in range(3))
    assert policy.version == 1


def test_mode_is_none_when_it_is_misspelt() -> None:
    with pytest.raises(ValueError, match='mode = \'of\': must be one of "enforce", "shadow" or'):
        rules.Bulkhead(1, mode="of")


def test_primitive_has_no_mode(private: Engine) -> None:
    from engine import Limiter

    with pytest.raises(ValueError, match="mode = 'shadow'"):
        Limiter("1/s", mode="shadow", engine=private)
