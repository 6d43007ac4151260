"""For tests of code that uses policies: a clock that moves only when it is told to."""

from engine.core.clock import ManualClock

__all__ = ["ManualClock"]
