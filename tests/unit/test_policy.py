"""The forms of a policy: verdicts, `with`, decorators, `call`; and what each end counts as."""

import asyncio
import contextlib
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import engine
from engine import Engine, Permit, Policy, Refusal, rules
from engine.errors import REFUSALS, BulkheadFull, CircuitOpen, Invalid, RateLimited, UnknownPolicy
from engine.rules import PolicySet, PolicySpec
from engine.testing import ManualClock

ENDS = [
    (None, "success"),
    (ValueError("wrong"), "failure"),
    (TimeoutError(), "failure"),
    (StopIteration(), "failure"),
    (asyncio.CancelledError(), "ignored"),
    (KeyboardInterrupt(), "ignored"),
    (SystemExit(0), "ignored"),
    (GeneratorExit(), "ignored"),
]
OUTCOMES = ("success", "failure", "ignored", "void")


@pytest.fixture
def pay(private: Engine) -> Policy:
    """A policy of all three rules."""
    return Policy(
        "payments/charge",
        rules.RateLimit("100/s", burst=20),
        rules.Bulkhead(4),
        rules.Breaker(window=100, min_calls=20, open_for=30),
        engine=private,
    )


@pytest.fixture
def lone(private: Engine) -> Policy:
    """A policy that admits one at a time."""
    return Policy("pool/one", rules.Bulkhead(1), engine=private)


def counts(engine: Engine) -> dict[str, int]:
    """How many calls ended in each way; those that did not happen are left out."""
    snapshot = engine.snapshot().policies[0]
    found = {outcome: getattr(snapshot, outcome) for outcome in OUTCOMES}
    return {outcome: count for outcome, count in found.items() if count}


def in_use(engine: Engine) -> int:
    return engine.snapshot().policies[0].bulkhead.in_use


def end_with(error: BaseException | None) -> str:
    if error is not None:
        raise error
    return "done"


def run_sync(policy: Policy, form: str, error: BaseException | None) -> None:
    if form == "with":
        with policy:
            end_with(error)
    elif form == "decorator":
        policy(end_with)(error)
    else:
        policy.call(end_with, error)


async def end_later(error: BaseException | None) -> str:
    await asyncio.sleep(0)
    return end_with(error)


async def run_async(policy: Policy, form: str, error: BaseException | None) -> None:
    if form == "async with":
        async with policy:
            await end_later(error)
    elif form == "decorator":
        await policy(end_later)(error)
    else:
        await policy.call(end_later, error)


