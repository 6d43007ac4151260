"""Processes on one mapped arena. Two, each on a core of its own: their total against one alone."""

import multiprocessing
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic_ns
from typing import Any

from measure import Bar, Loop, Result, quartiles
from rows import BOTH, BURST, RATE, REPORTED, three_rules

import engine

SPAN_NS = 80_000_000
HEAD_START_NS = 5_000_000
CHUNK = 2_000
REFILL = 4

BARS = {
    "limiter": Bar(1.3, "x one alone", at_least=True),
    "counter": Bar(1.0, "x one alone", at_least=True),
    "bulkhead": Bar(1.0, "x one alone", at_least=True),
    "own limiter": Bar(1.8, "x one alone", at_least=True),
}
WORDS = {
    "limiter": "2 processes on one limiter",
    "counter": "2 processes on one counter",
    "bulkhead": "2 processes on one bulkhead",
    "own limiter": "2 processes, a limiter each",
}
SUMS = {True: ", sums exact", False: ", sums WRONG", None: ""}


@dataclass(frozen=True)
class Worker:
    """A process that spins an operation when told to."""

    pipe: Any
    process: Any

    def start(self, name: str, start_ns: int) -> None:
        """Have it begin at that instant of the monotonic clock."""
        self.pipe.send((name, start_ns))

    def done(self) -> tuple[int, int]:
        """Operations done, and the nanoseconds they took."""
        done: tuple[int, int] = self.pipe.recv()
        return done

    def stop(self) -> None:
        """Have it end."""
        self.pipe.send(None)
        self.process.join()


def shared_limiter(eng: engine.Engine) -> engine.Limiter:
    """One that gives back next to nothing during the run, so that its tokens can be counted."""
    return engine.Limiter(f"{REFILL}/s", burst=BURST, engine=eng, name="bench/limiter")


def shared_bulkhead(eng: engine.Engine) -> engine.Bulkhead:
    """Room enough that no process refuses."""
    return engine.Bulkhead(32, engine=eng, name="bench/bulkhead")


def loops_of(eng: engine.Engine, index: int) -> dict[str, Loop]:
    """What a worker can be told to spin."""
    bulkhead = shared_bulkhead(eng)
    own_limiter = engine.Limiter(RATE, burst=BURST, engine=eng, name=f"bench/limiter-{index}")
    policy, own_policy = (
        engine.Policy(name, *three_rules(), engine=eng)
        for name in ("bench/policy", f"bench/policy-{index}")
    )
    return {
        "limiter": Loop("f()", f=shared_limiter(eng).try_acquire),
        "counter": Loop("f()", f=engine.Counter(engine=eng, name="bench/counter").inc),
        "bulkhead": Loop(BOTH, take=bulkhead.try_acquire, give=bulkhead.release),
        "policy": Loop(REPORTED, take=policy.try_acquire),
        "own limiter": Loop("f()", f=own_limiter.try_acquire),
        "own policy": Loop(REPORTED, take=own_policy.try_acquire),
    }


def serve(pipe: Connection, path: str, index: int, cpu: int) -> None:
    """What a worker does: spin what the pipe names, until it says None."""
    os.sched_setaffinity(0, {cpu})
    loops = loops_of(engine.Engine(path), index)
    pipe.send(None)
    while command := pipe.recv():
        name, start_ns = command
        pipe.send(spin(loops[name], start_ns))


def spin(loop: Loop, start_ns: int) -> tuple[int, int]:
    """Spin from that instant on for SPAN_NS: iterations, and the nanoseconds they took."""
    done = 0
    while monotonic_ns() < start_ns:
        pass
    while monotonic_ns() < start_ns + SPAN_NS:
        loop.spin(CHUNK)
        done += CHUNK
    return done, monotonic_ns() - start_ns


def launch(path: Path, cpus: list[int]) -> list[Worker]:
    """A worker on each of these cores, ready."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for index, cpu in enumerate(cpus):
        pipe, end = context.Pipe()
        process = context.Process(target=serve, args=(end, str(path), index, cpu), daemon=True)
        process.start()
        workers.append(Worker(pipe, process))
    for worker in workers:
        worker.pipe.recv()
    return workers


def together(name: str, workers: list[Worker]) -> tuple[int, float]:
    """What these workers did at once: operations, and operations a nanosecond."""
    start_ns = monotonic_ns() + HEAD_START_NS
    for worker in workers:
        worker.start(name, start_ns)
    found = [worker.done() for worker in workers]
    return sum(done for done, _ in found), sum(done / span_ns for done, span_ns in found)


def measure(path: Path, rounds: int) -> Iterator[Result]:
    """The rows of two processes; none on a machine of one core."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return
    workers = launch(path, [cpus[0], cpus[-1]])
    with engine.Engine(path) as eng:
        audit = _Audit(eng)
        ratios: dict[str, list[float]] = {name: [] for name in BARS}
        for _ in range(rounds):
            for name, found in ratios.items():
                alone = [audit.run(name, [worker]) for worker in workers]
                found.append(audit.run(name, workers) / statistics.mean(alone))
        sums = audit.sums()
    for worker in workers:
        worker.stop()
    for name, found in ratios.items():
        yield Result(
            WORDS[name] + SUMS[sums.get(name)],
            BARS[name],
            statistics.median(found),
            quartiles(found),
            exact=sums.get(name) is not False,
        )


class _Audit:
    """Adds up what the workers say they did and compares it with what the arena says."""

    def __init__(self, eng: engine.Engine) -> None:
        self.limiter = shared_limiter(eng)
        self.bulkhead = shared_bulkhead(eng)
        self.counter = engine.Counter(engine=eng, name="bench/counter")
        self.started_ns = monotonic_ns()
        self.before = (self.limiter.remaining, self.counter.value)
        self.done = dict.fromkeys(BARS, 0)

    def run(self, name: str, workers: list[Worker]) -> float:
        """Operations a nanosecond of these workers together."""
        done, speed = together(name, workers)
        self.done[name] += done
        return speed

    def sums(self) -> dict[str, bool]:
        """Whether no count was lost and no permit was left."""
        remaining, value = self.before
        refilled = REFILL * (monotonic_ns() - self.started_ns) / 1e9 + 1
        spent = remaining - self.limiter.remaining
        return {
            "limiter": 0 <= self.done["limiter"] - spent <= refilled,
            "counter": self.counter.value - value == self.done["counter"],
            "bulkhead": self.bulkhead.in_use == 0,
        }
