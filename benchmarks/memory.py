"""What one more of a thing takes in the arena, by the arena's own account of its heap.

A counter has no state of its own, so what binding one takes is the parameter block of any policy.
"""

from collections.abc import Callable, Iterator

from measure import Bar, Result

import engine
from engine import rules

KEYS = 1_000_000
ROOM = 128 << 20


def _spent(eng: engine.Engine, make: Callable[[], object]) -> int:
    before = eng.snapshot().arena.heap_used
    make()
    return eng.snapshot().arena.heap_used - before


def _sizes(eng: engine.Engine) -> Iterator[tuple[str, float | None, float]]:
    block = _spent(eng, lambda: engine.Counter(engine=eng))

    def state(make: Callable[[], object]) -> int:
        return _spent(eng, make) - block

    limiter = state(lambda: engine.Limiter("100/s", engine=eng))
    keyed = state(lambda: engine.Limiter("100/s", key="tenant", max_keys=KEYS, engine=eng))
    yield "memory of a limiter", 64, limiter
    yield "memory of a bulkhead of 8", 64, state(lambda: engine.Bulkhead(8, engine=eng))
    yield "memory of a bulkhead of 32", 64, state(lambda: engine.Bulkhead(32, engine=eng))
    yield "memory of a breaker, window 100", 192, state(lambda: engine.CircuitBreaker(engine=eng))
    yield "memory of a key, one of a million", 70, (keyed - limiter) / KEYS
    yield "beside any of them: its parameters", None, block
    counted = engine.Counter(engine=eng)
    counts = _spent(eng, counted.inc)
    yield "beside any of them: its counters, of a process", None, counts
    timed = engine.Policy("memory/timed", rules.Breaker(), engine=eng)
    times = _spent(eng, timed.try_acquire) - counts
    yield "beside a policy: its durations, of a process", None, times


def results() -> Iterator[Result]:
    """Bytes of each kind of state beside its bar, and of what lies beside it."""
    with engine.Engine(arena_size=ROOM) as eng:
        for operation, limit, size in _sizes(eng):
            yield Result(operation, Bar(limit, "B"), size)
