"""A policy as people write it: bound to an engine, called, and put on functions.

Deciding, reporting and the `with` forms are compiled (`engine.core.policy`, `engine.core.guard`).
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from engine.core import breaker, chaos, feature, policy, shedder
from engine.core.admit import REASONS
from engine.core.arena import Arena
from engine.core.guard import Guard, GuardedCoroutine
from engine.errors import REFUSALS, Refused
from engine.rules import PolicySpec, Rule, force_ns

if TYPE_CHECKING:
    from engine.runtime import Engine

P = ParamSpec("P")
R = TypeVar("R")

policy.set_refusals(tuple(REFUSALS.get(reason, Refused) for reason in REASONS))


class Policy(policy.Policy):
    """A named set of rules, bound to an engine's arena (the default engine's where none is given).

    `try_acquire(cost=1, key=None)` returns the verdict and never raises for a refusal. The other
    forms raise the subclass of Refused that names the reason, and let the work's own end decide the
    outcome: a return is a success, an Exception a failure, and what is no Exception (cancellation,
    KeyboardInterrupt, GeneratorExit) is ignored.
    """

    __slots__ = ()

    def __new__(cls, name: str, *rules: Rule, engine: "Engine | None" = None) -> "Policy":
        """Bind `rules` under `name`. Raises ValueError for a wrong name or rule, and ArenaError."""
        if engine is None:
            from engine.runtime import default

            engine = default()
        return cls.at(engine.arena, name, engine.bind(PolicySpec(name, rules)))

    @classmethod
    def at(cls, arena: Arena, name: str, row: int) -> "Policy":
        """The policy of a directory row."""
        return super().__new__(cls, arena, name, row)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` (or give the awaitable of a coroutine function). Raises Refused."""
        return self(function)(*args, **kwargs)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine function. Raises TypeError for a generator function."""
        plain: Callable[..., Any] = function
        if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
            raise TypeError(
                f"{plain.__qualname__} is a generator function: put `with policy:` round its use"
            )
        guard = GuardedCoroutine if inspect.iscoroutinefunction(plain) else Guard
        return cast(Callable[P, R], guard(self, plain))

    def force_open(self, ttl: float | str, reason: str = "") -> None:
        """Refuse every call on the whole host for `ttl` (seconds, or "5min"; at most 30 days).

        Then the circuit is half-open. `reason`, at most 104 bytes, stands beside the state. Raises
        ValueError for a wrong `ttl` or `reason`, and ArenaError where the policy has no breaker.
        """
        breaker.force(self.arena, self.row, "forced_open", force_ns(ttl), reason)

    def force_closed(self, ttl: float | str, reason: str = "") -> None:
        """Let the breaker refuse nothing for `ttl` (as for `force_open`); then it is closed."""
        breaker.force(self.arena, self.row, "forced_closed", force_ns(ttl), reason)

    def unforce(self) -> bool:
        """End what was forced, as its time would. False where nothing was. Raises ArenaError."""
        return breaker.unforce(self.arena, self.row)

    def turn_on(self, ttl: float | str, reason: str = "") -> None:
        """Turn the policy's feature on for every call of the whole host, for `ttl`.

        `ttl` and `reason` are as for `force_open`. Then the feature is as configured. Raises
        ValueError, and ArenaError where the policy has no feature.
        """
        feature.flip(self.arena, self.row, "on", force_ns(ttl), reason)

    def turn_off(self, ttl: float | str, reason: str = "") -> None:
        """Turn the policy's feature off for every call (as for `turn_on`)."""
        feature.flip(self.arena, self.row, "off", force_ns(ttl), reason)

    def clear_flip(self, reason: str = "") -> bool:
        """End what `turn_on` or `turn_off` did. False where nothing was. Raises as they do."""
        return feature.clear(self.arena, self.row, reason)

    def start_chaos(self, ttl: float | str) -> None:
        """Begin the policy's experiment anew, for `ttl` (as for `force_open`).

        Raises ValueError, and ArenaError where the policy has no experiment.
        """
        chaos.start(self.arena, self.row, force_ns(ttl))

    def stop_chaos(self) -> bool:
        """End the policy's experiment. False where it had ended. Raises ArenaError."""
        return chaos.stop(self.arena, self.row)

    def note_lag(self, lag: float) -> None:
        """Say by how many seconds this process lags behind, such as its event loop.

        More than the shedder's `max_lag` shrinks its limit for a second, in proportion and to half
        at most. Raises ArenaError where the policy has no shedder.
        """
        shedder.note_lag(self.arena, self.row, lag)

    def __repr__(self) -> str:
        return f"<Policy {self.name}>"
