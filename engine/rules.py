"""One frozen record per rule: the only place with defaults, ranges and units.

Durations are seconds; wherever one is accepted, so is a string such as "250ms", "30s", "5min" or
"1h". A wrong value raises ValueError with the parameter, the value and the range.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, asdict, force_setattr

NAME = re.compile(r"[a-z0-9._/-]{1,128}")
CHAOS_VARIABLE = "ENGINE_CHAOS"
NAME_WORDS = "a name is 1 to 128 characters of a-z, 0-9 and . _ / -"

_UNIT_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "day": 86_400_000_000_000,
    "month": 28 * 86_400_000_000_000,
}
_SECOND_NS = _UNIT_NS["s"]
_FASTEST_HZ = 10_000_000
_LONGEST_REFILL_NS = 10 * 365 * _UNIT_NS["day"]
_USUAL_MIN_CALLS = 20
_USUAL_OPEN_MAX_S = 300.0
_SHORTEST_WINDOW_S, _LONGEST_WINDOW_S = 1, 3_600
_BUCKETS = 10
_SHORTEST_FORCE_S, _LONGEST_FORCE_S = 0.01, 30 * 86_400
_ALGORITHMS = ("gcra", "sliding_window", "fixed_window")
_LARGEST_WINDOW = {"sliding_window": 100_000, "fixed_window": 250_000_000}
_OVERFLOWS = ("refuse", "shared")
_LARGEST_BURST = 1_000_000_000
_MOST_OVERRIDES = 1_024
_LONGEST_CHECK_NAME = 64
_LIVES_OF_A_CACHE = 3  # one refresh may be missed, and the next be late
_IMPACTS = ("latency", "error", "abort", "hang")
_DELAYS = ("latency", "hang")
_MODES = ("enforce", "shadow", "off")
# By estimator, the usual initial, least and greatest limit; as published by concurrency-limits.
_USUAL_LIMITS = {"aimd": (20, 20, 200), "vegas": (20, 1, 1_000), "gradient2": (20, 20, 200)}
_ESTIMATORS = tuple(_USUAL_LIMITS)
_USUAL_TIMEOUT_S = 5.0
# Of the limit, by class from critical to sheddable; whoever would exceed his is shed.
_SHARES = (1.0, 0.95, 0.85, 0.7, 0.5)


def seconds(text: str) -> float:
    """Return the seconds in a duration such as "250ms" or "1h"; ValueError for any other text."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|min|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    amount, unit = float(match[1]), match[2]
    return amount / 1_000 if unit == "ms" else amount * (_UNIT_NS[unit] // _SECOND_NS)


def _count_and_unit_ns(rate: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,15})/(s|min|h|day|month)", rate)
    if match is None:
        raise ValueError(f"{rate!r} is not a rate")
    return int(match[1]), _UNIT_NS[match[2]]


def _rate(text: str) -> str:
    count, unit_ns = _count_and_unit_ns(text)
    if not 1 <= count <= _FASTEST_HZ * unit_ns // _SECOND_NS:
        raise ValueError(f"{text!r} is out of range")
    return text


def _span(text: str) -> str:
    if not _SHORTEST_WINDOW_S <= seconds(text) <= _LONGEST_WINDOW_S:
        raise ValueError(f"{text!r} is out of range")
    return text


