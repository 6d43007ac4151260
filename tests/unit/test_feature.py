"""Feature flags: a share of the keys that stays the same, and flips that end by themselves."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import Engine, Feature, Policy, rules
from engine.core import wire
from engine.core.remark import REMARK_MAX
from engine.testing import ManualClock
from server.pb.admittance.v1 import admission_pb2 as pb

KEYS = [f"user-{number}" for number in range(2_000)]


def share(feature: Any) -> set[str]:
    return {key for key in KEYS if feature.is_on(key)}


def test_feature_is_as_configured_when_nobody_flipped_it(private: Engine) -> None:
    assert Feature(engine=private).is_on()
    assert not Feature(enabled=False, engine=private).is_on()
    assert not Feature(enabled=False, engine=private).is_on("anybody")


def test_rollout_contains_about_its_percentage_of_the_keys(private: Engine) -> None:
    """Six standard deviations of a fixed draw: it holds always, or never."""
    for percent in (1, 10, 50, 90):
        found = share(Feature(rollout=percent, name=f"feature/{percent}", engine=private))
        spread = (percent * (100 - percent) / 10_000 / len(KEYS)) ** 0.5
        assert abs(len(found) / len(KEYS) - percent / 100) < 6 * spread


def test_keys_that_are_in_stay_in_when_the_rollout_grows(private: Engine) -> None:
    before: set[str] = set()
    for percent in (0, 0.5, 3, 3, 20, 75, 99.9, 100):
        now = share(Feature(rollout=percent, name="feature/search", engine=private))
        assert before <= now
        before = now
    assert before == set(KEYS)


def test_rollout_is_the_same_in_every_arena(
    private: Engine, open_engine: Callable[..., Engine], arena: Path
) -> None:
    """Hosts and restarts agree; two features do not."""
    here = share(Feature(rollout=30, name="feature/search", engine=private))
    there = share(Feature(rollout=30, name="feature/search", engine=open_engine(arena)))
    other = share(Feature(rollout=30, name="feature/other", engine=private))
    assert here == there
    assert 0.2 < len(here & other) / len(here) < 0.4


def test_call_without_a_key_is_in_the_whole_rollout_alone(private: Engine) -> None:
    assert not Feature(rollout=99.9999, engine=private).is_on()
    assert Feature(rollout=100, engine=private).is_on()


@given(percent=st.floats(0, 100), key=st.binary(min_size=1, max_size=256))
def test_key_is_always_the_same_side_of_the_line(percent: float, key: bytes) -> None:
    with Engine(arena_size=4 << 20) as eng:
        feature = Feature(rollout=percent, name="feature/x", engine=eng)
        again = Feature(rollout=min(100, percent + 5), name="feature/x", engine=eng)
        assert again.is_on(key) >= Feature(rollout=percent, name="feature/x", engine=eng).is_on(key)
        assert feature.is_on(key) == feature.is_on(key)


def test_flip_outranks_the_configuration_until_its_time_is_over(
    private: Engine, clock: ManualClock
) -> None:
    feature = Feature(enabled=False, engine=private)
    feature.turn_on("5min", "the sale is on")
    assert (feature.is_on(), feature.state, feature.reason) == (True, "on", "the sale is on")
    clock.advance(300 - 0.001)
    assert feature.is_on()
    clock.advance(0.001)
    assert (feature.is_on(), feature.state, feature.reason) == (False, "configured", "")


def test_flip_off_holds_for_every_key_of_the_rollout(private: Engine) -> None:
    feature = Feature(engine=private)
    feature.turn_off(60)
    assert not share(feature)
    assert not feature.is_on()
    assert feature.reason == ""
    assert feature.clear("fixed")
    assert feature.is_on()
    assert not feature.clear()


def test_last_flip_counts_and_has_its_own_reason(private: Engine) -> None:
    feature = Feature(engine=private)
    feature.turn_off(60, "one")
    feature.turn_on(60, "two")
    assert (feature.is_on(), feature.reason) == (True, "two")
    feature.turn_off(60)
    assert (feature.is_on(), feature.reason) == (False, "")


def test_flip_stays_when_the_feature_is_configured_anew(private: Engine) -> None:
    Feature(name="feature/search", engine=private).turn_off("1h", "slow")
    feature = Feature(rollout=50, name="feature/search", engine=private)
    assert (feature.state, feature.reason) == ("off", "slow")


def test_flip_is_seen_by_another_process_at_once(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    feature = Feature(name="feature/search", engine=open_engine(arena))
    pid = os.fork()
    if pid == 0:
        with Engine(arena) as eng:
            Feature(name="feature/search", engine=eng).turn_off(3_600, "from elsewhere")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (feature.is_on(), feature.reason) == (False, "from elsewhere")


def test_flips_are_journalled_with_their_number_and_life(private: Engine) -> None:
    feature = Feature(name="feature/search", engine=private)
    feature.turn_off(60)
    feature.turn_on("1500ms")
    feature.clear()
    events = private.journal(since=1)
    assert [(e.policy, e.what, e.generation, e.value) for e in events] == [
        ("feature/search", "flag_off", 1, 60_000),
        ("feature/search", "flag_on", 2, 1_500),
        ("feature/search", "flag_cleared", 3, 0),
    ]


@pytest.mark.parametrize("ttl", [0, "0s", -1, 31 * 86_400, float("nan"), "soon"])
def test_flip_needs_an_end(private: Engine, ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl"):
        Feature(engine=private).turn_off(ttl)


def test_reason_is_refused_when_it_is_too_long_or_no_text(private: Engine) -> None:
    feature = Feature(engine=private)
    feature.turn_off(60, "é" * (REMARK_MAX // 2))
    assert feature.reason == "é" * (REMARK_MAX // 2)
    with pytest.raises(ValueError, match=f"at most {REMARK_MAX} bytes"):
        feature.turn_on(60, "x" * (REMARK_MAX + 1))
    with pytest.raises(TypeError):
        feature.turn_on(60, b"x")  # type: ignore[arg-type]
    assert feature.state == "off"


def test_feature_that_nobody_configured_is_on(private: Engine) -> None:
    feature = Feature(enabled=False, name="feature/search", engine=private)
    Policy("feature/search", rules.Bulkhead(1), engine=private)
    assert feature.is_on()
    with pytest.raises(engine.ArenaError, match="out of service"):
        feature.turn_off(60)


def test_reader_gets_a_whole_reason_or_none_while_another_process_writes(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    feature = Feature(name="feature/search", engine=open_engine(arena))
    texts = {letter * REMARK_MAX for letter in "abc"}
    pid = os.fork()
    if pid == 0:
        writer = Feature(name="feature/search", engine=Engine(arena))
        while True:
            for text in texts:
                writer.turn_off(60, text)
    try:
        while not feature.reason:
            pass
        assert {feature.reason for _ in range(100_000)} <= texts | {""}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    feature.turn_on(60, "after a writer that was killed")
    assert feature.reason == "after a writer that was killed"


# ---- as a rule of a policy ----


def test_feature_that_is_off_refuses_with_the_level_to_give(private: Engine) -> None:
    policy = Policy("shop/recs", rules.Feature(level=2), rules.Bulkhead(1), engine=private)
    assert policy.try_acquire().level == 0
    policy.turn_off(60, "overloaded")
    refusal = policy.try_acquire()
    assert (refusal.reason, refusal.rule, refusal.level) == ("degraded", "feature", 2)
    with pytest.raises(engine.Degraded):
        policy.acquire_or_raise()
    assert private.snapshot().policies[0].refused == {"degraded": 2}
    assert policy.clear_flip()
    assert policy.try_acquire()


def test_rule_judges_by_the_key_of_the_request(private: Engine) -> None:
    policy = Policy("shop/recs", rules.Feature(rollout=40), engine=private)
    feature = Feature(rollout=40, name="shop/recs", engine=private)
    for key in KEYS[:200]:
        assert bool(policy.try_acquire(key=key)) == feature.is_on(key)
    assert not policy.try_acquire()


def test_remote_caller_is_told_the_level(private: Engine) -> None:
    Policy("shop/recs", rules.Feature(rollout=40, level=3), engine=private)
    feature = Feature(rollout=40, level=3, name="shop/recs", engine=private)
    for key in KEYS[:50]:
        asked = pb.AdmitRequest(policy="shop/recs", key=key).SerializeToString()
        answer = pb.AdmitResponse.FromString(wire.admit(private.arena, asked))
        expected = (
            (pb.DECISION_ADMITTED, pb.REASON_UNSPECIFIED, 0)
            if feature.is_on(key)
            else (pb.DECISION_DEGRADED, pb.REASON_DEGRADED, 3)
        )
        assert (answer.decision, answer.reason, answer.level) == expected


def test_feature_in_the_shadow_counts_and_admits(private: Engine) -> None:
    policy = Policy("shop/recs", rules.Feature(enabled=False, mode="shadow"), engine=private)
    verdict = policy.try_acquire()
    assert verdict
    assert (verdict.would_refuse, verdict.level) == ("degraded", 0)


def test_snapshot_shows_flag_and_configuration(private: Engine, clock: ManualClock) -> None:
    policy = Policy("shop/recs", rules.Feature(rollout=12.5, level=4), engine=private)
    policy.turn_on("1min", "try it")
    clock.advance(20)
    found = private.snapshot().policies[0].feature
    assert (found.state, found.enabled, found.rollout, found.level) == ("on", True, 12.5, 4)
    assert (found.left, found.flips, found.reason) == (40.0, 1, "try it")


# ---- the reason beside a forced circuit ----


def test_forced_circuit_shows_its_reason_as_long_as_it_is_forced(
    private: Engine, clock: ManualClock
) -> None:
    policy = Policy("pay/charge", rules.Breaker(), engine=private)
    policy.force_open(10, "maintenance of the ledger")
    assert private.snapshot().policies[0].breaker.reason == "maintenance of the ledger"
    policy.force_closed(10)
    assert private.snapshot().policies[0].breaker.reason == ""
    policy.force_open(10, "again")
    clock.advance(10)
    assert private.snapshot().policies[0].breaker.reason == ""


def test_circuit_is_not_forced_when_its_reason_is_too_long(private: Engine) -> None:
    policy = Policy("pay/charge", rules.Breaker(), engine=private)
    with pytest.raises(ValueError, match="at most"):
        policy.force_open(10, "x" * 200)
    assert private.snapshot().policies[0].breaker.state == "closed"
