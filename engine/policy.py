"""The Python forms of a policy: `with`, decorator, `call`. What decides is `engine.core.admit`."""

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from engine.core import admit
from engine.core.admit import Permit, Refusal
from engine.core.arena import Arena
from engine.errors import REFUSALS
from engine.rules import PolicySpec, Rule

if TYPE_CHECKING:
    from engine.runtime import Engine

P = ParamSpec("P")
R = TypeVar("R")


class Policy(admit.Policy):
    """A named set of rules, bound to an engine's arena (the default engine's where none is given).

    `try_acquire(cost=1)` returns the verdict and never raises for a refusal. The other forms raise
    the subclass of Refused that names the reason, and let the work's own end decide the outcome: a
    return is a success, an Exception a failure, and what is no Exception (cancellation,
    KeyboardInterrupt, GeneratorExit) is ignored.
    """

    __slots__ = ("_held",)

    # The permits of open `with` blocks, by the frame that a block stands in: threads, tasks and
    # generators that share the policy enter and leave in any order, each from a frame of its own.
    _held: dict[int, list[Permit]]

    def __new__(cls, name: str, *rules: Rule, engine: "Engine | None" = None) -> "Policy":
        """Bind `rules` under `name`. Raises ValueError for a wrong name or rule, and ArenaError."""
        if engine is None:
            from engine.runtime import default

            engine = default()
        return cls.at(engine.arena, name, engine.bind(PolicySpec(name, rules)))

    @classmethod
    def at(cls, arena: Arena, name: str, row: int) -> "Policy":
        """The policy of a directory row."""
        policy = super().__new__(cls, arena, name, row)
        policy._held = {}
        return policy

    def acquire_or_raise(self, cost: int = 1) -> Permit:
        """A permit. Raises Refused."""
        verdict = self.try_acquire(cost)
        return verdict if verdict else _raise(self.name, verdict)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` (or give the awaitable of a coroutine function). Raises Refused."""
        return self(function)(*args, **kwargs)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine function. Raises TypeError for a generator function."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function: put `with policy:` round its use"
            )
        plain: Callable[..., Any] = function
        wrap = _guard_async if inspect.iscoroutinefunction(plain) else _guard
        return cast(Callable[P, R], functools.wraps(plain)(wrap(self, plain)))

    def __enter__(self) -> Permit:
        return self._enter(id(sys._getframe(1)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _settle(self._leave(id(sys._getframe(1))), error)

    async def __aenter__(self) -> Permit:
        return self._enter(id(sys._getframe(1)))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _settle(self._leave(id(sys._getframe(1))), error)

    def _enter(self, frame: int) -> Permit:
        permit = self.acquire_or_raise()
        self._held.setdefault(frame, []).append(permit)
        return permit

    def _leave(self, frame: int) -> Permit:
        """The permit of the block in that frame, or of an ExitStack (other frames): the newest."""
        if frame not in self._held:
            frame = next(reversed(self._held))
        permits = self._held[frame]
        permit = permits.pop()
        if not permits:
            del self._held[frame]
        return permit

    def __repr__(self) -> str:
        return f"<Policy {self.name}>"


def _raise(policy: str, refusal: Refusal) -> Permit:
    raise REFUSALS[refusal.reason](policy, refusal.rule, refusal.retry_after)


def _settle(permit: Permit, error: BaseException | None) -> None:
    if error is None:
        permit.success()
    elif isinstance(error, Exception):
        permit.failure()
    else:
        permit.ignore()


def _guard(policy: Policy, function: Callable[..., R]) -> Callable[..., R]:
    def guarded(*args: Any, **kwargs: Any) -> R:
        permit = policy.acquire_or_raise()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _settle(permit, error)
            raise
        permit.success()
        return result

    return guarded


def _guard_async(
    policy: Policy, function: Callable[..., Awaitable[R]]
) -> Callable[..., Awaitable[R]]:
    async def guarded(*args: Any, **kwargs: Any) -> R:
        permit = policy.acquire_or_raise()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            _settle(permit, error)
            raise
        permit.success()
        return result

    return guarded
