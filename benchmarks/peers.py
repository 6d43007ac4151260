"""The libraries one would use otherwise, in the same run, on their success path."""

import asyncio
import threading
from typing import Any

import circuitbreaker
import limits
import limits.strategies
import pybreaker
import tenacity
from measure import Bar, Loop, Row
from rows import BOTH, BURST, RATE, three_rules, work

import engine
from engine import rules

ITEM = limits.RateLimitItemPerSecond(100_000_000)
FEW = limits.RateLimitItemPerHour(100)


def decorated_rows(eng: engine.Engine) -> list[Row]:
    """A decorated function that succeeds."""
    circuit = Loop("f()", f=engine.Policy("peers/circuit", rules.Breaker(), engine=eng)(work))
    three = Loop("f()", f=engine.Policy("peers/three", *three_rules(), engine=eng)(work))
    peers: list[tuple[str, float, Loop, Any]] = [
        ("pybreaker", 15, circuit, pybreaker.CircuitBreaker()(work)),
        ("circuitbreaker", 5, circuit, circuitbreaker.CircuitBreaker()(work)),
        ("tenacity", 100, three, tenacity.retry(stop=tenacity.stop_after_attempt(3))(work)),
    ]
    return [
        Row(f"{name}, decorated call", _faster(limit), ours, Loop("f()", f=theirs))
        for name, limit, ours, theirs in peers
    ]


def limiter_rows(eng: engine.Engine) -> list[Row]:
    """`limits` in memory: a hit that is admitted, and one that is refused."""
    storage = limits.storage.MemoryStorage()
    fixed = limits.strategies.FixedWindowRateLimiter(storage)
    moving = limits.strategies.MovingWindowRateLimiter(storage)
    drained = engine.Limiter("1/day", burst=1, engine=eng)
    drained.try_acquire()
    while moving.hit(FEW, "bench"):
        pass
    hit = "f(item, 'bench')"
    return [
        Row(
            "limits, fixed window, admitted",
            _faster(50),
            Loop("f()", f=engine.Limiter(RATE, burst=BURST, engine=eng).try_acquire),
            Loop(hit, f=fixed.hit, item=ITEM),
        ),
        Row(
            "limits, moving window, refused",
            _faster(50),
            Loop("f()", f=drained.try_acquire),
            Loop(hit, f=moving.hit, item=FEW),
        ),
    ]


def semaphore_rows(eng: engine.Engine) -> list[Row]:
    """The semaphores of the standard library, free when asked."""
    bulkhead = engine.Bulkhead(32, engine=eng)
    ours = Loop(BOTH, take=bulkhead.try_acquire, give=bulkhead.release)
    bounded, loop_bound = threading.BoundedSemaphore(32), asyncio.Semaphore(32)
    return [
        Row(
            "threading.BoundedSemaphore, acquire + release",
            _faster(30),
            ours,
            Loop(BOTH, take=bounded.acquire, give=bounded.release),
        ),
        Row(
            "asyncio.Semaphore, acquire + release",
            _faster(20),
            ours,
            Loop(
                "await take()\ngive()",
                is_async=True,
                take=loop_bound.acquire,
                give=loop_bound.release,
            ),
        ),
    ]


def _faster(limit: float) -> Bar:
    return Bar(limit, "x faster", at_least=True)
