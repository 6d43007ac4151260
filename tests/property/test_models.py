"""The real thing against plain models: the same answers, whatever is done in whatever order."""

import itertools
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from models import (
    TICK,
    Admission,
    BreakerModel,
    BudgetModel,
    BulkheadModel,
    CheckModel,
    FixedModel,
    FlagModel,
    PolicyModel,
    RateModel,
    SlidingModel,
    ThrottleModel,
    TrialModel,
    Wish,
    rate_model,
    shedder_model,
)

from engine import Engine, Feature, HealthCheck, Policy, rules
from engine.testing import ManualClock

NS = 1_000_000_000
DAY = 86_400 * NS
WRAPS = (2**32 * TICK, 2**33 * TICK, 2**31 * TICK, 2**32 * 1_000_000, 2**38 * 1_000_000)
STARTS = st.one_of(
    st.just(1_000 * NS),
    st.integers(1, 400 * DAY),
    st.builds(
        lambda wrap, distance: max(1, wrap + distance),
        st.sampled_from(WRAPS),
        st.integers(-40 * NS, 40 * NS) | st.integers(-3 * TICK, 3 * TICK),
    ),
)
STEPS = st.one_of(
    st.integers(0, 5),
    st.integers(0, 3 * TICK),
    st.integers(0, 3 * NS),
    st.integers(0, 100 * NS),
    st.sampled_from((1_000_000, NS // 2, NS, 2 * NS, 10 * NS)),
)
WINDOWS = st.one_of(
    st.integers(1, 60),
    st.builds(lambda lines, more: 14 * lines + more, st.integers(1, 12), st.integers(-1, 1)),
    st.sampled_from((100, 9_999, 10_000)),
)
SHARES = st.one_of(st.sampled_from((0.000_001, 0.2, 0.5, 0.8, 1.0)), st.floats(0.001, 1.0))
SECONDS = st.sampled_from((0.05, 0.1, 0.5, 1.0, 3.7)) | st.floats(0.05, 20.0)
RATES = st.sampled_from(("1/s", "3/s", "7/s", "1000/s", "10000000/s", "100/min", "7/h", "1/day"))
ALGORITHMS = ("gcra", "sliding_window", "fixed_window")
OUTCOMES = ("success", "failure", "ignore")


LIVES = st.sampled_from((0.01, 1, "5s", 30)) | st.floats(0.01, 60.0)


@st.composite
def breakers(draw: st.DrawFn) -> rules.Breaker:
    window = draw(WINDOWS | st.sampled_from(("1s", "2500ms", "10s", "1min", "1h")))
    consecutive = draw(st.none() | st.none() | st.integers(1, 9))
    most = window if isinstance(window, int) else 60
    open_for = draw(SECONDS)
    return rules.Breaker(
        window=window,
        consecutive=consecutive,
        min_calls=draw(st.integers(1, min(most, 30)) | st.integers(1, most)),
        failure_rate=draw(SHARES),
        slow_after=None if consecutive else draw(st.none() | SECONDS),
        slow_rate=draw(SHARES),
        open_for=open_for,
        open_backoff=draw(st.sampled_from((1, 1.5, 2.0, 10)) | st.floats(1, 10)),
        open_for_max=draw(st.none() | st.just(open_for) | st.floats(20.0, 300.0)),
        jitter=0,
        recovery_ramp=draw(st.none() | st.floats(0.1, 20.0)),
        probes=draw(st.integers(1, 9) | st.just(100)),
        probe_success_rate=draw(SHARES),
        probe_timeout=draw(SECONDS),
    )


@st.composite
def rate_limits(draw: st.DrawFn) -> rules.RateLimit:
    burst = draw(st.none() | st.integers(1, 30) | st.integers(1, 3_000))
    return rules.RateLimit(draw(RATES), burst=burst)


@st.composite
def budgets(draw: st.DrawFn) -> rules.RetryBudget:
    rate = draw(RATES)
    burst = draw(st.integers(1, 20) | st.integers(1, 3_000))
    return rules.RetryBudget(ratio=draw(SHARES), min_rate=rate, burst=burst)


def windows(algorithm: str) -> st.SearchStrategy[rules.RateLimit]:
    counts = st.integers(1, 30) | st.sampled_from((100, 3_000, 100_000))
    return st.builds(
        lambda count, unit: rules.RateLimit(f"{count}/{unit}", algorithm=algorithm),
        counts,
        st.sampled_from(("s", "s", "min", "h", "day")),
    )


def bulkheads(holds: st.SearchStrategy[float | None]) -> st.SearchStrategy[rules.Bulkhead]:
    return st.builds(
        lambda limit, hold: rules.Bulkhead(limit, hold=hold), st.integers(1, 12), holds
    )


@st.composite
def shedders(draw: st.DrawFn) -> rules.Shedder:
    limit = draw(st.integers(1, 12) | st.sampled_from(("aimd", "vegas", "gradient2")))
    if isinstance(limit, int):
        return rules.Shedder(limit)
    least, initial, most = sorted(draw(st.tuples(*[st.integers(1, 30)] * 3)))
    timeout = draw(st.none() | SECONDS) if limit == "aimd" else None
    return rules.Shedder(
        limit, min_limit=least, initial=initial, max_limit=most, timeout=timeout, max_lag=0.1
    )


class PolicyMachine(RuleBasedStateMachine):
    """A policy and its model, side by side; subclasses choose the rules."""

    breaker: st.SearchStrategy[rules.Breaker | None] = st.none()
    shedder: st.SearchStrategy[rules.Shedder | None] = st.none()
    bulkhead: st.SearchStrategy[rules.Bulkhead | None] = st.none()
    budget: st.SearchStrategy[rules.RetryBudget | None] = st.none()
    rate: st.SearchStrategy[rules.RateLimit | None] = st.none()

    @initialize(data=st.data(), start=STARTS)
    def begin(self, data: st.DataObject, start: int) -> None:
        kinds = (self.breaker, self.shedder, self.bulkhead, self.budget, self.rate)
        breaker, shedder, bulkhead, budget, rate = drawn = [data.draw(kind) for kind in kinds]
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20)
        chosen = [one for one in drawn if one is not None]
        self.policy = Policy("model/checked", *chosen, engine=self.engine)
        self.model = PolicyModel(
            BreakerModel(*breaker.core()) if breaker else None,
            shedder_model(*shedder.core()) if shedder else None,
            BulkheadModel(*bulkhead.core()[:2]) if bulkhead else None,
            BudgetModel(*budget.core(), born=start) if budget else None,
            rate_model(*rate.core()) if rate else None,
        )
        self.out: list[tuple[Any, Admission]] = []
        self.taken: list[tuple[int, int]] = []
        self.counts = dict.fromkeys(("admitted", "success", "failure", "ignored", "void"), 0)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.out.clear()
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @precondition(lambda self: self.model.breaker and self.model.breaker.until > self.now)
    @rule(distance=st.integers(-1, 1))
    def advance_to_the_end_of_a_state(self, distance: int) -> None:
        self.advance(max(0, self.model.breaker.until - self.now + distance))

    @precondition(lambda self: any(self._ticks()))
    @rule(data=st.data(), distance=st.integers(-1, 1))
    def advance_to_an_expiry(self, data: st.DataObject, distance: int) -> None:
        tick = data.draw(st.sampled_from(self._ticks()))
        self.advance(max(0, tick * TICK - self.now + distance))

    @rule(cost=st.integers(-1, 4) | st.integers(1, 40), attempt=st.sampled_from((1, 1, 1, 2, 7)))
    def acquire(self, cost: int, attempt: int = 1) -> None:
        self._acquire(cost, Wish(attempt=attempt), None)

    @precondition(lambda self: self.model.shedder)
    @rule(
        rank=st.integers(0, 4),
        revocable=st.booleans(),
        deadline=st.none() | st.just(0.0) | st.just(-0.5) | SECONDS,
        times=st.integers(1, 6),
    )
    def acquire_as(self, rank: int, revocable: bool, deadline: float | None, times: int) -> None:
        left = 0 if deadline is None else int(max(deadline, -1.0) * 1e9) or -1
        for _ in range(times):
            self._acquire(1, Wish(rank, revocable, left), deadline)

    @precondition(lambda self: self.model.shedder)
    @rule(lag=st.sampled_from((0.0, 0.1, 0.11, 0.2, 5.0)) | st.floats(0.0, 0.5))
    def note_lag(self, lag: float) -> None:
        self.policy.note_lag(lag)
        self.model.shedder.note_lag(int(lag * 1e9), self.now)

    def _acquire(self, cost: int, wish: Wish, deadline: float | None) -> None:
        said = (wish.rank + 1, wish.attempt, deadline, wish.revocable)
        verdict = self.policy.try_acquire(cost, None, *said)
        expected = self.model.acquire(self.now, cost, wish)
        if not isinstance(expected, Admission):
            assert not verdict, "admitted, and should not have been"
            assert (verdict.reason, verdict.retry_after) == (expected[0], expected[1] / NS)
            return
        assert verdict, f"{verdict!r} should have been admitted"
        if expected.seat:
            expected.seat.cell = verdict.seat[0]
        self.counts["admitted"] += 1
        self.taken.append((self.now, cost))
        if self.model.breaker or self.model.bulkhead or self.model.shedder:
            self.out.append((verdict, expected))

    @rule(times=st.integers(2, 40), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1))
    def make_calls(self, times: int, outcomes: list[str]) -> None:
        for _, outcome in zip(range(times), itertools.cycle(outcomes), strict=False):
            before = len(self.out)
            self.acquire(1)
            if len(self.out) > before:
                self._settle(len(self.out) - 1, outcome)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def report(self, data: st.DataObject, outcome: str) -> None:
        self._settle(data.draw(st.integers(0, len(self.out) - 1)), outcome)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        permit, admission = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        del permit
        self._count(self.model.report(admission, "ignore", self.now), "ignore")

    @precondition(lambda self: self.model.breaker)
    @rule(state=st.sampled_from(("open", "closed")), ttl=LIVES)
    def force(self, state: str, ttl: float | str) -> None:
        getattr(self.policy, f"force_{state}")(ttl)
        self.model.breaker.force(f"forced_{state}", rules.force_ns(ttl), self.now)

    @precondition(lambda self: self.model.breaker)
    @rule()
    def unforce(self) -> None:
        assert self.policy.unforce() == self.model.breaker.unforce(self.now)

    @invariant()
    def looks_alike(self) -> None:
        if not hasattr(self, "model"):
            return
        (seen,) = self.engine.snapshot().policies
        assert {name: getattr(seen, name) for name in self.counts} == self.counts
        assert seen.latency.count == seen.success + seen.failure
        if model := self.model.rate:
            assert seen.rate_limit.remaining == model.remaining(self.now)
        if model := self.model.budget:
            assert seen.retry_budget.remaining == model.remaining(self.now)
        if model := self.model.bulkhead:
            assert seen.bulkhead.in_use == model.in_use(self.now)
        if model := self.model.shedder:
            assert seen.shedder.in_use == len(model.seats)
            assert seen.shedder.limit == model.limit(self.now)
            ranks = [seat.rank for seat in model.seats]
            assert list(seen.shedder.by_class.values()) == [ranks.count(r) for r in range(5)]
            assert all(permit.revoked == out.seat.revoked for permit, out in self.out)
        if model := self.model.breaker:
            circuit = seen.breaker
            assert (circuit.state, circuit.generation) == (model.shown(self.now), model.generation)
            assert (circuit.calls, circuit.failures, circuit.slow) == model.window_now(self.now)
            assert circuit.opened == model.opened

    @invariant()
    def keeps_the_rate_over_every_interval(self) -> None:
        """From any admission to the last one: at most burst + rate x t tokens."""
        model = getattr(self, "model", None) and self.model.rate
        if not isinstance(model, RateModel) or not self.taken:
            return
        total = 0
        end = self.taken[-1][0]
        for when, cost in reversed(self.taken):
            total += cost
            assert (total - model.burst) * model.interval <= end - when

    def _settle(self, index: int, outcome: str) -> None:
        permit, admission = self.out.pop(index)
        valid = self.model.report(admission, outcome, self.now)
        assert getattr(permit, outcome)() == valid
        assert not getattr(permit, outcome)()
        self._count(valid, outcome)

    def _count(self, valid: bool, outcome: str) -> None:
        name = {"ignore": "ignored"}.get(outcome, outcome)
        self.counts[name if valid else "void"] += 1

    def _ticks(self) -> list[int]:
        leases = [admission.lease for _, admission in self.out]
        probes = [admission.gate.probe for _, admission in self.out if admission.gate]
        return [lease.tick for lease in leases + probes if lease and lease.tick]


