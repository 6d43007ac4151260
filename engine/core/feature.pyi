from typing import Literal, Self

from engine.core.arena import Arena

STATES: tuple[str, ...]

class Feature:
    arena: Arena
    row: int
    def __new__(cls, arena: Arena, row: int) -> Self: ...
    def is_on(self, key: str | bytes | None = None) -> bool: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...

def flip(
    arena: Arena,
    row: int,
    state: Literal["on", "off", "configured"],
    life_ns: int,
    reason: str = "",
) -> None: ...
def clear(arena: Arena, row: int, reason: str = "") -> bool: ...
def snapshot(arena: Arena, row: int) -> tuple[str, bool, int, int, int, int, str] | None: ...
