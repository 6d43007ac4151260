"""The load shedder: who goes first, nobody above the limit, and places that change hands."""

import contextlib
import itertools
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import CRITICAL, HIGH, LOW, NORMAL, SHEDDABLE, Engine, Policy, Shedder, rules
from engine.core import wire
from engine.metrics import EngineCollector
from engine.testing import ManualClock

CLASSES = (CRITICAL, HIGH, NORMAL, LOW, SHEDDABLE)
TICK_S = 2**24 / 1e9
DAY_S = 86_400.0


def shedding(private: Engine, limit: int | str = 20, **parameters: Any) -> Policy:
    return Policy("load/shed", rules.Shedder(limit, **parameters), engine=private)


def seen(private: Engine) -> Any:
    return private.snapshot().policies[0].shedder


def fill(policy: Policy, **wishes: Any) -> list[Any]:
    """Take places until there is none."""
    taken = []
    while permit := policy.try_acquire(**wishes):
        taken.append(permit)
    return taken


# ---- shares ----


@pytest.mark.parametrize(
    ("limit", "places"),
    [(100, (100, 95, 85, 70, 50)), (20, (20, 19, 17, 14, 10)), (2, (2, 1, 1, 1, 1)), (1, (1,) * 5)],
)
def test_class_fills_its_share_and_no_more(
    private: Engine, limit: int, places: tuple[int, ...]
) -> None:
    policy = shedding(private, limit)
    for priority, expected in zip(CLASSES, places, strict=True):
        taken = fill(policy, priority=priority)
        assert len(taken) == expected
        assert seen(private).in_use == expected
        assert all(permit.success() for permit in taken)
    assert seen(private).in_use == 0


def test_lower_class_is_shed_first_when_all_come_together(private: Engine) -> None:
    policy = shedding(private, 20)
    admitted = dict.fromkeys(CLASSES, 0)
    held = []
    for priority in itertools.islice(itertools.cycle(reversed(CLASSES)), 200):
        if permit := policy.try_acquire(priority=priority):
            admitted[priority] += 1
            held.append(permit)
    assert [admitted[priority] for priority in CLASSES] == [6, 5, 4, 3, 2]
    assert seen(private).by_class == dict(
        zip(("critical", "high", "normal", "low", "sheddable"), (6, 5, 4, 3, 2), strict=True)
    )


def test_refusal_says_shed_and_consumes_nothing(private: Engine) -> None:
    policy = shedding(private, 2)
    held = policy.try_acquire()
    refusal = policy.try_acquire()
    assert (refusal.reason, refusal.rule, refusal.retry_after) == ("shed", "shedder", 0.0)
    with pytest.raises(engine.Shed), policy:
        pass
    assert held.success()
    assert policy.try_acquire()


def test_place_comes_back_when_a_later_rule_refuses(private: Engine) -> None:
    policy = Policy(
        "load/shed", rules.Shedder(4), rules.RateLimit("1/min", burst=1), engine=private
    )
    assert policy.try_acquire().success()
    assert policy.try_acquire().reason == "rate_limited"
    assert seen(private).in_use == 0
    assert [policy.try_acquire().reason for _ in range(9)] == ["rate_limited"] * 9


def test_permit_counts_once_when_reported_twice(private: Engine) -> None:
    policy = shedding(private, 1)
    first = policy.try_acquire()
    assert first.success()
    second = policy.try_acquire()
    assert not first.success()
    assert not policy.try_acquire(), "a second report freed another call's place"
    assert second.seat[0] == first.seat[0]
    assert second.success()


def test_retry_after_is_when_a_place_should_be_free(private: Engine, clock: ManualClock) -> None:
    policy = shedding(private, 20)
    permit = policy.try_acquire()
    clock.advance(0.4)
    permit.success()
    held = fill(policy, priority=CRITICAL)
    assert len(held) == 20
    # Twenty calls of 0.4 s end evenly: the first after 0.02 s, the eleventh after 0.22 s.
    assert policy.try_acquire(priority=CRITICAL).retry_after == pytest.approx(0.02)
    assert policy.try_acquire(priority=SHEDDABLE).retry_after == pytest.approx(0.22)


def test_lowered_limit_admits_again_when_enough_have_ended(private: Engine) -> None:
    held = fill(shedding(private, 20), priority=CRITICAL)
    policy = shedding(private, 4)
    for expected in range(19, 3, -1):
        assert not policy.try_acquire(priority=CRITICAL)
        assert held.pop().success()
        assert seen(private).in_use == expected
    assert not policy.try_acquire(priority=CRITICAL)
    assert held.pop().success()
    assert policy.try_acquire(priority=CRITICAL)


