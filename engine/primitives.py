"""The primitives: one pattern each, without a policy around it, for hot loops.

Each takes the parameters of its rule (`engine.rules`), `engine=` (default: the process-wide one)
and `name=`, by which the processes that share an arena find the same state; on a private arena the
name may be left out. Raises ValueError for a wrong parameter and for a missing name.
"""

from typing import Any

from engine.core import breaker, budget, bulkhead, counter, limiter
from engine.rules import Breaker, RateLimit
from engine.rules import Bulkhead as BulkheadRule
from engine.rules import RetryBudget as RetryBudgetRule
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
    """A bulkhead: `try_acquire()` takes one of `limit` permits or says False; `release()`."""

    __slots__ = ()

    def __new__(
        cls,
        limit: int,
        *,
        hold: float | str | None = None,
        engine: Engine | None = None,
        name: str | None = None,
    ) -> "Bulkhead":
        engine = engine or default()
        return super().__new__(
            cls, engine.arena, engine.bind_rule(BulkheadRule(limit, hold=hold), name)
        )


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


class Counter(counter.Counter):
    """A number that all processes add to: `inc()`, `add(n)`, `value`; it outlives them all."""

    __slots__ = ()

    def __new__(cls, *, engine: Engine | None = None, name: str | None = None) -> "Counter":
        engine = engine or default()
        return super().__new__(cls, engine.arena, engine.bind_counter(name))
