"""Real processes: each is one function of workers.py, talked to by lines."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine

WORKERS = Path(__file__).with_name("workers.py")
ROOT = Path(engine.__file__).parent.parent


class Worker:
    """A process that runs one function of workers.py."""

    def __init__(self, function: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKERS), function, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, word: object) -> None:
        """Send one line."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Wait for what the worker says next."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the worker ended with status {self.process.wait()}")
        return json.loads(line)

    def says_anything(self, *, within: float) -> bool:
        """Whether something is to be heard after at most so many seconds."""
        return bool(select.select([self.process.stdout], [], [], within)[0])

    def ask(self, word: object) -> Any:
        """Send one line and wait for the answer."""
        self.tell(word)
        return self.hear()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Close its input and return its exit status."""
        self.process.stdin.close()
        return self.process.wait(timeout=30)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Start workers; those still alive at the end of the test are killed."""
    started: list[Worker] = []

    def start_worker(function: str, *arguments: object) -> Worker:
        started.append(Worker(function, *arguments))
        return started[-1]

    yield start_worker
    for worker in started:
        worker.clean_up()


@pytest.fixture
def run(start: Callable[..., Worker]) -> Callable[..., Any]:
    """Run a worker to its end and return the one thing it said."""

    def run_worker(function: str, *arguments: object) -> Any:
        worker = start(function, *arguments)
        said = worker.hear()
        assert worker.end() == 0
        return said

    return run_worker


def seconds_until(condition: Callable[[], bool], *, at_most: float) -> float:
    """Poll until `condition` holds and return how long it took; fail after `at_most` seconds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < at_most, f"still not so after {at_most} s"
        time.sleep(0.001)
    return time.monotonic() - begun


@pytest.fixture(name="seconds_until")
def _seconds_until() -> Callable[..., float]:
    return seconds_until