def _check_name(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_CHECK_NAME or NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no name of a check")
    return text


def _key_name(text: str) -> str:
    if not 1 <= len(text) <= 64:
        raise ValueError(f"{text!r} has not 1 to 64 characters")
    return text


def _either(names: tuple[str, ...]) -> str:
    *others, last = map('"{}"'.format, names)
    return f"one of {', '.join(others)} or {last}"


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is none of {names}")
        return text

    return read


_RATE_WORDS = f'a rate from "1/month" to "{_FASTEST_HZ}/s" (per s, min, h, day or month)'

# The function after a text form's Meta reads it.
Fraction = Annotated[float, Meta(gt=0, le=1)]
Percentage = Annotated[float, Meta(ge=0, le=100)]
Switch = Annotated[bool, Meta(description="a boolean, true or false")]
Duration = Annotated[str, Meta(description='a duration such as "250ms" or "30s"'), seconds]
Span = Annotated[str, Meta(description='a duration from "1s" to "1h"'), _span]
Rate = Annotated[
    str,
    Meta(description=_RATE_WORDS),
    _rate,
]
Algorithm = Annotated[str, Meta(description=_either(_ALGORITHMS)), _one_of(_ALGORITHMS)]
Overflow = Annotated[str, Meta(description=_either(_OVERFLOWS)), _one_of(_OVERFLOWS)]
Impact = Annotated[str, Meta(description=_either(_IMPACTS)), _one_of(_IMPACTS)]
Mode = Annotated[str, Meta(description=_either(_MODES)), _one_of(_MODES)]
Estimator = Annotated[str, Meta(description=_either(_ESTIMATORS)), _one_of(_ESTIMATORS)]
Overrides = dict[str, str]
MaxWait = Annotated[float, Meta(ge=0.001, le=3_600)]
CheckName = Annotated[
    str,
    Meta(description="a name of 1 to 64 characters of a-z, 0-9 and . _ / -"),
    _check_name,
]
KeyName = Annotated[str, Meta(description="a name of 1 to 64 characters"), _key_name]


class Parameter(Struct, frozen=True):
    """What one parameter of a rule accepts; `noun` and `bounds` are the same in words."""

    hint: Any
    number_types: tuple[type, ...]
    read_text: Callable[[str], Any] | None
    noun: str
    bounds: str
    default: Any

    @property
    def is_required(self) -> bool:
        """Whether a rule cannot be without it."""
        return self.default is msgspec.NODEFAULT

    @property
    def is_duration(self) -> bool:
        """Whether the parameter is a length of time."""
        return self.read_text is seconds

    @property
    def words(self) -> str:
        """The kind of value and its range, for a complaint."""
        return f"must be {self.noun}" + (f", {self.bounds}" if self.bounds else "")

    def read(self, value: object) -> Any:
        """Return `value` in the parameter's own unit; ValueError says what it must be."""
        try:
            if self.read_text is not None and isinstance(value, str):
                value = self.read_text(value)
            return msgspec.convert(value, self.hint)
        except ValueError:
            is_number = type(value) in self.number_types
            raise ValueError(f"must be {self.bounds}" if is_number else self.words) from None


def _parameter(field: FieldInfo) -> Parameter:
    if field.type == Overrides:
        return Parameter(
            field.type, (), None, "a table of rates by key", "", field.default_factory()
        )
    options = [option for option in get_args(field.type) if get_args(option)] or [field.type]
    forms = {base: (meta, *readers) for base, meta, *readers in map(get_args, options)}
    text, number = forms.get(str), forms.get(int) or forms.get(float)
    numeral = "an integer" if int in forms else "a number"
    is_duration = text is not None and text[1] is seconds
    switch = forms.get(bool)
    nouns = [form[0].description for form in (text, switch) if form]
    nouns += [numeral] if number and not is_duration else []
    return Parameter(
        hint=field.type,
        number_types=(int, float) if float in forms else (int,) if number else (),
        read_text=text[1] if text else None,
        noun=" or ".join(nouns),
        bounds=_bounds(number[0], _duration_text if is_duration else "{:_}".format)
        if number
        else "",
        default=field.default,
    )


def _bounds(meta: Meta, spell: Callable[[Any], str]) -> str:
    bounds = {"greater than": meta.gt, "at least": meta.ge, "at most": meta.le}
    return " and ".join(f"{than} {spell(n)}" for than, n in bounds.items() if n is not None)


def _duration_text(duration: float) -> str:
    duration_ns = round(duration * _SECOND_NS)
    unit = next(unit for unit in ("h", "min", "s", "ms") if duration_ns % _UNIT_NS[unit] == 0)
    return f"{duration_ns // _UNIT_NS[unit]}{unit}"


@cache
def parameters(rule: "type[Rule]") -> dict[str, Parameter]:
    """Return what each parameter of `rule` accepts, by name."""
    return {field.name: _parameter(field) for field in msgspec.structs.fields(rule)}


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pattern with its parameters; `kind` is the name of its table in the file.

    With `mode` "shadow" it judges and counts, takes what it has to give and never refuses, so that
    one sees what it would do; with "off" it is not asked, and keeps its state. A wrong parameter
    raises ValueError with its name, its value and its range.
    """

    kind: ClassVar[str]
    related: ClassVar[tuple[str, ...]] = ()

    mode: Mode = "enforce"

    def __post_init__(self) -> None:
        for name, parameter in parameters(type(self)).items():
            value = getattr(self, name)
            try:
                force_setattr(self, name, parameter.read(value))
            except ValueError as error:
                shown = reprlib.repr(value)
                raise ValueError(f"{type(self).__name__}: {name} = {shown}: {error}") from None
        if conflict := self.conflict(asdict(self)):
            raise ValueError(f"{type(self).__name__}: {conflict}")

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:  # noqa: ARG003
        """Say, naming them, how the `related` ones of `values` contradict each other."""
        return None

    def core(self) -> tuple[Any, ...]:
        """Return the integer parameters of the compiled core; times are nanoseconds."""
        raise NotImplementedError


class Breaker(Rule, frozen=True, kw_only=True):
    """Refuses while too many calls fail, or are slow.

    `window` is a number of calls, or a text such as "10s": the calls of that time, by its tenths.
    It opens when `min_calls` (default 20, or `window` where that is less) are in it and a share of
    `failure_rate` failed, or a share of `slow_rate` took longer than `slow_after` seconds. Instead
    of all that, `consecutive` failures in a row open it; a success resets their count.

    It stays open for `open_for` seconds, `open_backoff` times as long whenever it opens again
    before it has recovered, up to `open_for_max` (default 5 min, or `open_for` where that is more),
    each time give or take a share of `jitter`. Then `probes` calls at most are let through, each
    for `probe_timeout` seconds, and it closes when a share of `probe_success_rate` of them succeeds
    and is not slow. With a `recovery_ramp` it admits 5% of the callers in the first half of
    that time and 25% in the second, before it has recovered.
    """

    kind: ClassVar[str] = "breaker"
    related: ClassVar[tuple[str, ...]] = (
        *("min_calls", "window", "consecutive", "slow_after"),
        *("open_for", "open_for_max"),
    )

    window: Annotated[int, Meta(ge=1, le=10_000)] | Span = 100
    consecutive: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    failure_rate: Fraction = 0.5
    slow_after: Annotated[float, Meta(ge=0.001, le=3_600)] | Duration | None = None
    slow_rate: Fraction = 0.5
    min_calls: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    open_for: Annotated[float, Meta(ge=0.01, le=86_400)] | Duration = 30.0
    open_backoff: Annotated[float, Meta(ge=1, le=10)] = 2.0
    open_for_max: Annotated[float, Meta(ge=0.01, le=86_400)] | Duration | None = None
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    probes: Annotated[int, Meta(ge=1, le=100)] = 5
    probe_success_rate: Fraction = 0.8
    probe_timeout: Annotated[float, Meta(ge=0.01, le=3_600)] | Duration = 30.0
    recovery_ramp: Annotated[float, Meta(ge=0.1, le=3_600)] | Duration | None = None

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where `min_calls`, `slow_after` or `open_for_max` could never matter."""
        min_calls, window, longest = values["min_calls"], values["window"], values["open_for_max"]
        if isinstance(window, int) and min_calls is not None and min_calls > window:
            return f"min_calls ({min_calls}) must be at most window ({window})"
        if values["consecutive"] is not None and values["slow_after"] is not None:
            return "slow_after cannot stand beside consecutive"
        if longest is not None and longest < values["open_for"]:
            least = values["open_for"]
            return f"open_for_max ({longest:g} s) must be at least open_for ({least:g} s)"
        return None

    def core(self) -> tuple[Any, ...]:
        """Return the integers of `engine.core.directory`'s breaker, in the order below.

        window (calls), bucket_ns and consecutive (one of which is not 0), min_calls, failure_ppm,
        slow_ppm, slow_after_ns (0: none is), open_for_ns, open_max_ns, backoff_milli,
        jitter_milli, probes, probe_success_ppm, probe_timeout_ns, ramp_ns (0: none).
        """
        window, bucket_ns = self._window()
        longest = max(self.open_for, _USUAL_OPEN_MAX_S)
        return (
            window,
            bucket_ns,
            self.consecutive or 0,
            self.min_calls or min(_USUAL_MIN_CALLS, window or _USUAL_MIN_CALLS),
            _ppm(self.failure_rate),
            _ppm(self.slow_rate),
            _ns(self.slow_after or 0),
            _ns(self.open_for),
            _ns(self.open_for_max or longest),
            _milli(self.open_backoff),
            _milli(self.jitter),
            self.probes,
            _ppm(self.probe_success_rate),
            _ns(self.probe_timeout),
            _ns(self.recovery_ramp or 0),
        )

    def _window(self) -> tuple[int, int]:
        """Return calls and bucket_ns, of which one is not 0, or none with `consecutive`."""
        if self.consecutive is not None:
            return 0, 0
        if isinstance(self.window, int):
            return self.window, 0
        return 0, _ns(seconds(self.window)) // _BUCKETS


class Throttle(Rule, frozen=True, kw_only=True):
    """Refuses what a backend would refuse, in proportion, where it is not protected itself.

    Of the calls of the last `window` seconds those refused here and those whose outcome was
    reported are requests, and the successes are accepts. A call is refused with the probability
    (requests - k x accepts) / (requests + 1), so never while one of `k` succeeds.
    """

    kind: ClassVar[str] = "throttle"

    k: Annotated[float, Meta(ge=1, le=100)] = 2.0
    window: Annotated[float, Meta(ge=1, le=3_600)] | Duration = 120.0

    def core(self) -> tuple[int, ...]:
        """Return k in thousandths, bucket_ns (a tenth of the window)."""
        return _milli(self.k), _ns(self.window) // _BUCKETS


class _Limit(Rule, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=65_536)]


