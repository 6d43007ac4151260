"""Hypothesis' two sizes, and engines that are closed when their test ends."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from engine import Engine
from engine.testing import ManualClock

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "quick", max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=SLOW
)
settings.register_profile(
    "soak", max_examples=20_000, stateful_step_count=50, deadline=None, suppress_health_check=SLOW
)
SOAK = os.environ.get("ADMITTANCE_SOAK") == "1"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "soak" if SOAK else "quick"))


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether this is `make soak`: the long form of the tests that have one."""
    return SOAK


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """Where an arena may be made, in a directory of its own."""
    return tmp_path / "arena"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


@pytest.fixture
def open_engine() -> Iterator[Callable[..., Engine]]:
    """Make engines that are closed at the end of the test."""
    opened: list[Engine] = []

    def make(*arguments: Any, **options: Any) -> Engine:
        opened.append(Engine(*arguments, **options))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def private(open_engine: Callable[..., Engine], clock: ManualClock) -> Engine:
    """An engine on a private arena and the manual clock."""
    return open_engine(clock=clock)