def drive(coroutine: Any) -> None:
    """Run a coroutine that sleeps for nothing, so that any exception comes out as it is."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


# ---- verdicts ----


def test_permit_is_truthy_and_says_what_is_left(pay: Policy) -> None:
    permit = pay.try_acquire()
    assert isinstance(permit, Permit)
    assert bool(permit) is True
    assert (permit.reason, permit.rule, permit.retry_after) == ("", "", 0.0)
    assert permit.remaining == 19
    assert "payments/charge" in repr(permit)


def test_refusal_is_falsy_and_says_why(lone: Policy) -> None:
    permit = lone.try_acquire()
    refusal = lone.try_acquire()
    assert isinstance(refusal, Refusal)
    assert bool(refusal) is False
    assert (refusal.reason, refusal.rule, refusal.remaining) == ("bulkhead_full", "bulkhead", None)
    assert "bulkhead_full" in repr(refusal)
    assert permit.success()


@pytest.mark.parametrize("outcome", ["success", "failure", "ignore"])
@pytest.mark.parametrize("second", ["success", "failure", "ignore"])
def test_second_report_is_void(private: Engine, pay: Policy, outcome: str, second: str) -> None:
    permit = pay.try_acquire()
    other = pay.try_acquire()
    assert getattr(permit, outcome)() is True
    before = counts(private)
    assert getattr(permit, second)() is False
    after = counts(private)
    assert {key: after[key] for key in before if key != "void"} == before
    assert in_use(private) == 1
    assert other.success()


@pytest.mark.parametrize("cost", [0, -1, 21, 2**31, 2**32 + 1, 2**64 + 1, 2**70, -(2**70)])
def test_cost_is_invalid_when_it_can_never_be_admitted(
    private: Engine, pay: Policy, cost: int
) -> None:
    refusal = pay.try_acquire(cost)
    assert not refusal
    assert (refusal.reason, refusal.retry_after) == ("invalid", 0.0)
    snapshot = private.snapshot().policies[0]
    assert (snapshot.rate_limit.remaining, snapshot.bulkhead.in_use) == (20, 0)
    with pytest.raises(Invalid):
        pay.acquire_or_raise(cost)


@pytest.mark.parametrize("rule", [rules.Bulkhead(1), rules.Breaker(), rules.RateLimit("1/s")])
@pytest.mark.parametrize("cost", [0, -1, -(2**70)])
def test_cost_below_one_is_invalid_whatever_the_rule(
    private: Engine, rule: rules.Rule, cost: int
) -> None:
    assert Policy("cost/any", rule, engine=private).try_acquire(cost).reason == "invalid"


@pytest.mark.parametrize("cost", ["1", 1.0, None, True])
def test_cost_is_complained_about_when_it_is_no_whole_number(pay: Policy, cost: Any) -> None:
    with pytest.raises(TypeError, match="cost"):
        pay.try_acquire(cost)


def test_cost_may_be_named(private: Engine, pay: Policy) -> None:
    permit = pay.try_acquire(cost=5)
    assert private.snapshot().policies[0].rate_limit.remaining == 15
    assert permit.success()


def test_refusal_takes_nothing_when_the_last_rule_refuses(private: Engine, pay: Policy) -> None:
    permits = [pay.try_acquire(10), pay.try_acquire(10)]
    for _ in range(50):
        assert pay.try_acquire().reason == "rate_limited"
    assert in_use(private) == 2
    assert all(permit.success() for permit in permits)
    assert in_use(private) == 0


def test_refusal_takes_no_tokens_when_the_bulkhead_is_full(private: Engine, pay: Policy) -> None:
    permits = [pay.try_acquire() for _ in range(4)]
    for _ in range(50):
        assert pay.try_acquire().reason == "bulkhead_full"
    assert private.snapshot().policies[0].rate_limit.remaining == 16
    assert all(permits)


def test_refusal_takes_no_probe_when_a_later_rule_refuses(
    private: Engine, clock: ManualClock
) -> None:
    policy = Policy(
        "order/probes",
        rules.Breaker(
            window=4, min_calls=1, open_for=1, jitter=0, probes=2, probe_success_rate=1.0
        ),
        rules.Bulkhead(1),
        rules.RateLimit("1/day", burst=3),
        engine=private,
    )
    policy.try_acquire().failure()
    clock.advance(1)
    first = policy.try_acquire()
    for _ in range(20):
        assert policy.try_acquire().reason == "bulkhead_full"
    assert first.success()
    second = policy.try_acquire()
    assert second, "refused calls used the probes up"
    assert second.success()
    assert policy.try_acquire().reason == "rate_limited"
    assert private.snapshot().policies[0].breaker.state == "closed"


def test_breaker_is_judged_before_bulkhead_before_rate(private: Engine) -> None:
    policy = Policy(
        "order/all",
        rules.RateLimit("1/day", burst=2),
        rules.Bulkhead(1),
        rules.Breaker(window=4, min_calls=1),
        engine=private,
    )
    policy.try_acquire().ignore()
    held = policy.try_acquire()
    assert policy.try_acquire().reason == "bulkhead_full"
    held.failure()
    assert policy.try_acquire().reason == "circuit_open"


def test_duration_is_the_time_between_admission_and_report(
    private: Engine, pay: Policy, clock: ManualClock
) -> None:
    for seconds, outcome in ((0.5, "success"), (0.25, "failure")):
        permit = pay.try_acquire()
        clock.advance(seconds)
        getattr(permit, outcome)()
    assert private.snapshot().policies[0].duration_ns == 750_000_000


def test_permit_is_given_back_when_it_is_dropped(private: Engine, pay: Policy) -> None:
    pay.try_acquire()
    gc.collect()
    assert counts(private) == {"ignored": 1}
    assert in_use(private) == 0


def test_verdict_is_the_same_for_all_when_nothing_is_to_be_reported(private: Engine) -> None:
    limit = Policy("rate/only", rules.RateLimit("10/s"), engine=private)
    assert limit.try_acquire() is limit.try_acquire()


# ---- the forms ----


@pytest.mark.parametrize("form", ["with", "decorator", "call"])
@pytest.mark.parametrize(("error", "outcome"), ENDS, ids=lambda part: type(part).__name__)
def test_end_decides_the_outcome(
    private: Engine, pay: Policy, form: str, error: BaseException | None, outcome: str
) -> None:
    if error is None:
        run_sync(pay, form, error)
    else:
        with pytest.raises(type(error)) as caught:
            run_sync(pay, form, error)
        assert caught.value is error
    assert counts(private) == {outcome: 1}
    assert in_use(private) == 0


@pytest.mark.parametrize("form", ["async with", "decorator", "call"])
@pytest.mark.parametrize(
    ("error", "outcome"),
    [end for end in ENDS if not isinstance(end[0], StopIteration)],
    ids=lambda part: type(part).__name__,
)
def test_end_of_a_coroutine_decides_the_outcome(
    private: Engine, pay: Policy, form: str, error: BaseException | None, outcome: str
) -> None:
    if error is None:
        drive(run_async(pay, form, error))
    else:
        with pytest.raises(type(error)) as caught:
            drive(run_async(pay, form, error))
        assert caught.value is error
    assert counts(private) == {outcome: 1}
    assert in_use(private) == 0


@pytest.mark.parametrize("form", ["with", "decorator", "call"])
def test_refused_forms_raise_and_run_nothing(private: Engine, lone: Policy, form: str) -> None:
    permit = lone.try_acquire()
    with pytest.raises(BulkheadFull) as caught:
        run_sync(lone, form, AssertionError("it was run"))
    assert (caught.value.policy, caught.value.rule) == ("pool/one", "bulkhead")
    assert in_use(private) == 1
    assert permit.success()


@pytest.mark.parametrize("form", ["async with", "decorator", "call"])
def test_refused_coroutine_forms_raise_and_run_nothing(
    private: Engine, lone: Policy, form: str
) -> None:
    permit = lone.try_acquire()
    with pytest.raises(BulkheadFull):
        asyncio.run(run_async(lone, form, AssertionError("it was run")))
    assert in_use(private) == 1
    assert permit.success()


def test_each_reason_raises_its_own_error(private: Engine, clock: ManualClock) -> None:
    rate = Policy("rate/one", rules.RateLimit("1/s"), engine=private)
    circuit = Policy("circuit/one", rules.Breaker(window=1, open_for=5, jitter=0), engine=private)
    rate.acquire_or_raise()
    circuit.acquire_or_raise().failure()
    clock.advance(0.5)
    with pytest.raises(RateLimited) as rated, rate:
        pass
    with pytest.raises(CircuitOpen) as opened, circuit:
        pass
    assert (rated.value.retry_after, opened.value.retry_after) == (0.5, 4.5)
    assert REFUSALS["circuit_open"] is CircuitOpen


def test_retired_policy_raises_unknown_policy(private: Engine) -> None:
    spec = PolicySpec("gone/soon", (rules.Bulkhead(1),))
    private.apply(PolicySet({spec.name: spec}))
    policy = private.policy("gone/soon")
    private.apply(PolicySet({}))
    assert policy.try_acquire().reason == "unknown_policy"
    with pytest.raises(UnknownPolicy), policy:
        pass


def test_with_gives_the_permit_to_its_block(private: Engine, pay: Policy) -> None:
    with pay as permit:
        assert permit.failure()
    assert counts(private)["failure"] == 1
    assert "success" not in counts(private)


def test_nested_with_settles_each_its_own(private: Engine, pay: Policy) -> None:
    with pay:
        with pytest.raises(ValueError, match="inner"), pay:
            raise ValueError("inner")
        assert in_use(private) == 1
    assert counts(private) == {"failure": 1, "success": 1}


def test_nested_with_of_two_policies_settles_each_its_own(private: Engine, pay: Policy) -> None:
    other = Policy("payments/refund", rules.Bulkhead(1), engine=private)
    with pay, other, pytest.raises(KeyError), pay:
        raise KeyError
    charge, refund = private.snapshot().policies
    assert (charge.success, charge.failure, refund.success) == (1, 1, 1)
    assert (charge.bulkhead.in_use, refund.bulkhead.in_use) == (0, 0)


def test_refused_inner_with_leaves_the_outer_alone(private: Engine, lone: Policy) -> None:
    with lone:
        with pytest.raises(BulkheadFull), lone:
            pass
        assert in_use(private) == 1
    assert counts(private) == {"success": 1}


@pytest.mark.parametrize("first", ["waits", "fails"])
def test_interleaved_tasks_settle_each_its_own(private: Engine, pay: Policy, first: str) -> None:
    async def waits(before: asyncio.Event, after: asyncio.Event) -> None:
        async with pay:
            before.set()
            await after.wait()

    async def fails(before: asyncio.Event, after: asyncio.Event) -> None:
        with pay:
            before.set()
            await after.wait()
            raise ValueError

    async def main() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(waits(one, two)), asyncio.create_task(fails(two, one))]
        order = tasks if first == "waits" else tasks[::-1]
        await asyncio.gather(*order, return_exceptions=True)

    asyncio.run(main())
    assert counts(private) == {"success": 1, "failure": 1}
    assert in_use(private) == 0


def test_many_interleaved_tasks_leave_nothing_behind(private: Engine) -> None:
    pool = Policy("pool/tasks", rules.Bulkhead(50), engine=private)

    async def visit(number: int) -> None:
        async with pool:
            for _ in range(number % 7):
                await asyncio.sleep(0)
            with pool:
                await asyncio.sleep(0)
            if number % 3 == 0:
                raise ValueError

    async def main() -> None:
        await asyncio.gather(*map(visit, range(25)), return_exceptions=True)

    asyncio.run(main())
    assert counts(private) == {"success": 25 + 16, "failure": 9}
    assert in_use(private) == 0


def test_cancelled_task_is_ignored_and_frees_its_permit(private: Engine, pay: Policy) -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(pay(wait_for_ever)())
        await asyncio.sleep(0)
        assert in_use(private) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert counts(private) == {"ignored": 1}
    assert in_use(private) == 0


def test_coroutine_that_is_closed_is_ignored(private: Engine, pay: Policy) -> None:
    coroutine = pay(end_later)(None)
    coroutine.send(None)
    assert in_use(private) == 1
    coroutine.close()
    assert counts(private) == {"ignored": 1}


def test_coroutine_takes_no_permit_when_it_is_never_awaited(private: Engine, pay: Policy) -> None:
    pay(end_later)(None).close()
    assert counts(private) == {}
    assert private.snapshot().policies[0].admitted == 0


def test_generator_that_is_closed_inside_with_is_ignored(private: Engine, pay: Policy) -> None:
    def numbers() -> Iterator[int]:
        with pay:
            yield from range(10)

    generator = numbers()
    next(generator)
    assert in_use(private) == 1
    generator.close()
    assert counts(private) == {"ignored": 1}


def test_generators_inside_with_of_two_policies_settle_each_its_own(
    private: Engine, pay: Policy
) -> None:
    other = Policy("payments/refund", rules.Bulkhead(4), engine=private)

    def step(policy: Policy) -> Iterator[None]:
        with policy:
            yield

    first, second = step(pay), step(other)
    next(first)
    next(second)
    assert list(first) == []
    charge, refund = private.snapshot().policies
    assert (charge.bulkhead.in_use, refund.bulkhead.in_use) == (0, 1)
    assert list(second) == []


def test_with_may_end_in_another_context_than_it_began(private: Engine, pay: Policy) -> None:
    """As when a fixture is set up in one task and torn down in another."""

    async def main() -> None:
        stack = contextlib.AsyncExitStack()
        await asyncio.create_task(stack.enter_async_context(pay))
        assert in_use(private) == 1
        await asyncio.create_task(stack.aclose())

    asyncio.run(main())
    assert counts(private) == {"success": 1}
    assert in_use(private) == 0


def test_task_started_inside_with_leaves_its_permit_alone(private: Engine, pay: Policy) -> None:
    async def child() -> None:
        async with pay:
            await asyncio.sleep(0)

    async def main() -> None:
        with pay:
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            assert in_use(private) == 2
            await task
            assert in_use(private) == 1

    asyncio.run(main())
    assert counts(private) == {"success": 2}


def test_threads_inside_with_settle_each_its_own(private: Engine) -> None:
    pool = Policy("pool/threads", rules.Bulkhead(8), engine=private)
    meet = threading.Barrier(8)

    def visit(number: int) -> None:
        try:
            with pool:
                meet.wait(timeout=10)
                if number % 2:
                    raise ValueError
        except ValueError:
            meet.wait(timeout=10)
        else:
            meet.wait(timeout=10)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(private) == {"success": 4, "failure": 4}
    assert in_use(private) == 0


# ---- decorated functions ----


def test_decorated_function_is_still_itself(pay: Policy) -> None:
    @pay
    def charge(amount: int, *, currency: str = "EUR") -> str:
        """Charge a card."""
        return f"{amount} {currency}"

    assert charge(3, currency="CHF") == "3 CHF"
    assert (charge.__name__, charge.__doc__) == ("charge", "Charge a card.")
    assert str(inspect.signature(charge)) == "(amount: int, *, currency: str = 'EUR') -> str"


def test_decorated_coroutine_function_is_still_one(pay: Policy) -> None:
    @pay
    async def charge(amount: int) -> int:
        await asyncio.sleep(0)
        return amount

    assert inspect.iscoroutinefunction(charge)
    assert asyncio.run(charge(7)) == 7


def test_decorated_methods_bind(private: Engine, pay: Policy) -> None:
    class Till:
        def __init__(self) -> None:
            self.sum = 0

        @pay
        def put(self, amount: int) -> int:
            self.sum += amount
            return self.sum

        @pay
        async def put_later(self, amount: int) -> int:
            return self.sum + amount

        @staticmethod
        @pay
        def close(hour: int) -> int:
            return hour

        @classmethod
        @pay
        def make(cls) -> "Till":
            return cls()

    till = Till.make()
    assert (till.put(2), till.put(3), till.close(18)) == (2, 5, 18)
    assert asyncio.run(till.put_later(4)) == 9
    assert counts(private) == {"success": 5}


async def counting() -> AsyncIterator[int]:
    yield 1


def plain_counting() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("function", [counting, plain_counting])
def test_generator_functions_are_not_decorated_without_effect(
    pay: Policy, function: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match=function.__name__):
        pay(function)


def test_call_passes_arguments_and_result(private: Engine, pay: Policy) -> None:
    assert pay.call(divmod, 17, 5) == (3, 2)
    assert pay.call(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]
    assert asyncio.run(pay.call(end_later, None)) == "done"
    assert counts(private) == {"success": 3}


def test_policies_of_one_name_share_their_state(private: Engine, lone: Policy) -> None:
    permit = lone.try_acquire()
    assert not private.policy("pool/one").try_acquire()
    assert permit.success()


def test_policy_says_who_it_is(private: Engine, pay: Policy) -> None:
    assert pay.name == "payments/charge"
    assert repr(pay) == "<Policy payments/charge>"
    assert pay.arena is private.arena
    assert pay.remaining == 20


@pytest.mark.parametrize("name", ["", "Payments", "a" * 129, "~x", "a b", "a\n", "ä", "a\0b"])
def test_policy_complains_about_a_wrong_name(private: Engine, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Policy(name, rules.Bulkhead(1), engine=private)


def test_longest_name_is_taken(private: Engine) -> None:
    names = ["a" * 128, "a" * 127, "b" * 128]
    for name in names:
        Policy(name, rules.Bulkhead(1), engine=private)
    assert private.names() == sorted(names)


def test_policy_complains_about_no_rules(private: Engine) -> None:
    with pytest.raises(ValueError, match="rules"):
        Policy("a/b", engine=private)


def test_public_names_are_there() -> None:
    assert all(hasattr(engine, name) for name in engine.__all__)