class RateMachine(PolicyMachine):
    rate = rate_limits()


class KeyedMachine(RuleBasedStateMachine):
    """Keys of a table with little room: each as if it were alone, or without a cell and refused."""

    @initialize(data=st.data(), start=STARTS, algorithm=st.sampled_from(ALGORITHMS))
    def begin(self, data: st.DataObject, start: int, algorithm: str) -> None:
        limits = rate_limits() if algorithm == "gcra" else windows(algorithm)
        limit = msgspec.structs.replace(data.draw(limits), key="tenant", max_keys=1)
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20)
        self.policy = Policy("model/keyed", limit, engine=self.engine)
        self.parameters = limit.core()
        self.models: dict[str, RateModel | SlidingModel | FixedModel] = {}

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @rule(key=st.sampled_from("abcdefgh"), cost=st.integers(1, 4) | st.integers(1, 40))
    def acquire(self, key: str, cost: int) -> None:
        model = self.models.setdefault(key, rate_model(*self.parameters))
        verdict = self.policy.try_acquire(cost, key)
        if cost > model.burst:
            assert verdict.reason == "invalid"
            return
        if not verdict and model.remaining(self.now) == model.burst:
            return  # it found no room, as it had no cell: the crowd has them all
        wait = model.take(self.now, cost)
        assert (bool(verdict), verdict.retry_after) == (wait == 0, wait / NS)
        assert self.policy.remaining_of(key) == model.remaining(self.now)

    @rule(first=st.integers(0, 100_000), count=st.integers(1, 300) | st.just(3_000))
    def crowd(self, first: int, count: int) -> None:
        """Others come, and find room or not; the keys above must not notice."""
        for number in range(first, first + count):
            self.policy.try_acquire(key=str(number))

    @invariant()
    def no_key_was_touched(self) -> None:
        for key, model in getattr(self, "models", {}).items():
            if model.remaining(self.now) < model.burst:
                assert self.policy.remaining_of(key) == model.remaining(self.now)


