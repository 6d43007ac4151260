"""What a snapshot shows while others are at work: no effect without its cause."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Policy, rules

CHECKS, CHANGES = 3_000, 300
LONGEST_S = 2.0
CIRCUIT = rules.Breaker(failure_rate=1.0)
ENDED = ("success", "failure", "ignored")


@pytest.mark.parametrize(
    ("workers", "name"),
    [
        (("call_in_threads", "call_in_threads"), "calls/threads"),
        (("admit_there_report_here",), "calls/remote"),
    ],
)
def test_snapshot_shows_no_effect_without_its_cause(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    arena: Path,
    workers: tuple[str, ...],
    name: str,
) -> None:
    engine = open_engine(arena)
    Policy(name, CIRCUIT, rules.Bulkhead(64), engine=engine)
    started = [start(worker, arena) for worker in workers]
    assert [worker.hear() for worker in started] == ["ready"] * len(started)
    end = time.monotonic() + LONGEST_S
    checks = changes = last = 0
    while (checks < CHECKS or changes < CHANGES) and time.monotonic() < end:
        (seen,) = engine.snapshot().policies
        ended = sum(getattr(seen, outcome) for outcome in ENDED)
        assert ended <= seen.admitted, f"after {checks} checks"
        assert seen.latency.count <= seen.success + seen.failure, f"after {checks} checks"
        assert seen.latency.sum <= seen.duration_ns / 1e9, f"after {checks} checks"
        checks += 1
        changes += seen.admitted != last
        last = seen.admitted
    assert [worker.ask("stop") for worker in started] == ["done"] * len(started)
    assert checks > CHECKS // 10, "hardly looked: the run proves nothing"
    assert changes > CHANGES // 10, "hardly anything happened: the run proves nothing"
    (seen,) = engine.snapshot().policies
    assert sum(getattr(seen, outcome) for outcome in ENDED) == seen.admitted
    assert seen.latency.count == seen.success + seen.failure
    assert seen.latency.sum == seen.duration_ns / 1e9


def test_durations_of_the_dead_are_kept_and_their_histograms_used_again(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    Policy("pool/timed", rules.Bulkhead(8), engine=engine)
    assert engine.snapshot().policies[0].latency.count == 0
    used = []
    for lives in range(1, 6):
        worker = start("time_calls", arena, 100)
        assert worker.hear() == "done"
        worker.process.wait()
        snapshot = engine.snapshot()
        used.append(snapshot.arena.heap_used)
        assert snapshot.policies[0].latency.count == snapshot.policies[0].success == 100 * lives
    assert used == used[:1] * 5
