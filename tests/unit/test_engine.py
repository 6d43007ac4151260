"""The Engine: which arena, which policies, and what a new set of them keeps."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from engine import ArenaError, Bulkhead, ConfigError, Counter, Engine, Limiter, Policy, rules
from engine.rules import PolicySet, PolicySpec, Rule
from engine.testing import ManualClock

POLICIES = """
[policies."payments/charge".bulkhead]
limit = 2
[policies."payments/refund".rate_limit]
rate = "10/s"
[policies."search/query".breaker]
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES)
    return path


def policy_set(**policies: tuple[Rule, ...]) -> PolicySet:
    """Policies by the name of their operation; the service is `shop`."""
    specs = [PolicySpec(f"shop/{name}", rules) for name, rules in policies.items()]
    return PolicySet({spec.name: spec for spec in specs})


def run_python(code: str, **variables: str) -> str:
    root = Path(engine.__file__).parent.parent
    ours = {name: text for name, text in os.environ.items() if not name.startswith("ENGINE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ours | {"PYTHONPATH": str(root)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_names_are_those_of_the_file_in_order(
    open_engine: Callable[..., Engine], policies: Path
) -> None:
    eng = open_engine(policies=policies)
    assert eng.names() == ["payments/charge", "payments/refund", "search/query"]


def test_unknown_name_is_answered_with_the_nearest(
    open_engine: Callable[..., Engine], policies: Path
) -> None:
    eng = open_engine(policies=policies)
    with pytest.raises(LookupError, match=r"no policy 'payments/chrage'.*payments/charge"):
        eng.policy("payments/chrage")
    with pytest.raises(LookupError, match=r"no policy 'zzz'$"):
        eng.policy("zzz")


@pytest.mark.parametrize("name", ["", "ä", "a" * 129, "a" * 100_000, "payments/charge\0"])
def test_odd_names_are_unknown(
    open_engine: Callable[..., Engine], policies: Path, name: str
) -> None:
    with pytest.raises(LookupError):
        open_engine(policies=policies).policy(name)


def test_wrong_file_opens_no_arena(arena: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[policies.a.bulkhead]\nlimit = 0\n")
    with pytest.raises(ConfigError):
        Engine(arena, path)
    assert not arena.exists()


def test_default_engine_is_private_when_the_environment_says_nothing() -> None:
    code = "import engine; e = engine.default(); print(e is engine.default(), e.arena.path)"
    assert run_python(code) == "True None"


def test_default_engine_is_made_from_the_environment(arena: Path, policies: Path) -> None:
    code = (
        "import engine\n"
        "with engine.default().policy('payments/charge'):\n"
        "    print(engine.default().arena.path)\n"
        "engine.Policy('own/rule', engine.rules.Bulkhead(1))\n"
        "print(*engine.default().names())"
    )
    said = run_python(code, ENGINE_ARENA=str(arena), ENGINE_POLICIES=str(policies))
    assert said.splitlines() == [
        str(arena.resolve()),
        "own/rule payments/charge payments/refund search/query",
    ]
    assert arena.stat().st_mode & 0o777 == 0o600


def test_counts_outlive_their_process(
    open_engine: Callable[..., Engine], arena: Path, policies: Path
) -> None:
    code = (
        "import engine\n"
        "with engine.default().policy('payments/charge'): pass\n"
        "assert engine.default().policy('payments/refund').try_acquire(7)"
    )
    run_python(code, ENGINE_ARENA=str(arena), ENGINE_POLICIES=str(policies))
    charge, refund, _ = open_engine(arena, policies).snapshot().policies
    assert (charge.admitted, charge.success) == (1, 1)
    assert (refund.admitted, refund.version) == (1, 1)


def test_engine_is_closed_at_the_end_of_with(arena: Path) -> None:
    with Engine(arena) as eng:
        pay = Policy("shop/pay", rules.Bulkhead(1), engine=eng)
        assert not eng.arena.closed
    assert eng.arena.closed
    with pytest.raises(ArenaError, match="closed"):
        pay.try_acquire()


@pytest.mark.parametrize("mapped", [True, False])
def test_handles_raise_when_their_engine_is_closed(arena: Path, mapped: bool) -> None:
    eng = Engine(arena if mapped else None)
    pay = Policy("shop/pay", rules.Bulkhead(1), rules.Breaker(), engine=eng)
    limiter = Limiter("1/s", engine=eng, name="shop/limit")
    pool = Bulkhead(1, engine=eng, name="shop/pool")
    counter = Counter(engine=eng, name="visits")
    for use in (pay.try_acquire, limiter.try_acquire, pool.try_acquire, counter.inc):
        use()
    eng.close()
    eng.close()
    for use in (
        pay.try_acquire,
        pay.acquire_or_raise,
        limiter.try_acquire,
        pool.try_acquire,
        counter.inc,
        eng.snapshot,
        lambda: eng.apply(policy_set(pay=(rules.Bulkhead(2),))),
    ):
        with pytest.raises(ArenaError, match="closed"):
            use()


def test_permit_is_void_when_its_engine_was_closed(arena: Path) -> None:
    eng = Engine(arena)
    permit = Policy("shop/pay", rules.Bulkhead(1), engine=eng).try_acquire()
    eng.close()
    assert not permit.success()


def test_closed_engine_gives_its_permits_back(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = Engine(arena)
    permit = Policy("shop/pay", rules.Bulkhead(1), engine=eng).try_acquire()
    eng.close()
    again = open_engine(arena)
    again.repair()
    assert again.snapshot().policies[0].bulkhead.in_use == 0
    assert not permit.success()


def test_two_engines_of_one_process_share_an_arena(arena: Path) -> None:
    first, second = Engine(arena), Engine(arena)
    pay = Policy("shop/pay", rules.Bulkhead(1), engine=first)
    permit = pay.try_acquire()
    assert not second.policy("shop/pay").try_acquire()
    second.close()
    assert not pay.try_acquire()
    assert permit.success()
    assert pay.try_acquire()
    first.close()
    assert first.arena.closed


def test_arena_can_be_opened_again_after_it_was_closed(arena: Path) -> None:
    for round_number in range(1, 6):
        with Engine(arena) as eng:
            counter = Counter(engine=eng, name="visits")
            counter.inc()
            assert counter.value == round_number


def test_two_private_engines_are_apart() -> None:
    with Engine() as first, Engine() as second:
        one, two = (Policy("shop/pay", rules.Bulkhead(1), engine=eng) for eng in (first, second))
        permits = [one.try_acquire(), two.try_acquire()]
        assert all(permits)


def test_primitive_needs_a_name_when_the_arena_is_shared(
    open_engine: Callable[..., Engine], arena: Path
) -> None:
    eng = open_engine(arena)
    with pytest.raises(ValueError, match="name="):
        Limiter("1/s", engine=eng)
    with pytest.raises(ValueError, match="name="):
        Counter(engine=eng)


# ---- apply ----


def test_apply_keeps_levels_when_parameters_change(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.RateLimit("1/day", burst=10), rules.Bulkhead(4))))
    pay = private.policy("shop/pay")
    permits = [pay.try_acquire() for _ in range(3)]
    private.apply(policy_set(pay=(rules.RateLimit("1/day", burst=20), rules.Bulkhead(5))))
    snapshot = private.snapshot().policies[0]
    assert (snapshot.bulkhead.in_use, snapshot.bulkhead.limit) == (3, 5)
    assert (snapshot.rate_limit.remaining, snapshot.rate_limit.limit) == (17, 20)
    assert all(permit.success() for permit in permits)
    assert private.snapshot().policies[0].bulkhead.in_use == 0


def test_apply_keeps_permits_when_the_limit_shrinks(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Bulkhead(4),)))
    pay = private.policy("shop/pay")
    permits = [pay.try_acquire() for _ in range(4)]
    private.apply(policy_set(pay=(rules.Bulkhead(1),)))
    assert private.snapshot().policies[0].bulkhead.in_use == 4
    assert not pay.try_acquire()
    assert [permit.success() for permit in permits] == [True] * 4
    assert pay.try_acquire()


