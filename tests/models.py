"""What the rules should do, written as plainly as possible: lists, whole nanoseconds, no packing.

Times are integers of nanoseconds and never wrap here. Each model takes the integer parameters of
`engine.rules`, and answers as the real thing should, down to the nanosecond.
"""

import bisect
import math
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


@dataclass
class Estimate:
    """A limit that is learned; `record` is told each call that ended, as the published code is."""

    limit: float
    least: int
    most: int
    timeout: int = 0

    def set(self, limit: float) -> None:
        self.limit = max(self.least, min(self.most, limit))

    def record(self, now: int, duration: int, in_flight: int, *, dropped: bool) -> None:
        """A fixed limit learns nothing."""


class Aimd(Estimate):
    def record(self, now: int, duration: int, in_flight: int, *, dropped: bool) -> None:  # noqa: ARG002
        if dropped or duration > self.timeout:
            self.set(int(int(self.limit) * 0.9))
        elif 2 * in_flight >= int(self.limit):
            self.set(int(self.limit) + 1)


@dataclass
class Vegas(Estimate):
    shortest: int | None = None
    calls: int = 0
    renewals: int = 0

    def record(self, now: int, duration: int, in_flight: int, *, dropped: bool) -> None:  # noqa: ARG002
        self.calls += 1
        share = 0.5 + math.modf(self.renewals * 0.6180339887498949)[0] / 2
        if share * 30 * self.limit <= self.calls:
            self.calls, self.renewals = 0, self.renewals + 1
            self.shortest = duration
        elif self.shortest is None or duration < self.shortest:
            self.shortest = duration
        else:
            self.judge(math.ceil(self.limit * (1 - self.shortest / duration)), in_flight, dropped)

    def judge(self, queue: int, in_flight: int, dropped: bool) -> None:
        log = max(1, int(math.log10(int(self.limit))))
        if dropped:
            self.set(self.limit - log)
        elif 2 * in_flight >= self.limit:
            if queue <= log:
                self.set(self.limit + 6 * log)
            elif queue < 3 * log:
                self.set(self.limit + log)
            elif queue > 6 * log:
                self.set(self.limit - log)


@dataclass
class Gradient2(Estimate):
    window_end: int = 0
    window: list[tuple[int, int]] = field(default_factory=list)
    averages: int = 0
    long: float = 0.0

    def record(self, now: int, duration: int, in_flight: int, *, dropped: bool) -> None:  # noqa: ARG002
        self.window.append((duration, in_flight))
        if now <= self.window_end:
            return
        window, self.window, self.window_end = self.window, [], now + 1_000_000_000
        if len(window) >= 10:
            most_in_flight = max(in_flight for _, in_flight in window)
            self.judge(sum(duration for duration, _ in window) / len(window), most_in_flight)

    def judge(self, short: float, in_flight: int) -> None:
        factor = 1 / (self.averages + 1) if self.averages < 10 else 2 / 601
        self.averages += 1
        long = self.long = self.long * (1 - factor) + short * factor
        if long / short > 2:
            self.long *= 0.95
        if in_flight >= self.limit / 2:
            gradient = max(0.5, min(1.0, 1.5 * long / short))
            self.set(self.limit * 0.8 + (self.limit * gradient + 4) * 0.2)


@dataclass(eq=False)
class Seat:
    """A call in flight under a shedder; which cell it has is not the model's to say."""

    rank: int
    revocable: bool
    born: int
    in_flight: int = 0
    revoked: bool = False
    cell: int = 0


@dataclass
class Victim:
    """The seat that would have to be taken away."""

    seat: Seat


