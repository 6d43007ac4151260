"""Rules hold what they were given, in one unit, and refuse what lies outside their ranges."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules import (
    KINDS,
    Breaker,
    Bulkhead,
    Chaos,
    Check,
    Feature,
    Health,
    PolicySet,
    PolicySpec,
    RateLimit,
    RetryBudget,
    Rule,
    Shedder,
    Throttle,
    force_ns,
    parameters,
    seconds,
)

MIN_CALLS, FAILURE_PPM, OPEN_MAX = 3, 4, 8  # places in Breaker.core()
TEN_YEARS_S = 10 * 365 * 86_400
UNIT_S = {"s": 1, "min": 60, "h": 3_600, "day": 86_400}


def test_defaults_are_those_of_the_design() -> None:
    assert Breaker().core() == (
        *(100, 0, 0, 20, 500_000, 500_000, 0),
        *(30 * 10**9, 300 * 10**9, 2_000, 100),
        *(5, 800_000, 30 * 10**9, 0),
    )
    assert Bulkhead(32).core() == (32, 0, 0, 0)
    assert RateLimit("100/s").core() == (10_000_000, 100, 0, 10**9, 0, 65_536, 0)
    assert Throttle().core() == (2_000, 12 * 10**9)
    assert Check().core() == (180 * 10**9, 2, 2)
    assert Health("db").core() == tuple(b"db")
    assert Feature().core() == (1, 1_000_000, 1)
    assert RetryBudget().core() == (333_333_334, 100, 66_666_666, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 0.25), ("30s", 30), ("5min", 300), ("1h", 3_600), ("1.5s", 1.5), ("13ms", 0.013)],
)
def test_duration_is_in_seconds_when_it_is_text(text: str, expected: float) -> None:
    assert seconds(text) == expected
    assert Breaker(open_for=text) == Breaker(open_for=expected)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 s", "1e3s", "1d", ".5s", "1s\n", "٣s"])
def test_duration_is_refused_when_its_text_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("rate", "core"),
    [
        ("10000000/s", (100, 10_000_000)),
        ("864000000000/day", (100, 10_000_000)),
        ("3/s", (333_333_334, 2)),
        ("90/min", (666_666_667, 1)),
        ("1/day", (86_400 * 10**9, 1)),
        ("1/h", (3_600 * 10**9, 1)),
    ],
)
def test_rate_becomes_interval_and_a_second_of_burst(rate: str, core: tuple[int, int]) -> None:
    assert RateLimit(rate).core()[:2] == core


@pytest.mark.parametrize(
    ("rule", "parameter", "low", "high", "beyond"),
    [
        (Breaker, "window", 1, 10_000, [0, 10_001, -1]),
        (Breaker, "window", "1s", "1h", ["999ms", "61min", "0s"]),
        (Breaker, "consecutive", 1, 10_000, [0, 10_001]),
        (Breaker, "slow_after", 0.001, 3_600, [0, "0ms", 3_601]),
        (Breaker, "slow_rate", 1e-6, 1, [0, 1.1]),
        (Breaker, "open_backoff", 1, 10, [0.9, 10.1]),
        (Breaker, "open_for_max", 30, 86_400, ["25h", 0]),
        (Breaker, "jitter", 0, 0.5, [-0.1, 0.51]),
        (Breaker, "recovery_ramp", 0.1, 3_600, [0, "99ms", 3_601]),
        (Breaker, "failure_rate", 1e-6, 1, [0, 1.000001, float("nan"), float("inf")]),
        (Breaker, "min_calls", 1, 100, [0, 10_001]),
        (Breaker, "open_for", 0.01, 86_400, [0.0099, 86_401, "9ms", "25h", float("nan")]),
        (Breaker, "probes", 1, 100, [0, 101]),
        (Breaker, "probe_success_rate", 1e-6, 1, [0, 1.1]),
        (Breaker, "probe_timeout", 0.01, 3_600, [0.0099, 3_601, "61min"]),
        (Bulkhead, "limit", 1, 65_536, [0, 65_537, 10**400]),
        (Bulkhead, "hold", 0.05, 86_400, [0.049, "49ms", 86_401]),
        (Bulkhead, "queue", 0, 65_536, [-1, 65_537]),
        (Bulkhead, "max_wait", 0.001, 3_600, [0, "0ms", 3_601, float("nan")]),
        (RateLimit, "max_wait", 0.001, 3_600, [0, "61min", 3_601]),
        (RateLimit, "rate", "1/day", "10000000/s", ["0/s", "10000001/s", "864000000001/day"]),
        (RateLimit, "burst", 1, 1_000_000_000, [0, 1_000_000_001]),
        (Throttle, "k", 1, 100, [0.9, 101]),
        (Throttle, "window", 1, 3_600, [0.9, "999ms", 3_601]),
        (Chaos, "probability", 1e-6, 1, [0, 1.1]),
        (Chaos, "ttl", 1, 30 * 86_400, [0.9, "999ms", 31 * 86_400]),
        (Chaos, "delay", 0.001, 3_600, [0, "0ms", 3_601]),
        (Chaos, "variance", 0, 3_600, [-1, 3_601]),
        (Chaos, "status", 1, 16, [0, 17]),
        (Chaos, "keys", 0, 100, [-1, 101]),
        (Chaos, "max_active", 1, 1_000, [0, 1_001]),
        (Chaos, "seed", 0, 2**63 - 1, [-1, 2**63]),
        (Check, "cache", 0.01, 86_400, [0.009, 86_401, "9ms"]),
        (Check, "fail_after", 1, 100, [0, 101]),
        (Check, "ok_after", 1, 100, [0, 101]),
        (Feature, "rollout", 0, 100, [-0.1, 100.1]),
        (Feature, "level", 1, 255, [0, 256]),
        (RetryBudget, "ratio", 1e-6, 1, [0, 1.1]),
        (RetryBudget, "min_rate", "1/day", "10000000/s", ["0/s", "10000001/s"]),
        (RetryBudget, "burst", 1, 3_000_000, [0, 1_000_000_001]),
    ],
)
def test_parameter_is_accepted_only_inside_its_range(
    rule: type[Rule], parameter: str, low: Any, high: Any, beyond: list[Any]
) -> None:
    required: dict[str, dict[str, Any]] = {
        "breaker": {},
        "bulkhead": {"limit": 8},
        "rate_limit": {"rate": "100/s"},
        "retry_budget": {},
        "feature": {},
        "chaos": {"probability": 0.5, "ttl": 60, "delay": 3_600},
        "check": {},
        "throttle": {},
    }
    usual = required[rule.kind]
    if (rule, parameter) == (Bulkhead, "max_wait"):
        usual |= {"queue": 1}
    for value in (low, high):
        assert getattr(rule(**usual | {parameter: value}), parameter) == value
    for value in beyond:
        with pytest.raises(ValueError, match=f"{parameter} .*must be"):
            rule(**usual | {parameter: value})


@pytest.mark.parametrize(
    ("rule", "parameter", "value"),
    [
        (Breaker, "window", 10.0),
        (Breaker, "window", True),
        (Breaker, "window", "10"),
        (Breaker, "window", None),
        (Breaker, "failure_rate", "0.5"),
        (Breaker, "failure_rate", True),
        (Breaker, "open_for", None),
        (Breaker, "open_for", False),
        (Feature, "enabled", 1),
        (Feature, "enabled", "true"),
        (Health, "check", None),
        (Health, "check", "~health/x"),
        (Health, "check", "x" * 65),
        (Bulkhead, "limit", None),
        (RateLimit, "rate", 100),
        (RateLimit, "rate", "100"),
        (RateLimit, "rate", "100/s\n"),
        (RateLimit, "rate", "9" * 5_000 + "/s"),
    ],
)
def test_parameter_is_refused_when_its_type_is_wrong(
    rule: Any, parameter: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"{rule.__name__}: {parameter} = .*: must be a"):
        rule(**{parameter: value})


def test_error_names_parameter_value_and_range_when_a_value_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Breaker: failure_rate = 1\.5: must be greater than 0"):
        Breaker(failure_rate=1.5)
    with pytest.raises(ValueError, match=r"^Bulkhead: hold = 0: must be at least 50ms and at"):
        Bulkhead(1, hold=0)


def test_arguments_after_the_first_are_refused_when_positional() -> None:
    with pytest.raises(TypeError):
        Bulkhead(8, 1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        RateLimit("1/s", 8)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Breaker(10)  # type: ignore[call-arg]


def test_rule_stays_as_it_is_when_assigned_to() -> None:
    bulkhead = Bulkhead(8)
    with pytest.raises(AttributeError):
        bulkhead.limit = 9  # type: ignore[misc]


def test_min_calls_is_refused_when_above_window() -> None:
    assert Breaker(window=10, min_calls=10).core()[MIN_CALLS] == 10
    with pytest.raises(ValueError, match=r"min_calls \(11\) must be at most window \(10\)"):
        Breaker(window=10, min_calls=11)


def test_min_calls_follows_window_when_not_given() -> None:
    assert Breaker(window=5).core()[MIN_CALLS] == 5
    assert Breaker(window=10_000).core()[MIN_CALLS] == 20
    assert Breaker(window="10s").core()[MIN_CALLS] == 20


def test_window_is_by_time_when_it_is_text() -> None:
    assert Breaker(window="1s").core()[:3] == (0, 100_000_000, 0)
    assert Breaker(window="60min").core()[:3] == (0, 360 * 10**9, 0)


def test_window_gives_way_when_failures_in_a_row_are_counted() -> None:
    assert Breaker(window="1s", consecutive=5).core()[:3] == (0, 0, 5)


def test_slow_after_is_refused_when_failures_in_a_row_are_counted() -> None:
    with pytest.raises(ValueError, match="slow_after cannot stand beside consecutive"):
        Breaker(consecutive=5, slow_after=1)


def test_longest_rest_is_never_under_the_first() -> None:
    assert Breaker(open_for=1).core()[OPEN_MAX] == 300 * 10**9
    assert Breaker(open_for="1h").core()[OPEN_MAX] == 3_600 * 10**9
    assert Breaker(open_for=1, open_for_max="1s").core()[OPEN_MAX] == 10**9
    with pytest.raises(ValueError, match=r"open_for_max \(0.5 s\) must be at least open_for \(1 s"):
        Breaker(open_for=1, open_for_max=0.5)


@pytest.mark.parametrize("ttl", [0.01, 60, "5min", 30 * 86_400])
def test_time_to_live_is_accepted_inside_its_range(ttl: float | str) -> None:
    assert force_ns(ttl) == round((300 if ttl == "5min" else float(ttl)) * 10**9)


@pytest.mark.parametrize("ttl", [0, -1, 0.009, 2_592_001, float("nan"), "5", None, [], "1000h"])
def test_time_to_live_is_refused_outside_its_range(ttl: Any) -> None:
    with pytest.raises(ValueError, match=r"ttl = .*: must be"):
        force_ns(ttl)


def test_burst_is_refused_when_it_refills_for_more_than_ten_years() -> None:
    assert RateLimit("1/day", burst=3_650).core()[:2] == (86_400 * 10**9, 3_650)
    with pytest.raises(ValueError, match=r"burst \(3651\) must be at most 3650 at 1/day"):
        RateLimit("1/day", burst=3_651)


def test_tiny_share_stays_above_zero_in_the_core() -> None:
    assert Breaker(failure_rate=1e-300).core()[FAILURE_PPM] == 1


@given(st.integers(1, 10_000_000), st.sampled_from(list(UNIT_S)), st.integers(1, 1_000_000_000))
def test_interval_never_exceeds_the_rate(count: int, unit: str, burst: int) -> None:
    interval_ns, usual_burst = RateLimit(f"{count}/{unit}").core()[:2]
    assert interval_ns * count >= UNIT_S[unit] * 10**9
    assert (interval_ns - 1) * count < UNIT_S[unit] * 10**9
    assert usual_burst == max(1, 10**9 // interval_ns)
    if burst * interval_ns <= TEN_YEARS_S * 10**9:
        assert RateLimit(f"{count}/{unit}", burst=burst).core()[:2] == (interval_ns, burst)
    else:
        with pytest.raises(ValueError, match="burst"):
            RateLimit(f"{count}/{unit}", burst=burst)


SHARES = (1_000, 950, 850, 700, 500)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (64, (0, 64, 64, 64)),
        ("aimd", (1, 20, 20, 200)),
        ("vegas", (2, 20, 1, 1_000)),
        ("gradient2", (3, 20, 20, 200)),
    ],
)
def test_shedder_has_the_limits_that_are_published(
    limit: int | str, expected: tuple[int, ...]
) -> None:
    assert Shedder(limit).core() == (*expected, 5_000_000_000, *SHARES, 100_000_000)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_limit": 8}, (8, 8, 8)),
        ({"min_limit": 300}, (300, 300, 300)),
        ({"initial": 5}, (5, 5, 200)),
        ({"initial": 500}, (500, 20, 500)),
        ({"min_limit": 3, "max_limit": 30}, (20, 3, 30)),
    ],
)
def test_usual_limits_give_way_to_what_is_said(
    given: dict[str, int], expected: tuple[int, ...]
) -> None:
    assert Shedder("aimd", **given).core()[1:4] == expected


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"limit": 9, "initial": 3}, "initial .3. is of a limit that adapts"),
        ({"limit": "vegas", "timeout": "1s"}, "timeout is of limit aimd alone"),
        ({"limit": "aimd", "min_limit": 9, "max_limit": 8}, "min_limit .9. must be at most"),
        ({"limit": "aimd", "initial": 9, "max_limit": 8}, "initial .9. must be from"),
        ({"limit": "aimd", "initial": 9, "min_limit": 10}, "initial .9. must be from"),
        ({"limit": "gradient"}, "limit = 'gradient': must be one of"),
        ({"limit": 0}, "limit = 0: must be at least 1"),
    ],
)
def test_shedder_complains_about_limits_that_contradict(
    parameters: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Shedder(**parameters)


def test_kinds_are_in_order_of_judgement() -> None:
    assert list(KINDS.items()) == [
        ("feature", Feature),
        ("health", Health),
        ("breaker", Breaker),
        ("throttle", Throttle),
        ("shedder", Shedder),
        ("bulkhead", Bulkhead),
        ("retry_budget", RetryBudget),
        ("rate_limit", RateLimit),
        ("chaos", Chaos),
    ]


def test_every_parameter_has_a_range_in_words() -> None:
    for rule in KINDS.values():
        for parameter in parameters(rule).values():
            assert parameter.words.startswith(("must be an ", "must be a ", "must be one of "))


def test_spec_is_in_order_of_judgement_when_given_in_another() -> None:
    spec = PolicySpec("a/b", (RateLimit("1/s"), Breaker(), Bulkhead(1)))
    assert spec == PolicySpec("a/b", (Breaker(), Bulkhead(1), RateLimit("1/s")))
    assert list(spec.core().items()) == [
        ("breaker", Breaker().core()),
        ("bulkhead", (1, 0, 0, 0)),
        ("rate_limit", (10**9, 1, 0, 10**9, 0, 65_536, 0)),
    ]


@pytest.mark.parametrize("name", ["a", "payments/charge", "a.b-c_d/0", "x" * 128])
def test_spec_is_accepted_when_the_name_fits(name: str) -> None:
    assert PolicySpec(name, (Bulkhead(1),)).name == name


@pytest.mark.parametrize("name", ["", "A", "a b", "a/*", "a\n", "é", "x" * 129])
def test_spec_is_refused_when_the_name_does_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match="a name is 1 to 128 characters"):
        PolicySpec(name, (Bulkhead(1),))


@pytest.mark.parametrize("rules", [(), (Bulkhead(1), Bulkhead(2))])
def test_spec_is_refused_when_rules_are_none_or_of_one_kind(rules: tuple[Rule, ...]) -> None:
    with pytest.raises(ValueError, match="one to each kind at most, and one at least"):
        PolicySpec("a/b", rules)


def test_set_is_equal_when_its_policies_are() -> None:
    one, other = (PolicySet({"a/b": PolicySpec("a/b", (Bulkhead(1),))}) for _ in range(2))
    assert one == other


def test_rule_is_checked_when_msgspec_converts_it() -> None:
    assert msgspec.convert({"open_for": "1s"}, Breaker) == Breaker(open_for=1)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"windw": 1}, Breaker)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"rate": "1/month"}, r"rate \(1/month\) is per month, which takes algorithm fixed_window"),
        ({"rate": "100001/s", "algorithm": "sliding_window"}, "must be at most 100000/s"),
        ({"rate": "250000001/day", "algorithm": "fixed_window"}, "must be at most 250000000/day"),
        ({"rate": "5/s", "burst": 5, "algorithm": "fixed_window"}, "is of gcra alone"),
        ({"rate": "5/s", "algorithm": "leaky"}, 'must be one of "gcra", "sliding_window" or'),
        ({"rate": "5/s", "key": "k", "overflow": "drop"}, 'must be one of "refuse" or "shared"'),
        ({"rate": "5/s", "key": ""}, "must be a name of 1 to 64 characters"),
    ],
)
def test_rate_limit_is_refused_when_its_algorithm_cannot_count_so(
    parameters: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        RateLimit(**parameters)


def test_time_to_wait_needs_a_place_to_wait_in() -> None:
    assert Bulkhead(8, queue=2, max_wait="200ms").core() == (8, 0, 2, 200_000_000)
    assert RateLimit("1/s", max_wait=0.25).core()[-1] == 250_000_000
    with pytest.raises(ValueError, match=r"max_wait \(0\.2 s\) needs a queue of at least 1"):
        Bulkhead(8, max_wait=0.2)


def test_window_admits_its_rate_at_once() -> None:
    limit = RateLimit("500/month", algorithm="fixed_window", key="tenant", overflow="shared")
    assert limit.core()[1:] == (500, 2, 28 * 86_400 * 10**9, 2, 65_536, 0)
    assert RateLimit("90/min", algorithm="sliding_window").core()[1] == 90
