"""What the library raises: one subclass of Refused per reason, ConfigError and ArenaError."""

from collections.abc import Iterable
from typing import ClassVar, NamedTuple, TypeVar

from engine.core.arena import ArenaError as ArenaError

T = TypeVar("T")


class Refused(Exception):  # noqa: N818
    """The caller was not admitted; arguments: the policy, the rule, the seconds to wait.

    The arguments stay in `args`, so that a refusal is made without running any Python.
    """

    reason: ClassVar[str] = "refused"

    @property
    def policy(self) -> str:
        """The name of the policy that refused."""
        return self._argument(0, "")

    @property
    def rule(self) -> str:
        """The kind of the rule that refused, or "" where no rule did."""
        return self._argument(1, "")

    @property
    def retry_after(self) -> float:
        """The seconds after which a new attempt may be admitted; 0 where that is not known."""
        return self._argument(2, 0.0)

    def _argument(self, index: int, default: T) -> T:
        return self.args[index] if index < len(self.args) else default

    def __str__(self) -> str:
        rule = f" by {self.rule}" if self.rule else ""
        wait = f", retry after {self.retry_after:.3g} s" if self.retry_after else ""
        return f"{self.policy}: {self.reason}{rule}{wait}"


class RateLimited(Refused):
    """The rate limit has no tokens left."""

    reason = "rate_limited"


class BulkheadFull(Refused):
    """Every permit of the bulkhead is in use."""

    reason = "bulkhead_full"


class CircuitOpen(Refused):
    """The breaker is open, or half-open with every probe in flight."""

    reason = "circuit_open"


class Shed(Refused):
    """The load shedder gave the place to more important work."""

    reason = "shed"


class Degraded(Refused):
    """The feature is degraded and has no fallback."""

    reason = "degraded"


class RetryBudgetExhausted(Refused):
    """Retries are already too large a share of the calls."""

    reason = "retry_budget"


class DeadlineExceeded(Refused):
    """The call could not have ended before its deadline."""

    reason = "deadline"


class ChaosInjected(Refused):
    """A chaos experiment refused the call."""

    reason = "chaos"


class Unhealthy(Refused):
    """A health check that the policy depends on fails."""

    reason = "unhealthy"


class UnknownPolicy(Refused):
    """No policy has this name."""

    reason = "unknown_policy"


class Invalid(Refused):
    """The request could never be admitted, such as one that costs more than the burst."""

    reason = "invalid"


REFUSALS: dict[str, type[Refused]] = {
    refusal.reason: refusal
    for refusal in (
        RateLimited,
        BulkheadFull,
        CircuitOpen,
        Shed,
        Degraded,
        RetryBudgetExhausted,
        DeadlineExceeded,
        ChaosInjected,
        Unhealthy,
        UnknownPolicy,
        Invalid,
    )
}


class Complaint(NamedTuple):
    """One mistake of a configuration: where it stands, what was written, and the mend."""

    file: str
    key: str
    value: str | None
    message: str

    def __str__(self) -> str:
        written = self.key if self.value is None else f"{self.key} = {self.value}"
        return ": ".join(part for part in (self.file, written, self.message) if part)


class ConfigError(ValueError):
    """A configuration was rejected; `complaints` holds every mistake, printed one to a line."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__(self.complaints)

    def __str__(self) -> str:
        return "\n".join(map(str, self.complaints))
