"""Two threads of a free-threaded Python, each with handles of its own, against one alone."""

import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns

from measure import Bar, Loop, Result, quartiles
from processes import HEAD_START_NS, spin
from rows import BURST, RATE

import engine

THREADS = 2
BARS = {
    "2 threads, a limiter each": Bar(1.7, "x one alone", at_least=True),
    "2 threads on one limiter": Bar(1.4, "x one alone", at_least=True),
}


def are_free() -> bool:
    """Whether this interpreter runs threads side by side, with the core imported."""
    return sys.version_info >= (3, 13) and not sys._is_gil_enabled()


def _loops(eng: engine.Engine, operation: str) -> list[Loop]:
    names = ["threads/one"] * THREADS
    if operation.endswith("each"):
        names = [f"threads/{index}" for index in range(THREADS)]
    limiters = [engine.Limiter(RATE, burst=BURST, engine=eng, name=name) for name in names]
    return [Loop("f()", f=limiter.try_acquire) for limiter in limiters]


def measure(rounds: int) -> Iterator[Result]:
    """The rows of two threads; none where they take turns."""
    if not are_free():
        return
    with engine.Engine() as eng, ThreadPoolExecutor(THREADS) as pool:

        def speed(loops: list[Loop]) -> float:
            start_ns = monotonic_ns() + HEAD_START_NS
            found = pool.map(spin, loops, [start_ns] * len(loops))
            return sum(done / span_ns for done, span_ns in found)

        for operation, bar in BARS.items():
            loops = _loops(eng, operation)
            ratios = [
                speed(loops) / statistics.mean(speed([loop]) for loop in loops)
                for _ in range(rounds)
            ]
            yield Result(operation, bar, statistics.median(ratios), quartiles(ratios))
