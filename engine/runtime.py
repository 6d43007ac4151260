"""The Engine: opens an arena, binds policies to their slots, swaps one PolicySet for another."""

import difflib
import itertools
import os
import threading
from types import TracebackType

import msgspec

from engine import config
from engine.core import (
    admit,
    binding,
    breaker,
    budget,
    chaos,
    directory,
    feature,
    health,
    journal,
    policy,
    repair,
    shedder,
    throttle,
    wire,
)
from engine.core.arena import DEFAULT_SIZE, Arena
from engine.core.binding import CHECK_PREFIX
from engine.core.clock import ManualClock
from engine.latency import LatencySnapshot
from engine.policy import Policy
from engine.rules import CHAOS_VARIABLE, Chaos, Check, Health, PolicySet, PolicySpec, Rule

UNNAMED = "~"


class BreakerSnapshot(msgspec.Struct, frozen=True):
    """A circuit breaker: what its window holds, and seconds until asking is worth it.

    `state` is "closed", "open", "half_open", "recovering", "forced_open" or "forced_closed".
    `calls` and `failures` of a breaker that counts failures in a row are that count. `reason` is
    what the operator said who forced the state, or "".
    """

    state: str
    generation: int
    calls: int
    failures: int
    slow: int
    retry_after: float
    opened: int
    probing: int
    reason: str


class BulkheadSnapshot(msgspec.Struct, frozen=True):
    """A bulkhead on the whole host: permits held, how many there are, who waits, and for how many
    there is a place.
    """

    in_use: int
    limit: int
    waiting: int = 0
    queue: int = 0


class ShedderSnapshot(msgspec.Struct, frozen=True):
    """A load shedder: calls in flight on the whole host, how many may be now, and by class."""

    in_use: int
    limit: int
    by_class: dict[str, int]


class RateLimitSnapshot(msgspec.Struct, frozen=True):
    """A rate limit: tokens that could be taken now, and the burst.

    Of a keyed one the tokens are those that keys without a cell share; `keys` are not at rest.
    """

    remaining: int
    limit: int
    keys: int | None = None


class ChaosSnapshot(msgspec.Struct, frozen=True):
    """An experiment: "running" or "stopped", its run, and the seconds until that ends.

    `asked` calls of this run were numbered; `injected` were harmed and `spared` would have been
    but for a dry run, in all runs.
    """

    state: str
    run: int
    left: float
    asked: int
    injected: int
    spared: int


class CheckSnapshot(msgspec.Struct, frozen=True):
    """A check: its status, how many results in a row were alike, their age in seconds, a message.

    `status` is "unknown", "healthy", "degraded" or "unhealthy"; without a result that still counts
    it is unknown and `age` None.
    """

    status: str
    run: int
    age: float | None
    message: str


class FeatureSnapshot(msgspec.Struct, frozen=True):
    """A feature: its state is "configured", or "on" or "off" where an operator forced it so.

    A flip lasts for another `left` seconds, is the `flips`-th and has the operator's `reason`.
    """

    state: str
    enabled: bool
    rollout: float
    level: int
    left: float
    flips: int
    reason: str


class ThrottleSnapshot(msgspec.Struct, frozen=True):
    """A throttle: what its window holds, and with which probability it refuses the next call."""

    requests: int
    accepts: int
    probability: float


class RetryBudgetSnapshot(msgspec.Struct, frozen=True):
    """A retry budget: retries that could be taken now, and the most that add up."""

    remaining: int
    limit: int


class PolicySnapshot(msgspec.Struct, frozen=True):
    """A policy: counts of the whole host since the arena was made, and the state of its rules.

    `refused` and `would_refuse`, which is what rules in the shadow would have done, are by reason.

    No effect is shown without its cause, also while others are at work: the durations in `latency`
    are of calls in `success` or `failure`, and these and `ignored` of calls in `admitted`. So
    `latency.count <= success + failure` and `success + failure + ignored <= admitted`; what
    is missing is under way, void, or was lost with a process.
    """

    name: str
    version: int
    admitted: int
    refused: dict[str, int]
    would_refuse: dict[str, int]
    success: int
    failure: int
    ignored: int
    void: int
    duration_ns: int
    latency: LatencySnapshot
    breaker: BreakerSnapshot | None
    bulkhead: BulkheadSnapshot | None
    shedder: ShedderSnapshot | None
    rate_limit: RateLimitSnapshot | None
    retry_budget: RetryBudgetSnapshot | None
    throttle: ThrottleSnapshot | None
    feature: FeatureSnapshot | None
    health: str | None
    chaos: ChaosSnapshot | None


class ArenaSnapshot(msgspec.Struct, frozen=True):
    """An arena: owners and rows with their limits, heap in bytes, count of published blocks."""

    path: str | None
    owners: int
    owners_max: int
    rows: int
    rows_max: int
    heap_used: int
    heap_size: int
    config_version: int
    remote_permits: int


