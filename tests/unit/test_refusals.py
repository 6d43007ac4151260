"""A refusal consumes nothing: whichever rule refuses, the others are left as they were."""

from collections.abc import Callable

import pytest

import engine as admittance
from engine import Engine, HealthCheck, Policy, rules
from engine.rules import Rule
from engine.testing import ManualClock

ALL: dict[str, Rule] = {
    "feature": rules.Feature(),
    "health": rules.Health("db"),
    "breaker": rules.Breaker(window=10, min_calls=2, open_for=5, jitter=0, probes=2),
    "shedder": rules.Shedder(4),
    "bulkhead": rules.Bulkhead(4, hold=60),
    "retry_budget": rules.RetryBudget(ratio=0.5, min_rate="1/day", burst=3),
    "rate_limit": rules.RateLimit("1/day", burst=50),
}


HELD: list[object] = []


def hold_all(policy: Policy) -> None:
    """Take permits until there are none, and keep them for this test."""
    while permit := policy.try_acquire(priority=admittance.CRITICAL):
        HELD.append(permit)


def retry_all(policy: Policy) -> None:
    """Retry until the budget is spent."""
    while permit := policy.try_acquire(attempt=2):
        permit.ignore()


REFUSE: dict[str, Callable[[Policy, Engine], object]] = {
    "feature": lambda policy, _: policy.turn_off(60),
    "health": lambda _, eng: [HealthCheck("db", engine=eng).report("unhealthy") for _ in "12"],
    "breaker": lambda policy, _: policy.force_open(60),
    "shedder": lambda policy, _: hold_all(policy),
    "bulkhead": lambda policy, _: hold_all(policy),
    "retry_budget": lambda policy, _: retry_all(policy),
    "rate_limit": lambda policy, _: policy.try_acquire(cost=policy.remaining).ignore(),
}


@pytest.fixture(autouse=True)
def let_go() -> None:
    """Drop what the test before held."""
    HELD.clear()


@pytest.mark.parametrize("half_open", [False, True], ids=["closed", "half_open"])
@pytest.mark.parametrize("refuser", REFUSE)
def test_refused_call_takes_nothing_from_any_other_rule(
    private: Engine, clock: ManualClock, refuser: str, half_open: bool
) -> None:
    chosen = dict(ALL)
    if refuser in ("shedder", "bulkhead"):  # the one that is not tried would be full as well
        del chosen["shedder" if refuser == "bulkhead" else "bulkhead"]
    policy = Policy("a/b", *chosen.values(), engine=private)
    if half_open and refuser not in ("breaker", "shedder", "bulkhead"):
        for permit in [policy.try_acquire() for _ in range(2)]:
            permit.failure()
        clock.advance(6)
        assert policy.try_acquire().ignore()
    REFUSE[refuser](policy, private)
    (before,) = private.snapshot().policies
    for _ in range(20):
        refused = policy.try_acquire(attempt=2)
        assert not refused
        assert refused.rule == refuser
    (after,) = private.snapshot().policies
    for kind in chosen:
        assert getattr(after, kind) == getattr(before, kind), kind
    assert after.admitted == before.admitted
