"""The adaptive throttle: refuses what the backend would refuse, in proportion."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Policy, rules
from engine.core import wire
from engine.testing import ManualClock
from server.pb.admittance.v1 import admission_pb2 as pb


def throttled(eng: Engine, *more: rules.Rule, **parameters: Any) -> Policy:
    return Policy("api/get", rules.Throttle(**parameters), *more, engine=eng)


def seen(eng: Engine) -> tuple[int, int, float]:
    found = eng.snapshot().policies[0].throttle
    return found.requests, found.accepts, found.probability


def calls(policy: Policy, count: int, *, succeed: bool) -> int:
    """Make so many calls that end alike; how many were admitted."""
    admitted = [permit for permit in (policy.try_acquire() for _ in range(count)) if permit]
    for permit in admitted:
        assert permit.success() if succeed else permit.failure()
    return len(admitted)


def test_nothing_is_refused_when_every_call_succeeds(private: Engine) -> None:
    assert calls(throttled(private), 500, succeed=True) == 500
    assert seen(private) == (500, 500, 0.0)


def test_nothing_is_refused_while_one_call_in_k_succeeds(private: Engine) -> None:
    policy = throttled(private, k=2)
    for _ in range(200):
        assert calls(policy, 1, succeed=True) + calls(policy, 1, succeed=False) == 2
    assert seen(private) == (400, 200, 0.0)


def test_probability_is_that_of_the_book(private: Engine) -> None:
    policy = throttled(private, k=1.5)
    held = [policy.try_acquire() for _ in range(100)]
    for number, permit in enumerate(held):
        assert permit.success() if number < 40 else permit.failure()
    assert seen(private) == (100, 40, pytest.approx((100 - 1.5 * 40) / 101))


def test_calls_under_way_do_not_look_like_failures(private: Engine) -> None:
    policy = throttled(private)
    held = [policy.try_acquire() for _ in range(300)]
    assert all(held)
    assert seen(private) == (0, 0, 0.0)


def test_refusals_are_requests_too_and_have_the_reason_shed(private: Engine) -> None:
    policy = throttled(private)
    for permit in [policy.try_acquire() for _ in range(50)]:
        permit.failure()
    refusals = [verdict for verdict in (policy.try_acquire() for _ in range(200)) if not verdict]
    assert {(one.reason, one.rule, one.retry_after) for one in refusals} == {
        ("shed", "throttle", 0.0)
    }
    requests, accepts, probability = seen(private)
    assert (requests, accepts) == (50 + len(refusals), 0)
    assert probability == requests / (requests + 1)
    assert private.snapshot().policies[0].refused == {"shed": len(refusals)}


def test_share_that_is_refused_is_the_probability(private: Engine) -> None:
    """Six standard deviations: by chance it fails once in 500 million runs."""
    policy = throttled(private, k=1)
    for number, permit in enumerate([policy.try_acquire() for _ in range(2_000)]):
        assert permit.failure() if number % 2 else permit.success()
    expected = refused = variance = 0.0
    for _ in range(2_000):
        probability = seen(private)[2]
        expected += probability
        variance += probability * (1 - probability)
        verdict = policy.try_acquire()
        refused += not verdict
        if verdict:
            verdict.ignore()
    assert abs(refused - expected) < 6 * variance**0.5


def test_everybody_is_admitted_again_when_the_window_has_passed(
    private: Engine, clock: ManualClock
) -> None:
    policy = throttled(private, window=10)
    for permit in [policy.try_acquire() for _ in range(500)]:
        permit.failure()
    clock.advance(9.0)
    assert seen(private)[0] == 500
    clock.advance(1.0)
    assert seen(private) == (0, 0, 0.0)
    assert calls(policy, 50, succeed=True) == 50


def test_ignored_and_otherwise_refused_calls_leave_no_trace(private: Engine) -> None:
    policy = throttled(private, rules.Bulkhead(1))
    held = policy.try_acquire()
    assert policy.try_acquire().reason == "bulkhead_full"
    assert held.ignore()
    del held
    policy.try_acquire()
    assert seen(private) == (0, 0, 0.0)


def test_probe_of_a_half_open_breaker_is_not_thrown_away(
    private: Engine, clock: ManualClock
) -> None:
    circuit = rules.Breaker(window=10, min_calls=10, open_for=1, jitter=0, probes=3)
    for number in range(20):
        policy = Policy(f"api/{number}", circuit, rules.Throttle(), engine=private)
        for permit in [policy.try_acquire() for _ in range(300)]:
            permit.failure()
        clock.advance(1.0)
        assert policy.try_acquire(), "with 300 failures of 300 one of 301 would pass"


def test_verdicts_repeat_when_arena_and_calls_are_the_same(
    arena: Path, clock: ManualClock, open_engine: Callable[..., Engine]
) -> None:
    first = open_engine(arena, clock=clock)
    policy = throttled(first)
    for permit in [policy.try_acquire() for _ in range(2)]:
        permit.failure()
    shutil.copy(arena, f"{arena}.again")
    again = throttled(open_engine(f"{arena}.again", clock=clock))
    pattern = [[bool(one.try_acquire()) for _ in range(100)] for one in (policy, again)]
    assert pattern[0] == pattern[1]
    assert 0 < sum(pattern[0]) < 100


def test_looking_takes_no_draw_and_counts_nothing(private: Engine) -> None:
    policy = throttled(private)
    for permit in [policy.try_acquire() for _ in range(4)]:
        permit.failure()
    look = pb.AdmitRequest(policy="api/get", mode=pb.MODE_PEEK).SerializeToString()
    for _ in range(40):
        before = seen(private)
        looked = {wire.admit(private.arena, look) for _ in range(5)}
        assert seen(private) == before
        (answer,) = map(pb.AdmitResponse.FromString, looked)
        assert (answer.decision == pb.DECISION_ADMITTED) == bool(policy.try_acquire())


def test_remote_caller_gets_a_permit_and_its_report_counts(private: Engine) -> None:
    throttled(private)
    asked = pb.AdmitRequest(policy="api/get").SerializeToString()
    for outcome in (pb.OUTCOME_SUCCESS, pb.OUTCOME_FAILURE, pb.OUTCOME_IGNORED):
        answer = pb.AdmitResponse.FromString(wire.admit(private.arena, asked))
        assert len(answer.permit) == 24
        said = pb.ReportRequest(permit=answer.permit, outcome=outcome).SerializeToString()
        result = pb.ReportResponse.FromString(wire.report(private.arena, said)).result
        assert result == pb.REPORT_RESULT_SETTLED
    assert seen(private) == (2, 1, 0.0)


def test_throttle_in_the_shadow_counts_and_admits(private: Engine) -> None:
    policy = throttled(private, mode="shadow")
    assert sum(calls(policy, 1, succeed=False) for _ in range(300)) == 300
    would = private.snapshot().policies[0].would_refuse["shed"]
    assert 0 < would <= 300
    assert seen(private)[0] == 300 + would


def test_counts_stay_when_the_window_changes(private: Engine, clock: ManualClock) -> None:
    calls(throttled(private, window=10), 30, succeed=True)
    throttled(private, window="1min")
    assert seen(private)[:2] == (30, 30)
    clock.advance(40)
    assert seen(private)[:2] == (30, 30)
