"""The libraries one would use otherwise, in memory, in the same run.

Each in the fastest form that its documentation shows, where nothing has to wait and nothing fails.
"""

import asyncio
import threading
from typing import Any

import aiolimiter
import anyio
import circuitbreaker
import hyx.bulkhead
import hyx.circuitbreaker
import hyx.ratelimit
import hyx.retry
import interlock
import limits
import limits.strategies
import purgatory
import pybreaker
import pyrate_limiter
import stamina
import tenacity
import throttled
from measure import Bar, Loop, Row, on_loop
from rows import BOTH, BURST, LONG, RATE, three_rules, work, work_async

import engine
from engine import rules

FAST = 100_000_000
ATTEMPTS = 3
ROOM = 32


def decorated_rows(eng: engine.Engine) -> list[Row]:
    """A decorated function that succeeds."""
    circuit = Loop("f()", f=engine.Policy("peers/circuit", rules.Breaker(), engine=eng)(work))
    three = Loop("f()", f=engine.Policy("peers/three", *three_rules(), engine=eng)(work))
    stop = tenacity.stop_after_attempt(ATTEMPTS)
    peers: list[tuple[str, float | None, Loop, Any]] = [
        ("pybreaker", 15, circuit, pybreaker.CircuitBreaker()),
        ("circuitbreaker", 5, circuit, circuitbreaker.CircuitBreaker()),
        ("interlock-cb", 60, circuit, interlock.CircuitBreaker(name="peer")),
        ("purgatory", None, circuit, purgatory.SyncCircuitBreakerFactory()("peer")),
        ("tenacity", 100, three, tenacity.retry(stop=stop)),
        ("stamina", 100, three, stamina.retry(on=OSError, attempts=ATTEMPTS)),
    ]
    return [
        Row(f"{name}, decorated call", _faster(limit), ours, Loop("f()", f=decorate(work)))
        for name, limit, ours, decorate in peers
    ]


def coroutine_rows(eng: engine.Engine) -> list[Row]:
    """A decorated coroutine function that succeeds."""

    def ours(*of: rules.Rule) -> Loop:
        policy = engine.Policy(f"peers/async-{len(of)}-{of[0].kind}", *of, engine=eng)
        return Loop("await f()", is_async=True, f=policy(work_async))

    async def bucket() -> Any:
        return hyx.ratelimit.tokenbucket(FAST, 1)

    circuit = ours(rules.Breaker())
    peers: list[tuple[str, Loop, Any]] = [
        ("purgatory", circuit, purgatory.AsyncCircuitBreakerFactory()("peer")),
        ("hyx, breaker", circuit, hyx.circuitbreaker.consecutive_breaker()),
        ("hyx, bulkhead", ours(rules.Bulkhead(ROOM)), hyx.bulkhead.bulkhead(ROOM, ROOM)),
        ("hyx, token bucket", ours(rules.RateLimit(RATE, burst=BURST)), on_loop(bucket())),
        ("hyx, retry", ours(*three_rules()), hyx.retry.retry(on=OSError, attempts=ATTEMPTS)),
    ]
    return [
        Row(
            f"{name}, decorated coroutine",
            _faster(None),
            loop,
            Loop("await f()", is_async=True, f=decorate(work_async)),
        )
        for name, loop, decorate in peers
    ]


def limiter_rows(eng: engine.Engine) -> list[Row]:
    """A rate limit: a call that is admitted, and one that is refused."""
    admitting = Loop("f()", f=engine.Limiter(RATE, burst=BURST, engine=eng).try_acquire)
    drained = engine.Limiter("1/day", burst=1, engine=eng)
    drained.try_acquire()
    refusing = Loop("f()", f=drained.try_acquire)
    pairs = {"limits": _limits(), "throttled-py": _throttled(), "pyrate-limiter": _pyrate()}
    rows = [
        Row(f"{name}, {verdict}", _faster(50), ours, theirs)
        for name, both in pairs.items()
        for verdict, ours, theirs in zip(
            ("admitted", "refused"), (admitting, refusing), both, strict=True
        )
    ]
    leaky = aiolimiter.AsyncLimiter(FAST, 1)
    theirs = Loop("await f()", is_async=True, f=leaky.acquire)
    return [*rows, Row("aiolimiter, admitted", _faster(None), admitting, theirs)]


def _limits() -> tuple[Loop, Loop]:
    """Its fixed window, the fastest of its strategies."""
    window = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    many, one = limits.RateLimitItemPerSecond(FAST), limits.RateLimitItemPerDay(1)
    window.hit(one, "bench")
    hit = "f(item, 'bench')"
    return Loop(hit, f=window.hit, item=many), Loop(hit, f=window.hit, item=one)


def _throttled() -> tuple[Loop, Loop]:
    """Its GCRA, as fast as its fixed window."""
    gcra = throttled.RateLimiterType.GCRA.value
    many = throttled.Throttled(using=gcra, quota=throttled.per_sec(FAST))
    one = throttled.Throttled(using=gcra, quota=throttled.per_day(1))
    one.limit("drained")
    return Loop("f('many')", f=many.limit), Loop("f('drained')", f=one.limit)


def _pyrate() -> tuple[Loop, Loop]:
    """Its fixed window, the fastest of its algorithms."""
    fixed, second = pyrate_limiter.FixedWindow(), pyrate_limiter.Duration.SECOND
    rates = [pyrate_limiter.Rate(FAST, second), pyrate_limiter.Rate(1, second * int(LONG))]
    many, one = (
        pyrate_limiter.Limiter(pyrate_limiter.InMemoryBucket([rate], algorithm=fixed))
        for rate in rates
    )
    one.try_acquire("bench", blocking=False)
    take = "f('bench', blocking=False)"
    return Loop(take, f=many.try_acquire), Loop(take, f=one.try_acquire)


def semaphore_rows(eng: engine.Engine) -> list[Row]:
    """Semaphores, free when asked."""
    bulkhead = engine.Bulkhead(ROOM, engine=eng)
    ours = Loop(BOTH, take=bulkhead.try_acquire, give=bulkhead.release)
    bounded, waiting = threading.BoundedSemaphore(ROOM), asyncio.Semaphore(ROOM)
    capacity = anyio.CapacityLimiter(ROOM)
    block = "async with block:\n    pass"
    awaited = f"await {BOTH}"
    peers: list[tuple[str, float, Loop]] = [
        (
            "threading.BoundedSemaphore, acquire + release",
            30,
            Loop(BOTH, take=bounded.acquire, give=bounded.release),
        ),
        (
            "asyncio.Semaphore, acquire + release",
            20,
            Loop(awaited, is_async=True, take=waiting.acquire, give=waiting.release),
        ),
        (
            "anyio.CapacityLimiter, async with",
            300,
            Loop(block, is_async=True, block=capacity),
        ),
        (
            "anyio.CapacityLimiter, acquire_nowait + release",
            300,
            Loop(BOTH, is_async=True, take=capacity.acquire_nowait, give=capacity.release),
        ),
    ]
    return [Row(name, _faster(limit), ours, theirs) for name, limit, theirs in peers]


def _faster(limit: float | None) -> Bar:
    return Bar(limit, "x faster", at_least=True)
