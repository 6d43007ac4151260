"""The bulkhead: so many permits at once, each with one holder."""

import gc

import pytest

from engine import Bulkhead, Engine, Policy, rules
from engine.testing import ManualClock

TICK_S = 2**24 / 1e9


def in_use(engine: Engine) -> int:
    return engine.snapshot().policies[0].bulkhead.in_use


def test_bulkhead_refuses_when_all_permits_are_held(private: Engine) -> None:
    pool = Policy("pool/two", rules.Bulkhead(2), engine=private)
    permits = [pool.try_acquire(), pool.try_acquire()]
    refusal = pool.try_acquire()
    assert (refusal.reason, refusal.rule) == ("bulkhead_full", "bulkhead")
    assert permits[0].success()
    assert pool.try_acquire()


@pytest.mark.parametrize("limit", [1, 7, 64, 65_536])
def test_bulkhead_gives_out_exactly_its_limit(private: Engine, limit: int) -> None:
    pool = Policy("pool/many", rules.Bulkhead(limit), engine=private)
    permits = [pool.try_acquire() for _ in range(limit + 1)]
    assert sum(map(bool, permits)) == limit
    assert in_use(private) == limit
    assert all(permit.success() for permit in permits[:limit])
    assert in_use(private) == 0


def test_permit_counts_once_when_reported_twice(private: Engine) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1), engine=private)
    first = pool.try_acquire()
    assert first.success()
    second = pool.try_acquire()
    assert not first.success()
    assert not first.failure()
    assert not first.ignore()
    assert in_use(private) == 1, "a second report freed another holder's permit"
    assert second.success()


def test_dropped_permit_is_given_back_and_ignored(private: Engine) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1), engine=private)
    permit = pool.try_acquire()
    assert in_use(private) == 1
    del permit
    gc.collect()
    snapshot = private.snapshot().policies[0]
    assert (snapshot.bulkhead.in_use, snapshot.ignored, snapshot.success) == (0, 1, 0)


def test_expired_permit_is_taken_over(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/hold", rules.Bulkhead(1, hold=0.5), engine=private)
    late = pool.try_acquire()
    clock.advance(0.499)
    assert not pool.try_acquire()
    clock.advance(0.001 + TICK_S)
    next_one = pool.try_acquire()
    assert next_one
    assert not late.success()
    assert in_use(private) == 1, "a late report freed another holder's permit"
    assert next_one.success()
    assert in_use(private) == 0


def test_late_report_is_void_when_nobody_took_the_expired_permit(
    private: Engine, clock: ManualClock
) -> None:
    pool = Policy("pool/hold", rules.Bulkhead(1, hold=0.5), engine=private)
    late = pool.try_acquire()
    clock.advance(0.5 + TICK_S)
    assert in_use(private) == 0
    assert not late.success()
    snapshot = private.snapshot().policies[0]
    assert (snapshot.void, snapshot.success) == (1, 0)


def test_permit_without_hold_never_expires(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1), engine=private)
    permit = pool.try_acquire()
    clock.advance(86_400 * 3_650)
    assert not pool.try_acquire()
    assert permit.success()


def test_primitive_counts_its_permits(private: Engine) -> None:
    pool = Bulkhead(2, engine=private)
    assert (pool.in_use, pool.limit) == (0, 2)
    assert [pool.try_acquire() for _ in range(3)] == [True, True, False]
    assert pool.in_use == 2
    pool.release()
    assert pool.in_use == 1
    assert pool.try_acquire()


def test_release_complains_when_nothing_is_held(private: Engine) -> None:
    pool = Bulkhead(2, engine=private)
    with pytest.raises(ValueError, match="permit"):
        pool.release()
    assert pool.in_use == 0