class Bulkhead(_Limit, frozen=True, kw_only=True):
    """Admits `limit` calls at once; a permit expires after `hold` seconds (None: never).

    As many as `queue` callers of the whole host may wait for a permit (`Policy.acquire`), for the
    time that each says, or for `max_wait` seconds (None: each has to say it).
    """

    kind: ClassVar[str] = "bulkhead"
    related: ClassVar[tuple[str, ...]] = ("queue", "max_wait")

    hold: Annotated[float, Meta(ge=0.05, le=86_400)] | Duration | None = None
    queue: Annotated[int, Meta(ge=0, le=65_536)] = 0
    max_wait: MaxWait | Duration | None = None

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where there is a time to wait, and no place to wait in."""
        if values["max_wait"] is not None and values["queue"] == 0:
            return f"max_wait ({values['max_wait']:g} s) needs a queue of at least 1"
        return None

    def core(self) -> tuple[Any, ...]:
        """Return limit, hold_ns (0: never), queue, max_wait_ns (0: the caller says it)."""
        return self.limit, _ns(self.hold or 0), self.queue, _ns(self.max_wait or 0)


class Feature(Rule, frozen=True, kw_only=True):
    """Refuses as `degraded` where a feature is off; the verdict says which `level` to give instead.

    It is on where it is `enabled`, for `rollout` percent of the keys, always the same ones; a call
    without a key is in where that is 100. An operator's flip outranks both for a time.
    """

    kind: ClassVar[str] = "feature"

    enabled: Switch = True
    rollout: Percentage = 100.0
    level: Annotated[int, Meta(ge=1, le=255)] = 1

    def core(self) -> tuple[int, ...]:
        """Return enabled (0 or 1), rollout in millionths, level."""
        return int(self.enabled), round(self.rollout * 10_000), self.level


class _Checked(Rule, frozen=True):
    check: CheckName


class Health(_Checked, frozen=True, kw_only=True):
    """Refuses as `unhealthy` while the check of that name is known to be unhealthy."""

    kind: ClassVar[str] = "health"

    def core(self) -> tuple[int, ...]:
        """Return the bytes of the check's name."""
        return tuple(self.check.encode())


