"""What the rules should do, written as plainly as possible: lists, whole nanoseconds, no packing.

Times are integers of nanoseconds and never wrap here. Each model takes the integer parameters of
`engine.rules`, and answers as the real thing should, down to the nanosecond.
"""

import bisect
from dataclasses import dataclass, field

MS = 1_000_000
TICK = 1 << 24
ALL_OUT_WAIT = 100 * MS
CALENDAR_TICK = 1 << 23


def expiry_tick(now: int, life: int) -> int | None:
    """The tick at which a permit taken now ends, rounded up; None: never.

    A multiple of 2^32 is written as zero, which means none, so it is put off by one.
    """
    if life <= 0:
        return None
    tick = (now + life) // TICK + 1
    return tick + 1 if tick % 2**32 == 0 else tick


@dataclass(eq=False)
class Lease:
    """A permit of a bulkhead or of a probe."""

    tick: int | None
    settled: bool = False

    def expired(self, now: int) -> bool:
        return self.tick is not None and now // TICK >= self.tick


@dataclass
class RateModel:
    """A bucket, computed anew from everything that was ever taken."""

    interval: int
    burst: int
    taken: list[tuple[int, int]] = field(default_factory=list)

    def debt(self, now: int) -> int:
        """The time until the bucket is full again."""
        full_at = 0
        for when, cost in self.taken:
            full_at = max(full_at, when) + cost * self.interval
        return max(0, full_at - now)

    def remaining(self, now: int) -> int:
        return max(0, self.burst - -(-self.debt(now) // self.interval))

    def wait(self, now: int, cost: int) -> int:
        """How long until so many tokens are there; 0: they are."""
        return max(0, self.debt(now) + (cost - self.burst) * self.interval)

    def take(self, now: int, cost: int) -> int:
        """Take the tokens if they are there; how long to wait if not."""
        wait = self.wait(now, cost)
        if wait == 0:
            self.taken.append((now, cost))
        return wait


@dataclass
class SlidingModel:
    """Every token with its time; the window before counts for the part still covered."""

    unit: int
    burst: int
    taken: list[tuple[int, int]] = field(default_factory=list)

    def remaining(self, now: int) -> int:
        index, past = divmod(now, self.unit)
        before, here = (
            sum(cost for when, cost in self.taken if when // self.unit == window)
            for window in (index - 1, index)
        )
        left_us = -(-(self.unit - past) // 1_000)
        return max(0, self.burst - here - -(-before * left_us // (self.unit // 1_000)))

    def wait(self, now: int, cost: int) -> int:
        """How long until so many tokens are there, found by halving."""
        return bisect.bisect_left(
            range(2 * self.unit), True, key=lambda past: self.remaining(now + past) >= cost
        )

    def take(self, now: int, cost: int) -> int:
        wait = self.wait(now, cost)
        if wait == 0:
            self.taken.append((now, cost))
        return wait


@dataclass
class FixedModel:
    """Tokens by the calendar's window, whose number changes up to a tick late."""

    unit: int
    burst: int
    taken: list[tuple[int, int]] = field(default_factory=list)

    def end(self, when: int) -> int:
        """When the window that was opened then is over."""
        return -(-((when // self.unit + 1) * self.unit) // CALENDAR_TICK) * CALENDAR_TICK

    def spent(self, now: int) -> tuple[int, int]:
        """Tokens of the window that is open, and its end."""
        end = spent = 0
        for when, cost in self.taken:
            if when >= end:
                end, spent = self.next_end(end, when), 0
            spent += cost
        return (spent, end) if now < end else (0, end)

    def next_end(self, end: int, when: int) -> int:
        """A window opened within the tick after the boundary is the next one all the same."""
        return max(self.end(when), self.end(end) if end else 0)

    def remaining(self, now: int) -> int:
        return self.burst - self.spent(now)[0]

    def take(self, now: int, cost: int) -> int:
        spent, end = self.spent(now)
        if spent + cost > self.burst:
            return end - now
        self.taken.append((now, cost))
        return 0


def rate_model(
    interval: int, burst: int, algorithm: int, unit: int, *_: int
) -> RateModel | SlidingModel | FixedModel:
    """The model of a rule's integer parameters."""
    if algorithm == 0:
        return RateModel(interval, burst)
    return (SlidingModel if algorithm == 1 else FixedModel)(unit, burst)


@dataclass
class BudgetModel:
    """A retry budget: what was taken and put in, added up anew; amounts are times."""

    interval: int
    burst: int
    deposit: int
    opening: int
    born: int
    moves: list[tuple[int, int]] = field(default_factory=list)

    def debt(self, now: int) -> int:
        """The time until the balance is full again."""
        debt, last = (self.burst - self.opening) * self.interval, self.born
        for when, amount in (*self.moves, (now, 0)):
            debt, last = max(0, max(0, debt - (when - last)) + amount), when
        return debt

    def remaining(self, now: int) -> int:
        return (self.burst * self.interval - self.debt(now)) // self.interval

    def take(self, now: int) -> int:
        """Take a retry if there is one; how long to wait if not."""
        wait = self.debt(now) + self.interval - self.burst * self.interval
        if wait <= 0:
            self.moves.append((now, self.interval))
        return max(0, wait)

    def give(self, now: int) -> None:
        self.moves.append((now, -self.deposit))


@dataclass
class BulkheadModel:
    """A list of permits."""

    limit: int
    hold: int
    held: list[Lease] = field(default_factory=list)

    def in_use(self, now: int) -> int:
        return sum(not lease.expired(now) for lease in self.held)

    def take(self, now: int) -> Lease | None:
        if self.in_use(now) >= self.limit:
            return None
        self.held.append(Lease(expiry_tick(now, self.hold)))
        return self.held[-1]

    def settle(self, lease: Lease, now: int) -> bool:
        """Give a permit back; False where it had expired."""
        self.held.remove(lease)
        return not lease.expired(now)


@dataclass
class ThrottleModel:
    """What became of each call that is known to have ended, and when."""

    k_milli: int
    bucket: int
    ended: list[tuple[int, str]] = field(default_factory=list)

    def window_now(self, now: int) -> tuple[int, int]:
        """Requests and accepts."""
        first = now // self.bucket - 10
        held = [how for when, how in self.ended if when // self.bucket > first]
        return len(held), held.count("success")

    def probability(self, now: int) -> float:
        requests, accepts = self.window_now(now)
        return max(0, requests - self.k_milli * accepts / 1_000) / (requests + 1)


@dataclass
class FlagModel:
    """What an operator forced and until when, to the millisecond that follows."""

    enabled: bool
    forced: bool | None = None
    until: int = 0
    reason: str = ""

    def flip(self, on: bool, life: int, now: int, reason: str) -> None:
        self.forced, self.until, self.reason = on, -(-(now + life) // MS) * MS, reason

    def clear(self, now: int) -> bool:
        was = self.in_force(now)
        self.until = 0
        return was

    def in_force(self, now: int) -> bool:
        return now < self.until

    def is_on(self, now: int) -> bool:
        return self.forced if self.in_force(now) else self.enabled

    def shown(self, now: int) -> tuple[str, str]:
        if not self.in_force(now):
            return "configured", ""
        return "on" if self.forced else "off", self.reason


@dataclass
class CheckModel:
    """The results since the last silence, and the status that they made of it."""

    life: int
    fail_after: int
    ok_after: int
    status: str = "unknown"
    results: list[str] = field(default_factory=list)
    until: int = 0

    def shown(self, now: int) -> str:
        return self.status if now < self.until else "unknown"

    def run(self) -> int:
        """How many of the last results were alike: bad, or not."""
        kinds = [result == "unhealthy" for result in reversed(self.results)]
        return next((i for i, kind in enumerate(kinds) if kind != kinds[0]), len(kinds))

    def report(self, result: str, now: int) -> None:
        if now >= self.until:
            self.status, self.results = "unknown", []
        self.results.append(result)
        if result == "unhealthy":
            if self.run() >= self.fail_after:
                self.status = result
        elif self.status != "unhealthy" or self.run() >= self.ok_after:
            self.status = result
        self.until = -(-(now + self.life) // MS) * MS


@dataclass
class TrialModel:
    """A run with its end, and what became of call n in any of them."""

    runs: int = 0
    until: int = 0
    asked: int = 0
    injected: int = 0
    fates: dict[int, bool] = field(default_factory=dict)

    def start(self, life: int, now: int) -> None:
        self.runs, self.until, self.asked = self.runs + 1, -(-(now + life) // MS) * MS, 0

    def stop(self, now: int) -> bool:
        was = now < self.until
        self.until = 0
        return was

    def agrees(self, harmed: bool, now: int) -> bool:
        """Whether a call may have ended so: unharmed after the end, else as in every other run."""
        if now >= self.until:
            return not harmed
        self.asked += 1
        self.injected += harmed
        return self.fates.setdefault(self.asked, harmed) == harmed


@dataclass(eq=False)
class Pass:
    """What a caller got from a breaker: its generation, and while half-open a place."""

    generation: int
    place: int | None = None
    probe: Lease | None = None


@dataclass(frozen=True)
class Outcome:
    """A call that a breaker's window holds."""

    when: int
    failed: bool
    slow: bool


@dataclass
class BreakerModel:
    """A state, the outcomes since it closed, and the places of a half-open generation's probes.

    A place is empty, has a probe out, or says how its probe ended. Nobody watches the clock: a
    probe that expired has failed once a caller looks at its place in search of an empty one. There
    is no jitter here.
    """

    window: int
    bucket: int
    consecutive: int
    min_calls: int
    failure_ppm: int
    slow_ppm: int
    slow_after: int
    open_for: int
    open_max: int
    backoff_milli: int
    jitter_milli: int
    probes: int
    probe_ppm: int
    probe_timeout: int
    ramp: int
    state: str = "closed"
    generation: int = 0
    opened: int = 0
    until: int = 0
    asked: int = 0
    openings: int = 0
    opening: int | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    places: list[Lease | str | None] = field(default_factory=list)

    @property
    def passes_needed(self) -> int:
        return -(-self.probes * self.probe_ppm // 1_000_000)

    def shown(self, now: int) -> str:
        """The state; one that was forced is over when its time is."""
        self._pass_time(now)
        return "open" if self.state == "forced_open" and now >= self.until else self.state

    def enter(self, now: int) -> tuple[Pass | None, int]:
        """Let a caller through, or say how long to wait."""
        self._pass_time(now)
        if self.state in ("open", "forced_open") and now >= self.until:
            self._move("half_open", now)
        if self.state in ("closed", "forced_closed"):
            return Pass(self.generation), 0
        if self.state == "recovering":
            self.asked += 1
            one_of = 20 if 2 * (self.until - now) > self.ramp else 4
            return (Pass(self.generation), 0) if self.asked % one_of == 1 else (None, ALL_OUT_WAIT)
        if self.state == "half_open":
            if found := self._take_place(now):
                return found, 0
            self._decide(now)
        waits = self.state in ("open", "forced_open")
        return None, self.until - now if waits else ALL_OUT_WAIT

    def report(self, given: Pass, outcome: str, duration: int, now: int) -> bool:
        """Count an outcome; False where it is void."""
        self._pass_time(now)
        slow = self.slow_after != 0 and duration > self.slow_after
        if given.generation != self.generation:
            return False
        if given.probe is not None:
            return self._report_probe(given, outcome, slow, now)
        if outcome != "ignore":
            self._record(Outcome(now, outcome == "failure", slow), now)
        return True

    def force(self, state: str, life: int, now: int) -> None:
        self._move(state, now + life)

    def unforce(self, now: int) -> bool:
        """End what was forced; False where nothing was."""
        shown = self.shown(now)
        if shown == "forced_open":
            self._move("half_open", now)
        if shown == "forced_closed":
            self.state = "closed"
        return shown in ("forced_open", "forced_closed")

    def window_now(self, now: int) -> tuple[int, int, int]:
        """Calls, failures and slow calls in the window, or failures in a row."""
        if self.consecutive:
            ends_well = next((i for i, o in enumerate(self.outcomes[::-1]) if not o.failed), None)
            row = len(self.outcomes) if ends_well is None else ends_well
            return row, row, 0
        last = self.outcomes[-self.window :] if self.window else self._in_buckets(now, 10)
        return len(last), sum(o.failed for o in last), sum(o.slow for o in last)

    def _in_buckets(self, now: int, count: int) -> list[Outcome]:
        """The outcomes of the last `count` tenths of the window, the present one included."""
        first = now // self.bucket - count
        return [o for o in self.outcomes if o.when // self.bucket > first]

    def _take_place(self, now: int) -> Pass | None:
        for place, content in enumerate(self.places):
            if content is None:
                probe = Lease(expiry_tick(now, self.probe_timeout))
                self.places[place] = probe
                return Pass(self.generation, place, probe)
            if isinstance(content, Lease) and content.expired(now):
                self.places[place] = "failed"
        return None

    def _report_probe(self, given: Pass, outcome: str, slow: bool, now: int) -> bool:
        if self.places[given.place] is not given.probe:
            return False
        late = given.probe.expired(now)
        ends = {"success": "failed" if slow else "passed", "failure": "failed", "ignore": None}
        self.places[given.place] = "failed" if late else ends[outcome]
        self._decide(now)
        return not late

    def _record(self, outcome: Outcome, now: int) -> None:
        self.outcomes.append(outcome)
        if self.state != "forced_closed" and self._trips(outcome, now):
            self._open(now)

    def _trips(self, outcome: Outcome, now: int) -> bool:
        calls, failures, slow = self.window_now(now)
        if self.consecutive:
            return outcome.failed and failures >= self.consecutive
        if not (outcome.failed or outcome.slow) and not self._may_complete(now):
            return False
        too_many_failed = failures and failures * 1_000_000 >= self.failure_ppm * calls
        too_many_slow = slow and slow * 1_000_000 >= self.slow_ppm * calls
        return calls >= self.min_calls and bool(too_many_failed or too_many_slow)

    def _may_complete(self, now: int) -> bool:
        """Whether a success may be the call that completes min_calls."""
        if self.window:
            return len(self.outcomes) == self.min_calls
        alike = [o for o in self._in_buckets(now, 1) if not (o.failed or o.slow)]
        return len(alike) <= self.min_calls

    def _decide(self, now: int) -> None:
        if self.places.count("passed") >= self.passes_needed:
            self._move("recovering" if self.ramp else "closed", now + self.ramp)
        elif self.places.count("failed") > self.probes - self.passes_needed:
            self._open(now)

    def _open(self, now: int) -> None:
        recovered = self.state == "closed" or self.opening is None
        # By half-open two transitions lie between, three by a recovery or by force.
        in_a_row = not recovered and self.generation + 1 - self.opening <= 3
        self.openings = min(self.openings + 1, 255) if in_a_row else 0
        rest = self.open_for
        for _ in range(self.openings):
            if rest < self.open_max:
                rest = min(rest * self.backoff_milli // 1_000, self.open_max)
        self._move("open", now + rest)
        self.opening = self.generation
        self.opened += 1

    def _pass_time(self, now: int) -> None:
        if self.state in ("recovering", "forced_closed") and now >= self.until:
            self.state = "closed"

    def _move(self, state: str, until: int) -> None:
        self.state = state
        self.generation += 1
        self.until = -(-until // MS) * MS
        self.asked = 0
        self.outcomes = []
        self.places = [None] * self.probes


@dataclass(eq=False)
class Admission:
    """What an admitted caller of a policy holds."""

    admitted_at: int
    gate: Pass | None
    lease: Lease | None


@dataclass
class PolicyModel:
    """All rules, asked in the order below; a refusal leaves them as they were."""

    breaker: BreakerModel | None = None
    bulkhead: BulkheadModel | None = None
    budget: BudgetModel | None = None
    rate: RateModel | SlidingModel | FixedModel | None = None

    def acquire(self, now: int, cost: int, attempt: int = 1) -> Admission | tuple[str, int]:
        """An admission, or the reason and the wait of a refusal."""
        if cost < 1 or (self.rate and cost > self.rate.burst):
            return "invalid", 0
        gate = lease = None
        if self.breaker:
            gate, wait = self.breaker.enter(now)
            if gate is None:
                return "circuit_open", wait
        if self.bulkhead:
            lease = self.bulkhead.take(now)
            if lease is None:
                self._hand_back(gate, None, now)
                return "bulkhead_full", 0
        if self.budget and attempt > 1 and (wait := self.budget.take(now)):
            self._hand_back(gate, lease, now)
            return "retry_budget", wait
        if self.rate and (wait := self.rate.take(now, cost)):
            self._hand_back(gate, lease, now)
            if self.budget and attempt > 1:
                self.budget.moves.pop()
            return "rate_limited", wait
        if self.budget and attempt == 1:
            self.budget.give(now)
        return Admission(now, gate, lease)

    def _hand_back(self, gate: Pass | None, lease: Lease | None, now: int) -> None:
        if gate and self.breaker:
            self.breaker.report(gate, "ignore", 0, now)
        if lease and self.bulkhead:
            self.bulkhead.held.remove(lease)

    def report(self, admission: Admission, outcome: str, now: int) -> bool:
        """Settle an admission; False where the report is void."""
        valid = True
        if admission.lease and self.bulkhead:
            valid = self.bulkhead.settle(admission.lease, now)
        if admission.gate and self.breaker:
            duration = now - admission.admitted_at
            valid &= self.breaker.report(admission.gate, outcome, duration, now)
        return valid
