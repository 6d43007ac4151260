"""Limits that are learned: what the estimators do, step by step and beside plain models."""

import random
from collections import deque
from typing import Any

import pytest
from models import shedder_model

from engine import CRITICAL, Engine, Policy, rules
from engine.testing import ManualClock

NS = 1_000_000_000
CRITICAL_RANK = 0
ESTIMATORS = ("aimd", "vegas", "gradient2")


class Load:
    """A policy and its model; calls are made and reported to both."""

    def __init__(self, engine: Engine, clock: ManualClock, rule: rules.Shedder) -> None:
        self.engine, self.clock = engine, clock
        self.policy = Policy("load/adaptive", rule, engine=engine)
        self.model = shedder_model(*rule.core())
        self.now = round(clock.seconds * NS)
        self.out: deque[tuple[Any, Any, int]] = deque()

    @property
    def limit(self) -> int:
        return self.engine.snapshot().policies[0].shedder.limit

    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    def take(self, count: int) -> None:
        """Put up to `count` calls in flight."""
        for _ in range(count):
            permit = self.policy.try_acquire(priority=CRITICAL)
            seat = self.model.enter(self.now, CRITICAL_RANK, revocable=False, deadline=0)
            assert bool(permit) == (not isinstance(seat, tuple))
            if not permit:
                return
            self.out.append((permit, seat, self.now))

    def report(self, outcome: str = "success") -> None:
        """The oldest call ends."""
        permit, seat, start = self.out.popleft()
        assert getattr(permit, outcome)()
        self.model.leave(seat, outcome, self.now - start, self.now)

    def calls(
        self, count: int, duration: int, *, beside: int = 0, outcome: str = "success"
    ) -> None:
        """Make calls one after another while others are in flight, as far as the limit allows."""
        for _ in range(count):
            while len(self.out) >= self.limit:
                self.report("ignore")
            self.take(beside + 1 - len(self.out))
            self.out.rotate(1)
            self.advance(duration)
            self.report(outcome)

    def rounds(self, count: int, duration: int) -> None:
        """So many times, fill the limit and let all calls end together."""
        for _ in range(count):
            self.take(self.limit)
            self.advance(duration)
            while self.out:
                self.report()


@pytest.fixture
def load(private: Engine, clock: ManualClock) -> Any:
    return lambda limit, **parameters: Load(private, clock, rules.Shedder(limit, **parameters))


def test_aimd_adds_one_and_takes_a_tenth(load: Any) -> None:
    aimd = load("aimd", initial=20, min_limit=5)
    aimd.calls(10, NS, beside=19)
    assert aimd.limit == 30
    aimd.calls(1, NS, beside=19, outcome="failure")
    assert aimd.limit == 27
    aimd.calls(1, 5 * NS, beside=19)
    assert aimd.limit == 28
    aimd.calls(1, 5 * NS + 1, beside=19)
    assert aimd.limit == 25, "a call above the timeout is a drop"


def test_aimd_does_not_grow_when_the_limit_is_not_used(load: Any) -> None:
    aimd = load("aimd", initial=20)
    aimd.take(9)
    aimd.advance(1)
    for _ in range(9):
        aimd.report()
    assert aimd.limit == 20
    aimd.take(10)
    aimd.advance(1)
    for _ in range(10):
        aimd.report()
    assert aimd.limit == 21, "the tenth was admitted when half of the limit was in use"


@pytest.mark.parametrize("limit", ESTIMATORS)
def test_ignored_calls_teach_nothing(load: Any, limit: str) -> None:
    adaptive = load(limit, initial=20)
    for _ in range(50):
        adaptive.take(20)
        adaptive.advance(NS)
        while adaptive.out:
            adaptive.report("ignore")
    assert adaptive.limit == 20


def test_vegas_grows_without_a_queue_and_shrinks_with_one(load: Any) -> None:
    vegas = load("vegas", initial=20, max_limit=60)
    vegas.calls(1, NS // 100, beside=19)
    assert vegas.limit == 20, "the first call is the shortest there was"
    for expected in (26, 32, 38):
        vegas.calls(1, NS // 100, beside=19)
        assert vegas.limit == expected
    for expected in (37, 36, 35):
        vegas.calls(1, NS // 50, beside=19)
        assert vegas.limit == expected, "twice the shortest: half of the limit is queueing"
    vegas.calls(1, NS // 50, beside=19, outcome="failure")
    assert vegas.limit == 34


def test_vegas_renews_the_shortest_duration_without_holding_anybody_up(load: Any) -> None:
    vegas = load("vegas", initial=20, min_limit=10, max_limit=20)
    vegas.calls(1, NS // 100, beside=19)
    vegas.calls(100, NS // 10, beside=19)
    assert vegas.limit == 10, "ten times as long as without a queue"
    vegas.calls(100, NS // 10, beside=19)
    assert vegas.limit == 20, "a tenth of a second is the shortest there is now"


def test_gradient2_shrinks_when_calls_get_slower_and_comes_back(load: Any) -> None:
    gradient2 = load("gradient2", initial=100, max_limit=200)
    gradient2.rounds(60, NS // 3)
    calm = gradient2.limit
    assert calm > 105
    gradient2.rounds(10, NS)
    slow = gradient2.limit
    assert slow < calm * 0.7
    gradient2.rounds(60, NS // 3)
    assert gradient2.limit > slow + 3


def test_gradient2_counts_windows_of_ten_calls_alone(load: Any) -> None:
    gradient2 = load("gradient2", initial=20)
    for _ in range(10):
        gradient2.take(20)
        gradient2.advance(NS + 1)
        for _ in range(9):
            gradient2.report()
    assert gradient2.limit == 20


@pytest.mark.parametrize("limit", ESTIMATORS)
@pytest.mark.parametrize("seed", range(6))
def test_estimator_is_its_model(load: Any, limit: str, seed: int) -> None:
    """Whatever durations and loads, the very limit of the published formulas."""
    generator = random.Random(f"{limit} {seed}")
    least = generator.choice((1, 5, 20))
    adaptive = load(
        limit,
        min_limit=least,
        initial=generator.randint(least, 60),
        max_limit=generator.choice((60, 900)),
    )
    usual = generator.choice((NS // 1_000, NS // 20, NS))
    for _ in range(1_500):
        if generator.random() < 0.01:
            usual = max(1_000, int(usual * generator.choice((0.2, 0.7, 1.5, 4))))
        adaptive.take(generator.choice((1, 2, 5)))
        adaptive.advance(int(usual * generator.uniform(0.02, 0.3)))
        while adaptive.out and generator.random() < 0.6:
            adaptive.report(generator.choices(("success", "failure", "ignore"), (95, 2, 3))[0])
        assert adaptive.limit == int(adaptive.model.estimate.limit)


@pytest.mark.parametrize("limit", ESTIMATORS)
def test_limit_stays_when_another_estimator_takes_over(load: Any, limit: str) -> None:
    learned = load("aimd", initial=40, max_limit=60)
    learned.calls(10, 1_000, beside=30)
    assert learned.limit == 50
    assert load(limit, max_limit=60).limit == 50
    assert load(limit, min_limit=1, initial=1, max_limit=30).limit == 30
