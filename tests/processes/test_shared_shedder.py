"""One load shedder, several processes: never one too many, and a count that comes right again."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import CRITICAL, NORMAL, Engine, Policy, rules

LIMIT = 8
TRIES = 100_000
KILLS = 40


@pytest.fixture
def load(open_engine: Callable[..., Engine], arena: Path) -> Policy:
    return Policy("load/eight", rules.Shedder(LIMIT), engine=open_engine(arena))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A file of zeroed words for workers to write to."""
    path = tmp_path / "board"
    path.write_bytes(bytes(4096))
    return path


def race(start: Callable[..., Any], function: str, *arguments: object) -> list[Any]:
    """Let two workers go at the same time and return what they said."""
    workers = [start(function, *arguments, seat, TRIES) for seat in range(2)]
    assert [worker.hear() for worker in workers] == ["ready", "ready"]
    for worker in workers:
        worker.tell("go")
    said = [worker.hear() for worker in workers]
    for worker in workers:
        worker.tell("end")
    return said


def fill(load: Policy) -> list[Any]:
    """Take every place there is, and look once more when the count may be looked after again."""
    taken = []
    for _ in range(2):
        while permit := load.try_acquire(priority=CRITICAL):
            taken.append(permit)
        time.sleep(0.3)
    return taken


def test_places_never_have_two_holders_and_are_all_there_afterwards(
    start: Callable[..., Any], load: Policy, arena: Path, board: Path
) -> None:
    said = race(start, "share_a_shedder", arena, board)
    assert [one["overlaps"] for one in said] == [0, 0]
    assert min(one["refused"] for one in said) > 0, "the two never met: the run proves nothing"
    assert min(one["admitted"] for one in said) > TRIES // 10
    assert len(fill(load)) == LIMIT


def test_places_are_all_there_after_two_took_them_from_one_another(
    start: Callable[..., Any], load: Policy, open_engine: Callable[..., Engine], arena: Path
) -> None:
    said = race(start, "revoke_one_another", arena)
    assert min(one["lost"] for one in said) > 100, "the two never met: the run proves nothing"
    (seen,) = open_engine(arena).snapshot().policies
    assert seen.shedder.in_use == 0
    assert seen.success + seen.ignored == seen.admitted == sum(one["admitted"] for one in said)
    assert len(fill(load)) == LIMIT


def test_killed_holder_gives_its_places_back_within_a_second(
    start: Callable[..., Any], load: Policy, seconds_until: Callable[..., float], arena: Path
) -> None:
    holder = start("hold", arena, "load/eight", 6)
    assert holder.hear() == 6
    assert not load.try_acquire(priority=NORMAL)
    holder.kill()
    permits = []

    def take() -> bool:
        permits.append(load.try_acquire(priority=NORMAL))
        return bool(permits[-1])

    seconds_until(take, at_most=1.0)
    assert permits[-1].success()
    assert len(fill(load)) == LIMIT


def test_count_comes_right_when_processes_are_killed_anywhere(
    start: Callable[..., Any], load: Policy, arena: Path
) -> None:
    generator = random.Random(1)
    for _ in range(KILLS // 2):
        workers = [start("shed_for_ever", arena) for _ in range(2)]
        assert [worker.hear() for worker in workers] == ["ready"] * 2
        time.sleep(generator.uniform(0.001, 0.02))
        for worker in workers:
            worker.kill()
    assert len(fill(load)) == LIMIT
