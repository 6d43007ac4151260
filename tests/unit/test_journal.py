"""The journal: numbered, bounded, never a mixture of two events."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import engine
from engine import Engine, Policy, rules
from engine.rules import PolicySet, PolicySpec
from engine.testing import ManualClock

ROOT = Path(engine.__file__).parent.parent
REMEMBERED = 1024


def bind(eng: Engine, *limits: int) -> None:
    for limit in limits:
        Policy("shop/pay", rules.Bulkhead(limit), engine=eng)


def test_changes_of_parameters_are_noted_in_order(private: Engine, clock: ManualClock) -> None:
    bind(private, 1, 2)
    clock.advance(1)
    bind(private, 2, 3)
    events = private.journal()
    assert [(e.number, e.time, e.policy, e.what, e.value) for e in events] == [
        (0, 1_000.0, "shop/pay", "configured", 1),
        (1, 1_000.0, "shop/pay", "configured", 2),
        (2, 1_001.0, "shop/pay", "configured", 3),
    ]


def test_retired_policy_is_noted(private: Engine) -> None:
    spec = PolicySpec("shop/pay", (rules.Bulkhead(1),))
    private.apply(PolicySet({"shop/pay": spec}))
    private.apply(PolicySet({}))
    assert [event.what for event in private.journal()] == ["configured", "retired"]


def test_counters_are_not_noted(private: Engine) -> None:
    engine.Counter(engine=private).inc()
    assert private.journal() == []


def test_journal_is_read_from_a_number_on(private: Engine) -> None:
    bind(private, 1, 2, 3)
    assert [event.number for event in private.journal(since=1)] == [1, 2]
    assert private.journal(since=3) == []
    assert private.journal(since=99) == []


def test_journal_remembers_the_last_events_only(private: Engine) -> None:
    bind(private, *(1 + turn % 2 for turn in range(REMEMBERED + 10)))
    events = private.journal()
    assert [event.number for event in events] == list(range(10, REMEMBERED + 10))
    assert events[-1].value == REMEMBERED + 10


def test_life_of_a_circuit_is_noted(private: Engine, clock: ManualClock) -> None:
    rule = rules.Breaker(window=4, min_calls=2, open_for=1, jitter=0, probes=1, recovery_ramp=2)
    pay = Policy("shop/pay", rule, engine=private)
    for _ in range(2):
        pay.try_acquire().failure()
    clock.advance(1)
    assert pay.try_acquire().success()
    clock.advance(2)
    assert pay.try_acquire().success()
    pay.force_open(5)
    events = [(e.time, e.policy, e.what, e.generation) for e in private.journal(since=1)]
    assert events == [
        (1_000.0, "shop/pay", "opened", 1),
        (1_001.0, "shop/pay", "half_opened", 2),
        (1_001.0, "shop/pay", "recovering", 3),
        (1_003.0, "shop/pay", "closed", 3),
        (1_003.0, "shop/pay", "forced_open", 4),
    ]


def test_repair_of_a_dead_owner_is_noted(open_engine: Callable[..., Engine], arena: Path) -> None:
    eng = open_engine(arena)
    code = (
        "import os, engine; from engine import rules;"
        f"eng = engine.Engine({str(arena)!r});"
        "pool = engine.Policy('shop/pay', rules.Bulkhead(4), engine=eng);"
        "held = [pool.try_acquire(), pool.try_acquire()];"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -9
    assert eng.repair() == 2
    assert [(e.what, e.policy, e.value) for e in eng.journal()[-1:]] == [("repaired", "", 2)]


def test_writers_of_all_processes_share_the_numbers(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = open_engine(arena)
    children = [fork(eng, f"shop/{number}") for number in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    events = eng.journal()
    assert [event.number for event in events] == list(range(150))
    for name in ("shop/0", "shop/1", "shop/2"):
        assert [e.value for e in events if e.policy == name] == list(range(1, 51))


def fork(eng: Engine, name: str) -> int:
    """Bind a policy fifty times in a child."""
    child = os.fork()
    if child == 0:
        for limit in range(1, 51):
            Policy(name, rules.Bulkhead(limit), engine=eng)
        os._exit(0)
    return child
