"""Keyed limits: a bucket for each key, in bounded room, and none in use is ever given away."""

from typing import Any

import pytest

from engine import Engine, Limiter, Policy, rules
from engine.core import wire
from engine.errors import ArenaError
from engine.testing import ManualClock
from server.pb.admittance.v1 import admission_pb2 as pb


def keyed(engine: Engine, rate: str = "10/s", **parameters: Any) -> Policy:
    rule = rules.RateLimit(rate, key="tenant", **parameters)
    return Policy("api/keyed", rule, engine=engine)


def in_use(engine: Engine) -> int:
    (policy,) = engine.snapshot().policies
    assert policy.rate_limit
    return policy.rate_limit.keys or 0


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window", "fixed_window"])
def test_each_key_has_the_rate_for_itself(private: Engine, algorithm: str) -> None:
    policy = keyed(private, "4/s", algorithm=algorithm)
    for key in ("one", "two", "x" * 256, "ключ"):
        assert [bool(policy.try_acquire(key=key)) for _ in range(5)] == [True] * 4 + [False]
        assert policy.remaining_of(key) == 0
    assert policy.remaining_of("three") == 4
    assert in_use(private) == 4


def test_text_and_its_bytes_are_one_key(private: Engine) -> None:
    policy = keyed(private, "1/s")
    assert policy.try_acquire(key="ключ")
    assert not policy.try_acquire(key="ключ".encode())


@pytest.mark.parametrize("key", [None, "", b"", "x" * 257, "é" * 129])
def test_key_is_invalid_when_it_is_missing_or_too_long(private: Engine, key: Any) -> None:
    verdict = keyed(private).try_acquire(key=key)
    assert (verdict.reason, verdict.retry_after) == ("invalid", 0)


def test_key_that_is_no_text_raises(private: Engine) -> None:
    with pytest.raises(TypeError, match="key = 7: must be a str or bytes"):
        keyed(private).try_acquire(key=7)  # type: ignore[arg-type]


def test_key_is_ignored_when_the_rule_is_not_keyed(private: Engine) -> None:
    policy = Policy("api/plain", rules.RateLimit("1/s"), engine=private)
    assert policy.try_acquire(key="one")
    assert policy.try_acquire(key="two").reason == "rate_limited"


def test_keyed_limiter_wants_a_key(private: Engine) -> None:
    limiter = Limiter("1/s", engine=private, key="user")
    assert limiter.try_acquire(1, "ann")
    assert not limiter.try_acquire(1, "ann")
    assert limiter.try_acquire(1, "bob")
    with pytest.raises(ValueError, match="key = None: must have 1 to 256 bytes"):
        limiter.try_acquire()


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window", "fixed_window"])
def test_key_in_use_is_never_given_away_when_many_others_come(
    private: Engine, clock: ManualClock, algorithm: str
) -> None:
    """A table of 2,048 cells, a hundred times as many keys, and 500 that are watched."""
    burst = 2 if algorithm == "gcra" else None
    policy = keyed(private, "2/h", burst=burst, algorithm=algorithm, max_keys=1)
    watched = [f"watched {i}" for i in range(500)]
    for key in watched:
        assert policy.try_acquire(2, key)
    refused = sum(not policy.try_acquire(key=f"passer-by {i}") for i in range(200_000))
    assert refused > 100_000, "a small table had room for all of them"
    assert not any(policy.try_acquire(key=key) for key in watched)
    clock.advance(2 * 3600)
    assert all(policy.try_acquire(2, key) for key in watched), "idle cells were not reclaimed"


def test_refused_key_is_told_when_a_cell_will_be_free(private: Engine, clock: ManualClock) -> None:
    policy = keyed(private, "1/s", max_keys=1)
    verdicts = (policy.try_acquire(key=str(i)) for i in range(1_000_000))
    refusal = next(verdict for verdict in verdicts if not verdict)
    assert (refusal.reason, refusal.retry_after) == ("rate_limited", 1.0)
    assert in_use(private) <= 2_048
    clock.advance(1)
    assert in_use(private) == 0


def test_keys_without_room_share_one_bucket_when_told_so(private: Engine) -> None:
    policy = keyed(private, "1/h", max_keys=1, overflow="shared")
    admitted = sum(bool(policy.try_acquire(key=str(i))) for i in range(20_000))
    assert admitted == in_use(private) + 1


def test_levels_stay_when_the_room_grows(private: Engine) -> None:
    policy = keyed(private, "1/h", max_keys=1)
    before = [key for key in map(str, range(500)) if policy.try_acquire(key=key)]
    policy = keyed(private, "1/h", max_keys=5_000)
    assert not any(policy.try_acquire(key=key) for key in before)
    assert all(policy.try_acquire(key=f"new {i}") for i in range(5_000))
    assert not any(policy.try_acquire(key=f"new {i}") for i in range(5_000))


def test_arena_that_is_too_small_says_what_the_keys_take(open_engine: Any) -> None:
    small = open_engine(arena_size=4 << 20)
    with pytest.raises(ArenaError, match="room for 1000000 keys takes 32000000 bytes"):
        keyed(small, max_keys=1_000_000)


def test_a_million_keys_have_room_in_64_mib(open_engine: Any) -> None:
    large = open_engine(arena_size=64 << 20)
    keyed(large, max_keys=1_000_000)
    assert large.snapshot().arena.heap_used <= 1_000_000 * 70


