"""Waiting for what a rule refused: threads and tasks in one line, first in, first out."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import engine
from engine import Engine, Permit, Policy, Refusal, rules
from engine.testing import ManualClock

LONG_S = 30.0


@pytest.fixture
def real(open_engine: Callable[..., Engine]) -> Engine:
    """An engine on a private arena and real time."""
    return open_engine()


@pytest.fixture
def pool(real: Engine) -> Policy:
    """One permit, and room for eight who wait for it."""
    return Policy("pool/one", rules.Bulkhead(1, queue=8), engine=real)


def bulkhead(policy: Policy, eng: Engine) -> Any:
    return next(one.bulkhead for one in eng.snapshot().policies if one.name == policy.name)


def until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds; a test that waits for nothing fails here."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.0005)


async def until_later(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.0005)


class Waiting:
    """A thread that calls `acquire_sync` and keeps what it was told."""

    def __init__(self, policy: Any, *arguments: Any, **options: Any) -> None:
        self.verdict: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, args=(policy, arguments, options))
        self.thread.start()

    def run(self, policy: Any, arguments: Any, options: Any) -> None:
        try:
            self.verdict = policy.acquire_sync(*arguments, **options)
        except BaseException as error:
            self.error = error

    def told(self) -> Any:
        """The verdict, when it is there."""
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.verdict


def stand(policy: Policy, eng: Engine, *arguments: Any) -> Waiting:
    """Start a thread and return when it has its place."""
    before = bulkhead(policy, eng).waiting
    waiting = Waiting(policy, *arguments)
    until(lambda: bulkhead(policy, eng).waiting == before + 1)
    return waiting


async def stand_later(policy: Policy, eng: Engine, *arguments: Any) -> "asyncio.Task[Any]":
    before = bulkhead(policy, eng).waiting
    task = asyncio.create_task(policy.acquire(*arguments))
    await until_later(lambda: bulkhead(policy, eng).waiting == before + 1)
    return task


def assert_empty(policy: Policy, eng: Engine) -> None:
    """Nobody holds a permit or a place, and the next who asks is admitted."""
    found = bulkhead(policy, eng)
    assert (found.in_use, found.waiting) == (0, 0)
    permit = policy.acquire_sync(0.0)
    assert permit
    assert permit.success()


# ---- at once ----


def test_acquire_needs_no_event_loop_when_it_is_admitted_at_once(pool: Policy) -> None:
    with pytest.raises(StopIteration) as caught:
        pool.acquire().send(None)
    assert isinstance(caught.value.value, Permit)
    assert caught.value.value.success()


def test_awaiting_takes_no_turn_of_the_loop_when_it_is_admitted_at_once(pool: Policy) -> None:
    async def ask() -> int:
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(count)
        for _ in range(3):
            permit = await pool.acquire()
            assert permit
            permit.success()
        return turns

    assert asyncio.run(ask()) == 0


@pytest.mark.parametrize(
    ("wanted", "asked", "reason"),
    [
        ((rules.Bulkhead(1),), (LONG_S,), "bulkhead_full"),
        ((rules.Bulkhead(1, queue=4),), (), "bulkhead_full"),
        ((rules.Bulkhead(1, queue=4),), (0,), "bulkhead_full"),
        ((rules.RateLimit("1/h"),), (), "rate_limited"),
        ((rules.RateLimit("1/h"),), (LONG_S,), "rate_limited"),
        ((rules.RateLimit("1/h", max_wait=1),), (), "rate_limited"),
        ((rules.RateLimit("1/h"),), (LONG_S, 0), "invalid"),
        ((rules.RateLimit("1/h"),), (LONG_S, 2), "invalid"),
    ],
)
def test_refusal_comes_at_once_when_it_cannot_be_waited_for(
    real: Engine, wanted: tuple[rules.Rule, ...], asked: tuple[Any, ...], reason: str
) -> None:
    policy = Policy("a/b", *wanted, engine=real)
    held = policy.try_acquire()
    begun = time.monotonic()
    refusal = policy.acquire_sync(*asked)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert isinstance(asyncio.run(asyncio.wait_for(policy.acquire(*asked), LONG_S)), Refusal)
    assert time.monotonic() - begun < LONG_S / 2
    assert held


def test_open_circuit_is_not_waited_for(real: Engine) -> None:
    policy = Policy("a/b", rules.Breaker(), rules.Bulkhead(1, queue=4), engine=real)
    policy.force_open("1h")
    assert policy.acquire_sync(LONG_S).reason == "circuit_open"


def test_unknown_policy_is_not_waited_for(pool: Policy, real: Engine) -> None:
    real.apply(rules.PolicySet({"pool/one": rules.PolicySpec("pool/one", (rules.Bulkhead(1),))}))
    real.apply(rules.PolicySet({}))
    assert pool.acquire_sync(LONG_S).reason == "unknown_policy"


@pytest.mark.parametrize("max_wait", [-0.001, 86_401, float("nan"), float("inf")])
def test_time_to_wait_is_refused_when_it_is_out_of_range(pool: Policy, max_wait: float) -> None:
    with pytest.raises(ValueError, match=r"max_wait = .*: must be from 0 to 86400 seconds"):
        pool.acquire(max_wait)
    with pytest.raises(ValueError, match="max_wait"):
        pool.acquire_sync(max_wait)


@pytest.mark.parametrize("max_wait", ["1s", True, b""])
def test_time_to_wait_is_refused_when_its_type_is_wrong(pool: Policy, max_wait: Any) -> None:
    with pytest.raises(TypeError, match="max_wait"):
        pool.acquire_sync(max_wait)


def test_queue_is_full_when_every_place_is_taken(real: Engine) -> None:
    pool = Policy("pool/two", rules.Bulkhead(1, queue=2), engine=real)
    held = pool.try_acquire()
    waiting = [stand(pool, real, LONG_S) for _ in range(2)]
    assert pool.acquire_sync(LONG_S).reason == "bulkhead_full"
    assert asyncio.run(asyncio.wait_for(pool.acquire(LONG_S), LONG_S)).reason == "bulkhead_full"
    assert bulkhead(pool, real).waiting == 2
    held.success()
    for one in waiting:
        assert one.told().success()
    assert_empty(pool, real)


# ---- threads ----


def test_thread_is_admitted_when_a_permit_comes_back(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    waiting = stand(pool, real, LONG_S)
    held.success()
    assert waiting.told().success()
    assert_empty(pool, real)


def test_threads_are_admitted_in_the_order_in_which_they_came(pool: Policy, real: Engine) -> None:
    order: list[int] = []
    held = pool.try_acquire()

    def take(number: int) -> None:
        permit = pool.acquire_sync(LONG_S)
        order.append(number)
        permit.success()

    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        until(lambda number=number: bulkhead(pool, real).waiting == number + 1)
    held.success()
    for thread in threads:
        thread.join(LONG_S)
    assert order == list(range(6))
    assert_empty(pool, real)


def test_waiter_is_refused_when_its_time_is_over(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1, queue=2), engine=private)
    held = pool.try_acquire()
    head, behind = stand(pool, private, 5.0), stand(pool, private, 3.0)
    clock.advance(2.999)
    for _ in range(20):
        time.sleep(0.001)
        assert behind.verdict is None
        assert head.verdict is None
    clock.advance(0.002)
    assert behind.told().reason == "bulkhead_full"
    assert head.verdict is None
    clock.advance(2.0)
    assert head.told().reason == "bulkhead_full"
    assert held.success()
    assert_empty(pool, private)
    assert private.snapshot().policies[0].refused == {"bulkhead_full": 2}


def test_waiter_waits_as_the_rule_says_when_the_caller_says_nothing(
    private: Engine, clock: ManualClock
) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1, queue=2, max_wait="2s"), engine=private)
    held = pool.try_acquire()
    waiting = stand(pool, private)
    clock.advance(1.999)
    held.success()
    permit = waiting.told()
    assert permit
    waiting = stand(pool, private)
    clock.advance(2.001)
    assert not waiting.told()


def test_waiter_waits_no_longer_than_its_deadline(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1, queue=2), engine=private)
    held = pool.try_acquire()
    waiting = Waiting(pool, LONG_S, deadline=1.0)
    until(lambda: bulkhead(pool, private).waiting == 1)
    clock.advance(1.001)
    assert not waiting.told()
    assert held.success()


def test_verdicts_are_counted_once_when_they_were_waited_for(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    waiting = stand(pool, real, LONG_S)
    held.success()
    waiting.told().success()
    snapshot = real.snapshot().policies[0]
    assert (snapshot.admitted, snapshot.refused, snapshot.success) == (2, {}, 2)


def test_waiter_learns_that_the_circuit_opened(real: Engine) -> None:
    policy = Policy("a/b", rules.Breaker(), rules.Bulkhead(1, queue=4), engine=real)
    held = policy.try_acquire()
    waiting = stand(policy, real, LONG_S)
    policy.force_open("1h")
    assert waiting.told().reason == "circuit_open"
    assert held


def test_waiter_is_admitted_when_the_limit_is_raised(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    waiting = stand(pool, real, LONG_S)
    Policy("pool/one", rules.Bulkhead(2, queue=8), engine=real)
    assert waiting.told().success()
    assert held.success()


def test_waiter_is_refused_when_the_queue_is_abolished(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    waiting = stand(pool, real, LONG_S)
    Policy("pool/one", rules.Bulkhead(1), engine=real)
    assert waiting.told().reason == "bulkhead_full"
    assert held.success()


def test_waiter_takes_over_a_permit_that_expires(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/hold", rules.Bulkhead(1, queue=1, hold=0.5), engine=private)
    late = pool.try_acquire()
    waiting = stand(pool, private, LONG_S)
    clock.advance(0.6)
    permit = waiting.told()
    assert permit
    assert not late.success()
    assert permit.success()


def interrupted(policy: Policy, seconds: float) -> None:
    """Wait in this thread until a signal interrupts it."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(KeyboardInterrupt):
            policy.acquire_sync(LONG_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_interrupted_head_leaves_the_line_to_the_next(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    behind: list[Waiting] = []

    def follow() -> None:
        until(lambda: bulkhead(pool, real).waiting == 1)
        behind.append(stand(pool, real, LONG_S))

    follower = threading.Thread(target=follow)
    follower.start()
    interrupted(pool, 0.2)
    follower.join(LONG_S)
    assert bulkhead(pool, real).waiting == 1
    held.success()
    assert behind[0].told().success()
    assert_empty(pool, real)


def test_interrupted_waiter_behind_the_head_leaves_no_hole(pool: Policy, real: Engine) -> None:
    held = pool.try_acquire()
    head = stand(pool, real, LONG_S)
    interrupted(pool, 0.05)
    assert bulkhead(pool, real).waiting == 1
    last = stand(pool, real, LONG_S)
    held.success()
    assert head.told().success()
    assert last.told().success()
    assert_empty(pool, real)


def test_waiting_threads_stand_aside_for_others(pool: Policy, real: Engine) -> None:
    """No interpreter lock is held while a thread waits, at the head or behind it."""
    held = pool.try_acquire()
    waiting = [stand(pool, real, LONG_S) for _ in range(2)]
    begun = time.monotonic()
    for _ in range(200):
        time.sleep(0)
    assert time.monotonic() - begun < 4, "each time, a waiter kept the interpreter for its slice"
    held.success()
    for one in waiting:
        assert one.told().success()


# ---- rate limits ----


def test_tokens_are_waited_for_when_they_come_in_time(private: Engine, clock: ManualClock) -> None:
    limit = Policy("rate/one", rules.RateLimit("1/s", max_wait=2), engine=private)
    assert limit.try_acquire()
    waiting = Waiting(limit)
    time.sleep(0.02)
    assert waiting.verdict is None
    clock.advance(0.999)
    time.sleep(0.02)
    assert waiting.verdict is None
    clock.advance(0.001)
    assert waiting.told()
    assert private.snapshot().policies[0].refused == {}


def test_tokens_are_not_waited_for_when_they_come_too_late(private: Engine) -> None:
    limit = Policy("rate/one", rules.RateLimit("1/s", burst=1), engine=private)
    assert limit.try_acquire()
    refusal = limit.acquire_sync(0.999)
    assert refusal.reason == "rate_limited"
    assert refusal.retry_after == 1.0
    assert not limit.acquire_sync()


def test_tokens_that_are_handed_back_reach_who_waits(private: Engine) -> None:
    limit = Policy("a/b", rules.RateLimit("1/s", burst=8), rules.Bulkhead(4), engine=private)
    first = limit.try_acquire(8)
    waiting = Waiting(limit, 20.0, cost=8)
    assert first.settle_cost(0)
    assert waiting.told().success()


def test_key_without_tokens_holds_up_no_other(private: Engine, clock: ManualClock) -> None:
    limit = Policy("rate/keyed", rules.RateLimit("1/s", burst=1, key="tenant"), engine=private)
    assert limit.try_acquire(key="busy")
    busy = Waiting(limit, 2.0, key="busy")
    time.sleep(0.02)
    assert limit.acquire_sync(2.0, key="idle")
    assert busy.verdict is None
    clock.advance(1.0)
    assert busy.told()


# ---- tasks ----


def test_task_is_admitted_when_a_permit_comes_back(pool: Policy, real: Engine) -> None:
    async def wait(release: Callable[[Any], None]) -> None:
        held = pool.try_acquire()
        task = await stand_later(pool, real, LONG_S)
        release(held)
        permit = await task
        assert permit.success()

    asyncio.run(wait(lambda held: held.success()))
    asyncio.run(wait(lambda held: threading.Thread(target=held.success).start()))
    assert_empty(pool, real)


def test_tasks_are_admitted_in_the_order_in_which_they_came(pool: Policy, real: Engine) -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        permit = await pool.acquire(LONG_S)
        order.append(number)
        await asyncio.sleep(0)
        permit.success()

    async def race() -> None:
        held = pool.try_acquire()
        tasks = [asyncio.create_task(take(number)) for number in range(8)]
        await until_later(lambda: bulkhead(pool, real).waiting == 8)
        held.success()
        await asyncio.gather(*tasks)

    asyncio.run(race())
    assert order == list(range(8))
    assert_empty(pool, real)


def test_newcomer_goes_behind_who_waits_and_try_acquire_does_not(
    pool: Policy, real: Engine
) -> None:
    async def race() -> None:
        held = pool.try_acquire()
        first = await stand_later(pool, real, LONG_S)
        held.success()
        newcomer = pool.acquire(LONG_S)
        newcomer.send(None)  # the permit is free, and meant for the first
        assert bulkhead(pool, real).in_use == 0
        overtaker = pool.try_acquire()
        assert overtaker
        newcomer.close()
        overtaker.success()
        assert (await first).success()

    asyncio.run(race())
    assert_empty(pool, real)


def test_task_is_refused_when_its_time_is_over(private: Engine, clock: ManualClock) -> None:
    pool = Policy("pool/one", rules.Bulkhead(1, queue=4), engine=private)

    async def wait() -> None:
        held = pool.try_acquire()
        head = await stand_later(pool, private, 5.0)
        behind = await stand_later(pool, private, 3.0)
        clock.advance(3.001)
        assert (await behind).reason == "bulkhead_full"
        assert not head.done()
        clock.advance(2.0)
        assert (await head).reason == "bulkhead_full"
        held.success()

    asyncio.run(wait())
    assert_empty(pool, private)


def test_tokens_are_waited_for_in_a_task(private: Engine, clock: ManualClock) -> None:
    limit = Policy("rate/one", rules.RateLimit("1/s", max_wait=2), engine=private)

    async def wait() -> None:
        assert await limit.acquire()
        task = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0.01)
        assert not task.done()
        clock.advance(1.0)
        assert await task

    asyncio.run(wait())


def test_event_loop_goes_on_while_tasks_wait(pool: Policy, real: Engine) -> None:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            last = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - last)

    async def wait() -> None:
        held = pool.try_acquire()
        ticking = asyncio.create_task(tick())
        tasks = [asyncio.create_task(pool.acquire(1.0)) for _ in range(8)]
        verdicts = await asyncio.gather(*tasks)
        assert not any(verdicts)
        ticking.cancel()
        held.success()

    asyncio.run(wait())
    assert len(gaps) > 50
    assert max(gaps) < 0.5
    assert_empty(pool, real)


