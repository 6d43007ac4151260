"""Decorated functions and coroutines: they look like what they guard, and end as it ends."""

import asyncio
import gc
import inspect
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from engine import Engine, Policy, RateLimited, rules
from engine.runtime import PolicySnapshot


@pytest.fixture
def pay(private: Engine) -> Policy:
    return Policy("shop/pay", rules.Bulkhead(4), rules.Breaker(), engine=private)


@pytest.fixture
def seen(private: Engine) -> Callable[[], dict[str, int]]:
    """What was counted, and how many permits are still out."""

    def read() -> dict[str, int]:
        (policy,) = private.snapshot().policies
        return counts(policy) | {"in_use": policy.bulkhead.in_use if policy.bulkhead else 0}

    return read


def counts(policy: PolicySnapshot) -> dict[str, int]:
    names = ("success", "failure", "ignored", "void")
    return {name: getattr(policy, name) for name in names if getattr(policy, name)}


def charge(order: int, *, currency: str = "EUR") -> str:
    """Charge an order."""
    return f"{order} {currency}"


async def charge_async(order: int, *, currency: str = "EUR") -> str:
    """Charge an order."""
    await asyncio.sleep(0)
    return f"{order} {currency}"


class Till:
    pass


module_pay = Policy("guard/module", rules.RateLimit("1000000/s"))


@module_pay
def module_charge() -> str:
    return "charged"


@pytest.mark.parametrize("function", [charge, charge_async])
def test_guarded_function_looks_like_the_function(pay: Policy, function: Any) -> None:
    guarded = pay(function)
    assert (guarded.__name__, guarded.__doc__) == (function.__name__, "Charge an order.")
    assert (guarded.__module__, guarded.__wrapped__) == (__name__, function)
    assert inspect.signature(guarded) == inspect.signature(function)
    assert inspect.iscoroutinefunction(guarded) == inspect.iscoroutinefunction(function)
    assert guarded.__annotations__ == function.__annotations__
    assert function.__name__ in repr(guarded)


def test_guarded_function_passes_arguments_on(pay: Policy) -> None:
    assert pay(charge)(7) == "7 EUR"
    assert pay(charge)(order=7, currency="USD") == "7 USD"
    assert pay(charge)(*[7], currency="USD") == "7 USD"
    with pytest.raises(TypeError, match="order"):
        pay(charge)()  # type: ignore[call-arg]


def test_guarded_function_binds_as_a_method(pay: Policy) -> None:
    def mine(self: Till, amount: int) -> tuple[Till, int]:
        return self, amount

    Till.charge = pay(mine)  # type: ignore[attr-defined]
    Till.shared = classmethod(pay(mine))  # type: ignore[attr-defined]
    Till.plain = staticmethod(pay(charge))  # type: ignore[attr-defined]
    till = Till()
    assert till.charge(3) == (till, 3)  # type: ignore[attr-defined]
    assert Till.charge(till, 3) == (till, 3)  # type: ignore[attr-defined]
    assert Till.shared(3) == (Till, 3)  # type: ignore[attr-defined]
    assert till.plain(3) == "3 EUR"  # type: ignore[attr-defined]


def test_guarded_function_of_a_module_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(module_charge)) is module_charge


def test_exception_passes_through_with_no_line_of_ours(pay: Policy) -> None:
    error = ValueError("broken")

    def broken() -> None:
        raise error

    with pytest.raises(ValueError, match="broken") as caught:
        pay(broken)()
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names == [names[0], "broken"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_call_that_was_given_up_is_ignored(
    pay: Policy, seen: Callable[[], dict[str, int]], kind: type[BaseException]
) -> None:
    def given_up() -> None:
        raise kind

    with pytest.raises(kind):
        pay(given_up)()
    assert seen() == {"ignored": 1, "in_use": 0}


def test_refused_call_raises_before_it_runs(private: Engine) -> None:
    ran: list[int] = []
    once = Policy("shop/once", rules.RateLimit("1/day", burst=1), engine=private)(ran.append)
    once(1)
    with pytest.raises(RateLimited) as caught:
        once(2)
    assert ran == [1]
    assert (caught.value.policy, caught.value.rule) == ("shop/once", "rate_limit")
    assert caught.value.retry_after == pytest.approx(86_400)


def test_coroutine_is_a_coroutine_to_asyncio(pay: Policy) -> None:
    async def main() -> list[str]:
        guarded = pay(charge_async)
        coroutine = guarded(1)
        assert asyncio.iscoroutine(coroutine)
        task = asyncio.create_task(coroutine)
        return [await task, *await asyncio.gather(guarded(2), asyncio.wait_for(guarded(3), 5))]

    assert asyncio.run(main()) == ["1 EUR", "2 EUR", "3 EUR"]


def test_coroutine_holds_its_permit_from_first_to_last_step(
    pay: Policy, seen: Callable[[], dict[str, int]]
) -> None:
    coroutine: Any = pay(charge_async)(1)
    assert seen() == {"in_use": 0}
    coroutine.send(None)
    assert seen() == {"in_use": 1}
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == "1 EUR"
    assert seen() == {"success": 1, "in_use": 0}


@pytest.mark.parametrize("result", [(1, 2), StopIteration(3), None, ValueError("as a value")])
def test_coroutine_returns_any_object_as_it_is(pay: Policy, result: Any) -> None:
    async def give() -> Any:
        return result

    assert asyncio.run(pay(give)()) is result


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_coroutine_cancelled_at_any_step_leaves_nothing_held(
    pay: Policy, seen: Callable[[], dict[str, int]], steps: int
) -> None:
    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(pay(work)())  # type: ignore[arg-type]
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen() == ({"in_use": 0} if steps == 0 else {"ignored": 1, "in_use": 0})


def test_coroutine_that_survives_its_cancellation_ends_as_it_ends(
    pay: Policy, seen: Callable[[], dict[str, int]]
) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done"

    async def main() -> str:
        task = asyncio.create_task(pay(stubborn)())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "done"
    assert seen() == {"success": 1, "in_use": 0}


@pytest.mark.parametrize("end", ["close", "drop"])
def test_coroutine_that_is_abandoned_is_ignored(
    pay: Policy, seen: Callable[[], dict[str, int]], end: str
) -> None:
    coroutine: Any = pay(charge_async)(1)
    coroutine.send(None)
    if end == "close":
        coroutine.close()
        coroutine.close()
    del coroutine
    gc.collect()
    assert seen() == {"ignored": 1, "in_use": 0}


def test_coroutine_thrown_into_gives_the_exception_to_the_function(
    pay: Policy, seen: Callable[[], dict[str, int]]
) -> None:
    coroutine: Any = pay(charge_async)(1)
    coroutine.send(None)
    error = ValueError("thrown")
    with pytest.raises(ValueError, match="thrown") as caught:
        coroutine.throw(error)
    assert caught.value is error
    assert seen() == {"failure": 1, "in_use": 0}


def test_refused_coroutine_raises_when_awaited_and_never_starts(private: Engine) -> None:
    started: list[int] = []

    async def work() -> None:
        started.append(1)

    once = Policy("shop/once", rules.RateLimit("1/day", burst=1), engine=private)(work)

    async def main() -> None:
        await once()
        refused = once()
        with pytest.raises(RateLimited):
            await refused

    asyncio.run(main())
    assert started == [1]
