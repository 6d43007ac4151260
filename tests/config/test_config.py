"""Every mistake of a policy file is named once, where it was written; a right file is merged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import load, parse
from engine.errors import ConfigError
from engine.rules import Breaker, Bulkhead, PolicySet, PolicySpec, RateLimit, Rule, parameters

MISTAKES = Path(__file__).parent / "mistakes"
EXAMPLE = Path(__file__).parents[2] / "examples" / "policies.toml"


def complaints_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="f")
    return [str(complaint) for complaint in caught.value.complaints]


@pytest.mark.parametrize("mistake", sorted(MISTAKES.glob("*.toml")), ids=lambda path: path.stem)
def test_complaints_are_those_beside_it_when_file_is_wrong(
    mistake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(MISTAKES)
    with pytest.raises(ConfigError) as caught:
        load(mistake.name)
    assert (
        str(caught.value).splitlines() == mistake.with_suffix(".expected").read_text().splitlines()
    )


def test_every_fixture_has_its_complaint_beside_it() -> None:
    beside = {path.stem for path in MISTAKES.glob("*.expected")}
    assert beside == {path.stem for path in MISTAKES.glob("*.toml")}


def test_file_gives_one_complaint_when_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_file_gives_one_complaint_when_it_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_example_is_right_when_loaded() -> None:
    policies = load(EXAMPLE).policies
    breaker = Breaker(open_for=10)
    assert policies["demo/hello"].rules == (breaker, Bulkhead(4), RateLimit("5/s", burst=5))
    assert {rule.kind for rule in policies["payments/charge"].rules} == {
        "breaker",
        "bulkhead",
        "rate_limit",
    }
    assert policies["search/query"].rules == (
        breaker,
        Bulkhead(16),
        RateLimit("600/min", burst=50),
    )
    assert policies["search/suggest"].rules == (breaker, Bulkhead(16), RateLimit("600/min"))


def test_most_specific_table_wins_when_prefixes_overlap() -> None:
    policies = parse("""
        [policies."a/b/*".breaker]
        window = 3
        probes = 3
        [policies."a/b/c".breaker]
        window = 4
        [defaults.breaker]
        window = 1
        probes = 1
        open_for = "1s"
        failure_rate = 0.1
        [policies."a/*".breaker]
        window = 2
        probes = 2
        open_for = "2s"
        [policies."b/c"]
        """).policies
    assert policies["a/b/c"].rules == (Breaker(window=4, probes=3, open_for=2, failure_rate=0.1),)
    assert policies["b/c"].rules == (Breaker(window=1, probes=1, open_for=1, failure_rate=0.1),)


def test_prefix_covers_nothing_when_the_slash_differs() -> None:
    policies = parse("""
        [policies."pay/*".bulkhead]
        limit = 1
        [policies."payments/charge".rate_limit]
        rate = "1/s"
        """).policies
    assert policies["payments/charge"].rules == (RateLimit("1/s"),)


def test_override_is_right_when_the_default_conflicts_without_it() -> None:
    policies = parse("""
        [defaults.breaker]
        min_calls = 150
        [policies."a/b".breaker]
        window = 200
        """).policies
    assert policies["a/b"].rules == (Breaker(window=200, min_calls=150),)


def test_default_is_blamed_once_when_several_policies_inherit_a_conflict() -> None:
    text = '[defaults.breaker]\nmin_calls = 150\n[policies."a/b"]\n[policies."a/c"]'
    assert complaints_of(text) == [
        "f: defaults.breaker.min_calls = 150: min_calls (150) must be at most window (100)"
    ]


def test_nearest_key_is_not_offered_when_it_is_written_already() -> None:
    assert complaints_of('[policies."a/b".bulkhead]\nlimit = 1\nlimits = 2\nhold = "1s"') == [
        'f: policies."a/b".bulkhead.limits = 2: unknown key; '
        "known are limit, mode, hold, queue or max_wait"
    ]


def test_inside_of_a_misspelt_rule_is_checked_as_well() -> None:
    assert complaints_of('[policies."a/b".brekaer]\nwindow = 0') == [
        'f: policies."a/b".brekaer: unknown key; did you mean breaker?',
        'f: policies."a/b".brekaer.window = 0: must be at least 1 and at most 10_000',
    ]


def test_values_are_shortened_when_they_are_long() -> None:
    (complaint,) = complaints_of(f'[policies."a/b".rate_limit]\nrate = "{"9" * 1000}"')
    assert len(complaint) < 250


def test_control_characters_are_escaped_when_they_stand_in_a_key() -> None:
    (complaint,) = complaints_of('[policies."\\u001b[2J".bulkhead]\nlimit = 1')
    assert complaint.isprintable()


def spelled(rule: Rule) -> str:
    """Return the TOML of a rule's table; what the file cannot say is left out."""
    lines = [f"[policies.'a/b'.{rule.kind}]"]
    for name, parameter in parameters(type(rule)).items():
        value = getattr(rule, name)
        if value is not None:
            text = f"'{value!r}s'" if parameter.is_duration else repr(value)
            lines.append(f"{name} = {text}")
    return "\n".join(lines)


