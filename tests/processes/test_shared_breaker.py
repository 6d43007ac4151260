"""One breaker, several processes: the probes of half-open are counted for the whole host."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import HOUR

from engine import CircuitBreaker, Engine, Policy, rules

PROBES = 3


def open_circuit(engine: Engine, **parameters: Any) -> Policy:
    """A breaker that two failures have opened, for 50 ms."""
    usual = {"window": 10, "min_calls": 2, "open_for": 0.05, "open_backoff": 1, "probes": PROBES}
    rule = rules.Breaker(**usual | parameters)
    circuit = Policy("circuit/shared", rule, engine=engine)
    for permit in [circuit.try_acquire() for _ in range(2)]:
        assert permit.failure()
    return circuit


def state_of(engine: Engine) -> str:
    return engine.snapshot().policies[0].breaker.state


def test_probes_are_all_that_is_admitted_when_twenty_callers_meet_half_open(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    open_circuit(engine)
    workers = [start("probe", arena, 5) for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    for generation in range(1, 60, 2):
        snapshot = engine.snapshot().policies[0].breaker
        assert (snapshot.state, snapshot.generation) == ("open", generation)
        together = time.monotonic() + 0.07
        for worker in workers:
            worker.tell(together)
        assert sum(worker.hear() for worker in workers) == PROBES
        assert state_of(engine) == "half_open"
        for worker in workers:
            worker.tell("settle")
        assert [worker.hear() for worker in workers] == ["settled"] * 4


def test_circuit_recovers_by_itself_when_the_holders_of_its_probes_are_killed(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    circuit = open_circuit(engine, probe_timeout=3_600, probe_success_rate=0.6)
    assert not circuit.try_acquire()
    seconds_until(lambda: engine.snapshot().policies[0].breaker.retry_after == 0, at_most=1)
    holder = start("hold", arena, "circuit/shared", PROBES)
    assert holder.hear() == PROBES
    assert not circuit.try_acquire()
    holder.kill()
    permits = []
    seconds_until(lambda: bool(permits.append(circuit.try_acquire()) or permits[-1]), at_most=1)
    breaker = engine.snapshot().policies[0].breaker
    assert (breaker.state, breaker.opened) == ("half_open", 2)
    assert permits[-1].success()
    assert circuit.try_acquire().success()
    assert state_of(engine) == "closed"


def test_a_killed_holder_failed_only_its_own_probe(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    circuit = open_circuit(engine, probe_timeout=3_600, probe_success_rate=0.6)
    seconds_until(lambda: engine.snapshot().policies[0].breaker.retry_after == 0, at_most=1)
    holder = start("hold", arena, "circuit/shared", 1)
    assert holder.hear() == 1
    mine = [circuit.try_acquire(), circuit.try_acquire()]
    assert all(mine)
    holder.kill()
    seconds_until(lambda: bool(engine.repair()), at_most=1)
    assert state_of(engine) == "half_open"
    assert not circuit.try_acquire(), "a failed probe's place was given away again"
    assert [permit.success() for permit in mine] == [True, True]
    assert state_of(engine) == "closed"


def test_window_by_time_is_exact_when_four_processes_record(
    start: Callable[..., Any], open_engine: Callable[..., Engine], arena: Path
) -> None:
    engine = open_engine(arena)
    assert CircuitBreaker(name="circuit/hour", engine=engine, **HOUR).record(True)
    workers = [start("record_by_time", arena, 50_000) for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    for worker in workers:
        worker.tell("go")
    assert [worker.hear() for worker in workers] == ["done"] * 4
    seen = engine.snapshot().policies[0].breaker
    assert (seen.state, seen.calls, seen.failures) == ("closed", 400_001, 200_000)


def test_recovering_circuit_admits_its_share_of_the_whole_host(
    start: Callable[..., Any],
    open_engine: Callable[..., Engine],
    seconds_until: Callable[..., float],
    arena: Path,
) -> None:
    engine = open_engine(arena)
    circuit = open_circuit(engine, probes=1, recovery_ramp=3_600)
    seconds_until(lambda: engine.snapshot().policies[0].breaker.retry_after == 0, at_most=1)
    assert circuit.try_acquire().success()
    assert state_of(engine) == "recovering"
    workers = [start("ask", arena, "circuit/shared", 5_000) for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    for worker in workers:
        worker.tell("go")
    assert sum(worker.hear() for worker in workers) == 1_000