def test_acquire_sync_refuses_to_block_an_event_loop(pool: Policy, real: Engine) -> None:
    async def wait() -> None:
        permit = pool.acquire_sync(LONG_S)
        assert permit
        with pytest.raises(RuntimeError, match=r"await acquire\(\) instead"):
            pool.acquire_sync(LONG_S)
        assert bulkhead(pool, real).waiting == 0
        permit.success()

    asyncio.run(wait())
    assert_empty(pool, real)


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("place", [0, 1])
def test_cancelled_task_leaves_nothing_behind_wherever_it_stood(
    pool: Policy, real: Engine, turns: int, place: int
) -> None:
    """Three wait; one of the first two is cancelled so many turns of the loop later. The permit
    comes back in the midst of that, and the others are admitted all the same.
    """

    async def race() -> None:
        held = pool.try_acquire()
        tasks = [asyncio.create_task(pool.acquire(LONG_S)) for _ in range(3)]
        for turn in range(turns):
            if turn == 4:
                held.success()
            await asyncio.sleep(0)
        tasks[place].cancel()
        if turns <= 4:
            held.success()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                permit = await asyncio.wait_for(task, LONG_S)
                assert permit
                permit.success()
        assert sum(task.cancelled() for task in tasks) <= 1

    asyncio.run(race())
    assert_empty(pool, real)