shares = st.floats(0, 1, exclude_min=True)
breakers = st.integers(1, 10_000).flatmap(
    lambda window: st.builds(
        Breaker,
        window=st.just(window),
        failure_rate=shares,
        consecutive=st.none() | st.integers(1, 10_000),
        min_calls=st.none() | st.integers(1, window),
        slow_rate=shares,
        open_for=st.floats(0.01, 86_400),
        open_backoff=st.floats(1, 10),
        open_for_max=st.none() | st.just(86_400.0),
        jitter=st.floats(0, 0.5),
        recovery_ramp=st.none() | st.floats(0.1, 3_600),
        probes=st.integers(1, 100),
        probe_success_rate=shares,
        probe_timeout=st.floats(0.01, 3_600),
    )
)
bulkheads = st.builds(Bulkhead, st.integers(1, 65_536), hold=st.none() | st.floats(0.05, 86_400))
rate_limits = st.builds(
    RateLimit,
    st.builds(
        "{}/{}".format, st.integers(1, 10_000_000), st.sampled_from(["s", "min", "h", "day"])
    ),
    burst=st.none() | st.integers(1, 3_650),
)


@given(st.tuples(breakers, bulkheads, rate_limits))
def test_rules_are_the_same_when_written_and_read_again(rules: tuple[Rule, ...]) -> None:
    text = "\n".join(map(spelled, rules))
    assert parse(text) == PolicySet({"a/b": PolicySpec("a/b", rules)})


WRONG = {
    "breaker": {
        "window": ["0", "10_001", "1.5", "true", '"10"', '"0.9s"', '"2h"', "[]"],
        "failure_rate": ["0", "1.01", "-0.5", "nan", "inf", "false", '"0.5"'],
        "open_for": ["30", '"9ms"', '"25h"', '"1d"', '"-1s"', '""', "1979-05-27"],
        "probes": ["0", "101", "{}"],
        "probe_timeout": ['"3601s"', "0.5"],
        "consecutive": ["0", "1.5", '"5"'],
        "slow_after": ['"61min"', "1"],
        "open_backoff": ["0.99", "11", "true", '"2"'],
        "open_for_max": ['"25h"', "60"],
        "jitter": ["-0.1", "0.51"],
        "recovery_ramp": ['"50ms"', "10"],
        "bogus": ["1"],
    },
    "bulkhead": {"limit": ["0", "65_537", '"all"'], "hold": ['"49ms"', "60"], "hlod": ['"1s"']},
    "rate_limit": {"rate": ['"0/s"', '"1/week"', "5"], "burst": ["0", "1_000_000_001", '"5"']},
}
RIGHT = {"breaker": {}, "bulkhead": {"limit": "8"}, "rate_limit": {"rate": '"5/s"'}}
PLACES = ["defaults", 'policies."a/*"', 'policies."a/b"', 'policies."c/d"']


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, int]:
    """Return a file and the number of mistakes in it."""
    spots = [(place, kind, name) for place in PLACES for kind in WRONG for name in WRONG[kind]]
    wrong = draw(st.sets(st.sampled_from(spots), min_size=1, max_size=10))
    lines = []
    for place in PLACES:
        for kind in WRONG:
            names = [name for at, rule, name in sorted(wrong) if (at, rule) == (place, kind)]
            written = RIGHT[kind] | {
                name: draw(st.sampled_from(WRONG[kind][name])) for name in names
            }
            lines += [f"[{place}.{kind}]", *(f"{key} = {value}" for key, value in written.items())]
    return "\n".join(lines), len(wrong)


@given(planted())
def test_each_mistake_has_one_complaint_when_several_are_planted(case: tuple[str, int]) -> None:
    text, count = case
    assert len(complaints_of(text)) == count


@given(st.text() | st.text('[]{}."=\n#ab1/*').map("[policies.'a/b']\n{}".format))
def test_only_config_errors_are_raised_when_text_is_arbitrary(text: str) -> None:
    try:
        outcome: object = parse(text).policies
    except ConfigError as error:
        outcome = error.complaints
    assert outcome