class Event(msgspec.Struct, frozen=True):
    """A change: its number, the arena's time in seconds, the policy, and what became of it.

    `what` is configured, retired, repaired, the state that a circuit entered: closed, opened,
    half_opened, recovering, forced_open, forced_closed; or what became of a feature: flag_on,
    flag_off, flag_cleared; or the status that a check entered: check_unknown, check_healthy,
    check_degraded, check_unhealthy, with "~health/" before its name; or chaos_started,
    chaos_stopped. `generation` is the circuit's,
    or counts the flips or changes; `value` is a version, a number of permits given back or the
    milliseconds of a flip.
    """

    number: int
    time: float
    policy: str
    what: str
    generation: int
    value: int


class Snapshot(msgspec.Struct, frozen=True):
    """What an arena holds: each figure is exact, all together they are not one instant.

    Only the counts of one policy agree with one another, as PolicySnapshot says; levels, permits in
    use and states of its rules are each of a moment of their own, a little later.
    """

    arena: ArenaSnapshot
    policies: list[PolicySnapshot]


class Engine:
    """Policies on one arena.

    `arena` is None for a private one or the path of the file that the processes of a host share; it
    is made with `arena_size` bytes where there is none. `policies` is a TOML file or a PolicySet.
    `clock` is an `engine.testing.ManualClock` in tests. Raises ArenaError and ConfigError.
    """

    def __init__(
        self,
        arena: str | os.PathLike[str] | None = None,
        policies: str | os.PathLike[str] | PolicySet | None = None,
        *,
        arena_size: int = DEFAULT_SIZE,
        clock: ManualClock | None = None,
        chaos: bool = False,
    ) -> None:
        wanted = (
            policies
            if isinstance(policies, PolicySet) or policies is None
            else config.load(policies)
        )
        if arena is None:
            self.arena = Arena.private(arena_size, clock)
        else:
            self.arena = Arena.open(arena, arena_size, clock)
        self._applied: frozenset[str] = frozenset()
        self._chaos = chaos or os.environ.get(CHAOS_VARIABLE) == "1"
        self._unnamed = itertools.count(1)
        repair.attach(self.arena)
        if wanted is not None:
            self.apply(wanted)

    def apply(self, policies: PolicySet) -> None:
        """Put a PolicySet in force. What stays keeps its state, what is gone is retired."""
        for spec in policies.policies.values():
            self._bind(spec, chaos=self._chaos or policies.chaos)
        for name in self._applied - policies.policies.keys():
            binding.retire(self.arena, name)
        self._applied = frozenset(policies.policies)

    def bind(self, spec: PolicySpec) -> int:
        """Publish one policy and return its directory row; the same rules again change nothing.

        Raises ValueError for a chaos experiment where neither the engine nor the environment
        (ENGINE_CHAOS=1) allows any.
        """
        return self._bind(spec, chaos=self._chaos)

    def _bind(self, spec: PolicySpec, *, chaos: bool) -> int:
        if not chaos and any(rule.kind == Chaos.kind for rule in spec.rules):
            raise ValueError(
                f"{spec.name} has a chaos experiment: allow them by Engine(chaos=True), by"
                f" chaos = true in the file of policies or by {CHAOS_VARIABLE}=1"
            )
        return binding.bind(self.arena, spec.name, spec.core(), spec.shadow())

    def bind_rule(self, rule: Rule, name: str | None) -> int:
        """Publish a policy of one rule for a primitive; on a shared arena it needs a name."""
        if rule.mode != "enforce":
            raise ValueError(f"mode = {rule.mode!r}: a primitive is asked or it is not")
        if name is not None:
            return self.bind(PolicySpec(name, (rule,)))
        return binding.bind(self.arena, self._unnamed_name(rule.kind), {rule.kind: rule.core()})

    def bind_counter(self, name: str | None) -> int:
        """Publish a counter."""
        if name is not None:
            return binding.retire(self.arena, f"{UNNAMED}counter/{name}")
        return binding.retire(self.arena, self._unnamed_name("counter"))

    def bind_check(self, named: Health, check: Check) -> int:
        """Publish a check and return its row; what it says stays."""
        return binding.bind_check(self.arena, named.check, check.core())

    def checks(self) -> dict[str, CheckSnapshot]:
        """What every check of the arena says, by its name."""
        rows = sorted(health.names(self.arena).items())
        return {
            name: CheckSnapshot(*health.Check(self.arena, row).snapshot()) for name, row in rows
        }

    def _unnamed_name(self, kind: str) -> str:
        if self.arena.path is not None:
            raise ValueError(
                f"name= is missing: by it the processes of {self.arena.path} share this {kind}"
            )
        return f"{UNNAMED}{kind}/{next(self._unnamed)}"

    def policy(self, name: str) -> Policy:
        """The policy of that name, whoever bound it. Raises LookupError with the nearest names."""
        row = directory.lookup(self.arena, name)
        if row is None:
            near = difflib.get_close_matches(name, self.names(), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise LookupError(f"no policy {name!r}{hint}")
        return Policy.at(self.arena, name, row)

    def names(self) -> list[str]:
        """The names of all policies in service, sorted."""
        return sorted(self._rows())

    def _rows(self) -> dict[str, int]:
        found = directory.names(self.arena).items()
        return {name: row for row, name in found if not name.startswith(UNNAMED)}

    def repair(self) -> int:
        """Give back dead processes' permits; how many. A refusal for want of one does it too."""
        return repair.repair(self.arena)

    def snapshot(self) -> Snapshot:
        """The arena and every policy in service, in figures of the whole host."""
        self.repair()
        rows = self._rows()
        stats = self.arena.stats() | {"remote_permits": wire.remote_permits(self.arena)}
        return Snapshot(
            ArenaSnapshot(**stats),
            [_policy_snapshot(self.arena, name, rows[name]) for name in sorted(rows)],
        )

    def journal(self, since: int = 0) -> list[Event]:
        """What changed from event number `since` on; the last 1,024 events are remembered."""
        names = {row: name for name, row in self._rows().items()}
        names |= {row: f"{CHECK_PREFIX}{name}" for name, row in health.names(self.arena).items()}
        return [
            Event(number, time, "" if what == "repaired" else names.get(row, ""), what, *rest)
            for number, time, what, row, *rest in journal.read(self.arena, since)
        ]

    def close(self) -> None:
        """Detach. Handles of this engine then raise ArenaError; the arena file stays for others."""
        self.arena.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Engine on {self.arena.path or 'a private arena'}>"


def _policy_snapshot(arena: Arena, name: str, row: int) -> PolicySnapshot:
    counts = admit.counters(arena, row)
    tokens, permits = admit.levels(arena, row)
    circuit = breaker.snapshot(arena, row)
    retries = budget.snapshot(arena, row)
    load = shedder.snapshot(arena, row)
    shares = throttle.snapshot(arena, row)
    flag = feature.snapshot(arena, row)
    trial = chaos.snapshot(arena, row)
    return PolicySnapshot(
        name=name,
        version=policy.Policy(arena, name, row).version,
        admitted=counts["admitted"],
        refused=counts["refused"],
        would_refuse=counts["would_refuse"],
        success=counts["success"],
        failure=counts["failure"],
        ignored=counts["ignored"],
        void=counts["void"],
        duration_ns=counts["duration_ns"],
        latency=LatencySnapshot.of(*counts["took"]),
        breaker=None if circuit is None else _breaker_snapshot(circuit),
        bulkhead=None if permits is None else BulkheadSnapshot(*permits),
        shedder=None if load is None else ShedderSnapshot(*load),
        rate_limit=None if tokens is None else RateLimitSnapshot(*tokens),
        retry_budget=None if retries is None else RetryBudgetSnapshot(*retries),
        throttle=None if shares is None else ThrottleSnapshot(*shares),
        feature=None if flag is None else _feature_snapshot(flag),
        health=health.snapshot(arena, row),
        chaos=None if trial is None else _chaos_snapshot(trial),
    )


def _breaker_snapshot(
    circuit: tuple[str, int, int, int, int, int, int, int, str],
) -> BreakerSnapshot:
    state, generation, calls, failures, slow, wait_ns, opened, probing, reason = circuit
    return BreakerSnapshot(
        state, generation, calls, failures, slow, wait_ns / 1e9, opened, probing, reason
    )


def _chaos_snapshot(trial: tuple[str, int, int, int, int, int]) -> ChaosSnapshot:
    state, run, left_ns, asked, injected, spared = trial
    return ChaosSnapshot(state, run, left_ns / 1e9, asked, injected, spared)


def _feature_snapshot(flag: tuple[str, bool, int, int, int, int, str]) -> FeatureSnapshot:
    state, enabled, rollout_ppm, level, left_ns, flips, reason = flag
    return FeatureSnapshot(state, enabled, rollout_ppm / 1e4, level, left_ns / 1e9, flips, reason)


_DEFAULTS = ("ENGINE_ARENA", "ENGINE_POLICIES")
_default: Engine | None = None
_default_guard = threading.Lock()


def default() -> Engine:
    """The process-wide Engine, made on first use from ENGINE_ARENA and ENGINE_POLICIES, if set."""
    global _default
    with _default_guard:
        if _default is None:
            _default = Engine(*(os.environ.get(name) or None for name in _DEFAULTS))
        return _default
