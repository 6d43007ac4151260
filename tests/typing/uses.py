"""What a type checker must make of the public names; checked by `mypy --strict`, never run."""

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

import engine
from engine import Permit, Refusal, rules

eng = engine.Engine()
pay = engine.Policy("payments/charge", rules.RateLimit("100/s", burst=20), engine=eng)


@pay
def charge(amount: int, *, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@pay
async def charge_later(amount: int, *, currency: str = "EUR") -> float:
    return amount / len(currency)


class Till:
    @pay
    def put(self, amount: int) -> bool:
        return amount > 0


def forms_keep_their_types() -> None:
    assert_type(charge(1, currency="CHF"), str)
    later: Coroutine[Any, Any, float] = charge_later(1)
    later.close()
    assert_type(pay.call(charge, 1, currency="CHF"), str)
    assert_type(pay.call(divmod, 7.0, 2.0), tuple[float, float])
    assert_type(Till().put(3), bool)
    plain: Callable[[int], str] = charge
    assert_type(plain(1), str)


async def awaited_forms_keep_their_types() -> None:
    assert_type(await charge_later(1), float)
    assert_type(await pay.call(charge_later, 1), float)
    async with pay as permit:
        assert_type(permit, Permit)
    assert_type(await pay.acquire(0.2, key="tenant"), Permit | Refusal)
    assert_type(await engine.Bulkhead(1, queue=8, engine=eng).acquire(), bool)


def verdict_is_narrowed_by_its_truth() -> None:
    verdict = pay.try_acquire()
    assert_type(verdict, Permit | Refusal)
    if verdict:
        assert_type(verdict, Permit)
        assert_type(verdict.success(), bool)
        assert_type(verdict.revoked, bool)
        assert_type(verdict.seat, tuple[int, int] | None)
    else:
        assert_type(verdict, Refusal)
        assert_type(verdict.retry_after, float)
    assert_type(verdict.reason, str)
    assert_type(verdict.remaining, int | None)
    assert_type(pay.acquire_sync(max_wait=0.2, cost=2), Permit | Refusal)


def operators_say_how_long() -> None:
    pay.force_open("5min")
    pay.force_closed(60)
    assert_type(pay.unforce(), bool)


def with_gives_a_permit() -> None:
    with pay as permit:
        assert_type(permit, Permit)


def errors_and_figures_are_typed() -> None:
    try:
        charge(1)
    except engine.Refused as refused:
        assert_type(refused.retry_after, float)
        assert_type(refused.reason, str)
    snapshot = eng.snapshot()
    assert_type(snapshot.policies[0].refused, dict[str, int])
    assert_type(eng.policy("payments/charge"), engine.Policy)
    assert_type(eng.names(), list[str])


def primitives_are_typed() -> None:
    assert_type(engine.Limiter("1/s", engine=eng).try_acquire(), bool)
    assert_type(engine.Bulkhead(1, hold="250ms", engine=eng).in_use, int)
    assert_type(engine.CircuitBreaker(engine=eng).record(True, 0.01), bool)
    assert_type(engine.Counter(engine=eng).value, int)
