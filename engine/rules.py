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
NAME_WORDS = "a name is 1 to 128 characters of a-z, 0-9 and . _ / -"

_UNIT_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "day": 86_400_000_000_000,
}
_SECOND_NS = _UNIT_NS["s"]
_FASTEST_HZ = 10_000_000
_LONGEST_REFILL_NS = 10 * 365 * _UNIT_NS["day"]
_USUAL_MIN_CALLS = 20


def seconds(text: str) -> float:
    """Return the seconds in a duration such as "250ms" or "1h"; ValueError for any other text."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|min|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    amount, unit = float(match[1]), match[2]
    return amount / 1_000 if unit == "ms" else amount * (_UNIT_NS[unit] // _SECOND_NS)


def _count_and_unit_ns(rate: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,15})/(s|min|h|day)", rate)
    if match is None:
        raise ValueError(f"{rate!r} is not a rate")
    return int(match[1]), _UNIT_NS[match[2]]


def _rate(text: str) -> str:
    count, unit_ns = _count_and_unit_ns(text)
    if not 1 <= count <= _FASTEST_HZ * unit_ns // _SECOND_NS:
        raise ValueError(f"{text!r} is out of range")
    return text


# The function after a text form's Meta reads it.
Fraction = Annotated[float, Meta(gt=0, le=1)]
Duration = Annotated[str, Meta(description='a duration such as "250ms" or "30s"'), seconds]
Rate = Annotated[
    str, Meta(description=f'a rate from "1/day" to "{_FASTEST_HZ}/s" (per s, min, h or day)'), _rate
]


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
    options = [option for option in get_args(field.type) if get_args(option)] or [field.type]
    forms = {base: (meta, *readers) for base, meta, *readers in map(get_args, options)}
    text, number = forms.get(str), forms.get(int) or forms.get(float)
    numeral = "an integer" if int in forms else "a number"
    return Parameter(
        hint=field.type,
        number_types=(int, float) if float in forms else (int,) if number else (),
        read_text=text[1] if text else None,
        noun=text[0].description if text else numeral,
        bounds=_bounds(number[0], _duration_text if text else "{:_}".format) if number else "",
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


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One pattern with its parameters; `kind` is the name of its table in the file.

    A wrong parameter raises ValueError with its name, its value and its range.
    """

    kind: ClassVar[str]
    related: ClassVar[tuple[str, ...]] = ()

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
        """Say how the `related` ones of `values`, each in its own range, contradict each other."""
        return None

    def core(self) -> tuple[int, ...]:
        """Return the integer parameters of the compiled core; times are nanoseconds."""
        raise NotImplementedError


class Breaker(Rule, frozen=True, kw_only=True):
    """Refuses while too many of the last `window` calls failed.

    A share of `failure_rate` of at least `min_calls` (default 20, or `window` where that is less)
    opens it for `open_for` seconds. Then `probes` calls at most are let through, each for
    `probe_timeout` seconds, and it closes when a share of `probe_success_rate` of them succeeds.
    """

    kind: ClassVar[str] = "breaker"
    related: ClassVar[tuple[str, ...]] = ("min_calls", "window")

    window: Annotated[int, Meta(ge=1, le=10_000)] = 100
    failure_rate: Fraction = 0.5
    min_calls: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    open_for: Annotated[float, Meta(ge=0.01, le=86_400)] | Duration = 30.0
    probes: Annotated[int, Meta(ge=1, le=100)] = 5
    probe_success_rate: Fraction = 0.8
    probe_timeout: Annotated[float, Meta(ge=0.01, le=3_600)] | Duration = 30.0

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where `min_calls` could never be reached within `window`."""
        min_calls, window = values["min_calls"], values["window"]
        if min_calls is None or min_calls <= window:
            return None
        return f"min_calls ({min_calls}) must be at most window ({window})"

    def core(self) -> tuple[int, ...]:
        """Return window, min_calls, failure_ppm, open_for_ns, probes, success_ppm, timeout_ns."""
        return (
            self.window,
            self.min_calls or min(_USUAL_MIN_CALLS, self.window),
            _ppm(self.failure_rate),
            _ns(self.open_for),
            self.probes,
            _ppm(self.probe_success_rate),
            _ns(self.probe_timeout),
        )


class _Limit(Rule, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=65_536)]


class Bulkhead(_Limit, frozen=True, kw_only=True):
    """Admits `limit` calls at once; a permit expires after `hold` seconds (None: never)."""

    kind: ClassVar[str] = "bulkhead"

    hold: Annotated[float, Meta(ge=0.05, le=86_400)] | Duration | None = None

    def core(self) -> tuple[int, ...]:
        """Return limit, hold_ns (0: never)."""
        return self.limit, 0 if self.hold is None else _ns(self.hold)


class _Rated(Rule, frozen=True):
    rate: Rate


class RateLimit(_Rated, frozen=True, kw_only=True):
    """Admits `rate`, such as "100/s" (per s, min, h or day), after a first `burst` of calls.

    `burst` defaults to one second's worth, at least 1. Refilling it may take ten years at most.
    """

    kind: ClassVar[str] = "rate_limit"
    related: ClassVar[tuple[str, ...]] = ("burst", "rate")

    burst: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None

    @classmethod
    def conflict(cls, values: Mapping[str, Any]) -> str | None:
        """Say so where the burst would take longer than ten years to refill."""
        burst, rate = values["burst"], values["rate"]
        most = _LONGEST_REFILL_NS // _interval_ns(rate)
        if burst is None or burst <= most:
            return None
        return f"burst ({burst}) must be at most {most} at {rate}: it refills within ten years"

    def core(self) -> tuple[int, ...]:
        """Return interval_ns (rounded up), burst."""
        interval_ns = _interval_ns(self.rate)
        return interval_ns, self.burst or max(1, _SECOND_NS // interval_ns)


# In the order of judgement.
KINDS: dict[str, type[Rule]] = {rule.kind: rule for rule in (Breaker, Bulkhead, RateLimit)}


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

    def core(self) -> dict[str, tuple[int, ...]]:
        """Return the integer parameters of each rule by its kind, in order of judgement."""
        return {rule.kind: rule.core() for rule in self.rules}


class PolicySet(Struct, frozen=True):
    """Every policy of a configuration by its name."""

    policies: dict[str, PolicySpec]


def _interval_ns(rate: str) -> int:
    count, unit_ns = _count_and_unit_ns(rate)
    return -(-unit_ns // count)


def _ns(duration: float | str) -> int:
    return round(float(duration) * _SECOND_NS)


def _ppm(fraction: float) -> int:
    return max(1, round(fraction * 1_000_000))
