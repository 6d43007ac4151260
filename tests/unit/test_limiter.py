"""The rate limit: burst + rate x t, and not one token more."""

from typing import Any

import pytest

from engine import Engine, Limiter, Policy, rules
from engine.testing import ManualClock


def tokens(limiter: Any, at_most: int = 1_000) -> int:
    """How many single tokens can be taken now."""
    return next((taken for taken in range(at_most) if not limiter.try_acquire()), at_most)


def test_limiter_gives_the_burst_and_then_refuses(private: Engine) -> None:
    assert tokens(Limiter("10/s", burst=7, engine=private)) == 7


@pytest.mark.parametrize(
    ("rate", "burst"), [("10/s", 10), ("1/s", 1), ("3/min", 1), ("1/day", 1), ("120/min", 2)]
)
def test_burst_is_one_seconds_worth_and_at_least_one_when_left_out(
    private: Engine, rate: str, burst: int
) -> None:
    assert tokens(Limiter(rate, engine=private)) == burst


def test_tokens_come_back_one_interval_after_another(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("8/s", burst=4, engine=private)
    assert tokens(limiter) == 4
    clock.advance(0.125 - 1e-9)
    assert tokens(limiter) == 0
    clock.advance(1e-9)
    assert tokens(limiter) == 1
    clock.advance(0.375)
    assert tokens(limiter) == 3


def test_idle_limiter_holds_no_more_than_the_burst(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("1000/s", burst=5, engine=private)
    tokens(limiter)
    clock.advance(86_400 * 365)
    assert tokens(limiter) == 5


def test_interval_is_rounded_up_when_it_is_no_whole_number_of_nanoseconds(
    private: Engine, clock: ManualClock
) -> None:
    limiter = Limiter("3/s", burst=1, engine=private)
    assert limiter.try_acquire()
    clock.advance(0.333_333_333)
    assert not limiter.try_acquire()
    clock.advance(1e-9)
    assert limiter.try_acquire()


def test_cost_takes_that_many_tokens(private: Engine) -> None:
    limiter = Limiter("10/s", burst=10, engine=private)
    assert limiter.try_acquire(7)
    assert limiter.remaining == 3
    assert not limiter.try_acquire(4)
    assert limiter.remaining == 3, "a refusal took tokens"
    assert limiter.try_acquire(cost=3)
    assert limiter.remaining == 0


def test_retry_after_is_the_wait_for_one_token(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("4/s", burst=2, engine=private)
    assert limiter.retry_after == 0.0
    tokens(limiter)
    assert limiter.retry_after == 0.25
    clock.advance(0.125)
    assert limiter.retry_after == 0.125
    clock.advance(limiter.retry_after)
    assert limiter.try_acquire()


def test_refused_policy_waits_long_enough_for_its_cost(private: Engine, clock: ManualClock) -> None:
    policy = Policy("rate/cost", rules.RateLimit("4/s", burst=8), engine=private)
    assert policy.try_acquire(8)
    refusal = policy.try_acquire(3)
    assert (refusal.reason, refusal.rule, refusal.remaining) == ("rate_limited", "rate_limit", 0)
    assert refusal.retry_after == 0.75
    clock.advance(refusal.retry_after - 1e-9)
    assert not policy.try_acquire(3)
    clock.advance(1e-9)
    assert policy.try_acquire(3)


def test_clock_that_goes_back_gives_nothing_early(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("10/s", burst=2, engine=private)
    clock.advance(5)
    tokens(limiter)
    clock.advance(-5)
    assert not limiter.try_acquire()
    clock.advance(5)
    assert not limiter.try_acquire()
    clock.advance(0.1)
    assert tokens(limiter) == 1


@pytest.mark.parametrize("cost", [0, -1, 11, 2**31, 2**63, 2**70, -(2**70)])
def test_limiter_complains_when_the_cost_is_out_of_range(private: Engine, cost: int) -> None:
    limiter = Limiter("10/s", burst=10, engine=private)
    with pytest.raises(ValueError, match="cost"):
        limiter.try_acquire(cost)
    assert limiter.remaining == 10


@pytest.mark.parametrize("cost", ["1", 1.0, None, True, [1]])
def test_limiter_complains_when_the_cost_is_no_whole_number(private: Engine, cost: Any) -> None:
    with pytest.raises(TypeError):
        Limiter("10/s", engine=private).try_acquire(cost)


def test_burst_is_all_there_when_it_takes_ten_years_to_refill(
    private: Engine, clock: ManualClock
) -> None:
    limiter = Limiter("1/day", burst=3_650, engine=private)
    assert limiter.try_acquire(3_650)
    assert limiter.remaining == 0
    clock.advance(86_400 * 3_649)
    assert limiter.remaining == 3_649
    clock.advance(86_400 * 10_000)
    assert limiter.remaining == 3_650


def test_largest_burst_is_exact(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("10000000/s", burst=1_000_000_000, engine=private)
    assert limiter.try_acquire(999_999_999)
    assert limiter.try_acquire()
    assert not limiter.try_acquire()
    clock.advance(1e-7)
    assert tokens(limiter) == 1


def test_limiters_of_one_name_share_their_tokens(private: Engine) -> None:
    first = Limiter("10/s", burst=3, engine=private, name="shared/limit")
    second = Limiter("10/s", burst=3, engine=private, name="shared/limit")
    assert [first.try_acquire(), second.try_acquire(), first.try_acquire()] == [True] * 3
    assert not second.try_acquire()


def test_limiters_without_a_name_are_apart(private: Engine) -> None:
    first, second = (Limiter("1/s", engine=private) for _ in range(2))
    assert first.try_acquire()
    assert second.try_acquire()
