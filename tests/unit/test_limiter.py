"""The rate limit: burst + rate x t, and not one token more."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


def calendar_clock(wall: float) -> ManualClock:
    clock = ManualClock(1_000.0)
    clock.step_wall(wall - 1_000.0)
    return clock


TICK = 2**23 / 1e9


@pytest.mark.parametrize(
    ("rate", "wall", "boundary"),
    [
        ("2/s", at(2026, 11, 23, 15, 56, 7) + 0.9, at(2026, 11, 23, 15, 56, 8)),
        ("2/min", at(2026, 11, 23, 15, 56, 7), at(2026, 11, 23, 15, 57)),
        ("2/h", at(2026, 11, 23, 15, 56, 7), at(2026, 11, 23, 16)),
        ("2/day", at(2026, 11, 23, 15, 56, 7), at(2026, 11, 24)),
        ("2/month", at(2026, 11, 23, 15, 56, 7), at(2026, 12, 1)),
        ("2/month", at(2026, 12, 31, 23, 59, 59), at(2027, 1, 1)),
        ("2/month", at(2028, 2, 29, 12), at(2028, 3, 1)),
        ("2/month", at(2027, 2, 28, 23, 59, 59), at(2027, 3, 1)),
        ("2/month", at(2026, 3, 1), at(2026, 4, 1)),
    ],
)
def test_quota_comes_back_with_the_calendar(
    open_engine: Any, rate: str, wall: float, boundary: float
) -> None:
    clock = calendar_clock(wall)
    limiter = Limiter(rate, algorithm="fixed_window", engine=open_engine(clock=clock))
    assert tokens(limiter) == 2
    assert boundary - wall - 1e-6 <= limiter.retry_after <= boundary - wall + TICK
    clock.advance(boundary - wall - 1e-6)
    assert tokens(limiter) == 0
    clock.advance(TICK + 2e-6)
    assert tokens(limiter) == 2


def test_every_window_of_two_years_is_a_month(open_engine: Any) -> None:
    clock = calendar_clock(at(2027, 1, 15))
    limiter = Limiter("1/month", algorithm="fixed_window", engine=open_engine(clock=clock))
    months = [(2027 + i // 12, i % 12 + 1) for i in range(1, 26)]
    wall = at(2027, 1, 15)
    for year, month in months:
        assert limiter.try_acquire()
        wait = limiter.retry_after
        assert 0 <= wall + wait - at(year, month, 1) <= TICK + 1e-6
        clock.advance(wait)
        wall += wait


@pytest.mark.parametrize(
    "step", [-86_400.0, -61.0, -30.0, 1.0, 30.0, 59.0, 3_600.0, 86_400.0 * 365]
)
def test_window_that_is_open_ends_no_earlier_when_the_wall_clock_steps(
    open_engine: Any, step: float
) -> None:
    clock = calendar_clock(at(2026, 11, 23, 12, 0, 10))
    limiter = Limiter("3/min", algorithm="fixed_window", engine=open_engine(clock=clock))
    assert tokens(limiter) == 3
    clock.step_wall(step)
    assert tokens(limiter) == 0
    clock.advance(50 - 1e-6)
    assert tokens(limiter) == 0
    clock.advance(TICK + 2e-6)
    assert tokens(limiter) == 3
    assert 59 <= limiter.retry_after < 120 + TICK, "the next one is a whole minute and ends in time"


@given(
    st.sampled_from(("s", "min", "h", "day")),
    st.lists(st.tuples(st.floats(0, 1.5), st.floats(-3, 3) | st.just(0.0)), max_size=60),
)
def test_steps_of_the_wall_clock_never_refill_early(
    unit: str, moves: list[tuple[float, float]]
) -> None:
    """Of three admissions one after another, at one to a window, the last two lie a unit apart."""
    length = {"s": 1.0, "min": 60.0, "h": 3_600.0, "day": 86_400.0}[unit]
    clock = calendar_clock(at(2026, 11, 23, 12, 34, 56))
    with Engine(clock=clock, arena_size=4 << 20) as engine:
        limiter = Limiter(f"1/{unit}", algorithm="fixed_window", engine=engine)
        ends = []
        for advance, step in moves:
            clock.step_wall(step * length)
            clock.advance(advance * length)
            if limiter.try_acquire():
                ends.append(clock.seconds + limiter.retry_after)
        gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
        assert all(gap >= length * 63 / 64 for gap in gaps)


def test_sliding_window_weighs_the_window_before(private: Engine, clock: ManualClock) -> None:
    limiter = Limiter("100/s", algorithm="sliding_window", engine=private)
    assert tokens(limiter) == 100
    clock.advance(1)
    assert not limiter.try_acquire()
    clock.advance(0.25)
    assert tokens(limiter) == 25
    clock.advance(0.25)
    assert tokens(limiter) == 25
    clock.advance(0.5)
    assert limiter.remaining == 50
    clock.advance(2)
    assert limiter.remaining == 100


def test_sliding_window_tells_how_long_to_wait(private: Engine, clock: ManualClock) -> None:
    policy = Policy(
        "rate/sliding", rules.RateLimit("10/s", algorithm="sliding_window"), engine=private
    )
    assert policy.try_acquire(10)
    refusal = policy.try_acquire(3)
    assert refusal.retry_after == 1.3
    clock.advance(1.3 - 1e-9)
    assert not policy.try_acquire(3)
    clock.advance(1e-9)
    assert policy.try_acquire(3)


@pytest.mark.parametrize("algorithm", ["sliding_window", "fixed_window"])
def test_window_is_kept_when_time_goes_back(
    private: Engine, clock: ManualClock, algorithm: str
) -> None:
    limiter = Limiter("5/s", algorithm=algorithm, engine=private)
    assert tokens(limiter) == 5
    for seconds in (0.4, 30.0, 900.0):
        clock.advance(-seconds)
        assert tokens(limiter) == 0
        clock.advance(seconds)


def test_tokens_are_still_gone_when_rate_or_unit_change(private: Engine) -> None:
    for algorithm in ("sliding_window", "fixed_window"):
        name = f"rate/{algorithm}"
        assert tokens(Limiter("5/min", algorithm=algorithm, engine=private, name=name)) == 5
        assert tokens(Limiter("9/min", algorithm=algorithm, engine=private, name=name)) == 4
        assert tokens(Limiter("10/h", algorithm=algorithm, engine=private, name=name)) <= 1


def test_reserve_books_the_tokens_and_says_how_long_to_wait(
    private: Engine, clock: ManualClock
) -> None:
    limiter = Limiter("4/s", burst=2, engine=private)
    assert [limiter.reserve() for _ in range(4)] == [0.0, 0.0, 0.25, 0.5]
    assert limiter.reserve(2) == 1.0
    assert not limiter.try_acquire()
    clock.advance(1.0)
    assert not limiter.try_acquire(), "booked tokens were given to another"
    clock.advance(0.25)
    assert tokens(limiter) == 1


def test_reserve_books_nothing_when_the_wait_is_too_long(private: Engine) -> None:
    limiter = Limiter("4/s", burst=2, engine=private)
    assert limiter.reserve(2) == 0.0
    assert limiter.reserve(2, max_wait=0.499) is None
    assert limiter.reserve(2, max_wait=0.5) == 0.5
    assert limiter.reserve(max_wait=0) is None
    for wrong in (-1, float("nan"), 4e8):
        with pytest.raises(ValueError, match="max_wait"):
            limiter.reserve(max_wait=wrong)
    with pytest.raises(ValueError, match="cost"):
        limiter.reserve(3)


def test_reserve_is_for_each_key(private: Engine) -> None:
    limiter = Limiter("4/s", burst=1, engine=private, key="user")
    assert [limiter.reserve(1, key) for key in "aabab"] == [0.0, 0.25, 0.0, 0.5, 0.25]


@pytest.mark.parametrize("algorithm", ["sliding_window", "fixed_window"])
def test_window_cannot_be_booked_ahead(private: Engine, algorithm: str) -> None:
    limiter = Limiter("2/s", algorithm=algorithm, engine=private)
    assert [limiter.reserve() for _ in range(3)] == [0.0, 0.0, None]


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window", "fixed_window"])
@pytest.mark.parametrize("key", [None, "tenant"])
def test_actual_cost_takes_the_place_of_what_was_taken(
    private: Engine, clock: ManualClock, algorithm: str, key: str | None
) -> None:
    clock.advance(0.1)
    limit = rules.RateLimit("10/s", algorithm=algorithm, key=key)
    policy = Policy("rate/settled", limit, rules.Bulkhead(4), engine=private)
    permit = policy.try_acquire(4, key)
    for actual, left in ((7, 3), (7, 3), (10, 0), (0, 10), (1, 9)):
        assert permit.settle_cost(actual)
        assert policy.remaining_of(key) == left
    with pytest.raises(ValueError, match="actual"):
        permit.settle_cost(11)
    assert permit.success()
    assert not permit.settle_cost(0)
    assert policy.remaining_of(key) == 9


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window", "fixed_window"])
def test_refund_never_fills_more_than_the_burst(
    private: Engine, clock: ManualClock, algorithm: str
) -> None:
    limit = rules.RateLimit("10/s", algorithm=algorithm)
    policy = Policy("rate/late", limit, rules.Bulkhead(4), engine=private)
    permit = policy.try_acquire(10)
    clock.advance(5.0)
    assert policy.try_acquire(3)
    assert permit.settle_cost(0)
    assert policy.remaining == (10 if algorithm == "gcra" else 7), "another window was refunded"
