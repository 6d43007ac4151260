"""How long calls take, as a snapshot shows it: what `engine.core.histogram` counts, in seconds."""

import bisect
import math
from itertools import accumulate

import msgspec

from engine.core import histogram

_BOUNDS_S = (*(ns / 1e9 for ns in histogram.upper_bounds_ns()), math.inf)
_SAID_S = tuple(ns / 1e9 for ns in histogram.representatives_ns())


class LatencySnapshot(msgspec.Struct, frozen=True):
    """Durations of calls that ended in success or failure, since the arena was made.

    `count` calls of the whole host took `sum` seconds together; `filled` holds (number of a bucket,
    its calls). A report over gRPC that names no duration is not in it. `complete` is False where
    the arena had no room to time the calls of some process: those are missing here, and only here.
    """

    count: int
    sum: float
    complete: bool
    filled: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, sum_ns: int, complete: bool, filled: tuple[tuple[int, int], ...]
    ) -> "LatencySnapshot":
        """What `engine.core.admit.counters` found."""
        return cls(sum(calls for _, calls in filled), sum_ns / 1e9, complete, filled)

    def quantile(self, q: float) -> float | None:
        """Seconds that the share `q` (0 to 1) of all calls did not exceed; None without a call.

        From about 1 us to 69 s it is within 2.44 % of the exact duration of the call of that rank.
        Of a shorter one it says half a microsecond, of a longer one 69 s. Raises ValueError for a
        `q` out of range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q = {q!r}: must be from 0 to 1")
        if not self.count:
            return None
        sums = list(accumulate(calls for _, calls in self.filled))
        rank = min(max(1, math.ceil(q * self.count)), self.count)
        return _SAID_S[self.filled[bisect.bisect_left(sums, rank)][0]]

    def buckets(self) -> list[tuple[float, int]]:
        """(upper bound in seconds, calls that took at most so long), of all buckets.

        There are 522, always the same; the last bound is inf. Any choice of them that keeps the
        last is a histogram too; the powers of two, from 2^10 to 2^36 ns, are among the bounds.
        """
        counts = dict(self.filled)
        sums = accumulate(counts.get(bucket, 0) for bucket in range(len(_BOUNDS_S)))
        return list(zip(_BOUNDS_S, sums, strict=True))