class ThrottleMachine(RuleBasedStateMachine):
    """The window is exact, and only a call that the model gives a chance to be refused is."""

    @initialize(
        start=STARTS,
        k=st.sampled_from((1, 1.1, 2, 100)),
        window=st.sampled_from((1, 10, "2min", "1h")) | st.floats(1, 3_600),
    )
    def begin(self, start: int, k: float, window: float | str) -> None:
        rule = rules.Throttle(k=k, window=window)
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20)
        self.policy = Policy("model/throttled", rule, engine=self.engine)
        self.model = ThrottleModel(*rule.core())
        self.out: list[Any] = []

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.out.clear()
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @rule(times=st.integers(1, 30))
    def acquire(self, times: int) -> None:
        for _ in range(times):
            verdict = self.policy.try_acquire()
            if verdict:
                self.out.append(verdict)
            else:
                assert verdict.reason == "shed"
                assert self.model.probability(self.now) > 0
                self.model.ended.append((self.now, "refused"))

    @rule(times=st.integers(1, 30), outcome=st.sampled_from(OUTCOMES))
    def report(self, times: int, outcome: str) -> None:
        """The arena's secret draws, so what is drawn here must not go by who was admitted."""
        for _ in range(min(times, len(self.out))):
            assert getattr(self.out.pop(), outcome)()
            if outcome != "ignore":
                self.model.ended.append((self.now, outcome))

    @invariant()
    def looks_alike(self) -> None:
        if hasattr(self, "model"):
            found = self.engine.snapshot().policies[0].throttle
            assert (found.requests, found.accepts) == self.model.window_now(self.now)
            assert abs(found.probability - self.model.probability(self.now)) < 1e-9


