from collections.abc import Callable
from typing import Any

from engine.core.policy import Policy

class Guard:
    def __init__(self, policy: Policy, function: Callable[..., Any]) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class GuardedCoroutine(Guard): ...
