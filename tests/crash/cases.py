"""What the sweep kills in the middle: every operation, in every state that matters to it.

A case is a function of a `World` that prepares what the operation needs and returns the operation.
`@case(state)` names the state of the circuit before it. A later pattern adds its cases here.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import engine
from engine import rules
from engine.core import breaker, wire
from engine.testing import ManualClock

LIMIT = 4
PROBES = 3
BURST = 20
OPEN_FOR_S = 1.0
RAMP_S = 4.0
WAIT_S = 0.5
PROBE_S = 5.0
CIRCUIT = rules.Breaker(
    window=20,
    min_calls=2,
    open_for=OPEN_FOR_S,
    jitter=0,
    probes=PROBES,
    probe_success_rate=0.6,
    probe_timeout=PROBE_S,
)
TIMED_CIRCUIT = rules.Breaker(
    window="10s",
    min_calls=2,
    slow_after=1,
    open_for=OPEN_FOR_S,
    jitter=0.05,
    probes=1,
    recovery_ramp=RAMP_S,
)
RUN_CIRCUIT = rules.Breaker(consecutive=2, open_for=OPEN_FOR_S, jitter=0, probes=1)
RULES = (CIRCUIT, rules.Bulkhead(LIMIT), rules.RateLimit("1/s", burst=BURST))
TRIAL = rules.Chaos(probability=1, ttl=5, impact="latency", delay=1, max_active=2)
ALL, GATE, POOL, RATE, TIMED, RUN = "all", "gate", "pool", "rate", "timed", "run"
QUEUE = "queue"
RETRY, SHED, FLAG, HUNG = "retry", "shed", "flag", "hung"
TRIED = "tried"
WHY, AGAIN = "a reason of more than one word", "flipped again"
LOAD, LEARN = "load", "learn"
POLICIES = {
    ALL: RULES,
    GATE: (CIRCUIT,),
    POOL: (rules.Bulkhead(LIMIT),),
    RATE: (RULES[2],),
    TIMED: (TIMED_CIRCUIT,),
    RUN: (RUN_CIRCUIT,),
    QUEUE: (rules.Bulkhead(1, queue=2),),
    SHED: (rules.Throttle(),),
    FLAG: (rules.Feature(),),
    HUNG: (rules.Health("db"),),
    TRIED: (CIRCUIT, rules.Bulkhead(LIMIT), TRIAL),
    RETRY: (rules.RetryBudget(ratio=0.5, min_rate="1/day", burst=3), RULES[2]),
    LOAD: (rules.Shedder(LIMIT), RULES[2]),
    LEARN: (rules.Shedder("gradient2", initial=LIMIT, min_limit=2, max_limit=40),),
}

Operation = Callable[[], Any]


@dataclass
class World:
    """What a case works on: an engine of its own process, and what it wants to keep."""

    eng: engine.Engine
    clock: ManualClock
    kept: list[Any] = field(default_factory=list)

    def bind(self) -> None:
        for name, wanted in POLICIES.items():
            engine.Policy(name, *wanted, engine=self.eng)

    def take(self, name: str, times: int = 1) -> Any:
        """Take permits, keep them, and return the last."""
        self.kept += [self.eng.policy(name).try_acquire() for _ in range(times)]
        return self.kept[-1]

    def fill(self, name: str, **wishes: Any) -> None:
        """Take every place of a shedder, and keep them."""
        while permit := self.eng.policy(name).try_acquire(**wishes):
            self.kept.append(permit)

    def open(self, name: str) -> None:
        """Two failures open a circuit."""
        for permit in [self.eng.policy(name).try_acquire() for _ in range(2)]:
            permit.failure()

    def half_open(self, name: str) -> None:
        """Rest until callers are probes; the first gives its place back."""
        self.open(name)
        self.clock.advance(OPEN_FOR_S + 0.1)
        self.eng.policy(name).try_acquire().ignore()

    def recovering(self, name: str) -> None:
        """Let the one probe pass, where the circuit comes back by a ramp."""
        self.half_open(name)
        self.eng.policy(name).try_acquire().success()


@dataclass
class Case:
    """An operation and the state of the circuit before it."""

    name: str
    state: str
    prepare: Callable[[World], Operation]


CASES: list[Case] = []


def case(state: str = "closed") -> Callable[[Callable[[World], Operation]], Callable[..., Any]]:
    """Register a case."""

    def register(prepare: Callable[[World], Operation]) -> Callable[[World], Operation]:
        CASES.append(Case(prepare.__name__, state, prepare))
        return prepare

    return register


def asked(name: str, **numbers: int) -> bytes:
    """An AdmitRequest."""
    fields = {"cost": 3, "hold_ms": 7}
    said = b"\x0a" + bytes([len(name)]) + name.encode()
    for key, value in numbers.items():
        said += bytes([fields[key] << 3]) + varint(value)
    return said


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def token_of(response: bytes) -> bytes:
    """The permit of an AdmitResponse."""
    at = response.index(b"\x1a\x18")
    return response[at + 2 : at + 26]


def reported(token: bytes, *, outcome: int = 1, extend_ms: int = 0) -> bytes:
    """A ReportRequest."""
    said = b"\x0a\x18" + token + b"\x10" + bytes([outcome])
    return said + (b"\x28" + varint(extend_ms) if extend_ms else b"")


# ---- admissions ----


@case()
def acquire_closed(world: World) -> Operation:
    return world.eng.policy(ALL).try_acquire


@case("open")
def acquire_open_to_half_open(world: World) -> Operation:
    world.clock.advance(OPEN_FOR_S + 0.1)
    return world.eng.policy(ALL).try_acquire


@case("half_open")
def acquire_half_open(world: World) -> Operation:
    return world.eng.policy(ALL).try_acquire


@case("half_open")
def acquire_half_open_beside_an_expired_probe(world: World) -> Operation:
    world.take(ALL, PROBES)
    world.clock.advance(PROBE_S + 0.1)
    return world.eng.policy(ALL).try_acquire


@case("open")
def refuse_open(world: World) -> Operation:
    return world.eng.policy(ALL).try_acquire


@case("half_open")
def refuse_probes_out(world: World) -> Operation:
    world.take(ALL, PROBES)
    return world.eng.policy(ALL).try_acquire


@case()
def refuse_bulkhead_full(world: World) -> Operation:
    world.take(ALL, LIMIT)
    return world.eng.policy(ALL).try_acquire


@case("half_open")
def refuse_rate_and_hand_back_permit_and_probe(world: World) -> Operation:
    pay = world.eng.policy(ALL)
    pay.try_acquire(BURST - 4).ignore()
    return lambda: pay.try_acquire(BURST)


@case()
def refuse_invalid(world: World) -> Operation:
    return lambda: world.eng.policy(ALL).try_acquire(BURST + 1)


# ---- reports ----


@case()
def succeed_closed(world: World) -> Operation:
    return world.take(ALL).success


@case()
def fail_closed(world: World) -> Operation:
    return world.take(ALL).failure


@case()
def ignore_closed(world: World) -> Operation:
    return world.take(ALL).ignore


@case()
def fail_and_open(world: World) -> Operation:
    first, second = world.take(ALL), world.take(ALL)
    first.failure()
    return second.failure


@case()
def succeed_into_a_new_chunk(world: World) -> Operation:
    for _ in range(15):
        world.eng.policy(GATE).try_acquire().success()
    return world.take(GATE).success


@case("half_open")
def succeed_and_close(world: World) -> Operation:
    first, second = world.take(ALL), world.take(ALL)
    first.success()
    return second.success


@case("half_open")
def fail_and_reopen(world: World) -> Operation:
    first, second = world.take(ALL), world.take(ALL)
    first.failure()
    return second.failure


@case("half_open")
def ignore_probe(world: World) -> Operation:
    return world.take(ALL).ignore


@case()
def report_of_an_old_generation(world: World) -> Operation:
    late = world.take(ALL)
    world.open(ALL)
    return late.failure


# ---- a circuit by time, one by failures in a row, and an operator ----


@case()
def record_slow_call_by_time(world: World) -> Operation:
    permit = world.take(TIMED)
    world.clock.advance(2.0)
    return permit.success


@case()
def trip_by_time(world: World) -> Operation:
    world.take(TIMED, 2)
    world.kept[0].failure()
    return world.kept[1].failure


@case()
def trip_by_failures_in_a_row(world: World) -> Operation:
    world.take(RUN, 2)
    world.kept[0].failure()
    return world.kept[1].failure


@case()
def record_success_that_ends_a_row(world: World) -> Operation:
    world.take(RUN, 2)
    world.kept[0].failure()
    return world.kept[1].success


@case()
def recover_by_a_probe(world: World) -> Operation:
    world.half_open(TIMED)
    return world.take(TIMED).success


@case()
def acquire_recovering(world: World) -> Operation:
    world.recovering(TIMED)
    return world.eng.policy(TIMED).try_acquire


@case()
def acquire_when_the_ramp_is_over(world: World) -> Operation:
    world.recovering(TIMED)
    world.clock.advance(RAMP_S + 0.1)
    return world.eng.policy(TIMED).try_acquire


@case()
def trip_again_for_longer(world: World) -> Operation:
    world.half_open(RUN)
    return world.take(RUN).failure


@case()
def force_open(world: World) -> Operation:
    return lambda: world.eng.policy(TIMED).force_open(3)


@case()
def force_closed_when_open(world: World) -> Operation:
    world.open(RUN)
    return lambda: world.eng.policy(RUN).force_closed(3)


@case()
def unforce_open(world: World) -> Operation:
    world.eng.policy(TIMED).force_open(3)
    return world.eng.policy(TIMED).unforce


@case()
def unforce_closed(world: World) -> Operation:
    world.eng.policy(RUN).force_closed(3)
    return world.eng.policy(RUN).unforce


@case()
def recut_a_window_by_time(world: World) -> Operation:
    world.take(TIMED, 2)
    world.kept[0].failure()
    longer = rules.Breaker(window="1min", min_calls=2, open_for=OPEN_FOR_S, probes=1)
    return lambda: world.eng.bind(spec(TIMED, longer))


# ---- waiting ----


def while_waiting(world: World, happens: Operation) -> Operation:
    """Wait for the one permit, while something happens a few milliseconds later."""
    world.take(QUEUE)
    handle = world.eng.policy(QUEUE)

    def wait() -> None:
        signal.signal(signal.SIGALRM, lambda *_: happens())
        signal.setitimer(signal.ITIMER_REAL, 0.003)
        handle.acquire_sync(WAIT_S)

    return wait


@case()
def wait_in_vain(world: World) -> Operation:
    return while_waiting(world, lambda: world.clock.advance(WAIT_S))


@case()
def wait_and_be_admitted(world: World) -> Operation:
    return while_waiting(world, lambda: world.kept[0].success())


@case()
def give_back_what_is_waited_for_no_more(world: World) -> Operation:
    while_waiting(world, lambda: world.clock.advance(WAIT_S))()
    return world.kept[0].success


# ---- retries ----


@case()
def first_attempt_pays_for_a_retry(world: World) -> Operation:
    return world.eng.policy(RETRY).try_acquire


@case()
def retry_within_the_budget(world: World) -> Operation:
    return lambda: world.eng.policy(RETRY).try_acquire(attempt=2)


@case()
def retry_over_the_budget(world: World) -> Operation:
    world.eng.policy(RETRY).try_acquire(attempt=2)
    return lambda: world.eng.policy(RETRY).try_acquire(attempt=2)


@case()
def hand_back_a_retry_that_the_rate_limit_refuses(world: World) -> Operation:
    world.eng.policy(RETRY).try_acquire(BURST)
    return lambda: world.eng.policy(RETRY).try_acquire(attempt=2)


# ---- a throttle ----


@case()
def report_to_a_throttle(world: World) -> Operation:
    return world.take(SHED).failure


@case()
def draw_and_perhaps_refuse(world: World) -> Operation:
    world.take(SHED, 3)
    for permit in world.kept:
        permit.failure()
    return world.eng.policy(SHED).try_acquire


@case()
def recut_a_throttle(world: World) -> Operation:
    world.take(SHED).failure()
    return lambda: world.eng.bind(spec(SHED, rules.Throttle(window=10)))


# ---- a flag ----


@case()
def flip_for_the_first_time(world: World) -> Operation:
    return lambda: world.eng.policy(FLAG).turn_off(3, WHY)


@case()
def flip_over_another_flip(world: World) -> Operation:
    world.eng.policy(FLAG).turn_on(3, AGAIN)
    return lambda: world.eng.policy(FLAG).turn_off(3, WHY)


@case()
def clear_a_flip(world: World) -> Operation:
    world.eng.policy(FLAG).turn_off(3, WHY)
    return world.eng.policy(FLAG).clear_flip


@case()
def refuse_degraded(world: World) -> Operation:
    world.eng.policy(FLAG).turn_off(3)
    return world.eng.policy(FLAG).try_acquire


# ---- a check ----


@case()
def report_a_check_with_a_message(world: World) -> Operation:
    check = engine.HealthCheck("db", engine=world.eng)
    check.report("unhealthy")
    return lambda: check.report("unhealthy", "no answer")


@case()
def bind_a_check_and_a_policy_on_it(world: World) -> Operation:
    def bind() -> None:
        world.eng.bind(spec(HUNG, rules.Health("new")))
        engine.HealthCheck("new", engine=world.eng).report("healthy")

    return bind


@case()
def refuse_unhealthy(world: World) -> Operation:
    for _ in range(2):
        engine.HealthCheck("db", engine=world.eng).report("unhealthy")
    return world.eng.policy(HUNG).try_acquire


# ---- an experiment ----


@case()
def harm_a_call(world: World) -> Operation:
    return world.eng.policy(TRIED).try_acquire


@case()
def stop_an_experiment_when_the_circuit_opens(world: World) -> Operation:
    world.open(TRIED)
    return world.eng.policy(TRIED).try_acquire


@case()
def find_an_experiment_over(world: World) -> Operation:
    world.clock.advance(6)
    return world.eng.policy(TRIED).try_acquire


@case()
def abort_and_hand_back(world: World) -> Operation:
    abort = rules.Chaos(probability=1, ttl=5, impact="abort")
    world.eng.bind(spec(TRIED, CIRCUIT, rules.Bulkhead(LIMIT), abort))
    return world.eng.policy(TRIED).try_acquire


@case()
def take_an_experiment_out_of_force(world: World) -> Operation:
    return lambda: world.eng.bind(spec(TRIED, CIRCUIT, rules.Bulkhead(LIMIT)))


# ---- a load shedder ----


@case()
def shedder_take(world: World) -> Operation:
    return world.eng.policy(LOAD).try_acquire


@case()
def shedder_take_revocable(world: World) -> Operation:
    return lambda: world.eng.policy(LOAD).try_acquire(revocable=True)


@case()
def shedder_give_back(world: World) -> Operation:
    permit = world.take(LOAD)
    world.clock.advance(0.5)
    return permit.success


@case()
def shedder_refuse_and_recount(world: World) -> Operation:
    world.fill(LOAD, priority=engine.CRITICAL)
    world.clock.advance(1)
    return world.eng.policy(LOAD).try_acquire


@case()
def shedder_hand_back(world: World) -> Operation:
    pay = world.eng.policy(LOAD)
    pay.try_acquire(BURST - 4).ignore()
    return lambda: pay.try_acquire(BURST)


@case()
def shedder_revoke(world: World) -> Operation:
    world.fill(LOAD, priority=engine.SHEDDABLE, revocable=True)
    world.kept += [world.eng.policy(LOAD).try_acquire(priority=engine.CRITICAL) for _ in range(2)]
    assert all(world.kept)
    return lambda: world.eng.policy(LOAD).try_acquire(priority=engine.CRITICAL, revocable=True)


@case()
def shedder_report_of_a_victim(world: World) -> Operation:
    world.fill(LOAD, priority=engine.SHEDDABLE, revocable=True)
    victims = list(world.kept)
    world.fill(LOAD, priority=engine.CRITICAL)
    assert all(victim.revoked for victim in victims)
    return victims[0].success


@case()
def shedder_learns(world: World) -> Operation:
    for _ in range(12):
        permit = world.take(LEARN)
        world.clock.advance(0.05)
        permit.success()
    permit = world.take(LEARN)
    world.clock.advance(1.5)
    return permit.success


@case()
def shedder_note_lag(world: World) -> Operation:
    return lambda: world.eng.policy(LOAD).note_lag(0.2)


@case()
def shedder_grow_and_shrink(world: World) -> Operation:
    world.take(LOAD, 2)
    sizes = (rules.Shedder(12), rules.Shedder(2), rules.Shedder(LIMIT))
    specs = [spec(LOAD, size, RULES[2]) for size in sizes]
    return lambda: [world.eng.bind(wanted) for wanted in specs]


@case()
def shedder_by_wire(world: World) -> Operation:
    def admit_extend_and_report() -> None:
        token = token_of(wire.admit(world.eng.arena, asked(LOAD)))
        wire.report(world.eng.arena, reported(token, outcome=0, extend_ms=90_000))
        wire.report(world.eng.arena, reported(token))

    return admit_extend_and_report


# ---- primitives ----


@case()
def bulkhead_take(world: World) -> Operation:
    return engine.Bulkhead(LIMIT, name=POOL, engine=world.eng).try_acquire


@case()
def bulkhead_release(world: World) -> Operation:
    pool = engine.Bulkhead(LIMIT, name=POOL, engine=world.eng)
    pool.try_acquire()
    return pool.release


@case()
def bulkhead_take_below_a_lowered_limit(world: World) -> Operation:
    world.take(POOL, LIMIT)
    world.kept[0].ignore()
    return engine.Bulkhead(2, name=POOL, engine=world.eng).try_acquire


@case()
def limiter_take(world: World) -> Operation:
    limiter = engine.Limiter("1/s", burst=BURST, name=RATE, engine=world.eng)
    return lambda: limiter.try_acquire(3)


@case()
def counter_add(world: World) -> Operation:
    counter = engine.Counter(name="visits", engine=world.eng)
    return lambda: counter.add(3)


@case()
def breaker_probe_and_record(world: World) -> Operation:
    circuit = breaker.CircuitBreaker(world.eng.arena, world.eng.bind(spec(GATE)))
    world.open(GATE)
    world.clock.advance(OPEN_FOR_S + 0.1)
    return lambda: circuit.try_acquire() and circuit.record(True)


# ---- remote callers ----


@case()
def wire_admit_bulkhead(world: World) -> Operation:
    return lambda: wire.admit(world.eng.arena, asked(ALL, cost=2, hold_ms=1000))


@case("half_open")
def wire_admit_probe_in_a_remote_cell(world: World) -> Operation:
    world.half_open(GATE)
    return lambda: wire.admit(world.eng.arena, asked(GATE))


@case("half_open")
def wire_report_probe(world: World) -> Operation:
    token = token_of(wire.admit(world.eng.arena, asked(ALL)))
    return lambda: wire.report(world.eng.arena, reported(token))


@case()
def wire_extend(world: World) -> Operation:
    token = token_of(wire.admit(world.eng.arena, asked(ALL)))
    return lambda: wire.report(world.eng.arena, reported(token, outcome=0, extend_ms=90_000))


@case()
def wire_batch_handed_back(world: World) -> Operation:
    items = [asked(ALL), asked(GATE), asked("nobody")]
    said = b"".join(b"\x0a" + bytes([len(item)]) + item for item in items) + b"\x10\x01"
    return lambda: wire.admit_batch(world.eng.arena, said)


# ---- binders and owners ----


def spec(name: str, *wanted: Any) -> rules.PolicySpec:
    return rules.PolicySpec(name, wanted or POLICIES[name])


@case()
def bind_afresh(world: World) -> Operation:
    return lambda: world.eng.bind(spec("new", *RULES))


@case()
def bind_with_growth(world: World) -> Operation:
    grown = rules.Breaker(window=500, min_calls=2, open_for=OPEN_FOR_S, probes=9)
    wider = spec(ALL, grown, rules.Bulkhead(LIMIT), RULES[2])
    taller = spec(POOL, rules.Bulkhead(40))

    def rebind() -> None:
        world.eng.bind(wider)
        world.eng.bind(taller)
        world.eng.bind(spec(POOL))
        world.eng.bind(spec(ALL))

    return rebind


@case()
def retire_and_come_back(world: World) -> Operation:
    def rebind() -> None:
        world.eng.apply(rules.PolicySet({POOL: spec(POOL)}))
        world.eng.apply(rules.PolicySet({}))
        world.eng.apply(rules.PolicySet({POOL: spec(POOL)}))

    return rebind


@case()
def attach_and_first_use(world: World) -> Operation:
    path = world.eng.arena.path
    world.eng.close()

    def attach() -> None:
        world.eng = engine.Engine(path, clock=world.clock, chaos=True)
        world.take(ALL)

    return attach


@case()
def make_an_arena(world: World) -> Operation:
    path = f"{world.eng.arena.path}.other"

    def make() -> None:
        with engine.Engine(path, clock=world.clock, arena_size=4 << 20) as eng:
            engine.Policy("any", rules.Bulkhead(1), engine=eng)

    return make
