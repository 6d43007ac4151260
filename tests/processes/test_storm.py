"""Workers killed every 50 ms, in the middle of anything: nothing leaks and nothing gets stuck."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, rules
from engine.rules import PolicySet, PolicySpec

NAME = "storm/pay"
LIMIT = 8
SHORT = (7, 0, 0)  # seconds, operations and kills at the least
LONG = (60, 10_500_000, 550)
OPS_PER_SECOND = 100_000
HELD_AT_MOST = 4  # by one worker


def storm_rules(limit: int = LIMIT, window: int = 10) -> PolicySet:
    wanted = (
        rules.Breaker(
            window=window,
            min_calls=4,
            open_for=0.05,
            open_for_max=0.1,
            probes=3,
            probe_success_rate=1.0,
            probe_timeout=0.2,
        ),
        rules.Bulkhead(limit),
        rules.RateLimit("10000000/s", burst=10_000_000),
    )
    return PolicySet({NAME: PolicySpec(NAME, wanted)})


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("attach", ["afresh", "inherit"])
def test_nothing_leaks_when_workers_are_killed(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
    tmp_path: Path,
    attach: str,
    soak: bool,
) -> None:
    engine = open_engine(arena, storm_rules())
    board = tmp_path / "board"
    board.write_bytes(bytes(8 * 65_536))
    nursery = start("storm", arena, board, attach, *(LONG if soak else SHORT))
    assert nursery.hear() == "ready"
    scrapes = scrape_and_reload(engine, nursery)
    said = nursery.hear()
    engine.apply(storm_rules())
    pay = engine.policy(NAME)
    seconds_until(lambda: engine.snapshot().policies[0].bulkhead.in_use == 0, at_most=1.0)
    after = engine.snapshot()
    assert after.arena.owners == 1 + (attach == "inherit")
    counts = after.policies[0]
    calls = counts.admitted + sum(counts.refused.values())
    opened = counts.breaker.opened
    print(f"{attach}: {said}, {counts.admitted} of {calls} admitted, {scrapes=}, {opened=}")
    assert said["faults"] == 0, "two held one cell, or a generation was given out twice"
    assert said["kills"] > 50
    assert calls >= said["ops"]
    reported = counts.success + counts.failure + counts.ignored + counts.void
    done = counts.admitted + reported  # refusals, which change nothing, prove little
    assert done > OPS_PER_SECOND * said["seconds"], "too few permits to prove anything"
    assert 0 <= counts.admitted - reported <= HELD_AT_MOST * said["kills"]
    assert opened > 0
    seconds_until(lambda: succeeds(pay) and state_of(engine) == "closed", at_most=3.0)
    permits = [pay.try_acquire() for _ in range(LIMIT + 1)]
    assert [bool(permit) for permit in permits] == [True] * LIMIT + [False]


def scrape_and_reload(engine: Engine, nursery: Any) -> int:
    """Scrape until the storm is over, with other parameters every second; how many scrapes."""
    changes = itertools.cycle([(5, 200), (13, 40), (LIMIT, 10), (40, 100), (6, 20)])
    reload_at = time.monotonic() + 1
    admitted = scrapes = 0
    while not nursery.says_anything(within=0.02):
        (counts,) = engine.snapshot().policies
        assert counts.admitted >= admitted, "a counter went back"
        admitted = counts.admitted
        scrapes += 1
        if time.monotonic() > reload_at:
            engine.apply(storm_rules(*next(changes)))
            reload_at += 1
    return scrapes


def succeeds(pay: Any) -> bool:
    permit = pay.try_acquire()
    return bool(permit) and permit.success()


def state_of(engine: Engine) -> str:
    return engine.snapshot().policies[0].breaker.state