def test_raised_limit_keeps_the_places(private: Engine) -> None:
    held = fill(shedding(private, 4), priority=CRITICAL)
    policy = shedding(private, 40)
    assert len(fill(policy, priority=CRITICAL)) == 36
    assert all(permit.success() for permit in held)


def test_reports_free_places_while_the_rule_is_off(private: Engine) -> None:
    policy = shedding(private, 4)
    held = fill(policy, priority=CRITICAL)
    shedding(private, 4, mode="off")
    assert all(permit.success() for permit in held)
    held = fill(shedding(private, 4), priority=CRITICAL)
    assert len(held) == 4


# ---- the count ----


@contextlib.contextmanager
def words_of(path: Path) -> Iterator[memoryview]:
    """The 64-bit words of an arena file."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("r+b"))
        memory = stack.enter_context(mmap.mmap(file.fileno(), 0))
        raw = stack.enter_context(memoryview(memory))
        yield stack.enter_context(raw.cast("Q"))


def place_of_the_count(policy: Policy, words: memoryview) -> int:
    """The word that says 0, 1, 2 and 1 while two places are taken and one is given back."""
    looks = [words.tolist()]
    held = []
    for _ in range(2):
        held.append(policy.try_acquire(priority=CRITICAL))
        looks.append(words.tolist())
    held.pop().ignore()
    looks.append(words.tolist())
    (place,) = (i for i, values in enumerate(zip(*looks, strict=True)) if values == (0, 1, 2, 1))
    return place


@pytest.mark.parametrize("wrong", [0, 1, 3, 5, 2**64 - 1])
def test_count_is_put_right_when_it_is_wrong(
    open_engine: Callable[..., Engine], arena: Path, clock: ManualClock, wrong: int
) -> None:
    """As a process leaves it that is killed between the count and the cell, and worse."""
    shared = open_engine(arena, clock=clock, arena_size=4 << 20)
    policy = shedding(shared, 2)
    with words_of(arena) as words:
        count = place_of_the_count(policy, words)
        held = fill(policy, priority=CRITICAL)
        assert (len(held), words[count]) == (2, 2)
        clock.advance(0.2)
        words[count] = wrong
        assert not policy.try_acquire(priority=CRITICAL), "more than the limit"
        assert held.pop().success()
        clock.advance(0.3)
        held += fill(policy, priority=CRITICAL)
        assert len(held) == 2
        clock.advance(0.3)
        assert not policy.try_acquire(priority=CRITICAL)
        assert words[count] == seen(shared).in_use == 2


def test_count_is_looked_after_four_times_a_second_at_most(
    open_engine: Callable[..., Engine], arena: Path, clock: ManualClock
) -> None:
    shared = open_engine(arena, clock=clock, arena_size=4 << 20)
    policy = shedding(shared, 2)
    with words_of(arena) as words:
        count = place_of_the_count(policy, words)
        clock.advance(1)
        words[count] = 2
        assert policy.try_acquire(priority=CRITICAL).success()
        words[count] = 2
        clock.advance(0.249)
        assert not policy.try_acquire(priority=CRITICAL)
        clock.advance(0.001)
        assert policy.try_acquire(priority=CRITICAL)


# ---- revoking ----


def test_higher_class_takes_the_newest_place_of_the_lowest_class(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private, 10)
    permits = {}
    for name, priority in (("s1", SHEDDABLE), ("s2", SHEDDABLE), ("l", LOW), ("n", NORMAL)):
        permits[name] = policy.try_acquire(priority=priority, revocable=True)
        clock.advance(0.01)
    held = [policy.try_acquire(priority=CRITICAL) for _ in range(6)]
    order = []
    for _ in range(4):
        held.append(policy.try_acquire(priority=HIGH))
        order += [name for name, permit in permits.items() if permit.revoked]
        permits = {name: permit for name, permit in permits.items() if not permit.revoked}
    assert order == ["s2", "s1", "l", "n"]
    assert all(held)
    assert not policy.try_acquire(priority=HIGH)


def full_of(policy: Policy, priority: int, *, revocable: bool = True) -> list[Any]:
    """Fill a shedder of one place."""
    held = [policy.try_acquire(priority=priority, revocable=revocable)]
    assert all(held)
    return held


def test_one_admission_revokes_one_call_and_keeps_the_limit(private: Engine) -> None:
    policy = shedding(private, 10)
    held = fill(policy, priority=SHEDDABLE, revocable=True)
    assert len(held) == 5
    others = fill(policy, priority=CRITICAL)
    assert len(others) == 10, "five were free, five were taken over"
    assert [permit.revoked for permit in held] == [True] * 5
    assert not any(permit.revoked for permit in others)
    assert seen(private).in_use == 10
    assert policy.try_acquire(priority=CRITICAL).reason == "shed"


def test_report_of_a_victim_frees_nothing_and_counts_elsewhere(private: Engine) -> None:
    policy = Policy("load/shed", rules.Shedder(1), rules.Breaker(window=10), engine=private)
    (victim,) = full_of(policy, LOW)
    newcomer = policy.try_acquire(priority=NORMAL)
    assert victim.revoked
    assert not newcomer.revoked
    assert victim.failure(), "its report is void for the shedder alone"
    assert not victim.revoked, "a reported call has nothing to lose"
    snapshot = private.snapshot().policies[0]
    assert (snapshot.failure, snapshot.void, snapshot.breaker.failures) == (1, 0, 1)
    assert snapshot.shedder.in_use == 1
    assert not policy.try_acquire()
    assert newcomer.success()
    assert policy.try_acquire()


def test_victims_report_teaches_nothing(private: Engine, clock: ManualClock) -> None:
    policy = shedding(private, "aimd", initial=1, min_limit=1)
    (victim,) = full_of(policy, LOW)
    assert policy.try_acquire(priority=NORMAL)
    clock.advance(1)
    assert victim.success()
    assert seen(private).limit == 1


@pytest.mark.parametrize("priority", [LOW, SHEDDABLE])
def test_nobody_is_revoked_for_his_own_class_or_a_lower_one(private: Engine, priority: int) -> None:
    policy = shedding(private, 1)
    (victim,) = full_of(policy, LOW)
    assert policy.try_acquire(priority=priority).reason == "shed"
    assert not victim.revoked


def test_call_that_did_not_say_so_is_not_revoked(private: Engine) -> None:
    policy = shedding(private, 1)
    (held,) = full_of(policy, SHEDDABLE, revocable=False)
    assert policy.try_acquire(priority=CRITICAL).reason == "shed"
    assert not held.revoked
    assert held.success()


def test_nobody_is_revoked_when_a_later_rule_refuses(private: Engine) -> None:
    policy = Policy(
        "load/shed", rules.Shedder(1), rules.RateLimit("1/min", burst=1), engine=private
    )
    (held,) = full_of(policy, SHEDDABLE)
    assert policy.try_acquire(priority=CRITICAL).reason == "rate_limited"
    assert not held.revoked
    assert held.success()


def test_peek_revokes_nobody_and_says_what_would_be(private: Engine) -> None:
    policy = shedding(private, 1)
    (held,) = full_of(policy, SHEDDABLE)
    asked = b"\x0a\x09load/shed\x50\x02\x20"
    assert wire.admit(private.arena, asked + b"\x01").startswith(b"\x08\x01")
    assert wire.admit(private.arena, asked + b"\x05").startswith(b"\x08\x02\x10\x04")
    assert not held.revoked
    assert seen(private).in_use == 1


def test_shedder_in_the_shadow_revokes_nobody(private: Engine) -> None:
    policy = shedding(private, 1, mode="shadow")
    (held,) = full_of(policy, SHEDDABLE)
    assert policy.try_acquire(priority=CRITICAL)
    assert policy.try_acquire(priority=SHEDDABLE).would_refuse == "shed"
    assert not held.revoked
    assert seen(private).in_use == 1


def test_revocable_call_is_found_again_after_a_vain_look(private: Engine) -> None:
    policy = shedding(private, 1)
    first = policy.try_acquire(priority=CRITICAL)
    assert not policy.try_acquire(priority=CRITICAL)
    assert first.success()
    (victim,) = full_of(policy, LOW)
    assert policy.try_acquire(priority=CRITICAL)
    assert victim.revoked


def test_revocable_call_expires_after_a_day(private: Engine, clock: ManualClock) -> None:
    policy = shedding(private, 1)
    (held,) = full_of(policy, NORMAL)
    clock.advance(DAY_S - 1)
    assert not policy.try_acquire()
    assert seen(private).in_use == 1
    clock.advance(1 + TICK_S)
    other = policy.try_acquire()
    assert other, "an expired permit kept its place"
    assert held.success()
    assert seen(private).in_use == 1, "a late report freed another call's place"
    assert not other.revoked


# ---- deadline ----


def served(policy: Policy, clock: ManualClock, duration: float, times: int = 40) -> None:
    for _ in range(times):
        permit = policy.try_acquire()
        clock.advance(duration)
        permit.success()


def test_caller_without_the_time_is_refused_as_deadline(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private)
    assert policy.try_acquire(deadline=0.001), "nobody knows yet what a call takes"
    served(policy, clock, 0.2)
    refusal = policy.try_acquire(deadline=0.19)
    assert (refusal.reason, refusal.rule) == ("deadline", "shedder")
    assert policy.try_acquire(deadline=0.21)
    assert policy.try_acquire()


@pytest.mark.parametrize("deadline", [0, 0.0, -1, -1e9])
def test_deadline_that_has_passed_is_refused_at_once(private: Engine, deadline: float) -> None:
    refusal = shedding(private).try_acquire(deadline=deadline)
    assert (refusal.reason, refusal.rule) == ("deadline", "shedder")


def test_what_a_call_takes_is_forgotten_when_none_was_reported_for_a_second(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private)
    served(policy, clock, 0.2)
    clock.advance(0.99)
    assert policy.try_acquire(deadline=0.1).reason == "deadline"
    clock.advance(0.01)
    assert policy.try_acquire(deadline=0.1)


def test_failures_and_ignored_calls_do_not_say_what_a_call_takes(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private)
    for end in ("failure", "ignore"):
        permit = policy.try_acquire()
        clock.advance(0.5)
        getattr(permit, end)()
    assert policy.try_acquire(deadline=0.001)


# ---- pressure ----


@pytest.mark.parametrize(
    ("lag", "limit"), [(0.1, 20), (0.0, 20), (-3.0, 20), (0.125, 16), (0.2, 10), (60.0, 10)]
)
def test_lag_shrinks_the_limit_for_a_second(
    private: Engine, clock: ManualClock, lag: float, limit: int
) -> None:
    policy = shedding(private, 20)
    policy.note_lag(lag)
    assert seen(private).limit == limit
    assert len(fill(policy, priority=CRITICAL)) == limit
    clock.advance(0.999)
    assert seen(private).limit == limit
    clock.advance(0.001)
    assert seen(private).limit == 20


def test_lag_is_noted_of_a_shedder_alone(private: Engine) -> None:
    policy = Policy("load/none", rules.Bulkhead(1), engine=private)
    with pytest.raises(engine.ArenaError):
        policy.note_lag(1.0)


# ---- remote callers ----


def asked(priority: int = 3, *, revocable: bool = False) -> bytes:
    return b"\x0a\x09load/shed\x20" + bytes([priority]) + (b"\x58\x01" if revocable else b"")


def token_of(response: bytes) -> bytes:
    assert response.startswith(b"\x08\x01"), response
    at = response.index(b"\x1a") + 2
    return response[at : at + response[at - 1]]


def reported(token: bytes, *, outcome: int = 1, extend_ms: int = 0) -> bytes:
    extend = b"\x28" + bytes([extend_ms & 0x7F | 0x80, extend_ms >> 7]) if extend_ms else b""
    return b"\x0a" + bytes([len(token)]) + token + b"\x10" + bytes([outcome]) + extend


def test_remote_caller_takes_and_gives_back_a_place(private: Engine) -> None:
    shedding(private, 2)
    token = token_of(wire.admit(private.arena, asked()))
    assert wire.admit(private.arena, asked()).startswith(b"\x08\x02\x10\x04")
    assert seen(private).in_use == 1
    assert wire.report(private.arena, reported(token)) == b"\x08\x01"
    assert wire.report(private.arena, reported(token)) == b"\x08\x02"
    assert seen(private).in_use == 0
    snapshot = private.snapshot()
    assert (snapshot.policies[0].success, snapshot.arena.remote_permits) == (1, 0)


@pytest.mark.parametrize("byte", range(24))
def test_forged_place_is_void(private: Engine, byte: int) -> None:
    shedding(private, 2)
    token = bytearray(token_of(wire.admit(private.arena, asked())))
    token[byte] ^= 1
    assert wire.report(private.arena, reported(bytes(token))) == b"\x08\x03"
    assert seen(private).in_use == 1


def test_place_of_a_remote_caller_comes_back_when_it_expires(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private, 1)
    token = token_of(wire.admit(private.arena, asked()))
    clock.advance(59.9)
    assert not policy.try_acquire()
    clock.advance(0.3)
    mine = policy.try_acquire()
    assert mine
    assert wire.report(private.arena, reported(token)) == b"\x08\x03"
    assert seen(private).in_use == 1
    assert mine.success()


def test_expired_place_that_is_taken_over_is_counted_once(
    private: Engine, clock: ManualClock
) -> None:
    policy = shedding(private, 3)
    assert wire.admit(private.arena, asked(1) + b"\x38\x64").startswith(b"\x08\x01")
    held = fill(policy, priority=CRITICAL)
    assert len(held) == 2, "the refusal has looked after the count"
    assert held.pop(0).success()
    clock.advance(0.1 + TICK_S)
    assert len(fill(policy, priority=CRITICAL)) == 2


def test_heartbeat_extends_the_place_too(private: Engine, clock: ManualClock) -> None:
    policy = shedding(private, 1)
    token = token_of(wire.admit(private.arena, asked()))
    clock.advance(59.0)
    assert wire.report(private.arena, reported(token, outcome=0, extend_ms=16_000)) == b"\x08\x04"
    clock.advance(15.0)
    assert not policy.try_acquire()
    assert wire.report(private.arena, reported(token)) == b"\x08\x01"
    assert policy.try_acquire()


def test_remote_victim_is_told_by_heartbeat_and_report(private: Engine) -> None:
    policy = shedding(private, 1)
    token = token_of(wire.admit(private.arena, asked(5, revocable=True)))
    mine = policy.try_acquire(priority=CRITICAL)
    assert mine
    beat = wire.report(private.arena, reported(token, outcome=0, extend_ms=16_000))
    assert beat == b"\x08\x04\x10\x01"
    assert wire.report(private.arena, reported(token)) == b"\x08\x01\x10\x01"
    assert seen(private).in_use == 1
    assert not mine.revoked


def test_remote_caller_that_revokes_tells_the_local_victim(private: Engine) -> None:
    policy = shedding(private, 1)
    (victim,) = full_of(policy, SHEDDABLE)
    token = token_of(wire.admit(private.arena, asked(1)))
    assert victim.revoked
    assert wire.report(private.arena, reported(token)) == b"\x08\x01"
    assert seen(private).in_use == 0


def test_batch_that_is_handed_back_leaves_no_place_taken(private: Engine) -> None:
    shedding(private, 4)
    item = b"\x0a" + bytes([len(asked())]) + asked()
    refused = wire.admit_batch(private.arena, item * 5 + b"\x10\x01")
    assert refused.count(b"\x08\x02\x10\x04") == 5
    assert seen(private).in_use == 0


# ---- the primitive, metrics ----


def test_primitive_takes_and_gives_back(private: Engine) -> None:
    shedder = Shedder(4, engine=private)
    assert [shedder.try_acquire() for _ in range(4)] == [True, True, True, False]
    assert shedder.try_acquire(CRITICAL)
    assert (shedder.in_use, shedder.limit) == (4, 4)
    shedder.release()
    shedder.release(CRITICAL)
    assert shedder.in_use == 2
    with pytest.raises(ValueError, match="holds no such place"):
        shedder.release(CRITICAL)


def test_primitive_learns_what_is_recorded(private: Engine) -> None:
    shedder = Shedder("aimd", initial=2, min_limit=1, engine=private)
    assert shedder.try_acquire()
    shedder.record(True, 0.01)
    assert shedder.limit == 3
    assert shedder.try_acquire()
    shedder.record(False, 0.01)
    assert shedder.limit == 2


@pytest.mark.parametrize(
    ("priority", "error"), [(0, ValueError), (6, ValueError), (True, TypeError), ("low", TypeError)]
)
def test_primitive_complains_when_the_priority_is_none(
    private: Engine, priority: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="priority"):
        Shedder(4, engine=private).try_acquire(priority)


def test_primitive_refuses_who_is_too_late(private: Engine) -> None:
    assert not Shedder(4, engine=private).try_acquire(NORMAL, 0)


def test_metrics_show_who_is_in_flight_and_who_was_shed(private: Engine) -> None:
    policy = shedding(private, 2)
    held = [policy.try_acquire(priority=LOW), policy.try_acquire(priority=LOW)]
    policy.try_acquire(deadline=0)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in EngineCollector(private).collect()
        for sample in family.samples
    }
    assert samples["admittance_calls_in_flight", "load", "shed", "low"] == 1
    assert samples["admittance_calls_in_flight", "load", "shed", "critical"] == 0
    assert samples["admittance_calls_limit", "load", "shed"] == 2
    assert samples["load_shed_total", "load", "shed"] == 1
    assert samples["load_shed_total", "load", "deadline"] == 1
    assert held[0].success()
