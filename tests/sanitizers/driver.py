"""Run under ThreadSanitizer by run.py: eight threads on one mapping, and a binder beside them."""

import sys
import threading
import time

import hammer

import engine
from engine import rules
from engine.core import directory

THREADS = 8


def rules_of(turn: int) -> tuple[rules.Rule, ...]:
    return (
        rules.Breaker(
            window=50, min_calls=4, open_for=0.01, open_backoff=1, probes=3, probe_timeout=0.05
        ),
        rules.Shedder(
            ("gradient2", "vegas", "aimd")[turn % 3], initial=4, min_limit=2, max_limit=9 + turn
        ),
        rules.Bulkhead(3 + turn % 40, queue=1 + turn % 20),
        rules.RateLimit("1000000/s", burst=1_003 + turn % 40),
    )


def main(times: str) -> None:
    eng = engine.Engine(arena_size=64 << 20)
    pay = engine.Policy("pay", *rules_of(0), engine=eng)
    row = directory.lookup(eng.arena, "pay")
    assert pay.try_acquire()
    had: list[int] = []
    seen: list[tuple[int, int]] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: had.append(hammer.hammer(eng.arena, row, int(times), seed))
        )
        for seed in range(THREADS)
    ]
    threads += [
        threading.Thread(
            target=lambda name=name: seen.append(hammer.watch(eng.arena, name, 20 * int(times)))
        )
        for name in (b"changing", b"changing/400")
    ]
    for thread in threads:
        thread.start()
    for turn in range(3_000):
        for name in ("changing", f"changing/{turn % 500}"):
            engine.Policy(name, *rules_of(turn), engine=eng)
        time.sleep(0)
    for thread in threads:
        thread.join()
    versions, torn = zip(*seen, strict=True)
    print(f"{sum(had)} permits, versions seen {versions}, torn {torn}")
    assert len(had) == THREADS, "a thread ended early"
    assert min(had) > 0
    assert sum(torn) == 0, "a copy was of two versions"
    assert min(versions) > 0, "a reader never saw what was bound"
    assert max(versions) > 100, "the binder and its readers never met"


if __name__ == "__main__":
    main(*sys.argv[1:])
