"""The arena's counters as Prometheus metrics, read at scrape time.

The totals are those of the whole host, whichever process is scraped. The labels `service` and
`operation` are the two parts of a policy's name; no label carries a key.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

try:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError:
    raise ImportError(
        "engine.metrics needs prometheus_client: pip install 'admittance[metrics]'"
    ) from None

from engine.core.health import STATUSES

if TYPE_CHECKING:
    from engine.runtime import ArenaSnapshot, CheckSnapshot, Engine, PolicySnapshot

POLICY = ("service", "operation")
DURATION_BOUNDS = {bound: str(bound) for bound in (2**power / 1e9 for power in range(16, 37))}
DURATION_BOUNDS[math.inf] = "+Inf"
CIRCUIT_STATES = {
    "closed": 0,
    "forced_closed": 0,
    "half_open": 1,
    "recovering": 1,
    "open": 2,
    "forced_open": 2,
}


class EngineCollector(Collector):
    """Yields the metrics of an Engine's arena; register it with a prometheus_client registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Take one snapshot and yield its metric families; raises ArenaError if it cannot."""
        snapshot = self._engine.snapshot()
        yield from _decisions(snapshot.policies)
        yield from _durations(snapshot.policies)
        yield from _rules(snapshot.policies)
        yield _load_shed(snapshot.policies)
        yield from _arena(snapshot.arena)
        yield _checks(self._engine.checks())


def split_name(name: str) -> tuple[str, str]:
    """Return (service, operation) of a policy's name, split at its first slash."""
    service, _, operation = name.partition("/")
    return service, operation


def _decisions(policies: Iterable[PolicySnapshot]) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "admittance_decisions",
        "Requests for admission by what was decided.",
        labels=(*POLICY, "decision", "reason"),
    )
    shadows = CounterMetricFamily(
        "admittance_would_refuse",
        "What rules in the shadow would have refused.",
        labels=(*POLICY, "reason"),
    )
    outcomes = CounterMetricFamily(
        "admittance_outcomes", "Reported outcomes.", labels=(*POLICY, "outcome")
    )
    voids = CounterMetricFamily(
        "admittance_void_reports",
        "Reports of forged, expired or orphaned permits.",
        labels=POLICY,
    )
    for policy in policies:
        labels = split_name(policy.name)
        decisions.add_metric((*labels, "admitted", ""), policy.admitted)
        for reason, count in sorted(policy.refused.items()):
            decisions.add_metric((*labels, "refused", reason), count)
        for reason, count in sorted(policy.would_refuse.items()):
            shadows.add_metric((*labels, reason), count)
        for outcome in ("success", "failure", "ignored"):
            outcomes.add_metric((*labels, outcome), getattr(policy, outcome))
        voids.add_metric(labels, policy.void)
    return iter((decisions, shadows, outcomes, voids))


def _durations(policies: Iterable[PolicySnapshot]) -> Iterator[Metric]:
    durations = HistogramMetricFamily(
        "admittance_call_duration_seconds",
        "How long admitted calls took that ended in success or failure, where it was measured.",
        labels=POLICY,
    )
    untimed = 0
    for policy in policies:
        latency = policy.latency
        untimed += not latency.complete
        if latency.count or policy.breaker or policy.bulkhead or policy.shedder:
            at_most = dict(latency.buckets())
            buckets = [(label, at_most[bound]) for bound, label in DURATION_BOUNDS.items()]
            durations.add_metric(split_name(policy.name), buckets, latency.sum)
    yield durations
    yield GaugeMetricFamily(
        "admittance_untimed_policies",
        "Policies with calls that no histogram has, because the arena had no room for one.",
        value=untimed,
    )


def _load_shed(policies: Iterable[PolicySnapshot]) -> Metric:
    shed = CounterMetricFamily(
        "load_shed",
        "Calls refused for want of capacity or of time.",
        labels=("service", "reason"),
    )
    totals: Counter[tuple[str, str]] = Counter()
    for policy in policies:
        service, _ = split_name(policy.name)
        for reason in ("shed", "deadline"):
            if policy.shedder or reason in policy.refused:
                totals[service, reason] += policy.refused.get(reason, 0)
    for labels, count in sorted(totals.items()):
        shed.add_metric(labels, count)
    return shed


