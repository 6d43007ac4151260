from typing import NamedTuple

from engine.core.arena import Arena

IMPACTS: tuple[str, ...]

class Injection(NamedTuple):
    impact: str
    delay: float
    status: int

def start(arena: Arena, row: int, life_ns: int) -> None: ...
def stop(arena: Arena, row: int) -> bool: ...
def snapshot(arena: Arena, row: int) -> tuple[str, int, int, int, int, int] | None: ...
