"""What the demo claims, judged from the records of all who took part.

The witnesses are independent of one another: the payment service's log says what arrived, the
workers' records say what was asked and answered, the arena says what state the circuit was in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
from plan import Call, Request, Script
from watch import Period

from engine.rules import Breaker
from engine.runtime import PolicySnapshot

SLACK_S = 1.0  # for a busy machine; the rest of an open circuit is twice as long


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that was recorded, by the parameters it is judged by."""

    script: Script
    rule: Breaker
    workers: list[str]
    calls: list[Call]
    requests: list[Request]
    periods: list[Period]
    final: PolicySnapshot

    @property
    def admitted(self) -> list[Call]:
        return [call for call in self.calls if call.admitted]

    @property
    def open(self) -> list[Period]:
        return [period for period in self.periods if period.state == "open"]


class Claim(msgspec.Struct, frozen=True):
    """A promise, the figure that was found, and whether it was kept."""

    text: str
    figure: str
    kept: bool


def judge(evidence: Evidence) -> list[Claim]:
    """Judge every claim; where the circuit never opened, that is the one that failed."""
    if not evidence.open:
        return [Claim("the circuit opens", "it never did", kept=False)]
    claims: list[Callable[[Evidence], Claim]] = [
        one_window_for_all,
        nothing_while_open,
        few_probes,
        closed_by_itself,
        quick_recovery,
        exact_counters,
    ]
    return [claim(evidence) for claim in claims]


def one_window_for_all(evidence: Evidence) -> Claim:
    """Count the failing calls that were asked for before the circuit had refused every worker.

    The window is full of successes when the outage begins, so the circuit opens with the failure
    that makes failure_rate x window of them: those before it are recorded, and what else arrives
    was in flight at that moment, the call that opens it among them.
    """
    opens = evidence.open[0]
    known = max(_first_refusal(evidence, worker) for worker in evidence.workers)
    failing = _failing_before(evidence, known)
    needed = math.ceil(evidence.rule.failure_rate * evidence.rule.window)
    began = evidence.periods[evidence.periods.index(opens) - 1].until
    in_flight = sum(
        not call.ok and call.asked <= opens.since and call.finished >= began
        for call in evidence.admitted
    )
    most = needed - 1 + in_flight
    return Claim(
        f"one window's worth of failing calls before it opened for all {len(evidence.workers)}",
        f"{failing} reached the payment service: {needed} open it, at most {most - needed} more "
        f"were in flight ({len(evidence.workers)} breakers of their own take "
        f"{needed * len(evidence.workers)} or more)",
        kept=needed <= failing <= most,
    )


def _first_refusal(evidence: Evidence, worker: str) -> float:
    refused = (
        call.answered
        for call in evidence.calls
        if call.worker == worker and call.verdict == "circuit_open"
    )
    return min(refused, default=math.inf)


def _failing_before(evidence: Evidence, known: float) -> int:
    asked = {call.id: call.asked for call in evidence.admitted}
    return sum(
        request.status != 200 and asked.get(request.id, 0.0) <= known
        for request in evidence.requests
    )


def nothing_while_open(evidence: Evidence) -> Claim:
    """Look for a call admitted, and a request that arrived without an earlier admission."""
    asked = {call.id: call.asked for call in evidence.admitted}
    inside = [
        call
        for period in evidence.open
        for call in evidence.calls
        if call.asked > period.since and call.answered < period.until
    ]
    admitted = sum(call.admitted for call in inside)
    arrived = sum(
        period.since < request.arrived < period.until
        and asked.get(request.id, math.inf) > period.since
        for period in evidence.open
        for request in evidence.requests
    )
    seconds = sum(period.until - period.since for period in evidence.open)
    return Claim(
        "nothing was admitted while it was open",
        f"{admitted} of {len(inside)} calls in {seconds:.2f} s open; "
        f"{arrived} requests arrived that were not under way when it opened",
        kept=bool(inside) and admitted == arrived == 0,
    )


