from typing import Any

from engine.core.arena import Arena

REASONS: tuple[str, ...]
RULES: tuple[str, ...]
CRITICAL: int
HIGH: int
NORMAL: int
LOW: int
SHEDDABLE: int

def counters(arena: Arena, row: int) -> dict[str, Any]: ...
def levels(
    arena: Arena, row: int
) -> tuple[tuple[int, int, int | None] | None, tuple[int, int] | None]: ...
