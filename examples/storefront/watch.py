"""When the circuit was in which state, as seen from outside by asking the arena all the time."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import msgspec
from plan import POLICY

from engine import Engine
from engine.runtime import BreakerSnapshot, PolicySnapshot

EVERY_S = 0.002


class Period(msgspec.Struct):
    """One generation of the circuit: it was in `state` from `since` to `until` for certain.

    It began after the `until` of the period before, and ended before the `since` of the next.
    """

    state: str
    generation: int
    since: float
    until: float


class Watch(threading.Thread):
    """Keeps the periods of the circuit, up to the end of its `with` block."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self.periods: list[Period] = []
        self._engine = engine
        self._ended = threading.Event()
        self._look()

    def run(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._look()

    def policy(self) -> PolicySnapshot:
        """Return the policy's figures now."""
        return next(one for one in self._engine.snapshot().policies if one.name == POLICY)

    def breaker(self) -> BreakerSnapshot:
        """Return the breaker's figures now."""
        found = self.policy().breaker
        assert found is not None
        return found

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self.join()
        self._look()

    def _look(self) -> None:
        before = time.monotonic()
        seen = self.breaker()
        after = time.monotonic()
        if not self.periods or self.periods[-1].generation != seen.generation:
            self.periods.append(Period(seen.state, seen.generation, after, before))
        self.periods[-1].until = before