def few_probes(evidence: Evidence) -> Claim:
    """Count the calls of each half-open generation, and those at the payment service at once."""
    ends = [_half_open_end(evidence, index) for index in range(len(evidence.open))]
    spans = [(period.until, end) for period, end in zip(evidence.open, ends, strict=True)]
    counts = [_admitted_within(evidence, *span) for span in spans]
    at_once = [_most_at_once(evidence.requests, *span) for span in spans]
    return Claim(
        f"at most {evidence.rule.probes} probes at once, and in all, each time it was half-open",
        f"admitted {_listed(counts)}; most at the payment service at once {_listed(at_once)}",
        kept=all(0 < count <= evidence.rule.probes for count in counts)
        and max(at_once) <= evidence.rule.probes,
    )


def _half_open_end(evidence: Evidence, index: int) -> float:
    """Return an instant when the half-open state after the index-th rest ended, or shortly before.

    Either the circuit was seen open again; or it closed, and not before as many probes had begun
    to report success as that takes.
    """
    if index + 1 < len(evidence.open):
        return evidence.open[index + 1].since
    passes = math.ceil(evidence.rule.probes * evidence.rule.probe_success_rate)
    began = evidence.open[index].until
    after = (call for call in evidence.admitted if call.answered >= began)
    passed = sorted(call.reported for call in after if call.ok)
    return passed[passes - 1] if len(passed) >= passes else began


def _admitted_within(evidence: Evidence, since: float, until: float) -> int:
    return sum(since <= call.answered < until for call in evidence.admitted)


def _most_at_once(requests: list[Request], since: float, until: float) -> int:
    """Return the most requests that were at the payment service at one moment."""
    arrivals = [request.arrived for request in requests if since <= request.arrived <= until]
    return max((_at(requests, moment) for moment in arrivals), default=0)


def _at(requests: list[Request], moment: float) -> int:
    return sum(request.arrived <= moment < request.answered for request in requests)


def closed_by_itself(evidence: Evidence) -> Claim:
    """Look at the last transition, and at all calls that were asked for after it."""
    last = evidence.periods[-1]
    after = [call for call in evidence.calls if call.asked > last.since]
    served = sum(call.ok for call in after)
    refused = sum(call.verdict == "circuit_open" for call in after)
    states = " > ".join(period.state.replace("_", "-") for period in evidence.periods)
    breaker = evidence.final.breaker
    closed = breaker is not None and last.state == breaker.state == "closed"
    return Claim(
        "it closed by itself",
        f"{states}; {served} calls served since, {refused} refused by the circuit",
        kept=closed and served > 0 and refused == 0,
    )


def quick_recovery(evidence: Evidence) -> Claim:
    """Measure from the payment service's end of trouble to the closed circuit."""
    bound = float(evidence.rule.open_for) + SLACK_S
    last = evidence.periods[-1]
    took = last.since - evidence.script.fails_until if last.state == "closed" else math.inf
    return Claim(
        f"it recovered within {bound:g} s of the payment service",
        f"closed {took:.2f} s after the payment service was fine again",
        kept=0 <= took <= bound,
    )


def exact_counters(evidence: Evidence) -> Claim:
    """Compare the arena's counters with what the workers wrote down, and with what arrived."""
    final = evidence.final
    counted = Counter[str]({f"refused {reason}": n for reason, n in final.refused.items()})
    counted.update(
        admitted=final.admitted, success=final.success, failure=final.failure, void=final.void
    )
    recorded = Counter(mark for call in evidence.calls for mark in _marks(call))
    arrived = {request.id for request in evidence.requests}
    strangers = len(arrived ^ {call.id for call in evidence.admitted})
    return Claim(
        "the arena's counters are exact",
        f"{counted['admitted']} admitted, {recorded['admitted']} recorded by the workers, "
        f"{len(evidence.requests)} arrived; {sum(final.refused.values())} refused, {final.void} "
        "reported too late",
        kept=+counted == recorded and not strangers,
    )


def _marks(call: Call) -> Iterator[str]:
    if not call.admitted:
        yield f"refused {call.verdict}"
        return
    yield "admitted"
    yield ("success" if call.ok else "failure") if call.counted else "void"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def transitions(evidence: Evidence) -> Iterator[str]:
    """Yield one line for each change of the circuit, in seconds of the script."""
    for before, after in pairwise(evidence.periods):
        at = after.since - evidence.script.start
        yield f"{at:6.2f} s  {before.state} -> {after.state}".replace("_", "-")