def test_flood_of_keys_touches_no_key_in_use(open_engine: Any, soak: bool) -> None:
    """Ten keys to every cell: who has taken a token keeps its cell until that has come back."""
    cells = 1_000_000 if soak else 100_000
    flooded = open_engine(arena_size=64 << 20)
    policy = keyed(flooded, "1/day", burst=1, max_keys=cells // 2)
    admitted = [number for number in range(10 * cells) if policy.try_acquire(key=str(number))]
    assert cells // 2 < len(admitted) <= cells
    assert in_use(flooded) == len(admitted)
    assert not any(policy.try_acquire(key=str(number)) for number in admitted)
    refused = flooded.snapshot().policies[0].refused
    assert refused == {"rate_limited": 10 * cells}


def test_wire_uses_the_key_of_the_request(private: Engine) -> None:
    keyed(private, "2/s")

    def ask(key: str) -> pb.AdmitResponse:
        request = pb.AdmitRequest(policy="api/keyed", key=key)
        return pb.AdmitResponse.FromString(wire.admit(private.arena, request.SerializeToString()))

    assert [ask("a").remaining, ask("a").remaining, ask("b").remaining] == [1, 0, 1]
    assert ask("a").reason == pb.REASON_RATE_LIMITED
    assert ask("").reason == pb.REASON_INVALID
    assert ask("x" * 257).reason == pb.REASON_INVALID


# ---- keys with a rate of their own ----


def with_overrides(engine: Engine, **overrides: str) -> Policy:
    rule = rules.RateLimit("2/s", burst=4, key="tenant", overrides=overrides)
    return Policy("api/keyed", rule, rules.Bulkhead(1_000), engine=engine)


def taken(policy: Policy, key: str, times: int = 50) -> int:
    return sum(bool(policy.try_acquire(key=key)) for _ in range(times))


def test_key_has_its_own_rate_when_it_is_overridden(private: Engine, clock: ManualClock) -> None:
    policy = with_overrides(private, gold="10/s", slow="1/min")
    assert [taken(policy, key) for key in ("gold", "slow", "other")] == [20, 1, 4]
    clock.advance(1)
    assert [taken(policy, key) for key in ("gold", "slow", "other")] == [10, 0, 2]
    clock.advance(59)
    assert taken(policy, "slow") == 1


def test_overridden_key_may_cost_what_its_own_burst_holds(private: Engine) -> None:
    policy = with_overrides(private, gold="10/s", slow="1/min")
    assert policy.try_acquire(cost=20, key="gold")
    assert policy.try_acquire(cost=2, key="slow").reason == "invalid"
    assert policy.try_acquire(cost=5, key="other").reason == "invalid"


def test_overrides_change_without_touching_any_level(private: Engine) -> None:
    policy = with_overrides(private, gold="10/s")
    assert taken(policy, "gold", 6) == 6
    with_overrides(private, gold="5/s", silver="10/s")
    assert policy.remaining_of("gold") == 10 - 3
    with_overrides(private)
    assert policy.remaining_of("gold") == 4 - 2
    version = policy.version
    with_overrides(private)
    assert policy.version == version


def test_overrides_take_no_more_room_when_they_change(private: Engine) -> None:
    for turn in range(4):
        with_overrides(private, **{f"k{i}": f"{turn + 1}/s" for i in range(100)})
        private.snapshot()
    used = private.snapshot().arena.heap_used
    for turn in range(50):
        with_overrides(private, **{f"k{i}": f"{turn + 2}/s" for i in range(100)})
    assert private.snapshot().arena.heap_used == used
    policy = private.policy("api/keyed")
    assert all(policy.remaining_of(f"k{i}") == 51 * 2 for i in range(100))


def test_settled_cost_of_an_overridden_key_is_its_own(private: Engine) -> None:
    policy = with_overrides(private, gold="10/s")
    permit = policy.try_acquire(cost=2, key="gold")
    assert permit.settle_cost(15)
    assert policy.remaining_of("gold") == 5


def test_a_thousand_keys_have_each_their_own(private: Engine) -> None:
    rates = {f"k{i}": f"{i + 1}/min" for i in range(1_024)}
    rule = rules.RateLimit("1/min", burst=1, key="tenant", overrides=rates)
    policy = Policy("api/keyed", rule, engine=private)
    assert all(policy.remaining_of(f"k{i}") == i + 1 for i in range(1_024))
    assert policy.remaining_of("k1024") == 1


@pytest.mark.parametrize("algorithm", ["sliding_window", "fixed_window"])
def test_window_of_an_overridden_key_holds_its_own_rate(private: Engine, algorithm: str) -> None:
    rule = rules.RateLimit("2/h", algorithm=algorithm, key="k", overrides={"gold": "5/h"})
    policy = Policy("api/keyed", rule, engine=private)
    assert [taken(policy, key) for key in ("gold", "other")] == [5, 2]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"overrides": {"a": "1/s"}}, "takes a key"),
        (
            {"key": "k", "overrides": {"a": "0/s"}},
            "a = 0/s, one of the overrides, must be a rate from",
        ),
        ({"key": "k", "overrides": {"a": 5}}, "must be a table of rates by key"),
        ({"key": "k", "overrides": {"": "1/s"}}, "key of 1 to 256 bytes"),
        ({"key": "k", "overrides": {"a": "1/month"}}, "takes algorithm fixed_window"),
        (
            {"key": "k", "overrides": {"a": "1/h"}, "algorithm": "sliding_window"},
            "must be per s, as the rate is",
        ),
        (
            {"key": "k", "overrides": {"a": "100001/s"}, "algorithm": "sliding_window"},
            "must be at most 100000/s",
        ),
        ({"key": "k", "overrides": {str(i): "1/s" for i in range(1_025)}}, "at most 1024"),
    ],
)
def test_override_that_cannot_be_is_refused_in_words(parameters: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules.RateLimit("5/s", **parameters)
