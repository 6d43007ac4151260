"""Admittance: resilience policies judged in nanoseconds, on state that a whole host shares."""

from engine.core.admit import CRITICAL, HIGH, LOW, NORMAL, SHEDDABLE
from engine.core.chaos import Injection
from engine.core.policy import Permit, Refusal
from engine.errors import (
    ArenaError,
    BulkheadFull,
    ChaosInjected,
    CircuitOpen,
    Complaint,
    ConfigError,
    DeadlineExceeded,
    Degraded,
    Invalid,
    RateLimited,
    Refused,
    RetryBudgetExhausted,
    Shed,
    Unhealthy,
    UnknownPolicy,
)
from engine.policy import Policy
from engine.primitives import (
    Bulkhead,
    CircuitBreaker,
    Counter,
    Feature,
    HealthCheck,
    Limiter,
    RetryBudget,
    Shedder,
)
from engine.runtime import Engine, Snapshot, default

__all__ = [
    "CRITICAL",
    "HIGH",
    "LOW",
    "NORMAL",
    "SHEDDABLE",
    "ArenaError",
    "Bulkhead",
    "BulkheadFull",
    "ChaosInjected",
    "CircuitBreaker",
    "CircuitOpen",
    "Complaint",
    "ConfigError",
    "Counter",
    "DeadlineExceeded",
    "Degraded",
    "Engine",
    "Feature",
    "HealthCheck",
    "Injection",
    "Invalid",
    "Limiter",
    "Permit",
    "Policy",
    "RateLimited",
    "Refusal",
    "Refused",
    "RetryBudget",
    "RetryBudgetExhausted",
    "Shed",
    "Shedder",
    "Snapshot",
    "Unhealthy",
    "UnknownPolicy",
    "default",
]