class Check(Rule, frozen=True, kw_only=True):
    """What makes a check unhealthy, and for how long a result counts; no rule of a policy.

    `fail_after` bad results in a row make it unhealthy, `ok_after` good ones end that. A result is
    refreshed every `cache` seconds, and says nothing any more when it is three times as old.
    """

    kind: ClassVar[str] = "check"

    cache: Annotated[float, Meta(ge=0.01, le=86_400)] | Duration = 60.0
    fail_after: Annotated[int, Meta(ge=1, le=100)] = 2
    ok_after: Annotated[int, Meta(ge=1, le=100)] = 2

    def core(self) -> tuple[int, ...]:
        """Return life_ns, fail_after, ok_after."""
        return _LIVES_OF_A_CACHE * _ns(self.cache), self.fail_after, self.ok_after


class Chaos(Rule, frozen=True, kw_only=True):
    """An experiment that harms a share of the calls that every other rule admits, until it ends.

    `probability` is that of a call whose key is among `keys` percent; which ones they are, and how
    long they are delayed, follows from `seed` and the policy's name. `impact` is "latency" (`delay`
    give or take `variance` seconds), "error" (a gRPC `status`), "abort" (refused as `chaos`) or
    "hang" (until the caller's deadline, at most `delay`). At most `max_active` delays are under way
    at once (None: any number). A `dry_run` counts whom it would harm. It begins when it is put in
    force or changed, and ends `ttl` seconds later, or when the policy's breaker opens.
    """

    kind: ClassVar[str] = "chaos"
    related: ClassVar[tuple[str, ...]] = ("impact", "delay", "variance", "max_active")

    probability: Fraction
    ttl: Annotated[float, Meta(ge=1, le=30 * 86_400)] | Duration
    impact: Impact = "latency"
    delay: Annotated[float, Meta(ge=0.001, le=3_600)] | Duration | None = None
    variance: Annotated[float, Meta(ge=0, le=3_600)] | Duration = 0.0
    status: Annotated[int, Meta(ge=1, le=16)] = 14
    keys: Percentage = 100.0
    max_active: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    dry_run: Switch = False

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where an impact has no delay that needs one, or has one that it cannot use."""
        impact, delay, variance = values["impact"], values["delay"], values["variance"]
        if impact in _DELAYS and delay is None:
            return f"impact ({impact}) needs a delay"
        if impact not in _DELAYS and (delay is not None or values["max_active"] is not None):
            return f"delay and max_active are of latency and hang, not of impact {impact}"
        if variance and (impact != "latency" or variance > delay):
            return f"variance ({variance:g} s) must be at most the delay of an impact latency"
        return None

    def core(self) -> tuple[int, ...]:
        """Return the integers of `engine.core.binding`'s chaos, in the order below.

        impact, probability_ppm, keys_ppm, delay_ns, variance_ns, status, max_active (0: any
        number), seed, dry_run (0 or 1), life_ns.
        """
        return (
            1 + _IMPACTS.index(self.impact),
            _ppm(self.probability),
            round(self.keys * 10_000),
            _ns(self.delay or 0),
            _ns(self.variance),
            self.status,
            self.max_active or 0,
            self.seed,
            int(self.dry_run),
            _ns(self.ttl),
        )


class RetryBudget(Rule, frozen=True, kw_only=True):
    """Admits retries up to a share of `ratio` of the first attempts, and `min_rate` beside it.

    What is not used adds up to `burst` retries; a new budget holds what `min_rate` brings in a
    second, and at least one. Calls say by `attempt` which of both they are.
    """

    kind: ClassVar[str] = "retry_budget"
    related: ClassVar[tuple[str, ...]] = ("burst", "min_rate")

    ratio: Fraction = 0.2
    min_rate: Rate = "3/s"
    burst: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where the burst takes too long to refill."""
        burst, rate = values["burst"], values["min_rate"]
        most = _LONGEST_REFILL_NS // _interval_ns(rate)
        if burst <= most:
            return None
        return f"burst ({burst}) must be at most {most} at a min_rate of {rate}: ten years fill it"

    def core(self) -> tuple[int, ...]:
        """Return interval_ns (rounded up), burst, deposit_ns (rounded down), opening balance."""
        interval_ns = _interval_ns(self.min_rate)
        count, unit_ns = _count_and_unit_ns(self.min_rate)
        opening = min(self.burst, max(1, count * _SECOND_NS // unit_ns))
        return interval_ns, self.burst, int(interval_ns * self.ratio), opening


class _Adaptive(Rule, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=65_536)] | Estimator


class Shedder(_Adaptive, frozen=True, kw_only=True):
    """Admits `limit` calls at once, and sheds the less important ones before the limit is reached.

    Critical work may fill the limit, high 95% of it, normal 85%, low 70% and sheddable 50%. Instead
    of a number, `limit` names what learns one from how long calls take: "aimd", "vegas" or
    "gradient2". It begins at `initial` (default 20) and stays from `min_limit` (20; vegas: 1) to
    `max_limit` (200; vegas: 1,000). For aimd a call of over `timeout` seconds (5) has failed.

    A lag above `max_lag` seconds that a process notes shrinks the limit in proportion, to half at
    most, for a second.
    """

    kind: ClassVar[str] = "shedder"
    related: ClassVar[tuple[str, ...]] = ("initial", "limit", "max_limit", "min_limit", "timeout")

    initial: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    min_limit: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    max_limit: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    timeout: Annotated[float, Meta(ge=0.001, le=3_600)] | Duration | None = None
    max_lag: Annotated[float, Meta(ge=0.001, le=60)] | Duration = 0.1

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where a fixed limit is told how to adapt, or the three limits are out of order."""
        limit, initial = values["limit"], values["initial"]
        least, most = values["min_limit"], values["max_limit"]
        if isinstance(limit, int):
            for name in ("initial", "min_limit", "max_limit"):
                if values[name] is not None:
                    return f"{name} ({values[name]}) is of a limit that adapts, not of {limit}"
        if values["timeout"] is not None and limit != "aimd":
            return "timeout is of limit aimd alone"
        if least is not None and most is not None and least > most:
            return f"min_limit ({least}) must be at most max_limit ({most})"
        if initial is not None and not (least or 1) <= initial <= (most or initial):
            return f"initial ({initial}) must be from min_limit to max_limit"
        return None

    def core(self) -> tuple[int, ...]:
        """Return the integers of `engine.core.directory`'s shedder, in the order below.

        estimator (0: none, then as in _ESTIMATORS), initial, least and greatest limit, timeout_ns,
        five shares in thousandths from critical to sheddable, max_lag_ns.
        """
        name = self.limit
        return (
            *((0, name, name, name) if isinstance(name, int) else self._limits(name)),
            _ns(self.timeout or _USUAL_TIMEOUT_S),
            *map(_milli, _SHARES),
            _ns(self.max_lag),
        )

    def _limits(self, estimator: str) -> tuple[int, int, int, int]:
        """Return estimator, initial, least and most; what is usual gives way to what was said."""
        initial, least, most = _USUAL_LIMITS[estimator]
        most = self.max_limit or max(most, self.min_limit or 0, self.initial or 0)
        least = self.min_limit or min(least, most, self.initial or most)
        initial = self.initial or min(max(initial, least), most)
        return 1 + _ESTIMATORS.index(estimator), initial, least, most


class _Rated(Rule, frozen=True):
    rate: Rate


class RateLimit(_Rated, frozen=True, kw_only=True):
    """Admits `rate`, such as "100/s" (per s, min, h, day or month).

    With `algorithm` "gcra" after a first `burst` of calls, which defaults to one second's worth, at
    least 1; refilling it may take ten years at most. With "sliding_window" at most so many in the
    last s, min, h or day, estimated; with "fixed_window" in each of the calendar, UTC.

    `key` names what the calls are told apart by, such as "tenant": each value has the rate for
    itself. There is room for `max_keys` that are not at rest; others are refused ("refuse") or have
    one rate together ("shared"), as `overflow` says. `overrides` gives some keys, up to 1,024, a
    rate of their own, such as {"gold": "1000/s"}; their burst lasts as long as that of the others.

    A caller that waits for tokens (`Policy.acquire`) waits for the time it says, or for `max_wait`
    seconds (None: not at all).
    """

    kind: ClassVar[str] = "rate_limit"
    related: ClassVar[tuple[str, ...]] = ("algorithm", "burst", "rate", "key", "overrides")

    burst: Annotated[int, Meta(ge=1, le=_LARGEST_BURST)] | None = None
    algorithm: Algorithm = "gcra"
    key: KeyName | None = None
    max_keys: Annotated[int, Meta(ge=1, le=1_000_000)] = 65_536
    overflow: Overflow = "refuse"
    overrides: Overrides = {}
    max_wait: MaxWait | Duration | None = None

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where the burst takes too long to refill, or the algorithm cannot count so."""
        algorithm, burst, rate = values["algorithm"], values["burst"], values["rate"]
        if values["overrides"] and (
            conflict := _overrides_conflict(values["overrides"], algorithm, rate, values["key"])
        ):
            return conflict
        count, unit = rate.split("/")
        if unit == "month" and algorithm != "fixed_window":
            return f"rate ({rate}) is per month, which takes algorithm fixed_window"
        if algorithm == "gcra":
            most = _LONGEST_REFILL_NS // _interval_ns(rate)
            if burst is None or burst <= most:
                return None
            return f"burst ({burst}) must be at most {most} at {rate}: it refills within ten years"
        if burst is not None:
            return f"burst ({burst}) is of gcra alone: a window admits its rate at once"
        if int(count) > (most := _LARGEST_WINDOW[algorithm]):
            return f"rate ({rate}) must be at most {most}/{unit} with {algorithm}"
        return None

    def core(self) -> tuple[Any, ...]:
        """Return interval_ns (rounded up), burst, algorithm, unit_ns, keyed, max_keys,
        max_wait_ns (0: not at all).

        Then the key, interval_ns and burst of each override.
        """
        interval_ns = _interval_ns(self.rate)
        count, unit_ns = _count_and_unit_ns(self.rate)
        usual = max(1, _SECOND_NS // interval_ns) if self.algorithm == "gcra" else count
        return (
            interval_ns,
            self.burst or usual,
            _ALGORITHMS.index(self.algorithm),
            unit_ns,
            0 if self.key is None else 1 + _OVERFLOWS.index(self.overflow),
            self.max_keys,
            _ns(self.max_wait or 0),
            *((key, *self._override(rate)) for key, rate in self.overrides.items()),
        )

    def _override(self, rate: str) -> tuple[int, int]:
        """Return interval_ns and burst of a key with a rate of its own."""
        own, own_unit_ns = _count_and_unit_ns(rate)
        if self.algorithm != "gcra":
            return _interval_ns(rate), own
        usual, unit_ns = _count_and_unit_ns(self.rate)
        burst = self.burst or max(1, _SECOND_NS // _interval_ns(self.rate))
        most = min(_LARGEST_BURST, _LONGEST_REFILL_NS // _interval_ns(rate))
        return _interval_ns(rate), min(max(1, burst * own * unit_ns // (usual * own_unit_ns)), most)


# In the order of judgement.
KINDS: dict[str, type[Rule]] = {
    rule.kind: rule
    for rule in (
        *(Feature, Health, Breaker, Throttle, Shedder),
        *(Bulkhead, RetryBudget, RateLimit, Chaos),
    )
}


class PolicySpec(Struct, frozen=True):
    """A named set of rules, at most one per kind, kept in order of judgement.

    A wrong name, no rule at all or two rules of one kind raise ValueError.
    """

    name: str
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        if NAME.fullmatch(self.name) is None:
            raise ValueError(f"name = {self.name!r}: {NAME_WORDS}")
        kinds = [rule.kind for rule in self.rules]
        if not kinds or len(set(kinds)) < len(kinds):
            raise ValueError(
                f"rules of {self.name!r}: one to each kind at most, and one at least: {kinds}"
            )
        in_order = sorted(self.rules, key=lambda rule: list(KINDS).index(rule.kind))
        force_setattr(self, "rules", tuple(in_order))

    def core(self) -> dict[str, tuple[Any, ...]]:
        """Return the integer parameters of each rule that is not off by its kind."""
        return {rule.kind: rule.core() for rule in self.rules if rule.mode != "off"}

    def shadow(self) -> set[str]:
        """Return the kinds of the rules that never refuse."""
        return {rule.kind for rule in self.rules if rule.mode == "shadow"}


class PolicySet(Struct, frozen=True):
    """Every policy of a configuration by its name, and whether it allows chaos experiments."""

    policies: dict[str, PolicySpec]
    chaos: bool = False


def _overrides_conflict(
    overrides: Mapping[str, str], algorithm: str, rate: str, key: str | None
) -> str | None:
    """Say which of the rates by key cannot be."""
    unit = rate.split("/")[1]
    if key is None:
        return "overrides are of keys, which takes a key"
    if len(overrides) > _MOST_OVERRIDES:
        return f"overrides are {len(overrides)}, but must be at most {_MOST_OVERRIDES}"
    for name, own in overrides.items():
        said = f"{name} = {own}, one of the overrides,"
        if not 1 <= len(name.encode()) <= 256:
            return f"{said} must have a key of 1 to 256 bytes"
        try:
            _rate(own)
        except ValueError:
            return f"{said} must be {_RATE_WORDS}"
        count, own_unit = own.split("/")
        if algorithm == "gcra" and own_unit == "month":
            return f"{said} is per month, which takes algorithm fixed_window"
        if algorithm != "gcra" and own_unit != unit:
            return f"{said} must be per {unit}, as the rate is"
        if algorithm != "gcra" and int(count) > (most := _LARGEST_WINDOW[algorithm]):
            return f"{said} must be at most {most}/{unit} with {algorithm}"
    return None


def _interval_ns(rate: str) -> int:
    count, unit_ns = _count_and_unit_ns(rate)
    return -(-unit_ns // count)


def _ns(duration: float | str) -> int:
    return round(float(duration) * _SECOND_NS)


def _ppm(fraction: float) -> int:
    return max(1, round(fraction * 1_000_000))


def _milli(number: float) -> int:
    return round(number * 1_000)


def force_ns(ttl: float | str) -> int:
    """Return the nanoseconds for which an operator forces a state. Raises ValueError."""
    try:
        duration = float(seconds(ttl) if isinstance(ttl, str) else ttl)
    except (TypeError, ValueError):
        raise ValueError(f"ttl = {ttl!r}: must be a duration in seconds or as text") from None
    if not _SHORTEST_FORCE_S <= duration <= _LONGEST_FORCE_S:
        raise ValueError(
            f"ttl = {ttl!r}: must be at least {_duration_text(_SHORTEST_FORCE_S)}"
            f" and at most {_duration_text(_LONGEST_FORCE_S)}"
        )
    return _ns(duration)
