"""The retry budget: retries stay a share of the calls, whoever makes them."""

from typing import Any

import pytest

import engine
from engine import Engine, Policy, RetryBudget, rules
from engine.testing import ManualClock


def retries(budget: Any, at_most: int = 1_000) -> int:
    """How many retries can be taken now."""
    return next((taken for taken in range(at_most) if not budget.try_acquire()), at_most)


def test_new_budget_holds_one_seconds_worth_of_its_minimum(private: Engine) -> None:
    assert retries(RetryBudget(min_rate="3/s", engine=private)) == 3
    assert retries(RetryBudget(min_rate="1/min", engine=private)) == 1
    assert retries(RetryBudget(min_rate="50/s", burst=7, engine=private)) == 7


def test_budget_stays_as_it_is_when_somebody_binds_it_again(private: Engine) -> None:
    assert retries(RetryBudget(name="api/retries", engine=private)) == 3
    assert retries(RetryBudget(name="api/retries", engine=private)) == 0
    assert retries(RetryBudget(0.5, name="api/retries", engine=private)) == 0


def test_five_calls_pay_for_one_retry_when_the_ratio_is_a_fifth(private: Engine) -> None:
    budget = RetryBudget(0.2, min_rate="1/day", burst=10, engine=private)
    assert retries(budget) == 1
    for _ in range(4):
        budget.deposit()
    assert not budget.try_acquire()
    budget.deposit()
    assert budget.try_acquire()
    assert not budget.try_acquire()


def test_minimum_comes_back_when_nobody_calls(private: Engine, clock: ManualClock) -> None:
    budget = RetryBudget(min_rate="4/s", burst=6, engine=private)
    assert retries(budget) == 4
    assert budget.retry_after == 0.25
    clock.advance(0.25 - 1e-9)
    assert retries(budget) == 0
    clock.advance(1e-9)
    assert budget.retry_after == 0.0
    assert retries(budget) == 1
    clock.advance(1.0)
    assert budget.remaining == 4


def test_idle_budget_holds_no_more_than_its_burst(private: Engine, clock: ManualClock) -> None:
    budget = RetryBudget(min_rate="100/s", burst=5, engine=private)
    clock.advance(86_400)
    for _ in range(1_000):
        budget.deposit()
    assert budget.remaining == 5
    assert retries(budget) == 5


def policy_of(eng: Engine, *more: rules.Rule, **parameters: Any) -> Policy:
    budget = rules.RetryBudget(min_rate="1/day", burst=10, **parameters)
    return Policy("api/get", budget, *more, engine=eng)


def left(eng: Engine) -> int:
    return eng.snapshot().policies[0].retry_budget.remaining


def test_retries_are_refused_when_they_are_over_their_share(private: Engine) -> None:
    policy = policy_of(private)
    assert policy.try_acquire(attempt=2)
    refusal = policy.try_acquire(attempt=3)
    assert (refusal.reason, refusal.rule) == ("retry_budget", "retry_budget")
    assert refusal.retry_after == pytest.approx(86_400)
    with pytest.raises(engine.RetryBudgetExhausted):
        policy.acquire_or_raise(attempt=2)
    for _ in range(5):
        assert policy.try_acquire()
    assert policy.try_acquire(attempt=2)
    assert not policy.try_acquire(attempt=2)


def test_retries_stay_a_fifth_of_the_calls_when_every_call_fails(private: Engine) -> None:
    """A thousand callers that all want three attempts put on a fifth of load, not twice as much."""
    policy = policy_of(private)
    admitted = sum(
        bool(policy.try_acquire(attempt=attempt)) for _ in range(1_000) for attempt in (1, 2, 3)
    )
    assert admitted in (1_200, 1_201)


def test_refused_first_attempt_pays_for_nothing(private: Engine) -> None:
    policy = policy_of(private, rules.RateLimit("1/day", burst=2), ratio=0.5)
    assert policy.try_acquire(attempt=2)
    for _ in range(10):
        policy.try_acquire()
    assert left(private) == 0, "one admitted first attempt is worth half a retry"


def test_retry_that_the_rate_limit_refuses_is_not_charged(private: Engine) -> None:
    policy = policy_of(private, rules.RateLimit("1/day", burst=1))
    assert policy.try_acquire()
    for _ in range(3):
        assert policy.try_acquire(attempt=2).reason == "rate_limited"
    assert left(private) == 1


def test_refused_retry_takes_no_token_and_no_permit(private: Engine) -> None:
    policy = policy_of(private, rules.RateLimit("1/day", burst=5), rules.Bulkhead(2))
    policy.try_acquire(attempt=2).success()
    assert policy.try_acquire(attempt=2).reason == "retry_budget"
    (seen,) = private.snapshot().policies
    assert (seen.rate_limit.remaining, seen.bulkhead.in_use) == (4, 0)


def test_shadow_budget_says_what_it_would_refuse(private: Engine) -> None:
    policy = policy_of(private, mode="shadow")
    assert policy.try_acquire(attempt=2)
    assert policy.try_acquire(attempt=2)
    assert private.snapshot().policies[0].would_refuse == {"retry_budget": 1}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ratio": 0}, "ratio"),
        ({"ratio": 1.5}, "ratio"),
        ({"burst": 0}, "burst"),
        ({"min_rate": "0/s"}, "min_rate"),
        ({"min_rate": "1/day", "burst": 4_000}, r"burst \(4000\) must be at most 3650"),
    ],
)
def test_budget_complains_when_a_parameter_is_wrong(
    private: Engine, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        RetryBudget(engine=private, **parameters)


def test_budget_taken_out_of_service_says_so(private: Engine) -> None:
    budget = RetryBudget(name="api/retries", engine=private)
    Policy("api/retries", rules.Bulkhead(1), engine=private)
    with pytest.raises(engine.ArenaError, match="out of service"):
        budget.try_acquire()
