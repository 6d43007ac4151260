"""What the demo's processes agree on: the script, the load, and the form of their records.

All times are seconds of CLOCK_MONOTONIC, which every process of a host shares.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

POLICY = "payments/charge"
POLICIES = Path(__file__).with_name("policies.toml")
ADMITTED = "admitted"

R = TypeVar("R")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """When the payment service fails, when all ends, and the load: callers of each worker."""

    start: float
    fails_from: float
    fails_until: float
    end: float
    callers: int = 4
    period: float = 0.1  # between two calls of one caller

    @classmethod
    def beginning(cls, at: float) -> Script:
        """Return the script: fine for 8 s, every call fails for 5 s, fine again for 8 s."""
        return cls(start=at, fails_from=at + 8, fails_until=at + 13, end=at + 21)

    def failing(self, now: float) -> bool:
        """Say whether a request that arrives now fails."""
        return self.fails_from <= now < self.fails_until


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker's record of one call; what follows `verdict` is set where it was admitted.

    `verdict` is "admitted" or the reason of the refusal, given between `asked` and `answered`.
    `counted` is False where the report was void, given between `reported` and `finished`.
    """

    id: str
    worker: str
    asked: float
    answered: float
    verdict: str
    ok: bool = False
    counted: bool = False
    reported: float = 0.0
    finished: float = 0.0

    @property
    def admitted(self) -> bool:
        return self.verdict == ADMITTED


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The payment service's record of one request, written before it answered."""

    id: str
    worker: str
    arrived: float
    answered: float
    status: int


class Log:
    """A file of records, one JSON object a line; threads may share it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, record: Call | Request) -> None:
        """Append a record at once."""
        os.write(self._file, msgspec.json.encode(record) + b"\n")


class Tail(Generic[R]):
    """What was appended to a Log, by another process, since it was last looked at."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        path.touch()
        self._file = path.open("rb")
        self._decoder = msgspec.json.Decoder(kind)
        self._rest = b""

    def read(self) -> list[R]:
        """Return the records that are complete and new."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [self._decoder.decode(line) for line in lines]


def await_script(ready: str = "ready") -> Script:
    """Tell the parent process that this one is ready, and wait for the script."""
    print(ready, flush=True)
    return msgspec.json.decode(sys.stdin.readline() or sys.exit(1), type=Script)
