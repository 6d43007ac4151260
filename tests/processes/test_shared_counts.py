"""Counters and rate limits that several processes share."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Counter, Engine, Policy, rules

TIMES = 250_000
KEYS = 4_000


def test_counter_is_exact_when_four_processes_count(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    counter = Counter(engine=open_engine(arena), name="visits")
    workers = [start("count", arena, TIMES) for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    for worker in workers:
        worker.tell("go")
    assert [worker.hear() for worker in workers] == ["done"] * 4
    assert counter.value == 4 * (TIMES + 3)
    assert [worker.end() for worker in workers] == [0] * 4
    assert counter.value == 4 * (TIMES + 3), "a process took its counts with it"


def test_counters_are_exact_when_processes_bind_them_at_the_same_time(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    workers = [start("count_under_many_names", arena, 200) for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    for worker in workers:
        worker.tell("go")
    assert [worker.hear() for worker in workers] == ["done"] * 4
    values = [Counter(engine=engine, name=f"visits/{name}").value for name in range(200)]
    assert values == [4] * 200


def test_kills_lose_no_count_that_was_done(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
    tmp_path: Path,
) -> None:
    counter = Counter(engine=open_engine(arena), name="visits")
    board = tmp_path / "board"
    board.write_bytes(bytes(8))
    for kills in range(1, 6):
        before = counter.value
        worker = start("count_for_ever", arena, board)
        assert worker.hear() == "ready"
        seconds_until(lambda before=before: counter.value > before + 10_000, at_most=10)
        worker.kill()
        done = int.from_bytes(board.read_bytes(), "little")
        assert done <= counter.value <= done + kills


@pytest.mark.parametrize("per_second", [20_000, 100_000])
def test_rate_is_kept_and_used_up_when_two_processes_saturate_it(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path, per_second: int
) -> None:
    burst = per_second // 5
    rule = rules.RateLimit(f"{per_second}/s", burst=burst)
    engine = open_engine(arena)
    begun = time.monotonic()
    Policy("rate/shared", rule, engine=engine)
    workers = [start("saturate", arena, begun + 2.5) for _ in range(2)]
    said = [worker.hear() for worker in workers]
    ended = max(one["ended"] for one in said)
    admitted = sum(one["admitted"] for one in said)
    assert admitted <= burst + per_second * (ended - begun)
    (snapshot,) = engine.snapshot().policies
    assert snapshot.admitted == admitted
    assert snapshot.refused["rate_limited"] > 0
    first_try_at_most = 1.0
    floor = burst + per_second * (2.5 - first_try_at_most)
    assert admitted >= 0.99 * floor


def test_keys_are_exact_when_two_processes_meet_them_first_at_the_same_time(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path, tmp_path: Path
) -> None:
    """Every cell has been used and is idle, so each new key claims one over another."""
    rule = rules.RateLimit("1000/s", burst=3_600_000, key="tenant", max_keys=2 * KEYS)
    Policy("keyed/race", rule, engine=open_engine(arena))
    board = tmp_path / "board"
    board.write_bytes(bytes(16))
    workers = [start("race_for_keys", arena, board, seat, KEYS) for seat in range(2)]
    assert [worker.hear() for worker in workers] == ["ready"] * 2
    for worker in workers:
        worker.tell("go")
    first, second = (worker.hear() for worker in workers)
    assert [one + other for one, other in zip(first, second, strict=True)] == [5] * KEYS
    assert sum(first) > 0 < sum(second), "one of them never came first"


def test_retries_are_an_exact_share_when_two_processes_call(
    start: Callable[..., Any], arena: Path
) -> None:
    calls = 20_000
    workers = [start("retry_always", arena, calls) for _ in range(2)]
    assert [worker.hear() for worker in workers] == ["ready"] * 2
    for worker in workers:
        worker.tell("go")
    retried = sum(worker.hear() for worker in workers)
    opening, share = 1, 2 * calls // 5
    assert opening + share - 2 <= retried <= opening + share, "each may find its share half paid"
    assert [worker.end() for worker in workers] == [0, 0]