def _rules(policies: Iterable[PolicySnapshot]) -> Iterator[Metric]:
    circuits = GaugeMetricFamily(
        "circuit_breaker_state",
        "0 closed, 1 half-open or recovering, 2 open; a forced state counts as what it is.",
        labels=POLICY,
    )
    in_use = GaugeMetricFamily("admittance_permits_in_use", "Permits held now.", labels=POLICY)
    limits = GaugeMetricFamily(
        "admittance_permits_limit", "Permits that may be held at once.", labels=POLICY
    )
    tokens = GaugeMetricFamily(
        "admittance_tokens_remaining", "Tokens left in the rate limit now.", labels=POLICY
    )
    retries = GaugeMetricFamily(
        "admittance_retries_remaining", "Retries left in the retry budget now.", labels=POLICY
    )
    throttles = GaugeMetricFamily(
        "admittance_throttle_probability",
        "With which probability the throttle refuses the next call.",
        labels=POLICY,
    )
    degraded = CounterMetricFamily(
        "degradation_events",
        "Calls that were told to do with a lower level of service.",
        labels=("service", "feature"),
    )
    injections = CounterMetricFamily(
        "admittance_chaos_injections", "Calls that an experiment harmed.", labels=POLICY
    )
    experiments = GaugeMetricFamily(
        "admittance_chaos_running", "1 while an experiment runs.", labels=POLICY
    )
    in_flight = GaugeMetricFamily(
        "admittance_calls_in_flight",
        "Calls that hold a place of the load shedder now.",
        labels=(*POLICY, "class"),
    )
    calls_limit = GaugeMetricFamily(
        "admittance_calls_limit",
        "Calls that the load shedder admits at once, now.",
        labels=POLICY,
    )
    for policy in policies:
        labels = split_name(policy.name)
        if policy.shedder:
            for rank, count in policy.shedder.by_class.items():
                in_flight.add_metric((*labels, rank), count)
            calls_limit.add_metric(labels, policy.shedder.limit)
        if policy.chaos:
            injections.add_metric(labels, policy.chaos.injected)
            experiments.add_metric(labels, policy.chaos.state == "running")
        if policy.feature:
            degraded.add_metric(labels, policy.refused.get("degraded", 0))
        if policy.breaker:
            circuits.add_metric(labels, CIRCUIT_STATES[policy.breaker.state])
        if policy.bulkhead:
            in_use.add_metric(labels, policy.bulkhead.in_use)
            limits.add_metric(labels, policy.bulkhead.limit)
        if policy.rate_limit:
            tokens.add_metric(labels, policy.rate_limit.remaining)
        if policy.retry_budget:
            retries.add_metric(labels, policy.retry_budget.remaining)
        if policy.throttle:
            throttles.add_metric(labels, policy.throttle.probability)
    calls = (circuits, in_flight, calls_limit, in_use, limits, tokens)
    return iter((*calls, retries, throttles, degraded, injections, experiments))


def _checks(checks: Mapping[str, CheckSnapshot]) -> Metric:
    family = GaugeMetricFamily(
        "admittance_health_status",
        "0 unknown, 1 healthy, 2 degraded, 3 unhealthy.",
        labels=("check",),
    )
    for name, check in checks.items():
        family.add_metric((name,), STATUSES.index(check.status))
    return family


def _arena(arena: ArenaSnapshot) -> Iterator[Metric]:
    for name, meaning, value in (
        ("arena_owners", "Processes attached to the arena.", arena.owners),
        ("arena_owners_max", "Processes that can be attached to the arena.", arena.owners_max),
        ("arena_rows", "Directory rows in use, one for each policy.", arena.rows),
        ("arena_rows_max", "Directory rows of the arena.", arena.rows_max),
        ("arena_heap_bytes", "Bytes of the arena's heap in use.", arena.heap_used),
        ("arena_heap_bytes_max", "Bytes of the arena's heap.", arena.heap_size),
        ("remote_permits", "Permits held by remote callers.", arena.remote_permits),
        ("config_version", "Version of the policies in force.", arena.config_version),
    ):
        yield GaugeMetricFamily(f"admittance_{name}", meaning, value=value)