def test_timeout_round_a_wait_leaves_nothing_behind(pool: Policy, real: Engine) -> None:
    async def wait() -> None:
        held = pool.try_acquire()
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.acquire(LONG_S), 0.002)
        held.success()

    asyncio.run(wait())
    assert_empty(pool, real)


def test_dropped_coroutine_leaves_the_line(pool: Policy, real: Engine) -> None:
    async def wait() -> None:
        held = pool.try_acquire()
        dropped = pool.acquire(LONG_S)
        dropped.send(None)
        assert bulkhead(pool, real).waiting == 1
        dropped.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            dropped.send(None)
        held.success()

    asyncio.run(wait())
    assert_empty(pool, real)


def test_task_of_a_closed_loop_does_not_hold_up_the_line(pool: Policy, real: Engine) -> None:
    loop = asyncio.new_event_loop()
    held = pool.try_acquire()
    task = loop.create_task(pool.acquire(LONG_S))
    loop.run_until_complete(until_later(lambda: bulkhead(pool, real).waiting == 1))
    loop.close()
    behind = stand(pool, real, LONG_S)
    held.success()
    assert behind.told().success()
    assert not task.done()
    task._log_destroy_pending = False
    assert_empty(pool, real)


# ---- threads and tasks ----


@contextlib.contextmanager
def running(work: Callable[[], None], times: int) -> Iterator[None]:
    """So many threads that do `work`; what one raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(2 * LONG_S)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_threads_and_loops_share_one_line(real: Engine) -> None:
    pool = Policy("pool/two", rules.Bulkhead(2, queue=64), engine=real)
    holders: dict[tuple[int, int], int] = {}

    def enter(permit: Any) -> None:
        assert permit
        assert holders.setdefault(permit.place[:1], id(permit)) == id(permit)

    def leave(permit: Any) -> None:
        del holders[permit.place[:1]]
        assert permit.success()

    def as_thread() -> None:
        for _ in range(100):
            permit = pool.acquire_sync(LONG_S)
            enter(permit)
            time.sleep(0)
            leave(permit)

    async def as_task() -> None:
        for _ in range(50):
            permit = await pool.acquire(LONG_S)
            enter(permit)
            await asyncio.sleep(0)
            leave(permit)

    async def as_tasks() -> None:
        await asyncio.gather(*(as_task() for _ in range(4)))

    with running(as_thread, 4), running(lambda: asyncio.run(as_tasks()), 2):
        pass
    assert_empty(pool, real)


def test_many_wait_and_all_are_admitted(real: Engine) -> None:
    pool = Policy("pool/many", rules.Bulkhead(3, queue=2_000), engine=real)
    most = inside = 0

    async def take() -> None:
        nonlocal most, inside
        permit = await pool.acquire(LONG_S)
        assert permit
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        permit.success()

    async def race() -> None:
        await asyncio.gather(*(take() for _ in range(2_000)))

    asyncio.run(race())
    assert most == 3
    assert_empty(pool, real)


def test_permit_changes_hands_without_delay_when_threads_contend(real: Engine) -> None:
    """A wake that is lost costs a slice of 64 ms; thousands of hand-overs take no such pause."""
    pool = Policy("pool/one", rules.Bulkhead(1, queue=4), engine=real)
    waits: list[float] = []

    def take() -> None:
        for _ in range(2_000):
            begun = time.monotonic()
            permit = pool.acquire_sync(LONG_S)
            waits.append(time.monotonic() - begun)
            permit.success()

    with running(take, 3):
        pass
    waits.sort()
    assert sum(wait > 0.05 for wait in waits) <= len(waits) // 500
    assert_empty(pool, real)


# ---- the primitive ----


def test_primitive_waits_like_a_policy(real: Engine) -> None:
    pool = engine.Bulkhead(1, queue=1, engine=real)
    assert pool.acquire_sync() is True
    assert pool.acquire_sync(0.001) is False
    waiting = Waiting(pool, LONG_S)
    until(lambda: pool.acquire_sync(0.001) is False)
    pool.release()
    assert waiting.told() is True

    async def wait() -> bool:
        task = asyncio.create_task(pool.acquire(LONG_S))
        await asyncio.sleep(0.01)
        assert not task.done()
        pool.release()
        return await task

    assert asyncio.run(wait()) is True
    pool.release()
    assert pool.in_use == 0
