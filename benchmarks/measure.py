"""Interleaved timing of Python loops, and ratios of loops that ran beside each other."""

import asyncio
import gc
import random
import statistics
import textwrap
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from time import thread_time_ns
from typing import Any, TypeVar

SAMPLE_NS = 4_000_000
FIRST_GUESS = 100
KERNEL_MARGIN = 1.25

K = TypeVar("K")
T = TypeVar("T")

_runner = asyncio.Runner()


def on_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns on the one event loop of all loops that are `is_async`."""
    return _runner.run(coroutine)


class Loop:
    """A Python loop round one statement, compiled for itself alone, its names being locals.

    `is_async` makes it the body of a coroutine, on an event loop. `keys` are what `key` is in turn,
    over and over; the next run goes on where the last one stopped.
    """

    def __init__(
        self,
        statement: str,
        /,
        *,
        is_async: bool = False,
        keys: Sequence[str] | None = None,
        **names: Any,
    ) -> None:
        head = f"{'async ' if is_async else ''}def loop({', '.join(('_turns', *names))}):\n"
        body = "    for key in _turns:\n" + textwrap.indent(statement, " " * 8)
        compiled: dict[str, Any] = {}
        exec(head + body, compiled)
        self._loop = compiled["loop"]
        self._names = names
        self._keys = None if keys is None else cycle(keys)
        self.spin: Callable[[int], int] = self._spin_async if is_async else self._spin
        self.count = max(1, FIRST_GUESS * SAMPLE_NS // self._warm())

    def _turns(self, times: int) -> Iterable[str | None]:
        return repeat(None, times) if self._keys is None else islice(self._keys, times)

    def _spin(self, times: int) -> int:
        """Nanoseconds of this thread's processor time that `times` iterations take."""
        loop, names, turns = self._loop, self._names, self._turns(times)
        start_ns = thread_time_ns()
        loop(turns, **names)
        return thread_time_ns() - start_ns

    def _spin_async(self, times: int) -> int:
        return on_loop(self._timed(times))

    async def _timed(self, times: int) -> int:
        coroutine = self._loop(self._turns(times), **self._names)
        start_ns = thread_time_ns()
        await coroutine
        return thread_time_ns() - start_ns

    def _warm(self) -> int:
        return min(self.spin(FIRST_GUESS) for _ in range(5))

    def sample(self) -> float:
        """Nanoseconds of one iteration, from one run of about SAMPLE_NS."""
        return self.spin(self.count) / self.count


@dataclass(frozen=True)
class Bar:
    """A figure not to be exceeded, or with `at_least` to be reached; `unit` names what one is.

    Where `limit` is None nothing was promised, and the figure stands for itself.
    """

    limit: float | None
    unit: str
    at_least: bool = False

    def holds(self, figure: float) -> bool:
        """Whether `figure` is on the right side."""
        if self.limit is None:
            return True
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        if self.limit is None:
            return ""
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
    """A row's figure; of one that is timed also its quartiles, nanoseconds, ratio to the kernel."""

    operation: str
    bar: Bar
    figure: float
    quartiles: tuple[float, float] | None = None
    ours_ns: float | None = None
    theirs_ns: float | None = None
    kernel_ratio: float | None = None
    exact: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the bar holds, by the figure or by the ratio to the kernel."""
        near = self.kernel_ratio is not None and self.kernel_ratio <= KERNEL_MARGIN
        return self.exact and (self.bar.holds(self.figure) or near)


def quartiles(ratios: list[float]) -> tuple[float, float]:
    """The lower and the upper quartile."""
    low, _, high = statistics.quantiles(ratios, n=4)
    return low, high


def rounds_of(what: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """Every one once a round, in an order of that round; what they gave."""
    found: dict[K, list[T]] = {name: [] for name in what}
    gc.disable()
    for _ in range(rounds):
        for name in random.sample(list(what), len(what)):
            found[name].append(what[name]())
        gc.collect()
    gc.enable()
    return found


def measure(rows: list[Row], rounds: int) -> Iterator[Result]:
    """The results of all rows, in the order given."""
    found = rounds_of({row.operation: row.sample for row in rows}, rounds)
    return (_result(row, found[row.operation]) for row in rows)


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
