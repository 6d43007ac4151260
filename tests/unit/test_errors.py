"""Refusals carry what the caller needs; configuration errors carry every complaint."""

import pickle

import pytest

from engine.core import arena
from engine.errors import REFUSALS, ArenaError, Complaint, ConfigError, Refused

COMPLAINTS = (
    Complaint("p.toml", "defaults.breaker.probes", "0", "must be at least 1"),
    Complaint("p.toml", "", None, "has no policies"),
)


def test_reasons_are_those_of_the_design() -> None:
    assert list(REFUSALS) == [
        "rate_limited",
        "bulkhead_full",
        "circuit_open",
        "shed",
        "degraded",
        "retry_budget",
        "deadline",
        "chaos",
        "unhealthy",
        "unknown_policy",
        "invalid",
    ]


@pytest.mark.parametrize(("reason", "refusal"), REFUSALS.items())
def test_refusal_carries_its_arguments_when_raised(reason: str, refusal: type[Refused]) -> None:
    with pytest.raises(Refused) as caught:
        raise refusal("payments/charge", "breaker", 1.5)
    error = caught.value
    assert type(error) is refusal
    assert (error.policy, error.reason, error.rule, error.retry_after) == (
        "payments/charge",
        reason,
        "breaker",
        1.5,
    )
    assert str(error) == f"payments/charge: {reason} by breaker, retry after 1.5 s"


@pytest.mark.parametrize("refusal", [Refused, *REFUSALS.values()])
def test_refusal_is_complete_when_made_without_arguments(refusal: type[Refused]) -> None:
    error = refusal()
    assert (error.policy, error.rule, error.retry_after) == ("", "", 0.0)
    assert refusal.reason in str(error)


def test_refusal_is_the_same_when_pickled() -> None:
    error = pickle.loads(pickle.dumps(REFUSALS["shed"]("a/b", "shedder", 0.25)))
    assert type(error) is REFUSALS["shed"]
    assert (error.policy, error.rule, error.retry_after) == ("a/b", "shedder", 0.25)


def test_config_error_prints_a_line_for_each_complaint() -> None:
    error = ConfigError(COMPLAINTS)
    assert isinstance(error, ValueError)
    assert error.complaints == COMPLAINTS
    assert str(error).splitlines() == [
        "p.toml: defaults.breaker.probes = 0: must be at least 1",
        "p.toml: has no policies",
    ]


def test_config_error_is_the_same_when_pickled() -> None:
    assert pickle.loads(pickle.dumps(ConfigError(COMPLAINTS))).complaints == COMPLAINTS


def test_arena_error_is_the_one_of_the_core() -> None:
    assert ArenaError is arena.ArenaError
