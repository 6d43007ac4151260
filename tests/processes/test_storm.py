"""Workers killed every 50 ms, in the middle of anything: nothing leaks and nothing gets stuck."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine


@pytest.mark.parametrize("attach", ["afresh", "inherit"])
def test_nothing_leaks_when_workers_are_killed(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
    attach: str,
) -> None:
    engine = open_engine(arena)
    nursery = start("storm", arena, 5, attach)
    kills = nursery.hear()["kills"]
    assert kills > 50
    pay = engine.policy("storm/pay")
    seconds_until(lambda: engine.snapshot().policies[0].bulkhead.in_use == 0, at_most=1.0)
    after = engine.snapshot()
    assert after.arena.owners == 1 + (attach == "inherit")
    counts = after.policies[0]
    calls = counts.admitted + sum(counts.refused.values())
    assert calls > 100_000, "too few calls to prove anything"
    reported = counts.success + counts.failure + counts.ignored + counts.void
    assert 0 <= counts.admitted - reported <= 4 * kills
    assert counts.breaker.opened > 0
    seconds_until(lambda: succeeds(pay) and state_of(engine) == "closed", at_most=3.0)
    permits = [pay.try_acquire() for _ in range(9)]
    assert [bool(permit) for permit in permits] == [True] * 8 + [False]


def succeeds(pay: Any) -> bool:
    permit = pay.try_acquire()
    return bool(permit) and permit.success()


def state_of(engine: Engine) -> str:
    return engine.snapshot().policies[0].breaker.state