def test_shrunk_bulkhead_admits_nobody_until_it_is_below_its_limit(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Bulkhead(4),)))
    pay = private.policy("shop/pay")
    permits = [pay.try_acquire() for _ in range(4)]
    private.apply(policy_set(pay=(rules.Bulkhead(2),)))
    for permit in permits[:2]:
        assert permit.success()
        assert not pay.try_acquire(), "three are held, and two allowed"
    assert permits[2].success()
    assert pay.try_acquire()


@pytest.mark.parametrize("limits", [(2, 100), (2, 65_536), (64, 8), (8, 64, 8, 64)])
def test_apply_loses_no_permit_when_the_limit_changes(
    private: Engine, limits: tuple[int, ...]
) -> None:
    permits = []
    for limit in limits:
        private.apply(policy_set(pay=(rules.Bulkhead(limit),)))
        pay = private.policy("shop/pay")
        while permit := pay.try_acquire():
            permits.append(permit)
        assert private.snapshot().policies[0].bulkhead.in_use == len(permits)
        assert len(permits) >= limit
    assert [permit.success() for permit in permits] == [True] * len(permits)
    assert private.snapshot().policies[0].bulkhead.in_use == 0


def test_apply_keeps_the_circuit_open(private: Engine, clock: ManualClock) -> None:
    private.apply(policy_set(pay=(rules.Breaker(window=10, min_calls=2, open_for=10, jitter=0),)))
    pay = private.policy("shop/pay")
    for _ in range(2):
        pay.try_acquire().failure()
    private.apply(policy_set(pay=(rules.Breaker(window=10, min_calls=3, open_for=20, probes=1),)))
    assert pay.try_acquire().reason == "circuit_open"
    clock.advance(10)
    assert pay.try_acquire().success()
    assert private.snapshot().policies[0].breaker.state == "closed"