class FlagMachine(RuleBasedStateMachine):
    """Two handles on one flag, flipped and cleared, as time passes."""

    @initialize(start=STARTS, enabled=st.booleans())
    def begin(self, start: int, enabled: bool) -> None:
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20)
        make = {"enabled": enabled, "name": "model/flag", "engine": self.engine}
        self.handles = [Feature(**make), Feature(**make)]
        self.model = FlagModel(enabled)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @precondition(lambda self: self.model.in_force(self.now))
    @rule(distance=st.integers(-1, 1))
    def advance_to_the_end(self, distance: int) -> None:
        self.advance(self.model.until - self.now + distance)

    @rule(which=st.integers(0, 1), on=st.booleans(), ttl=LIVES, reason=st.text(max_size=26))
    def flip(self, which: int, on: bool, ttl: float | str, reason: str) -> None:
        handle = self.handles[which]
        (handle.turn_on if on else handle.turn_off)(ttl, reason)
        self.model.flip(on, rules.force_ns(ttl), self.now, reason)

    @rule(which=st.integers(0, 1))
    def clear(self, which: int) -> None:
        assert self.handles[which].clear() == self.model.clear(self.now)

    @invariant()
    def looks_alike(self) -> None:
        for handle in getattr(self, "handles", []):
            assert handle.is_on() == self.model.is_on(self.now)
            assert (handle.state, handle.reason) == self.model.shown(self.now)


