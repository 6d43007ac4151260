"""The primitives: one pattern each, without a policy around it, for hot loops.

Each takes the parameters of its rule (`engine.rules`), `engine=` (default: the process-wide one)
and `name=`, by which the processes that share an arena find the same state; on a private arena the
name may be left out. Raises ValueError for a wrong parameter and for a missing name.
"""

from typing import Any

from engine.core import breaker, budget, bulkhead, counter, feature, health, limiter, shedder
from engine.rules import Breaker, RateLimit, force_ns
from engine.rules import Bulkhead as BulkheadRule
from engine.rules import Check as CheckRule
from engine.rules import Feature as FeatureRule
from engine.rules import Health as HealthRule
from engine.rules import RetryBudget as RetryBudgetRule
from engine.rules import Shedder as ShedderRule
from engine.runtime import Engine, default


class Limiter(limiter.Limiter):
    """A rate limit: `Limiter("100/s", burst=20).try_acquire()` takes a token, or says False.

    `parameters` are those of `rules.RateLimit`, such as `algorithm` and `key`.
    """

    __slots__ = ()

    def __new__(
        cls,
        rate: str,
        *,
        burst: int | None = None,
        engine: Engine | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> "Limiter":
        engine = engine or default()
        rule = RateLimit(rate, burst=burst, **parameters)
        return super().__new__(cls, engine.arena, engine.bind_rule(rule, name))


class CircuitBreaker(breaker.CircuitBreaker):
    """A breaker: `try_acquire()` before work, `record(ok, duration)` or `ignore()` after it."""

    __slots__ = ()

    def __new__(
        cls, *, engine: Engine | None = None, name: str | None = None, **parameters: Any
    ) -> "CircuitBreaker":
        engine = engine or default()
        return super().__new__(cls, engine.arena, engine.bind_rule(Breaker(**parameters), name))


class Bulkhead(bulkhead.Bulkhead):
    """A bulkhead: `try_acquire()` takes one of `limit` permits or says False; `release()`.

    With a `queue`, `await acquire(max_wait)` and `acquire_sync(max_wait)` wait for one.
    """

    __slots__ = ()

    def __new__(
        cls,
        limit: int,
        *,
        hold: float | str | None = None,
        engine: Engine | None = None,
        name: str | None = None,
        queue: int = 0,
        max_wait: float | str | None = None,
    ) -> "Bulkhead":
        engine = engine or default()
        rule = BulkheadRule(limit, hold=hold, queue=queue, max_wait=max_wait)
        return super().__new__(cls, engine.arena, engine.bind_rule(rule, name))


class RetryBudget(budget.RetryBudget):
    """A retry budget: `deposit()` for each call, `try_acquire()` before each retry of one."""

    __slots__ = ()

    def __new__(
        cls,
        ratio: float | None = None,
        *,
        engine: Engine | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> "RetryBudget":
        engine = engine or default()
        if ratio is not None:
            parameters["ratio"] = ratio
        rule = RetryBudgetRule(**parameters)
        return super().__new__(cls, engine.arena, engine.bind_rule(rule, name))


class Feature(feature.Feature):
    """A feature flag: `is_on(key=None)`; an operator's flip is seen by the whole host at once.

    `parameters` are those of `rules.Feature`: `enabled` and `rollout`.
    """

    __slots__ = ()

    def __new__(
        cls, *, engine: Engine | None = None, name: str | None = None, **parameters: Any
    ) -> "Feature":
        engine = engine or default()
        rule = FeatureRule(**parameters)
        return super().__new__(cls, engine.arena, engine.bind_rule(rule, name))

    def turn_on(self, ttl: float | str, reason: str = "") -> None:
        """Turn it on for everybody for `ttl` (seconds, or "5min"; at most 30 days).

        `reason`, at most 104 bytes, stands beside the state. Raises ValueError, and ArenaError
        where the feature was taken out of service.
        """
        feature.flip(self.arena, self.row, "on", force_ns(ttl), reason)

    def turn_off(self, ttl: float | str, reason: str = "") -> None:
        """Turn it off for everybody (as for `turn_on`)."""
        feature.flip(self.arena, self.row, "off", force_ns(ttl), reason)

    def clear(self, reason: str = "") -> bool:
        """Let it be as configured again. False where it is already. Raises as `turn_on` does."""
        return feature.clear(self.arena, self.row, reason)


class HealthCheck(health.Check):
    """What a named check says: `report("healthy")`, `status`; all processes of the host read it.

    `parameters` are those of `rules.Check`. Policies hang on it by `rules.Health(name)`.
    """

    __slots__ = ()

    def __new__(
        cls, name: str, *, engine: Engine | None = None, **parameters: Any
    ) -> "HealthCheck":
        engine = engine or default()
        row = engine.bind_check(HealthRule(name), CheckRule(**parameters))
        return super().__new__(cls, engine.arena, row)


class Shedder(shedder.Shedder):
    """A load shedder: `try_acquire(priority)` takes one of `limit` places or says False.

    `release(priority)` gives one back, or `record(ok, duration, priority)`, from which a limit that
    adapts learns. `parameters` are those of `rules.Shedder`, such as `max_limit`.
    """

    __slots__ = ()

    def __new__(
        cls,
        limit: int | str,
        *,
        engine: Engine | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> "Shedder":
        engine = engine or default()
        rule = ShedderRule(limit, **parameters)
        return super().__new__(cls, engine.arena, engine.bind_rule(rule, name))


class Counter(counter.Counter):
    """A number that all processes add to: `inc()`, `add(n)`, `value`; it outlives them all."""

    __slots__ = ()

    def __new__(cls, *, engine: Engine | None = None, name: str | None = None) -> "Counter":
        engine = engine or default()
        return super().__new__(cls, engine.arena, engine.bind_counter(name))