def test_apply_keeps_the_window_when_other_parameters_change(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Breaker(window=10, min_calls=10),)))
    pay = private.policy("shop/pay")
    for _ in range(4):
        pay.try_acquire().failure()
    private.apply(policy_set(pay=(rules.Breaker(window=10, min_calls=5),)))
    breaker = private.snapshot().policies[0].breaker
    assert (breaker.calls, breaker.failures, breaker.state) == (4, 4, "closed")
    pay.try_acquire().failure()
    assert private.snapshot().policies[0].breaker.state == "open"


def test_apply_keeps_a_window_by_time_when_its_length_changes(
    private: Engine, clock: ManualClock
) -> None:
    def seen(window: int | str) -> tuple[int, int]:
        private.apply(policy_set(pay=(rules.Breaker(window=window, min_calls=9),)))
        breaker = private.snapshot().policies[0].breaker
        return breaker.calls, breaker.failures

    assert seen("10s") == (0, 0)
    pay = private.policy("shop/pay")
    for _ in range(3):
        pay.try_acquire().failure()
        pay.try_acquire().success()
        clock.advance(2)
    assert seen("1min") == (6, 3)
    clock.advance(10)
    assert seen("2s") == (0, 0)
    pay.try_acquire().failure()
    assert seen("10s") == (1, 1)
    assert seen(20) == (0, 0)


def test_apply_keeps_the_outcomes_when_the_window_outgrows_its_ring(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Breaker(window=20, min_calls=20),)))
    pay = private.policy("shop/pay")
    for turn in range(18):
        pay.try_acquire().failure() if turn % 3 else pay.try_acquire().success()
    private.apply(policy_set(pay=(rules.Breaker(window=5_000, min_calls=5_000),)))
    breaker = private.snapshot().policies[0].breaker
    assert (breaker.calls, breaker.failures, breaker.state) == (18, 12, "closed")
    for _ in range(200):
        pay.try_acquire().failure()
    breaker = private.snapshot().policies[0].breaker
    assert (breaker.calls, breaker.failures) == (218, 212)


@pytest.mark.parametrize("change", [{"window": 11}, {"window": 9}, {"window": 100}, {"probes": 9}])
def test_apply_keeps_the_circuit_open_when_its_size_changes(
    private: Engine, change: dict[str, int]
) -> None:
    parameters = {"window": 10, "min_calls": 2, "probes": 2}
    private.apply(policy_set(pay=(rules.Breaker(**parameters),)))
    pay = private.policy("shop/pay")
    for _ in range(2):
        pay.try_acquire().failure()
    before = private.snapshot().policies[0].breaker
    private.apply(policy_set(pay=(rules.Breaker(**(parameters | change)),)))
    after = private.snapshot().policies[0].breaker
    assert (after.state, after.generation) == (before.state, before.generation) == ("open", 1)
    assert after.retry_after == before.retry_after
    assert not pay.try_acquire()


def test_apply_counts_no_call_twice_when_the_window_changes(private: Engine) -> None:
    """A permit of the circuit as it was either counts in the window that is, or is void."""
    private.apply(policy_set(pay=(rules.Breaker(window=10, min_calls=3),)))
    pay = private.policy("shop/pay")
    old = pay.try_acquire()
    private.apply(policy_set(pay=(rules.Breaker(window=20, min_calls=3),)))
    counted = old.failure()
    snapshot = private.snapshot().policies[0]
    assert (snapshot.breaker.failures, snapshot.void) == ((1, 0) if counted else (0, 1))


