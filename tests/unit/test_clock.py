"""An arena's time: the counter's where it can be trusted, and CLOCK_MONOTONIC where it cannot."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from engine import Engine, Policy, rules
from engine.testing import ManualClock

ROOT = Path(engine.__file__).parent.parent
SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
TICKING_AT, MULTIPLIER_AT = 192, 200  # offsets in the arena's header

needs_ticks = pytest.mark.skipif(
    not SOURCE.exists() or SOURCE.read_text().strip() != "tsc",
    reason="the kernel does not keep time by the time-stamp counter",
)


def poke(arena: Path, offset: int, value: int) -> None:
    with arena.open("r+b") as file:
        os.pwrite(file.fileno(), value.to_bytes(8, "little"), offset)


def peek(arena: Path, offset: int) -> int:
    return int.from_bytes(arena.read_bytes()[offset : offset + 8], "little")


@needs_ticks
def test_time_comes_from_the_counter_when_the_kernel_trusts_it(private: Engine) -> None:
    with Engine() as eng:
        assert eng.arena.clock == "ticks"
    assert private.arena.clock == "manual"


@pytest.mark.parametrize("mapped", [True, False])
def test_time_is_that_of_the_monotonic_clock(
    open_engine: Callable[..., Engine], arena: Path, mapped: bool
) -> None:
    eng = open_engine(arena if mapped else None)
    for _ in range(1_000):
        before, now, after = time.monotonic(), eng.arena.now, time.monotonic()
        assert before - 0.001 <= now <= after + 0.001


def test_time_never_goes_back(open_engine: Callable[..., Engine]) -> None:
    eng = open_engine()
    times = [eng.arena.now for _ in range(100_000)]
    assert times == sorted(times)


def test_time_is_the_same_for_every_process(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = open_engine(arena)
    code = f"import engine; print(repr(engine.Engine({str(arena)!r}).arena.now))"
    before = eng.arena.now
    there = float(
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60
        ).stdout
    )
    assert before < there < eng.arena.now


@needs_ticks
@pytest.mark.parametrize("factor", [0.5, 0.99, 1.01, 2])
def test_clock_falls_back_when_the_counter_has_left_it(
    open_engine: Callable[..., Engine], arena: Path, factor: float
) -> None:
    eng = open_engine(arena)
    poke(arena, MULTIPLIER_AT, int(peek(arena, MULTIPLIER_AT) * factor))
    limit = time.monotonic() + 10
    while eng.arena.clock == "ticks" and time.monotonic() < limit:
        eng.repair()
    assert eng.arena.clock == "monotonic"
    before, now, after = time.monotonic(), eng.arena.now, time.monotonic()
    assert before - 1e-6 <= now <= after + 1e-6


@needs_ticks
def test_clock_stays_when_the_counter_agrees(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = open_engine(arena)
    for _ in range(1_000):
        eng.repair()
    assert eng.arena.clock == "ticks"


@needs_ticks
def test_counter_that_was_reset_is_not_believed(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    """After a suspend the counter may start anew, behind the base."""
    eng = open_engine(arena)
    poke(arena, 208, 1 << 62)
    before, now, after = time.monotonic(), eng.arena.now, time.monotonic()
    assert before - 1e-6 <= now <= after + 1e-6


def test_nothing_is_refilled_when_the_clock_goes_back(private: Engine, clock: ManualClock) -> None:
    pay = Policy("shop/pay", rules.RateLimit("1/s", burst=1), engine=private)
    assert pay.try_acquire()
    clock.advance(-100)
    assert not pay.try_acquire()
    clock.advance(100.999)
    assert not pay.try_acquire()
    clock.advance(0.001)
    assert pay.try_acquire()