class CheckMachine(RuleBasedStateMachine):
    """A check that is reported to, and a policy that hangs on it."""

    @initialize(
        start=STARTS,
        cache=st.sampled_from((0.01, 1, 60.0)) | st.floats(0.01, 100),
        fail_after=st.integers(1, 4),
        ok_after=st.integers(1, 4),
    )
    def begin(self, start: int, cache: float, fail_after: int, ok_after: int) -> None:
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20)
        self.policy = Policy("model/hung", rules.Health("db"), engine=self.engine)
        rule = rules.Check(cache=cache, fail_after=fail_after, ok_after=ok_after)
        self.check = HealthCheck(
            "db", cache=cache, fail_after=fail_after, ok_after=ok_after, engine=self.engine
        )
        self.model = CheckModel(*rule.core())

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @precondition(lambda self: self.model.until > self.now)
    @rule(distance=st.integers(-1, 1))
    def advance_to_the_end(self, distance: int) -> None:
        self.advance(self.model.until - self.now + distance)

    @rule(result=st.sampled_from(("healthy", "degraded", "unhealthy")), times=st.integers(1, 3))
    def report(self, result: str, times: int) -> None:
        for _ in range(times):
            self.model.report(result, self.now)
            assert self.check.report(result) == self.model.shown(self.now)

    @invariant()
    def looks_alike(self) -> None:
        if hasattr(self, "model"):
            status = self.model.shown(self.now)
            assert self.check.status == status
            assert bool(self.policy.try_acquire()) == (status != "unhealthy")
            if self.now < self.model.until:
                assert self.check.snapshot()[1] == self.model.run()


class TrialMachine(RuleBasedStateMachine):
    """An experiment that is started, stopped and outlived; call n has one fate."""

    @initialize(start=STARTS, seed=st.integers(0, 3), chance=st.sampled_from((0.1, 0.5, 0.9)))
    def begin(self, start: int, seed: int, chance: float) -> None:
        self.now = start
        self.clock = ManualClock(float(max(1, start // NS)))
        self.clock.advance((start - max(1, start // NS) * NS) / NS)
        self.engine = Engine(clock=self.clock, arena_size=4 << 20, chaos=True)
        rule = rules.Chaos(probability=chance, impact="abort", ttl=5, seed=seed)
        self.policy = Policy("model/tried", rule, engine=self.engine)
        self.model = TrialModel()
        self.model.start(5 * NS, start)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        self.now += step
        self.clock.advance(step / NS)

    @precondition(lambda self: self.model.until > self.now)
    @rule(distance=st.integers(-1, 1))
    def advance_to_the_end(self, distance: int) -> None:
        self.advance(self.model.until - self.now + distance)

    @rule(ttl=LIVES)
    def start_anew(self, ttl: float | str) -> None:
        self.policy.start_chaos(ttl)
        self.model.start(rules.force_ns(ttl), self.now)

    @rule()
    def stop(self) -> None:
        assert self.policy.stop_chaos() == self.model.stop(self.now)

    @rule(times=st.integers(1, 20))
    def acquire(self, times: int) -> None:
        for _ in range(times):
            assert self.model.agrees(not self.policy.try_acquire(), self.now)

    @invariant()
    def looks_alike(self) -> None:
        if hasattr(self, "model"):
            found = self.engine.snapshot().policies[0].chaos
            assert (found.state == "running") == (self.now < self.model.until)
            assert (found.run, found.asked) == (self.model.runs, self.model.asked)
            assert found.injected == self.model.injected


class SlidingWindowMachine(PolicyMachine):
    rate = windows("sliding_window")


class FixedWindowMachine(PolicyMachine):
    rate = windows("fixed_window")


class BulkheadMachine(PolicyMachine):
    bulkhead = bulkheads(st.none() | SECONDS)


class BudgetMachine(PolicyMachine):
    budget = budgets()
    rate = st.none() | rate_limits()


class BreakerMachine(PolicyMachine):
    breaker = breakers()


class ShedderMachine(PolicyMachine):
    shedder = shedders()


class AllRulesMachine(PolicyMachine):
    breaker = breakers()
    shedder = shedders()
    bulkhead = bulkheads(st.none())
    budget = st.none() | budgets()
    rate = rate_limits()


TestRate = RateMachine.TestCase
TestSlidingWindow = SlidingWindowMachine.TestCase
TestKeyed = KeyedMachine.TestCase
TestFixedWindow = FixedWindowMachine.TestCase
TestBulkhead = BulkheadMachine.TestCase
TestBudget = BudgetMachine.TestCase
TestThrottle = ThrottleMachine.TestCase
TestFlag = FlagMachine.TestCase
TestCheck = CheckMachine.TestCase
TestTrial = TrialMachine.TestCase
TestShedder = ShedderMachine.TestCase
TestBreaker = BreakerMachine.TestCase
TestAllRules = AllRulesMachine.TestCase
