"""Waiting across processes: a permit reaches who waits for it, and no kill leaves a hole."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Policy, rules

ROUNDS = 15
LONG_S = 60


def waiting(engine: Engine) -> int:
    return engine.snapshot().policies[0].bulkhead.waiting


@pytest.mark.parametrize("form", ["thread", "task"])
def test_permit_reaches_another_process_within_milliseconds(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
    form: str,
) -> None:
    engine = open_engine(arena)
    pool = Policy("pool/one", rules.Bulkhead(1, queue=2), engine=engine)
    waiter = start("wait", arena, "pool/one", LONG_S, form)
    assert waiter.hear() == "ready"
    delays = []
    for turn in range(ROUNDS):
        permit = pool.try_acquire()
        assert permit
        waiter.tell("wait")
        seconds_until(lambda: waiting(engine) == 1, at_most=30)
        time.sleep(0.01 * (turn % 7))  # somewhere in a slice
        given = time.monotonic()
        permit.success()
        admitted, had = waiter.hear()
        assert admitted
        delays.append(had - given)
        seconds_until(lambda: engine.snapshot().policies[0].bulkhead.in_use == 0, at_most=30)
    assert statistics.median(delays) < 0.01, delays
    assert waiting(engine) == 0


@pytest.mark.parametrize("form", ["thread", "task"])
def test_killed_waiter_leaves_no_hole_in_the_queue(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
    form: str,
) -> None:
    engine = open_engine(arena)
    pool = Policy("pool/one", rules.Bulkhead(1, queue=1), engine=engine)
    permit = pool.try_acquire()
    first, second = (start("wait", arena, "pool/one", LONG_S, form) for _ in range(2))
    assert [first.hear(), second.hear()] == ["ready", "ready"]
    first.tell("wait")
    seconds_until(lambda: waiting(engine) == 1, at_most=30)
    assert second.ask("wait")[0] is False, "the queue has one place"
    first.kill()
    seconds_until(lambda: waiting(engine) == 0, at_most=1.0)
    second.tell("wait")
    seconds_until(lambda: waiting(engine) == 1, at_most=30)
    assert permit.success()
    assert second.hear()[0] is True


def test_waiters_get_the_permits_of_a_killed_holder_within_a_second(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    Policy("pool/two", rules.Bulkhead(2, queue=2), engine=engine)
    holder = start("hold", arena, "pool/two", 2)
    assert holder.hear() == 2
    waiters = [start("wait", arena, "pool/two", LONG_S, form) for form in ("thread", "task")]
    for waiter in waiters:
        assert waiter.hear() == "ready"
        waiter.tell("wait")
    pool = engine.snapshot
    seconds_until(lambda: pool().policies[0].bulkhead.waiting == 2, at_most=30)
    killed = time.monotonic()
    holder.kill()
    for waiter in waiters:
        admitted, had = waiter.hear()
        assert admitted
        assert had - killed < 1.0


def test_everybody_gets_through_and_nobody_shares_a_permit_when_two_processes_contend(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path, tmp_path: Path
) -> None:
    engine = open_engine(arena)
    Policy("pool/three", rules.Bulkhead(3, queue=16), engine=engine)
    board = tmp_path / "board"
    board.write_bytes(bytes(4096))
    workers = [start("contend", arena, board, seat, 8, 250) for seat in range(2)]
    assert [worker.hear() for worker in workers] == ["ready", "ready"]
    for worker in workers:
        worker.tell("go")
    assert [worker.hear() for worker in workers] == [{"overlaps": 0, "admitted": 2_000}] * 2
    pool = engine.snapshot().policies[0]
    assert (pool.bulkhead.in_use, pool.bulkhead.waiting) == (0, 0)
    assert (pool.admitted, pool.refused, pool.success) == (4_000, {}, 4_000)


def test_child_stands_in_no_line_of_its_parent(run: Callable[..., Any], arena: Path) -> None:
    assert run("fork_while_waiting", arena) == {
        "refused": [False, False],
        "queued": 1,
        "settled": True,
        "later": [True, True],
    }
