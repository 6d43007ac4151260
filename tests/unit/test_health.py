"""Health words: what the last results of a check say, and the policies that hang on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import Engine, HealthCheck, Policy, rules
from engine.metrics import EngineCollector
from engine.testing import ManualClock

ALL = ("healthy", "degraded", "unhealthy")


def after(check: HealthCheck, *results: Any) -> str:
    for result in results:
        check.report(result)
    return check.status


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ((), "unknown"),
        (("healthy",), "healthy"),
        (("degraded",), "degraded"),
        (("unhealthy",), "unknown"),
        (("unhealthy", "unhealthy"), "unhealthy"),
        (("healthy", "unhealthy"), "healthy"),
        (("healthy", "unhealthy", "healthy", "unhealthy"), "healthy"),
        (("degraded", "unhealthy", "unhealthy"), "unhealthy"),
        (("unhealthy", "unhealthy", "healthy"), "unhealthy"),
        (("unhealthy", "unhealthy", "healthy", "unhealthy", "healthy"), "unhealthy"),
        (("unhealthy", "unhealthy", "healthy", "healthy"), "healthy"),
        (("unhealthy", "unhealthy", "healthy", "degraded"), "degraded"),
        (("healthy", "degraded", "healthy", "degraded"), "degraded"),
    ],
)
def test_status_follows_two_alike_results(
    private: Engine, results: tuple[str, ...], status: str
) -> None:
    assert after(HealthCheck("db", engine=private), *results) == status


def test_thresholds_are_those_of_the_check(private: Engine) -> None:
    check = HealthCheck("db", fail_after=3, ok_after=1, engine=private)
    assert after(check, "healthy", "unhealthy", "unhealthy") == "healthy"
    assert after(check, "unhealthy") == "unhealthy"
    assert check.report("healthy") == "healthy"


def test_result_says_nothing_when_it_is_three_caches_old(
    private: Engine, clock: ManualClock
) -> None:
    check = HealthCheck("db", cache=10, engine=private)
    assert after(check, "unhealthy", "unhealthy") == "unhealthy"
    clock.advance(30 - 0.001)
    assert check.status == "unhealthy"
    clock.advance(0.001)
    assert check.status == "unknown"
    assert check.snapshot() == ("unknown", 0, None, "")


def test_stale_results_are_not_counted_together_with_new_ones(
    private: Engine, clock: ManualClock
) -> None:
    check = HealthCheck("db", cache=10, engine=private)
    after(check, "healthy", "unhealthy")
    clock.advance(31)
    assert after(check, "unhealthy") == "unknown", "one bad result, after nothing was known"
    assert after(check, "unhealthy") == "unhealthy"


def test_policy_is_refused_while_its_check_is_unhealthy(
    private: Engine, clock: ManualClock
) -> None:
    policy = Policy("pay/charge", rules.Health("db"), rules.RateLimit("1/day"), engine=private)
    check = HealthCheck("db", cache=10, engine=private)
    after(check, "unhealthy", "unhealthy")
    refusal = policy.try_acquire()
    assert (refusal.reason, refusal.rule) == ("unhealthy", "health")
    with pytest.raises(engine.Unhealthy):
        policy.acquire_or_raise()
    found = private.snapshot().policies[0]
    assert (found.health, found.rate_limit.remaining) == ("unhealthy", 1)
    clock.advance(30)
    assert policy.try_acquire(), (
        "a checker that fell silent must not keep the policy out of service"
    )
    assert private.snapshot().policies[0].health == "unknown"


@pytest.mark.parametrize("status", ["healthy", "degraded"])
def test_policy_is_admitted_when_its_check_is_not_unhealthy(private: Engine, status: Any) -> None:
    policy = Policy("pay/charge", rules.Health("db"), engine=private)
    assert policy.try_acquire(), "nothing is known yet"
    after(HealthCheck("db", engine=private), status)
    assert policy.try_acquire()


def test_check_and_policy_meet_whoever_comes_first(private: Engine) -> None:
    after(HealthCheck("db", engine=private), "unhealthy", "unhealthy")
    assert not Policy("pay/charge", rules.Health("db"), engine=private).try_acquire()
    assert Policy("pay/list", rules.Health("cache"), engine=private).try_acquire()


def test_policy_follows_when_it_is_hung_on_another_check(private: Engine) -> None:
    after(HealthCheck("db", engine=private), "unhealthy", "unhealthy")
    policy = Policy("pay/charge", rules.Health("db"), engine=private)
    assert not policy.try_acquire()
    Policy("pay/charge", rules.Health("cache"), engine=private)
    assert policy.try_acquire()
    Policy("pay/charge", rules.Health("db", mode="shadow"), engine=private)
    assert policy.try_acquire().would_refuse == "unhealthy"


def test_status_stays_when_the_check_is_bound_again(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = open_engine(arena)
    after(HealthCheck("db", cache=60, engine=eng), "unhealthy", "unhealthy")
    assert HealthCheck("db", cache=5, engine=eng).status == "unhealthy"
    assert eng.checks()["db"].run == 2


def test_message_stands_beside_its_own_status(private: Engine, clock: ManualClock) -> None:
    check = HealthCheck("db", engine=private)
    check.report("degraded", "replica lags by 40 s")
    clock.advance(5)
    assert check.snapshot() == ("degraded", 1, 5.0, "replica lags by 40 s")
    check.report("degraded")
    assert check.snapshot() == ("degraded", 2, 0.0, "replica lags by 40 s")
    check.report("healthy")
    assert check.snapshot() == ("healthy", 3, 0.0, "")


@pytest.mark.parametrize("result", ["unknown", "ok", "", None, 1])
def test_result_is_refused_when_it_is_none(private: Engine, result: Any) -> None:
    check = HealthCheck("db", engine=private)
    with pytest.raises(ValueError, match="must be one of healthy, degraded, unhealthy"):
        check.report(result)
    assert check.status == "unknown"


def test_changes_of_status_are_journalled(private: Engine) -> None:
    after(HealthCheck("db", engine=private), "healthy", "healthy", "unhealthy", "unhealthy")
    events = [(e.policy, e.what, e.generation) for e in private.journal()]
    assert events == [("~health/db", "check_healthy", 1), ("~health/db", "check_unhealthy", 2)]


def test_checks_are_no_policies(private: Engine) -> None:
    HealthCheck("db", engine=private)
    assert private.names() == []
    with pytest.raises(LookupError):
        private.policy("~health/db")


def test_collector_shows_every_check(private: Engine) -> None:
    after(HealthCheck("db", engine=private), "degraded")
    HealthCheck("cache", engine=private)
    families = {family.name: family for family in EngineCollector(private).collect()}
    samples = families["admittance_health_status"].samples
    assert {one.labels["check"]: one.value for one in samples} == {"cache": 0, "db": 2}


def test_run_of_results_stays_at_its_most(private: Engine) -> None:
    check = HealthCheck("db", fail_after=100, engine=private)
    assert after(check, *["unhealthy"] * 99) == "unknown"
    assert after(check, *["unhealthy"] * 200) == "unhealthy"
    assert check.snapshot()[1] == 127
