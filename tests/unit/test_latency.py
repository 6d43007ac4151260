"""Durations of calls: their buckets, what is said of them, and what has no room."""

import itertools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import pytest

from engine import ArenaError, Engine, Policy, rules
from engine.core import histogram
from engine.latency import LatencySnapshot
from engine.rules import PolicySpec
from engine.testing import ManualClock

NS = 1_000_000_000
DAY = 86_400 * NS
SHORTEST, LONGEST = 2**10, 2**36
HISTOGRAM_BYTES = 66 * 64
POOL = rules.Bulkhead(8)


@pytest.fixture
def pool(private: Engine) -> Policy:
    return Policy("pool/timed", POOL, engine=private)


def make_calls(pool: Policy, clock: ManualClock, durations: Iterable[int]) -> None:
    """Calls of so many nanoseconds, every third of which fails."""
    for number, duration in enumerate(durations):
        permit = pool.try_acquire()
        clock.advance(duration / NS)
        assert permit.failure() if number % 3 == 0 else permit.success()


def look(eng: Engine, name: str = "pool/timed") -> LatencySnapshot:
    return next(one.latency for one in eng.snapshot().policies if one.name == name)


def fill_up(eng: Engine, *, leave: int) -> None:
    """Bind policies until there are less than so many bytes in the heap."""
    for number in itertools.count():
        arena = eng.snapshot().arena
        if arena.heap_size - arena.heap_used < leave:
            return
        Policy(f"full/{number}", rules.Bulkhead(2_048), engine=eng)


# ---- buckets ----


def test_bounds_cut_every_octave_into_twenty_steps() -> None:
    steps = itertools.product(range(10, 36), range(20, 40))
    exact = [Fraction(2**octave * step, 20) for octave, step in steps]
    assert histogram.upper_bounds_ns() == tuple(map(math.ceil, [*exact, LONGEST]))


