"""The operations of `import engine` and what each is held against."""

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from measure import Bar, Loop, Row

import engine
from engine import rules

RATE, BURST = "10000000/s", 1_000_000_000
LONG = 86_400.0
KEYS = 1_000_000
KEYS_ROOM = 48 << 20
BOTH = "take()\ngive()"
REPORTED = "permit = take()\npermit.success()"
CAUGHT = "try:\n    f()\nexcept problem:\n    pass"
ONE_BY_ONE = "gate()\ntake()\ntoken()\ngive()\nrecord(True, 0.01)"


def three_rules() -> tuple[rules.Rule, ...]:
    """A breaker, a bulkhead and a rate limit that admit all that the loops ask for."""
    return rules.Breaker(), rules.Bulkhead(32), rules.RateLimit(RATE, burst=BURST)


def open_policy(eng: engine.Engine, name: str) -> engine.Policy:
    """A policy of three rules whose breaker has just opened for a day."""
    breaker = rules.Breaker(window=1, open_for=LONG)
    policy = engine.Policy(name, breaker, *three_rules()[1:], engine=eng)
    policy.acquire_or_raise().failure()
    return policy


def work() -> None:
    """What the decorators are put on."""


async def work_async() -> None:
    """What the decorators are put on."""


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The least that a decorator in pure Python can be."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def wrapped_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """The least that a decorator of coroutine functions in pure Python can be."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Empty:
    """The least that a context manager in pure Python can be."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class ProblemError(Exception):
    """What a pure-Python breaker would raise."""


def refuse() -> None:
    """A raise in pure Python."""
    raise ProblemError("the circuit is open")


def primitive_rows(eng: engine.Engine, kernels: ModuleType) -> list[Row]:
    """One pattern each, in units of F."""
    floor = Loop("f()", f=kernels.Floor().nothing)
    limiter = engine.Limiter(RATE, burst=BURST, engine=eng)
    drained = engine.Limiter("1/day", burst=1, engine=eng)
    drained.try_acquire()
    breaker = engine.CircuitBreaker(engine=eng)
    bulkhead = engine.Bulkhead(32, engine=eng)
    counter = engine.Counter(engine=eng)
    bare, shut, gate = kernels.Limiter(), kernels.Limiter(True), kernels.Breaker()
    cell = kernels.Bulkhead()

    def row(operation: str, limit: float, ours: Loop, kernel: Loop) -> Row:
        return Row(operation, Bar(limit, "F"), ours, floor, kernel)

    return [
        row("counter.inc()", 1.3, Loop("f()", f=counter.inc), Loop("f()", f=kernels.Counter().inc)),
        row(
            "breaker.try_acquire(), closed",
            1.3,
            Loop("f()", f=breaker.try_acquire),
            Loop("f()", f=gate.try_acquire),
        ),
        row(
            "limiter.try_acquire(), refused",
            1.3,
            Loop("f()", f=drained.try_acquire),
            Loop("f()", f=shut.try_acquire),
        ),
        row(
            "limiter.try_acquire()",
            2.0,
            Loop("f()", f=limiter.try_acquire),
            Loop("f()", f=bare.try_acquire),
        ),
        row(
            "limiter.try_acquire(cost=1)",
            3.0,
            Loop("f(cost=1)", f=limiter.try_acquire),
            Loop("f(cost=1)", f=bare.try_acquire),
        ),
        row(
            "breaker.record(True, 0.01), window 100",
            2.5,
            Loop("f(True, 0.01)", f=breaker.record),
            Loop("f(True, 0.01)", f=gate.record),
        ),
        row(
            "bulkhead.try_acquire() + release()",
            2.8,
            Loop(BOTH, take=bulkhead.try_acquire, give=bulkhead.release),
            Loop(BOTH, take=cell.try_acquire, give=cell.release),
        ),
    ]


def policy_rows(eng: engine.Engine, kernels: ModuleType, mapped: Path) -> list[Row]:
    """Three rules in one call: against F, against the primitives, on a mapped file."""
    floor = Loop("f()", f=kernels.Floor().nothing)
    policy = engine.Policy("bench/three", *three_rules(), engine=eng)
    shared = engine.Policy("bench/three", *three_rules(), engine=engine.Engine(mapped))
    ours = Loop(REPORTED, take=policy.try_acquire)
    kernel = Loop(REPORTED, take=kernels.Policy().try_acquire)
    is_open = open_policy(eng, "bench/open")
    refusal = Loop("f()", f=kernels.Policy(True).try_acquire)
    breaker = engine.CircuitBreaker(engine=eng)
    bulkhead = engine.Bulkhead(32, engine=eng)
    apart = Loop(
        ONE_BY_ONE,
        gate=breaker.try_acquire,
        take=bulkhead.try_acquire,
        token=engine.Limiter(RATE, burst=BURST, engine=eng).try_acquire,
        give=bulkhead.release,
        record=breaker.record,
    )
    return [
        Row("policy of 3 rules: try_acquire() + success()", Bar(5.0, "F"), ours, floor, kernel),
        Row("the same against its primitives one by one", Bar(0.7, "x"), ours, apart),
        Row(
            "refusal by an open breaker, as a value",
            Bar(2.0, "F"),
            Loop("f()", f=is_open.try_acquire),
            floor,
            refusal,
        ),
        Row(
            "3 rules on a mapped file against private memory",
            Bar(1.1, "x"),
            Loop(REPORTED, take=shared.try_acquire),
            ours,
        ),
    ]


def tenants(count: int) -> list[str]:
    """So many keys, in no order."""
    return random.sample([f"tenant-{number}" for number in range(count)], count)


def keyed_limiter(eng: engine.Engine, keys: list[str]) -> engine.Limiter:
    """A limiter with room for these keys, each of which it has seen."""
    limiter = engine.Limiter(RATE, burst=BURST, key="tenant", max_keys=len(keys), engine=eng)
    for key in keys:
        limiter.try_acquire(1, key)
    return limiter


def a_limiter_each(keys: list[str], kernels: ModuleType) -> dict[str, Any]:
    """What one would do otherwise: a dict of limiters, the fastest there can be."""
    return {key: kernels.Limiter() for key in keys}


def keyed_rows(eng: engine.Engine, kernels: ModuleType) -> list[Row]:
    """A rate limit by key: what the key costs where it is hot, and where it is one of a million."""
    unkeyed = Loop("f()", f=engine.Limiter(RATE, burst=BURST, engine=eng).try_acquire)
    hot = keyed_limiter(eng, ["tenant"]).try_acquire
    keys = tenants(KEYS)
    many = keyed_limiter(engine.Engine(arena_size=KEYS_ROOM), keys)
    apart = a_limiter_each(keys, kernels)
    return [
        Row(
            "one hot key, try_acquire(1, key), against unkeyed",
            Bar(1.3, "x"),
            Loop("f(1, 'tenant')", f=hot),
            unkeyed,
        ),
        Row(
            "1M keys at random, against dict.get(k).method()",
            Bar(0.4, "x"),
            Loop("f(1, key)", keys=keys, f=many.try_acquire),
            Loop("f(key).try_acquire()", keys=keys, f=apart.get),
        ),
    ]


def form_rows(eng: engine.Engine) -> list[Row]:
    """The Python forms of a policy of three rules against pure Python that decides nothing."""
    policy = engine.Policy("bench/forms", *three_rules(), engine=eng)
    refused = open_policy(eng, "bench/refused")(work)
    block = "with block:\n    pass"
    return [
        Row(
            "@policy on a function, against an empty Python wrapper",
            Bar(0.75, "x"),
            Loop("f()", f=policy(work)),
            Loop("f()", f=wrapped(work)),
        ),
        Row(
            "@policy on a coroutine, against an empty Python wrapper",
            Bar(0.75, "x"),
            Loop("await f()", is_async=True, f=policy(work_async)),
            Loop("await f()", is_async=True, f=wrapped_async(work_async)),
        ),
        Row(
            "with policy, against an empty Python class",
            Bar(1.2, "x"),
            Loop(block, block=policy),
            Loop(block, block=Empty()),
        ),
        Row(
            "refusal by exception, against a Python raise and catch",
            Bar(0.6, "x"),
            Loop(CAUGHT, f=refused, problem=engine.Refused),
            Loop(CAUGHT, f=refuse, problem=ProblemError),
        ),
    ]
