"""What the rules should do, written as plainly as possible: lists, whole nanoseconds, no packing.

Times are integers of nanoseconds and never wrap here. Each model takes the integer parameters of
`engine.rules`, and answers as the real thing should, down to the nanosecond.
"""

from dataclasses import dataclass, field

MS = 1_000_000
TICK = 1 << 24
ALL_OUT_WAIT = 100 * MS


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


@dataclass(eq=False)
class Pass:
    """What a caller got from a breaker: its generation, and while half-open a place."""

    generation: int
    place: int | None = None
    probe: Lease | None = None


@dataclass
class BreakerModel:
    """A state, the outcomes since it closed, and the places of a half-open generation's probes.

    A place is empty, has a probe out, or says how its probe ended. Nobody watches the clock: a
    probe that expired has failed once a caller looks at its place in search of an empty one.
    """

    window: int
    min_calls: int
    failure_ppm: int
    open_for: int
    probes: int
    probe_ppm: int
    probe_timeout: int
    state: str = "closed"
    generation: int = 0
    opened: int = 0
    rest_until: int = 0
    outcomes: list[bool] = field(default_factory=list)
    places: list[Lease | str | None] = field(default_factory=list)

    @property
    def passes_needed(self) -> int:
        return -(-self.probes * self.probe_ppm // 1_000_000)

    def enter(self, now: int) -> tuple[Pass | None, int]:
        """Let a caller through, or say how long to wait."""
        if self.state == "open" and now >= self.rest_until:
            self._move("half_open")
        if self.state == "closed":
            return Pass(self.generation), 0
        if self.state == "half_open":
            if found := self._take_place(now):
                return found, 0
            self._decide(now)
        return None, self.rest_until - now if self.state == "open" else ALL_OUT_WAIT

    def report(self, given: Pass, outcome: str, now: int) -> bool:
        """Count an outcome; False where it is void."""
        if given.generation != self.generation:
            return False
        if given.probe is not None:
            return self._report_probe(given, outcome, now)
        if outcome != "ignore":
            self._record(outcome == "failure", now)
        return True

    def window_now(self) -> tuple[int, int]:
        """Calls and failures among the last `window` calls."""
        last = self.outcomes[-self.window :]
        return len(last), sum(last)

    def _take_place(self, now: int) -> Pass | None:
        for place, content in enumerate(self.places):
            if content is None:
                probe = Lease(expiry_tick(now, self.probe_timeout))
                self.places[place] = probe
                return Pass(self.generation, place, probe)
            if isinstance(content, Lease) and content.expired(now):
                self.places[place] = "failed"
        return None

    def _report_probe(self, given: Pass, outcome: str, now: int) -> bool:
        if self.places[given.place] is not given.probe:
            return False
        late = given.probe.expired(now)
        ends = {"success": "passed", "failure": "failed", "ignore": None}
        self.places[given.place] = "failed" if late else ends[outcome]
        self._decide(now)
        return not late

    def _record(self, failed: bool, now: int) -> None:
        self.outcomes.append(failed)
        calls, failures = self.window_now()
        enough = calls >= self.min_calls and failures > 0
        if enough and failures * 1_000_000 >= self.failure_ppm * calls:
            self._open(now)

    def _decide(self, now: int) -> None:
        if self.places.count("passed") >= self.passes_needed:
            self._move("closed")
        elif self.places.count("failed") > self.probes - self.passes_needed:
            self._open(now)

    def _open(self, now: int) -> None:
        self._move("open")
        self.opened += 1
        self.rest_until = -(-(now + self.open_for) // MS) * MS

    def _move(self, state: str) -> None:
        self.state = state
        self.generation += 1
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
    """Breaker, bulkhead, rate limit, asked in this order; a refusal leaves all as they were."""

    breaker: BreakerModel | None = None
    bulkhead: BulkheadModel | None = None
    rate: RateModel | None = None

    def acquire(self, now: int, cost: int) -> Admission | tuple[str, int]:
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
        if self.rate and (wait := self.rate.take(now, cost)):
            self._hand_back(gate, lease, now)
            return "rate_limited", wait
        return Admission(now, gate, lease)

    def _hand_back(self, gate: Pass | None, lease: Lease | None, now: int) -> None:
        if gate and self.breaker:
            self.breaker.report(gate, "ignore", now)
        if lease and self.bulkhead:
            self.bulkhead.held.remove(lease)

    def report(self, admission: Admission, outcome: str, now: int) -> bool:
        """Settle an admission; False where the report is void."""
        valid = True
        if admission.lease and self.bulkhead:
            valid = self.bulkhead.settle(admission.lease, now)
        if admission.gate and self.breaker:
            valid &= self.breaker.report(admission.gate, outcome, now)
        return valid