@dataclass
class ShedderModel:
    """A list of the calls in flight, and what one takes."""

    estimate: Estimate
    shares: tuple[int, ...]
    lag: int
    seats: list[Seat] = field(default_factory=list)
    service: float | None = None
    served: int = 0
    pressure: tuple[int, int] = (1_000, 0)

    def limit(self, now: int) -> int:
        milli, until_ms = self.pressure
        limit = int(self.estimate.limit)
        return max(1, limit * milli // 1_000) if now // MS < until_ms else limit

    def note_lag(self, lag: int, now: int) -> None:
        if lag > self.lag:
            self.pressure = max(500, int(1_000 * self.lag / lag)), now // MS + 1_000

    def service_now(self, now: int) -> int:
        """What a call takes; 0: nobody knows."""
        known = self.service is not None and now - self.served < 1_000_000_000
        return int(self.service) if known else 0

    def enter(
        self, now: int, rank: int, *, revocable: bool, deadline: int
    ) -> Seat | Victim | tuple[str, int]:
        """A seat, whose seat may be had by revoking, or the reason and the wait of a refusal."""
        share = max(1, self.limit(now) * self.shares[rank] // 1_000)
        count = len(self.seats)
        if deadline and deadline < self.service_now(now):
            return "deadline", 0
        if count < share:
            self.seats.append(Seat(rank, revocable, now, count + 1))
            return self.seats[-1]
        victims = [seat for seat in self.seats if seat.revocable and seat.rank > rank]
        if victims:
            return Victim(max(victims, key=lambda seat: (seat.rank, seat.born, -seat.cell)))
        return "shed", int(self.service_now(now) * (count - share + 1) / count)

    def revoke(self, victim: Seat, now: int, rank: int, *, revocable: bool) -> Seat:
        """Give the seat of the victim to a newcomer."""
        victim.revoked = True
        self.seats.remove(victim)
        self.seats.append(Seat(rank, revocable, now, len(self.seats) + 1))
        return self.seats[-1]

    def leave(self, seat: Seat, outcome: str, duration: int, now: int) -> None:
        """Free a seat, if nobody took it away, and learn."""
        if seat.revoked:
            return
        self.seats.remove(seat)
        if outcome == "ignore":
            return
        if outcome == "success" and duration > 0:
            before = self.service if self.service_now(now) else duration
            self.service, self.served = before + (duration - before) / 16, now
        if duration > 0:
            self.estimate.record(now, duration, seat.in_flight, dropped=outcome == "failure")


def shedder_model(
    estimator: int, initial: int, least: int, most: int, timeout: int, *rest: int
) -> ShedderModel:
    """The model of a rule's integer parameters."""
    kind = (Estimate, Aimd, Vegas, Gradient2)[estimator]
    return ShedderModel(kind(initial, least, most, timeout), rest[:5], rest[5])


@dataclass(eq=False)
class Admission:
    """What an admitted caller of a policy holds."""

    admitted_at: int
    gate: Pass | None
    lease: Lease | None
    seat: Seat | None = None


@dataclass(frozen=True)
class Wish:
    """What a caller says of its work; the rank is 0 for critical to 4, a deadline of 0 is none."""

    rank: int = 2
    revocable: bool = False
    deadline: int = 0
    attempt: int = 1


@dataclass
class PolicyModel:
    """All rules, asked in the order below; a refusal leaves them as they were."""

    breaker: BreakerModel | None = None
    shedder: ShedderModel | None = None
    bulkhead: BulkheadModel | None = None
    budget: BudgetModel | None = None
    rate: RateModel | SlidingModel | FixedModel | None = None

    def acquire(self, now: int, cost: int, wish: Wish) -> Admission | tuple[str, int]:
        """An admission, or the reason and the wait of a refusal."""
        if cost < 1 or (self.rate and cost > self.rate.burst):
            return "invalid", 0
        gate = lease = seat = None
        if self.breaker:
            gate, wait = self.breaker.enter(now)
            if gate is None:
                return "circuit_open", wait
        if self.shedder:
            seat = self.shedder.enter(
                now, wish.rank, revocable=wish.revocable, deadline=wish.deadline
            )
            if isinstance(seat, tuple):
                self._hand_back(gate, None, None, now)
                return seat
        if self.bulkhead:
            lease = self.bulkhead.take(now)
            if lease is None:
                self._hand_back(gate, None, seat, now)
                return "bulkhead_full", 0
        if self.budget and wish.attempt > 1 and (wait := self.budget.take(now)):
            self._hand_back(gate, lease, seat, now)
            return "retry_budget", wait
        if self.rate and (wait := self.rate.take(now, cost)):
            self._hand_back(gate, lease, seat, now)
            if self.budget and wish.attempt > 1:
                self.budget.moves.pop()
            return "rate_limited", wait
        if self.shedder and isinstance(seat, Victim):
            seat = self.shedder.revoke(seat.seat, now, wish.rank, revocable=wish.revocable)
        if self.budget and wish.attempt == 1:
            self.budget.give(now)
        return Admission(now, gate, lease, seat)

    def _hand_back(
        self, gate: Pass | None, lease: Lease | None, seat: Seat | Victim | None, now: int
    ) -> None:
        if gate and self.breaker:
            self.breaker.report(gate, "ignore", 0, now)
        if lease and self.bulkhead:
            self.bulkhead.held.remove(lease)
        if isinstance(seat, Seat) and self.shedder:
            self.shedder.seats.remove(seat)

    def report(self, admission: Admission, outcome: str, now: int) -> bool:
        """Settle an admission; False where the report is void."""
        valid = True
        if admission.lease and self.bulkhead:
            valid = self.bulkhead.settle(admission.lease, now)
        if admission.seat and self.shedder:
            learnt = outcome if valid else "ignore"
            self.shedder.leave(admission.seat, learnt, now - admission.admitted_at, now)
        if admission.gate and self.breaker:
            duration = now - admission.admitted_at
            valid &= self.breaker.report(admission.gate, outcome, duration, now)
        return valid
