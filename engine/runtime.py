"""The Engine: opens an arena, binds policies to their slots, swaps one PolicySet for another."""

import difflib
import itertools
import os
import threading
from types import TracebackType

import msgspec

from engine import config
from engine.core import admit, binding, breaker, directory, journal, policy, repair, shedder, wire
from engine.core.arena import DEFAULT_SIZE, Arena
from engine.core.clock import ManualClock
from engine.latency import LatencySnapshot
from engine.policy import Policy
from engine.rules import PolicySet, PolicySpec, Rule

UNNAMED = "~"


class BreakerSnapshot(msgspec.Struct, frozen=True):
    """A circuit breaker: what its window holds, and seconds until asking is worth it.

    `state` is "closed", "open", "half_open", "recovering", "forced_open" or "forced_closed".
    `calls` and `failures` of a breaker that counts failures in a row are that count.
    """

    state: str
    generation: int
    calls: int
    failures: int
    slow: int
    retry_after: float
    opened: int
    probing: int


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

    `what` is configured, retired, repaired, or the state that a circuit entered: closed, opened,
    half_opened, recovering, forced_open, forced_closed; `generation` is the circuit's, `value` a
    version or a number of permits given back.
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
        self._unnamed = itertools.count(1)
        repair.attach(self.arena)
        if wanted is not None:
            self.apply(wanted)

    def apply(self, policies: PolicySet) -> None:
        """Put a PolicySet in force. What stays keeps its state, what is gone is retired."""
        for spec in policies.policies.values():
            self.bind(spec)
        for name in self._applied - policies.policies.keys():
            binding.retire(self.arena, name)
        self._applied = frozenset(policies.policies)

    def bind(self, spec: PolicySpec) -> int:
        """Publish one policy and return its directory row; the same rules again change nothing."""
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
    load = shedder.snapshot(arena, row)
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
    )


def _breaker_snapshot(circuit: tuple[str, int, int, int, int, int, int, int]) -> BreakerSnapshot:
    state, generation, calls, failures, slow, wait_ns, opened, probing = circuit
    return BreakerSnapshot(state, generation, calls, failures, slow, wait_ns / 1e9, opened, probing)


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