def test_apply_adds_and_removes_rules(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Bulkhead(1),)))
    pay = private.policy("shop/pay")
    permit = pay.try_acquire()
    private.apply(policy_set(pay=(rules.RateLimit("1/day", burst=2),)))
    assert pay.try_acquire()
    snapshot = private.snapshot().policies[0]
    assert (snapshot.bulkhead, snapshot.rate_limit.remaining) == (None, 1)
    permit.success()
    private.apply(policy_set(pay=(rules.Bulkhead(1), rules.RateLimit("1/day", burst=2))))
    held = pay.try_acquire()
    assert held
    assert pay.try_acquire().reason == "bulkhead_full"


def test_apply_retires_what_is_gone_and_keeps_its_counts(private: Engine) -> None:
    private.apply(policy_set(pay=(rules.Bulkhead(1),), ship=(rules.Bulkhead(1),)))
    ship = private.policy("shop/ship")
    with ship:
        pass
    private.apply(policy_set(pay=(rules.Bulkhead(1),)))
    assert private.names() == ["shop/pay"]
    assert ship.try_acquire().reason == "unknown_policy"
    assert ship.version == 0
    private.apply(policy_set(ship=(rules.Bulkhead(1),)))
    assert ship.try_acquire()
    (snapshot,) = private.snapshot().policies
    assert (snapshot.name, snapshot.success, snapshot.admitted) == ("shop/ship", 1, 2)


def test_apply_leaves_policies_bound_in_code_alone(private: Engine) -> None:
    Policy("own/rule", rules.Bulkhead(1), engine=private)
    private.apply(policy_set(pay=(rules.Bulkhead(1),)))
    private.apply(policy_set())
    assert private.names() == ["own/rule"]


def test_same_rules_again_publish_nothing(private: Engine) -> None:
    wanted = policy_set(pay=(rules.Bulkhead(1), rules.Breaker()))
    private.apply(wanted)
    private.snapshot()
    before = private.snapshot().arena
    for _ in range(100):
        private.apply(wanted)
    assert private.snapshot().arena == before
    assert private.policy("shop/pay").version == 1


def test_new_parameters_have_a_new_version(private: Engine) -> None:
    pay = Policy("shop/pay", rules.Bulkhead(1), engine=private)
    versions = [pay.version]
    for limit in (2, 3, 2):
        Policy("shop/pay", rules.Bulkhead(limit), engine=private)
        versions.append(pay.version)
    assert len(set(versions)) == len(versions)
    assert versions == sorted(versions)


def test_apply_again_and_again_fills_no_arena_when_parameters_swing(private: Engine) -> None:
    """A slot whose size still fits is kept, so only parameter blocks are written."""
    for turn in range(500):
        window = 9_000 + turn % 2
        private.apply(policy_set(pay=(rules.Breaker(window=window), rules.Bulkhead(60_000))))
    assert private.snapshot().arena.heap_used < 1_000_000


def fill(eng: Engine, policies: int, rule: Rule) -> None:
    for number in range(policies):
        Policy(f"shop/{number}", rule, engine=eng)


def test_arena_says_so_when_it_is_full(open_engine: Callable[..., Engine]) -> None:
    eng = open_engine(arena_size=4 << 20)
    with pytest.raises(ArenaError, match="full"):
        fill(eng, 100, rules.Bulkhead(65_536))
    last = eng.names()[-1]
    assert eng.policy(last).try_acquire(), "what was bound before is out of order"


def test_directory_says_so_when_it_is_full(open_engine: Callable[..., Engine]) -> None:
    eng = open_engine()
    with pytest.raises(ArenaError, match="full"):
        fill(eng, 3_000, rules.RateLimit("1/s"))
    assert len(eng.names()) > 1_000
    assert all(eng.policy(name).try_acquire() for name in eng.names())


@pytest.mark.parametrize("size", [0, -1, 1, 2**40, 2.5, "16"])
def test_arena_size_out_of_range_is_complained_about(size: object) -> None:
    with pytest.raises((ValueError, TypeError), match="size"):
        Engine(arena_size=size)


@pytest.mark.parametrize("start", [0, -5, float("nan"), float("inf"), 1e300])
def test_manual_clock_complains_about_a_start_that_no_clock_shows(start: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        ManualClock(start)


def test_manual_clock_moves_as_told() -> None:
    clock = ManualClock(10.0)
    clock.advance(2.5)
    clock.advance(-1)
    assert clock.seconds == 11.5


def test_import_brings_neither_grpc_nor_config_readers_of_others() -> None:
    code = "import sys, engine; print(*sys.modules)"
    modules = set(run_python(code).split())
    assert not modules & {"grpc", "google.protobuf", "prometheus_client", "asyncio", "server"}
