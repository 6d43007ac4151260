"""Durations in buckets against the durations themselves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from engine import Engine, Policy, rules
from engine.testing import ManualClock

NS = 1_000_000_000
SHORTEST, LONGEST = 2**10, 2**36
EDGES = st.builds(
    lambda octave, step, off: max(0, -(-(2**octave) * (20 + step) // 20) + off),
    st.integers(8, 37),
    st.integers(0, 19),
    st.integers(-2, 2),
)
DURATIONS = st.one_of(
    EDGES,
    st.integers(0, 2 * SHORTEST),
    st.integers(0, 2 * LONGEST),
    st.builds(lambda exponent: round(2**exponent), st.floats(0, 38)),
)
SHARES = st.floats(0, 1) | st.sampled_from((0.0, 0.5, 0.9, 0.99, 0.999, 1.0))


@given(st.lists(DURATIONS, min_size=1, max_size=80), st.lists(SHARES, min_size=1, max_size=10))
def test_quantiles_are_within_three_per_cent(durations: list[int], shares: list[float]) -> None:
    clock = ManualClock()
    with Engine(clock=clock, arena_size=4 << 20) as engine:
        pool = Policy("pool/timed", rules.Bulkhead(1), engine=engine)
        for duration in durations:
            permit = pool.try_acquire()
            clock.advance(duration / NS)
            assert permit.success()
        latency = engine.snapshot().policies[0].latency
    durations.sort()
    assert (latency.count, latency.sum) == (len(durations), sum(durations) / NS)
    for share in shares:
        exact = durations[max(1, math.ceil(share * len(durations))) - 1]
        said = latency.quantile(share) * NS
        if exact <= SHORTEST:
            assert abs(said - exact) <= SHORTEST / 2
        elif exact > LONGEST:
            assert round(said) == LONGEST
        else:
            assert abs(said - exact) <= 0.03 * exact
    for bound, count in latency.buckets():
        assert count == sum(duration / NS <= bound for duration in durations)