def test_bucket_holds_its_upper_bound_and_not_the_nanosecond_above(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    bounds = histogram.upper_bounds_ns()
    make_calls(pool, clock, bounds)
    assert look(private).filled == tuple((bucket, 1) for bucket in range(521))
    make_calls(pool, clock, (bound + 1 for bound in bounds))
    assert look(private).filled == ((0, 1), *((bucket, 2) for bucket in range(1, 521)), (521, 1))


def test_what_is_said_of_a_bucket_is_near_to_all_it_holds() -> None:
    bounds, said = histogram.upper_bounds_ns(), histogram.representatives_ns()
    for (below, upper), one in zip(itertools.pairwise(bounds), said[1:-1], strict=True):
        assert (one - below - 1) / (below + 1) <= 1 / 41
        assert (upper - one) / upper <= 1 / 41
    assert (said[0], said[-1]) == (SHORTEST / 2, LONGEST)


@pytest.mark.parametrize(
    ("duration", "bucket"), [(0, 0), (1, 0), (SHORTEST, 0), (LONGEST + 1, 521), (DAY, 521)]
)
def test_durations_beyond_the_ends_are_counted(
    private: Engine, pool: Policy, clock: ManualClock, duration: int, bucket: int
) -> None:
    make_calls(pool, clock, [duration])
    seen = look(private)
    assert seen.filled == ((bucket, 1),)
    assert (seen.count, seen.sum, seen.complete) == (1, duration / NS, True)


def test_buckets_count_what_took_at_most_so_long(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    make_calls(pool, clock, [500, 2**20, 2**20 + 1, 2**30, DAY])
    buckets = look(private).buckets()
    at_most = dict(buckets)
    assert len(buckets) == 522
    assert [at_most[2**power / NS] for power in (10, 19, 20, 21, 29, 30, 36)] == [
        *(1, 1, 2, 3, 3, 4, 4)
    ]
    assert buckets[-1] == (math.inf, 5)


# ---- quantiles ----


def test_quantile_is_that_of_the_nearest_rank(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    make_calls(pool, clock, [milliseconds * 1_000_000 for milliseconds in range(100, 0, -1)])
    seen = look(private)
    for q, rank in ((0, 1), (0.01, 1), (0.5, 50), (0.505, 51), (0.99, 99), (1, 100)):
        assert seen.quantile(q) == pytest.approx(rank / 1_000, rel=1 / 41)


def test_quantile_is_none_when_nothing_was_timed(private: Engine, pool: Policy) -> None:
    assert pool.try_acquire().ignore()
    seen = look(private)
    assert (seen.count, seen.sum, seen.complete) == (0, 0.0, True)
    assert seen.quantile(0.5) is None
    assert seen.buckets()[-1] == (math.inf, 0)


@pytest.mark.parametrize("q", [-0.001, 1.001, 50, math.nan, math.inf])
def test_quantile_complains_when_it_is_out_of_range(
    private: Engine, pool: Policy, q: float
) -> None:
    pool.try_acquire().success()
    with pytest.raises(ValueError, match="q = "):
        look(private).quantile(q)


# ---- what is timed ----


def test_ignored_and_void_calls_are_not_timed(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    held = [pool.try_acquire() for _ in range(2)]
    clock.advance(1)
    assert held[0].ignore()
    assert held[1].success()
    assert not held[1].success()
    assert (look(private).count, look(private).sum) == (1, 1.0)


def test_time_that_goes_back_is_no_duration(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    permit = pool.try_acquire()
    clock.advance(-1)
    assert permit.success()
    (seen,) = private.snapshot().policies
    assert (seen.success, seen.duration_ns, seen.latency.count) == (1, 0, 0)


def test_policies_without_outcomes_take_no_room(private: Engine) -> None:
    before = private.snapshot().arena.heap_used
    limit = Policy("rate/only", rules.RateLimit("10/s"), engine=private)
    limit.try_acquire().success()
    assert private.snapshot().arena.heap_used - before < HISTOGRAM_BYTES
    assert look(private, "rate/only") == LatencySnapshot(0, 0.0, True, ())


def test_policy_is_timed_from_when_it_has_outcomes(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/timed", rules.RateLimit("10/s"), engine=private)
    assert pool.try_acquire()
    private.bind(PolicySpec("pool/timed", (POOL,)))
    make_calls(pool, clock, [NS])
    assert (look(private).count, look(private).complete) == (1, True)


def test_durations_stay_when_the_rules_change(
    private: Engine, pool: Policy, clock: ManualClock
) -> None:
    make_calls(pool, clock, [NS])
    used = private.snapshot().arena.heap_used
    private.bind(PolicySpec("pool/timed", (rules.Bulkhead(4),)))
    make_calls(pool, clock, [2 * NS])
    assert (look(private).count, look(private).sum) == (2, 3.0)
    assert private.snapshot().arena.heap_used - used < HISTOGRAM_BYTES, "it was given a second one"


# ---- no room ----


def test_policy_works_untimed_when_half_of_the_arena_is_used(
    open_engine: Callable[..., Engine], clock: ManualClock
) -> None:
    eng = open_engine(arena_size=4 << 20, clock=clock)
    early = Policy("pool/early", POOL, engine=eng)
    make_calls(early, clock, [NS])
    fill_up(eng, leave=eng.snapshot().arena.heap_size // 2)
    make_calls(Policy("pool/timed", POOL, engine=eng), clock, [NS, NS])
    make_calls(early, clock, [NS])
    assert (look(eng, "pool/early").count, look(eng, "pool/early").complete) == (2, True)
    seen = next(one for one in eng.snapshot().policies if one.name == "pool/timed")
    assert (seen.success, seen.failure, seen.duration_ns) == (1, 1, 2 * NS)
    assert seen.latency == LatencySnapshot(0, 0.0, False, ())


def test_histograms_leave_half_of_the_arena_to_others(open_engine: Callable[..., Engine]) -> None:
    eng = open_engine(arena_size=4 << 20)
    for number in range(400):
        assert Policy(f"pool/{number}", POOL, engine=eng).try_acquire().success()
    complete = [one.latency.complete for one in eng.snapshot().policies]
    assert 100 < sum(complete) < 300
    with pytest.raises(ArenaError, match="full"):
        fill_up(eng, leave=0)
    assert [one.latency.complete for one in eng.snapshot().policies[-400:]] == complete
