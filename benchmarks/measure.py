"""Interleaved timing of Python loops, and ratios of loops that ran beside each other."""

import gc
import random
import statistics
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter_ns
from typing import Any

SAMPLE_NS = 4_000_000
FIRST_GUESS = 100
KERNEL_MARGIN = 1.25


class Loop:
    """A Python loop round one statement, compiled for itself alone, its names being locals.

    `is_async` makes it the body of a coroutine that never has to wait.
    """

    def __init__(self, statement: str, /, *, is_async: bool = False, **names: Any) -> None:
        head = f"{'async ' if is_async else ''}def loop({', '.join(('_times', *names))}):\n"
        body = "    for _ in _times:\n" + textwrap.indent(statement, " " * 8)
        compiled: dict[str, Any] = {}
        exec(head + body, compiled)
        self._loop = compiled["loop"]
        self._names = names
        self.spin: Callable[[int], int] = self._spin_async if is_async else self._spin
        self.count = max(1, FIRST_GUESS * SAMPLE_NS // self._warm())

    def _spin(self, times: int) -> int:
        """Nanoseconds that `times` iterations take."""
        loop, names, turns = self._loop, self._names, repeat(None, times)
        start_ns = perf_counter_ns()
        loop(turns, **names)
        return perf_counter_ns() - start_ns

    def _spin_async(self, times: int) -> int:
        coroutine = self._loop(repeat(None, times), **self._names)
        start_ns = perf_counter_ns()
        try:
            coroutine.send(None)
        except StopIteration:
            return perf_counter_ns() - start_ns
        raise RuntimeError("the statement waited")

    def _warm(self) -> int:
        return min(self.spin(FIRST_GUESS) for _ in range(5))

    def sample(self) -> float:
        """Nanoseconds of one iteration, from one run of about SAMPLE_NS."""
        return self.spin(self.count) / self.count


@dataclass(frozen=True)
class Bar:
    """A ratio not to be exceeded, or with `at_least` to be reached; `unit` names what one is."""

    limit: float
    unit: str
    at_least: bool = False

    def holds(self, ratio: float) -> bool:
        """Whether `ratio` is on the right side."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g} {self.unit}"


@dataclass(frozen=True)
class Row:
    """An operation, what it is held against, and its reference kernel where it has one.

    The ratio is ours to theirs, or, where the bar is one to be reached, theirs to ours.
    """

    operation: str
    bar: Bar
    ours: Loop
    theirs: Loop
    kernel: Loop | None = None

    def sample(self) -> tuple[float, float, float]:
        """Nanoseconds of ours, of theirs and of the kernel, one after another in random order."""
        loops = [self.ours, self.theirs, self.kernel or self.theirs]
        found = {loop: loop.sample() for loop in random.sample(loops, len(loops))}
        return found[loops[0]], found[loops[1]], found[loops[2]]


@dataclass(frozen=True)
class Result:
    """A row's median ratio with its quartiles, nanoseconds of both, and the ratio to the kernel."""

    operation: str
    bar: Bar
    ratio: float
    quartiles: tuple[float, float]
    ours_ns: float | None = None
    theirs_ns: float | None = None
    kernel_ratio: float | None = None
    exact: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the bar holds, by the ratio or by the kernel's."""
        near = self.kernel_ratio is not None and self.kernel_ratio <= KERNEL_MARGIN
        return self.exact and (self.bar.holds(self.ratio) or near)


def quartiles(ratios: list[float]) -> tuple[float, float]:
    """The lower and the upper quartile."""
    low, _, high = statistics.quantiles(ratios, n=4)
    return low, high


def measure(rows: list[Row], rounds: int) -> Iterator[Result]:
    """Every row once a round, in an order of that round; the results in the order given."""
    samples: dict[str, list[tuple[float, float, float]]] = {row.operation: [] for row in rows}
    gc.disable()
    for _ in range(rounds):
        for row in random.sample(rows, len(rows)):
            samples[row.operation].append(row.sample())
        gc.collect()
    gc.enable()
    return (_result(row, samples[row.operation]) for row in rows)


def _result(row: Row, samples: list[tuple[float, float, float]]) -> Result:
    ratios = [theirs / ours if row.bar.at_least else ours / theirs for ours, theirs, _ in samples]
    kernel_ratio = statistics.median(ours / kernel for ours, _, kernel in samples)
    return Result(
        row.operation,
        row.bar,
        statistics.median(ratios),
        quartiles(ratios),
        statistics.median(ours for ours, _, _ in samples),
        statistics.median(theirs for _, theirs, _ in samples),
        kernel_ratio if row.kernel else None,
    )
